"""What is printed can be read at any usual width: names are whole, words are whole."""

import io
import sys

import pytest
from rich.console import Console

from tlfeat.runs.results import Column
from tlfeat_cli import terminal
from tlfeat_cli.terminal import TerminalWatch, fail, print_json, print_table, say

LONG = "efficientnet-lite0-64-stage4-grid2+last-avg-logistic-c6010cd5"
WIDTHS = pytest.mark.parametrize("width", [40, 60, 80, 120])


def printed(monkeypatch, capsys, width, columns, **how):
    monkeypatch.setattr(terminal.OUT, "width", width)
    print_table(columns, **how)
    return capsys.readouterr().out


@WIDTHS
def test_a_name_is_never_broken_and_its_numbers_are_there(monkeypatch, capsys, width):
    names = [LONG, "mobilenet-knn-11111111"]
    columns = [
        Column("study", ["a-rather-long-name-of-a-study", "b"], is_number=False),
        Column("run", names, is_number=False),
        Column("val %", ["97.1", "8.5"]),
        Column("test %", ["93.2", "9.25"]),
        Column("made", ["2026-01-01 10:00", "2026-01-02 11:00"], is_number=False, drop=1),
    ]
    text = printed(monkeypatch, capsys, width, columns, best={0})
    for word in (*names, "a-rather-long-name-of-a-study", "97.1", "8.5", "93.2", "9.25", "val %"):
        assert word in text
    for line in text.splitlines():
        assert len(line.rstrip()) <= width or LONG in line


def test_a_row_of_a_few_lines_begins_with_its_rank_and_names(monkeypatch, capsys):
    columns = [
        Column("#", ["1=", " 2"]),
        Column("run", [LONG, "b"], is_number=False),
        Column("val %", ["97.1", "8.5"]),
    ]
    lines = printed(monkeypatch, capsys, 40, columns).splitlines()
    assert lines == [f"1=  {LONG}", "  val % 97.1", "2  b", "  val %  8.5"]


@WIDTHS
def test_words_of_a_sentence_stay_whole(monkeypatch, capsys, width):
    said = "linear discriminant analysis with a shrunk covariance, in closed form"
    columns = [
        Column("name", ["nearest-centroid"], is_number=False),
        Column("what it is", [said], is_number=False),
        Column("settings", ["n_components, gamma*, alpha*, max_iter"], is_number=False),
        Column("gives", ["probability"], is_number=False),
    ]
    text = printed(monkeypatch, capsys, width, columns)
    for word in (*said.split(), "nearest-centroid", "n_components,", "gamma*,"):
        assert word in text.split()
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


def test_where_there_is_room_a_row_is_a_line(monkeypatch, capsys):
    columns = [Column("run", [LONG, "b"], is_number=False), Column("val %", ["97.1", "8.5"])]
    lines = printed(monkeypatch, capsys, 80, columns).splitlines()
    assert [line.split() for line in lines if "." in line] == [[LONG, "97.1"], ["b", "8.5"]]


@pytest.fixture
def stderr(monkeypatch):
    """Give what is shown on a terminal that is not there."""
    text = io.StringIO()
    monkeypatch.setattr(terminal, "ERRORS", Console(file=text, force_terminal=True, width=80))
    yield text
    terminal.settle()


def test_what_is_being_done_is_shown_at_once(stderr):
    TerminalWatch().doing("reading pictures [b]")
    assert "reading pictures [b]" in stderr.getvalue()


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_shown_where_nobody_looks(quiet, monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(terminal, "ERRORS", Console(file=text, force_terminal=quiet))
    TerminalWatch(quiet).doing("reading")
    assert text.getvalue() == ""


@pytest.mark.parametrize(
    "then",
    [
        lambda watch: watch.start("embedding", 3),
        lambda watch: watch.finish(),
        lambda watch: say("result"),
        lambda watch: print_json({}),
        lambda watch: fail("no"),
        lambda watch: print_table([Column("a", ["1"])]),
    ],
    ids=["a bar", "the end", "a line", "json", "an error", "a table"],
)
def test_it_is_taken_away_by_what_comes_next(stderr, then):
    watch = TerminalWatch()
    watch.doing("reading")
    then(watch)
    watch.finish()
    shown = stderr.getvalue()
    terminal.settle()
    assert stderr.getvalue() == shown


def test_results_go_to_stdout_while_something_is_shown(stderr, capsys):
    TerminalWatch().doing("reading")
    print("result")
    sys.stdout.flush()
    assert capsys.readouterr().out == "result\n"
