"""`tlfeat finetune` as a user types it."""

import json

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tlfeat.errors import TlfeatError
from tlfeat.studies.train import train
from tlfeat_cli.finetune import finetune

app = typer.Typer()
app.command()(finetune)


@pytest.fixture
def run(tmp_path, monkeypatch, wide_terminal):
    monkeypatch.setenv("TLFEAT_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "reports"))

    def invoke(*arguments):
        done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return invoke


PLAIN = ["--backbone", "plain-cnn", "--size", "16", "--batch", "8", "--quiet"]


def test_a_run_is_trained_and_stands_in_a_table(run, pictures):
    text = run(pictures, *PLAIN, "--mode", "scratch", "--epochs", "1", "--schedule", "constant")
    assert "scratch" in text
    assert "parameters trained" in text
    assert "Run: " in text


def test_phases_take_over_what_they_do_not_say(run, pictures):
    arguments = ["--phase", "mode=scratch,epochs=1", "--phase", "mode=full,epochs=1"]
    text = run(pictures, *PLAIN, *arguments, "--learning-rate", "1e-4", "--json")
    facts = json.loads(text)
    assert [phase["mode"] for phase in facts["phases"]] == ["scratch", "full"]
    assert {phase["learning_rate"] for phase in facts["phases"]} == {1e-4}


def test_a_phase_without_a_mode_trains_everything(run, pictures):
    (phase,) = json.loads(
        run(pictures, "--size", 32, "--batch", 8, "--phase", "epochs=0", "--json", "--quiet")
    )["phases"]
    assert phase["mode"] == "full"


def test_by_itself_it_says_what_it_began_as_and_which_head_is_best(run, pictures, tmp_path):
    where = {"cache": tmp_path / "store", "reports": tmp_path / "reports"}
    head = train(pictures, head="lda", size=32, **where)
    text = run(pictures, "--size", 32, "--batch", 8, "--epochs", 1, "--quiet")
    assert "It began as a logistic regression of " in text
    assert "% of the way from there to the last epoch." in text
    assert f"The best head of this study: {head.name}, " in text


def test_what_the_model_will_see_is_drawn_and_nothing_trained(run, pictures, tmp_path):
    file = tmp_path / "seen.png"
    run(pictures, "--augment", "flip,rotation:factor=0.1", "--show-augmented", file, *PLAIN)
    with Image.open(file) as sheet:
        assert sheet.size == (8 * 20 - 4, 5 * 20 - 4)
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "frosen"], "Did you mean 'frozen'"),
        (["--schedule", "cosin"], "Did you mean 'cosine'"),
        (["--phase", "full"], "wanted KEY=VALUE"),
        (["--hidden", "512,256"], "sizes of 1 or more, as 512-256"),
        (["--mode", "full", "--backbone", "plain-cnn"], "no pretrained weights"),
        (["--from", "nowhere"], "Nothing to start from"),
        (["--hidden", "8"], "take mode full"),
        (["--train-batchnorm"], "take mode full"),
        (["--budget", "soon"], "90s, 4m or 1.5h"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(run, pictures, arguments, message):
    with pytest.raises(TlfeatError, match=message):
        run(pictures, "--quiet", *arguments)


def test_a_solved_run_says_that_no_epoch_was_trained(run, pictures):
    text = run(pictures, "--size", 32, "--mode", "frozen", "--epochs", 7, "--quiet")
    assert "so no epoch was trained" in text
    assert "held rows chose" not in text
