"""Every pair of runs: a matrix of differences, and the numbers behind it."""

from typing import Any, Final

from tlfeat.report.contents import Part
from tlfeat.runs.labels import relabelled
from tlfeat.runs.paired import Pair

MOST_PAIRS: Final = 300  # rows of the table
MOST_RUNS: Final = 24  # of the matrix


def pairs_section(part: Part) -> dict[str, Any]:
    """Give what the template shows of pairs.

    Parameters
    ----------
    part : Part

    Returns
    -------
    values : dict
        names (of the matrix's rows), matrix (a list a row of a cell a column, None on the
        diagonal), rows of the table, n (of all pairs), n_shown, tests, left_out.
    """
    judged = [one.run.name for one in part.predictions][:MOST_RUNS]
    by_names = {(pair.one, pair.other): pair for pair in part.pairs}
    most = max((abs(pair.difference) for pair in part.pairs), default=0.0)

    def cell(one: str, other: str) -> dict[str, Any] | None:
        pair = by_names.get((one, other)) or by_names.get((other, one))
        if pair is None:
            return None
        sign = 1 if pair.one == one else -1
        gain = sign * pair.difference
        kind = "same" if not pair.shown else "better" if gain > 0 else "worse"
        return {
            "text": points(gain),
            "kind": kind,
            "share": f"{abs(gain) / max(most, 1e-9):.2f}",
            "words": _sentence(pair, sign, part),
        }

    return {
        "names": [part.labels[name] for name in judged],
        "matrix": [[cell(one, other) for other in judged] for one in judged],
        "rows": [_row(pair, part) for pair in part.pairs[:MOST_PAIRS]],
        "n": len(part.pairs),
        "n_shown": sum(pair.shown for pair in part.pairs),
        "tests": list(dict.fromkeys(pair.test for pair in part.pairs)),
        "left_out": len(part.predictions) > len(judged),
    }


def points(difference: float) -> str:
    """Write a difference of accuracies in points.

    >>> points(0.0161), points(-0.0001)
    ('+1.6', '0.0')
    """
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _sentence(pair: Pair, sign: int, part: Part) -> str:
    """Say all of a pair, seen from one of its runs."""
    names = [part.labels[pair.one], part.labels[pair.other]][::sign]
    only = [_count(pair.only_one), _count(pair.only_other)][::sign]
    low, high = sorted(100 * sign * end for end in (pair.low, pair.high))
    return (
        f"{names[0]} against {names[1]}: {points(sign * pair.difference)} points (95% interval "
        f"{low:+.1f} to {high:+.1f}, unadjusted); right in {only[0]} that the other gets wrong, "
        f"wrong in {only[1]} that it gets right; p by Holm {_p(pair.p_adjusted)}: "
        f"{relabelled(pair.words, part.labels)}."
    )


def _row(pair: Pair, part: Part) -> dict[str, Any]:
    low, high = sorted((100 * pair.low, 100 * pair.high))
    return {
        "one": part.labels[pair.one],
        "other": part.labels[pair.other],
        "only_one": _count(pair.only_one),
        "only_other": _count(pair.only_other),
        "difference": points(pair.difference),
        "interval": f"{low:+.1f} to {high:+.1f}",
        "p": _p(pair.p_adjusted),
        "shown": pair.shown,
        "words": relabelled(pair.words, part.labels),
    }


def _count(pictures: float) -> str:
    """Write a number of pictures; of several seeds it is a sum of shares."""
    return f"{pictures:,.0f}" if pictures == round(pictures) else f"{pictures:,.1f}"


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"
