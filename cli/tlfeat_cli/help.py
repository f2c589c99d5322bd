"""Help texts are shown as they are written, square brackets too."""

from typing import Any

from rich.markup import escape
from typer.core import TyperGroup


class PlainGroup(TyperGroup):
    """The group of all commands; Typer would take [default: 3] in a help text for markup."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        _escape(self)


def _escape(command: Any) -> None:
    command.help = escape(command.help or "") or None
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = escape(parameter.help)
    for below in getattr(command, "commands", {}).values():
        _escape(below)
