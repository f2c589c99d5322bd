"""Whether features are of a kind that was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from tlfeat.errors import DamagedFile
from tlfeat.heads import novelty as module
from tlfeat.heads.novelty import SHRINKAGE, learn_novelty, load_novelty, save_novelty


@pytest.fixture
def classes():
    """Give rows of four classes of forty in 24 columns of unlike scales, and their folds."""
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 40)
    X = random.normal(size=(4, 24))[y] * 2 + random.normal(size=(160, 24))
    X = (X * np.geomspace(0.01, 100, 24) + 3).astype(np.float32)
    return X, y, np.tile(np.arange(5), 32)


def everything(X, y, **options):
    return learn_novelty(X, y, np.arange(len(X)), **options)


def test_distances_are_those_of_the_whole_covariances(classes):
    X, y, fold = classes
    found = everything(X, y, fold=fold)
    assert found.directions.shape == (24, 23)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    Z = (Z / np.linalg.norm(Z, axis=1, keepdims=True)).astype(np.float64)
    means = np.stack([Z[y == one].mean(axis=0) for one in range(4)])

    def inverse(rows):
        covariance = rows.T @ rows / len(rows)
        level = np.trace(covariance) / len(covariance)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(len(covariance))
        return np.linalg.inv(shrunk)

    within, overall = inverse(Z - means[y]), inverse(Z - Z.mean(axis=0))
    near = np.min([np.einsum("ij,jk,ik->i", Z - one, within, Z - one) for one in means], axis=0)
    about = Z - Z.mean(axis=0)
    wanted = near - np.einsum("ij,jk,ik->i", about, overall, about)
    assert found.distances(X) == pytest.approx(wanted, rel=1e-3, abs=1e-2)


def test_held_out_rows_are_as_far_as_from_what_had_not_seen_them(classes):
    X, y, fold = classes
    found = everything(X, y, fold=fold)
    assert len(found.held) == len(X)
    assert (np.diff(found.held) >= 0).all()
    assert np.median(found.held) > np.median(found.distances(X))
    apart = [
        learn_novelty(X, y, np.flatnonzero(fold != one), held=np.flatnonzero(fold == one))
        for one in range(5)
    ]
    each = np.sort(np.concatenate([one.held for one in apart]))
    assert np.corrcoef(each, found.held)[0, 1] > 0.99


def test_typical_is_the_share_of_held_rows_that_are_as_far(classes):
    X, y, fold = classes
    found = everything(X, y, fold=fold)
    shares = found.typical(X)
    assert shares == pytest.approx(
        [(1 + (found.held >= far).sum()) / (1 + len(found.held)) for far in found.distances(X)]
    )
    strange = np.random.default_rng(1).normal(size=(20, 24)) * 300
    assert (found.typical(strange.astype(np.float32)) < 0.02).all()
    assert found.typical(X[:0]).shape == (0,)


def test_new_rows_of_the_same_kind_are_rejected_as_often_as_is_said():
    random = np.random.default_rng(2)
    middles = random.normal(size=(3, 16))
    y = np.repeat(np.arange(3), 400)
    X = (middles[y] + random.normal(size=(1_200, 16))).astype(np.float32)
    known = (middles[y] + random.normal(size=(1_200, 16))).astype(np.float32)
    held = (middles[y] + random.normal(size=(1_200, 16))).astype(np.float32)
    found = learn_novelty(
        np.vstack([X, held]), np.tile(y, 2), np.arange(1_200), held=np.arange(1_200, 2_400)
    )
    assert (found.typical(known) <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert (found.typical(known) <= 0.2).mean() == pytest.approx(0.2, abs=0.03)


def test_a_scale_of_the_columns_changes_nothing(classes):
    X, y, fold = classes
    found, other = (everything(rows, y, fold=fold) for rows in (X, X * 7 - 2))
    assert other.distances(X * 7 - 2) == pytest.approx(found.distances(X), abs=0.05)


def test_many_rows_are_drawn_from_and_all_count_for_the_means(classes, monkeypatch):
    X, y, fold = classes
    whole = everything(X, y, fold=fold)
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    monkeypatch.setattr(module, "_BLOCK", 16)
    some = everything(X, y, fold=fold)
    assert len(some.held) == 100
    assert some.means == pytest.approx(whole.means, abs=1e-6)
    again = everything(X, y, fold=fold)
    assert (again.held == some.held).all()


def test_columns_that_never_vary_and_classes_that_a_fold_lacks_do_no_harm(classes):
    X, y, fold = classes
    X = np.hstack([X, np.full((160, 1), 4, np.float32)])
    y, fold = np.append(y, 4), np.append(fold, 2)
    X = np.vstack([X, X[:1]])
    found = everything(X, y, fold=fold)
    assert len(found.means) == 5
    assert np.isfinite(found.held).all()


@pytest.mark.parametrize("rows", [[0, 40], [0, 1, 2, 3]])
def test_where_classes_do_not_spread_there_is_nothing_to_tell_by(classes, rows):
    X, y, _ = classes
    X = X.copy()
    X[:40] = X[0]
    assert learn_novelty(X, y, np.array(rows), held=np.arange(160)) is None


def test_it_is_saved_and_loaded_in_kilobytes(classes, tmp_path):
    X, y, fold = classes
    found = everything(X, y, fold=fold)
    path = tmp_path / "novelty.npz"
    save_novelty(found, path)
    assert (load_novelty(path).distances(X) == found.distances(X)).all()
    assert path.stat().st_size < 20_000
    first = path.read_bytes()
    save_novelty(replace(found), path)
    assert path.read_bytes() == first
    path.write_bytes(first[:200])
    with pytest.raises(DamagedFile, match="cannot be read"):
        load_novelty(path)
