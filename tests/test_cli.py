"""What holds for every command: help is instant, an error is one sentence."""

import json
import re
import subprocess
import sys
import typing

import pytest
import typer
from typer.testing import CliRunner

from tlfeat_cli.app import app

HEAVY = "{'numpy', 'pandas', 'sklearn', 'scipy', 'tensorflow', 'keras', 'openvino', 'matplotlib'}"
COMMANDS = [command.name for command in app.registered_commands]
CALLBACKS = {(command.name,): command.callback for command in app.registered_commands} | {
    (group.name, command.name): command.callback
    for group in app.registered_groups
    for command in group.typer_instance.registered_commands
}


def tlfeat(*arguments, **settings):
    """Run the command in a process of its own, as a user does."""
    code = "from tlfeat_cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, **settings
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["compare", "--help"], ["kompare"], ["extract"]]
)
def test_help_and_wrong_usage_load_nothing_heavy(arguments):
    code = (
        "import sys, json\n"
        "from tlfeat_cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print(json.dumps(sorted({HEAVY} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert done.returncode == (0 if "--help" in arguments else 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "digits"],
        ["extract", "digits"],
        ["train", "digits"],
        ["finetune", "digits"],
        ["compare", "digits"],
        ["compare", "pcam-mobilenet"],
        ["predict", "run", "picture.jpg"],
        ["report", "study"],
        ["cache", "verify"],
    ],
    ids=" ".join,
)
def test_what_is_being_done_is_shown_before_anything_heavy_is_loaded(arguments):
    code = (
        "import sys, json\n"
        "from tlfeat_cli import main, terminal\n"
        "def doing(self, text):\n"
        f"    print(json.dumps([text, sorted({HEAVY} & set(sys.modules))]))\n"
        "    sys.exit(0)\n"
        "terminal.TerminalWatch.doing = doing\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    text, loaded = json.loads(done.stdout)
    assert text
    assert loaded == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert command in done.output


@pytest.mark.parametrize("words", CALLBACKS, ids=" ".join)
def test_help_shows_what_stands_in_brackets(words):
    text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "300"}).output
    callback = CALLBACKS[words]
    hints = typing.get_type_hints(callback, include_extras=True).values()
    said = [str(getattr(one, "help", "")) for hint in hints for one in typing.get_args(hint)]
    for bracketed in re.findall(r"\[[^]]+]", " ".join([*said, callback.__doc__])):
        assert bracketed in text


def test_the_list_of_commands_shows_brackets_too():
    from tlfeat_cli.help import PlainGroup

    one = typer.Typer(cls=PlainGroup, help="Say [top].")
    one.callback()(lambda: None)
    one.command("do", help="Say [do].")(lambda: None)
    inner = typer.Typer(help="Say [inner].")
    inner.command("it", help="Say [it].")(lambda: None)
    one.add_typer(inner, name="more")
    for arguments, said in (
        ([], ("[top]", "[do]", "[inner]")),
        (["do"], ("[do]",)),
        (["more"], ("[inner]", "[it]")),
        (["more", "it"], ("[it]",)),
    ):
        text = CliRunner().invoke(one, [*arguments, "--help"]).output
        assert all(f"Say {word}." in text for word in said)


@pytest.mark.parametrize("name", ["pictures[/b]", "[bold]x", "[[run]]", "a\\[b]", ":smile:"])
def test_an_error_shows_a_name_as_it_was_typed(name, tmp_path):
    done = tlfeat("data", name, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert repr(name)[1:-1] in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "nowhere"], "nowhere"),
        (["extract", "digits", "--backbone", "efficientnet-lit0"], "efficientnet-lite0"),
        (["train", "digits", "--head", "logistics"], "logistic"),
        (["train", "digits", "--set", "head.c=1"], "Did you mean 'C'"),
        (["train", "digits", "--set", "C=1"], "head.KEY=VALUE"),
        (["compare", "digits", "--features", "last:mean"], "LAYER:POOL"),
        (["compare", "digits", "--splits", "train"], "OURS=THEIRS"),
        (["compare", "digits", "--head", ","], "name one or more"),
        (["backbones", "nothing*"], "nothing*"),
        (["backbones", "mobilnet"], "Did you mean 'mobilenet'"),
        (["compare", "wildlife-eficientnet"], "Did you mean 'wildlife-efficientnet'"),
        (["compare", "pcam-mobilenet", "--set", "defalts.size=32"], "Did you mean 'defaults'"),
        (["data", "hf:"], "hf:NAME"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_answered_in_one_sentence(arguments, sentence, tmp_path):
    done = tlfeat(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_and_a_single_class_are_told(tmp_path, make_pictures):
    (tmp_path / "empty").mkdir()
    done = tlfeat("data", "empty", cwd=tmp_path)
    assert (done.returncode, "empty" in done.stderr) == (1, True)
    one = make_pictures(tmp_path / "all")
    for other in ("blue", "green"):
        for path in (one / other).iterdir():
            path.unlink()
        (one / other).rmdir()
    done = tlfeat("train", "all", "--size", "32", cwd=tmp_path)
    assert done.returncode == 1
    assert "two" in done.stderr


def test_weights_that_cannot_be_downloaded_name_the_file_and_what_works_now(tmp_path):
    environment = {
        "KERAS_HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = tlfeat("extract", "digits", "--backbone", "mobilenet", cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert "mobilenet_1_0_224_tf_no_top.h5" in done.stderr
    assert "efficientnet-lite0" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_told():
    done = tlfeat("--version")
    assert done.stdout.startswith("tlfeat 0.")
