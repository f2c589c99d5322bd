"""Features "auto": candidates of one pass, and runs that keep what they chose and from what."""

from typing import Any

import numpy as np
import pytest
from conftest import SIZE

from tlfeat.backbones.table import get_backbone, list_backbones
from tlfeat.data.dataset import open_dataset
from tlfeat.deploy.predict import predict
from tlfeat.errors import TlfeatError
from tlfeat.features.candidates import MOST_COLUMNS, Candidates, specs_of
from tlfeat.features.recipe import short_spec
from tlfeat.features.settings import FeatureSettings
from tlfeat.heads import grounds
from tlfeat.report.commands import commands
from tlfeat.runs.labels import run_labels
from tlfeat.runs.record import load_run
from tlfeat.runs.results import leaderboard, remarks
from tlfeat.studies.compare import compare
from tlfeat.studies.train import train


@pytest.fixture
def where(cache, tmp_path):
    return {"cache": cache, "reports": tmp_path / "reports"}


def test_candidates_are_of_the_layers_that_a_network_has() -> None:
    for row in list_backbones():
        first, *others = specs_of(row)
        assert first == "last:avg"
        assert others
        for spec in others:
            assert {part.partition(":")[0] for part in spec.split("+")} <= {*row.layers, "last"}
    # the fifth stage of these is the last activation itself: not twice
    for name in ("resnet50", "mobilenet"):
        assert specs_of(get_backbone(name))[1] == "stage3:avg+stage4:avg+last:avg"


def test_what_is_too_wide_is_left_out_and_said(where: Any, pictures: Any) -> None:
    options = {"size": SIZE, "weights": "random"}
    settled = Candidates.of(FeatureSettings("mobilenet", features="auto", **options))
    assert [one.settings.features for one in settled.requests] == [
        "last:avg",
        "stage3:avg+stage4:avg+last:avg",
    ]
    assert all(one.columns <= MOST_COLUMNS for one in settled.requests)
    assert settled.left_out == {"stage4:grid4": "8,192 columns, more than 4,096"}
    done = compare(pictures, ["mobilenet"], ["lda"], **options, **where)
    assert "mobilenet: stage4:grid4 was not tried, as it has 8,192 columns, more than 4,096." in (
        remarks(done.runs)
    )


def test_one_candidate_is_no_choice_and_a_run_all_the_same(
    where: Any, pictures: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("tlfeat.features.candidates.MOST_COLUMNS", 1280)
    done = compare(pictures, heads=["lda", "ensemble"], size=SIZE, **where)
    for line in done.runs:
        assert [row["features"] for row in load_run(line.path).auto["candidates"]] == ["last:avg"]
        assert len(line.auto["left_out"]) == 2
    assert compare(pictures, heads=["lda", "ensemble"], size=SIZE, **where).fresh == 0


def test_features_that_are_to_be_chosen_are_no_matrix() -> None:
    with pytest.raises(TlfeatError, match=r"chosen head by head, on held rows.*name features"):
        FeatureSettings(features="auto").resolve()


def test_each_head_chooses_and_its_run_says_from_what(where: Any, pictures: Any) -> None:
    done = compare(pictures, heads=["lda", "knn", "ensemble"], size=SIZE, **where)
    assert done.fresh == 3
    specs = specs_of(get_backbone("efficientnet_lite0"))
    for line in done.runs:
        run = load_run(line.path)
        tried = run.auto["candidates"]
        assert [row["features"] for row in tried] == specs
        assert all(row["screened"]["log_loss"] >= 0 for row in tried)
        if run.head_settings.name != "ensemble":
            assert run.features in [row["features"] for row in tried if "score" in row]
        assert "+".join(f"{one.layer}:{one.pool}" for one in run.recipes) == run.features
        assert run.feature_settings.features == "auto"
        assert run.name.endswith(f"auto-{run.head_settings.name}")
    named = [
        run.changed(name=f"{run.backbone}-auto-{run.head_settings.name}") for run in done.runs
    ]
    assert set(run_labels(named).values()) == {"lda", "knn", "ensemble"}
    head = named[0].head_settings.name  # one that does not share it: the others keep it
    named[0] = named[0].changed(auto=None, name=f"{named[0].backbone}-{head}")
    assert all(label.startswith("auto-") for label in [*run_labels(named).values()][1:])
    assert run_labels(named)[named[0].name] == head
    (line,) = commands([run for line in done.runs for run in line.seeds], "colours")
    assert "--features" not in line  # as compare has it where nobody says
    assert compare(pictures, heads=["lda", "knn", "ensemble"], size=SIZE, **where).fresh == 0
    study = (done.folder / "study.toml").read_text()
    assert study.count('features = "auto"') == 3


def test_a_run_predicts_from_the_features_that_it_chose(where: Any, pictures: Any) -> None:
    for head in ("logistic", "ensemble"):
        options = {"head": head, "features": "auto", "size": SIZE, **where}
        run = train(pictures, **options)
        table = run.predictions()
        table = table[table["split"] == "test"].reset_index()
        files = [pictures / name for name in table["id"]]
        for row, one in zip(
            table.itertuples(), predict(run, files, cache=where["cache"]), strict=True
        ):
            assert one.label == run.dataset.classes[row.predicted]
            scores = [getattr(row, f"score_{i}") for i in range(3)]
            assert one.score == pytest.approx(max(scores), abs=2e-3)


def test_chosen_features_are_the_named_ones(where: Any, pictures: Any) -> None:
    """The head is the very one that naming the features gives; held scores alone are crossed."""
    chosen = train(pictures, head="lda", features="auto", size=SIZE, **where)
    named = train(pictures, head="lda", features=chosen.features, size=SIZE, **where)
    assert chosen.id != named.id
    assert chosen.recipes == named.recipes
    assert chosen.head_settings.chosen == named.head_settings.chosen
    assert chosen.metrics["test"] == named.metrics["test"]


def test_seeds_that_choose_otherwise_are_one_line(where: Any, pictures: Any) -> None:
    done = compare(pictures, heads=["lda"], seeds=3, size=SIZE, **where)
    (line,) = done.runs
    assert len(line.seeds) == 3
    assert set(line.features.split(" or ")) == {run.features for run in line.seeds}


def test_the_table_names_the_features_where_heads_chose_others(where: Any, pictures: Any) -> None:
    done = compare(pictures, heads=["lda"], size=SIZE, **where)
    other = {"last:avg": "stage4:grid4"}.get(done.best.features, "last:avg")
    done = compare(pictures, heads=["lda"], features=[other, "auto"], size=SIZE, **where)
    (column,) = (one for one in leaderboard(done.runs) if one.title == "features")
    assert set(column.cells) == {short_spec(run.features) for run in done.runs}
    assert len(set(column.cells)) == 2


def test_candidates_are_embedded_in_one_pass(where: Any, pictures: Any, monkeypatch: Any) -> None:
    import tlfeat.features.extract as module

    passes = []
    real = module.embed_pictures

    def counted(dataset: Any, wanted: Any, networks: Any, *more: Any, **how: Any) -> Any:
        passes.append(len(networks))
        return real(dataset, wanted, networks, *more, **how)

    monkeypatch.setattr(module, "embed_pictures", counted)
    compare(pictures, heads=["lda"], size=SIZE, **where)
    assert passes == [1]
    assert len(open_dataset(pictures).samples) == 36
    compare(pictures, heads=["knn"], features=["stage4:avg", "last:avg"], size=SIZE, **where)
    assert passes == [1]


def test_a_picture_that_one_matrix_lacks_all_lack(where: Any, pictures: Any) -> None:
    from tlfeat.features.matrix import open_entry
    from tlfeat.features.store import FeatureStore

    settled = Candidates.of(FeatureSettings(features="auto", size=SIZE), where["cache"])
    entry = open_entry(FeatureStore(where["cache"]), settled.requests[-1].recipes[0])
    broken = next(one for one in open_dataset(pictures).samples if one.split == "train")
    entry.append([], np.zeros((0, *entry.shape), np.float32), {broken.digest: "made up"})
    run = train(pictures, head="ridge", features="auto", size=SIZE, **where)
    assert broken.id in [one["id"] for one in run.dataset.skipped]
    assert np.sum(run.predictions()["split"] == "train") == run.n_train


def test_matrices_are_screened_once_for_all_heads(
    where: Any, pictures: Any, monkeypatch: Any
) -> None:
    screened = []
    real = grounds._compared

    def counted(*asked: Any) -> Any:
        screened.append(asked)
        return real(*asked)

    monkeypatch.setattr(grounds, "_compared", counted)
    compare(pictures, heads=["lda", "ridge", "knn", "ensemble"], size=SIZE, **where)
    assert len(screened) == 1
