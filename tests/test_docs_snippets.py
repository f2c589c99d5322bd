"""Every command and every piece of Python on the pages runs, or stands here with the reason.

They run in one folder of small made-up pictures that has what the pages name: `garments`,
`new-pictures`, `resnet18.onnx`, `mine.toml`, and so on. The tutorial makes its own.
"""

import contextlib
import doctest
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_pages import ROOT, Block, blocks, commands, indented, is_command, pages, words_of
from onnx_maker import write_onnx
from pictures import colour_folders

import tlfeat

TUTORIAL = ROOT / "docs" / "tutorial.md"
CLUSTER = "takes a Ray cluster: tests/test_cluster.py has one"
SERVER = "takes a bucket: tests/test_remote.py has one"
STUDY = (
    "takes the set that the study is about, and minutes: tests/test_studies_five.py has small ones"
)
NOT_RUN = {
    "--cluster": CLUSTER,
    "s3://": SERVER,
    "compare gtsrb-nasnet": STUDY,
    "compare pcam-mobilenet": STUDY,
    "compare food101-efficientnet": STUDY,
    "compare wildlife-": STUDY,
    "--backbone hub:": "downloads a preset: tests/test_hub.py makes one",
    "doctor": "runs every network that is here on both engines: tests/test_doctor.py",
    "--reject 1%": "takes 99 held pictures: tests/test_predict_doubt.py has them",
    "--precision bfloat16": "takes a processor that has it: tests/test_precision.py",
}
NOT_RUN_PYTHON = {
    "import mlflow": "takes MLflow, which is no part of tlfeat",
    "import timm": "takes PyTorch, which is no part of tlfeat",
    "torchvision": "takes PyTorch, which is no part of tlfeat",
    "transformers": "takes PyTorch, which is no part of tlfeat",
}
# Programs that are not ours; `make` and `python` are looked after below.
OTHERS = {"git", "pip", "cd", "ray", "pytest", "mkdir"}
BUILT_IN = (". ", "export ")  # of the shell
MODULES = {"venv"}  # that `python -m` runs on the pages
NOT_RUN_FILES = {"predict.py": "lies in an exported folder: docs/howto/export.md runs it there"}
# Indented blocks that are no commands, by how they begin.
NOT_COMMANDS = {
    "*.py -> remote": "how imports go",
    "monkeys: 672": "what is printed",
    "run.json ": "files of a run",
    "It is asked for": "text of an item",
    "garments/": "a folder",
    "index.html ": "files of a report",
    "reports/<study>/": "files of a study",
    "run        5 a class": "what is printed",
    "cache/": "files of the store",
    "base = ": "the code of somebody else that a study is about",
}
# A fine-tune on small pictures takes seconds. Heads stay as they are: another size is another
# network to export, which takes longer than these few pictures do.
SMALLER = {"finetune": ["--size", "32"]}
HEAVY = ("finetune ", "finetune(")  # ten seconds and more each
RUN: set[str] = set()  # the same command of another page says nothing new
STUDY_FILE = """schema = 1
name = "mine"
[data]
path = "garments"
[[run]]
head = ["lda", "nearest-centroid"]
name = "{head}"
features = "last:avg"
[quick]
defaults.seed = 1
"""
PAGES = [
    page for page in pages() if page != TUTORIAL and any(b.kind != "text" for b in blocks(page))
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Iterator[Path]:
    """Give the working folder of all pages."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("garments", "DATA", "signs", "photos"):
        colour_folders(folder / name, per_class=12)
    for split, seed in (("training", 1), ("validation", 2)):
        colour_folders(folder / "monkeys" / split, per_class=6, seed=seed)
    colour_folders(folder / "new-pictures", per_class=1, seed=3)
    (folder / "mine.toml").write_text(STUDY_FILE)
    write_onnx(folder / "resnet18.onnx")
    tlfeat.write_facts(folder / "resnet18.onnx", {"scaling": "torch"})
    (folder / "cache").mkdir()
    (folder / "cache" / "networks").symlink_to(networks)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("TLFEAT_CACHE", "TLFEAT_REPORTS"):
            patch.delenv(name, raising=False)
        tlfeat.compare("garments", heads=["lda", "logistic"])
        tlfeat.train("garments", head="lda")
        tlfeat.train("garments", head="ridge", name="garments-2")
        yield folder


@pytest.fixture(autouse=True)
def no_file_of_another_page(request: pytest.FixtureRequest) -> None:
    """Take away what a command does not overwrite."""
    if "world" in request.fixturenames:
        folder = request.getfixturevalue("world")
        (folder / "garments-clean.csv").unlink(missing_ok=True)
        for made in ("maps", "garments-model", "garments-openvino"):
            shutil.rmtree(folder / made, ignore_errors=True)


def run(words: list[str]) -> None:
    """Run a command of ours in this process."""
    from typer.testing import CliRunner

    from tlfeat_cli.app import app

    line = " ".join(words)
    if line in RUN and "--out" not in words:  # what it writes may be needed, and was taken away
        return
    RUN.add(line)
    done = CliRunner().invoke(app, [*words, *SMALLER.get(words[0], [])], catch_exceptions=False)
    assert done.exit_code == 0, f"tlfeat {line}: {done.output}"


def reason(text: str, reasons: dict[str, str]) -> str | None:
    return next((why for part, why in reasons.items() if part in text), None)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_command_has_the_options_that_are_named(page):
    import typer

    from tlfeat_cli.app import app

    for words in commands(page):
        command, rest = typer.main.get_command(app), words
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(str(command.name), list(rest))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_command_and_snippet_of_a_page_runs(page, world):
    run_page(page)


def run_page(page: Path, *, heavy: bool = False) -> None:
    """Run the blocks of a page in their order, those that are heavy or the others."""
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.kind == "shell":
            run_shell(block, page, heavy=heavy)
        elif block.kind == "python" and is_heavy(block.text) == heavy:
            if reason(block.text, NOT_RUN_PYTHON):
                continue
            if "features." in block.text and "features =" not in block.text:
                names["features"] = tlfeat.extract("garments")
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)


def is_heavy(text: str) -> bool:
    return any(word in text for word in HEAVY) and "--show-augmented" not in text


def run_shell(block: Block, page: Path, *, heavy: bool) -> None:
    """Run a line of a page, if it is ours and may be run here; else see that it is known."""
    program, *words = words_of(block.text)
    program, line = program.removeprefix(".venv/bin/"), " ".join(words)
    if program == "tlfeat":
        if is_heavy(line) == heavy and not reason(line, NOT_RUN):
            run(words)
    elif program == "make":
        assert re.search(rf"^{words[0] if words else 'help'}:", MAKEFILE, re.MULTILINE), line
    elif program in ("python", "python3"):
        run_python(words, f"{page.name}:{block.line}: {block.text}", heavy=heavy)
    else:
        assert program in OTHERS, f"{page.name}:{block.line}: {block.text}"


def run_python(words: list[str], where: str, *, heavy: bool) -> None:
    """Run a script that a page names: it must be there, unless it is in the list."""
    if words[:1] == ["-m"]:
        assert words[1] in MODULES, where
    elif words[0] not in NOT_RUN_FILES and not heavy:
        assert Path(words[0]).is_file(), f"{where}: there is no such file"
        subprocess.run([sys.executable, *words], check=True, capture_output=True)


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


HEAVY_PAGES = [page for page in PAGES if any(is_heavy(block.text) for block in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", HEAVY_PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_fine_tune_of_a_page_runs(page, world):
    run_page(page, heavy=True)


def test_nothing_stands_in_the_lists_that_is_on_no_page():
    lines = [" ".join(words) for page in pages() for words in commands(page)]
    assert [part for part in NOT_RUN if not any(part in line for line in lines)] == []
    python = [block.text for page in pages() for block in blocks(page) if block.kind == "python"]
    assert [part for part in NOT_RUN_PYTHON if not any(part in text for text in python)] == []
    others = [block.text.strip() for page in pages() for block in indented(page)]
    assert [one for one in NOT_COMMANDS if not any(text.startswith(one) for text in others)] == []
    shell = [block.text for page in pages() for block in blocks(page) if block.kind == "shell"]
    files = [words[1] for line in shell if len(words := words_of(line)) > 1]
    assert [one for one in NOT_RUN_FILES if one not in files] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_what_is_indented_is_commands_that_are_known_or_is_listed(page):
    for block in indented(page):
        if block.text.strip().startswith(tuple(NOT_COMMANDS)):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            known = is_command(line) or line.strip().startswith(BUILT_IN)
            assert known, f"{page.name}:{block.line}: {line}"


NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("finetune", "check_machine") else name
    for name in tlfeat.__all__
]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_every_public_name_runs_and_prints_what_it_says(name, world):
    examples = doctest.DocTestParser().get_examples(getattr(tlfeat, name).__doc__)
    assert examples, f"{name} has no example"
    home = sys.modules[getattr(tlfeat, name).__module__]
    names = {**vars(home), "tlfeat": tlfeat}
    for example in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, name, "single"), names)
        if example.want:
            assert printed.getvalue() == example.want


@pytest.mark.slow
@pytest.mark.timeout(1200)  # it is all of an hour's commands
def test_the_tutorial_prints_what_it_shows(tmp_path, networks, monkeypatch):
    from typer.testing import CliRunner

    from tlfeat_cli.app import app
    from tlfeat_cli.terminal import OUT

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(OUT, "width", 90)
    for name in ("TLFEAT_CACHE", "TLFEAT_REPORTS"):
        monkeypatch.delenv(name, raising=False)
    Path("cache").mkdir()
    Path("cache/networks").symlink_to(networks)
    python, printed, shown = "", "", 0
    for block in blocks(TUTORIAL):
        if block.kind == "python":
            python = block.text
            if "import tlfeat" in python or "LogisticRegression" in python:
                exec(compile(python, f"tutorial:{block.line}", "exec"), {})
        elif block.kind == "text":
            lines = set(map(plain, printed.splitlines()))
            for line in block.text.splitlines():
                assert line == "..." or plain(line) in lines, f"{line}\n\n{printed}"
            shown += 1
        else:
            program, *words = words_of(block.text)
            if program == "python" and words[0].endswith(".py"):
                exec(compile(python, words[0], "exec"), {})
            elif program == "tlfeat":
                done = CliRunner().invoke(app, words, catch_exceptions=False)
                assert done.exit_code == 0, done.output
                printed = done.stdout
    assert shown == 14


def plain(line: str) -> str:
    """Give a line without what differs from machine to machine: numbers, digests, spaces."""
    line = re.sub(r"-[0-9a-f]{8}\b", "", line)
    line = re.sub(r"\d[\d.,]*(?:e-\d+)?%?", "0", line)
    return re.sub(r"[\s─]+", " ", line.split(";")[0]).strip()
