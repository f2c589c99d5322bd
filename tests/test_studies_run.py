"""A study from its file to its tables: resumed, linked, honest about what stands in."""

import hashlib
import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tlfeat.errors import DataError, TlfeatError, WeightsError
from tlfeat.runs import matrices as runs_matrices
from tlfeat.runs.caveats import stand_in_lines
from tlfeat.runs.results import S1_END, S1_START
from tlfeat.studies import tables
from tlfeat.studies.plan import parse_study, read_study
from tlfeat.studies.run import run_study
from tlfeat.watch import Watch
from tlfeat_cli.app import app
from tlfeat_cli.studies import studies

FILE = """
schema = 1
name = "small"
table = "curves"
[data]
path = "colours"
[defaults]
size = 32
batch = 16
backbone = "plain-cnn"
[[run]]
name = "head-{head}"
backbone = "efficientnet-lite0"
head = ["lda", "nearest-centroid"]
search = false
[[run]]
name = "fine-{start}"
start = [1]
from = "base@{start}"
mode = "full"
epochs = 1
[[run]]
name = "base"
size = 16
mode = "scratch"
epochs = 2
[[run]]
name = "whole"
from = "base"
mode = "full"
epochs = 1
[quick]
data.limit = 18
run."head-{head}".head = ["lda"]
"""
NO_FINE = FILE.replace(
    FILE[FILE.index('[[run]]\nname = "fine') : FILE.index('[[run]]\nname = "base')], ""
)


class Heard(Watch):
    """Keeps which parts of the work a watch hears of."""

    def __init__(self):
        self.all, self.begun = [], []

    def parts(self, names):
        self.all += names

    def part(self, name):
        self.begun.append(name)


TUNED = ["fine-1", "base", "whole"]


@pytest.fixture
def go(pictures, cache, tmp_path):
    def go(text=FILE, *, file="small.toml", quick=False, settings=(), **how):
        study = parse_study(text, file, folder=tmp_path, quick=quick, settings=settings)
        return run_study(study, cache=cache, reports=tmp_path / "reports", **how)

    return go


@pytest.fixture
def only_trained(monkeypatch):
    """Give the list of the fine-tunes that are trained from now on."""
    from tlfeat.finetuning.loop import Training

    trained = []
    run = Training.run

    def counted(self, *arguments):
        trained.append(self.folder.name.rpartition("-")[0])
        return run(self, *arguments)

    monkeypatch.setattr(Training, "run", counted)
    return trained


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_study_leaves_its_runs_tables_and_figures_and_is_not_run_again(go, only_trained):
    watch, ranked = Heard(), []
    done = go(watch=watch, on_ranked=lambda one: ranked.append((one, one.page.exists())))
    assert ranked == [(done, False)]  # it was told before anything was drawn
    assert [run.name for run in done.runs] == ["head-lda", "head-nearest-centroid", *TUNED]
    assert watch.all == ["features", "heads", "base", "fine-1", "whole", "page"]
    assert watch.begun == watch.all
    assert (done.fresh, done.refused) == (5, {})
    there = {path.name for path in done.folder.iterdir()}
    assert there >= {"study.toml", "results.csv", "results.md", "study.md", "figures", "runs"}
    for text in (done.folder / "index.html", done.folder / "results.md"):
        assert all(run.name in text.read_text() for run in done.runs), text
    page = done.page.read_text()
    for name in [*TUNED, "head-lda", done.paragraph]:
        assert name in page
    pictures = {path.name for path in (done.folder / "figures" / "study").glob("*.png")}
    assert pictures == {"from-base.png", "pairs.png"}
    assert all(f"](figures/study/{name})" in page for name in pictures)
    table = pd.read_csv(done.folder / "results.csv")
    assert set(table["run"]) == {run.name for run in done.runs}

    assert sorted(only_trained) == sorted(TUNED)
    again = go()
    assert again.fresh == 0
    assert len(only_trained) == len(TUNED)
    assert again.page.read_text() == page

    # runs start from the very weights that another left after that epoch
    runs = {run.name: run for run in done.runs}
    parent = runs["fine-1"].record["parent"]
    assert (parent["run"], parent["epoch"]) == (runs["base"].id, 1)
    assert parent["sha256"] == sha256(runs["base"].path / "checkpoints/epoch-0001.weights.h5")
    assert runs["whole"].record["parent"]["sha256"] == sha256(runs["base"].path / "model.keras")

    # study.toml is a study with everything settled: it gives the same runs
    settled = read_study(done.folder / "study.toml")
    assert [run.name for run in settled.runs] == [run.name for run in done.runs]
    assert go((done.folder / "study.toml").read_text()).fresh == 0

    # what changed runs again, and what starts from it; the rest does not
    changed = go(settings=["run.fine-1.epochs=2", "run.head-{head}.head=lda"])
    assert changed.fresh == 1
    assert only_trained[len(TUNED) :] == ["fine-1"]
    assert "| head-nearest-centroid" not in changed.page.read_text()


@pytest.mark.slow
def test_tables_and_figures_are_made_again_only_where_something_changed(go, monkeypatch):
    drawn = []
    save = tables._save

    def counted(figure, folder, name):
        drawn.append(name)
        return save(figure, folder, name)

    monkeypatch.setattr(tables, "_save", counted)
    first = go(NO_FINE)
    assert drawn == ["pairs"]
    again = go(NO_FINE)
    assert drawn == ["pairs"]
    assert (again.paragraph, again.stand_ins) == (first.paragraph, first.stand_ins)
    (first.folder / "figures/study/pairs.png").unlink()
    go(NO_FINE)
    assert drawn == ["pairs", "pairs"]
    renamed = go(NO_FINE.replace('name = "whole"', 'name = "other"'))
    assert drawn == ["pairs"] * 3
    assert "| other |" in renamed.page.read_text()


def test_a_study_that_was_stopped_goes_on_where_it_stopped(go, only_trained, monkeypatch):
    from tlfeat.finetuning import train

    train_network = train.train_network

    def stopped(job, *arguments):
        if job.name == "whole":
            raise KeyboardInterrupt
        return train_network(job, *arguments)

    monkeypatch.setattr(train, "train_network", stopped)
    with pytest.raises(KeyboardInterrupt):
        go(NO_FINE)
    assert only_trained == ["base"]
    monkeypatch.setattr(train, "train_network", train_network)
    done = go(NO_FINE)
    assert only_trained == ["base", "whole"]
    assert done.fresh == 1


def test_a_run_that_cannot_be_trained_does_not_stop_the_others(go, monkeypatch):
    from tlfeat.finetuning import train

    train_network = train.train_network

    def failing(job, *arguments):
        if job.name == "base":
            raise TlfeatError("The loss is no number.")
        return train_network(job, *arguments)

    monkeypatch.setattr(train, "train_network", failing)
    done = go()
    assert [run.name for run in done.runs] == ["head-lda", "head-nearest-centroid"]
    assert done.refused["base"] == "The loss is no number."
    assert "base" in done.refused["fine-1"]
    assert "Not in here: fine-1, base, whole." in done.page.read_text()


HEADS_ONLY = """
schema = 1
name = "heads"
[data]
path = "colours"
expected = { classes = 43, train = 39209 }
[defaults]
backbone = "efficientnet-lite0"
size = 32
[[run]]
name = "{features}-{head}"
features = ["last:avg", "last:max"]
head = ["lda", "ridge"]
search = false
"""


def test_a_stand_in_is_named_in_every_record_and_table(go):
    done = go(HEADS_ONLY, settings=["defaults.weights=random"])
    texts = {run.record["stand_in"] for run in done.runs}
    assert len(texts) == 1
    text = texts.pop()
    assert text.startswith("random weights instead of imagenet; data: colours (3 classes")
    assert "instead of colours (43 classes, 39,209 train)" in text
    assert done.stand_ins == stand_in_lines(done.runs)
    assert len(done.stand_ins) == 2
    for line in done.stand_ins:
        for name in ("study.md", "results.md", "index.html"):
            assert line in (done.folder / name).read_text()
    figures = list((done.folder / "figures").glob("*.svg"))
    assert figures
    for figure in figures:
        assert "Stand-in: random weights instead of imagenet." in figure.read_text(), figure
    # settled, it still says so
    again = go((done.folder / "study.toml").read_text())
    assert again.fresh == 0
    assert {run.record["stand_in"] for run in again.runs} == {text}


def test_heads_keep_the_names_of_the_file_and_those_refused_are_named(go):
    text = HEADS_ONLY.replace('"ridge"', '"svm-rbf"').replace("expected", "# ")
    text += '[[run]]\nname = "far"\nhead = "knn"\nset = {"head.k" = 500}\n'
    done = go(text)
    assert list(done.refused) == ["far"]
    assert "500" in done.refused["far"]
    for page in (done.page, done.folder / "index.html"):
        assert "far" in page.read_text(), page
    assert {run.name: run.record["head"]["name"] for run in done.runs} == {
        "last:avg-lda": "lda",
        "last:avg-svm-rbf": "svm-rbf",
        "last:max-lda": "lda",
        "last:max-svm-rbf": "svm-rbf",
    }
    assert {run.record["stand_in"] for run in done.runs} == {None}


S_TABLES = """
schema = 1
name = "tables"
table = "s1"
[data]
path = "colours"
[defaults]
size = 16
backbone = "plain-cnn"
mode = "scratch"
[[run]]
name = "only-evaluated"
epochs = 0
[[run]]
name = "trained-1.5"
epochs = 1
hidden = "8"
"""


def test_s1_and_s2_have_their_tables_curves_and_models(go):
    done = go(S_TABLES)
    page = done.page.read_text()
    table = page[page.index(S1_START) : page.index(S1_END)]
    assert "| Model name | Test accuracy | Test loss |" in table
    assert "| only-evaluated |" in table
    figures = {path.name for path in (done.folder / "figures" / "study").glob("*.png")}
    assert figures == {
        "model-only-evaluated.png",
        "model-trained-1-5.png",
        "accuracy-trained-1-5.png",
        "loss-trained-1-5.png",
    }
    assert "| only-evaluated | only evaluated | only evaluated |" in page

    done = go(S_TABLES.replace('"s1"', '"s2"'))
    assert done.fresh == 0
    lines = done.page.read_text().splitlines()
    for run in done.runs:
        for split, metrics in run.metrics.items():
            row = next(line for line in lines if line.startswith(f"| {run.name} | {split} "))
            cells = row.strip("|").split("|")
            assert float(cells[3]) == pytest.approx(100 * metrics["accuracy"], abs=0.006)
            assert float(cells[6]) == pytest.approx(100 * metrics["f1_macro"], abs=0.006)
            assert float(cells[7]) >= 0
    assert (done.folder / "figures" / "study" / "curves-trained-1-5.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ['"s1"', '"s2"', '"curves"'])
def test_tables_say_the_sizes_of_pictures_where_runs_differ_in_them(kind, go):
    text = S_TABLES.replace('"s1"', kind)
    assert "px" not in go(text).page.read_text()
    page = go(text, settings=["run.only-evaluated.size=20"]).page.read_text()
    if kind == '"s1"':
        assert "Pictures: 16 pixels a side (trained-1.5), 20 (only-evaluated)." in page
    else:
        assert " px |" in page
        assert "| only-evaluated | 20 |" in page.replace("**", "")
        assert "| trained-1.5 | 16 |" in page.replace("**", "")


def test_missing_weights_are_named_before_anything_is_computed(go, tmp_path, monkeypatch):
    def none(*_):
        raise OSError("no network")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("tlfeat.backbones.weights._fetch", none)
    text = HEADS_ONLY.replace('"efficientnet-lite0"', '"nasnet_mobile"')
    with pytest.raises(WeightsError) as error:
        go(text)
    assert "put nasnet_mobile_no_top.h5 into" in str(error.value)
    assert "--set defaults.backbone=efficientnet-lite0" in str(error.value)
    own = '[[run]]\nname = "own"\nbackbone = "nasnet_mobile"\nmode = "full"\ntop = "imagenet"\n'
    with pytest.raises(WeightsError) as error:
        go(HEADS_ONLY[: HEADS_ONLY.index("[[run]]")] + own)
    assert "put nasnet_mobile.h5 into" in str(error.value)
    assert "--set run.own.backbone=efficientnet-lite0" in str(error.value)
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ('path = "nowhere"', "--data PATH"),
        ('path = "colours"\nlayout = "hdf5"', "--set data.layout=folder"),
        ('path = "colours"\nfingerprint = "0123"', "fingerprint"),
    ],
)
def test_other_data_than_the_file_says_are_refused(go, data, wanted):
    with pytest.raises(DataError, match=wanted):
        go(FILE.replace('path = "colours"', data))


def test_compare_runs_a_study_file(pictures, cache, tmp_path, wide_terminal):
    (tmp_path / "small.toml").write_text(HEADS_ONLY + "[quick]\ndata.limit = 24\n")
    where = ["--cache", str(cache), "--reports", str(tmp_path / "reports")]

    def compare(*options, code=0):
        arguments = ["compare", str(tmp_path / "small.toml"), *where, *options]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == code, done.output
        return done

    done = compare("--quick", "--set", "run.*.head=lda", "--data", str(pictures))
    assert "last:max-lda" in done.stdout
    assert "ridge" not in done.stdout
    assert "Stand-in: data: colours (3 classes" in done.stdout
    assert "Changed: data.limit = 24" in done.stderr
    page = tmp_path / "reports" / "heads-quick" / "study.md"
    assert str(page) in done.stdout
    assert "instead of" in page.read_text()
    facts = json.loads(compare("--limit", "24", "--json", "--quiet").stdout)
    assert facts["runs"][0]["name"] == "last:avg-lda"

    refused = compare("--head", "lda", code=1)
    assert isinstance(refused.exception, TlfeatError)
    assert "--head is said in the study's file" in str(refused.exception)
    other = CliRunner().invoke(app, ["compare", str(pictures), "--quick"])
    assert "--quick belongs to a study" in str(other.exception)


def test_studies_are_listed_and_printed(wide_terminal):
    alone = typer.Typer()
    alone.command()(studies)
    listed = CliRunner().invoke(alone, []).stdout
    assert "wildlife-mobilenetv2" in listed
    printed = CliRunner().invoke(alone, ["gtsrb-nasnet"]).stdout
    assert printed.startswith("# Traffic signs")
    assert parse_study(printed, "printed").name == "gtsrb-nasnet"


def test_a_warm_study_of_heads_imports_no_tensorflow(go, cache, tmp_path):
    go(HEADS_ONLY)
    (tmp_path / "small.toml").write_text(HEADS_ONLY)
    code = (
        "import sys; from pathlib import Path; from tlfeat.studies.plan import read_study; "
        "from tlfeat.studies.run import run_study; "
        f"study = read_study(Path({str(tmp_path / 'small.toml')!r})); "
        f"done = run_study(study, cache={str(cache)!r}, reports={str(tmp_path / 'reports')!r}); "
        "print(done.fresh, [m for m in ('tensorflow', 'keras', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 []"


def test_heads_of_one_network_share_its_forward_pass(go, monkeypatch):
    calls = []
    embed = runs_matrices.embed

    def counted(dataset, requests, *arguments, **options):
        calls.append(len(requests))
        return embed(dataset, requests, *arguments, **options)

    monkeypatch.setattr(runs_matrices, "embed", counted)
    go(HEADS_ONLY)
    assert calls == [2]


def test_other_pictures_of_as_many_classes_are_not_taken_for_the_real_ones(
    make_pictures, cache, tmp_path
):
    text = """
schema = 1
name = "s"
[data]
path = "wildlife"
expected = { classes = 3 }
[[run]]
name = "lda"
head = "lda"
size = 32
search = false
"""
    elsewhere = make_pictures(tmp_path / "zoo")
    read = parse_study(text, "s.toml", folder=tmp_path, data=str(elsewhere))
    done = run_study(read, cache=cache, reports=tmp_path / "reports")
    assert "zoo (3 classes" in done.runs[0].record["stand_in"]
    assert "taken for wildlife" in done.runs[0].record["stand_in"]
    real = make_pictures(tmp_path / "wildlife", seed=1)
    read = parse_study(text, "s.toml", folder=tmp_path, data=str(real))
    done = run_study(read, cache=cache, reports=tmp_path / "reports2")
    assert done.runs[0].record["stand_in"] is None


@pytest.mark.slow
def test_s2_takes_a_network_with_1000_outputs_among_two_classes(make_pictures, cache, tmp_path):
    pictures = make_pictures(tmp_path / "colours")
    shutil.rmtree(sorted(pictures.iterdir())[2])
    text = """
schema = 1
name = "s"
table = "s2"
[data]
path = "colours"
[defaults]
size = 32
[[run]]
name = "thousand"
mode = "frozen"
epochs = 0
top = "imagenet"
[[run]]
name = "two"
mode = "frozen"
epochs = 0
"""
    done = run_study(
        parse_study(text, "s.toml", folder=tmp_path), cache=cache, reports=tmp_path / "reports"
    )
    assert done.refused == {}
    assert "| thousand | test |" in done.page.read_text()
