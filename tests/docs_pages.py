"""What stands in code blocks of the pages: commands, Python, and what commands print."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MADE = ROOT / "docs" / "cli"  # pages that are help texts
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:\.venv/bin/)?(tlfeat|python3?|pip|make|git|cd|ray|pytest|mkdir)\b")


class Block(NamedTuple):
    """A block of a page: "python", "toml", "text" and so on, or "shell" where it is indented."""

    kind: str
    text: str
    line: int


def pages() -> list[Path]:
    """Give all pages that are written by hand."""
    docs = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md"] + [
        page for page in docs if MADE not in page.parents
    ]


def blocks(page: Path) -> list[Block]:
    """Give the code blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match[1] or "text", match[2], text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]
    rest = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text).split("\n")
    for number, line in enumerate(rest, 1):
        said = line.removeprefix("    ").removeprefix("    ")  # twice in an item of a list
        if line.startswith("    ") and _COMMAND.match(said):
            found.append(Block("shell", said, number))
    return sorted(found, key=lambda block: block.line)


def indented(page: Path) -> Iterator[Block]:
    """Give what is indented outside of the fences, block by block."""
    text = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text(encoding="utf-8"))
    for match in re.finditer(r"(?:^ {4,}\S.*\n)+", text, re.MULTILINE):
        yield Block("indented", match[0], text.count("\n", 0, match.start()) + 1)


def is_command(line: str) -> bool:
    """Say whether a line begins with a program that pages are known to name."""
    return _COMMAND.match(line.strip()) is not None


def words_of(line: str) -> list[str]:
    """Give the words of a command, without what a page says of it beside it."""
    said = re.split(r"\s+#|\s{2,}|\s>\s", line)[0]
    return shlex.split(said)


def commands(page: Path) -> Iterator[list[str]]:
    """Give the `tlfeat` commands of a page, without that word."""
    for block in blocks(page):
        words = words_of(block.text) if block.kind == "shell" else []
        if words and words[0].removeprefix(".venv/bin/") == "tlfeat":
            yield words[1:]
