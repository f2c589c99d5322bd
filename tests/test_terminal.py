"""What is printed can be read at any usual width: names are whole, words are whole."""

import pytest

from tlfeat.runs.results import Column
from tlfeat_cli import terminal
from tlfeat_cli.terminal import print_table

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
    text = printed(monkeypatch, capsys, width, columns, best=0)
    for word in (*names, "a-rather-long-name-of-a-study", "97.1", "8.5", "93.2", "9.25", "val %"):
        assert word in text
    for line in text.splitlines():
        assert len(line.rstrip()) <= width or LONG in line


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
