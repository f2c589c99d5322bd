"""What the pages say is what the program does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def test_the_command_line_reference_is_the_help_texts():
    code = "import make_cli_reference as m; print(m.reference(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "docs",
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
    )
    kept = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert made.stdout == kept, "run `make reference`"


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
