"""Pictures that are one, or of one scene, are found, and others are not."""

import numpy as np
import pytest
from planted import EXACT, film, photograph, plant_copies, write_films, write_photographs

from tlfeat.audit.alike import Likeness, joined
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
    names = [
        f"{split}/{label}/{number}.jpg"
        for split, each in (("train", 20), ("test", 8))
        for label in "abc"
        for number in range(each)
    ]
    write_photographs(tmp_path / "photographs", names)
    return tmp_path / "photographs"


def test_copies_are_found_whatever_was_done_to_them_and_nothing_else_is(photographs, cache):
    planted = plant_copies(photographs, exact=4, quality=5, cut=5)
    pictures = read(photographs, cache)
    changed = {frozenset((one.train, one.test)) for one in planted if one.kind != EXACT}
    assert ids_of(pictures, pictures.copies.pairs) == changed


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
    assert len(set(pictures.scene_of_row)) == len(pictures.scene_of_row)


def test_films_in_a_plain_folder_are_the_scenes(tmp_path, cache):
    film_of = write_films(tmp_path / "films")
    pictures = read(tmp_path / "films", cache)
    films = np.array([film_of[one] for one in pictures.features.ids])
    scenes = pictures.scene_of_row
    assert len(set(scenes)) == len(set(films))
    for one in set(films):
        assert len(set(scenes[films == one])) == 1


def test_where_pictures_are_alike_by_and_by_there_is_no_scene(cache):
    pictures = Pictures.read(open_dataset("digits", limit=500), SETTINGS, Where(cache))
    above = pictures.laid_out
    assert (above._found.score >= above.scene_line).any()  # what stands apart nowhere
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


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_pictures_is_no_trouble(n):
    small = SmallPictures(np.random.default_rng(0).integers(0, 255, (n, 32, 32, 3), np.uint8))
    X = np.random.default_rng(1).normal(size=(n, 5)).astype(np.float32)
    likeness = Likeness(X, np.zeros(n, np.int64), small)
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


def test_what_hangs_together_in_a_chain_has_one_number():
    number = joined(5, np.array([[0, 1], [1, 4]]))
    assert number[0] == number[1] == number[4]
    assert len(set(number)) == 3


def test_the_frames_of_a_film_differ():
    # else the films of these tests would be copies
    first, *_, last = (np.asarray(one, np.float32) for one in film(1, 8, 0))
    assert np.abs(first - last).mean() > 10
