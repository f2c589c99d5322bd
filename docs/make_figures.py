"""Draw the figures of docs/explanation/ with tlfeat's own functions; `make figures` runs it.

python docs/make_figures.py [FOLDER]

All are made of scikit-learn's digits, or of random numbers with a seed: they are the same wherever
they are drawn. Each is two functions: what is counted, and how it is drawn.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import tlfeat
from tlfeat.heads.temperature import fit_temperature, tempered
from tlfeat.report.figures import draw_reliability
from tlfeat.report.style import BLUE, MUTED, ORANGE, new_axes, styled
from tlfeat.runs.calibration import calibration_error, reliability
from tlfeat.runs.statistics import wilson

HERE = Path(__file__).parent / "explanation"
NETWORK = "efficientnet-lite0"
LAYERS = ("stage1:avg", "stage2:avg", "stage3:avg", "stage4:avg", "stage4:grid4", "last:avg")
TRAIN, TEST = slice(0, 500), slice(500, 800)  # of the digits, in the order of scanning


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Give the scans as rows of 64 shares of ink, (1797, 64), and what they are."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def by_layer() -> pd.DataFrame:
    """Count what `lda` has right on the features of each layer, and on plain pixels."""
    X, y = digits()
    plain = tlfeat.HeadClassifier("lda").fit(X[TRAIN], y[TRAIN]).predict(X[TEST])
    rows = [("pixels", float((plain == y[TEST]).mean()))]
    with tempfile.TemporaryDirectory() as folder:
        shapes = tlfeat.list_layers(NETWORK, 64, cache=folder)
        features = tlfeat.extract(
            "digits", NETWORK, features="+".join(LAYERS), size=64, cache=folder
        )
    order = np.argsort(
        [int(name.removeprefix("digits[").removesuffix("]")) for name in features.ids]
    )
    # (n, d) of all layers side by side; a grid of 4x4 has 16 times the channels
    widths = [shapes[one.split(":")[0]][-1] * (16 if "grid4" in one else 1) for one in LAYERS]
    for layer, F in zip(
        LAYERS, np.split(features.X[order], np.cumsum(widths)[:-1], axis=1), strict=True
    ):
        found = tlfeat.HeadClassifier("lda").fit(F[TRAIN], y[TRAIN]).predict(F[TEST])
        rows.append((layer, float((found == y[TEST]).mean())))
    return pd.DataFrame(rows, columns=["layer", "right"])


def draw_by_layer(table: pd.DataFrame) -> Any:
    """Draw a bar a layer with its interval."""
    ax = new_axes(6.2, 2.9)
    low, high = wilson(table["right"].to_numpy(), 300)
    right, place = 100 * table["right"], np.arange(len(table))
    colours = [MUTED, *([BLUE] * (len(table) - 1))]
    ax.barh(place, right, color=colours, height=0.6)
    ax.hlines(place, 100 * low, 100 * high, color="black", linewidth=1.4)
    for row, (end, value) in enumerate(zip(100 * high, right, strict=True)):
        ax.annotate(f"{value:.1f}", (end + 1, row), va="center")
    ax.set_yticks(place, table["layer"])
    ax.invert_yaxis()
    ax.set_xlim(0, 108)
    ax.set_xlabel("right on 300 test digits, % (line: 95% interval)")
    return ax


def leaked() -> pd.DataFrame:
    """Count what two heads have right on test while copies of test pictures lie in train."""
    X, y = digits()
    order = np.random.default_rng(0).permutation(np.arange(500, 800))
    rows = []
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        copies = order[: round(share * len(order))]
        blurred = X[copies] + np.random.default_rng(1).normal(0, 0.02, (len(copies), 64))
        more, labels = np.vstack([X[TRAIN], blurred]), np.append(y[TRAIN], y[copies])
        for head in ("knn", "lda"):
            found = tlfeat.HeadClassifier(head).fit(more, labels).predict(X[TEST])
            rows.append((head, 100 * share, 100 * float((found == y[TEST]).mean())))
    return pd.DataFrame(rows, columns=["head", "leaked", "right"])


def draw_leaked(table: pd.DataFrame) -> Any:
    """Draw a line a head; each is true where nothing is leaked."""
    ax = new_axes(6.2, 3.0)
    for colour, (head, rows) in zip((ORANGE, BLUE), table.groupby("head"), strict=True):
        ax.plot(rows["leaked"], rows["right"], color=colour, marker="o")
        last = rows.iloc[-1]
        ax.annotate(
            str(head), (last["leaked"], last["right"]), xytext=(8, 0),
            textcoords="offset points", va="center", color=colour, weight="bold",
        )  # fmt: skip
        ax.axhline(rows["right"].iloc[0], color=colour, linewidth=0.8, linestyle="--", zorder=0)
    ax.set_xlim(-3, 112)
    ax.set_xlabel("test pictures of which a noisy copy lies in train, %")
    ax.set_ylabel("right on test, %")
    return ax


def test_sets() -> pd.DataFrame:
    """Draw forty test sets for a classifier that is right nine times of ten, with intervals."""
    random = np.random.default_rng(4)
    tables = []
    for n in (100, 1000):
        share = random.binomial(n, 0.9, 40) / n
        low, high = wilson(share, n)
        order = np.argsort(share, kind="stable")
        tables.append(pd.DataFrame({"n": n, "share": share, "low": low, "high": high}).iloc[order])
    return pd.concat(tables, ignore_index=True)


def draw_test_sets(table: pd.DataFrame) -> Any:
    """Draw the intervals of small test sets beside those of large ones."""
    ax = new_axes(6.2, 3.2)
    for start, (n, rows) in zip((0, 46), table.groupby("n"), strict=True):
        x = start + np.arange(len(rows))
        missed = ((rows["low"] > 0.9) | (rows["high"] < 0.9)).to_numpy()
        colours = np.where(missed, ORANGE, BLUE)
        ax.vlines(x, 100 * rows["low"], 100 * rows["high"], colors=colours, linewidth=1.6)
        ax.scatter(x, 100 * rows["share"], s=9, c=colours, zorder=3)
        ax.annotate(
            f"40 test sets of {n:,} pictures, {missed.sum()} missed", (x.mean(), 101), ha="center"
        )
    ax.axhline(90, color=MUTED, linewidth=1, linestyle="--")
    ax.set_ylim(72, 103)
    ax.set_xticks([])
    ax.set_ylabel("right, % (truth: 90)")
    return ax


def calibrated() -> Mapping[str, pd.DataFrame]:
    """Fit a network to few digits, and a temperature to others; look at a third part."""
    X, y = digits()
    order = np.random.default_rng(3).permutation(len(y))  # held and test rows of one kind
    X, y = X[order], y[order]
    noisy = X + np.random.default_rng(2).normal(0, 0.25, X.shape)
    network = MLPClassifier((64,), alpha=1e-5, max_iter=400, random_state=0).fit(
        noisy[:300], y[:300]
    )
    logits = np.log(np.clip(network.predict_proba(noisy), 1e-12, None))
    temperature = fit_temperature(y[300:800], logits[300:800])
    return {
        "before": reliability(y[800:], tempered(logits[800:], 1.0)),
        "after": reliability(y[800:], tempered(logits[800:], temperature)),
    }


def draw_calibrated(tables: Mapping[str, pd.DataFrame]) -> Any:
    """Draw reliability without the temperature and with it."""
    ax = draw_reliability(tables["after"], before=tables["before"])
    errors = [100 * calibration_error(tables[name]) for name in ("before", "after")]
    ax.set_title("off by {:.1f} points, then {:.1f}".format(*errors))
    return ax


FIGURES: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "frozen-features": (by_layer, draw_by_layer),
    "leaks": (leaked, draw_leaked),
    "intervals": (test_sets, draw_test_sets),
    "calibration": (calibrated, draw_calibrated),
}


def write(name: str, folder: Path) -> Path:
    """Count, draw and write one figure as NAME.svg."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    count, draw = FIGURES[name]
    path = folder / f"{name}.svg"
    with styled():
        figure = draw(count()).figure
        figure.dpi = 72
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(path, metadata={"Date": None, "Creator": "tlfeat"})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    target.mkdir(parents=True, exist_ok=True)
    for figure in FIGURES:
        print(write(figure, target))
