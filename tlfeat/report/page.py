"""The page of a study: one HTML file with everything in it, and the figures beside it.

Names of classes and files are data: the template escapes all of them, the numbers that the
script reads stand in a block of JSON without "<", and the page's own policy lets no other
script run and nothing be loaded from anywhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tlfeat.audit.kept import found_pictures, known_of
from tlfeat.errors import TlfeatError
from tlfeat.files import write_text
from tlfeat.report.again import study_lines, use_lines
from tlfeat.report.card import CARD
from tlfeat.report.phrases import missing_runs
from tlfeat.report.render import TEMPLATES, render
from tlfeat.report.shots import shots_key
from tlfeat.runs.freshness import has_key, key_of
from tlfeat.runs.record import Run, comparable_runs
from tlfeat.runs.results import write_results
from tlfeat.watch import SILENT, Watch
from tlfeat.where import STUDY_FILE

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset
    from tlfeat.report.contents import Part
    from tlfeat.report.pictures import PagePictures
    from tlfeat.runs.ranked import RankedRun

INDEX = "index.html"
PART = "page"  # of the work, as a watch hears of it
RESULTS_TEX = "results.tex"
FIGURES = "figures"

_DRAWING: Final = (
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "pandas",
    "pyarrow.compute",
    "sklearn.decomposition",
    "tlfeat.report.latex",
    "tlfeat.report.maps",
    "tlfeat.report.sections",
)


def write_page(
    folder: Path,
    runs: Sequence[Run],
    *,
    dataset: "Dataset | Sequence[Dataset] | None" = None,
    cache: Path | None = None,
    refused: Mapping[str, str] | None = None,
    studies: Sequence[Path] | None = None,
    metric: str | None = None,
    watch: Watch = SILENT,
    looked: Callable[[], object] = lambda: None,
) -> Path:
    """Write index.html, figures/ and results.tex of a study, unless they are of these runs.

    Parameters
    ----------
    folder : Path
        Where to; the study's folder.
    runs : sequence of Run
        Those on one dataset and split are compared with each other; there may be several.
    dataset : Dataset or sequence of Dataset, optional
        Where the small pictures are read from; without it the page has none and says so.
    cache : Path, optional
        The feature store, for the map.
    refused : mapping of str to str, optional
        Runs that could not be trained, and why.
    studies : sequence of Path, optional
        Folders that the runs are from, to find what is unfinished; `folder` if None.
    metric : str, optional
        What ranks, see `rank`.
    watch : Watch
        Hears of the progress.
    looked : callable
        Waits until the pictures are looked over, where that goes on beside this.

    Returns
    -------
    path : Path
        Of index.html.
    """
    datasets = [] if dataset is None else dataset if isinstance(dataset, Sequence) else [dataset]
    homes = [folder] if studies is None else list(studies)
    missing = _missing(homes, runs, refused or {})
    page = folder / INDEX

    def known() -> dict[str, list[str]]:
        """Wait for what is found of each dataset, by its fingerprint."""
        looked()
        found = dict.fromkeys(run.dataset.fingerprint for run in runs)
        return {one: known_of(homes, one) for one in found}

    def key(said: Mapping[str, Sequence[str]]) -> str:
        found = [text for texts in said.values() for text in texts]
        each = {(run.dataset.fingerprint, run.split.fingerprint): run for run in runs}
        found.append(json.dumps([_found(homes, run) for run in each.values()]))
        told = [*missing, metric or "", *found, *shots_key(homes)]
        return _key(folder, homes, runs, told, datasets, cache)

    drawn = any((folder / FIGURES).glob("*leaderboard.svg")) and any(folder.glob(f"*{CARD}"))
    if page.exists() and drawn and has_key(page, key(known())):
        return page
    from tlfeat.report.latex import latex_table
    from tlfeat.report.matrix import matrix_values
    from tlfeat.report.picture_map import with_found

    watch.part(PART)
    parts, sections = _draw(folder, runs, datasets, cache, metric, watch, homes, looked)
    watch.doing("looking the pictures over")
    said = known()
    watch.finish()
    if len(parts) == 1:
        write_text(folder / RESULTS_TEX, latex_table(parts[0]))
    text = render(
        "page",
        key=key(said),
        name=folder.name,
        sections=[
            {
                **values,
                "trust": said[ranked[0].dataset.fingerprint],
                "map": with_found(values["map"], _found(homes, ranked[0])),
            }
            for ranked, values in zip(parts, sections, strict=True)
        ],
        missing=missing,
        one=len(parts) == 1,
        matrix=matrix_values(parts),
        again=[study_lines(home, cache) for home in homes if (home / STUDY_FILE).exists()],
    )
    write_text(page, text)
    return page


def _missing(homes: Sequence[Path], runs: Sequence[Run], refused: Mapping[str, str]) -> list[str]:
    """Give a line for each run that there should be and is not, with why where that is known."""
    missing = [
        (f"{home.name}: " if len(homes) > 1 else "") + text
        for home in homes
        for text in missing_runs(home, [run for run in runs if run.study == home])
        if not text.startswith(tuple(f"{name}: " for name in refused))
    ]
    return missing + [f"{name} was refused: {reason}" for name, reason in refused.items()]


def _found(
    homes: Sequence[Path], run: Run, looked: Callable[[], object] = lambda: None
) -> dict[str, Sequence[str]]:
    """Give what is found of single pictures of a run's dataset, once they are looked over."""
    looked()
    return found_pictures(homes, run.dataset.fingerprint, run.split.fingerprint)


def import_drawing() -> None:
    """Import what runs are ranked and pages drawn with, a second of it, where there is time."""
    for name in _DRAWING:
        import_module(name)


def _draw(
    folder: Path,
    runs: Sequence[Run],
    datasets: Sequence["Dataset"],
    cache: Path | None,
    metric: str | None,
    watch: Watch,
    homes: Sequence[Path],
    looked: Callable[[], object],
) -> "tuple[list[list[RankedRun]], list[dict[str, Any]]]":
    """Draw the figures of each dataset; give its runs, ranked, and what the template shows."""
    from tlfeat.report.answers import single_answers
    from tlfeat.report.contents import gather, split_by_data
    from tlfeat.report.maps import map_section, mistake_maps
    from tlfeat.report.pictures import MOST_SAMPLES
    from tlfeat.report.sections import section
    from tlfeat.runs.statistics import keep_intervals

    parts = split_by_data(runs, metric)
    sections = []
    for number, ranked in enumerate(parts):
        mine = ranked[0].dataset.fingerprint
        source = next((d for d in datasets if d.fingerprint == mine), None)
        if source is None:  # opened with other splits or a limit: the pictures are the same
            source = next(iter(datasets), None) if len(parts) == 1 else None
        found = partial(_found, homes, ranked[0], looked)
        with ThreadPoolExecutor(3) as aside:  # another core has the pictures beside the figures
            intervals = aside.submit(keep_intervals, ranked)
            part = gather(ranked, cache, MOST_SAMPLES // len(parts), found)
            pictures = aside.submit(_pictures, part, source, folder, len(parts), watch)
            maps = None if source is None else aside.submit(mistake_maps, part, source, cache)
            prefix = "" if len(parts) == 1 else f"{number + 1}-"
            intervals.result()
            values = section(part, folder / FIGURES, number, prefix, homes)
            values["use"] = use_lines(ranked[0], cache)
            values |= single_answers(part, pictures.result())
            values["maps"] = None if maps is None else map_section(part, maps.result())
        sections.append(values)
    return parts, sections


def _pictures(
    part: "Part", source: "Dataset | None", folder: Path, parts: int, watch: Watch
) -> "PagePictures":
    """Make pictures of the samples that tell most, as many as are a part's share."""
    from tlfeat.report.picture_map import wanted_pictures
    from tlfeat.report.pictures import MOST_PICTURES, PagePictures, page_pictures

    if source is None or part.facts is None:
        return PagePictures()
    wanted = wanted_pictures(part, MOST_PICTURES // parts)
    ids, digests = (list(column[part.chosen]) for column in (part.facts.ids, part.facts.digests))
    return page_pictures(source, wanted, ids, digests, folder, share=parts, watch=watch)


def refresh_report(
    study: Path, dataset: "Dataset", *, cache: Path | None = None, watch: Watch = SILENT
) -> None:
    """Write the tables and the page of a study again, if it has a page: a run has joined it."""
    if not (study / INDEX).exists():
        return
    runs = comparable_runs(study, dataset)
    try:
        write_results(study, runs)
        write_page(study, runs, dataset=dataset, cache=cache, watch=watch)
    except TlfeatError as error:  # the run is finished all the same
        watch.warn(f"The page was not drawn again: {error}")


def _key(
    folder: Path,
    homes: Sequence[Path],
    runs: Sequence[Run],
    missing: Sequence[str],
    datasets: Sequence["Dataset"],
    cache: Path | None,
) -> str:
    """Digest all that a page is made of, without reading predictions or pictures."""
    entries = {recipe.entry_name for run in runs for recipe in run.recipes}
    features = sorted(name for name in entries if cache and (cache / "features" / name).is_dir())
    # its lines, and its links to pictures, say where things are
    places = [folder, *homes, *([] if cache is None else [cache])]
    facts = [
        [str(place.resolve()) for place in places],
        list(missing),
        sorted([one.fingerprint, str(one.path)] for one in datasets),
        features,
        find_spec("umap") is not None,  # which then is a choice of the map
    ]
    ours = Path(__file__).parent
    code = (*TEMPLATES.iterdir(), *ours.glob("*.py"), *ours.parent.glob("runs/*.py"))
    others = ("deploy/explain.py", "audit/findings.py", "heads/temperature.py", "heads/metric.py")
    code += tuple(ours.parent / name for name in (*others, "log_loss.py", "roc.py"))
    return key_of(code, runs, facts)
