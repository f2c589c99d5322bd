"""Where in a picture a linear head or top sees a class: exact algebra, no gradients.

A linear head on averaged features is an average itself: of what the weights make of each place of
the layer. So each place has its share of a class's logit, and the mean of these shares, with a
constant, is the logit.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlfeat.backbones.engines import Engine
from tlfeat.backbones.exported import is_exported
from tlfeat.backbones.linear_top import opened_places
from tlfeat.backbones.network_files import is_network_file
from tlfeat.backbones.network_request import NetworkRequest
from tlfeat.backbones.networks import feature_shape
from tlfeat.backbones.precision import get_precision
from tlfeat.backbones.quantised import is_kept
from tlfeat.backbones.table import Output, grid_side
from tlfeat.data.sources.base import Picture
from tlfeat.deploy.networks import finetuned_network
from tlfeat.deploy.pictures import listed
from tlfeat.errors import TlfeatError, did_you_mean
from tlfeat.features.forward import Square, decoded_chunks, forward, network_of, opened
from tlfeat.runs.find import as_run
from tlfeat.runs.metrics import name_outputs
from tlfeat.runs.record import Run
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where

_Floats = npt.NDArray[Any]

LINEAR: Final = ("logistic", "lda", "ridge", "svm-linear")
_FOR, _AGAINST = (213, 94, 0), (0, 114, 178)  # orange and blue, told apart by most eyes
_STRONGEST: Final = 0.75  # of the colour that is laid on a picture


@dataclass(frozen=True)
class Explanation:
    """Where a head sees a class in one picture.

    Attributes
    ----------
    id : str
        As `predict` names pictures.
    label : str or None
        The class that the map is of; None where the picture cannot be used.
    predicted : str or None
        The most likely class.
    logit : float
        What the head makes of the class, from the pooled features; of two classes the second has
        the decision function, and the first its negative.
    map : ndarray of shape (rows, columns)
        The share of each place; positive speaks for the class.
    bias : float
        What no place has a share in: the mean of the map and this are the logit.
    square : ndarray of shape (size, size, 3), uint8
        The picture as the network sees it.
    reason : str
        Why the picture cannot be used; empty where it can.
    """

    id: str
    label: str | None
    predicted: str | None
    logit: float
    map: _Floats
    bias: float
    square: npt.NDArray[np.uint8]
    reason: str = ""


def explain(
    run: Run | str | Path,
    pictures: Iterable[str | Path | Picture] | str | Path,
    *,
    label: str | None = None,
    weights: str | Path | None = None,
    engine: str = "auto",
    cache: str | Path | None = None,
    jobs: int | None = None,
    watch: Watch = SILENT,
) -> Iterator[Explanation]:
    """Show where a run sees a class in pictures, one after the other.

    Parameters
    ----------
    run : Run, str or Path
        A finished run, or what `find_run` finds one by: of a linear head (logistic, lda, ridge,
        svm-linear) on averaged features, avg or gridN; or a fine-tune whose top is linear on
        such.
    pictures : path, or iterable of path, bytes or ndarray
        As for `predict`.
    label : str, optional
        The class that is looked for; the predicted one of each picture if None.
    weights : str or Path, optional
        As for `predict`.
    engine : {"auto", "openvino", "tensorflow"}
        As for `predict`.
    cache : str or Path, optional
        As for `predict`.
    jobs : int, optional
        As for `predict`.
    watch : Watch
        As for `predict`.

    Yields
    ------
    explanation : Explanation
        One for each picture, in order; one that cannot be used has the reason.

    Raises
    ------
    TlfeatError
        If its head or top is not linear, its features are not averages, or it has no such class.
    WeightsError
        If the weights are not those of the run.

    Examples
    --------
    >>> run = tlfeat.train("garments", head="lda")  # doctest: +SKIP
    >>> one = next(tlfeat.explain(run, "new-pictures"))  # doctest: +SKIP
    >>> one.label, one.map.shape  # doctest: +SKIP
    """
    where = Where(cache, engine=engine, jobs=jobs, watch=watch)
    run = as_run(run)
    unread = listed([pictures] if isinstance(pictures, str | Path) else pictures)
    rule = run.picture_rule
    with (_of_finetune if run.is_finetune else _of_head)(run, label, weights, where) as opened_run:
        engine_, linear = opened_run
        watch.finish()
        with decoded_chunks(unread, rule.size, rule.resize, where.jobs) as chunks:
            for squares in chunks:
                batches = forward(engine_, squares)
                rows = (row for _, arrays in batches for row in zip(*arrays, strict=True))
                for square in squares:
                    yield _explained(square, rows, linear)


@contextmanager
def _of_head(
    run: Run, label: str | None, weights: str | Path | None, where: Where
) -> Iterator[tuple[Engine, "_Linear"]]:
    linear = _linear_of(run, label)
    with opened(_unpooled(run, weights), where) as engine:
        yield engine, linear


@contextmanager
def _of_finetune(
    run: Run, label: str | None, weights: str | Path | None, where: Where
) -> Iterator[tuple[Engine, "_Linear"]]:
    if where.engine == "tensorflow":
        raise TlfeatError(
            f"{run.name} is a fine-tune, whose maps are read from its exported network: leave "
            "--engine out."
        )
    request = finetuned_network(run, weights)
    _asked(run, run.dataset.classes, label)  # before minutes are spent on an export
    cache, watch = where.cache_folder, where.watch
    with opened_places(request, cache, where.jobs, watch) as (engine, top):
        classes = name_outputs(run.dataset.classes, len(top.bias))
        yield engine, _Linear(classes, _asked(run, classes, label), top.weights, top.bias)


class _Linear(NamedTuple):
    """A linear head on features that are not standardised, part by part."""

    classes: Sequence[str]
    asked: int | None  # the class that is looked for
    weights: Sequence[_Floats]  # of each part, (n_classes, cells, cells, channels)
    bias: _Floats  # (n_classes,)


def why_no_maps(run: Run) -> str | None:
    """Say why there are no maps of a run of a head; None where there are.

    Parameters
    ----------
    run : Run

    Returns
    -------
    reason : str or None
    """
    if run.head_settings.name not in LINEAR:
        return (
            f"{run.name} is a {run.head_settings.name}, which is not linear: maps are exact for "
            f"{', '.join(LINEAR)}."
        )
    for recipe in run.recipes:
        if recipe.pool != "avg" and not grid_side(recipe.pool):
            return (
                f"{run.name} has the features {recipe.layer}:{recipe.pool}, which are no "
                "averages: maps are of avg and gridN."
            )
    return None


def is_at_hand(run: Run, cache: Path) -> bool:
    """Say whether maps of a run can be had at once: its network is exported, or a larger one.

    Raises
    ------
    WeightsError
        If the weights of the network are gone.
    """
    network = _unpooled(run)
    if get_precision(network.precision).quantised:
        return is_kept(network, cache)
    return is_exported(network, cache)


def _linear_of(run: Run, label: str | None) -> _Linear:
    reason = why_no_maps(run)
    if reason is not None:
        raise TlfeatError(reason)
    head = run.head()
    classes = head.classes
    asked = _asked(run, classes, label)
    coef, bias = _coefficients(head.pipeline, len(classes))
    parts, start = [], 0
    for recipe in run.recipes:
        side, columns = max(grid_side(recipe.pool), 1), int(np.prod(recipe.feature_shape))
        part = coef[:, start : start + columns]
        parts.append(part.reshape(len(coef), side, side, -1))
        start += columns
    return _Linear(classes, asked, parts, bias)


def _asked(run: Run, classes: Sequence[str], label: str | None) -> int | None:
    """Give the number of the class that is asked for."""
    if label is not None and label not in classes:
        raise TlfeatError(
            f"There is no class {label!r} in {run.name}.{did_you_mean(label, classes)}"
        )
    return None if label is None else list(classes).index(label)


def _coefficients(pipeline: Any, n_classes: int) -> tuple[_Floats, _Floats]:
    """Give weights and biases of all classes on features that are not standardised.

    With z = (f - m) / s the logit w z + b is (w / s) f + b - (w / s) m. A class that train lacked
    has minus infinity as its bias.
    """
    scaler, estimator, temperature = pipeline[0], pipeline[-1], 1.0
    if hasattr(estimator, "calibrated_classifiers_"):
        (calibrated,) = estimator.calibrated_classifiers_
        temperature = 1 / float(calibrated.calibrators[0].beta_)
        estimator = estimator.estimator.estimator
    coef, bias = estimator.coef_ / temperature, np.atleast_1d(estimator.intercept_) / temperature
    coef = np.atleast_2d(coef) / scaler.scale_
    bias = bias - coef @ scaler.mean_
    if len(coef) == 1:
        coef, bias = np.vstack([-coef, coef]), np.concatenate([-bias, bias])
    every, biases = np.zeros((n_classes, coef.shape[1])), np.full(n_classes, -np.inf)
    every[pipeline.classes_], biases[pipeline.classes_] = coef, bias
    return every, biases


def _unpooled(run: Run, weights: str | Path | None = None) -> NetworkRequest:
    """Ask for the network of a run, to give places where the run takes their mean."""
    network = network_of(run.recipes, weights or run.weights)
    for recipe in run.recipes:
        row, layer = network.backbone, recipe.layer
        if is_network_file(row.name) and len(feature_shape(row, network.size, layer, "none")) != 3:
            raise TlfeatError(
                f"{layer} of {row.name} is no mean over places of a picture, so there is no map: "
                "name a layer that has places, as `tlfeat backbones FILE --layers` lists them."
            )
    outputs = [
        output if grid_side(output.pool) else Output(output.layer, "none")
        for output in network.outputs
    ]
    return replace(network, outputs=tuple(outputs))


def _explained(square: Square, rows: Iterator[Sequence[_Floats]], linear: _Linear) -> Explanation:
    nothing = np.zeros((0, 0)), np.zeros((0, 0, 3), np.uint8)
    if square.pixels is None:
        return Explanation(
            square.id, None, None, float("nan"), nothing[0], 0.0, nothing[1], square.reason
        )
    shares = [
        _shares(part, weights) for part, weights in zip(next(rows), linear.weights, strict=True)
    ]
    logits = linear.bias + sum(share.mean(axis=(1, 2)) for share in shares)
    best = int(np.argmax(logits))
    label = best if linear.asked is None else linear.asked
    side = max(share.shape[1] for share in shares)
    heat = np.sum([_stretched(share[label], side) for share in shares], axis=0)
    return Explanation(
        square.id,
        linear.classes[label],
        linear.classes[best],
        float(logits[label]),
        heat,
        float(linear.bias[label]),
        square.pixels,
    )


def _shares(part: _Floats, weights: _Floats) -> _Floats:
    """Give each place's share of each class's logit; (n_classes, rows, columns).

    Of an average over the places p of a, w a = mean over p of w a_p. A grid's cells are averages
    already, with weights of their own, and are added: n of them, each as n times its share.
    """
    cells = weights.shape[1]
    if cells == 1:
        shares: _Floats = np.einsum("kc,rsc->krs", weights[:, 0, 0], part.astype(np.float64))
        return shares
    grid = part.reshape(cells, cells, -1).astype(np.float64)
    of_cells: _Floats = cells**2 * np.einsum("krsc,rsc->krs", weights, grid)
    return of_cells


def _stretched(heat: _Floats, side: int) -> _Floats:
    """Bring a map to a side, its mean as it was."""
    if len(heat) == side:
        return heat
    image = Image.fromarray(heat.astype(np.float32))
    stretched: _Floats = np.array(image.resize((side, side), Image.Resampling.BILINEAR), float)
    stretched += heat.mean() - stretched.mean()
    return stretched


def draw_explanation(explanation: Explanation) -> Image.Image:
    """Lay the map on its picture: orange speaks for the class, blue against it.

    Parameters
    ----------
    explanation : Explanation
        Of a picture that can be used.

    Returns
    -------
    image : Image
        The picture as the network sees it, and beside it the same under the map.

    Examples
    --------
    >>> run = tlfeat.train("garments", head="lda")  # doctest: +SKIP
    >>> one = next(tlfeat.explain(run, "new-pictures"))  # doctest: +SKIP
    >>> tlfeat.draw_explanation(one).save("map.png")  # doctest: +SKIP
    """
    one = explanation
    side = len(one.square)
    heat = np.asarray(
        Image.fromarray(one.map.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    )
    heat = heat / max(float(np.abs(one.map).max()), 1e-9)
    strength = (_STRONGEST * np.abs(heat)).clip(0, _STRONGEST)[..., None]
    colour = np.where(heat[..., None] > 0, _FOR, _AGAINST)
    grey = one.square.mean(axis=2, keepdims=True).repeat(3, axis=2)
    laid = (1 - strength) * grey + strength * colour
    return Image.fromarray(np.hstack([one.square, laid.round().astype(np.uint8)]))
