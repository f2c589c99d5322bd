"""A paragraph about a study, made from its numbers: what won, by how much, at what cost."""

from collections.abc import Sequence

from tlfeat.runs.costs import train_seconds
from tlfeat.runs.record import Run
from tlfeat.runs.results import rank
from tlfeat.runs.statistics import run_intervals


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
    best = ranked[0]
    sentences = [f"Best of {len(ranked)} runs by validation: {best.name}, {_result(best)}."]
    if len(ranked) == 1:
        sentences = [f"One run: {best.name}, {_result(best)}."]
    heads = [run for run in ranked if run.record["kind"] == "head"]
    tuned = [run for run in ranked if run.record["kind"] == "finetune"]
    if heads and tuned:
        rival, what = (tuned[0], "fine-tune") if best is heads[0] else (heads[0], "frozen head")
        sentences.append(f"The best {what}, {rival.name}, {_against(rival, best)}.")
    elif len(ranked) > 1:
        sentences.append(f"The next, {ranked[1].name}, {_against(ranked[1], best)}.")
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


def _against(run: Run, best: Run) -> str:
    split = "test" if "test" in run.metrics and "test" in best.metrics else "validation"
    difference = 100 * (run.metrics[split]["accuracy"] - best.metrics[split]["accuracy"])
    if abs(difference) < 0.05:
        text = f"has as many right on {split}"
    else:
        word = "more" if difference > 0 else "fewer"
        text = f"has {abs(difference):.1f} points {word} on {split}"
    mine, theirs = train_seconds(run), train_seconds(best)
    if mine and theirs:
        ratio = mine / theirs
        often = f"{ratio:.1f} times" if 0.1 <= ratio < 10 else f"{ratio:,.3g} times"
        text += f" and took {_seconds(mine)} to train, {often} as long"
    return text


def _share(run: Run) -> str:
    split = "test" if "test" in run.metrics else "validation"
    return f"{100 * run.metrics[split]['accuracy']:.1f}% on {split}"


def _odd(runs: Sequence[Run]) -> list[str]:
    """Point at what is often a mistake in how a network was fed or trained."""
    said = []
    for run in runs:
        if run.record["kind"] != "finetune" or not run.record["history"]:
            continue
        classes = len(run.record["dataset"]["classes"])
        train = run.metrics["train"]
        counts = run.record["dataset"]["counts"]["train"].values()
        chance = max(counts) / max(sum(counts), 1)
        if train["accuracy"] < 1.5 * chance and classes > 2:
            said.append(
                f"{run.name} is hardly better than always naming the commonest class, on its own "
                "training pictures too: too few steps, too low or too high a learning rate, or "
                "pixels too few for the network."
            )
    return said[:3]


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 100 else f"{value:,.0f} s"
