"""Records of settings as options: a parameter of a command that is one becomes an option a field.

A setting that is new in a record is an option of every command that takes the record, with the
record's own help, default and bounds.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from tlfeat.settings import Kind, Setting, settings_of
from tlfeat_cli.options import comma_list

_TYPES: dict[Kind, Any] = {
    "text": str,
    "whole": int,
    "number": float,
    "flag": bool,
    "layer": str,
    "sizes": str,
    "choice": str,
    "choices": list[str],
}


def expand(**only: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a decorator that makes options of the records which a command takes.

    Parameters
    ----------
    **only : sequence of str
        Of a parameter that is a record, the settings that are options. Where nothing is said all
        are, but those that are parameters of the command's own. An option's default is what
        the parameter's default has.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        whole = inspect.signature(command)
        hints = get_type_hints(command, include_extras=True)
        options: dict[str, dict[str, Setting]] = {
            name: {
                one.name: one
                for one in settings_of(hint).values()
                if one.name not in whole.parameters and one.name in only.get(name, (one.name,))
            }
            for name, hint in hints.items()
            if is_dataclass(hint)
        }
        parameters: list[inspect.Parameter] = []
        for name, parameter in whole.parameters.items():
            if name in options:
                usual = parameter.default
                parameters += [
                    _option(one, getattr(usual, one.field), usual.panel)
                    for one in options[name].values()
                ]
            else:
                parameters.append(parameter.replace(annotation=hints[name]))

        @wraps(command)
        def run(**given: Any) -> None:
            for name, mine in options.items():
                said = {one.field: _value(one, given.pop(key)) for key, one in mine.items()}
                given[name] = replace(whole.parameters[name].default, **said)
            command(**given)

        run.__signature__ = whole.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _value(setting: Setting, given: Any) -> Any:
    if given is None:
        return setting.default
    return comma_list(given) if setting.kind == "choices" else given


def _option(setting: Setting, default: Any, panel: str) -> inspect.Parameter:
    kind = _TYPES[setting.kind]
    default = None if default == () else default
    said = setting.kind == "flag" or setting.old_name  # else Typer makes the option's name
    names = [setting.name, setting.old_name] if said else []
    flags = [f"--{name.replace('_', '-')}" for name in names if name]
    if setting.kind == "flag" and default is None:  # on, off, or what follows from the rest
        flags = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags]
    option = typer.Option(
        *flags,
        help=setting.help,
        metavar=setting.metavar or "|".join(setting.words) or None,
        min=setting.least,
        rich_help_panel=setting.panel or panel,
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[kind | None if default is None else kind, option],
    )
