"""Fewer train pictures, as the command prints them and as the page shows them."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from conftest import SIZE
from made_study import ODD_NAMES, made_rows, make_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_growth import TRUE, curve_of

from tlfeat.errors import TlfeatError
from tlfeat.report.merge import write_report
from tlfeat.report.page import write_page
from tlfeat.report.shot_figures import draw_shots
from tlfeat.report.shots import shot_rows
from tlfeat.runs.growth import HELD
from tlfeat.runs.record import find_runs
from tlfeat.runs.shot_words import foretell, shot_caption, shot_sentences, shot_table
from tlfeat.runs.shots import SHOTS, ShotFile, ShotFit, repeats_of


def test_the_command_prints_the_curve_and_the_page_and_json_have_it(run, pictures, tmp_path):
    asked = ("compare", pictures, "--head", "lda", "--features", "last:avg", "--size", SIZE)
    printed = run(*asked, "--shots", "2,4,all")
    assert "twice all" in printed
    assert "2 a class" in printed
    (folder,) = (tmp_path / "reports").iterdir()
    page = (folder / "index.html").read_text()
    assert "How many more pictures" in page
    assert (folder / "figures" / "shots.svg").exists()
    assert (folder / "figures" / "shots.png").exists()
    (curve,) = json.loads(run(*asked, "--shots", "2,4,all", "--json"))["shots"]
    assert [point["shots"] for point in curve["points"]] == [2, 4, "all"]
    assert (curve["twice"] is None) != (curve["no_range"] is None)
    assert "shots" not in json.loads(run(*asked, "--json"))
    (folder / "index.html").unlink()
    run("report", folder)
    assert "How many more pictures" in (folder / "index.html").read_text()


def test_a_study_file_refuses_shots(run):
    with pytest.raises(TlfeatError, match="--shots is for heads on pictures"):
        run("compare", "gtsrb-nasnet", "--shots", "5,all")


@pytest.fixture
def study(tmp_path):
    """Make a study of two heads with oddly named classes, measured at three sizes."""
    rows = made_rows(ODD_NAMES, {"train": 400, "test": 200})
    fits = {}
    for number, name in enumerate(("<b>one</b>", "other")):
        made = make_run(tmp_path / "s", name, ODD_NAMES, rows, seed=number)
        whole = made.metrics["test"]["accuracy"]
        fits[made.id] = [
            ShotFit(size, repeat, 4 * size, whole - 2 / size + 0.002 * repeat)
            for size in (5, 10, 20, 50)
            for repeat in range(repeats_of(4 * size, 400))
        ]
    ShotFile((5, 10, 20, 50, "all"), fits).write(tmp_path / "s")
    return tmp_path / "s"


def test_names_are_text_and_the_page_is_written_again_when_the_file_changes(study):
    page = write_page(study, find_runs(study))
    text = page.read_text()
    assert "How many more pictures" in text
    assert "<b>one</b>" not in text
    assert text == write_page(study, find_runs(study)).read_text()
    file = ShotFile.read(study)
    ShotFile((5, 10, "all"), file.fits).write(study)
    changed = write_page(study, find_runs(study)).read_text()
    assert "50 a class" in text
    assert "50 a class" not in changed


def test_what_was_broken_off_has_no_range_and_says_so(study):
    assert "80% ranges held" in write_page(study, find_runs(study)).read_text()
    file = ShotFile.read(study)
    fits = {run: [fit for fit in some if fit.shots < 20] for run, some in file.fits.items()}
    ShotFile(file.sizes, fits).write(study)
    text = write_page(study, find_runs(study)).read_text()
    done, asked = (
        sum(repeats_of(4 * n, 400) for n in some) for some in ((5, 10), (5, 10, 20, 50))
    )
    assert f"{done} of {asked} draws are measured" in text
    assert "80% ranges held" not in text


def test_the_shots_of_a_study_are_shown_whichever_study_is_named_first(study, tmp_path):
    run = find_runs(study)[0]
    shutil.copytree(run.path, tmp_path / "again" / "runs" / run.path.name)
    for order in ([study, tmp_path / "again"], [tmp_path / "again", study]):
        page = write_report(order, tmp_path / "out")
        assert "twice as many would bring" in page.read_text()


def test_a_file_that_cannot_be_read_is_said_on_the_page(study):
    (study / SHOTS).write_text("{")
    text = write_page(study, find_runs(study)).read_text()
    assert f"{SHOTS} of s cannot be read" in text


def test_a_page_without_shots_has_no_such_section(study):
    (study / SHOTS).unlink()
    assert "How many more pictures" not in write_page(study, find_runs(study)).read_text()


def test_words_say_the_range_how_often_such_ranges_held_and_why_there_is_none():
    flat = curve_of(lambda n: 0.8, noise=0.02)
    told = foretell([curve_of(TRUE["power law"]), flat], {"name": "lda"})
    said = shot_sentences(told)
    low, high = (100 * getattr(told[0].foresight, end) for end in ("low", "high"))
    assert f"between {low:.1f} and {high:.1f}% of these test pictures" in said[0]
    assert f"held {HELD.held} times of {HELD.of}" in said[0]
    assert "No range for lda: from 50 to 1,000 pictures" in said[1]
    table = {column.title: column.cells for column in shot_table(told)}
    assert table["twice all"] == [f"{low:.1f}–{high:.1f}", "-"]
    assert "2,000 test pictures" in shot_caption(told)


@pytest.mark.parametrize("n", [1, 7, 12])
def test_the_figure_holds_one_curve_or_many_and_every_label_is_on_it(n):
    curves = [curve_of(TRUE["power law"], seed=seed) for seed in range(n)]
    labels = [*ODD_NAMES, *(f"head {i}" for i in range(n))][:n]
    told = [one._replace(label=label) for one, label in zip(foretell(curves), labels, strict=True)]
    table = shot_rows(told)
    assert (table["kind"] == "foretold").sum() == n
    ax = draw_shots(table)
    figure = ax.get_figure(root=True)
    FigureCanvasAgg(figure).draw()
    places = [text.get_window_extent() for text in ax.texts]
    assert len(places) == n
    assert all(np.array(one.bounds).min() >= -1 for one in places)
    assert all(one.x1 <= figure.bbox.x1 + 1 for one in places)
    heights = sorted((one.y0, one.y1) for one in places)
    assert all(low[1] <= high[0] + 1 for low, high in pairwise(heights))
