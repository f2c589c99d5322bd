"""The lines of a page that a user copies: they work from any folder, with what the study has."""

import shlex
from pathlib import Path

from tlfeat.runs.ranked import RankedRun
from tlfeat.where import STUDY_FILE


def study_lines(study: Path, cache: Path | None) -> list[str]:
    """Give the lines that run a study again, with the very cache and reports that it has.

    In the study's own folder the command would make a cache and reports of its own.
    """
    reports = study.resolve().parent
    line = f"tlfeat compare {shlex.quote(f'{reports.name}/{study.name}/{STUDY_FILE}')}"
    if reports.name != "reports":
        line += f" --reports {shlex.quote(reports.name)}"
    return _there(reports.parent, line, cache)


def use_lines(run: RankedRun, cache: Path | None) -> list[str]:
    """Give the lines that label pictures with a run; of several seeds with the first."""
    first = run.seeds[0] if run.seeds else run
    reports = first.study.resolve().parent
    place = f"{reports.name}/{first.study.name}/runs/{first.path.name}"
    return _there(reports.parent, f"tlfeat predict {shlex.quote(place)} PICTURES", cache)


def _there(folder: Path, line: str, cache: Path | None) -> list[str]:
    if cache is not None and cache.resolve() != folder / "cache":
        line += f" --cache {shlex.quote(str(cache.resolve()))}"
    return [f"cd {shlex.quote(str(folder))}", line]
