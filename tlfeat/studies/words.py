"""A paragraph about a study, made from its numbers: what won, by how much, at what cost."""

from collections.abc import Sequence

from tlfeat.runs.costs import train_seconds
from tlfeat.runs.paired import Pair, pairs_on_test
from tlfeat.runs.record import Run
from tlfeat.runs.results import rank
from tlfeat.runs.statistics import run_intervals

_NAMED = 4  # runs that a sentence lists


def paragraph(runs: Sequence[Run]) -> str:
    """Say what won by validation, what that is worth on test, and what it cost.

    Parameters
    ----------
    runs : sequence of Run
        Of one study.

    Returns
    -------
    text : str
    """
    ranked = rank(runs)
    best, pairs = ranked[0], pairs_on_test(ranked)
    sentences = [f"Best of {len(ranked)} runs by validation: {best.name}, {_result(best)}."]
    if len(ranked) == 1:
        sentences = [f"One run: {best.name}, {_result(best)}."]
    heads = [run for run in ranked if run.record["kind"] == "head"]
    tuned = [run for run in ranked if run.record["kind"] == "finetune"]
    if heads and tuned:
        rival, what = (tuned[0], "fine-tune") if best is heads[0] else (heads[0], "frozen head")
        sentences.append(f"The best {what}, {rival.name}, {_against(rival, best, pairs)}.")
    elif len(ranked) > 1:
        sentences.append(f"The next, {ranked[1].name}, {_against(ranked[1], best, pairs)}.")
    worst = ranked[-1]
    if len(ranked) > 2:
        sentences.append(f"Last comes {worst.name} with {_share(worst)}.")
    sentences += _odd(runs)
    return " ".join(sentences)


def _result(run: Run) -> str:
    split = "test" if "test" in run.metrics else "validation"
    metrics = run.metrics[split]
    text = f"with {100 * metrics['accuracy']:.1f}% of {metrics['n']:,} {split} pictures right"
    ends = run_intervals(run).get(split, {}).get("accuracy")
    if ends:
        text += f" (95% interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
    seconds = train_seconds(run)
    return text if seconds is None else f"{text}, trained in {_seconds(seconds)}"


def _against(run: Run, best: Run, pairs: Sequence[Pair]) -> str:
    split = "test" if "test" in run.metrics and "test" in best.metrics else "validation"
    difference = 100 * (run.metrics[split]["accuracy"] - best.metrics[split]["accuracy"])
    if abs(difference) < 0.05:
        text = f"has as many right on {split}"
    else:
        word = "more" if difference > 0 else "fewer"
        text = f"has {abs(difference):.1f} points {word} on {split}"
        pair = next((p for p in pairs if {p.one, p.other} == {run.name, best.name}), None)
        if pair is not None and not pair.shown:
            text += " (no difference shown)"
    mine, theirs = train_seconds(run), train_seconds(best)
    if mine and theirs:
        ratio = mine / theirs
        often = f"{ratio:.1f} times" if 0.1 <= ratio < 10 else f"{ratio:,.3g} times"
        often = "about" if 0.9 < ratio < 1.1 else often
        text += f" and took {_seconds(mine)} to train, {often} as long"
    return text


def _share(run: Run) -> str:
    split = "test" if "test" in run.metrics else "validation"
    return f"{100 * run.metrics[split]['accuracy']:.1f}% on {split}"


def _odd(runs: Sequence[Run]) -> list[str]:
    """Point at what is often a mistake in how a network was fed or trained."""
    at_chance = [run.name for run in runs if _is_at_chance(run)]
    if not at_chance:
        return []
    rest = len(at_chance) - _NAMED
    shown = at_chance if rest <= 1 else [*at_chance[:_NAMED], f"{rest} more"]
    one = len(shown) == 1
    names = shown[0] if one else f"{', '.join(shown[:-1])} and {shown[-1]}"
    return [
        f"{names} {'is' if one else 'are'} hardly better than always naming the commonest class, "
        f"on {'its' if one else 'their'} own training pictures too: too few steps, too low or too "
        "high a learning rate, or pixels too few for the network."
    ]


def _is_at_chance(run: Run) -> bool:
    record = run.record
    if record["kind"] != "finetune" or not record["history"]:
        return False
    counts = record["dataset"]["counts"]["train"].values()
    chance = max(counts) / max(sum(counts), 1)
    return len(counts) > 2 and bool(run.metrics["train"]["accuracy"] < 1.5 * chance)


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 100 else f"{value:,.0f} s"
