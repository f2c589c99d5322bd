"""Draws of train pictures, heads that are fitted to them, and the file that keeps the figures."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import colour_folders

from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.errors import HeadError, TlfeatError
from tlfeat.features.candidates import Candidates
from tlfeat.features.settings import FeatureSettings
from tlfeat.runs import shot_fits
from tlfeat.runs.orders import HeadJob, HeadPlan
from tlfeat.runs.record import load_run
from tlfeat.runs.shot_fits import check_shots, measure_shots
from tlfeat.runs.shots import SHOTS, ShotFile, drawn_sizes, read_sizes, repeats_of, turns
from tlfeat.runs.train import train_heads
from tlfeat.watch import Watch
from tlfeat.where import Where


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


@dataclass
class Study:
    """A study whose heads are trained; what is measured of shots is new in each test."""

    dataset: Dataset
    where: Where
    folder: Path

    def jobs(self, *heads, dataset=None, **plan):
        chosen = Candidates.of(
            FeatureSettings(size=SIZE, features="last:avg"), self.where.cache_folder
        )
        plans = [HeadPlan(head, **plan).checked() for head in heads]
        return [HeadJob(dataset or self.dataset, chosen, plan, self.folder) for plan in plans]

    def curves(self, *sizes, heads=("lda", "knn"), dataset=None, watch=None):
        dataset, where = dataset or self.dataset, replace(self.where, watch=watch or Watch())
        jobs = self.jobs(*heads, dataset=dataset)
        train_heads(dataset, jobs, where)
        file = measure_shots(dataset, jobs, sizes, where)
        return file.curves([load_run(job.folder) for job in jobs])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, networks):
    root = tmp_path_factory.mktemp("shots")
    (root / "cache").mkdir()
    (root / "cache" / "networks").symlink_to(networks)
    where = Where(cache=root / "cache", reports=root / "reports")
    return Study(open_dataset(colour_folders(root / "colours")), where, root / "reports" / "study")


@pytest.fixture
def study(trained):
    (trained.folder / SHOTS).unlink(missing_ok=True)
    return trained


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


def test_every_head_has_a_curve_that_ends_in_its_run_and_is_measured_once(study, fitted):
    curves = study.curves(2, 4, "all")
    for curve, job in zip(curves, study.jobs("lda", "knn"), strict=True):
        run = load_run(job.folder)
        assert curve.run == run.id
        assert [point.size for point in curve.points] == [2, 4, "all"]
        assert [point.pictures for point in curve.points] == [6, 12, run.metrics["train"]["n"]]
        assert curve.points[-1].accuracies == (run.metrics["test"]["accuracy"],)
        assert curve.n_judged == run.metrics["test"]["n"]
        assert fitted.count(job.plan.head) == sum(len(p.accuracies) for p in curve.points[:-1])
    fitted.clear()
    before = (study.folder / SHOTS).stat().st_mtime_ns
    assert study.curves(2, 4, "all") == curves
    assert (study.folder / SHOTS).stat().st_mtime_ns == before
    assert fitted == []


def test_a_fit_is_that_of_the_drawn_pictures_alone(study):
    (curve,) = study.curves(3, "all", heads=("lda",))
    train = [one for one in study.dataset.samples if one.split == "train"]
    others = [one for one in study.dataset.samples if one.split != "train"]
    y = np.array([one.label for one in train])
    turn = turns(y, np.arange(len(y)), [one.digest for one in train], 0, 1)
    drawn = [one for one, place in zip(train, turn, strict=True) if place < 3]
    part = replace(study.dataset, samples=(*drawn, *others))
    jobs = study.jobs("lda", dataset=part)
    train_heads(part, jobs, study.where)
    alone = load_run(jobs[0].folder).metrics["test"]["accuracy"]
    assert curve.points[0].accuracies[1] == alone


def test_another_size_or_head_fits_that_alone(study, fitted):
    study.curves(2, "all")
    fitted.clear()
    lda, ridge = study.curves(2, 4, "all", heads=("lda", "ridge"))
    assert fitted.count("lda") == len(lda.points[1].accuracies)
    assert fitted.count("ridge") == sum(len(point.accuracies) for point in ridge.points[:-1])
    assert "knn" not in fitted


def test_without_all_a_curve_ends_at_its_largest_size(study):
    (curve,) = study.curves(2, 4, heads=("lda",))
    assert [point.size for point in curve.points] == [2, 4]
    assert not curve.has_whole


def test_what_was_broken_off_goes_on_where_it_stopped(study, fitted, monkeypatch):
    usual, often = ShotFile.write, []

    def stopped(self, folder):
        usual(self, folder)
        often.append(1)
        if len(often) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShotFile, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        study.curves(2, 4, "all")
    assert len(fitted) == 6
    monkeypatch.setattr(ShotFile, "write", usual)
    again = study.curves(2, 4, "all")
    assert len(fitted) == sum(len(p.accuracies) for curve in again for p in curve.points[:-1])


def test_two_sizes_that_draw_the_same_groups_are_fitted_once_and_are_one_point(study, fitted):
    samples, often = [], [0, 0, 0]
    for one in study.dataset.samples:
        if one.split == "train":
            often[one.label] += 1
            one = one._replace(group=f"{one.label} {(often[one.label] - 1) // 3}")
        samples.append(one)
    dataset = replace(study.dataset, samples=tuple(samples))
    (curve,) = study.curves(1, 2, "all", heads=("lda",), dataset=dataset)
    assert [point.size for point in curve.points] == [1, "all"]
    assert 3 <= curve.points[0].pictures <= 9
    assert len(fitted) == len(curve.points[0].accuracies)


class Said(Watch):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_a_size_that_no_class_has_pictures_for_is_left_out_and_said(study):
    watch = Said()
    (curve,) = study.curves(2, 500, "all", heads=("lda",), watch=watch)
    assert [point.size for point in curve.points] == [2, "all"]
    assert any("500 a class would be all" in text for text in watch.said)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "method": 1, "shots": [2]}'])
def test_a_damaged_file_is_measured_again_and_said(study, text):
    first = study.curves(2, "all", heads=("lda",))
    (study.folder / SHOTS).write_text(text)
    watch = Said()
    assert study.curves(2, "all", heads=("lda",), watch=watch) == first
    assert SHOTS in watch.said[0]
    assert json.loads((study.folder / SHOTS).read_text())["shots"] == [2, "all"]


def test_figures_that_no_fit_can_give_are_damage(study):
    study.curves(2, "all", heads=("lda",))
    told = json.loads((study.folder / SHOTS).read_text())
    next(iter(told["fits"].values()))[0][3] = 1.5
    (study.folder / SHOTS).write_text(json.dumps(told))
    with pytest.raises(TlfeatError, match="cannot be read"):
        ShotFile.read(study.folder)


def test_draws_that_a_head_cannot_learn_from_are_left_out_and_their_reason_kept(
    study, monkeypatch
):
    usual = shot_fits.fit_planned

    def refuse(plan, part, choice):
        if len(part.train_rows(choice.first)) == 6:
            raise HeadError("Too few.")
        return (yield from usual(plan, part, choice))

    monkeypatch.setattr(shot_fits, "fit_planned", refuse)
    (curve,) = study.curves(2, 4, "all", heads=("lda",))
    assert [point.size for point in curve.points] == [4, "all"]
    assert curve.refused == ("Too few.",)


def test_what_cannot_be_judged_or_learns_other_pictures_is_refused(study):
    with pytest.raises(TlfeatError, match="refit"):
        check_shots(study.dataset, [HeadPlan("lda", refit=True)])
    train = tuple(one._replace(split="train") for one in study.dataset.samples)
    with pytest.raises(TlfeatError, match="neither test nor validation"):
        check_shots(replace(study.dataset, samples=train), [])


def test_without_test_pictures_validation_is_judged(study):
    samples = tuple(
        one._replace(split="validation") if one.split == "test" else one
        for one in study.dataset.samples
    )
    dataset = replace(study.dataset, samples=samples)
    (curve,) = study.curves(2, 4, "all", heads=("lda",), dataset=dataset)
    run = load_run(study.jobs("lda", dataset=dataset)[0].folder)
    assert curve.split == "validation"
    assert curve.points[-1].mean == run.metrics["validation"]["accuracy"]
    assert len(curve.points) == 3
