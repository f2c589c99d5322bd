"""The set that is always there."""

import numpy as np

from tlfeat.data.dataset import open_dataset


def test_digits_are_1797_grey_scans_of_ten_classes():
    digits = open_dataset("digits")
    assert len(digits) == 1797
    assert digits.classes == tuple("0123456789")
    assert digits.kind == digits.name == "digits"
    assert set(digits.counts()) == {"train", "test"}
    scan = digits.read(digits.samples[0])
    assert (scan.shape, scan.dtype, scan.max()) == ((8, 8), np.uint8, 239)  # 15 of 16, rounded


def test_digits_are_the_same_every_time():
    assert open_dataset("digits").fingerprint == open_dataset("digits").fingerprint


def test_a_folder_called_digits_comes_first(tmp_path, monkeypatch):
    from pictures import class_folder

    class_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("digits").kind == "folder"
