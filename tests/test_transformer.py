"""`ImageFeatures` behaves as scikit-learn's transformers do, and embeds each picture once."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import SIZE
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks

from tlfeat import ImageFeatures, extract
from tlfeat.errors import DataError
from tlfeat.features import pipeline


@pytest.fixture
def embeddings(monkeypatch):
    """Count the pictures that are decoded for embedding."""
    calls = []
    decode = pipeline.decode
    monkeypatch.setattr(pipeline, "decode", lambda *a: calls.append(1) or decode(*a))
    return calls


@pytest.fixture
def paths(pictures):
    return [str(path) for path in sorted(pictures.glob("*/*.png"))]


def labels(paths):
    return [path.split("/")[-2] for path in paths]


def test_cross_validation_embeds_each_picture_once(paths, cache, embeddings):
    model = make_pipeline(ImageFeatures(size=SIZE, cache=cache), LogisticRegression())
    scores = cross_val_score(model, paths, labels(paths), cv=3)
    assert len(embeddings) == len(paths)
    assert scores.mean() > 0.9


def test_settings_can_be_searched(paths, cache):
    model = make_pipeline(ImageFeatures(size=SIZE, cache=cache), LogisticRegression())
    grid = {"imagefeatures__features": ["last:avg", "stage3:avg"]}
    search = GridSearchCV(model, grid, cv=2).fit(paths, labels(paths))
    assert search.best_params_["imagefeatures__features"] in grid["imagefeatures__features"]


def test_features_equal_those_of_extract(paths, pictures, cache):
    whole = extract(pictures, size=SIZE, cache=cache)
    rows = ImageFeatures(size=SIZE, cache=cache).fit_transform(
        [str(pictures / name) for name in whole.ids]
    )
    np.testing.assert_array_equal(rows, whole.X)


def test_arrays_bytes_and_repeated_pictures_have_a_row_each(paths, cache):
    pixels = np.asarray(Image.open(paths[0]))
    data = Path(paths[0]).read_bytes()
    rows = ImageFeatures(size=SIZE, cache=cache).transform([pixels, data, paths[0], pixels])
    assert rows.shape == (4, 1280)
    np.testing.assert_allclose(rows, rows[[0] * 4], atol=1e-5)


def test_a_picture_that_cannot_be_used_is_an_error(paths, cache, tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        ImageFeatures(size=SIZE, cache=cache).transform([paths[0], str(tmp_path / "gone.png")])


def test_something_that_is_no_picture_is_an_error(cache):
    with pytest.raises(DataError, match="is a int"):
        ImageFeatures(size=SIZE, cache=cache).transform([17])


def test_the_columns_have_names(cache):
    features = ImageFeatures(size=SIZE, cache=cache, features="stage4:grid2+last")
    names = features.get_feature_names_out()
    assert len(names) == 4 * 112 + 1280
    assert names[0] == "stage4:grid2_0"
    assert names[-1] == "last:avg_1279"


def test_it_is_cloned_and_pickled_by_its_settings():
    one = ImageFeatures("mobilenet_v2", features="last:max", size=96)
    assert clone(one).get_params() == one.get_params()
    assert pickle.loads(pickle.dumps(one)).get_params() == one.get_params()


@pytest.mark.parametrize(
    "check",
    [
        checks.check_no_attributes_set_in_init,
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_repr,
        checks.check_estimator_cloneable,
        checks.check_estimator_tags_renamed,
        checks.check_valid_tag_types,
        checks.check_mixin_order,
        checks.check_do_not_raise_errors_in_init_or_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_it_passes_the_checks_that_need_no_matrix(check):
    check("ImageFeatures", ImageFeatures())
