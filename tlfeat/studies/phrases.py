"""A paragraph about a study, made from its numbers: what won, by how much, at what cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from tlfeat.finetuning.plain_cnn import NAME as PLAIN_CNN
from tlfeat.runs.costs import train_seconds
from tlfeat.runs.paired import Pair, pairs_on_test
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import Run
from tlfeat.runs.statistics import run_intervals

_NAMED = 4  # runs that a sentence lists


def paragraph(runs: Sequence[Run], metric: str | None = None) -> str:
    """Say what won by validation, what that is worth on test, and what it cost.

    Parameters
    ----------
    runs : sequence of Run
        Of one study.
    metric : str, optional
        What ranks, see `rank`.

    Returns
    -------
    text : str
    """
    ranked = rank(runs, metric=metric)
    best, pairs = ranked[0], pairs_on_test(ranked)
    sentences = [
        f"Best of {len(ranked)} runs by {best.standing.by}: {best.name}, {_result(best)}."
    ]
    if len(ranked) == 1:
        sentences = [f"One run: {best.name}, {_result(best)}."]
    heads = [run for run in ranked if not run.is_finetune]
    tuned = [run for run in ranked if run.is_finetune]
    if heads and tuned:
        rival, what = (tuned[0], "fine-tune") if best is heads[0] else (heads[0], "frozen head")
        sentences.append(f"The best {what}, {_named(rival, best)} {_against(rival, best, pairs)}.")
    elif len(ranked) > 1:
        following = ranked[1]
        sentences.append(
            f"The next, {_named(following, best)} {_against(following, best, pairs)}."
        )
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


def _named(run: Run, best: Run) -> str:
    """Name a run that is compared with the best, and its pictures where they are of other size."""
    if run.pictures.size == best.pictures.size:
        return f"{run.name},"
    return (
        f"{run.name} (on pictures of {run.pictures.size} pixels a side, not {best.pictures.size}),"
    )


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
        text += f" and took {_seconds(mine)} to train, {_times(mine / theirs)}"
    return text


def _times(ratio: float) -> str:
    """Say how long something took beside something else.

    >>> _times(19.42), _times(1.02), _times(0.0285)
    ('19.4 times as long', 'about as long', '35.1 times as fast')
    """
    if 0.9 < ratio < 1.1:
        return "about as long"
    word, often = ("long", ratio) if ratio > 1 else ("fast", 1 / ratio)
    return f"{often:.1f} times as {word}" if often < 100 else f"{often:,.0f} times as {word}"


def _share(run: Run) -> str:
    split = "test" if "test" in run.metrics else "validation"
    return f"{100 * run.metrics[split]['accuracy']:.1f}% on {split}"


def _odd(runs: Sequence[Run]) -> list[str]:
    """Point at what is often a mistake in how a network was fed or trained."""
    at_chance = [run for run in runs if _was_trained(run) and _is_at_chance(run, _train(run))]
    unsettled = [
        run for run in at_chance if _counts_norms(run) and not _is_at_chance(run, _in_steps(run))
    ]
    unlearned = [run for run in at_chance if run not in unsettled]
    sentences = []
    if unlearned:
        sentences.append(
            f"{_list(unlearned)} {'is' if len(unlearned) == 1 else 'are'} hardly better than "
            f"always naming the commonest class, on {_their(unlearned)} own training pictures "
            "too: too few steps, too low or too high a learning rate, or pixels too few for the "
            "network."
        )
    if unsettled:
        least = f"{100 * min(_in_steps(run) for run in unsettled):.1f}%"
        least += "" if len(unsettled) == 1 else " or more"
        sentences.append(
            f"{_list(unsettled)} had {least} of {_their(unsettled)} training pictures right in "
            f"the steps of {_their(unsettled)} last epoch, and when evaluated hardly more than "
            "always naming the commonest class: a step takes the means of its batch, and the "
            "running averages of the batch normalisations had not settled. Train longer."
        )
    return sentences


def _list(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs]
    rest = len(names) - _NAMED
    shown = names if rest <= 1 else [*names[:_NAMED], f"{rest} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _their(runs: Sequence[Run]) -> str:
    return "its" if len(runs) == 1 else "their"


def _was_trained(run: Run) -> bool:
    return run.is_finetune and bool(run.history)


def _train(run: Run) -> float:
    return float(run.metrics["train"]["accuracy"])


def _counts_norms(run: Run) -> bool:
    """Whether it was judged by running averages of batch normalisations that it trained.

    Since their method is 2 they are computed anew before that.
    """
    phases = run.phases
    trained = any(one["mode"] == "scratch" or one.get("train_batchnorm") for one in phases)
    return trained and run.backbone != PLAIN_CNN and "norms" not in (run.methods or {})


def _in_steps(run: Run) -> float:
    """Give the accuracy in the training steps of the epoch whose weights the model has."""
    rows = run.history
    last: Mapping[str, Any] = rows[-1]
    if run.phases[last["phase"] - 1].get("patience"):  # its best epoch is its last
        of_phase = [
            row
            for row in rows
            if (row["phase"], row.get("mode")) == (last["phase"], last.get("mode"))
            and row["val_loss"] is not None
        ]
        last = min(of_phase, key=lambda row: float(row["val_loss"]), default=last)
    return float(last["accuracy"])


def _is_at_chance(run: Run, accuracy: float) -> bool:
    counts = run.dataset.counts["train"].values()
    chance = max(counts) / max(sum(counts), 1)
    return len(counts) > 2 and accuracy < 1.5 * chance


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 100 else f"{value:,.0f} s"
