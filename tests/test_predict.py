"""A finished run predicts new pictures, prepared as its training pictures were."""

import csv
import io
import json
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from conftest import SIZE
from PIL import Image
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.deploy.predict import predict
from tlfeat.errors import NetworkError, TlfeatError, WeightsError
from tlfeat.finetuning.plan import Phase
from tlfeat.heads.persist import LoadedHead
from tlfeat.heads.trained import TrainedHead
from tlfeat.runs import find
from tlfeat.runs.find import find_run
from tlfeat.runs.record import load_run
from tlfeat.runs.writing import write_record
from tlfeat.studies.finetune import finetune
from tlfeat.studies.train import train
from tlfeat_cli.app import app


def predicted(run, pictures, **options):
    return list(predict(run, pictures, **options))


@pytest.fixture
def run(pictures, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    return train(pictures, head="lda", size=SIZE, cache=cache, reports=tmp_path / "reports")


def test_predictions_of_training_pictures_equal_those_of_the_run(run, pictures):
    table = run.predictions()
    table = table[table["split"] != "validation"].set_index("id")
    found = predicted(run, [pictures / name for name in table.index], top=3)
    classes = run.record["dataset"]["classes"]
    assert [one.label for one in found] == [classes[i] for i in table["predicted"]]
    for one, (_, row) in zip(found, table.iterrows(), strict=True):
        assert dict(one.top) == pytest.approx(
            {name: row[f"score_{i}"] for i, name in enumerate(classes)}, abs=1e-5
        )
        assert one.score == max(score for _, score in one.top)


def test_a_folder_files_arrays_and_bytes_are_all_pictures(run, pictures):
    path = pictures / "red" / "red-000.png"
    by_path = predicted(run, path)[0]
    pixels = np.asarray(Image.open(path))
    by_value = predicted(run, [pixels, path.read_bytes()])
    assert {one.score for one in by_value} == {by_path.score}
    assert [one.id for one in by_value] == ["[0]", "[1]"]
    assert len(predicted(run, pictures)) == 36


def test_a_bad_file_is_a_row_with_its_reason(run, pictures):
    bad = pictures / "notes.jpg"
    bad.write_text("no picture")
    found = predicted(run, [pictures / "gone.png", bad, pictures / "red" / "red-000.png"])
    assert [one.label is None for one in found] == [True, True, False]
    assert found[0].reason == "there is no such file"
    assert found[1].reason


def test_names_that_are_no_text_and_damaged_archives_are_rows_too(run, pictures, tmp_path):
    odd = (pictures / "red/red-000.png").rename(tmp_path / "caf\udce9.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", odd.read_bytes())
    data = bytearray((tmp_path / "set.zip").read_bytes())
    data[60] ^= 255  # in the compressed bytes
    (tmp_path / "set.zip").write_bytes(data)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    found = predicted(run, [odd, tmp_path / "set.zip", tmp_path / "torn.parquet"])
    assert [one.label is None for one in found] == [False, True, True]
    assert found[0].id.endswith("caf\\xe9.png")
    assert "damaged" in found[1].reason


def test_an_unlabelled_folder_is_predicted(run, pictures, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted((pictures / "blue").iterdir()):
        path.rename(flat / path.name)
    assert {one.label for one in predicted(run, flat)} == {"blue"}


def test_joined_layers_predict_as_they_were_trained(pictures, cache, tmp_path):
    run = train(
        pictures,
        head="lda",
        features="stage4:grid2+last:max",
        size=SIZE,
        dtype="float16",
        cache=cache,
        reports=tmp_path / "reports",
    )
    row = run.predictions().iloc[0]
    one = predicted(run, pictures / row["id"], cache=cache)[0]
    assert one.score == pytest.approx(row[f"score_{row['predicted']}"], abs=1e-5)


def test_other_weights_than_the_runs_are_refused(run, pictures):
    with pytest.raises(WeightsError, match="not the ones wanted"):
        predicted(run, pictures, weights="random")


def test_another_decoding_rule_is_refused(run, pictures):
    record = json.loads((run.path / "run.json").read_text())
    record["recipes"][0]["decoder"] = 99
    with pytest.raises(TlfeatError, match="rule 99"):
        predicted(write_record(run.path, record), pictures)


def test_an_altered_head_is_refused(run, pictures):
    (run.path / "head.skops").write_bytes(b"PK no head")
    with pytest.raises(TlfeatError, match="head"):
        predicted(load_run(run.path), pictures)


def test_the_command_gives_csv_or_json_lines(run, pictures):
    names = "\n".join(str(path) for path in sorted((pictures / "red").iterdir())[:3])
    done = CliRunner().invoke(app, ["predict", str(run.path), "-", "--top", "2"], input=names)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    wanted = ["id", "label", "probability", "label_2", "probability_2", "reason"]
    assert list(rows[0]) == wanted
    assert [row["label"] for row in rows] == ["red"] * 3
    done = CliRunner().invoke(app, ["predict", str(run.path), str(pictures), "--json"])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 36
    assert set(lines[0]) == {"id", "label", "probability", "top", "reason"}
    assert set(lines[0]["top"][0]) == {"label", "probability"}


def test_a_score_is_not_called_a_probability(pictures, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    run = train(pictures, head="ridge", size=SIZE, cache=cache, reports=tmp_path / "reports")
    head = run.head()  # as versions without a temperature saved it
    before = make_pipeline(head.pipeline[0], head.pipeline[-1].estimator.estimator)
    older = TrainedHead("ridge", before, {}, "score", len(head.classes))
    loaded = LoadedHead(**vars(older), classes=head.classes)
    monkeypatch.setattr(type(run), "head", lambda self: loaded)
    one = predicted(run, pictures / "red" / "red-000.png")[0]
    assert one.score_kind == "score"
    arguments = ["predict", str(run.path), str(pictures / "red")]
    header, first, *_ = CliRunner().invoke(app, arguments).stdout.splitlines()
    assert header == "id,label,score,reason"
    line = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout.splitlines()[0])
    assert set(line) == {"id", "label", "score", "top", "reason"}
    assert line["score"] == pytest.approx(float(first.split(",")[2]), rel=1e-5)


def test_a_missing_file_ends_in_1_after_the_rest(run, pictures):
    arguments = ["predict", str(run.path), "gone.png", str(pictures / "red" / "red-000.png")]
    for json_ in ([], ["--json"]):
        done = CliRunner().invoke(app, [*arguments, *json_])
        assert done.exit_code == 1
        assert "there is no such file" in done.stdout
        assert "red-000.png" in done.stdout
        assert "1 of 2 pictures has no label" in done.stderr
    assert CliRunner().invoke(app, ["predict", str(run.path), arguments[3]]).exit_code == 0


def test_pictures_of_two_folders_have_the_ids_that_were_typed(run, make_pictures, tmp_path):
    one, two = (make_pictures(tmp_path / name, per_class=1) for name in ("one", "two"))
    ids = [found.id for found in predicted(run, [one, f"{two}/", two / "red" / "red-000.png"])]
    assert ids[:2] == [f"{one}/blue/blue-000.png", f"{one}/green/green-000.png"]
    assert ids[3:] == [f"{two}/{c}/{c}-000.png" for c in ("blue", "green", "red", "red")]


def test_a_run_is_named_as_the_list_of_runs_names_it(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "reports"))
    picture = str(pictures / "red" / "red-000.png")
    by_folder = CliRunner().invoke(app, ["predict", str(run.path), picture])
    for name in (run.name, run.path.name, "colours", f"colours/{run.name}"):
        done = CliRunner().invoke(app, ["predict", name, picture])
        assert done.stdout == by_folder.stdout
        assert run.path.name in done.stderr
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "none"))
    reports = ["--reports", str(tmp_path / "reports")]
    done = CliRunner().invoke(app, ["predict", "colours", picture, *reports])
    assert done.stdout == by_folder.stdout


def test_a_mistake_is_answered_before_anything_is_printed(run, pictures):
    record = json.loads((run.path / "run.json").read_text())
    recipes = [{**recipe, "decoder": 99} for recipe in record["recipes"]]
    write_record(run.path, record | {"recipes": recipes})
    done = CliRunner().invoke(app, ["predict", str(run.path), str(pictures)])
    assert isinstance(done.exception, TlfeatError)
    assert done.stdout == ""


@pytest.fixture
def finetuned(pictures, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    where = {"cache": cache, "reports": tmp_path / "reports"}
    return finetune(pictures, "plain-cnn", [Phase("scratch", 1)], size=16, batch=8, **where)


def test_a_fine_tune_predicts_what_its_run_tells_on_either_engine(finetuned, pictures):
    table = finetuned.predictions().set_index("id")
    paths = [pictures / name for name in table.index]
    scores = table[[f"score_{i}" for i in range(3)]].to_numpy()
    for engine in ("openvino", "tensorflow"):
        found = predicted(finetuned, paths, engine=engine, top=3)
        classes = finetuned.dataset.classes
        assert [one.label for one in found] == [classes[i] for i in table["predicted"]]
        ours = np.array([[dict(one.top)[name] for name in classes] for one in found])
        np.testing.assert_allclose(ours, scores, atol=1e-5)
        assert {one.score_kind for one in found} == {"probability"}


def test_a_fine_tuned_network_is_exported_once_and_then_needs_no_tensorflow(finetuned, pictures):
    picture = pictures / "red" / "red-000.png"
    (first,) = predicted(finetuned, picture)
    code = textwrap.dedent(f"""
        import sys
        from tlfeat.deploy.predict import predict
        from tlfeat.runs.record import load_run
        (one,) = predict(load_run({str(finetuned.path)!r}), {str(picture)!r})
        print(one.label, repr(one.score), "tensorflow" in sys.modules)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [first.label, repr(first.score), "False"]


def test_a_fine_tuned_network_answers_in_bfloat16_where_there_is_one(finetuned, pictures):
    there = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in there:
        with pytest.raises(NetworkError, match="does not compute in bfloat16"):
            predicted(finetuned, pictures, precision="bfloat16")
        return
    plain, shorter = (predicted(finetuned, pictures, precision=p) for p in (None, "bfloat16"))
    ours, theirs = np.array([one.score for one in shorter]), np.array([one.score for one in plain])
    assert 0 < np.abs(ours - theirs).max() < 0.1
    with pytest.raises(TlfeatError, match="leave --precision out, or use --engine openvino"):
        predicted(finetuned, pictures, precision="bfloat16", engine="tensorflow")
    with pytest.raises(TlfeatError, match=r"trained in float32 and cannot compute in mixed"):
        predicted(finetuned, pictures, precision="mixed")


def test_a_fine_tune_has_its_weights_in_its_own_file(finetuned, pictures):
    with pytest.raises(TlfeatError, match=r"its model\.keras: leave --weights out"):
        predicted(finetuned, pictures, weights="elsewhere.h5")
    model = finetuned.path / "model.keras"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(TlfeatError, match="is not as it was written"):
        predicted(finetuned, pictures)
    model.unlink()
    with pytest.raises(TlfeatError, match=r"is not there any more: remove .* and train it again"):
        predicted(finetuned, pictures)


def test_a_study_predicts_with_its_best_run_whatever_it_is(
    finetuned, pictures, cache, tmp_path, monkeypatch
):
    head = train(pictures, head="lda", size=SIZE, cache=cache, reports=tmp_path / "reports")
    assert head.study == finetuned.study
    assert find_run(head.study).id == head.id  # colours are easy, and the other saw them once
    monkeypatch.setattr(find, "rank", lambda runs: sorted(runs, key=lambda run: run.kind))
    assert find_run(head.study).id == finetuned.id
