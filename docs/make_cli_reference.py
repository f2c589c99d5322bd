"""Write docs/cli/, a page a command, from the help texts; `make reference` runs it.

python docs/make_cli_reference.py
"""

import os
from collections.abc import Mapping
from pathlib import Path

WIDTH = 92
TARGET = Path(__file__).parent / "cli"


def reference() -> Mapping[str, str]:
    """Give the pages by the names of their files: every help as a terminal shows it."""
    # Read by Rich when Typer asks it for the width and the colours.
    os.environ |= {"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"}
    from typer.testing import CliRunner

    from tlfeat_cli.app import app

    runner = CliRunner()

    def shown(*words: str) -> str:
        text = runner.invoke(app, [*words, "--help"], prog_name="tlfeat", color=False).output
        lines = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
        return f"```text\n{lines}\n```\n"

    commands = {str(command.name): [] for command in app.registered_commands}
    for group in app.registered_groups:
        commands[str(group.name)] = [
            str(command.name) for command in group.typer_instance.registered_commands
        ]
    index = ["# Command line\n", "A page a command, made from the help texts.\n"]
    pages = {"index.md": "\n".join([*index, shown()])}
    for name, under in commands.items():
        parts = [f"# tlfeat {name}\n", shown(name)]
        for word in under:
            parts += [f"## tlfeat {name} {word}\n", shown(name, word)]
        pages[f"{name}.md"] = "\n".join(parts)
    return pages


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for old in TARGET.glob("*.md"):
        old.unlink()
    for name, text in reference().items():
        (TARGET / name).write_text(text, encoding="utf-8")
