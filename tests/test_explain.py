"""A map of a class is exact: its mean and its bias are what the head says of the picture."""

import csv

import numpy as np
import pytest
from conftest import SIZE
from made_study import made_rows, make_run
from pictures import COLOURS
from PIL import Image
from typer.testing import CliRunner

from tlfeat.deploy.explain import draw_explanation, explain
from tlfeat.deploy.predict import predict
from tlfeat.errors import TlfeatError
from tlfeat.features.extract import extract
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.studies.finetune import finetune
from tlfeat.studies.train import train
from tlfeat_cli.app import app


@pytest.fixture
def trained(pictures, cache, tmp_path):
    def run(head="logistic", features="last:avg", data=pictures, **options):
        return train(
            data, head=head, features=features, size=SIZE, cache=cache,
            reports=tmp_path / "reports", **options,
        )  # fmt: skip

    return run


def logits_of(run, X):
    """Give what the head says of features, by scikit-learn."""
    pipeline = run.head().pipeline
    estimator, temperature = pipeline[-1], 1.0
    if hasattr(estimator, "calibrated_classifiers_"):
        (calibrated,) = estimator.calibrated_classifiers_
        temperature = 1 / float(calibrated.calibrators[0].beta_)
        estimator = estimator.estimator.estimator
    raw = estimator.decision_function(pipeline[:-1].transform(X)) / temperature
    return np.column_stack([-raw, raw]) if raw.ndim == 1 else raw


@pytest.mark.parametrize(
    ("head", "features"),
    [
        ("logistic", "last:avg"),
        ("lda", "stage3:avg+stage4:avg+last:avg"),
        ("ridge", "stage2:grid2"),
        ("svm-linear", "stage3:grid2+last:avg"),
    ],
)
def test_the_mean_of_a_map_and_its_bias_are_the_logit(trained, pictures, cache, head, features):
    run = trained(head, features)
    matrix = extract(pictures, features=features, size=SIZE, cache=cache)
    wanted = dict(zip(matrix.ids, logits_of(run, matrix.X), strict=True))
    found = list(explain(run, pictures, label="red", cache=cache))
    assert len(found) == len(matrix.ids)
    red = list(run.dataset.classes).index("red")
    for one in found:
        logit = wanted["/".join(one.id.split("/")[-2:])]
        wanted_one = float(logit[red])
        near = 1e-4 * (1 + abs(wanted_one))
        assert one.map.mean() + one.bias == pytest.approx(wanted_one, abs=near)
        assert one.logit == pytest.approx(one.map.mean() + one.bias, abs=1e-9)
        assert one.predicted == run.dataset.classes[int(np.argmax(logit))]


def test_of_two_classes_either_can_be_looked_for(trained, make_pictures, tmp_path, cache):
    folder = make_pictures(tmp_path / "two")
    for path in (folder / "green").iterdir():
        path.unlink()
    run = trained("lda", data=folder)
    first, second = (
        [one.logit for one in explain(run, folder, label=name, cache=cache)]
        for name in ("blue", "red")
    )
    assert np.allclose(first, -np.array(second))


def test_without_a_class_it_is_the_one_that_is_predicted(trained, pictures, cache):
    run = trained()
    told = [(one.id, one.label) for one in predict(run, pictures, cache=cache)]
    assert [(one.id, one.label) for one in explain(run, pictures, cache=cache)] == told


def test_a_picture_that_cannot_be_used_has_its_reason(trained, pictures, cache):
    run = trained()
    (pictures / "red" / "broken.png").write_text("no picture")
    found = {one.id.rpartition("/")[2]: one for one in explain(run, pictures, cache=cache)}
    assert "not a picture" in found["broken.png"].reason
    assert found["broken.png"].label is None
    assert len([one for one in found.values() if not one.reason]) == 36


def test_what_has_no_exact_map_is_refused_with_the_reason(trained, pictures, cache, tmp_path):
    with pytest.raises(TlfeatError, match="is a knn, which is not linear"):
        next(explain(trained("knn"), pictures, cache=cache))
    with pytest.raises(TlfeatError, match=r"last:max, which are no averages"):
        next(explain(trained("lda", "last:max"), pictures, cache=cache))
    with pytest.raises(TlfeatError, match=r"no class 'reed'.*'red'"):
        next(explain(trained(), pictures, label="reed", cache=cache))
    tuned = make_run(tmp_path, "tuned", "ab", made_rows("ab", {"train": 8}), kind="finetune")
    with pytest.raises(TlfeatError, match=r"model\.keras is not there any more"):
        next(explain(tuned, pictures, cache=cache))


def test_a_map_is_laid_on_its_picture_in_orange_and_blue(trained, pictures, cache):
    one = next(explain(trained(), pictures, cache=cache))
    image = np.asarray(draw_explanation(one)).astype(int)
    assert image.shape == (SIZE, 2 * SIZE, 3)
    assert (image[:, :SIZE] == one.square).all()
    # lite0 at 32 pixels has one place: all of it speaks for the class, or against it
    warm = image[:, SIZE:, 0].mean() > image[:, SIZE:, 2].mean()
    assert warm == (one.map.mean() > 0)


def test_the_command_writes_a_map_for_each_picture_and_says_which(
    trained, pictures, cache, tmp_path
):
    run = trained()
    (pictures / "red" / "broken.png").write_text("no picture")
    command = ["explain", str(run.path), str(pictures / "red"), "--out", str(tmp_path / "maps")]
    command += ["--cache", str(cache), "--quiet"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, done.output  # one cannot be used
    with (tmp_path / "maps" / "maps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    for row in rows:
        if row["reason"]:
            assert not row["map"]
            continue
        with Image.open(tmp_path / "maps" / row["map"]) as image:
            assert image.size == (2 * SIZE, SIZE)
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert "is there already and not empty" in str(again.exception)


@pytest.mark.slow
def test_a_fine_tune_with_a_linear_top_has_maps_too(pictures, cache, tmp_path):
    options = {"size": SIZE, "cache": cache, "reports": tmp_path / "reports"}
    tuned = finetune(pictures, phases=[Phase("partial", epochs=1)], **options)
    paths = sorted(pictures.rglob("*.png"))[:8]
    found = list(explain(tuned, paths, label="red", cache=cache))
    others = {name: list(explain(tuned, paths, label=name, cache=cache)) for name in COLOURS}
    for number, told in enumerate(predict(tuned, paths, top=3, cache=cache)):
        one = found[number]
        assert one.map.mean() + one.bias == pytest.approx(one.logit, abs=1e-4)
        assert one.predicted == told.label
        logits = {name: maps[number].logit for name, maps in others.items()}
        whole = sum(np.exp(value) for value in logits.values())
        assert dict(told.top) == pytest.approx(
            {name: np.exp(value) / whole for name, value in logits.items()}, abs=1e-4
        )
    hidden = finetune(
        pictures, phases=[Phase("partial", epochs=1)], top=Classifier(hidden=(4,)), **options
    )
    with pytest.raises(TlfeatError, match="its top has hidden layers"):
        next(explain(hidden, paths, cache=cache))
    with pytest.raises(TlfeatError, match="leave --engine out"):
        next(explain(tuned, paths, engine="tensorflow", cache=cache))


@pytest.mark.slow
def test_deleting_what_is_marked_lowers_the_probability_more_than_as_much_at_random(
    shared_data, tmp_path, cache
):
    from scipy.stats import binomtest

    data = shared_data / "clothing"
    options = {"cache": cache, "reports": tmp_path / "reports"}
    run = train(data, head="lda", features="last:avg", **options)
    random = np.random.default_rng(0)
    paths = sorted((data / "test").rglob("*.jpg"))[::3][:100]
    marked, drawn_at_random, labels = [], [], []
    for one in explain(run, paths, cache=cache):
        side, n = len(one.map), one.map.size // 5
        order = np.argsort(-one.map, axis=None)[:n], random.permutation(one.map.size)[:n]
        for places, pictures in zip(order, (marked, drawn_at_random), strict=True):
            pixels, step = one.square.copy(), len(one.square) // side
            for row, column in zip(*np.unravel_index(places, one.map.shape), strict=True):
                part = np.s_[row * step : (row + 1) * step, column * step : (column + 1) * step]
                pixels[part] = one.square.mean(axis=(0, 1)).astype(np.uint8)
            pictures.append(pixels)
        labels.append(one.label)
    shares = []
    for some in (marked, drawn_at_random):
        told = [dict(one.top) for one in predict(run, some, top=10, cache=cache)]
        shares.append([one[label] for one, label in zip(told, labels, strict=True)])
    lower = sum(one < other for one, other in zip(*shares, strict=True))
    assert binomtest(lower, len(labels), alternative="greater").pvalue < 0.01
