"""`ImageFeatures` behaves as scikit-learn's transformers do, and embeds each picture once."""

import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import SIZE
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks

from tlfeat import ImageFeatures, extract, finetune, train
from tlfeat.data.decode import decode
from tlfeat.errors import DataError, TlfeatError
from tlfeat.features import forward


@pytest.fixture
def embeddings(monkeypatch):
    """Count the pictures that are decoded for embedding."""
    calls = []
    decode = forward.decode
    monkeypatch.setattr(forward, "decode", lambda *a: calls.append(1) or decode(*a))
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


def test_tables_columns_and_pil_pictures_are_sequences_of_pictures(paths, cache):
    import pandas as pd

    features = ImageFeatures(size=SIZE, cache=cache)
    paths = paths[::12]
    wanted = features.transform(paths)
    shuffled = pd.DataFrame({"path": paths}, index=[2, 0, 1])  # as train_test_split leaves it
    for given in (
        shuffled,
        shuffled["path"],
        shuffled.to_numpy(),
        np.array(paths)[:, np.newaxis],
        tuple(map(Path, paths)),
    ):
        np.testing.assert_array_equal(features.transform(given), wanted)
    opened = [Image.open(path) for path in paths]
    np.testing.assert_allclose(features.transform(opened), wanted, atol=1e-5)


def test_a_pil_picture_is_turned_and_flattened_as_its_file_is(tmp_path, cache):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).quantize(16).save(tmp_path / "palette.png")
    paths = [tmp_path / "turned.png", tmp_path / "palette.png"]
    features = ImageFeatures(size=SIZE, cache=cache)
    rows = features.transform([Image.open(path) for path in paths])
    np.testing.assert_allclose(rows, features.transform(paths), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("a.png", r"one str.*wanted a sequence"),
        (Path("a.png"), r"one \w*Path.*wanted a sequence"),
        (b"GIF89a", r"one bytes.*wanted a sequence"),
        (np.zeros((8, 8, 3), np.uint8), r"one picture, of shape \(8, 8, 3\).*wanted a sequence"),
        (Image.new("RGB", (8, 8)), r"one Image.*wanted a sequence"),
        (np.array([["a.png", "b.png"]]), r"2 columns.*one column"),
        (7, r"one int.*wanted a sequence"),
        (np.array("a.png"), r"one ndarray.*wanted a sequence"),
        ([Image.new("F", (8, 8))], r"floating point"),
    ],
    ids=["string", "path", "bytes", "array", "pil", "matrix", "number", "scalar", "floats"],
)
def test_what_is_no_sequence_of_pictures_is_answered_in_one_sentence(given, sentence, cache):
    with pytest.raises(DataError, match=sentence):
        ImageFeatures(size=SIZE, cache=cache).transform(given)


def test_a_table_of_several_columns_is_answered_with_their_names(cache):
    import pandas as pd

    table = pd.DataFrame({"path": ["a.png"], "label": ["a"]})
    with pytest.raises(DataError, match=r"2 columns \(path, label\).*one column"):
        ImageFeatures(size=SIZE, cache=cache).transform(table)


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


def test_the_features_of_a_head_are_those_that_it_was_trained_on(paths, pictures, cache, tmp_path):
    said = {"size": SIZE, "cache": cache}
    run = train(pictures, features="stage3:avg+last:avg", reports=tmp_path / "reports", **said)
    features = ImageFeatures.from_run(run, cache=cache)
    whole = extract(pictures, features="stage3:avg+last:avg", **said)
    rows = features.transform([str(pictures / name) for name in whole.ids])
    np.testing.assert_array_equal(rows, whole.X)
    assert ImageFeatures.from_run(run, features="last:avg").features == "last:avg"


@pytest.mark.slow
def test_the_features_of_a_fine_tune_are_those_of_its_own_network(
    paths, pictures, cache, tmp_path
):
    phase = {"mode": "full", "epochs": 2, "learning_rate": 1e-3}
    run = finetune(
        pictures, None, phase, size=SIZE, batch=8, cache=cache, reports=tmp_path / "reports"
    )
    features = clone(ImageFeatures.from_run(run, cache=cache))
    rows = features.transform(paths)
    model = keras.saving.load_model(run.path / "model.keras")
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    pixels = np.stack([decode(Path(path).read_bytes(), SIZE) for path in paths])
    np.testing.assert_allclose(rows, pooled.predict(pixels, verbose=0), atol=1e-4)
    frozen = ImageFeatures(size=SIZE, cache=cache).transform(paths)
    assert np.abs(rows - frozen).max() > 1e-2
    assert features.get_feature_names_out()[0] == "last:avg_0"


def test_a_network_that_is_not_of_the_table_has_no_features(pictures, cache, tmp_path):
    run = finetune(
        pictures,
        "plain-cnn",
        {"mode": "scratch", "epochs": 1},
        size=16,
        cache=cache,
        reports=tmp_path / "reports",
    )
    with pytest.raises(TlfeatError, match="fine-tune of plain-cnn, of which no layers are known"):
        ImageFeatures.from_run(run)
