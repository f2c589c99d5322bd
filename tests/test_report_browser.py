"""The page in a browser: Debian's chromium, driven from outside; nothing is downloaded."""

import numpy as np
import pytest
from conftest import SIZE
from made_study import ODD_NAMES, make_run, rows_of
from pictures import noise, write
from PIL import Image

from tlfeat.data.dataset import open_dataset
from tlfeat.report.page import write_page
from tlfeat.studies.compare import compare

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give the page of four classes with pictures, and its two runs."""
    folder = tmp_path_factory.mktemp("study")
    data = folder / "data"
    for label, name in enumerate(ODD_NAMES):
        for split, n in (("train", 6), ("validation", 6), ("test", 20)):
            for i in range(n):
                path = data / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = 10_000 * label + 100 * len(split) + i
                Image.fromarray(noise(seed, 24, 20)).save(path)
    write(data / "test" / ODD_NAMES[0] / "broken.png", b"no picture")
    dataset = open_dataset(data)
    runs = [
        make_run(
            folder / "s", name, dataset.classes, rows_of(dataset), skill=skill, seed=i,
            fingerprint=dataset.fingerprint, kind=kind,
        )
        for i, (name, skill, kind) in enumerate(
            [("lda", 2.5, "head"), ("knn", 1.0, "head"), ("full", 1.5, "finetune")]
        )
    ]  # fmt: skip
    return write_page(folder / "s", runs, dataset=dataset), runs, dataset.classes


@pytest.fixture
def visit(browser, made):
    """Give a function that opens the page and later says what went wrong on it."""
    troubles, contexts = [], []

    def open_page(viewport=WIDE, scheme="light", script=True):
        context = browser.new_context(
            viewport=viewport, color_scheme=scheme, java_script_enabled=script
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        address = made[0].as_uri()
        page.on(
            "request",
            lambda request: (
                troubles.append(request.url)
                if request.url.split("#")[0] != address and not request.url.startswith("data:")
                else None
            ),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def column(page, number):
    cells = page.locator(f"#results-0 tbody tr td:nth-child({number})")
    return [cell.strip() for cell in cells.all_inner_texts()]


def test_the_table_sorts_by_a_click_and_by_the_keyboard(visit):
    page = visit()
    heads = page.locator("#results-0 thead th").all_inner_texts()
    test = next(i for i, text in enumerate(heads, 1) if text.startswith("test %"))
    button = page.locator("#results-0 thead th").nth(test - 1).get_by_role("button")
    button.click()
    falling = [float(cell) for cell in column(page, test)]
    assert falling == sorted(falling, reverse=True)
    button.focus()
    page.keyboard.press("Enter")
    rising = [float(cell) for cell in column(page, test)]
    assert rising == falling[::-1]
    assert page.locator("#results-0 th[aria-sort=ascending]").count() == 1


def opened(page, section):
    """Open a section of the page, as a click on its title does."""
    page.locator(f"#{section}-0 > summary").click()
    return page.locator(f"#{section}-0")


def test_a_cell_opens_its_pictures(visit, made):
    page = visit()
    table = made[1][0].predictions()
    table = table[table["split"] == "test"]
    right = table[(table["true"] == 0) & (table["predicted"] == 0)]
    opened(page, "confusion").locator(".grid button").first.click()
    dialog = page.locator("dialog.shown")
    assert dialog.is_visible()
    assert dialog.locator("li.card img").count() == len(right)
    assert set(dialog.locator("li.card .id").all_inner_texts()) == set(right["id"])
    loaded = dialog.locator("img").first.evaluate("image => image.naturalWidth")
    assert loaded > 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_arrow_keys_walk_the_matrix_and_enter_opens(visit):
    page = visit()
    opened(page, "confusion").locator(".grid button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    name = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert " called " in name
    page.keyboard.press("Enter")
    assert page.locator("dialog.shown").is_visible()
    assert page.locator(".grid button[tabindex='0']").count() == 1


def test_the_choice_of_a_run_is_one_for_confusion_and_mistakes(visit):
    page = visit()
    confusion, mistakes = opened(page, "confusion"), opened(page, "mistakes")

    def shown():
        cells = confusion.locator(".grid button").evaluate_all("all => all.map(b => b.ariaLabel)")
        return cells, mistakes.locator(".pictures .id").all_inner_texts()

    first = shown()
    mistakes.locator("select.run").select_option("knn")
    second = shown()
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert confusion.locator("select.run").input_value() == "2"


def test_cells_are_counts_or_shares_of_their_row(visit, made):
    page = visit()
    confusion = opened(page, "confusion")
    table = made[1][0].predictions()
    row = table[(table["split"] == "test") & (table["true"] == 0)]
    right = int((row["predicted"] == 0).sum())
    first = confusion.locator(".grid button").first
    assert first.inner_text() == str(right)
    confusion.locator("select.cells").select_option("shares")
    assert first.inner_text() == str(round(100 * right / len(row)))


def predicted(made, name):
    run = next(run for run in made[1] if run.name == name)
    table = run.predictions()
    return table[table["split"] == "test"].set_index("id")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("surest", lambda a, b, all_: a["true"] != a["predicted"]),
        ("unsure", lambda a, b, all_: a["true"] == a["predicted"]),
        ("everywhere", lambda a, b, all_: (all_ != a["true"].to_numpy()).all(axis=0)),
        ("lost", lambda a, b, all_: (a["predicted"] != a["true"]) & (b["predicted"] == b["true"])),
        ("won", lambda a, b, all_: (a["predicted"] == a["true"]) & (b["predicted"] != b["true"])),
        ("apart", lambda a, b, all_: a["predicted"] != b["predicted"]),
    ],
)
def test_mistakes_are_chosen_by_kind_and_class(visit, made, kind, wanted):
    page = visit()
    mistakes = opened(page, "mistakes")
    a, b = predicted(made, "lda"), predicted(made, "knn")
    everyone = np.stack([predicted(made, run.name).loc[a.index, "predicted"] for run in made[1]])
    want = a[np.asarray(wanted(a, b.loc[a.index], everyone))]
    mistakes.locator("select.kind").select_option(kind)
    if mistakes.locator("select.other").is_visible():
        mistakes.locator("select.other").select_option("knn")
    while mistakes.locator(".more").is_visible():
        mistakes.locator(".more").click()
    assert set(mistakes.locator(".pictures .id").all_inner_texts()) == set(want.index)
    assert mistakes.locator(".count").inner_text().startswith(f"{len(want)} picture")
    mistakes.locator("select.true").select_option("1")
    ids = mistakes.locator(".pictures .id").all_inner_texts()
    assert set(ids) == set(want[want["true"] == 1].index)


def test_the_names_that_are_shown_can_be_copied(visit, made):
    page = visit()
    mistakes = opened(page, "mistakes")
    mistakes.locator("select.called").select_option("0")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    mistakes.locator(".copy").click()
    lines = page.locator("textarea.names").input_value().splitlines()
    assert lines[0] == "picture\ttrue\tcalled\tsure"
    a = predicted(made, "lda")
    wrong = a[(a["predicted"] == 0) & (a["true"] != 0)]
    assert {line.split("\t")[0] for line in lines[1:]} == set(wrong.index)


def test_a_picture_is_looked_at_more_closely(visit):
    page = visit()
    mistakes = opened(page, "mistakes")
    mistakes.locator(".enlarge").first.click()
    dialog = page.locator("dialog.shown")
    large = dialog.locator(".large img").bounding_box()["width"]
    small = mistakes.locator(".pictures img").first.bounding_box()["height"]  # those are square
    assert large > 2 * small
    assert dialog.locator(".calls li").count() == 3


def test_a_pair_shows_the_numbers_behind_it_and_keys_go_from_cell_to_cell(visit):
    page = visit()
    pairs = opened(page, "pairs")
    cells = pairs.locator(".heat tbody td button")
    assert cells.count() == 6
    cells.first.focus()
    first = pairs.locator(".behind").inner_text()
    page.keyboard.press("ArrowDown")  # over the diagonal
    second = pairs.locator(".behind").inner_text()
    names = pairs.locator(".heat tbody th").all_inner_texts()
    assert second.startswith(f"{names[2].split()[1]} against {names[1].split()[1]}")
    assert " against " in first
    assert " points (95% interval " in second
    assert first != second
    assert pairs.locator(".heat button[tabindex='0']").count() == 1


def test_costs_are_one_scatter_with_a_choice_of_axis(visit):
    page = visit()
    cost = opened(page, "cost")
    assert cost.locator(".scatter svg").count() == 1
    assert cost.locator(".scatter .point").count() == 3
    before = cost.locator(".scatter svg").get_attribute("aria-label")
    cost.locator("select.axis").select_option("2")
    after = cost.locator(".scatter svg").get_attribute("aria-label")
    assert "seconds" in before
    assert "megabytes" in after
    cost.locator("table.costs tbody tr").nth(1).hover()
    assert cost.locator(".scatter .point.at").count() == 1


def test_a_hash_that_is_no_name_stops_nothing(browser, made):
    context = browser.new_context()
    page = context.new_page()
    page.goto(made[0].as_uri() + "#50%")
    assert page.locator("#results-0 thead button").count() > 5
    context.close()


def test_six_mistakes_of_the_first_screen_open_by_the_keyboard(visit):
    page = visit()
    page.locator(".six .enlarge").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog.shown .large img").is_visible()


def test_a_link_opens_the_section_that_it_leads_to(visit):
    page = visit()
    assert page.locator("details.section[open]").count() == 0
    page.evaluate("location.hash = '#pairs-0'")
    page.wait_for_selector("#pairs-0[open]")


@pytest.mark.parametrize("script", [True, False])
def test_names_show_as_text(visit, made, script):
    page = visit(script=script)
    opened(page, "data")
    text = page.locator("#data-0").inner_text()
    for name in made[2]:
        assert name in text
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen_and_text_stands_out(visit, viewport, scheme):
    page = visit(viewport, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    ink, paper = (sum(map(int, c[4:-1].split(","))) for c in colours)
    assert abs(ink - paper) > 500
    assert (paper > ink) == (scheme == "light")


def test_without_script_the_page_is_whole(visit):
    page = visit(script=False)
    mistakes, confusion = opened(page, "mistakes"), opened(page, "confusion")
    assert confusion.locator("figure.without-script svg").is_visible()
    assert not mistakes.locator("select").first.is_visible()
    assert mistakes.locator(".confident img").first.is_visible()
    assert opened(page, "cost").locator("figure svg").first.is_visible()
    assert page.locator("#results-0 tbody tr").count() == 3


@pytest.mark.parametrize("script", [True, False])
def test_on_paper_everything_is_open_and_figures_stand_for_what_is_chosen(visit, script):
    page = visit(script=script)
    page.emulate_media(media="print")
    if script:
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#confusion-0 figure.without-script svg").is_visible()
    assert page.locator("#pairs-0 .heat").is_visible()
    assert not page.locator(".matrix").is_visible()
    assert not page.locator(".choices").first.is_visible()
    assert not page.locator(".browser").is_visible()
    assert page.locator(".confident img").first.is_visible()


def test_a_tap_shows_a_picture_of_the_map_until_the_next_tap(browser, cache, pictures, tmp_path):
    done = compare(pictures, heads=["lda"], size=SIZE, cache=cache, reports=tmp_path / "reports")
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto((done.folder / "index.html").as_uri())
    page.locator("#features-0 > summary").tap()
    page.locator(".map").scroll_into_view_if_needed()
    page.locator(".map .key li").first.wait_for()
    left, top = page.evaluate("maps[0].spot(maps[0].place.x[0], maps[0].place.y[0])")
    page.locator(".map canvas").first.tap(position={"x": left, "y": top})
    assert page.locator(".map-card img").is_visible()
    page.locator("#features-0 h2").tap(trial=True)
    page.locator(".map-tools").tap(position={"x": 1, "y": 1})
    assert not page.locator(".map-card").is_visible()
    context.close()


def test_on_paper_the_run_is_the_one_whose_figure_is_printed(visit):
    page = visit()
    select = opened(page, "confusion").locator("select.run")
    select.select_option("1")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert select.input_value() == "0"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert select.input_value() == "1"
    assert page.locator("details.section[open]").count() == 1
