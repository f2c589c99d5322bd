"""The tables of schedules, optimizers and augmentations, and the phases made of them."""

import math
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlfeat.errors import TlfeatError, UnknownName
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.augment import AUGMENTATIONS, build_augmentation, read_augmentations
from tlfeat.finetuning.choices import read_choice
from tlfeat.finetuning.mode_table import MODES
from tlfeat.finetuning.optimizers import OPTIMIZERS, build_optimizer
from tlfeat.finetuning.plan import (
    Phase,
    may_end_where_it_began,
    read_phase,
)
from tlfeat.finetuning.request import FinetuneRequest
from tlfeat.finetuning.schedules import SCHEDULES, Plateau, build_schedule, level_of
from tlfeat.finetuning.settings import Classifier, FinetuneSettings
from tlfeat.runs.identity import run_identity
from tlfeat.settings import setting


def schedule(text, rate=1e-3, steps=1000, warmup=0):
    return build_schedule(read_choice(text, SCHEDULES, "schedule"), rate, steps, warmup)


def test_cosine_with_restarts_is_its_formula():
    """Loshchilov and Hutter, SGDR, ICLR 2017, with S3's settings."""
    rate, first, t_mul, m_mul = 1e-3, 5000, 2.0, 0.75
    given = schedule(f"cosine-restarts:first_decay_steps={first}:t_mul={t_mul}:m_mul={m_mul}")

    def formula(step):
        cycle, length, height = 0, first, rate
        while step >= length:
            step, length, height, cycle = step - length, length * t_mul, height * m_mul, cycle + 1
        return height * (1 + math.cos(math.pi * step / length)) / 2

    steps = np.linspace(0, 60_000, 200).round()
    assert [float(given(step)) for step in steps] == pytest.approx(
        [formula(step) for step in steps], abs=1e-8
    )


def test_the_other_schedules_are_what_their_names_say():
    assert float(schedule("constant")(999)) == pytest.approx(1e-3)
    assert float(schedule("cosine")(500)) == pytest.approx(5e-4)
    assert float(schedule("cosine:alpha=0.1")(1000)) == pytest.approx(1e-4)
    assert float(schedule("step:every=100:factor=0.5")(99)) == pytest.approx(1e-3)
    assert float(schedule("step:every=100:factor=0.5")(200)) == pytest.approx(2.5e-4)
    assert float(schedule("exponential:decay_steps=10:factor=0.25")(5)) == pytest.approx(5e-4)


@pytest.mark.parametrize(("steps", "t_mul"), [(900, 2.0), (100, 2.0), (77, 1.0), (1000, 3.0)])
def test_a_cosine_with_restarts_begins_again_once_and_ends_with_its_second_cycle(steps, t_mul):
    given = schedule(f"cosine-restarts:t_mul={t_mul}", rate=1.0, steps=steps)
    curve = [float(given(step)) for step in range(steps)]
    rises = [step for step, (a, b) in enumerate(pairwise(curve), 1) if b > a]
    assert rises == [math.ceil(steps / (1 + t_mul))]
    assert curve[rises[0]] == pytest.approx(1.0)
    assert curve[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 99, 100, 101])
def test_a_rate_that_falls_in_steps_falls_twice_in_a_phase_whatever_its_length(steps):
    given = schedule("step", rate=1.0, steps=steps)
    curve = [float(given(step)) for step in range(steps)]
    assert curve[-1] == pytest.approx({1: 1.0, 2: 0.1}.get(steps, 0.01))
    lengths = [sum(rate == level for rate in curve) for level in dict.fromkeys(curve)]
    assert max(lengths) - lengths[-1] <= 2


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_can_be_warmed_up_into_and_then_follows_its_own_way(name):
    warm, plain = schedule(name, steps=1000, warmup=100), schedule(name, steps=900)
    rising = [float(warm(step)) for step in range(100)]
    assert all(a < b for a, b in pairwise(rising))
    assert 0 < rising[0] <= 1.1e-5
    for step in (0, 1, 450, 899):
        assert float(warm(100 + step)) == pytest.approx(float(plain(step)), rel=1e-5)


def test_a_plateau_lowers_the_rate_and_remembers_when_it_is_put_away():
    choice = read_choice("plateau:patience=2:factor=0.5", SCHEDULES, "schedule")
    way = build_schedule(choice, 1e-3, 100, 10)
    plateau = Plateau(choice, level_of(way))
    for epoch, loss in enumerate((1.0, 1.0)):
        plateau.on_epoch_end(epoch, {"val_loss": loss})
    other_way = build_schedule(choice, 1e-3, 100, 10)
    other = Plateau(choice, level_of(other_way))
    other.restore(plateau.state())
    for epoch in (2, 3, 4):
        other.on_epoch_end(epoch, {"val_loss": 1.0})
    assert float(other_way(50)) == pytest.approx(2.5e-4)
    assert float(way(50)) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_a_schedule_and_clips(name):
    optimizer = build_optimizer(
        read_choice(name, OPTIMIZERS, "optimizer"), schedule("constant", rate=0.1), clip_norm=1e-6
    )
    weight = keras.Variable(np.ones(3, np.float32))
    optimizer.apply([keras.ops.ones(3) * 1e3], [weight])
    moved = np.abs(np.asarray(weight) - 1)
    assert (moved > 0).all()
    if name == "sgd":
        assert np.linalg.norm(moved) == pytest.approx(1e-7, rel=0.2)


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_changes_pictures_by_the_batch_s_seed_alone(name):
    augment = build_augmentation(read_augmentations([name]), 24)
    one, labels = augment(PIXELS, LABELS, np.array([1, 2], np.int32))
    augment(PIXELS, LABELS, np.array([5, 5], np.int32))
    same, same_labels = augment(PIXELS, LABELS, np.array([1, 2], np.int32))
    fresh, _ = build_augmentation(read_augmentations([name]), 24)(
        PIXELS, LABELS, np.array([1, 2], np.int32)
    )
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_array_equal(one, fresh)
    assert one.shape == PIXELS.shape
    assert 0 <= np.min(one) <= np.max(one) <= 255
    np.testing.assert_allclose(np.sum(labels, axis=1), 1, atol=1e-5)
    seen = [
        np.asarray(augment(PIXELS, LABELS, np.array([1, batch], np.int32))[0])
        for batch in range(6)
    ]
    assert any(np.abs(other - PIXELS).max() > 1 for other in seen)
    assert any(np.abs(other - seen[0]).max() > 1 for other in seen[1:])


EQUAL = np.repeat(PIXELS[:1], 16, axis=0)
MIXERS = {"mixup", "cutmix"}


def changes(choice, pixels):
    """Give a function from a batch's number to its pictures and labels, two classes by turns."""
    labels = np.eye(2, dtype=np.float32)[np.arange(len(pixels)) % 2]
    augment = build_augmentation(read_augmentations([choice]), pixels.shape[1])

    def changed(batch=0):
        return [np.asarray(one) for one in augment(pixels, labels, np.array([1, batch], np.int32))]

    return changed


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - MIXERS))
def test_each_picture_of_a_batch_is_changed_in_its_own_way(name):
    changed = changes(name, EQUAL)
    for batch in range(3):
        assert len({picture.tobytes() for picture in changed(batch)[0]}) > 1


@pytest.mark.parametrize("name", sorted(MIXERS))
def test_each_picture_of_a_batch_is_mixed_with_a_share_of_its_own(name):
    two = np.zeros((32, 24, 24, 3), np.uint8)
    two[1::2] = 200
    mixed, labels = changes(f"{name}:{'alpha' if name == 'mixup' else 'factor'}=1", two)()
    shares = labels[:, 1]
    assert len(np.unique(shares[(shares > 0) & (shares < 1)].round(3))) > 4
    assert len({picture.tobytes() for picture in mixed}) > 4


def test_a_crop_cuts_each_picture_anywhere_out_of_the_enlarged_one():
    plain = PIXELS[:1].astype(np.float32)
    enlarged = np.asarray(keras.layers.Resizing(27, 30, "bicubic")(plain))[0].clip(0, 255)
    cuts = {
        (top, left): enlarged[top : top + 24, left : left + 24]
        for top in range(4)
        for left in range(7)
    }
    seen = set()
    changed = changes("crop:height=27:width=30", EQUAL)
    for batch in range(8):
        for picture in changed(batch)[0]:
            [place] = [at for at, cut in cuts.items() if np.abs(cut - picture).max() < 1e-3]
            seen.add(place)
    assert {top for top, _ in seen} == set(range(4))
    assert {left for _, left in seen} == set(range(7))


def test_a_crop_enlarged_one_way_only_is_cut_anywhere_along_it():
    wide = changes("crop:height=24:width=40", EQUAL)()[0]
    assert len({picture.tobytes() for picture in wide}) > 4


@pytest.mark.parametrize("name", ["AutoContrast", "Equalization"])
def test_randaugment_draws_an_operation_for_each_picture(name):
    """These two draw nothing themselves, so it shows which pictures they were drawn for."""
    pixels = np.concatenate([PIXELS // 2 + 40 * (number % 3) for number in range(16)])
    layer = getattr(keras.layers, name)(value_range=(0, 255))
    alone = [np.asarray(layer(picture))[0] for picture in np.split(pixels, len(pixels))]
    found = changes("randaugment:num_ops=1", pixels)()[0]
    drawn = [np.abs(a - b).max() < 1e-3 for a, b in zip(alone, found, strict=True)]
    assert 2 <= sum(drawn) <= 20  # of 96, by one of eleven


def limits(name):
    for key, one in AUGMENTATIONS[name].settings.items():
        for end in (one.least, one.most):
            if end is not None and one.default is not None:
                yield f"{name}:{key}={end:g}"
        for word in one.words:
            yield f"{name}:{key}={word}"


@pytest.mark.parametrize("choice", [one for name in AUGMENTATIONS for one in limits(name)])
def test_whatever_a_setting_may_be_can_be_done(choice):
    assert np.isfinite(changes(choice, PIXELS)()[0]).all()


def test_a_cutmix_beyond_its_range_is_refused():
    with pytest.raises(TlfeatError, match="at most 1"):
        read_augmentations(["cutmix:factor=2"])


def test_mixing_mixes_labels_as_it_mixes_pictures():
    plain = np.zeros((2, 8, 8, 3), np.uint8)
    plain[1] = 200
    augment = build_augmentation(read_augmentations(["mixup:alpha=1"]), 8)
    for batch in range(8):
        mixed, labels = augment(plain, np.eye(2, dtype=np.float32), np.array([0, batch], np.int32))
        share = np.mean(mixed, axis=(1, 2, 3)) / 200
        np.testing.assert_allclose(share, np.asarray(labels)[:, 1], atol=1e-2)


def test_a_crop_smaller_than_the_picture_is_refused():
    with pytest.raises(TlfeatError, match="at least 24"):
        build_augmentation(read_augmentations(["crop:height=20:width=30"]), 24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", "Did you mean 'cosine'"),
        ("cosine:alfa=1", "Did you mean 'alpha'"),
        ("cosine:alpha=2", "at most 1"),
        ("cosine:decay_steps=1.5", "whole number"),
        ("cosine:alpha", "NAME:KEY=VALUE"),
    ],
)
def test_a_choice_that_cannot_be_read_says_what_is_wanted(text, message):
    with pytest.raises(TlfeatError, match=message):
        read_choice(text, SCHEDULES, "schedule")


def test_a_choice_reads_alike_as_text_and_as_a_mapping():
    table = {"name": "rotation", "factor": 0.04, "fill_mode": "nearest"}
    assert read_augmentations([table]) == read_augmentations(
        ["rotation:factor=0.04:fill_mode=nearest"]
    )


def settings_of(schedule="cosine", augment=(), precision="float32"):
    said = {"mode": "full", "epochs": 2, "schedule": schedule, "learning_rate": 3e-4}
    phase = read_phase(said)
    network = FeatureSettings("efficientnet-lite0", precision=precision)
    return FinetuneRequest.settle(network, FinetuneSettings((phase,), augment=augment)).decisive(3)


def id_of(settings):
    return run_identity(
        "finetune", SimpleNamespace(fingerprint="data", split_fingerprint="split"), settings
    )


def test_the_id_of_a_run_stays_where_no_number_of_it_changed(monkeypatch):
    """Pinned: as they were before any row, or the top, got a method of its own."""
    monkeypatch.setattr("tlfeat.finetuning.request.TOP_METHOD", 1)
    assert {
        id_of(settings_of(augment=["flip", "mixup"]))[:8],
        id_of(settings_of("step:every=100"))[:8],
        id_of(settings_of("cosine-restarts:first_decay_steps=100"))[:8],
    } == {"b8587648", "7427b9e4", "d5fad0b1"}


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        ({"augment": ["flip", "crop"]}, {"crop": 2}),
        ({"augment": ["randaugment", "crop"]}, {"crop": 2, "randaugment": 2}),
        ({"schedule": "step"}, {"step": 2}),
        ({"schedule": "cosine-restarts:t_mul=3"}, {"cosine-restarts": 2}),
    ],
)
def test_a_run_whose_numbers_changed_has_another_id(given, methods):
    settings = settings_of(**given)
    assert settings.pop("methods") == methods | {"top": 2}
    assert id_of(settings) != id_of(settings_of(**given))


def test_a_phase_is_read_with_the_first_name_of_a_setting():
    assert read_phase({"optimiser": "sgd"}) == read_phase({"optimizer": "sgd"})


def test_a_setting_that_comes_later_is_in_names_and_leaves_the_ids_of_runs_before_it():
    @dataclass(frozen=True)
    class Later(Phase):
        weight_average: float = setting(0.0, "number", "Of epochs.", least=0, most=1, later=True)

    assert Later("full").checked().as_dict() == Phase("full").checked().as_dict()
    phase = Later("full", weight_average=0.9).checked()
    assert phase.as_dict()["weight_average"] == 0.9
    assert phase.unusual() == ["average0.9"]
    with pytest.raises(TlfeatError, match="weight_average must be a number from 0 to 1"):
        Later("full", weight_average=2).checked()


@pytest.mark.parametrize("name", MODES)
def test_every_mode_has_a_rate_of_its_own(name):
    phase = read_phase({"mode": name, "epochs": 3}).in_steps()
    assert phase.as_dict()["learning_rate"] == MODES[name].learning_rate
    assert phase.as_dict()["cut"] == ("stage4" if name == "partial" else None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "fully"}, "Did you mean 'full'"),
        ({"mode": "full", "cut": "stage4"}, "belongs to modes auto and partial"),
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": -1}, "from 0"),
        ({"epochs": 1.5}, "whole number"),
        ({"class_weight": "even"}, "balanced"),
    ],
)
def test_a_phase_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(TlfeatError, match=message):
        read_phase(values)


def test_what_a_run_starts_from_is_said_by_its_first_phase_only():
    with pytest.raises(TlfeatError, match="comes first"):
        FinetuneSettings(
            (
                Phase("frozen"),
                Phase("lp-ft"),
            ),
            Classifier(),
        ).checked(from_parent=False)
    with pytest.raises(TlfeatError, match="comes first"):
        FinetuneSettings((Phase("scratch"),), Classifier()).checked(from_parent=True)
    with pytest.raises(TlfeatError, match="logistic regression"):
        FinetuneSettings((Phase("lp-ft"),), Classifier(hidden=(8,))).checked(from_parent=False)


def test_an_unknown_top_is_refused():
    with pytest.raises(UnknownName, match="Did you mean 'own'"):
        Classifier("owm").checked()


def test_a_later_setting_of_the_whole_fine_tune_changes_ids_only_where_it_is_unusual():
    @dataclass(frozen=True)
    class Later(FinetuneSettings):
        mirror: float = setting(0.0, "number", "Of pictures.", least=0, most=1, later=True)

    def identity(**said):
        network = FeatureSettings("efficientnet-lite0")
        settings = Later((Phase("full"),), **said)
        return id_of(FinetuneRequest.settle(network, settings).decisive(3))

    network = FeatureSettings("efficientnet-lite0")
    before = FinetuneRequest.settle(network, FinetuneSettings((Phase("full"),))).decisive(3)
    assert identity() == id_of(before)
    assert identity(mirror=0.5) != id_of(before)


@pytest.mark.parametrize(
    ("phases", "keeps_top", "may"),
    [
        ([Phase("full", 2, patience=1)], False, False),  # a new top
        ([Phase("full", 2, patience=1)], True, True),
        ([Phase("lp-ft", 2, patience=1)], False, True),
        ([Phase("frozen", 2), Phase("full", 2, patience=1)], False, True),
        ([Phase("frozen", 0), Phase("full", 2, patience=1)], False, False),
        ([Phase("frozen", 2), Phase("full", 2)], True, False),  # nobody asked
    ],
)
def test_a_phase_may_end_where_it_began_if_that_was_trained(phases, keeps_top, may):
    assert may_end_where_it_began(phases, len(phases) - 1, keeps_top=keeps_top) is may


@pytest.mark.parametrize(("name", "of_keras"), [("adam",) * 2, ("adamw", "adam_w"), ("sgd",) * 2])
def test_an_optimizer_is_called_what_keras_calls_the_first_of_a_process(name, of_keras):
    for _ in range(2):  # a file of weights has the name in it, and is a parent by its bytes
        choice = read_choice(name, OPTIMIZERS, "optimizer")
        assert build_optimizer(choice, 0.1).name == of_keras
        scaled = build_optimizer(choice, 0.1, scale_loss=True)
        assert (scaled.name, scaled.inner_optimizer.name) == ("loss_scale_optimizer", of_keras)
