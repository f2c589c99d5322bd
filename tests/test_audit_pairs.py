"""Pictures that are one, or of one scene, are found, and others are not."""

import numpy as np
import pytest
from planted import (
    EXACT,
    film,
    photograph,
    photograph_folders,
    plant_copies,
    write_films,
)

from tlfeat.audit.alike import Likeness, joined
from tlfeat.audit.lines import tell_lines
from tlfeat.audit.pictures import Pictures
from tlfeat.audit.small_pictures import SmallPictures, likenesses
from tlfeat.data.dataset import open_dataset
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where

SETTINGS = FeatureSettings(size=64)


def read(folder, cache):
    return Pictures.read(open_dataset(folder), SETTINGS, Where(cache))


def ids_of(pictures, pairs):
    names = [pictures.features.ids[row] for row in pictures.first]
    return {frozenset((names[one], names[other])) for one, other in pairs}


@pytest.fixture
def photographs(tmp_path):
    return photograph_folders(tmp_path / "photographs", 20, 8)


def test_copies_are_found_whatever_was_done_to_them_and_nothing_else_is(photographs, cache):
    planted = plant_copies(photographs, exact=4, quality=5, cut=5)
    pictures = read(photographs, cache)
    changed = {frozenset((one.train, one.test)) for one in planted if one.kind != EXACT}
    assert ids_of(pictures, pictures.copies.pairs) == changed


@pytest.mark.parametrize("n", [2, 8, 16])
def test_copies_under_other_labels_are_found_and_hide_none(photographs, cache, n):
    from PIL import Image

    planted = plant_copies(photographs, exact=0, quality=5, cut=0)
    pairs = {frozenset((one.train, one.test)) for one in planted}
    for number in range(n):  # of pictures that have no copy yet
        path = photographs / "test" / "a" / f"{number % 8}.jpg"
        label = "bc"[number // 8]
        copy = path.parents[1] / label / f"wrong{number}.jpg"
        Image.open(path).save(copy, quality=70 - number)
        pairs.add(frozenset((f"test/a/{path.name}", f"test/{label}/{copy.name}")))
    found = ids_of(pictures := read(photographs, cache), pictures.copies.pairs)
    assert pairs <= found
    same = {name: name.rpartition("/")[2].removeprefix("wrong") for pair in found for name in pair}
    for one, other in map(sorted, found - pairs):  # copies of one picture are each other's too
        assert (int(same[one][:-4]) - int(same[other][:-4])) % 8 == 0


def test_a_mirrored_picture_is_a_copy_and_said_to_be_mirrored(photographs, cache):
    mirrored = photograph(0).transpose(0)
    mirrored.save(photographs / "train" / "a" / "mirrored.png")
    pictures = read(photographs, cache)
    assert ids_of(pictures, pictures.copies.pairs) == {
        frozenset(("train/a/0.jpg", "train/a/mirrored.png"))
    }
    assert pictures.copies.mirrored.all()


def test_pictures_of_their_own_make_no_scene(photographs, cache):
    pictures = read(photographs, cache)
    assert not len(pictures.copies)
    assert not len(pictures.scenes)


def test_films_in_a_plain_folder_are_the_scenes(tmp_path, cache):
    film_of = write_films(tmp_path / "films")
    pictures = read(tmp_path / "films", cache)
    films = np.array([film_of[one] for one in pictures.features.ids])
    scenes = pictures.one_of_row(pictures.copies.pairs, pictures.scenes.pairs)
    assert len(set(scenes)) == len(set(films))
    for one in set(films):
        assert len(set(scenes[films == one])) == 1


def test_where_pictures_are_alike_by_and_by_there_is_no_scene(cache):
    pictures = Pictures.read(open_dataset("digits", limit=500), SETTINGS, Where(cache))
    above = pictures.laid_out
    assert (above._found.score >= above.lines.scenes).any()  # what stands apart nowhere
    assert not len(pictures.scenes)


def test_pictures_of_no_class_are_compared_too(photographs, cache, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(photographs.rglob("*.jpg"))[:20]:
        path.rename(flat / f"{path.parent.name}{path.parts[-3]}{path.name}")
    first = min(flat.iterdir())
    photograph_again = first.with_name("again.png")
    from PIL import Image

    Image.open(first).save(photograph_again)
    pictures = read(flat, cache)
    assert ids_of(pictures, pictures.copies.pairs) == {frozenset((first.name, "again.png"))}


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_handful_of_pictures_is_no_trouble(n, classes):
    small = SmallPictures(np.random.default_rng(0).integers(0, 255, (n, 32, 32, 3), np.uint8))
    X = np.random.default_rng(1).normal(size=(n, 5)).astype(np.float32)
    likeness = Likeness(X, np.arange(n) % classes, small)
    assert not len(likeness.copies())
    assert not len(likeness.scenes())
    assert len(likeness.nearest) == n


def small_of(*images):
    return SmallPictures(np.stack([np.asarray(image.resize((32, 32))) for image in images]))


def test_a_cut_is_laid_on_the_whole_where_it_was(tmp_path):
    whole = photograph(3)
    side = whole.width
    cut = whole.crop((0, round(0.06 * side), round(0.94 * side), side))
    likeness, mirrored = likenesses(
        small_of(whole, cut, photograph(4)), np.array([[0, 1], [1, 0], [0, 2]])
    )
    assert likeness[0] > 0.99
    assert likeness[1] == pytest.approx(likeness[0])
    assert likeness[2] < 0.8
    assert not mirrored[:2].any()


def test_blank_pictures_are_like_nothing():
    from PIL import Image

    blank, other = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), (254, 255, 255))
    likeness, _ = likenesses(small_of(blank, other), np.array([[0, 1]]))
    assert likeness[0] < 0.5


def test_large_sets_are_searched_in_fewer_directions_and_give_the_same(monkeypatch):
    from tlfeat.audit import neighbours

    random = np.random.default_rng(0)
    X = neighbours.centred(random.normal(size=(300, 40)).astype(np.float32))
    places, cosine = neighbours.neighbours(X, 3)
    monkeypatch.setattr(neighbours, "_LARGE", 100)
    monkeypatch.setattr(neighbours, "_WIDE", 38)
    monkeypatch.setattr(neighbours, "_MOST_CELLS", 64 * 300)
    again, near = neighbours.neighbours(X, 3)
    assert (again == places).mean() > 0.95
    assert np.isclose(near, cosine).mean() > 0.95


def test_few_strangers_make_a_line_higher_and_too_few_make_none():
    scores = np.random.default_rng(0).exponential(2, 20_000)
    few, more, many = (
        np.mean([tell_lines(scores[i * n : (i + 1) * n], 1000, 9, 99).copies for i in range(9)])
        for n in (60, 400, 2000)
    )
    assert few > more > many
    assert tell_lines(scores[:40], 1000, 9, 99).strangers == 0


def test_a_line_lets_as_many_strangers_through_as_it_says():
    random = np.random.default_rng(1)
    crossed = 0
    for _ in range(400):  # sets of 1,000 whose own strangers told the line
        line = tell_lines(random.exponential(2, 1000) + 5, 1000, 9, 99).copies
        crossed += int((random.exponential(2, 1000) + 5 > line).sum())
    assert 0.02 < crossed / 400 < 0.08


def test_what_is_as_alike_as_a_picture_with_itself_is_no_stranger():
    scores = np.random.default_rng(2).exponential(1, 500)
    copies = np.full(60, 70.0)
    assert tell_lines(np.r_[scores, copies], 560, 9, 40) == pytest.approx(
        tell_lines(scores, 560, 9, 40)
    )


def test_what_hangs_together_in_a_chain_has_one_number():
    number = joined(5, np.array([[0, 1], [1, 4]]))
    assert number[0] == number[1] == number[4]
    assert len(set(number)) == 3


def test_the_frames_of_a_film_differ():
    # else the films of these tests would be copies
    first, *_, last = (np.asarray(one, np.float32) for one in film(1, 8, 0))
    assert np.abs(first - last).mean() > 10
