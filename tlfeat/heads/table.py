"""The heads: one row each, nothing else to touch when one is added.

Importing this module costs nothing, so that the command line can list it at once. Grids were
tried out on features of EfficientNet-Lite0 (photographs, traffic signs), standardised; they are
wide enough that the best value lay inside on each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from tlfeat.errors import HeadError, UnknownName, did_you_mean
from tlfeat.heads.settings import Setting, read_settings


@dataclass(frozen=True)
class Head:
    """A classifier on features, and what must be known to search, use and save it."""

    name: str
    summary: str
    settings: tuple[Setting, ...]  # the first that has a grid is the main regulariser
    learner: str  # the class that searches and fits it, as module:class
    types: tuple[str, ...]  # of the objects that its file may hold, besides `_COMMON_TYPES`
    balanced: bool = True  # can give every class the same total weight
    # the search along the first setting ends after so many values in a row of no less log loss;
    # None: all are tried
    patience: int | None = None
    # standard errors of the fewest errors within which settings are as good, and log loss decides
    within: float = 1.0
    outward: bool = False  # whether it goes on beyond its edges, where that costs no more
    # raised when it gives other numbers: old and new runs never share an id. 1 had no temperature
    # and chose the fewest errors, 2 judged groups of validation by what they had chosen.
    method: int = 3

    @property
    def file_types(self) -> frozenset[str]:
        """The types of all objects that a file of this head may hold."""
        return frozenset((*_COMMON_TYPES, *CALIBRATION_TYPES, *self.types))


_COMMON_TYPES: Final = (
    "builtins.dict",
    "builtins.list",
    "builtins.str",
    "builtins.tuple",
    "builtins.type",
    "numpy.bool",
    "numpy.dtype",
    "numpy.float32",
    "numpy.float64",
    "numpy.int32",
    "numpy.int64",
    "numpy.ndarray",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
)
CALIBRATION_TYPES: Final = (
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.frozen._frozen.FrozenEstimator",
)
_DECADES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
# every half decade from 1e-4 to 10
_HALF_DECADES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
_SHRINKAGES = (0.99, 0.95, 0.9, 0.8, 0.65, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01, 3e-3, 1e-3, 1e-4)


def _iterations(most: int) -> Setting:
    return Setting("max_iter", "whole", most, "iterations at the most", least=1)


def _cost(default: float, grid: tuple[float, ...]) -> Setting:
    return Setting("C", "number", default, "weight of the errors against the norm", grid, above=0)


_GAMMA = Setting(
    "gamma",
    "gamma",
    "scale",
    "width of the kernel; 'scale' is 1 / (features x their variance)",
    ("0.1*scale", "0.3*scale", "scale"),
)
_MLP = Head(
    "mlp",
    "neural network with one hidden layer of 256, Adam",
    (
        Setting("epochs", "whole", 30, "passes over the training rows", (8, 15, 30), least=1),
        Setting("alpha", "number", 10.0, "weight of the squared norm", least=0),
        Setting("hidden", "sizes", "256", "sizes of the hidden layers, as in 512-256"),
        Setting("learning_rate", "number", 2e-3, "Adam's step size", above=0),
        Setting("batch", "whole", 200, "rows a step", least=1),
    ),
    "tlfeat.heads.network:Network",
    (
        "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
        "sklearn.preprocessing._label.LabelBinarizer",
    ),
    patience=1,
    # 1 saw the same mini-batches in every pass, 2 was as the others' 1, 3 searched alpha, 5 summed
    # Adam's means in another order
    method=6,
)


def _with_default(head: Head, setting: str, value: Any) -> tuple[Setting, ...]:
    return tuple(replace(s, default=value) if s.name == setting else s for s in head.settings)


ENSEMBLE: Final = "ensemble"
SCREEN: Final = "lda"  # in closed form: says which feature matrices are worth a search
_SINGLE: Final = (
    Head(
        "logistic",
        "multinomial logistic regression with an L2 penalty",
        (_cost(1e-2, _HALF_DECADES), _iterations(1000)),
        "tlfeat.heads.linear:Logistic",
        ("sklearn.linear_model._logistic.LogisticRegression",),
        patience=2,
        # 3 solved all values of C to the same tolerance, 4 went over held rows as well, 5 was
        # guided by the mean bend of the losses alone, 6 began at the solution of the C before
        method=7,
    ),
    Head(
        "lda",
        "linear discriminant analysis with a shrunk covariance, in closed form",
        (
            Setting(
                "shrinkage",
                "number",
                0.5,
                "share of the covariance that is replaced by a multiple of the identity",
                _SHRINKAGES,
                above=0,
                most=1,
            ),
        ),
        "tlfeat.heads.closed_form:Discriminant",
        ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis",),
        patience=3,
        outward=True,
    ),
    Head(
        "ridge",
        "least squares on the classes with an L2 penalty, in closed form",
        (
            Setting(
                "alpha",
                "number",
                1000.0,
                "weight of the squared norm",
                (1e6, 3e5, 1e5, 3e4, 1e4, 3e3, 1e3, 300.0, 100.0, 30.0, 10.0, 1.0),
                above=0,
            ),
        ),
        "tlfeat.heads.closed_form:Ridge",
        (
            "sklearn.linear_model._ridge.RidgeClassifier",
            "sklearn.preprocessing._label.LabelBinarizer",
        ),
        patience=3,
        outward=True,
    ),
    Head(
        "svm-linear",
        "linear support vector machine, one class against the rest, squared hinge",
        (
            _cost(1e-4, (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, *_HALF_DECADES[:9])),
            _iterations(1000),
        ),
        "tlfeat.heads.linear:LinearMachine",
        ("sklearn.svm._classes.LinearSVC",),
        patience=2,
        method=7,  # as that of logistic
    ),
    Head(
        "svm-rbf",
        "support vector machine with a Gaussian kernel; needs the whole kernel matrix",
        (_cost(10.0, (0.1, 1.0, 10.0, 100.0)), _GAMMA),
        "tlfeat.heads.kernel:KernelMachine",
        ("sklearn.svm._classes.SVC",),
        patience=2,
        method=4,  # 3 left the last kernel to libsvm
    ),
    Head(
        "svm-nystroem",
        "linear support vector machine on a sampled Gaussian kernel, for many rows",
        (
            _cost(0.1, _DECADES),
            _GAMMA,
            Setting("components", "whole", 1000, "rows that the kernel samples", least=1),
            _iterations(1000),
        ),
        "tlfeat.heads.kernel:Nystroem",
        ("sklearn.kernel_approximation.Nystroem", "sklearn.svm._classes.LinearSVC"),
        patience=2,
        method=7,  # as that of svm-linear
    ),
    _MLP,
    replace(
        _MLP,
        name="mlp-512-256-128-64",
        summary="neural network with four hidden layers of 512, 256, 128 and 64, Adam",
        settings=_with_default(_MLP, "hidden", "512-256-128-64"),
    ),
    Head(
        "knn",
        "vote of the nearest training rows",
        (
            Setting("k", "whole", 10, "neighbours", (50, 30, 20, 10, 5, 3, 1), least=1),
            Setting(
                "weights",
                "choice",
                "uniform",
                "one vote each, or nearer ones more",
                ("uniform", "distance"),
                choices=("uniform", "distance"),
            ),
            Setting(
                "metric",
                "choice",
                "cosine",
                "how far two rows are apart",
                choices=("cosine", "euclidean"),
            ),
        ),
        "tlfeat.heads.neighbours:Neighbours",
        ("sklearn.neighbors._classification.KNeighborsClassifier",),
        balanced=False,
        # a class without a vote has a probability of next to nothing, so log loss alone would
        # take more neighbours than are right most often
        within=0.5,
        method=4,
    ),
    Head(
        "nearest-centroid",
        "the class whose mean is nearest, in deviations within classes",
        (
            Setting(
                "shrink",
                "number",
                0.0,
                "how far means move towards the overall mean, in standard errors",
                (3.0, 2.0, 1.0, 0.5, 0.0),
                least=0,
            ),
        ),
        "tlfeat.heads.neighbours:Centroids",
        ("sklearn.neighbors._nearest_centroid.NearestCentroid",),
        balanced=False,
    ),
)
_ENSEMBLE = Head(
    ENSEMBLE,
    "mean of the probabilities of several heads, chosen on held rows",
    (
        Setting(
            "members",
            "several",
            "logistic+lda+ridge",
            "heads to choose from",
            choices=tuple(head.name for head in _SINGLE),
        ),
        Setting("rounds", "whole", 20, "members that are added, one after the other", least=1),
    ),
    "",
    (
        *(kind for head in _SINGLE for kind in head.types),
        "builtins.slice",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.ensemble._voting.VotingClassifier",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelEncoder",
    ),
    method=1,
)
HEADS: Final = (*_SINGLE, _ENSEMBLE)
# those of a comparison where nobody names any: what has the longest stages first, see `run_jobs`
DEFAULT_HEADS: Final = ("logistic", "mlp", "svm-rbf", "lda", "ridge", "knn", ENSEMBLE)
_BY_NAME: Final = {head.name: head for head in HEADS}


def get_head(name: str) -> Head:
    """Give the head of that name; '-', '_' and case are equal.

    Raises
    ------
    UnknownName
        If there is none.
    """
    head = _BY_NAME.get(name.strip().lower().replace("_", "-"))
    if head is None:
        hint = did_you_mean(name, _BY_NAME)
        raise UnknownName(f"Unknown head {name!r}.{hint} There are {', '.join(_BY_NAME)}.")
    return head


def list_heads(pattern: str | None = None) -> list[Head]:
    """Give all heads, or those whose name fits a pattern such as `svm-*`.

    Examples
    --------
    >>> [row.name for row in tlfeat.list_heads()][:3]  # doctest: +SKIP
    ['logistic', 'lda', 'ridge']
    """
    wanted = "*" if pattern is None else pattern.lower().replace("_", "-")
    return [head for head in HEADS if fnmatchcase(head.name, wanted)]


def check_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the values given for a head, before anything long is begun.

    Parameters
    ----------
    name : str
        Of the head.
    given : mapping
        Values or their texts; several values (a list, or a text with commas) are searched.

    Returns
    -------
    read : dict
        A value, or a tuple of values, for each setting that was given.

    Raises
    ------
    UnknownName, HeadError
        If there is no such head or setting, or the setting cannot have that value.
    """
    head = get_head(name)
    read = read_settings(head.name, head.settings, given)
    for setting, value in read.items():
        if head.name == ENSEMBLE and isinstance(value, tuple):
            raise HeadError(f"{head.name} searches no {setting}: give one value.")
    return read


def check_class_weight(head: Head, class_weight: str | None) -> None:
    """Refuse a class weight that the head cannot use.

    Raises
    ------
    HeadError
        Naming the heads that can.
    """
    if class_weight not in (None, "balanced"):
        raise HeadError(f"class_weight must be 'balanced' or None; got {class_weight!r}.")
    if class_weight and not head.balanced:
        able = ", ".join(row.name for row in HEADS if row.balanced)
        raise HeadError(
            f"The head {head.name} cannot weigh classes; these can be balanced: {able}."
        )
