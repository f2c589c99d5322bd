"""Kills at random moments: nothing that was committed is lost, no row is wrong, all goes on."""

import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from planted import write_films

from faults.common import FAST, Command, Outcome, Scene, left_over, store_problems, stored_rows
from tlfeat.errors import TlfeatError
from tlfeat.runs.record import RECORD, load_run
from tlfeat.studies.plan import read_study
from tlfeat.where import STUDY_FILE

Names = dict[str, tuple[str, str | None]]  # of runs by their ids, with their stand-ins

STUDY = """
schema = 1
name = "killed"
[data]
path = "{path}"
[defaults]
size = 32
batch = 16
[[run]]
name = "head-{{head}}"
head = ["lda", "nearest-centroid"]
search = false
[[run]]
name = "first"
backbone = "plain-cnn"
mode = "scratch"
epochs = 1
keep = "all"
[[run]]
name = "second"
from = "first@1"
mode = "full"
epochs = 1
"""


# What is trained, by all that a checkpoint holds: averages, where a phase began, views, a head,
# and what held rows chose.
FINETUNES = {
    "scratch": (
        *("--backbone", "plain-cnn", "--mode", "scratch", "--size", "16", "--epochs", "6"),
    ),
    "refit": (
        *("--backbone", "plain-cnn", "--mode", "scratch", "--size", "16", "--epochs", "4"),
        *("--patience", "3", "--refit"),
    ),
    "auto": ("--size", "32", "--epochs", "4"),
    "phases": (
        *("--size", "32", "--augment", "flip,contrast", "--cut-views", "2"),
        *("--phase", "mode=partial,epochs=3,ema=0.9,patience=2"),
        *("--phase", "mode=full,epochs=2,wise_ft=on"),
    ),
}


def of_extract(scene: Scene, count: int) -> Outcome:
    """Kill `tlfeat extract` again and again, and look at the store after each kill."""
    outcome = Outcome("kills of extract")
    arrays, sound = scene.arrays(), scene.cache()
    seconds, reference = _undisturbed(scene, arrays, sound)
    place = [scene.cache()]

    def start() -> Command:
        return scene.start("extract", arrays, *FAST, "--cache", place[-1])

    def whole() -> list[str]:
        problems = store_problems(place[-1], reference, whole=True)
        shutil.rmtree(place[-1])
        place.append(scene.cache())
        return problems

    _kill(outcome, count, start, seconds, lambda: store_problems(place[-1], reference), whole)
    return outcome


def of_cache_commands(scene: Scene, count: int) -> Outcome:
    """Kill `cache prune` and `cache verify`: an entry is whole or gone, never a part of one."""
    outcome = Outcome("kills of cache prune and verify")
    arrays, sound = scene.arrays(), scene.cache()
    _, reference = _undisturbed(scene, arrays, sound)
    chance = random.Random(2)
    while outcome.tried < count:
        cache = scene.cache()
        shutil.copytree(sound / "features", cache / "features")
        what = ("prune", "*", "--yes") if outcome.tried % 2 else ("verify",)
        command = scene.start("cache", *what, "--cache", cache)
        if _killed(command, chance.uniform(0, 0.5)):
            outcome.tried += 1
        else:
            outcome.wrong += _ended_well(command)
        outcome.wrong += store_problems(cache, reference)
        rows = len(stored_rows(cache))
        if rows not in (0, len(reference)):
            outcome.wrong.append(f"{rows} rows of {len(reference)} are left")
        outcome.wrong += _ended_well(scene.run("cache", "ls", "--cache", cache))
        shutil.rmtree(cache)
    return outcome


def of_compare(scene: Scene, count: int) -> Outcome:
    """Kill `tlfeat compare`; the one that ends at last says what an undisturbed one says."""
    outcome = Outcome("kills of compare")
    arrays, cache = scene.arrays(200), scene.cache()
    arguments = ("compare", arrays, "--head", "lda,ridge,knn", *FAST, "--cache", cache)
    scene.run("extract", arrays, *FAST, "--cache", cache)
    began = time.monotonic()
    outcome.wrong += _ended_well(scene.run(*arguments, "--reports", scene.folder / "whole"))
    seconds = time.monotonic() - began
    wanted = _predictions(scene.folder / "whole")
    reports = scene.folder / "killed"

    def whole() -> list[str]:
        problems = list(_study_problems(reports, wanted))
        shutil.rmtree(reports)
        return problems

    def start() -> Command:
        return scene.start(*arguments, "--reports", reports)

    _kill(outcome, count, start, seconds, list, whole)
    return outcome


# what an audit, and a comparison by its groups, leave
_AUDITED = (
    *("findings.csv", "pictures.json", "groups.csv", "clean.csv"),
    *("study.toml", "trust.json"),
)


def of_audit(scene: Scene, count: int) -> Outcome:
    """Kill `tlfeat audit` and `compare --groups auto`: what they leave is whole, or not there."""
    outcome = Outcome("kills of audit and groups")
    films, cache = scene.folder / "films", scene.cache()
    write_films(films, classes=2, films=3, frames=6)
    told = ("--head", "lda", "--features", "last:avg", "--size", "64")
    places: list[Path] = []

    def commands() -> tuple[tuple[object, ...], tuple[object, ...]]:
        there = ("--cache", cache, "--reports", places[-1], "--quiet")
        clean = places[-1] / "clean.csv"
        return (
            ("audit", films, "--size", "64", "--write-clean", clean, *there),
            ("compare", films, "--groups", "auto", *told, *there),
        )

    def kept() -> dict[str, bytes]:
        found = [path for name in _AUDITED for path in places[-1].rglob(name)]
        return {path.name: path.read_bytes() for path in found}

    def problems() -> list[str]:
        return [f"{name} is another" for name, text in kept().items() if text != wanted[name]]

    for again in range(2):  # the first time there are networks to export
        places.append(scene.folder / f"whole-{again}")
        seconds = []
        for arguments in commands():
            began = time.monotonic()
            outcome.wrong += _ended_well(scene.run(*arguments))
            seconds.append(time.monotonic() - began)
            shutil.rmtree(cache / "features", ignore_errors=True)
    wanted, predicted = kept(), _predictions(places[-1])
    if len(wanted) != len(_AUDITED):
        outcome.wrong.append(f"undisturbed there are only {sorted(wanted)}")
    for kind in range(2):
        places.append(scene.folder / f"killed-{kind}")

        def start(kind: int = kind) -> Command:
            (places[-1] / "clean.csv").unlink(missing_ok=True)  # which is never overwritten
            return scene.start(*commands()[kind])

        def whole(kind: int = kind) -> list[str]:
            found = [*problems(), *(_study_problems(places[-1], predicted) if kind else ())]
            shutil.rmtree(places[-1], ignore_errors=True)
            shutil.rmtree(cache / "features", ignore_errors=True)
            return found

        of_one = Outcome("audit" if kind == 0 else "groups")
        _kill(of_one, (count + 1 - kind) // 2, start, seconds[kind], problems, whole)
        outcome.tried += of_one.tried
        outcome.wrong += [f"{of_one.what}: {one}" for one in of_one.wrong]
    return outcome


def of_finetune(scene: Scene, count: int) -> Outcome:
    """Kill `tlfeat finetune`; the one that ends at last has the numbers of an undisturbed one."""
    outcome = Outcome("kills of finetune")
    arrays = scene.arrays(120)
    for number, (name, said) in enumerate(FINETUNES.items()):
        kills = (count + len(FINETUNES) - 1 - number) // len(FINETUNES)
        if not kills:
            continue
        arguments = ("finetune", arrays, *said, "--batch", "16", "--quiet")
        began, whole = time.monotonic(), ("--reports", scene.folder / name)
        outcome.wrong += _ended_well(scene.run(*arguments, "--cache", scene.cache(), *whole))
        seconds = time.monotonic() - began
        wanted = _predictions(scene.folder / name)
        of_one = Outcome(name)
        _kill_finetune(scene, of_one, kills, (*arguments, "--resume"), seconds, wanted)
        outcome.tried += of_one.tried
        outcome.wrong += [f"{name}: {problem}" for problem in of_one.wrong]
    return outcome


def _kill_finetune(
    scene: Scene,
    outcome: Outcome,
    count: int,
    arguments: tuple[object, ...],
    seconds: float,
    wanted: dict[str, pd.DataFrame],
) -> None:
    reports, caches = scene.folder / "killed", [scene.cache()]

    def whole() -> list[str]:
        problems = list(_study_problems(reports, wanted))
        shutil.rmtree(reports)
        caches.append(scene.cache())  # what is below a cut is to be embedded again
        return problems

    def start() -> Command:
        return scene.start(*arguments, "--cache", caches[-1], "--reports", reports)

    # the beginning is TensorFlow's start, in which there is nothing to lose
    _kill(outcome, count, start, seconds, list, whole, first=0.3)


def of_study(scene: Scene, count: int) -> Outcome:
    """Kill a study at moments spread over all its time; what it has written by then is right.

    Every second time its folder has two of its runs from before, under other names, which they
    may keep until it is their turn.
    """
    outcome = Outcome("kills of a study")
    cache, file = scene.cache(), scene.folder / "killed.toml"
    text = STUDY.format(path=scene.arrays(60))
    before = text[: text.index('[[run]]\nname = "second"')]
    before = before.replace('"first"', '"earlier"').replace("head-{head}", "old-{head}")

    def run(what: str, reports: Path) -> tuple[Path, dict[str, tuple[str, str | None]]]:
        file.write_text(what)
        outcome.wrong += _ended_well(scene.run(*arguments, "--reports", reports))
        (folder,) = reports.iterdir()
        return folder / STUDY_FILE, _named(folder)

    arguments = ("compare", file, "--quiet", "--cache", cache)
    earlier = scene.folder / "earlier"
    file_before, named_before = run(before, earlier)
    began = time.monotonic()
    whole, named = run(text, scene.folder / "whole")
    seconds = time.monotonic() - began
    while outcome.tried < count:
        number = outcome.tried
        reports = scene.folder / f"killed-{number}"
        allowed = {whole.read_bytes(): named}
        if number % 2:
            shutil.copytree(earlier, reports)
            allowed[file_before.read_bytes()] = named_before
        command = scene.start(*arguments, "--reports", reports)
        if _killed(command, seconds * (number + 0.5) / count):
            outcome.tried += 1
        else:  # others left the machine, so it was quick
            outcome.wrong += _ended_well(command)
            seconds *= 0.9
        outcome.wrong += _written_problems(reports, allowed, named)
        if number % 10 == 9 or number == count - 1:
            file_after, after = run(text, reports)
            if after != named or file_after.read_bytes() != whole.read_bytes():
                outcome.wrong.append(f"ends as {after}, wanted {named}")
        shutil.rmtree(reports, ignore_errors=True)
    return outcome


def _named(folder: Path) -> Names:
    """Read the names and stand-ins of a study's runs, by their ids."""
    runs = [load_run(path.parent) for path in folder.glob(f"runs/*/{RECORD}")]
    return {run.id: (run.name, run.stand_in) for run in runs}


def _written_problems(
    reports: Path, allowed: Mapping[bytes, Names], named: Names
) -> Iterator[str]:
    """Look at the study.toml and every run.json that a killed study has left."""
    for folder in reports.glob("*"):
        file = folder / STUDY_FILE
        text = file.read_bytes() if file.exists() else None
        if text is not None and text not in allowed:
            yield "study.toml is another"
            continue
        try:
            planned = {run.name for run in read_study(file).runs} if text is not None else set()
            runs = _named(folder)
        except TlfeatError as error:
            yield str(error)
            continue
        if text is not None and planned != {name for name, _ in allowed[text].values()}:
            yield f"study.toml plans {sorted(planned)}"
        # the runs have their names before the file has them
        right = [named] if text is None else [named, allowed[text]]
        for run, name in runs.items():
            if name not in [one.get(run) for one in right]:
                yield f"{run} is called {name}"


def _undisturbed(scene: Scene, arrays: Path, cache: Path) -> tuple[float, dict[str, np.ndarray]]:
    """Extract once without a kill; give its seconds and its rows."""
    for folder in (scene.cache(), cache):  # the first one may have a network to export
        began = time.monotonic()
        problems = _ended_well(scene.run("extract", arrays, *FAST, "--cache", folder))
        if problems:
            raise RuntimeError(f"extract does not even run undisturbed: {problems}")
    return time.monotonic() - began, stored_rows(cache)


def _kill(
    outcome: Outcome,
    count: int,
    start: Callable[[], Command],
    seconds: float,
    after_kill: Callable[[], list[str]],
    after_end: Callable[[], list[str]],
    *,
    first: float = 0.0,
) -> None:
    """Kill a command until that was done so often, then let it end.

    Parameters
    ----------
    outcome : Outcome
        Gets the count, and what is wrong.
    count : int
    start : callable
    seconds : float
        That the command takes undisturbed.
    after_kill, after_end : callable
        Look at what is there, and say what is wrong with it.
    first : float
        Share of the time in which it is left alone.
    """
    chance, fresh = random.Random(count), True
    while True:
        began = time.monotonic()
        command = start()
        if outcome.tried < count and _killed(command, seconds * chance.uniform(first, 1)):
            outcome.tried += 1
            outcome.wrong += after_kill()
            fresh = False
            continue
        command.finish()
        outcome.wrong += [*_ended_well(command), *after_end()]
        if outcome.tried == count:
            return
        if fresh:
            seconds = time.monotonic() - began  # others make the machine slow, or leave it
        fresh = True


def _killed(command: Command, after: float) -> bool:
    """Kill a command after some seconds; say whether that was before its end."""
    if command.ends_within(after):
        return False
    command.kill()
    return True


def _ended_well(command: Command) -> list[str]:
    problem = command.problem(0)
    return [problem] if problem else []


def _predictions(reports: Path) -> dict[str, pd.DataFrame]:
    """Read the predictions of all runs by the names of their folders."""
    return {
        path.parent.name: pd.read_parquet(path)
        for path in reports.glob("*/runs/*/predictions.parquet")
    }


def _study_problems(reports: Path, wanted: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Compare what is left of killed runs with an undisturbed study."""
    found = _predictions(reports)
    if found.keys() != wanted.keys():
        yield f"runs {sorted(found)}, wanted {sorted(wanted)}"
    for name in found.keys() & wanted.keys():
        if not found[name].equals(wanted[name]):
            yield f"{name} predicts otherwise"
    for path in left_over(reports):
        yield f"{path.name} is left over"
