"""What is wrong with a dataset: pictures of test in train, classes far apart in size."""

from pictures import class_folder, png, write

from tlfeat.data.check import uneven_classes
from tlfeat.data.dataset import open_dataset


def uneven(root, **sizes):
    """Write train and test pictures of classes of different sizes."""
    for number, (label, size) in enumerate(sizes.items()):
        for i in range(size):
            write(root / f"train/{label}/{i}.png", png(1000 * number + i))
        write(root / f"test/{label}/0.png", png(9000 + number))
    return open_dataset(root)


def imbalance(dataset):
    return uneven_classes(dataset.counts().get("train", {}))


def leaks(root):
    return [note for note in open_dataset(root).notes if note.startswith("leak")]


def test_pictures_of_test_that_are_in_train_are_counted_once_each(tmp_path):
    class_folder(tmp_path, split="train")
    class_folder(tmp_path, split="test")
    assert leaks(tmp_path) == []
    for name in ("one.png", "two.png"):
        write(tmp_path / "test/a" / name, (tmp_path / "train/a/0.png").read_bytes())
    write(tmp_path / "test/b/three.png", (tmp_path / "train/b/0.png").read_bytes())
    assert leaks(tmp_path) == ["leak: 2 pictures of train are also in test"]


def test_a_picture_twice_within_a_split_is_no_leak(tmp_path):
    class_folder(tmp_path, split="train")
    class_folder(tmp_path, split="test")
    write(tmp_path / "train/b/again.png", (tmp_path / "train/a/0.png").read_bytes())
    assert leaks(tmp_path) == []


def test_a_class_ten_times_as_large_as_another_is_told(tmp_path):
    assert imbalance(uneven(tmp_path / "ten", cat=2, dog=20, hen=7)) == ("dog", 20, "cat", 2)
    assert imbalance(uneven(tmp_path / "nine", cat=2, dog=19)) is None


def test_a_class_without_train_pictures_makes_no_imbalance(tmp_path):
    dataset = uneven(tmp_path, cat=3, dog=20, hen=0)
    assert dataset.counts()["train"]["hen"] == 0
    assert imbalance(dataset) is None


def test_an_unlabelled_dataset_has_no_imbalance(tmp_path):
    write(tmp_path / "a.png", png(1))
    assert imbalance(open_dataset(tmp_path)) is None


def test_uneven_classes_are_a_note_of_the_dataset(tmp_path):
    dataset = uneven(tmp_path / "ten", cat=2, dog=20)
    assert "classes are uneven in train: 20 of dog, 2 of cat" in dataset.notes
    assert not any("uneven" in note for note in uneven(tmp_path / "nine", cat=3, dog=20).notes)
