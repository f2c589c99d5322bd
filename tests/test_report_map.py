"""The map of pictures: which are on it, where they lie, what is known of each."""

import base64
import json

import numpy as np
import pytest
from made_study import ODD_NAMES, RECIPE, made_rows, make_run, rows_of, with_features
from pictures import colour_folders

from tlfeat.audit.findings import BYTES, LABEL, NEAR, SCENE, Finding, by_picture
from tlfeat.audit.kept import AUDITED, TRUST, digest_start, found_pictures
from tlfeat.data.dataset import open_dataset
from tlfeat.report import projection
from tlfeat.report.contents import gather, split_by_data
from tlfeat.report.page import write_page
from tlfeat.report.picture_map import front_coded, map_values, packed, with_found
from tlfeat.report.projection import choose_points, project

CLASSES = ["a", "b", "c"]
COUNTS = {"train": 60, "validation": 20, "test": 40}
ROWS = made_rows(CLASSES, COUNTS)


def unpacked(value):
    bits, text = value
    return np.frombuffer(base64.b64decode(text), f"<u{bits // 8}").astype(int)


def unfolded(coded):
    names, before = [], ""
    for n, rest in zip(unpacked(coded["shared"]), coded["rest"], strict=True):
        units = before.encode("utf-16-le")[: 2 * n]
        before = units.decode("utf-16-le") + rest
        names.append(before)
    return names


def map_of(folder, runs, cache, **more):
    part = gather(split_by_data(runs)[0], cache, 4_000, **more)
    return part, map_values(part, {})


@pytest.fixture
def made(tmp_path):
    """Give two runs, whose features are stored, and the cache that has them."""
    recipe = with_features(tmp_path / "cache", ROWS)
    runs = [
        make_run(tmp_path / "s", name, CLASSES, ROWS, skill=skill, seed=i, recipes=[recipe])
        for i, (name, skill) in enumerate([("lda", 2), ("knn", 1)])
    ]
    return runs, tmp_path / "cache"


def test_pictures_of_all_splits_are_on_the_map_with_what_each_run_calls_them(tmp_path, made):
    runs, cache = made
    # what was found of pictures is waited for only where that decides which are drawn
    part, values = map_of(tmp_path, runs, cache, found=pytest.fail)
    assert values["splits"] == list(COUNTS.items())
    facts = values["json"]
    sample = unpacked(facts["sample"]) - 1
    aside = iter(unfolded(facts["names"]))
    ids = [part.facts.ids[part.chosen[i]] if i >= 0 else next(aside) for i in sample]
    assert ids == [row.id for row in ROWS]
    assert unpacked(facts["true"]).tolist() == [row.label for row in ROWS]
    for number, one in enumerate(part.predictions):
        called = dict(zip(ids, unpacked(facts["called"][number]) - 1, strict=True))
        table = one.run.predictions()
        held = table[table["split"] != "train"]
        assert {k: v for k, v in called.items() if v >= 0} == dict(
            zip(held["id"], held["predicted"], strict=True)
        )


def test_pictures_that_were_held_out_of_train_are_of_train_and_judged(tmp_path):
    rows = made_rows(CLASSES, {"train": 60, "test": 30})
    recipe = with_features(tmp_path / "cache", rows)
    run = make_run(tmp_path / "s", "lda", CLASSES, rows, recipes=[recipe])
    part, values = map_of(tmp_path, [run], tmp_path / "cache")
    assert values["splits"] == [("train", 60), ("test", 30)]
    assert (part.map.called[0] >= 0).all()


def test_without_stored_features_there_is_no_map_and_it_is_said(tmp_path, made):
    runs, _ = made
    part, values = map_of(tmp_path, runs, tmp_path / "other")
    assert values is None
    assert any(text.startswith("No map") for text in part.notes)
    assert "Not drawn" in write_page(tmp_path / "s", runs, cache=tmp_path / "other").read_text()


def test_what_tells_most_is_kept_where_not_all_fit():
    telling = np.zeros(1_000, dtype=bool)
    telling[::9] = True
    places = choose_points(telling, 300)
    assert len(places) == 300
    assert set(np.flatnonzero(telling)) <= set(places)
    assert (np.diff(places) > 0).all()
    assert (places == choose_points(telling, 300)).all()
    assert len(choose_points(telling, 5_000)) == 1_000
    assert set(choose_points(telling, 50)) <= set(np.flatnonzero(telling))


def test_mistakes_and_what_was_found_are_on_a_map_of_few(tmp_path, made, monkeypatch):
    runs, cache = made
    monkeypatch.setattr(projection, "MOST_POINTS", 40)
    found = {"odd": [digest_start(ROWS[3].digest)]}
    part, values = map_of(tmp_path, runs, cache, found=lambda: found)
    assert (values["n"], values["of"]) == (40, 120)
    table = part.predictions[0].run.predictions()
    held = table[table["split"] != "train"]
    wrong = set(held[held["true"] != held["predicted"]]["id"])
    assert wrong | {ROWS[3].id} <= set(part.map.pictures.ids)
    page = write_page(tmp_path / "s", runs, cache=cache).read_text()
    assert "40 of 120 pictures" in page


def test_large_features_give_way_to_the_usual_ones_of_their_network(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setitem(RECIPE, "pool", "grid2")
    large = with_features(cache, ROWS, 64)
    monkeypatch.setitem(RECIPE, "pool", "avg")
    run = make_run(tmp_path / "s", "lda", CLASSES, ROWS, recipes=[large])
    monkeypatch.setattr(projection, "_LARGE", 32)
    assert map_of(tmp_path, [run], cache)[1]["spec"] == "last:grid2"  # there are no others
    with_features(cache, ROWS, 16)
    values = map_of(tmp_path, [run], cache)[1]
    assert (values["spec"], values["own"]) == ("last:avg", False)


def test_features_that_are_very_large_show_fewer_pictures(tmp_path, made, monkeypatch):
    runs, cache = made
    monkeypatch.setattr(projection, "_MOST_NUMBERS", 16 * 50)
    assert map_of(tmp_path, runs, cache)[1]["n"] == 50


def test_the_first_direction_is_that_of_the_largest_variance():
    random = np.random.default_rng(0)
    line = random.normal(size=200)
    X = np.column_stack([line, line, line, random.normal(size=200)])
    (pca,) = project(X + 0.01 * random.normal(size=X.shape))
    assert abs(np.corrcoef(pca.points[:, 0], line)[0, 1]) > 0.99
    assert "75%" in pca.x_label


def test_umap_is_a_choice_where_it_is_installed(tmp_path, made, monkeypatch):
    class Model:
        UMAP = type(
            "UMAP",
            (),
            {"__init__": lambda self, **_: None, "fit_transform": lambda self, X: X[:, :2] ** 3},
        )

    monkeypatch.setattr(projection, "find_spec", lambda name: name == "umap")
    monkeypatch.setattr(projection, "import_module", lambda name: Model)
    runs, cache = made
    text = write_page(tmp_path / "s", runs, cache=cache).read_text()
    assert 'class="map-places"' in text
    assert {"projection-pca.svg", "projection-umap.svg"} <= {
        path.name for path in (tmp_path / "s" / "figures").iterdir()
    }


def test_numbers_and_names_come_back():
    for values in ([], [0, 255, 7], [0, 256, 65_535]):
        assert unpacked(packed(np.array(values, dtype=int))).tolist() == values
    names = ["a/1", "a/12", "b", "", "x" * 300, "x" * 299 + "y", "😀a", "😀b", *ODD_NAMES]
    assert unfolded(front_coded(names)) == names


def test_ten_thousand_points_cost_little(tmp_path):
    rows = made_rows(CLASSES, {"train": 6_000, "validation": 1_000, "test": 3_000})
    recipe = with_features(tmp_path / "cache", rows, 4)
    run = make_run(tmp_path / "s", "lda", CLASSES, rows, recipes=[recipe])
    values = map_of(tmp_path, [run], tmp_path / "cache")[1]
    assert values["n"] == 10_000
    facts = values["json"]
    points = {name: facts[name] for name in ("places", "sample", "true", "called", "pictured")}
    assert len(json.dumps(points)) < 150_000


def finding(kind, one, other=None, splits=("train", "train"), labels=("a", "a")):
    said = (f"{one}.png", one, splits[0], labels[0])
    return Finding(kind, *said, *(() if other is None else (other, other, splits[1], labels[1])))


def test_of_a_picture_the_gravest_is_said():
    found = by_picture(
        [
            finding(SCENE, "p", "q"),
            finding(BYTES, "p", "r", splits=("train", "test")),
            finding(NEAR, "q", "s", labels=("a", "b")),
            finding(LABEL, "s"),
            finding(LABEL, "t"),
            finding(SCENE, "u", "v", splits=("train", "test")),
            finding("blurred", "w"),
        ]
    )
    assert list(found) == [
        "copy across splits", "copy under two labels", "label in doubt", "scene across splits",
        "odd",
    ]  # fmt: skip
    assert found["copy across splits"] == ["p", "r"]
    assert found["copy under two labels"] == ["q", "s"]
    assert found["label in doubt"] == ["t"]


def keep(path, digests, split="made"):
    path.parent.mkdir(exist_ok=True)
    starts = [digest_start(digest) for digest in digests]
    facts = {"fingerprint": "made", "split": split, "pictures": {"odd": starts}}
    path.write_text(json.dumps({**facts, "found": []}))


def test_what_an_audit_found_is_on_the_map_and_other_splits_are_not(tmp_path, made):
    runs, cache = made
    study = tmp_path / "s"
    page = write_page(study, runs, cache=cache)
    assert "what was found" not in page.read_text()
    keep(study / AUDITED, [ROWS[0].digest], split="another")
    keep(study / TRUST, [ROWS[1].digest, ROWS[2].digest])
    assert "what was found" in write_page(study, runs, cache=cache).read_text()
    found = found_pictures([study], "made", "made")
    assert found == {"odd": [digest_start(row.digest) for row in ROWS[1:3]]}
    keep(study / AUDITED, [ROWS[0].digest])
    values = with_found(map_of(tmp_path, runs, cache)[1], found_pictures([study], "made", "made"))
    assert values["words"] == ["odd"]
    assert np.flatnonzero(unpacked(values["json"]["found"]["of"])).tolist() == [0]


# ---- in a browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Give the page of two runs on pictures that are there, and the runs."""
    folder = tmp_path_factory.mktemp("map")
    dataset = open_dataset(colour_folders(folder / "data", 20))
    rows = rows_of(dataset)
    recipe = with_features(folder / "cache", rows)
    runs = [
        make_run(
            folder / "s", name, dataset.classes, rows, skill=skill, seed=i, recipes=[recipe],
            fingerprint=dataset.fingerprint,
        )
        for i, (name, skill) in enumerate([("lda", 1.5), ("knn", 0.5)])
    ]  # fmt: skip
    facts = {"fingerprint": dataset.fingerprint, "split": "made", "found": []}
    facts["pictures"] = {"copy": [digest_start(rows[0].digest), digest_start(rows[1].digest)]}
    (folder / "s" / TRUST).write_text(json.dumps(facts))
    return write_page(folder / "s", runs, dataset=dataset, cache=folder / "cache"), runs


@pytest.fixture
def visit(browser, site):
    """Give a function that opens the map; what goes wrong on the page is a failure."""
    troubles, contexts = [], []

    def open_map(script=True):
        context = browser.new_context(
            viewport={"width": 1000, "height": 800}, java_script_enabled=script
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(site[0].as_uri())
        page.locator("#features-0 > summary").click()
        page.locator(".map").scroll_into_view_if_needed()
        if script:
            page.locator(".map .key li").first.wait_for()
        return page

    yield open_map
    for context in contexts:
        context.close()
    assert troubles == []


def key(page):
    rows = page.locator(".map .key li").all_inner_texts()
    return {row.rpartition(" (")[0]: int(row.rpartition(" (")[2][:-1]) for row in rows}


def test_keys_walk_from_picture_to_picture_and_it_is_said_which(visit):
    page = visit()
    page.locator(".map canvas").first.focus()
    page.keyboard.press("ArrowRight")
    seen = []
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate("maps[0].place.x[maps[0].at]"))
        said = page.locator(".map-at").inner_text()
        assert page.evaluate("maps[0].points.ids[maps[0].at]") in said
    assert seen == sorted(seen)
    assert page.locator(".map-card img").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".map-card").is_visible()
    assert page.locator(".map-at").inner_text() == ""


def test_a_pointer_finds_the_nearest_picture_and_none_far_from_all(visit):
    page = visit()
    spots = page.evaluate(
        "Array.from(maps[0].place.x, (x, i) => maps[0].spot(x, maps[0].place.y[i]))"
    )
    assert page.evaluate("maps[0].points.n") == len(spots) == 60
    left, top = spots[7]
    page.locator(".map canvas").first.hover(position={"x": left, "y": top})
    shown = page.evaluate("maps[0].at")
    assert np.hypot(*np.subtract(spots[shown], spots[7])) < 1
    asked = [(x, y) for x in range(0, 900, 60) for y in range(0, 600, 60)]
    found = page.evaluate("asked => asked.map(([x, y]) => maps[0].nearest(x, y))", asked)
    for at, i in zip(asked, found, strict=True):
        far = np.hypot(*(np.array(spots) - at).T)
        assert (far.min() >= 18) if i < 0 else (far[i] <= far.min() + 1e-6)


def test_colours_are_of_the_run_that_is_chosen(visit, site):
    page = visit()
    runs = {run.name: run.predictions() for run in site[1]}

    def right(name):
        held = runs[name][runs[name]["split"] != "train"]
        return int((held["true"] == held["predicted"]).sum())

    assert sum(key(page).values()) == 60
    page.get_by_label("Colours").select_option("right")
    assert key(page)["right"] == right("lda")
    page.locator(".map select.run").select_option("knn")
    assert key(page)["right"] == right("knn")
    page.get_by_label("Colours").select_option("found")
    assert key(page) == {"nothing": 58, "copy": 2}
    page.get_by_label("Colours").select_option("split")
    assert key(page) == runs["lda"].drop_duplicates("id")["split"].value_counts().to_dict()


def test_one_class_is_shown_with_what_it_is_taken_for(visit, site):
    page = visit()
    page.get_by_label("One class").select_option("1")
    held = site[1][0].predictions()
    held = held[held["split"] != "train"]
    own, called = held["true"] == 1, held["predicted"] == 1
    counts = list(key(page).values())
    assert counts[2:] == [int((own & ~called).sum()), int((~own & called).sum())]


def test_it_grows_and_moves_by_keys_wheel_and_buttons_and_comes_back(visit):
    page = visit()
    canvas = page.locator(".map canvas").first
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    moved = page.evaluate("maps[0].view")
    assert moved["scale"] > 1
    assert moved["x"] > 2048
    before = page.evaluate("maps[0].unit(100, 100)")
    canvas.hover(position={"x": 100, "y": 100})
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(50)
    assert page.evaluate("maps[0].view.scale") > moved["scale"]
    assert page.evaluate("maps[0].unit(100, 100)") == pytest.approx(before, abs=12)
    page.get_by_role("button", name="Whole map").click()
    assert page.evaluate("maps[0].view") == {"x": 2048, "y": 2048, "scale": 1}


def test_the_points_are_drawn(visit):
    page = visit()
    count = """() => {
      maps[0].draw();
      const pixels = maps[0].pen.getImageData(0, 0, maps[0].canvas.width, maps[0].canvas.height);
      const [red, green, blue] = pixels.data;
      let other = 0;
      for (let i = 0; i < pixels.data.length; i += 4) other += pixels.data[i] !== red;
      return [red, green, blue, other];
    }"""
    *paper, drawn = page.evaluate(count)
    assert paper == [255, 255, 255]
    assert 60 * 20 < drawn < 60 * 200


def test_without_script_and_on_paper_the_figure_stands_for_the_map(visit):
    page = visit(script=False)
    assert page.locator(".map figure svg").first.is_visible()
    assert not page.locator(".map canvas").first.is_visible()
    page = visit()
    page.emulate_media(media="print")
    assert page.locator(".map figure svg").first.is_visible()
    assert not page.locator(".map canvas").first.is_visible()
