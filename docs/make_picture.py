"""Draw what a command prints as an SVG, for the README.

python docs/make_picture.py docs/compare.svg tlfeat compare garments

It shows what stays on a terminal, not the bar: run the command once before, so that nothing is
left to do but to say it.
"""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 88


def main() -> None:
    """Run the command and write the picture."""
    target, *command = sys.argv[1:]
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "green"), (" ".join(command), "bold")))
    console.print(Text.from_ansi(done.stdout.decode()))
    svg = console.export_svg(title="tlfeat")
    # Web fonts would be fetched from elsewhere: the reader's own are good enough.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(target).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
