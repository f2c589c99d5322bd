"""The commands of `tlfeat`, and the one place that turns an error into a sentence.

Importing this module loads neither NumPy nor TensorFlow: each command imports what it
needs when it runs.
"""

import os
import sys

import typer

from tlfeat import __version__
from tlfeat.errors import TlfeatError
from tlfeat_cli import (
    audit,
    backbones,
    cache,
    compare,
    data,
    doctor,
    explain,
    export,
    extract,
    finetune,
    heads,
    predict,
    report,
    runs,
    studies,
    train,
)
from tlfeat_cli.help import PlainGroup
from tlfeat_cli.terminal import PLAIN, fail, settle

app = typer.Typer(
    name="tlfeat",
    cls=PlainGroup,
    help="Embed every picture once with a frozen network, train classifiers in seconds, "
    "compare them honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("data")(data.data)
app.command("audit")(audit.audit)
app.command("extract")(extract.extract)
app.command("train")(train.train)
app.command("finetune")(finetune.finetune)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("runs")(runs.runs)
app.command("studies")(studies.studies)
app.command("backbones")(backbones.backbones)
app.command("heads")(heads.heads)
app.command("doctor")(doctor.doctor)
app.add_typer(cache.app, name="cache")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tlfeat {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Hold the options of `tlfeat` itself."""


def main() -> None:
    """Run the command line; exit 1 for what the user can mend, 130 after Ctrl-C."""
    # Both are read when TensorFlow is imported: its start-up chatter is no result.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if PLAIN:
        import typer.rich_utils  # it prints help and wrong usage

        typer.rich_utils.COLOR_SYSTEM = None
    try:
        app()
    except TlfeatError as error:
        fail(str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.stdout = None  # `| head` closed it: there is nothing to flush to
        sys.exit(141)
    finally:
        settle()
