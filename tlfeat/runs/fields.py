"""What a run.json must hold for tables, pages and predictions to be made of it.

A record may be foreign, or of an older version without a digest: what lacks a field, or has
something else in it, is answered once, here, in one sentence.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from tlfeat.features.recipe import MOST_PIXELS
from tlfeat.heads.metric import METRICS

Check = Callable[[Any, str], str | None]  # of a value and its place: what is wrong, or None


def problem_of(record: Mapping[str, Any]) -> str | None:
    """Say what a record lacks, or has that makes no sense; None where all is there."""
    wrong = None
    if _is_older(record):
        wrong = _OLDER(record, "") or _maybe(_list(_MAPPING))(record.get("phases"), "phases")
        record = record if wrong else as_today(record)
    wrong = wrong or _COMMON(record, "")
    if wrong is None:
        wrong = (_HEAD if record["kind"] == "head" else _FINETUNE)(record, "")
    if wrong is None:  # what older records may lack
        wrong = _maybe(_TEXT)(record.get("weights"), "weights")
        wrong = wrong or _maybe(_MAPPING)(record["dataset"].get("asked"), "dataset.asked")
        wrong = wrong or _maybe(_MAPPING)(record.get("later_settings", {}), "later")
        wrong = wrong or _maybe(_AUTO)(record.get("auto"), "auto")
        wrong = wrong or _maybe(_fields(history=_list(_MAPPING)))(record.get("refit"), "refit")
        if record["kind"] == "head":
            metric = record["head"].get("metric", "accuracy")
            wrong = wrong or _one_of(*METRICS)(metric, "head.metric")
    if wrong is None:
        classes = set(record["dataset"]["classes"])
        for split, metrics in record["metrics"].items():
            if set(metrics["per_class"]) != classes:
                return f"metrics.{split}.per_class has other classes than the dataset"
    return wrong


def as_today(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a record of an earlier schema, whose fields were checked, the fields of today's.

    Up to schema 2 the first recipe said what a network sees of a picture, of a fine-tune too.
    """
    if not _is_older(record):
        return dict(record)
    first = record["recipes"][0]
    today = {
        **record,
        "weights_digest": first["weights"],
        "pictures": {key: first[key] for key in _PICTURES},
    }
    if record.get("kind") == "finetune":
        today["recipes"] = []
        today["phases"] = [
            {"optimizer" if key == "optimiser" else key: phase[key] for key in phase}
            for phase in record.get("phases") or ()
        ]
    return today


def _is_older(record: Mapping[str, Any]) -> bool:
    return record.get("schema") in (1, 2)


def _is(*kinds: type) -> Check:
    def check(value: Any, place: str) -> str | None:
        if isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds):
            return None
        return f"{place} is {type(value).__name__}"

    return check


def _number(least: float, most: float = sys.float_info.max, *, whole: bool = False) -> Check:
    def check(value: Any, place: str) -> str | None:
        kinds = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            return f"{place} is {str(value)[:40]}"
        return None

    return check


def _maybe(inner: Check) -> Check:
    return lambda value, place: None if value is None else inner(value, place)


def _one_of(*words: str) -> Check:
    return lambda value, place: None if value in words else f"{place} is {str(value)[:40]!r}"


def _list(inner: Check, least: int = 0) -> Check:
    def check(value: Any, place: str) -> str | None:
        if not isinstance(value, list) or len(value) < least:
            return f"{place} is no list of {least} or more"
        return next(filter(None, (inner(one, f"{place}[]") for one in value)), None)

    return check


def _each(inner: Check) -> Check:
    """Check every value of a mapping from text."""

    def check(value: Any, place: str) -> str | None:
        if not isinstance(value, dict):
            return f"{place} is {type(value).__name__}"
        return next(
            filter(None, (inner(one, f"{place}.{key}") for key, one in value.items())), None
        )

    return check


def _all(*checks: Check) -> Check:
    return lambda value, place: next(filter(None, (one(value, place) for one in checks)), None)


def _fields(**fields: Check) -> Check:
    """Check a mapping that must have these fields, and may have others."""

    def check(value: Any, place: str) -> str | None:
        if not isinstance(value, Mapping):
            return f"{place or 'the record'} is {type(value).__name__}"
        for name, inner in fields.items():
            inside = f"{place}.{name}" if place else name
            if name not in value:
                return f"{inside} is not there"
            if wrong := inner(value[name], inside):
                return wrong
        return None

    return check


_TEXT, _SWITCH, _MAPPING, _ANY = _is(str), _is(bool), _is(dict), _is(object)
_SHARE, _COUNT = _number(0, 1), _number(0, whole=True)
_OF_CLASS = _fields(precision=_SHARE, recall=_SHARE, f1=_SHARE, n=_COUNT)
_METRICS = _fields(
    n=_number(1, whole=True),
    accuracy=_SHARE,
    balanced_accuracy=_SHARE,
    precision_macro=_SHARE,
    recall_macro=_SHARE,
    f1_macro=_SHARE,
    roc_auc=_maybe(_SHARE),
    log_loss=_maybe(_number(0)),
    per_class=_each(_OF_CLASS),
)
_PICTURES: dict[str, Check] = {
    "size": _number(1, MOST_PIXELS, whole=True),
    "resize": _fields(rule=_TEXT, filter=_TEXT, antialias=_SWITCH, draft=_SWITCH),
    "scaling": _TEXT,
    "precision": _TEXT,
    "view": _is(str, list),
    "decoder": _COUNT,
}
_RECIPE = _fields(backbone=_TEXT, weights=_TEXT, **_PICTURES)
_AUTO = _fields(
    candidates=_list(_fields(features=_TEXT, columns=_COUNT), least=1), left_out=_each(_TEXT)
)
_OLDER = _fields(recipes=_list(_RECIPE, least=1))
_COMMON = _fields(
    id=_TEXT,
    name=_TEXT,
    kind=_one_of("head", "finetune"),
    created=_TEXT,
    backbone=_TEXT,
    features=_TEXT,
    dataset=_fields(
        source=_TEXT,
        kind=_TEXT,
        fingerprint=_TEXT,
        classes=_list(_TEXT, least=2),
        counts=_each(_each(_COUNT)),
        skipped=_list(_fields(id=_TEXT, reason=_TEXT)),
    ),
    split=_fields(rule=_TEXT, seed=_is(int), fingerprint=_TEXT),
    weights_digest=_TEXT,
    pictures=_fields(**_PICTURES),
    recipes=_list(_RECIPE),
    parent=_maybe(_MAPPING),
    seed=_is(int),
    n_train=_COUNT,
    parameters=_fields(total=_COUNT, trainable=_COUNT),
    metrics=_all(_fields(train=_ANY, validation=_ANY), _each(_METRICS)),
    seconds=_each(_maybe(_number(0))),
    ms_per_image=_maybe(_number(0)),
    stand_in=_maybe(_TEXT),
    versions=_MAPPING,
    machine=_MAPPING,
    warnings=_list(_TEXT),
)
_HEAD = _fields(
    recipes=_list(
        _fields(
            layer=_TEXT,
            pool=_TEXT,
            dtype=_one_of("float32", "float16"),
            feature_shape=_list(_number(1, 2**31, whole=True), least=1),
            schema=_COUNT,
        ),
        least=1,
    ),
    head=_fields(
        name=_TEXT,
        params=_MAPPING,
        search=_SWITCH,
        class_weight=_maybe(_TEXT),
        refit=_SWITCH,
        grid=_MAPPING,
        chosen=_MAPPING,
        tried=_list(_MAPPING),
        score_kind=_one_of("probability", "score"),
    ),
)
_FINETUNE = _fields(
    phases=_list(_fields(mode=_TEXT, epochs=_COUNT), least=1),
    top=_fields(kind=_TEXT, hidden=_list(_COUNT), dropout=_SHARE),
    keeps_top=_SWITCH,
    loss=_TEXT,
    batch=_number(1, whole=True),
    cut_dtype=_maybe(_TEXT),
    history=_list(_MAPPING),
    best_epoch=_MAPPING,
    file_bytes=_COUNT,
)
