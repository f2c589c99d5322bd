"""What an audit finds in real pictures with something wrong planted in them."""

import shutil

import numpy as np
import pytest
from planted import EXACT, plant_copies, swap_labels

from tlfeat.audit.audit import audit_dataset
from tlfeat.audit.findings import ALIKE, BYTES, LABEL
from tlfeat.audit.pictures import Pictures
from tlfeat.data.dataset import open_dataset
from tlfeat.features.settings import FeatureSettings
from tlfeat.heads.fit import fit_head
from tlfeat.where import Where


@pytest.mark.slow
def test_copies_across_the_splits_of_photographs_are_found(shared_data, tmp_path, cache):
    food = shutil.copytree(shared_data / "food10", tmp_path / "food")
    planted = plant_copies(food)
    found = audit_dataset(food, cache=cache, reports=tmp_path / "reports")
    named = {frozenset((one.id, one.other)): one.finding for one in found.of(*ALIKE)}
    pairs = {frozenset((one.train, one.test)): one.kind for one in planted}
    assert all(named[pair] == BYTES for pair, kind in pairs.items() if kind == EXACT)
    assert sum(pair in named for pair, kind in pairs.items() if kind != EXACT) >= 18
    assert len(named.keys() - pairs.keys()) < 3


@pytest.mark.slow
def test_swapped_labels_are_among_the_first_that_are_doubted(shared_data, tmp_path, cache):
    monkeys = shutil.copytree(shared_data / "monkeys", tmp_path / "monkeys")
    moved = swap_labels(monkeys, 30)
    found = audit_dataset(monkeys, cache=cache, reports=tmp_path / "reports")
    first = [one.id for one in found.of(LABEL)][:60]
    assert sum(one in first for one in moved) >= 24


@pytest.mark.slow
def test_the_tracks_of_signs_are_found_in_a_plain_folder(shared_data, tmp_path, cache):
    track_of = {}
    for number, path in enumerate(
        sorted((shared_data / "gtsrb" / "Final_Training" / "Images").rglob("*.ppm"))
    ):
        name = f"{path.parent.name}/{number * 7919 % 100_003:06}.ppm"  # tells no track
        (tmp_path / "signs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "signs" / name)
        track_of[name] = path.parent.name + path.name.partition("_")[0]
    dataset = open_dataset(tmp_path / "signs")
    pictures = Pictures.read(dataset, FeatureSettings(), Where(cache))
    features, n_classes = pictures.features, len(dataset.classes)
    tracks = np.unique([track_of[one] for one in features.ids], return_inverse=True)[1]
    pairs = np.vstack([pictures.copies.pairs, pictures.scenes.pairs])
    of_pair = tracks[pictures.first][pairs]
    assert (of_pair[:, 0] == of_pair[:, 1]).mean() > 0.98

    def right(groups):
        fitted = fit_head(
            "lda", features.X, features.y, n_classes=n_classes, groups=groups, jobs=2
        )
        return (fitted.held_scores.argmax(axis=1) == features.y).mean()

    parted, together = right(None), right(tracks)
    assert parted - right(
        pictures.one_of_row(pictures.copies.pairs, pictures.scenes.pairs)
    ) > 0.5 * (parted - together)


def test_near_duplicates_across_the_split_of_the_monkeys_are_named(shared_data, tmp_path, cache):
    found = audit_dataset(shared_data / "monkeys", size=96, cache=cache, reports=tmp_path)
    assert len(found.of(BYTES)) == 10
    assert len(found.leaks) > 20
