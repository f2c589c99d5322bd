"""What tables call runs: their names without what all of them share.

A label and what is said once of all of them give the name back, so nothing is lost; commands,
JSON and results.csv have names in full.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile

from tlfeat.features.settings import AUTO
from tlfeat.runs.record import Run

_PARTS = re.compile(r"(?<!\de)-|-(?!\d)")  # the hyphen of 1e-05 parts nothing
_ANY = "NAME"  # stands for a label


def run_labels(runs: Sequence[Run]) -> dict[str, str]:
    """Shorten the names of runs by the parts that all of them begin and end with.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    labels : dict of run name to label
    """
    before, after = _shared(runs)
    return {run.name: run.name.removeprefix(before).removesuffix(after) for run in runs}


def full_names(runs: Sequence[Run]) -> str:
    """Say how names are made of labels, as in "Full names: mobilenet-auto-NAME."; else nothing."""
    before, after = _shared(runs)
    return f"Full names: {before}{_ANY}{after}." if before or after else ""


def relabelled(text: str, labels: Mapping[str, str]) -> str:
    """Write labels for the names of runs in a text."""
    names = sorted(labels, key=len, reverse=True)  # one may begin with another
    if not names:
        return text
    pattern = rf"(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])"
    return re.sub(pattern, lambda found: labels[found[0]], text)


def _shared(runs: Sequence[Run]) -> tuple[str, str]:
    """Give what the names begin and end with, in whole parts, hyphens included.

    What tells a run stays: the name of a head whole, and of any other run a part. Of one run it
    is the network, and features "auto".
    """
    names = [_PARTS.split(run.name) for run in runs]
    heads = [_head(run, parts) for run, parts in zip(runs, names, strict=True)]
    begin = _of_network(runs[0], names[0]) if len(runs) == 1 else _alike(names)
    begin = min(begin, *(head.start for head in heads), *(len(parts) - 1 for parts in names))
    ends = [
        parts[max(head.stop, begin + 1) :][::-1] for parts, head in zip(names, heads, strict=True)
    ]
    end = 0 if len(runs) == 1 else _alike(ends)
    before, after = names[0][:begin], names[0][len(names[0]) - end :]
    return "".join(f"{part}-" for part in before), "".join(f"-{part}" for part in after)


def _alike(names: Sequence[Sequence[str]]) -> int:
    """Count the parts that all names begin with."""
    parts = zip(*names, strict=False)
    return sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, parts))


def _of_network(run: Run, parts: list[str]) -> int:
    """Count the parts of the network that a name begins with."""
    network = _PARTS.split(run.backbone) + [AUTO] * (run.auto is not None)
    return len(network) if parts[: len(network)] == network else 0


def _head(run: Run, parts: list[str]) -> range:
    """Find the parts that are the name of the run's head; of others nothing is found."""
    if not run.is_finetune:
        head = _PARTS.split(run.head_settings.name)
        for start in reversed(range(len(parts) - len(head) + 1)):
            if parts[start : start + len(head)] == head:
                return range(start, start + len(head))
    return range(len(parts), 0)
