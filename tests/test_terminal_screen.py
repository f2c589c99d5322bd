"""What a user sees in a terminal while a command runs, and what is left of it."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pyte
import pytest
from conftest import SIZE
from pictures import colour_folders
from rich.console import Console
from screens import BIN, lines_of, shown
from typer.testing import CliRunner

from tlfeat.features.settings import FeatureSettings
from tlfeat.studies.compare import compare
from tlfeat.watch import Watch
from tlfeat_cli import terminal
from tlfeat_cli.app import app
from tlfeat_cli.terminal import TerminalWatch

SPINNER = re.compile(r"^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] ?")
CONTROL = re.compile(rb"\x1b")
TITLES = ["head", "val %", "test %", "95%", "balanced %", "F1 %", "log loss", "ms/image"]


def bars(lines):
    return [SPINNER.sub("", line) for line in lines if SPINNER.match(line)]


def without_style(raw):
    return re.sub(r"\x1b\[[\d;]*m", "", raw.decode())


def next_command(text):
    """Give the command that was printed last."""
    (said,) = re.findall(r"^Next: (.*?)\r?$", text, re.MULTILINE)
    return said


@pytest.fixture(scope="module")
def places(tmp_path_factory, networks):
    """Give a folder of pictures whose name a shell would take apart, and a store."""
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "cache").mkdir()
    (folder / "cache" / "networks").symlink_to(networks)
    pictures = colour_folders(folder / "Ann's pictures")
    where = {"TLFEAT_CACHE": str(folder / "cache"), "TLFEAT_REPORTS": str(folder / "reports")}
    return pictures, where


@pytest.fixture(scope="module")
def compared(places):
    """Give what a terminal of 60 columns showed of the first comparison."""
    pictures, where = places
    arguments = ["compare", pictures, "--head", "lda,knn", "--size", SIZE]
    return shown("tlfeat", *arguments, columns=60, **where)


def test_one_bar_shows_the_parts_in_their_order_and_leaves_nothing(compared):
    assert compared.code == 0
    seen = [bar for lines in compared.frames for bar in bars(lines)]
    assert all(len(bars(lines)) <= 1 for lines in compared.frames)
    assert all(lines.index(line) == len(lines) - 1 for lines in compared.frames
               for line in lines if SPINNER.match(line))  # fmt: skip
    numbers = [int(bar[0]) for bar in seen if re.match(r"\d/3 ", bar)]
    assert set(numbers) == {1, 2, 3}
    assert numbers == sorted(numbers)
    assert any("1/3 features: embedding" in bar and "/36" in bar for bar in seen)
    assert any("2/3 heads: training" in bar for bar in seen)
    assert not bars(compared.last)
    assert compared.raw.count(b"\x1b[?25l") == compared.raw.count(b"\x1b[?25h")  # the cursor


def test_the_table_and_what_belongs_to_it_stand_before_the_page_is_drawn(compared):
    (drawing, *_) = [lines for lines in compared.frames if any("3/3 page" in one for one in lines)]
    text = " ".join(map(str.strip, drawing))
    for word in ("lda", "knn", "Best by", "Full names: efficientnet-lite0-32-auto-NAME."):
        assert word in text
    assert "Report:" not in text
    last = "\n".join(compared.last)
    order = ["lda", "Not shown", "Best by", "Report: ", "Next: tlfeat predict"]
    assert [word for _, word in sorted((last.index(word), word) for word in order)] == order


def test_what_is_left_out_at_60_columns_is_named_with_the_file_that_has_it(compared, places):
    text = " ".join(without_style(compared.raw).split())  # a terminal breaks paths, we do not
    said = re.search(r"Not shown for lack of room: (.*?); (\S+) has them\.", text)
    header = next(line for line in compared.last if "val %" in line)
    hidden = said[1].split(", ")
    assert hidden
    assert sorted([*hidden, *(t for t in TITLES if t in header)]) == sorted(TITLES)
    with Path(said[2]).open() as file:
        assert {"log_loss", "f1_macro", "balanced_accuracy"} <= {
            line.split(",")[8] for line in file
        }


def test_no_word_of_a_sentence_is_broken_at_60_columns(compared):
    begin, end = (
        next(place for place, line in enumerate(compared.last) if line.startswith(start))
        for start in ("efficientnet-lite0 ", "Report: ")
    )
    lines = compared.last[begin:end]
    words = " ".join(lines).split()
    assert {"pictures", "efficientnet-lite0-32-auto-NAME.", "classes;"} <= set(words)
    assert set(words) <= set(without_style(compared.raw).split())
    assert all(len(line) <= 60 for line in lines)


def test_the_command_at_the_end_works_in_a_shell(compared, places):
    _, where = places
    command = next_command(without_style(compared.raw))
    environment = {**os.environ, **where, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.startswith("id,label,probability")
    assert row.split(",")[1] in ("blue", "green", "red")


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_plain_terminal_gets_no_escape_code_and_a_line_for_each_part(plain, compared, places):
    pictures, where = places
    name = "no-colour" if "NO_COLOR" in plain else "dumb"
    arguments = ["compare", pictures, "--head", "lda", "--size", SIZE, "--name", name]
    done = shown("tlfeat", *arguments, columns=60, **where, **plain)
    assert (done.code, CONTROL.findall(done.raw)) == (0, [])
    assert [line for line in done.last if re.match(r"\d/3 ", line)] == [
        "1/3 features", "2/3 heads", "3/3 page"
    ]  # fmt: skip
    for line in without_style(done.raw).splitlines():  # as it was written, not as it was wrapped
        assert len(line) <= 60 or " " not in line or line.startswith(("Report: ", "Next: ")), line


@pytest.mark.parametrize("columns", [60, 120])
def test_a_dumb_terminal_is_as_wide_as_it_is(columns):
    for how in ({}, {"COLUMNS": str(columns)}):
        raw = shown("tlfeat", "heads", columns=columns, TERM="dumb", **how).raw.decode()
        widest = max(map(len, raw.splitlines()))
        assert columns - 20 < widest <= columns


def test_ctrl_c_says_what_is_kept_and_leaves_no_line_of_the_bar(places):
    pictures, where = places
    # nothing is exported there, so that the first part is not over before the key is down
    where = {name: f"{folder}-stopped" for name, folder in where.items()}
    arguments = ["compare", pictures, "--size", SIZE, "--features", "stage3:avg"]
    done = shown("tlfeat", *arguments, columns=80, stop_at="1/3 features", **where)
    assert done.code == 130
    assert b"^C" in done.raw
    said = [line for line in done.last if line]
    assert said == ["Stopped. What was embedded is kept; run the same command to go on."]


@pytest.mark.parametrize("arguments", [["--help"], ["heads"], ["kompare"], ["data", "nowhere"]])
def test_help_lists_and_errors_are_coloured_but_for_those_who_want_none(arguments):
    assert CONTROL.search(shown("tlfeat", *arguments).raw)
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert not CONTROL.search(shown("tlfeat", *arguments, **plain).raw)


def test_a_pipe_has_all_columns_and_no_bar_whatever_terminal_is_around(compared, places):
    pictures, where = places
    words = ["tlfeat", "compare", str(pictures), "--head", "lda,knn", "--size", str(SIZE)]
    code = f"{shlex.quote(sys.executable)} -c 'from tlfeat_cli import main; main()' "
    command = code + shlex.join(words[1:])
    piped = shown("sh", "-c", f"{command} | cat", columns=60, **where)
    assert all(title.encode() in piped.raw for title in TITLES)
    (header,) = [line for line in piped.raw.decode().splitlines() if "val %" in line]
    assert all(title in header for title in TITLES)
    told = subprocess.run(
        ["sh", "-c", command], capture_output=True, env={**os.environ, **where}, check=True
    )
    assert all(title.encode() in told.stdout for title in TITLES)
    assert not CONTROL.search(told.stdout + told.stderr)
    forced = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        env={**os.environ, **where, "FORCE_COLOR": "1"},
        check=True,
    )
    assert b"\x1b[1m" in forced.stdout
    assert re.findall(rb"\x1b\[[^m]*[A-Za-ln-z]", forced.stdout + forced.stderr) == []


class Screen(io.StringIO):
    """A terminal that only this process has; a bar is drawn on it from a thread of its own."""

    def __init__(self, columns):
        super().__init__()
        self.screen = pyte.Screen(columns, 10)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream, self.lock = pyte.Stream(self.screen), threading.Lock()

    def write(self, text):
        with self.lock:
            self.stream.feed(text)
        return len(text)


@pytest.fixture
def on_screen(monkeypatch):
    """Give a function that gives what is on a terminal of some columns."""

    def on_screen(columns):
        file = Screen(columns)
        usual = {"force_terminal": True, "width": columns, "_environ": {"TERM": "xterm"}}
        monkeypatch.setattr(terminal, "ERRORS", Console(file=file, **usual))

        def look():
            if terminal._bar is not None:
                terminal._bar._progress.refresh()
            with file.lock:
                return lines_of(file.screen)

        return look

    yield on_screen
    terminal.settle()


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_bar_is_one_line_of_any_terminal(on_screen, columns):
    look = on_screen(columns)
    watch = TerminalWatch()
    watch.parts(["features", "heads", "a-run-of-a-study-with-a-rather-long-name", "page"])
    watch.doing("loading efficientnet-lite0; the first time it is exported, too " * 2)
    watch.part("features")
    for what, total in (("embedding", 1234567), ("training", 35)):
        watch.start(what, total)
        watch.now("logistic on stage3+stage4+stage5+last, and what else there may be")
        for _ in range(12):
            watch.step(total // 40)
            (line,) = look()
            assert len(line) <= columns - 2  # room for the ^C that a terminal echoes
            assert line.startswith(("⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"))
            assert f"{total:,}" in line
    watch.part("a-run-of-a-study-with-a-rather-long-name")
    watch.start("training full", 400)
    (line,) = look()
    assert "3/4 a-r" in line
    watch.finish()
    assert "3/4 a-r" in "".join(look())
    watch.note("said above")
    assert [line.startswith("said above") for line in look()] == [True, False]
    terminal.settle()
    assert look() == ["said above"]


def test_a_part_that_never_begins_is_counted_and_one_of_no_plan_is_named(on_screen):
    look = on_screen(60)
    watch = TerminalWatch()
    watch.part("page")
    assert [bar.strip() for bar in bars(look())] == ["page"]
    watch.parts(["features", "heads", "heads", "page"])
    watch.part("heads")
    assert "2/4 heads" in "".join(look())
    watch.part("heads")  # a run may be called so
    assert "3/4 heads" in "".join(look())
    watch.part("page")
    assert "4/4 page" in "".join(look())


class Heard(Watch):
    """Keeps what a watch hears."""

    def __init__(self):
        self.all, self.begun, self.bars = [], [], []

    def parts(self, names):
        self.all.append(list(names))

    def part(self, name):
        self.begun.append(name)

    def start(self, what, total):
        self.bars.append([what, total, 0])

    def step(self, n=1):
        self.bars[-1][2] += n


def test_pictures_of_two_sizes_are_embedded_with_one_count(pictures, cache, tmp_path):
    heard = Heard()
    networks = [FeatureSettings(size=size) for size in (SIZE, 48)]
    where = {"cache": cache, "reports": tmp_path / "reports", "watch": heard}
    compare(pictures, networks, heads=["lda"], features=["last:avg"], **where)
    assert heard.all == [["features", "heads", "page"]]
    assert heard.begun == ["features", "heads", "page"]
    embedding = [bar for bar in heard.bars if bar[0] == "embedding"]
    assert [(total, done) for _, total, done in embedding] == [(72, 36), (72, 72)]
    compare(pictures, networks, heads=["lda"], features=["last:avg"], **where)
    assert heard.begun == ["features", "heads", "page"]  # there was nothing to do


def test_each_command_suggests_one_that_works(run, pictures, tmp_path, monkeypatch):
    odd = pictures.rename(pictures.with_name("two words"))
    cache = os.environ["TLFEAT_CACHE"]
    for first in (
        ["data", odd, "--split-seed", 3, "--limit", 30],
        ["extract", odd, "--size", SIZE, "--features", "last:avg", "--cache", cache],
        ["train", odd, "--head", "lda", "--size", SIZE],
    ):
        done = CliRunner().invoke(app, [str(word) for word in first])
        assert done.exit_code == 0
        assert "Next: " not in done.stdout
        command, *words = shlex.split(next_command(done.stderr))
        assert command == "tlfeat"
        if first[0] == "extract":
            monkeypatch.setattr(
                "tlfeat.features.extract.embed_pictures", lambda *_, **__: pytest.fail("again")
            )
        if first[0] == "data":
            assert words == ["compare", str(odd), "--split-seed", "3", "--limit", "30"]
            words += ["--size", str(SIZE)]
        more = ["--head", "lda,knn"] if words[0] == "compare" else []
        assert CliRunner().invoke(app, [*words, *more]).exit_code == 0


def test_nothing_is_suggested_to_a_script(run, pictures):
    for silent in ("--json", "--quiet"):
        done = CliRunner().invoke(app, ["data", str(pictures), silent])
        assert (done.exit_code, "Next: " in done.output) == (0, False)
    assert json.loads(run("data", pictures, "--json"))
