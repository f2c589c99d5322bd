"""Records of settings as options of a command."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from tlfeat.settings import setting
from tlfeat_cli.expand import expand


@dataclass(frozen=True)
class Oven:
    panel: ClassVar = "Oven"

    heat: float = setting(180.0, "number", "Of the air.", metavar="DEGREES", least=0)
    kind: str = setting("gas", "text", "What burns.", name="fuel", words=("gas", "wood"))
    fan_on: bool = setting(False, "flag", "Stir the air.")
    layers: tuple[int, ...] = setting((), "sizes", "Of the cake.")
    toppings: tuple[str, ...] = setting((), "choices", "What goes on it.")
    colour: str | None = setting(None, "text", "When it is done.", old_name="color")


@pytest.fixture
def bake(wide_terminal):
    heard = []
    app = typer.Typer()

    @app.command()
    @expand()
    def command(
        cake: Annotated[str, typer.Argument()], oven: Oven = Oven(200.0), heat: int = 0
    ) -> None:
        heard.append((cake, oven, heat))

    def invoke(*arguments):
        done = CliRunner().invoke(app, arguments)
        return done, heard

    return invoke


def test_a_record_is_an_option_for_each_setting(bake):
    done, heard = bake(
        *("sponge", "--fuel", "wood", "--fan-on", "--layers", "2-1"),
        *("--toppings", "cream,nuts", "--toppings", "figs", "--colour", "brown"),
    )
    assert done.exit_code == 0
    oven = Oven(200.0, "wood", True, "2-1", ["cream", "nuts", "figs"], "brown")
    assert heard == [("sponge", oven, 0)]


def test_what_is_not_typed_is_as_the_command_has_it(bake):
    _, heard = bake("sponge")
    assert heard == [("sponge", Oven(200.0), 0)]


def test_a_setting_is_called_as_at_first_too(bake):
    _, heard = bake("sponge", "--color", "golden")
    assert heard[0][1].colour == "golden"


def test_a_page_of_help_says_what_the_record_says(bake):
    text = bake("--help")[0].stdout
    for words in ("Oven", "--fuel", "gas|wood", "What burns.", "default: gas", "Stir the air."):
        assert words in text
    assert "DEGREES" not in text  # an option of the command's own
