"""What the pages say is what the program does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
CLI = ROOT / "docs" / "cli"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def made(code: str) -> str:
    """Run Python in docs/ as `make` does, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "docs",
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
    )
    return done.stdout


def menu() -> list[str]:
    """Give the pages that the site's menu names, in its order."""
    found, left = [], [SITE["nav"]]
    while left:
        one = left.pop(0)
        if isinstance(one, str):
            found.append(one)
        else:
            left[:0] = one if isinstance(one, list) else list(one.values())
    return found


def test_the_command_line_reference_is_the_help_texts():
    code = "import json, make_cli_reference as m; print(json.dumps(m.reference()))"
    kept = {page.name: page.read_text(encoding="utf-8") for page in CLI.glob("*.md")}
    assert json.loads(made(code)) == kept, "run `make reference`"


def test_every_command_and_every_public_name_has_its_page():
    import tlfeat
    from tlfeat_cli.app import app

    commands = [one.name for one in (*app.registered_commands, *app.registered_groups)]
    wanted = {f"cli/{name}.md" for name in commands}
    wanted |= {f"reference/{name}.md" for name in tlfeat.__all__}
    there = {page for page in menu() if page.startswith(("cli/", "reference/"))}
    assert there - {"cli/index.md", "reference/index.md"} == wanted


def test_every_page_is_in_the_menu_once():
    docs = ROOT / "docs"
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    named = [page for page in menu() if not page.startswith("reference/")]
    beside = {"CHANGELOG.md", "CONTRIBUTING.md", "reference/index.md"}
    assert sorted(named) == sorted((pages | beside) - {"reference/index.md"})


def test_every_command_has_names_in_python():
    import tlfeat
    from tlfeat_cli.app import app

    text = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `tlfeat ([a-z]+)` \| (.+) \|$", text, flags=re.MULTILINE))
    commands = {one.name for one in (*app.registered_commands, *app.registered_groups)}
    assert set(rows) == commands
    named = {name for names in rows.values() for name in re.findall(r"`(\w+)`", names)}
    rest = text[text.index("The others are") :]
    rest_named = {name for name in re.findall(r"`(\w+)`", rest) if name in tlfeat.__all__}
    assert named | rest_named == set(tlfeat.__all__)


def test_the_site_fetches_nothing_from_elsewhere(tmp_path):
    code = (
        "import site_hooks, types, sys; "
        f"site_hooks.on_post_build(types.SimpleNamespace(site_dir={str(tmp_path)!r}))"
    )
    (tmp_path / "good.html").write_text(
        '<a href="https://example.org">there</a><img src="a.png" srcset="a.png 1x, b.png 2x">'
        '<pre><code>import "https://example.org/a.js"</code></pre>'
    )
    (tmp_path / "good.js").write_text('there.href = "https://example.org" // https://example.org')
    made(code)
    (tmp_path / "bad.css").write_text("a { background: url(https://example.org/a.png) }")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        made(code)
    assert "bad.css would fetch from elsewhere" in refused.value.stderr


FETCHED = {
    ".html": [
        '<script src="//example.org/a.js"></script>',
        '<img src="a.png" srcset="a.png 1x, https://example.org/b.png 2x">',
        "<video poster='https://example.org/a.png'>",
        '<object type="image/svg+xml" data="https://example.org/a.svg">',
        "<embed src=https://example.org/a.pdf>",
        '<script>import("https://example.org/a.js")</script>',
        "<style>a { background: url(//example.org/a.png) }</style>",
        '<pre class="mermaid"><code>graph</code></pre>',
    ],
    ".css": ['@import "https://example.org/a.css"'],
    ".js": [
        'importScripts("https://example.org/a.js")',
        'import one from "https://example.org/a.js"',
        "fetch(`https://example.org/a.json`)",
        'image.src = "https://example.org/a.png"',
    ],
}


def test_all_that_a_browser_fetches_is_looked_for():
    cases = [(text, suffix) for suffix, texts in FETCHED.items() for text in texts]
    code = "import json, site_hooks; print(json.dumps([bool(site_hooks.fetched(*one)) for one in "
    found = json.loads(made(f"{code}{cases!r}]))"))
    missed = [text for (text, _), one in zip(cases, found, strict=True) if not one]
    assert missed == []


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("frozen-features", marks=pytest.mark.slow),
        "leaks",
        "intervals",
        "calibration",
    ],
)
def test_a_figure_is_what_its_script_draws(name, tmp_path):
    made(f"import pathlib, make_figures as m; m.write({name!r}, pathlib.Path({str(tmp_path)!r}))")
    fresh = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
    kept = (ROOT / "docs" / "explanation" / f"{name}.svg").read_text(encoding="utf-8")
    assert NUMBER.sub("", drawn_of(fresh)) == NUMBER.sub("", drawn_of(kept)), "run `make figures`"
    numbers = [[float(one) for one in NUMBER.findall(drawn_of(svg))] for svg in (fresh, kept)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1.5)  # points: what rounding may move


def drawn_of(svg: str) -> str:
    """Give an SVG without the names that Matplotlib makes of its contents."""
    return re.sub(r"\b[mp][0-9a-f]{10}\b", "", svg)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page):
    from tlfeat_cli.app import app

    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?:`|^    )tlfeat ([a-z]+)\b", text, flags=re.MULTILINE):
        assert name in known, name


def test_the_names_of_the_table_are_in_the_readme():
    from tlfeat_cli.app import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f"tlfeat {command.name}" in text, command.name
