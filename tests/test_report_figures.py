"""Figures: legible with 2 classes and with 101, whatever the classes are called."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from disks import small_disk
from made_study import ODD_NAMES
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tlfeat.errors import TlfeatError
from tlfeat.report import figures
from tlfeat.report.curve_figures import draw_learning_curves
from tlfeat.report.curves import shared_limits
from tlfeat.report.style import CLASS_COLOURS, apart, save, short
from tlfeat.runs.costs import pareto_front

RANDOM = np.random.default_rng(0)


def names(k):
    return [*ODD_NAMES, *(f"dish number {i} of many" for i in range(k))][:k]


def class_table(k):
    f1 = RANDOM.random(k)
    return pd.DataFrame(
        {"class": names(k), "f1": f1, "low": f1 * 0.9, "high": f1 * 0.9 + 0.1, "n": 50}
    )


def run_table(k):
    value = 0.7 + 0.2 * RANDOM.random(k)
    table = pd.DataFrame(
        {
            "run": [f"efficientnet-lite{i % 3}-head-{i}" for i in range(k)],
            "kind": ["finetune" if i % 4 == 3 else "head" for i in range(k)],
            "value": value,
            "low": value - 0.05,
            "high": value + 0.05,
            "validation": value + 0.01,
            "seconds": 10 ** (1 + 2 * RANDOM.random(k)),
        }
    )
    front = pareto_front(table["seconds"].to_numpy(), table["validation"].to_numpy())
    return table.assign(front_seconds=front)


def confusion(k):
    counts = np.diag(RANDOM.integers(50, 90, k)) + RANDOM.poisson(0.5, (k, k))
    return pd.DataFrame(counts, names(k), names(k))


def projection(k):
    label = RANDOM.integers(0, k, 300)
    return pd.DataFrame(
        {
            "x": RANDOM.normal(size=300) + label,
            "y": RANDOM.normal(size=300),
            "class": [names(k)[i] for i in label],
            "right": RANDOM.random(300) < 0.8,
        }
    )


def tick_boxes(axis, renderer):
    labels = [label for label in axis.get_ticklabels() if label.get_text()]
    return [label.get_window_extent(renderer) for label in labels]


@pytest.mark.parametrize("k", [2, 10, 101])
@pytest.mark.parametrize("kind", ["confusion", "f1", "leaderboard"])
def test_labels_never_lie_on_each_other(kind, k):
    if kind == "leaderboard":
        ax = figures.draw_leaderboard(run_table(k))
    else:
        ax = (
            figures.draw_confusion(confusion(k))
            if kind == "confusion"
            else figures.draw_class_f1(class_table(k))
        )
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    frame = ax.figure.bbox
    for axis in (ax.yaxis, *([ax.xaxis] if kind == "confusion" else [])):
        boxes = tick_boxes(axis, canvas.get_renderer())
        assert len(boxes) == k
        for one, other in combinations(boxes, 2):
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            high = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(wide, high) < 1.5
        assert all(box.x0 >= frame.x0 - 1 and box.y0 >= frame.y0 - 1 for box in boxes)


def test_a_small_confusion_matrix_has_its_numbers_and_a_large_one_has_not():
    small, large = confusion(4), confusion(40)
    assert {t.get_text() for t in figures.draw_confusion(small).texts} == {
        str(n) for n in small.to_numpy().ravel() if n
    }
    assert not figures.draw_confusion(large).texts


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.draw_leaderboard(run_table(3)),
        lambda: figures.draw_cost(run_table(12), "seconds", "seconds"),
        lambda: figures.draw_confusion(confusion(4)),
        lambda: figures.draw_class_f1(class_table(4)),
        lambda: figures.draw_projection(projection(4)),
        lambda: figures.draw_projection(projection(40)),
    ],
)
def test_a_figure_is_written_as_svg_and_png_and_names_stay_text(draw, tmp_path):
    part = save(draw(), tmp_path / "figures" / "one")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"one.png", "one.svg"}
    svg = (tmp_path / "figures" / "one.svg").read_text()
    assert "<img" not in svg
    assert "currentColor" in part
    ids = re.findall(r'\bid="([^"]+)"', part)
    assert all(one.startswith("one-") for one in ids)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', part)
    assert set(used) <= set(ids)


def test_a_full_disk_leaves_no_half_figure(tmp_path):
    with (
        small_disk(5000),
        pytest.raises(TlfeatError, match=r"one\.png cannot be written: the disk"),
    ):
        save(figures.draw_class_f1(class_table(4)), tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_dollars_is_no_formula(tmp_path):
    svg = save(figures.draw_class_f1(class_table(4)), tmp_path / "one")
    assert "$\\frac{a}{b}$ (50)</text>" in svg


def test_an_axes_that_is_given_is_drawn_on():
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    assert figures.draw_leaderboard(run_table(3), left) is left
    assert figures.draw_projection(projection(40), right) is right


def test_curves_mark_where_a_phase_begins():
    epochs = np.arange(1, 7)
    table = pd.DataFrame(
        {
            "epoch": epochs,
            "phase": np.where(epochs > 4, 2, 1),
            "mode": np.where(epochs > 4, "full", "frozen"),
            "loss": 1 / epochs,
            "val_loss": 1 / epochs + 0.1,
        }
    )
    ax = draw_learning_curves(table, "loss")
    assert {"train", "validation", "frozen", "full"} <= {text.get_text() for text in ax.texts}
    marks = [line for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in marks] == [4.5]


def test_curves_of_an_epoch_and_of_missing_values_are_drawn():
    table = pd.DataFrame(
        {"epoch": [1], "phase": [1], "mode": ["full"], "loss": [0.5], "val_loss": [np.nan]}
    )
    assert draw_learning_curves(table, "loss").get_ylabel() == "loss"


def test_curves_of_one_metric_share_their_axes():
    tables = [
        pd.DataFrame(
            {
                "epoch": np.arange(1, n + 1),
                "phase": 1,
                "mode": "full",
                "loss": np.full(n, value),
                "val_loss": [np.nan] * n,
            }
        )
        for n, value in [(3, 0.2), (9, 1.4)]
    ]
    limits = shared_limits(tables, "loss")
    axes = [draw_learning_curves(one, "loss", limits=limits) for one in tables]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_ylim() == axes[1].get_ylim()
    low, high = axes[0].get_ylim()
    assert low < 0.2 < 1.4 < high
    assert axes[0].get_xlim()[1] > 9
    assert shared_limits([tables[0].assign(loss=np.nan)], "loss").values == (0.0, 1.0)


def test_reliability_has_a_point_for_each_bin():
    table = pd.DataFrame(
        {
            "from": [0.2, 0.8], "to": [0.4, 1.0], "n": [5, 20], "confidence": [0.3, 0.9],
            "accuracy": [0.4, 0.85], "low": [0.1, 0.7], "high": [0.8, 0.95],
        }
    )  # fmt: skip
    ax = figures.draw_reliability(table)
    assert any(len(line.get_xdata()) == 2 and line.get_ydata()[0] == 40 for line in ax.lines)


def test_few_classes_have_a_colour_each_and_many_show_mistakes():
    few, many = figures.draw_projection(projection(4)), figures.draw_projection(projection(40))
    assert len(few.collections) == 4
    assert len(many.collections) == 2
    assert len(set(CLASS_COLOURS)) == 10


def test_labels_are_pushed_apart():
    placed = apart(np.zeros((5, 2)), [1.0] * 5, 2.0)
    assert np.diff(np.sort(placed[:, 1])).min() >= 2
    beside = np.array([[0.0, 0.0], [5.0, 0.0]])
    assert (apart(beside, [1.0, 1.0], 2.0) == beside).all()


def test_a_long_name_is_cut_in_the_middle():
    assert short("x" * 80, 11) == "xxxxx…xxxxx"
    assert short("two\nlines") == "two lines"
