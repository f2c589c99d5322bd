"""The mean of several heads' probabilities, chosen greedily on held rows.

A member is a head on a feature matrix. Members are added one after the other, one that is there
already again where that helps: always the one with which the mean has the least log loss on held
rows. The held probabilities of each part are those of the ensemble that the other parts choose.

References
----------
Caruana, Niculescu-Mizil, Crew and Ksikes (2004), Ensemble selection from libraries of models.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.errors import HeadError
from tlfeat.heads.arrays import Double, Floats, Ints
from tlfeat.heads.fitting import FittedHead, HeadOrder, cross_tempered
from tlfeat.heads.grounds import Candidate, Grounds, Screened, about, spent, worth
from tlfeat.heads.learner import calibrated_by
from tlfeat.heads.pool import Job, Shared
from tlfeat.heads.settings import plan_settings
from tlfeat.heads.table import get_head
from tlfeat.heads.temperature import fit_temperature

_LEAST: Final = 1e-12  # of a probability, as scikit-learn makes logits of them
# The weighted mean of eight ones may be a little more than one by rounding, and scikit-learn's
# temperature would then take a block of probabilities for scores.
_MOST_MEMBERS: Final = 7


class _Member(NamedTuple):
    """A head on a matrix."""

    name: str
    candidate: Candidate
    fitted: FittedHead


def fit_ensemble(grounds: Grounds, order: HeadOrder) -> Job[FittedHead]:
    """Fit the heads of an ensemble and choose among them, as a job of `run_jobs`.

    Yields
    ------
    tasks : list of callables and shared jobs

    Raises
    ------
    HeadError
        If not one of its heads can be fitted.
    """
    head = get_head(order.name)
    settings, _ = plan_settings(head.name, head.settings, order.params, search=False)
    screened: Screened = (yield [grounds.screened(order)])[0]
    names = [(name, head) for name in screened.names for head in settings["members"].split("+")]
    tries = [
        Shared(_tried(grounds.candidates[name], _order_of(head, order))) for name, head in names
    ]
    members: list[_Member] = []
    refused: dict[str, HeadError] = {}
    for (name, head), result in zip(names, (yield tries), strict=True):
        said = head if len(grounds.candidates) == 1 else f"{head} on {name}"
        if isinstance(result, HeadError):
            refused[said] = result
        else:
            members.append(_Member(said, grounds.candidates[name], result))
    if not members:
        raise next(iter(refused.values()))
    task = partial(_ensemble, grounds, order, settings, screened, members, refused)
    done: FittedHead = (yield [task])[0]
    return done


def _order_of(head: str, order: HeadOrder) -> HeadOrder:
    """Ask for a member as the ensemble is asked for."""
    return HeadOrder(
        head,
        search=order.search,
        class_weight=order.class_weight,
        refit=order.refit,
        seed=order.seed,
        kernel_budget=order.kernel_budget,
        metric=order.metric,
    )


def _tried(candidate: Candidate, order: HeadOrder) -> Job[FittedHead | HeadError]:
    try:
        fitted: FittedHead = (yield [candidate.fitted(order)])[0]
    except HeadError as error:
        return error
    return fitted


class _Weighed(NamedTuple):
    """The weights of members, and what held rows say of them."""

    weights: Double  # (n_members,)
    temperature: float
    held: Floats  # probabilities, of what the others choose; (n_held, n_classes)


def _weigh(
    grounds: Grounds, screened: Screened, members: Sequence[_Member], rounds: int
) -> _Weighed:
    """Choose the weights on all held rows, and for each part of them on the others."""
    y = grounds.ground.held_y
    of_true = np.stack([m.fitted.held_scores[np.arange(len(y)), y] for m in members])

    def choose(rows: Ints, names: Sequence[str]) -> Double:
        weights = np.zeros(len(members))
        mine = [i for i, member in enumerate(members) if member.candidate.name in names]
        weights[mine] = greedy_weights(of_true[mine][:, rows], rounds)
        return weights

    weights = choose(grounds.everything, screened.best)
    logits = np.empty_like(members[0].fitted.held_scores)
    for (mine, others), names in zip(grounds.crossed, screened.crossed, strict=True):
        logits[mine] = _logits(members, choose(others, names), mine)
    temperature = fit_temperature(y, _logits(members, weights, grounds.everything))
    held = cross_tempered(y, logits, grounds.ground.parts_of_held, temperature)
    return _Weighed(weights, temperature, held)


def _ensemble(
    grounds: Grounds,
    order: HeadOrder,
    settings: Mapping[str, Any],
    screened: Screened,
    members: Sequence[_Member],
    refused: Mapping[str, HeadError],
) -> FittedHead:
    """Choose the weights of members, and put those that have any into one estimator."""
    from sklearn.pipeline import Pipeline

    began = time.thread_time()
    weights, temperature, held = _weigh(grounds, screened, members, settings["rounds"])
    used = [(member, weight) for member, weight in zip(members, weights, strict=True) if weight]
    parts = {key: n for member, _ in used for key, n in member.candidate.parts.items()}
    labels = used[0][0].fitted.pipeline.classes_
    calibrated = calibrated_by(_voting(used, parts, labels), temperature, labels)
    chosen = {"weights": {member.name: round(float(weight), 6) for member, weight in used}}
    everyone = [member.fitted for member in members]
    warnings = [f"{order.name} goes without {name}: {why}" for name, why in refused.items()]
    return FittedHead(
        name=get_head(order.name).name,
        pipeline=Pipeline([("head", calibrated)]),
        settings={**settings, **chosen, "class_weight": order.class_weight},
        score_kind="probability",
        n_classes=grounds.ground.n_classes,
        grid={},
        chosen=chosen,
        search_table=[_row(grounds, member, order.metric) for member in members],
        edges=[],
        temperature=temperature,
        converged=all(member.fitted.converged for member, _ in used),
        seconds={
            "search": spent([*screened.fits, *everyone]),
            "fit": time.thread_time() - began,
        },
        warnings=[*warnings, *(text for m, _ in used for text in m.fitted.warnings)],
        n_train=everyone[0].n_train,
        n_parameters=sum(member.fitted.n_parameters for member, _ in used),
        held_scores=held,
        fold=everyone[0].fold,
        parts=tuple(parts),
        candidates=[about(one, screened.table) for one in grounds.candidates.values()],
    )


def _row(grounds: Grounds, member: _Member, metric: str) -> dict[str, Any]:
    """Give what a record says of a member."""
    found = worth(*grounds.judged(member.fitted.held_scores, grounds.everything, metric))
    return {"setting": {"member": member.name}, **found, "parts": len(grounds.crossed)}


def greedy_weights(of_true: Floats, rounds: int) -> Double:
    """Choose the weights with which the mean of some probabilities has the least log loss.

    Parameters
    ----------
    of_true : ndarray of shape (n_members, n)
        The probability that each gives to the true class of each row.
    rounds : int
        Members that are added, one after the other.

    Returns
    -------
    weights : ndarray of shape (n_members,)
        Of sum 1; those of the round with the least log loss. Seven at the most are above 0.

    Examples
    --------
    >>> greedy_weights(np.array([[0.9, 0.3], [0.3, 0.9], [0.2, 0.2]]), 20)
    array([0.5, 0.5, 0. ])
    """
    total, counts = np.zeros(of_true.shape[1]), np.zeros(len(of_true))
    best, least = counts, np.inf
    for size in range(1, rounds + 1):
        losses = -np.log(np.maximum((total + of_true) / size, _LEAST)).mean(axis=1)
        if np.count_nonzero(counts) == _MOST_MEMBERS:
            losses[counts == 0] = np.inf
        one = int(losses.argmin())
        total += of_true[one]
        counts[one] += 1
        if losses[one] < least - 1e-9:
            best, least = counts / size, losses[one]
    return best


def _logits(members: Sequence[_Member], weights: Double, rows: Ints) -> Floats:
    """Give the logarithm of the weighted mean of held probabilities; (m, n_classes)."""
    mean = sum(
        weight * member.fitted.held_scores[rows]
        for member, weight in zip(members, weights, strict=True)
        if weight
    )
    logits: Floats = np.log(mean + _LEAST)
    logits[:, ~(mean > 0).any(axis=0)] = -np.inf  # classes that no member knows
    return logits


def _voting(used: Sequence[tuple[_Member, float]], parts: Mapping[str, int], labels: Ints) -> Any:
    """Give a `VotingClassifier` of estimators that are fitted; its own `fit` would fit them again.

    Parameters
    ----------
    used : sequence of (_Member, float)
        With their weights.
    parts : mapping
        Key and columns of each part of the joined matrix, from left to right.
    labels : ndarray
        The class indexes that train had.
    """
    from sklearn.ensemble import VotingClassifier
    from sklearn.preprocessing import LabelEncoder

    names = [member.name for member, _ in used]
    estimators = [_on_its_columns(member, parts) for member, _ in used]
    weights = [float(weight) for _, weight in used]
    voting = VotingClassifier(
        list(zip(names, estimators, strict=True)), voting="soft", weights=weights
    )
    voting.estimators_ = estimators
    voting.le_ = LabelEncoder().fit(labels)
    voting.classes_ = labels
    return voting


def _on_its_columns(member: _Member, parts: Mapping[str, int]) -> Any:
    """Let a member's pipeline take its columns of the joined matrix."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if list(member.candidate.parts) == list(parts):
        return member.fitted.pipeline
    ends = dict(zip(parts, np.cumsum(list(parts.values())), strict=True))
    mine = member.candidate.parts
    columns = [
        (
            f"part{number}",
            "passthrough" if key in mine else "drop",
            slice(int(ends[key]) - parts[key], int(ends[key])),
        )
        for number, key in enumerate([*mine, *(key for key in parts if key not in mine)], 1)
    ]
    select = ColumnTransformer(columns).fit(np.zeros((1, sum(parts.values())), np.float32))
    # Slices above, arrays here: skops writes a list number by number, and takes seconds for it.
    select._transformer_to_input_indices = {
        name: np.asarray(indices) for name, indices in select._transformer_to_input_indices.items()
    }
    return Pipeline([("features", select), *member.fitted.pipeline.steps])
