"""Draws of train pictures, heads that are fitted to them, and the file that keeps the figures."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

from tlfeat.errors import TlfeatError
from tlfeat.runs import shot_fits
from tlfeat.runs.shots import SHOTS, ShotFile, drawn_sizes, read_sizes, repeats_of, turns
from tlfeat.studies.compare import compare
from tlfeat.watch import Watch


def digests(n):
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]


def held(y, groups, size, repeat=0, seed=0):
    """Give the pictures of one draw of a size."""
    return set(np.flatnonzero(turns(y, groups, digests(len(y)), seed, repeat) < size).tolist())


@given(
    groups=st.lists(st.integers(0, 11), min_size=1, max_size=60),
    repeat=st.integers(0, 3),
    classes=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_larger_size_of_a_draw_holds_the_smaller_ones_and_no_group_in_part(
    groups, repeat, classes
):
    groups = np.array(groups)
    y = groups % classes
    smaller = set()
    for size in range(1, len(y) + 1):
        drawn = held(y, groups, size, repeat)
        assert smaller <= drawn
        assert {y[i] for i in drawn} == set(y.tolist())
        assert all(np.isin(np.flatnonzero(groups == groups[i]), list(drawn)).all() for i in drawn)
        smaller = drawn
    assert len(smaller) == len(y)


def test_a_size_has_so_many_pictures_of_each_class_and_all_of_one_that_has_fewer():
    y = np.array([0] * 30 + [1] * 7)
    drawn = held(y, np.arange(37), 10)
    assert [sum(y[i] == label for i in drawn) for label in (0, 1)] == [10, 7]
    assert drawn_sizes((5, 10, 30, 50, "all"), np.array([30, 7])) == {5: 10, 10: 17}


def test_groups_of_many_pictures_meet_a_size_in_the_mean():
    y, groups = np.repeat(np.arange(3), 60), np.repeat(np.arange(12), 15)
    numbers = [len(held(y, groups, 20, repeat)) / 3 for repeat in range(200)]
    assert set(numbers) <= {15, 20, 25, 30}
    assert np.mean(numbers) == pytest.approx(20, abs=1)


def test_draws_are_of_the_seed_the_repeat_and_the_pictures_alone():
    y, groups, names = np.arange(40) % 2, np.arange(40), digests(40)
    first = turns(y, groups, names, 0, 0)
    assert (first == turns(y, groups + 100, names, 0, 0)).all()
    order = np.random.default_rng(0).permutation(40)
    moved = turns(y[order], groups[order], [names[i] for i in order], 0, 0)
    assert (moved == first[order]).all()
    assert (first != turns(y, groups, names, 1, 0)).any()
    assert (first != turns(y, groups, names, 0, 1)).any()


def test_small_sizes_are_drawn_more_often():
    assert [repeats_of(n, 1000) for n in (50, 300, 900)] == [10, 6, 3]


@pytest.mark.parametrize("wrong", [["0"], ["-5"], ["5.5"], ["many"], ["\u0665"], []])
def test_what_is_no_size_is_said(wrong):
    with pytest.raises(TlfeatError, match="5,10,20,50,all"):
        read_sizes(wrong)


@pytest.fixture
def shots_of(pictures, cache, tmp_path):
    def run(*shots, heads=("lda", "knn"), **options):
        where = {"cache": cache, "reports": tmp_path / "reports"}
        return compare(pictures, heads=heads, shots=shots, size=SIZE, **where, **options)

    return run


@pytest.fixture
def fitted(monkeypatch):
    """List what is fitted to a part of train."""
    found = []
    usual = shot_fits._fit_one

    def fit(job, *rest):
        found.append(job.plan.head)
        return usual(job, *rest)

    monkeypatch.setattr(shot_fits, "_fit_one", fit)
    return found


def test_every_head_has_a_curve_that_ends_in_its_run_and_is_measured_once(shots_of, fitted):
    done = shots_of(2, 4, "all")
    assert [curve.run for curve in done.shots] == [line.id for line in done.runs]
    for curve, line in zip(done.shots, done.runs, strict=True):
        assert [point.size for point in curve.points] == [2, 4, "all"]
        assert [point.pictures for point in curve.points][:2] == [6, 12]
        assert curve.points[-1].accuracies == (line.metrics["test"]["accuracy"],)
        assert curve.n_judged == line.metrics["test"]["n"]
    assert fitted.count("lda") == repeats_of(6, curve.n_train) + repeats_of(12, curve.n_train)
    fitted.clear()
    before = (done.folder / SHOTS).stat().st_mtime_ns
    assert shots_of(2, 4, "all").shots == done.shots
    assert (done.folder / SHOTS).stat().st_mtime_ns == before
    assert fitted == []


def test_another_size_or_head_fits_that_alone(shots_of, fitted):
    shots_of(2, "all")
    fitted.clear()
    more = shots_of(2, 4, "all", heads=("lda", "ridge"))
    by_head = {curve.name.split("-")[-1]: curve for curve in more.shots}
    assert set(by_head) == {"lda", "ridge"}
    n_train = by_head["lda"].n_train
    assert fitted.count("lda") == repeats_of(12, n_train)
    assert fitted.count("ridge") == repeats_of(6, n_train) + repeats_of(12, n_train)
    assert "knn" not in fitted


def test_what_was_broken_off_goes_on_where_it_stopped(shots_of, fitted, monkeypatch):
    usual, often = ShotFile.write, []

    def stopped(self, folder):
        usual(self, folder)
        often.append(1)
        if len(often) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShotFile, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        shots_of(2, 4, "all")
    done = len(fitted)
    monkeypatch.setattr(ShotFile, "write", usual)
    again = shots_of(2, 4, "all")
    assert len(fitted) == 2 * sum(len(point.accuracies) for point in again.shots[0].points[:-1])
    assert done == 6


class Said(Watch):
    def __init__(self):
        self.said = []

    def warn(self, text):
        self.said.append(text)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "method": 1, "shots": [2]}'])
def test_a_damaged_file_is_measured_again_and_said(shots_of, text):
    first = shots_of(2, "all")
    (first.folder / SHOTS).write_text(text)
    watch = Said()
    assert shots_of(2, "all", watch=watch).shots == first.shots
    assert SHOTS in watch.said[0]
    assert json.loads((first.folder / SHOTS).read_text())["shots"] == [2, "all"]


def test_figures_that_no_fit_can_give_are_damage(shots_of):
    done = shots_of(2, "all")
    told = json.loads((done.folder / SHOTS).read_text())
    next(iter(told["fits"].values()))[0][3] = 1.5
    (done.folder / SHOTS).write_text(json.dumps(told))
    with pytest.raises(TlfeatError, match="cannot be read"):
        ShotFile.read(done.folder)


def test_draws_that_no_head_can_learn_from_are_left_out_and_said(shots_of):
    (curve,) = shots_of(1, 4, "all", heads=("lda",), params={"shrinkage": 0.5}).shots
    assert [point.size for point in curve.points][-2:] == [4, "all"]


def test_what_cannot_be_judged_or_is_of_other_pictures_is_refused(shots_of, pictures):
    with pytest.raises(TlfeatError, match="refit"):
        shots_of(2, "all", refit=True)
    from tlfeat.data.dataset import open_dataset

    dataset = open_dataset(pictures)
    train = tuple(one._replace(split="train") for one in dataset.samples)
    with pytest.raises(TlfeatError, match="neither test nor validation"):
        shot_fits.check_shots(replace(dataset, samples=train), [])


def test_without_test_pictures_validation_is_judged(pictures, cache, tmp_path):
    from tlfeat.data.dataset import open_dataset

    dataset = open_dataset(pictures)
    samples = tuple(
        one._replace(split="validation") if one.split == "test" else one for one in dataset.samples
    )
    done = compare(
        replace(dataset, samples=samples), heads=("lda",), shots=(2, 4, "all"), size=SIZE,
        cache=cache, reports=tmp_path / "reports",
    )  # fmt: skip
    (curve,) = done.shots
    assert curve.split == "validation"
    assert curve.points[-1].mean == done.best.metrics["validation"]["accuracy"]
    assert len(curve.points) == 3


def test_of_several_seeds_the_first_is_drawn(shots_of):
    done = shots_of(2, "all", heads=("lda",), seeds=2)
    (curve,) = done.shots
    (line,) = done.runs
    assert (curve.run, curve.name) == (line.seeds[0].id, line.name)
    assert curve.points[-1].mean == line.seeds[0].metrics["test"]["accuracy"]
