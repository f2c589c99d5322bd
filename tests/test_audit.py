"""What an audit finds besides pairs, what it costs, and the table that it leaves."""

import numpy as np
import pytest
from made_study import make_run, rows_of
from pictures import encode, write
from PIL import Image
from planted import photograph, photograph_folders, plant_copies, write_films, write_photographs

from tlfeat.audit.audit import audit_dataset
from tlfeat.audit.clean import (
    CONFLICT,
    COPY,
    LEAK,
    Cleaned,
    check_table,
    left_out,
    write_clean,
)
from tlfeat.audit.findings import BYTES, NEAR, PIXELS, SCENE, Finding, in_order
from tlfeat.audit.labels import doubt_labels
from tlfeat.audit.leaks import count_costs
from tlfeat.audit.looks import look
from tlfeat.audit.odd import BLANK, BLURRED, OUTLIER, SHAPE, TINY, find_odd
from tlfeat.audit.scenes import weigh_scenes
from tlfeat.audit.shortcut import find_shortcut
from tlfeat.data.dataset import open_dataset
from tlfeat.data.decode import UndecodableImage, picture_size
from tlfeat.errors import DataError


@pytest.fixture
def audited(cache, tmp_path):
    def run(data, **options):
        return audit_dataset(data, size=64, cache=cache, reports=tmp_path / "reports", **options)

    return run


def ids(findings):
    return [one.id for one in findings]


@pytest.fixture
def photographs(tmp_path):
    return photograph_folders(tmp_path / "photographs", 15, 6)


def test_an_audit_changes_no_picture_and_names_what_is_on_both_sides(photographs, audited):
    planted = plant_copies(photographs, exact=3, quality=3, cut=0)
    before = {path: path.read_bytes() for path in photographs.rglob("*.jpg")}
    found = audited(photographs)
    assert {path: path.read_bytes() for path in photographs.rglob("*.jpg")} == before
    assert {frozenset((one.id, one.other)) for one in found.leaks} == {
        frozenset((one.train, one.test)) for one in planted
    }
    assert len(found.of(BYTES)) == 3
    assert {sample.id for sample in found.leaked("test")} == {one.test for one in planted}
    for one in planted:
        digest = {sample.id: sample.digest for sample in found.dataset.samples}
        assert found.groups[digest[one.train]] == found.groups[digest[one.test]]


def test_the_same_pixels_in_another_file_are_told_from_a_changed_picture(photographs, audited):
    image = Image.open(photographs / "train" / "a" / "0.jpg")
    image.save(photographs / "train" / "a" / "again.png")
    found = audited(photographs)
    assert [one.finding for one in found.findings if one.is_pair] == [PIXELS]


def test_the_same_pixels_are_found_whatever_their_labels(photographs, audited):
    for label, number in (("b", 1), ("c", 2), ("a", 3)):
        image = Image.open(photographs / "train" / "a" / f"{number}.jpg")
        image.save(photographs / "train" / label / f"again{number}.png")
    found = audited(photographs)
    assert len(found.of(PIXELS)) == 3
    assert len(found.conflicts) == 2


def test_one_picture_under_two_labels_is_named(photographs, audited):
    write(photographs / "train/b/0x.jpg", (photographs / "train/a/0.jpg").read_bytes())
    (one,) = audited(photographs).conflicts
    assert {one.label, one.other_label} == {"a", "b"}


def test_films_make_what_is_judged_on_folds_too_good(tmp_path, audited):
    write_films(tmp_path / "films")
    found = audited(tmp_path / "films")
    assert found.scenes.n == 12
    assert found.scenes.matters
    assert found.scenes.parted > found.scenes.together + 0.1
    assert len(found.of(SCENE)) > 20 * len(found.of(NEAR))


def test_pictures_without_labels_are_looked_at_and_not_judged(tmp_path, audited):
    for number in range(8):
        write(tmp_path / "flat" / f"{number}.png", encode(photograph(number)))
    found = audited(tmp_path / "flat")
    assert found.scenes is None
    assert found.shortcut is None
    assert "Labels were not judged" in found.notes[0]


def test_a_picture_that_is_gone_is_one_sentence(photographs, audited):
    dataset = open_dataset(photographs)
    audited(dataset)
    (photographs / "train" / "a" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"train/a/0.jpg has features and cannot be read any more"):
        audited(dataset)


# labels


def probabilities(*rows):
    return np.array(rows, dtype=np.float32)


def test_a_label_is_in_doubt_where_another_class_counts_and_is_likelier():
    p = probabilities([0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.05, 0.95], [0.2, 0.8])
    doubt = doubt_labels(p, np.array([0, 0, 0, 1, 1]))
    assert doubt.rows.tolist() == [2]
    assert doubt.looks_like.tolist() == [1]
    assert doubt.probability[0] == pytest.approx(0.9)
    assert doubt.own[0] == pytest.approx(0.1)


def test_the_surest_doubt_comes_first_and_a_mean_near_1_hides_none():
    sure = [[0.99, 0.01]] * 10 + [[0.01, 0.99]] * 10
    p = probabilities(*sure, [0.2, 0.8], [0.1, 0.9], [0.45, 0.55])
    doubt = doubt_labels(p, np.array([0] * 10 + [1] * 10 + [0, 0, 0]))
    assert doubt.rows.tolist() == [21, 20]  # 0.55 against 0.45 is no doubt


def test_a_class_without_pictures_is_nobodys_likeliest():
    p = probabilities([0.2, 0.1, 0.7], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0])
    assert 2 not in doubt_labels(p, np.array([0, 0, 1])).rows
    assert np.isfinite(doubt_labels(p, np.array([0, 0, 1])).probability).all()


def test_a_picture_whose_own_class_is_likelier_is_not_in_doubt():
    p = probabilities([0.9, 0.1], [0.55, 0.45], [0.6, 0.4], [0.55, 0.45])  # counts for 1 alone
    assert not len(doubt_labels(p, np.array([0, 0, 1, 1])).rows)


def test_classes_of_one_scene_are_neither_in_doubt_nor_looked_like():
    p = probabilities([0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.5, 0.5, 0.0], [0.9, 0.1, 0.0])
    doubt = doubt_labels(p, np.array([0, 1, 2, 2]), np.array([True, True, False]))
    assert not len(doubt.rows)
    without = doubt_labels(p, np.array([0, 1, 2, 2]))
    assert len(without.rows)


# odd pictures


def usual_numbers(n=60):
    random = np.random.default_rng(0)
    return {
        "width": np.full(n, 200.0),
        "height": np.full(n, 100.0),
        "brightness": random.normal(120, 20, n),
        "contrast": random.normal(50, 5, n),
        "sharpness": np.exp(random.normal(0, 0.3, n)),
        "border": random.normal(120, 20, n),
    }


def test_each_odd_picture_is_named_for_what_is_odd():
    numbers, nearest = usual_numbers(), np.random.default_rng(1).normal(0.6, 0.02, 60)
    numbers["contrast"][3] = 1.0
    numbers["height"][4], numbers["width"][4] = 20, 40
    numbers["height"][5] = 30
    numbers["sharpness"][6] = 1e-3
    nearest[7] = -0.2
    found = {(one.kind, one.picture) for one in find_odd(numbers, nearest)}
    assert found == {(BLANK, 3), (TINY, 4), (SHAPE, 5), (BLURRED, 6), (OUTLIER, 7)}


def test_a_usual_set_has_nothing_odd():
    assert find_odd(usual_numbers(), np.random.default_rng(1).normal(0.6, 0.02, 60)) == []


def test_a_blurred_picture_is_less_sharp_and_a_bright_border_is_seen():
    from PIL import ImageFilter

    sharp = photograph(1, 224)
    blurred = sharp.filter(ImageFilter.GaussianBlur(6))
    numbers = [look(np.asarray(image), 224, 224).numbers for image in (sharp, blurred)]
    assert numbers[1][4] < numbers[0][4] / 10
    framed = np.asarray(sharp).copy()
    framed[:14], framed[-14:], framed[:, :14], framed[:, -14:] = 255, 255, 255, 255
    assert look(framed, 224, 224).numbers[5] > 250


def test_pixels_are_told_apart_by_their_size_too():
    square = np.asarray(photograph(1, 224))
    assert look(square, 224, 224).pixels == look(square.copy(), 224, 224).pixels
    assert look(square, 224, 224).pixels != look(square, 448, 448).pixels


def test_the_size_of_a_picture_is_that_which_is_shown():
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture_size(encode(image, "JPEG", exif=exif)) == (20, 30)
    assert picture_size(encode(image, "PNG")) == (30, 20)
    assert picture_size(np.zeros((20, 30, 3), np.uint8)) == (30, 20)
    with pytest.raises(UndecodableImage):
        picture_size(b"no picture")


# shortcuts and scenes


def test_a_class_that_is_brighter_is_told_without_looking():
    numbers, y = usual_numbers(120), np.arange(120) % 2
    numbers["brightness"] += 90 * y
    found = find_shortcut(numbers, y, np.arange(120), 2)
    assert found.is_far_above_chance
    assert found.right > 0.9
    assert max(found.alone, key=found.alone.get) == "brightness"
    assert [label for label, *_ in found.told] == [0, 1]


def test_classes_that_are_lit_alike_are_not():
    found = find_shortcut(usual_numbers(120), np.arange(120) % 2, np.arange(120), 2)
    assert not found.is_far_above_chance
    assert found.told == ()


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9])
def test_whoever_always_says_the_commonest_class_tells_nothing(share):
    numbers, y = usual_numbers(300), (np.arange(300) >= share * 300).astype(int)
    found = find_shortcut(numbers, y, np.arange(300), 2)
    assert found.told == ()
    assert not found.is_far_above_chance


def test_scenes_that_tell_nothing_do_not_matter():
    random = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = (y[:, None] + random.normal(0, 0.7, (200, 6))).astype(np.float32)
    scenes = weigh_scenes(X, y, np.arange(200), np.arange(200) // 2 * 2 + y, 2)
    assert not scenes.matters
    assert abs(scenes.parted - scenes.together) < 0.05


# costs


def test_what_leaks_cost_is_counted_on_the_pictures_that_are_left(tmp_path, photographs):
    dataset = open_dataset(photographs)
    run = make_run(tmp_path / "study", "made", dataset.classes, rows_of(dataset), skill=1.0)
    test = [sample for sample in dataset.samples if sample.split == "test"]
    train = [sample for sample in dataset.samples if sample.split == "train"]
    pictures = {sample.digest: number for number, sample in enumerate(dataset.samples)}
    for one, other in zip(test[:5], train, strict=False):
        pictures[one.digest] = pictures[other.digest]
    (cost,) = count_costs([run], pictures, pictures)
    assert (cost.n, cost.leaked) == (len(test), 5)
    table = run.predictions()
    rest = table[(table["split"] == "test") & ~table["id"].isin([one.id for one in test[:5]])]
    assert cost.without == pytest.approx((rest["true"] == rest["predicted"]).mean())
    assert cost.interval_without[0] < cost.without < cost.interval_without[1]


def test_where_all_of_test_was_learned_there_is_no_figure_without(tmp_path, photographs):
    dataset = open_dataset(photographs)
    run = make_run(tmp_path / "study", "made", dataset.classes, rows_of(dataset))
    one = dict.fromkeys((s.digest for s in dataset.samples), 1)
    (cost,) = count_costs([run], one, one)
    assert cost.leaked == cost.n
    assert np.isnan(cost.without)


def test_a_group_on_both_sides_is_no_leak_and_widens_the_interval(tmp_path, photographs):
    dataset = open_dataset(photographs)
    run = make_run(tmp_path / "study", "made", dataset.classes, rows_of(dataset), skill=1.0)
    apart = {sample.digest: number for number, sample in enumerate(dataset.samples)}
    groups = {digest: number % 4 for digest, number in apart.items()}
    (cost,), (grouped,) = (count_costs([run], apart, one) for one in (apart, groups))
    assert (grouped.leaked, grouped.without) == (0, cost.right)
    assert np.ptp(grouped.interval) > np.ptp(cost.interval)


# the clean table


def test_a_clean_table_keeps_what_is_held_out_furthest(photographs, audited):
    planted = plant_copies(photographs, exact=2, quality=2, cut=0)
    write(photographs / "train/a/twice.jpg", (photographs / "train/a/3.jpg").read_bytes())
    write(photographs / "train/b/blank.png", encode(Image.new("RGB", (96, 96), "white")))
    found = audited(photographs)
    cleaned = write_clean(found, photographs / "clean.csv")
    clean = open_dataset(photographs / "clean.csv")
    left = {sample.id for sample in clean.samples}
    assert {one.test for one in planted} <= left
    assert not {one.train for one in planted} & left
    assert cleaned == Cleaned(len(left), {COPY: 3, LEAK: 2, "blank": 1}, ())
    assert len({"train/a/3.jpg", "train/a/twice.jpg"} & left) == 1
    assert "train/b/blank.png" not in left
    assert clean.counts()["test"] == found.dataset.counts()["test"]
    assert not audited(clean).leaks


def test_copies_under_two_labels_are_all_left_out(photographs, audited):
    write(photographs / "train/b/0x.jpg", (photographs / "train/a/0.jpg").read_bytes())
    reasons = left_out(audited(photographs))
    assert reasons == {"train/a/0.jpg": CONFLICT, "train/b/0x.jpg": CONFLICT}


def test_a_copy_without_a_label_contradicts_none_and_goes(tmp_path, audited):
    write_photographs(tmp_path, [f"{number}.jpg" for number in range(12)])
    write(tmp_path / "again.jpg", (tmp_path / "3.jpg").read_bytes())
    lines = [f"{number}.jpg,{'ab'[number % 2]}\n" for number in range(12)]
    (tmp_path / "set.csv").write_text("path,label\n" + "".join(lines) + "again.jpg,\n")
    found = audited(tmp_path / "set.csv")
    assert len(found.of(BYTES)) == 1
    assert not found.conflicts
    assert not found.leaks
    assert left_out(found) == {"again.jpg": COPY}


def test_a_table_of_films_is_split_anew_with_no_film_on_both_sides(tmp_path, audited):
    film_of = write_films(tmp_path / "films")
    found = audited(tmp_path / "films")
    cleaned = write_clean(found, tmp_path / "clean.csv")
    assert cleaned.emptied == ()
    assert cleaned.kept >= len(film_of) - 6  # frames that are one picture stay as well
    clean = open_dataset(tmp_path / "clean.csv")
    splits = {}
    for sample in clean.samples:
        film = film_of["/".join(str(sample.locator).split("/")[-2:])]
        splits.setdefault(film, set()).add((sample.split, sample.group))
    assert len(splits) == len(set(film_of.values()))
    assert all(len(places) == 1 for places in splits.values())


def test_a_class_whose_train_pictures_are_all_copies_is_named(photographs, audited):
    for path in (photographs / "train" / "c").iterdir():
        path.unlink()
    image = Image.open(photographs / "test" / "c" / "0.jpg")
    image.save(photographs / "train" / "c" / "0.jpg", quality=60)
    cleaned = write_clean(audited(photographs), photographs / "clean.csv")
    assert cleaned.emptied == ("c",)


def test_what_cannot_be_listed_is_refused_before_anything_is_written(audited, tmp_path):
    found = audited(open_dataset("digits", limit=60))
    with pytest.raises(DataError, match="lists files"):
        write_clean(found, tmp_path / "clean.csv")
    with pytest.raises(DataError, match=r"name it \*\.csv"):
        write_clean(found, tmp_path / "clean.txt")
    assert not list(tmp_path.glob("clean*"))


def test_a_file_that_is_there_is_never_overwritten(photographs, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("path,label,notes\n")
    with pytest.raises(DataError, match="is there already and is not overwritten"):
        check_table(open_dataset(photographs), table)
    assert table.read_text() == "path,label,notes\n"


def test_names_that_a_table_does_not_keep_are_refused(tmp_path):
    write_photographs(tmp_path / "odd", [" lead/0.jpg", " lead/1.jpg", "b/0.jpg", "b/1.jpg"])
    with pytest.raises(DataError, match="Rename it first"):
        check_table(open_dataset(tmp_path / "odd"), tmp_path / "odd" / "clean.csv")


def test_findings_come_by_kind_then_across_splits():
    def pair(kind, split, other, label="a"):
        return Finding(kind, "1", "d", split, "a", "2", "e", other, label)

    late, first, second = (
        pair(NEAR, "train", "test"),
        pair(BYTES, "train", "test"),
        pair(BYTES, "train", "train"),
    )
    assert in_order([late, second, first]) == (first, second, late)
    assert pair(SCENE, "train", "test", "b").is_conflict is False
