"""Predict the labels of new pictures with a finished run, of a head or a fine-tune.

Pictures are prepared exactly as they were for training; other weights or another decoding rule
than the run's are refused. Pictures stream through in bounded memory and nothing of them is
stored. A fine-tuned network is exported once, as a backbone is, and runs on the same engines.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlfeat.backbones.engines import Exportable
from tlfeat.data.sources.base import Picture
from tlfeat.deploy.doubt import Doubt
from tlfeat.deploy.exported_model import Export, is_export, load_export
from tlfeat.deploy.networks import checked_rule, finetuned_network
from tlfeat.deploy.pictures import listed
from tlfeat.errors import TlfeatError
from tlfeat.features.forward import Forwarded, embedded_chunks, network_of
from tlfeat.features.recipe import Recipe
from tlfeat.runs.find import find_run
from tlfeat.runs.metrics import name_outputs
from tlfeat.runs.record import Run
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where

_Outputs = Sequence[np.ndarray]  # of a network for one picture


@dataclass(frozen=True)
class Prediction:
    """What a run says of one picture.

    Attributes
    ----------
    id : str
        The picture's path, as the caller gave it; within a folder, table or archive what the
        caller gave, a slash, and where it is in there. The number where it came as bytes or
        an array.
    label : str or None
        The most likely class; None where the picture cannot be used.
    score : float or None
        Its probability, or its score where the head gives no probabilities.
    score_kind : {"probability", "score"}
        What the head gives.
    top : tuple of (str, float)
        The most likely classes with their scores, best first.
    reason : str
        Why the picture cannot be used; empty where it can.
    known : bool or None
        Whether the picture is like those of train; None where that was not asked.
    typical : float or None
        Share of held-out pictures that are at least as far from all classes as this one.
    classes : tuple of str or None
        The set that holds the true class as often as was stated, likeliest first.
    """

    id: str
    label: str | None
    score: float | None
    score_kind: str
    top: tuple[tuple[str, float], ...]
    reason: str = ""
    known: bool | None = None
    typical: float | None = None
    classes: tuple[str, ...] | None = None


def predict(
    run: Run | Export | str | Path,
    pictures: Iterable[str | Path | Picture] | str | Path,
    *,
    top: int = 1,
    reject: float | None = None,
    coverage: float | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    engine: str = "auto",
    cache: str | Path | None = None,
    jobs: int | None = None,
    watch: Watch = SILENT,
) -> Iterator[Prediction]:
    """Predict pictures one after the other, in bounded memory.

    It is an iterator, which works as it is asked: ``list(predict(run, "folder"))`` is all of it,
    ``next(predict(run, "picture.jpg"))`` one.

    Parameters
    ----------
    run : Run, Export, str or Path
        A finished run, or what `find_run` finds one by; or what `export` has made of one, or its
        folder, which its own runtime runs.
    pictures : path, or iterable of path, bytes or ndarray
        Picture files, or whatever `open_dataset` opens; uint8 arrays of shape
        (height, width, 3) and the bytes of picture files too. An iterable is taken as it
        is needed.
    top : int
        How many classes to name.
    reject : float, optional
        Say of each picture whether it is known: of pictures like those of train this share at
        most is called unknown, such as 0.01. Runs of heads only.
    coverage : float, optional
        Give a set of classes that holds the true one for this share of pictures, such as 0.9.
    weights : str or Path, optional
        Where the weights of a head's network are now; where they were in training if None. A
        fine-tuned network has them in its own file.
    precision : str, optional
        What a fine-tuned network computes in, "float32" or "bfloat16"; what it was trained in if
        None. A head takes its features as it was trained on them.
    engine : {"auto", "openvino", "tensorflow"}
    cache : str or Path, optional
        Where exported networks are kept; $TLFEAT_CACHE or ./cache if None.
    jobs : int, optional
        Threads that decode and run the network; one a core if None.
    watch : Watch
        Hears what is done before the first picture, and notes.

    Yields
    ------
    prediction : Prediction
        One for each picture, in order; a picture that cannot be used has the reason.

    Raises
    ------
    WeightsError
        If the weights are not those of the run.
    TlfeatError
        If the run needs another version of tlfeat, its files are gone or are not as they were
        written, `weights` are given for a fine-tune, or a share or a precision cannot be had of
        this run.

    Examples
    --------
    >>> run = tlfeat.find_run("garments")  # doctest: +SKIP
    >>> {one.id: one.label for one in tlfeat.predict(run, "new-pictures")}  # doctest: +SKIP
    """
    if top < 1:
        raise TlfeatError(f"The number of classes to name must be at least 1; got {top}.")
    where = Where(cache, engine=engine, jobs=jobs, watch=watch)
    if isinstance(run, str | Path):
        run = load_export(run) if is_export(Path(run).expanduser()) else find_run(run)
    unread = listed([pictures] if isinstance(pictures, str | Path) else pictures)
    if isinstance(run, Export):
        said = {"engine": None if engine == "auto" else engine, "precision": precision}
        _refuse(run, reject=reject, coverage=coverage, weights=weights, **said)
        answerer, doubt = _answers_of(run.labels), Doubt()
        chunks = run.forwarded(unread, where)
    else:
        rule = checked_rule(run)
        network, answerer = (_of_finetune if run.is_finetune else _of_head)(
            run, weights, precision
        )
        doubt = Doubt.of(run, reject, coverage, watch)
        chunks = embedded_chunks(unread, network, rule.resize, where)
    with closing(chunks):
        for chunk in chunks:
            yield from _predict_chunk(chunk, answerer, doubt, top)


def _refuse(model: Export, **given: object) -> None:
    """Refuse what only a run can be asked for."""
    for name, value in given.items():
        if value is not None:
            raise TlfeatError(
                f"{model.folder} is an exported model, which has no {name}: leave --{name} out, "
                "or ask the run itself."
            )


class _Answerer(NamedTuple):
    """What becomes of what a network gives."""

    classes: Sequence[str]
    score_kind: str
    features: Callable[[Sequence[_Outputs]], np.ndarray]  # of some pictures, (n, d)
    scores: Callable[[np.ndarray], np.ndarray]  # of features, (n, n_outputs)


def _of_head(
    run: Run, weights: str | Path | None, precision: str | None
) -> tuple[Exportable, _Answerer]:
    head, recipes = run.head(), run.recipes
    if precision not in (None, recipes[0].precision):
        raise TlfeatError(
            f"{run.path} was trained on features in {recipes[0].precision} and takes no others: "
            f"leave --precision out, or train on features in {precision}."
        )

    def features(rows: Sequence[_Outputs]) -> np.ndarray:
        return np.stack([_as_stored(row, recipes) for row in rows])

    network = network_of(recipes, weights or run.weights)
    return network, _Answerer(head.classes, head.score_kind, features, head.scores)


def _of_finetune(
    run: Run, weights: str | Path | None, precision: str | None
) -> tuple[Exportable, _Answerer]:
    return finetuned_network(run, weights, precision), _answers_of(run.dataset.classes)


def _answers_of(classes: Sequence[str]) -> _Answerer:
    """Take a whole network at its word: it gives probabilities."""
    return _Answerer(
        classes,
        "probability",
        lambda rows: np.stack([answers for (answers,) in rows]),
        lambda answers: answers,
    )


def _predict_chunk(
    chunk: Sequence[Forwarded], answerer: _Answerer, doubt: Doubt, top: int
) -> Iterator[Prediction]:
    rows = [one.features for one in chunk if one.features is not None]
    answers = iter(_answers(answerer.features(rows), answerer, doubt, top) if rows else ())
    for one in chunk:
        if one.features is None:
            yield Prediction(one.id, None, None, answerer.score_kind, (), one.reason)
        else:
            yield replace(next(answers), id=one.id)


def _answers(
    features: np.ndarray, answerer: _Answerer, doubt: Doubt, top: int
) -> Iterator[Prediction]:
    """Give the prediction of each row, which has no id yet."""
    scores = answerer.scores(features)
    names, kind = name_outputs(answerer.classes, scores.shape[1]), answerer.score_kind
    doubts = doubt.tell(features, scores)
    for row, mine in enumerate(scores):
        order = np.argsort(-mine, kind="stable")
        best = tuple((names[i], float(mine[i])) for i in order[:top])
        yield Prediction(
            "",
            best[0][0],
            best[0][1],
            kind,
            best,
            known=None if doubts.known is None else bool(doubts.known[row]),
            typical=None if doubts.typical is None else float(doubts.typical[row]),
            classes=None
            if doubts.members is None
            else tuple(names[i] for i in order if doubts.members[row, i]),
        )


def _as_stored(features: Sequence[np.ndarray], recipes: Sequence[Recipe]) -> np.ndarray:
    """Give a row as the store would have kept it: what the head was trained on."""
    return np.concatenate(
        [
            output.astype(recipe.dtype).astype(np.float32).ravel()
            for recipe, output in zip(recipes, features, strict=True)
        ]
    )


def as_json(prediction: Prediction, doubts: Collection[str] = ()) -> Mapping[str, Any]:
    """Give a prediction as plain JSON values, its score under the name of its kind.

    `doubts` names what was asked for of "known", "typical" and "set"; a picture that cannot be
    used has null there.
    """
    kind, classes = prediction.score_kind, prediction.classes
    told = {
        "known": prediction.known,
        "typical": prediction.typical,
        "set": None if classes is None else list(classes),
    }
    return {
        "id": prediction.id,
        "label": prediction.label,
        kind: prediction.score,
        "top": [{"label": label, kind: score} for label, score in prediction.top],
        **{name: told[name] for name in doubts},
        "reason": prediction.reason,
    }
