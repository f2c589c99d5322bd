"""`tlfeat heads`: the classifiers that can be trained on features."""

from typing import TYPE_CHECKING

from tlfeat_cli.options import JsonOpt
from tlfeat_cli.terminal import print_json, print_table, say

if TYPE_CHECKING:
    from tlfeat.heads.table import Head


def heads(as_json: JsonOpt = False) -> None:
    """List the heads: what each is, and what is searched."""
    from tlfeat.heads.table import list_heads
    from tlfeat.runs.results import Column

    rows = list_heads()
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "summary": row.summary,
                    "settings": {
                        setting.name: {
                            "default": setting.default,
                            "searched": list(setting.grid),
                            "help": setting.help,
                        }
                        for setting in row.settings
                    },
                }
                for row in rows
            ]
        )
        return
    print_table(
        [
            Column("name", [row.name for row in rows], is_number=False),
            Column("what it is", [row.summary for row in rows], is_number=False),
            Column("settings (* searched)", [_settings(row) for row in rows], is_number=False),
        ]
    )
    say("Settings are given with --set head.KEY=VALUE.", style="dim")


def _settings(row: "Head") -> str:
    return ", ".join(s.name + ("*" if s.grid else "") for s in row.settings)
