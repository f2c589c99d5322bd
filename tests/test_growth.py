"""What twice the pictures would bring: ranges from curves that are known."""

from pathlib import Path

import numpy as np
import pytest

from tlfeat.runs import growth
from tlfeat.runs.growth import (
    HELD,
    Foresight,
    draw_interval,
    draw_spread,
    family_lines,
    foresee,
)
from tlfeat.runs.shots import ShotCurve, ShotPoint

N, JUDGED = 1000, 2000


def curve_of(accuracy, sizes=(50, 100, 200, 500), noise=0.01, seed=0, whole=True, repeats=8):
    """Measure a curve: draws of standard deviation `noise` at the whole, as draws have it."""
    random = np.random.default_rng(seed)
    points = []
    for size in sizes:
        spread = noise * np.sqrt((N / size) ** 0.75 * (1 - size / N))
        found = accuracy(size) + spread * random.normal(size=repeats)
        points.append(ShotPoint(size // 10, size, tuple(found.tolist())))
    if whole:
        points.append(ShotPoint("all", N, (float(accuracy(N)),)))
    return ShotCurve("id", "name", "test", JUDGED, N, tuple(points))


TRUE = {
    "power law": lambda n: 0.9 - 2.0 * n**-0.5,
    "power law of 1": lambda n: 0.85 - 15.0 / n,
    "exponential": lambda n: 0.85 - 0.3 * np.exp(-n / 400),
    "Morgan-Mercer-Flodin": lambda n: 0.9 - 0.5 / (1 + (n / 150)),
}


@pytest.mark.parametrize("name", TRUE)
def test_ranges_hold_what_known_curves_reach_about_as_often_as_they_say(name):
    random = np.random.default_rng(1)
    held = []
    for seed in range(60):
        noise = 0.006
        reached = TRUE[name](2 * N) + noise * np.sqrt(0.5) * random.normal()
        found = foresee(curve_of(TRUE[name], noise=noise, seed=seed))
        held.append(found.low <= reached <= found.high)
    assert np.mean(held) >= 0.75


def test_a_range_is_wider_where_draws_differ_more_and_further_on():
    def width(found):
        return found.high - found.low

    calm, wild = (foresee(curve_of(TRUE["power law"], noise=noise)) for noise in (0.003, 0.02))
    assert width(wild) > 1.5 * width(calm)
    curve = curve_of(TRUE["power law"], noise=0.003)
    assert (
        width(foresee(curve, 4 * N)) > width(foresee(curve, 2 * N)) > width(foresee(curve, 1200))
    )


def test_where_the_curve_is_known_the_luck_of_the_new_pictures_is_left(monkeypatch):
    curve = curve_of(TRUE["power law"], noise=0.02)
    (first, *_) = growth._fits(curve, draw_spread(curve))
    sure = first._replace(root=np.zeros((2, 2)), weight=1.0)
    monkeypatch.setattr(growth, "_fits", lambda *told: [sure])
    found = foresee(curve)
    expected = 2 * 1.2816 * draw_spread(curve) * 0.5**0.5
    assert found.high - found.low == pytest.approx(expected, rel=0.03)


def test_a_size_that_is_there_already_is_not_foretold():
    with pytest.raises(ValueError, match="more than the 1000 of train"):
        foresee(curve_of(TRUE["power law"]), N)


def test_families_weigh_by_what_they_fit_and_their_lines_go_through_the_points():
    curve = curve_of(TRUE["exponential"], noise=0.0005, sizes=(50, 100, 200, 400, 700))
    found = foresee(curve)
    assert sum(found.families.values()) == pytest.approx(1)
    assert set(found.families) == set(family_lines(curve, [N]))
    for line in family_lines(curve, [N]).values():
        assert line[0] == pytest.approx(TRUE["exponential"](N), abs=0.03)


def test_a_range_stays_between_nothing_and_everything_right():
    found = foresee(curve_of(lambda n: min(0.5 + 0.08 * np.log(n), 0.999), noise=0.02))
    assert 0 <= found.low <= found.middle <= found.high <= 1


def test_the_spread_of_draws_is_found_from_those_that_overlap():
    spreads = [draw_spread(curve_of(TRUE["power law"], noise=0.02, seed=s)) for s in range(30)]
    assert np.mean(spreads) == pytest.approx(0.02, rel=0.1)
    curve = curve_of(TRUE["power law"], noise=0.02)
    widths = [high - low for low, high in (draw_interval(curve, p) for p in curve.points)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (curve_of(TRUE["power law"], whole=False), "add all"),
        (curve_of(TRUE["power law"], sizes=(100,)), "2 sizes"),
        (curve_of(TRUE["power law"], sizes=()), "1 size "),
        (curve_of(lambda n: 0.8, noise=0.02), "no more than draws differ"),
        (curve_of(lambda n: 0.9 - n / 5000, noise=0.01), "no more than draws differ"),
        (curve_of(TRUE["power law"], sizes=(600, 700, 800)), "not even 2 times as many"),
        (curve_of(TRUE["power law"], repeats=1), "drawn more than once"),
    ],
)
def test_a_curve_that_tells_nothing_has_no_range_and_a_reason(curve, reason):
    assert reason in foresee(curve)


def test_what_does_not_change_between_draws_still_has_a_range():
    curve = curve_of(TRUE["power law"], noise=0.0)
    assert isinstance(foresee(curve), Foresight)


def test_how_often_ranges_held_is_what_the_table_of_the_docs_says():
    page = (Path(__file__).parents[1] / "docs" / "shots.md").read_text()
    (total,) = (line for line in page.splitlines() if line.startswith("| **all**"))
    assert f"| {HELD.held} of {HELD.of} |" in total
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    parts = [cell.split(" of ") for row in rows for cell in row if " of " in cell][:-1]
    assert sum(int(held) for held, _ in parts) == HELD.held
    assert sum(int(n) for _, n in parts) == HELD.of
