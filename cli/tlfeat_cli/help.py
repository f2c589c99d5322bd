"""What the group of all commands does: plain help texts, and a sentence after Ctrl-C."""

from typing import Any

from rich.markup import escape
from typer import Exit
from typer.core import TyperGroup

from tlfeat_cli.terminal import complain, settle


class PlainGroup(TyperGroup):
    """The group of all commands; Typer would take [default: 3] in a help text for markup."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        _escape(self)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for; Typer itself would end without a word on Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            settle()
            complain("Stopped. What was embedded is kept; run the same command to go on.")
            raise Exit(130) from None


def _escape(command: Any) -> None:
    command.help = escape(command.help or "") or None
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = escape(parameter.help)
    for below in getattr(command, "commands", {}).values():
        _escape(below)
