"""`predict` says which pictures a run does not know, and how sure it is of the others."""

import csv
import io
import json

import numpy as np
import pytest
from planted import photograph
from typer.testing import CliRunner

from tlfeat.deploy.predict import predict
from tlfeat.errors import DamagedFile, TlfeatError
from tlfeat.finetuning.plan import Phase
from tlfeat.runs.record import NOVELTY, load_run
from tlfeat.studies.finetune import finetune
from tlfeat.studies.train import train
from tlfeat.watch import Watch
from tlfeat_cli.app import app

SIDE = 64


@pytest.fixture
def trained(pictures, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    return train(pictures, head="lda", size=SIDE, cache=cache, reports=tmp_path / "reports")


class Hearing(Watch):
    """Keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_pictures_of_another_kind_are_unknown_and_those_of_train_are_not(trained, pictures):
    known = list(predict(trained, pictures, reject=0.05))
    assert np.mean([one.known for one in known]) > 0.85
    others = [np.asarray(photograph(seed)) for seed in range(6)]
    unknown = list(predict(trained, others, reject=0.05))
    assert [one.known for one in unknown] == [False] * 6
    assert all(one.label for one in unknown)  # it is told all the same


def test_sets_hold_the_likeliest_first(trained, pictures):
    found = list(predict(trained, pictures, coverage=0.9))
    assert all(one.classes[0] == one.label for one in found)
    assert {one.known for one in found} == {None}


def test_what_is_not_asked_is_not_told(trained, pictures):
    (one,) = predict(trained, pictures / "red" / "red-000.png")
    assert (one.known, one.typical, one.classes) == (None, None, None)


def test_columns_and_json_have_what_was_asked(run, trained, pictures, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    text = run(
        *("predict", trained.path, pictures / "red" / "red-000.png", bad, "--reject", "10%"),
        *("--coverage", "0.8", "--quiet"),
        code=1,
    )
    good, broken = csv.DictReader(io.StringIO(text.split("1 of 2")[0]))
    assert list(good) == ["id", "label", "probability", "known", "typical", "set", "reason"]
    assert good["known"] in ("yes", "no")
    assert good["set"].split("|")[0] == good["label"]
    assert (broken["known"], broken["typical"], broken["set"]) == ("", "", "")
    asked = ["--reject", "10%", "--coverage", "0.8", "--json", "--quiet"]
    unread = json.loads(run("predict", trained.path, bad, *asked, code=1).splitlines()[0])
    assert (unread["known"], unread["typical"], unread["set"]) == (None, None, None)
    line = run("predict", trained.path, pictures / "red" / "red-000.png", "--json", "--quiet")
    assert set(json.loads(line)) == {"id", "label", "probability", "top", "reason"}
    asked = ["--reject", "0.1", "--coverage", "90%", "--json", "--quiet"]
    line = json.loads(run("predict", trained.path, pictures / "red" / "red-000.png", *asked))
    assert isinstance(line["known"], bool)
    assert line["set"][0] == line["label"]


def test_the_command_says_how_many_are_unknown(trained, pictures, tmp_path):
    photograph(0).save(tmp_path / "other.png")
    asked = ["predict", str(trained.path), str(tmp_path / "other.png"), str(pictures / "red")]
    done = CliRunner().invoke(app, [*asked, "--reject", "5%"])
    assert "1 of 13 pictures is unlike what the run was trained on." in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reject": 0.0}, "above 0 and at most 0.5; got 0"),
        ({"reject": 0.7}, "above 0 and at most 0.5; got 0.7"),
        ({"reject": 0.001}, "held-out pictures: 999 are needed"),
        ({"coverage": 90}, "below 1; got 90"),
        ({"coverage": 0.999}, "held-out pictures: 999 are needed"),
    ],
)
def test_shares_that_cannot_be_told_are_one_sentence(trained, pictures, options, words):
    with pytest.raises(TlfeatError, match=words):
        next(predict(trained, pictures, **options))


def test_a_share_that_is_no_number_is_one_sentence(run, trained, pictures):
    with pytest.raises(TlfeatError, match="--reject 'few' is no share: wanted one such as 1%"):
        run("predict", trained.path, pictures, "--reject", "few")


def test_a_run_of_before_says_what_to_do(trained, pictures):
    (trained.path / NOVELTY).unlink()
    with pytest.raises(TlfeatError, match="make it again"):
        next(predict(trained, pictures, reject=0.1))


def test_what_was_changed_is_not_believed(trained, pictures):
    data = bytearray((trained.path / NOVELTY).read_bytes())
    data[200] ^= 255
    (trained.path / NOVELTY).write_bytes(data)
    with pytest.raises(DamagedFile, match="is not as it was written"):
        next(predict(load_run(trained.path), pictures, reject=0.1))


def test_a_fine_tune_gives_sets_and_no_word_on_what_is_known(pictures, cache, tmp_path):
    phase = Phase("partial", epochs=1)
    tuned = finetune(pictures, phases=[phase], size=32, cache=cache, reports=tmp_path / "reports")
    assert next(predict(tuned, pictures, coverage=0.5, cache=cache)).classes
    with pytest.raises(TlfeatError, match="is a fine-tune"):
        next(predict(tuned, pictures, reject=0.1, cache=cache))


def test_groups_are_said_to_make_shares_uncertain(pictures, cache, tmp_path):
    told = {"head": "lda", "size": SIDE, "cache": cache, "reports": tmp_path / "reports"}
    alone, copied = Hearing(), Hearing()
    next(predict(train(pictures, **told), pictures, reject=0.1, cache=cache, watch=alone))
    (pictures / "red" / "again.png").write_bytes((pictures / "red" / "red-000.png").read_bytes())
    next(predict(train(pictures, **told), pictures, reject=0.1, cache=cache, watch=copied))
    assert not any("groups or copies" in note for note in alone.notes)
    assert any("groups or copies" in note for note in copied.notes)
