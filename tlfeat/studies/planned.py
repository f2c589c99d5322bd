"""One run of a study, every setting read and checked against the tables of tlfeat."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tlfeat.backbones.network_files import find_network, is_network_file, name_of
from tlfeat.backbones.table import DEFAULT_BACKBONE, get_backbone
from tlfeat.errors import TlfeatError
from tlfeat.features.recipe import parse_spec
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.augment import check_crops
from tlfeat.finetuning.mode_table import PARTED
from tlfeat.finetuning.plain_cnn import NAME as PLAIN_CNN
from tlfeat.finetuning.plain_cnn import SIZE, check_size
from tlfeat.finetuning.plan import read_phase
from tlfeat.finetuning.settings import Classifier, Effort, FinetuneSettings
from tlfeat.heads.table import get_head
from tlfeat.runs.orders import HeadPlan, head_name
from tlfeat.settings import checked_values, from_values, settings_of
from tlfeat.studies.schema import PHASE_KEYS, RUN_KEYS, StudyError, unknown_key

_OF_THE_PARENT: Final = (
    "backbone", "weights", "size", "resize", "precision", *settings_of(Classifier),
)  # fmt: skip


@dataclass(frozen=True)
class PlannedRun:
    """All that decides a run of a study, beside the data.

    Attributes
    ----------
    name : str
        Made of the settings where it is empty.
    network : FeatureSettings
        What the network is and sees; of a run that starts from another: that one's.
    stand_in : str or None
        What it stands in for, where not what the file names is used.
    head : HeadPlan or None
        Of a run that trains a head.
    training : FinetuneSettings
        Of a fine-tune; without phases for a head.
    keep : str
        See `Effort`.
    start : str or None
        `from` as written; `parent` and `epoch` are read from it.
    said : mapping
        What the file says of the network, of a run that starts from another.
    backbone_key : str
        The dotted key that says which network it uses.
    """

    name: str
    network: FeatureSettings = field(default_factory=FeatureSettings)
    stand_in: str | None = None
    head: HeadPlan | None = None
    training: FinetuneSettings = field(default_factory=FinetuneSettings)
    keep: str = "last"
    start: str | None = None
    parent: str | None = None
    epoch: int | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    backbone_key: str = "defaults.backbone"

    @property
    def side(self) -> int:
        """The side of the pictures that the network sees, where it is not that of a parent."""
        if self.network.size is not None:
            return self.network.size
        backbone = self.network.backbone
        return SIZE if backbone == PLAIN_CNN else find_network(backbone, self.network.weights).size

    @property
    def is_scratch(self) -> bool:
        """Whether it takes no weights: random ones are meant, as always in the plain CNN."""
        phases = self.training.phases
        return bool(phases) and phases[0].mode == "scratch"


def planned_head(settings: FeatureSettings, plan: HeadPlan) -> PlannedRun:
    """Plan a run of a head, named by what is not as usual in its settings.

    Raises
    ------
    TlfeatError
        If a setting of the features or the head cannot be.
    """
    network, plan = settings.checked(), plan.checked()
    return PlannedRun(head_name(network, plan), network, head=plan)


def plan_run(
    place: str, run: Mapping[str, Any], defaults: Mapping[str, Any], named: Mapping[str, Any]
) -> PlannedRun:
    """Read one run, its grids unfolded.

    Parameters
    ----------
    place : str
        For messages.
    run : mapping
        With its keys checked.
    defaults : mapping
        Of the study.
    named : mapping
        The same table with its defaults as the file has them, before anything was changed.

    Raises
    ------
    StudyError
        If a network, head, schedule and so on does not exist or a value cannot be.
    """
    is_head = "head" in run
    usual = {
        name: value
        for name, value in defaults.items()
        if RUN_KEYS[name].of in ("both", *(("head",) if is_head else ("finetune", "phase")))
    }
    if "from" in run:  # these are the ones of the run that it starts from
        usual = {name: usual[name] for name in usual if name not in _OF_THE_PARENT}
    if is_head and not _can_be_balanced(run):
        usual.pop("class_weight", None)
    if not is_head:  # a default is meant for heads, as it was before fine-tunes could be refitted
        usual.pop("refit", None)
    values = {**usual, **run}
    try:
        planned = _plan_head(values) if is_head else _plan_finetune(place, values, run, usual)
        planned = _with_checked_network(planned)
    except StudyError:
        raise
    except TlfeatError as error:
        raise StudyError(f"{place}: {error}") from None
    except (TypeError, ValueError) as error:  # a value of the right type that cannot be
        raise StudyError(f"{place}: {error}") from None
    key = f"run.{planned.name}.backbone" if "backbone" in run else "defaults.backbone"
    planned = replace(planned, backbone_key=key)
    return replace(planned, stand_in=run.get("stand_in") or _stands_in(planned, named))


def _can_be_balanced(run: Mapping[str, Any]) -> bool:
    """Say whether the head of a run can weigh classes; an unknown head is found out later."""
    try:
        return get_head(str(run["head"])).balanced
    except TlfeatError:
        return True


def _common(values: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: values[name] for name in settings_of(FeatureSettings) if name in values}
    return {"name": values["name"], "network": FeatureSettings(**said), "said": said}


def _plan_head(values: Mapping[str, Any]) -> PlannedRun:
    plan = HeadPlan(
        values["head"],
        _head_params(values.get("set", {})),
        values.get("search", True),
        values.get("class_weight"),
        values.get("refit", False),
        values.get("seed", 0),
        values.get("metric"),
    ).checked()
    return PlannedRun(**_common(values), head=plan)


def _head_params(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read `set = {"head.C" = 1}`, or the same as a table in a table."""
    params: dict[str, Any] = {}
    for name, value in given.items():
        if name == "head" and isinstance(value, Mapping):
            params |= value
        elif name.startswith("head."):
            params[name.removeprefix("head.")] = value
        else:
            raise TlfeatError(f"set: unknown key {name!r}: wanted head.KEY, such as head.C.")
    return params


def _plan_finetune(
    place: str, values: Mapping[str, Any], run: Mapping[str, Any], usual: Mapping[str, Any]
) -> PlannedRun:
    common = {name: values[name] for name in PHASE_KEYS if name in values}
    if "mode" not in values and not run.get("phase"):
        raise TlfeatError(
            "neither a head nor a mode: a run has head = ..., or mode = ..., or tables "
            "[[run.phase]]."
        )
    phases = []
    for number, phase in enumerate(run.get("phase") or [{}], 1):
        try:
            phases.append(read_phase(_of_phase(common, phase, run)))
        except TlfeatError as error:
            where = f"{place}, phase {number}" if run.get("phase") else place
            raise StudyError(f"{where}: {error}") from None
    start = run.get("from")
    classifier = None
    if start is None or settings_of(Classifier).keys() & values.keys():
        classifier = from_values(Classifier, values)
    if start is not None and ("backbone" in run or "weights" in run):
        raise TlfeatError(
            "from says what it starts from, so backbone and weights are that run's: leave them "
            "out."
        )
    training = from_values(FinetuneSettings, values, phases=phases, classifier=classifier)
    keep = settings_of(Effort)["keep"].check(values.get("keep", "last"))
    return PlannedRun(
        **_common(values),
        training=training.checked(from_parent=start is not None),
        keep=keep,
        start=start,
    )


def _of_phase(
    common: Mapping[str, Any], phase: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Join what the phase says with what the run and the defaults say of all phases."""
    joined = {**common, **phase}
    said = next((given for given in (phase, run) if {"cut", "train"} & given.keys()), {})
    for name in ("cut", "train"):
        if (joined.get("mode") not in PARTED or said) and name not in said:
            joined.pop(name, None)
    if joined.get("learning_rate") is not None:
        joined["learning_rate"] = float(joined["learning_rate"])
    return joined


def _with_checked_network(run: PlannedRun) -> PlannedRun:
    """Give a run with the network's name as its table has it."""
    network = run.network
    if run.start is not None:  # its backbone is looked at in the run that it starts from
        checked_values(replace(network, backbone=DEFAULT_BACKBONE))
        return run
    if network.backbone == PLAIN_CNN and run.head is None:
        classifier = run.training.classifier
        if not run.is_scratch or (classifier and classifier.kind != "new"):
            raise TlfeatError(
                f"{PLAIN_CNN} has no pretrained weights and no classifier of its own: train it "
                "in mode scratch with a new top."
            )
        checked_values(network)
        check_size(None, PLAIN_CNN, network.size)
    else:
        row = find_network(network.backbone, network.weights)
        parts = () if network.is_auto else parse_spec(network.features)
        named = [("features", part.layer) for part in parts]
        for phase in run.training.phases:
            key = "train" if phase.train else "cut"
            ends = [phase.cut_name, *(f"stage{last}" for last in (phase.stages or ())[1:])]
            named += [(key, end) for end in ends if end]
        for key, layer in named:  # other layers are only known once the network is built
            if layer.startswith("stag") and layer not in row.layers:
                raise unknown_key(key, layer, [*row.layers, "last"])
        network = network.checked()
    run = replace(run, network=network)
    check_crops(run.training.changes, run.side)
    return run


def _stands_in(run: PlannedRun, named: Mapping[str, Any]) -> str | None:
    """Say what a run stands in for: another network or other weights than the file names."""
    if run.start is not None:
        return None  # that of the run it starts from
    said = []
    wanted, network = _texts(named.get("backbone", DEFAULT_BACKBONE)), run.network
    if network.backbone not in {one if one == PLAIN_CNN else _canonical(one) for one in wanted}:
        said.append(f"{network.backbone} instead of {' or '.join(wanted)}")
    if not run.is_scratch and not is_network_file(network.backbone):
        said += _weights_stand_in(str(network.weights), _texts(named.get("weights", "imagenet")))
    return "; ".join(said) or None


def _weights_stand_in(weights: str, wanted: list[str]) -> list[str]:
    if weights not in wanted:
        word = weights if weights in ("imagenet", "random") else "other"
        return [f"{word} weights instead of {' or '.join(wanted)}"]
    return ["random weights"] if weights == "random" else []


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _canonical(name: str) -> str:
    if is_network_file(name):
        return name_of(name)
    try:
        return get_backbone(name).name
    except TlfeatError:  # a text with {keys}
        return name
