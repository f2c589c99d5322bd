"""Write docs/cli.md from the help texts; `make reference` runs it, a test checks it.

python docs/make_cli_reference.py
"""

import os
from pathlib import Path

WIDTH = 92
TARGET = Path(__file__).parent / "cli.md"


def reference() -> str:
    """Give the page: every command's help as a terminal shows it."""
    # Read by Rich when Typer asks it for the width and the colours.
    os.environ |= {"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"}
    from typer.testing import CliRunner

    from tlfeat_cli.app import app

    runner = CliRunner()

    def section(*words: str) -> str:
        text = runner.invoke(app, [*words, "--help"], prog_name="tlfeat", color=False).output
        lines = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
        return f"## `{' '.join(['tlfeat', *words])}`\n\n```text\n{lines}\n```\n"

    names = [command.name for command in app.registered_commands]
    groups = [(group.name, group.typer_instance) for group in app.registered_groups]
    parts = ["# Command line\n\nMade from the help texts by docs/make_cli_reference.py.\n"]
    parts.append(section())
    parts += [section(str(name)) for name in names]
    for name, group in groups:
        parts.append(section(str(name)))
        parts += [section(str(name), str(c.name)) for c in group.registered_commands]
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
