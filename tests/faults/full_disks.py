"""Disks that take no more after some bytes: one sentence each, and the next run goes on."""

import random
import shutil

from faults.common import FAST, Outcome, Scene, left_over, store_problems, stored_rows

_ROOMS = (9_000, 20_000, 60_000, 200_000, 600_000, 2_000_000)  # bytes of the largest file


def of_commands(scene: Scene, count: int) -> Outcome:
    """Run commands on small disks, then without a limit."""
    outcome = Outcome("full disks")
    arrays, sound = scene.arrays(120), scene.cache()
    scene.run("extract", arrays, *FAST, "--cache", sound)
    reference = stored_rows(sound)
    chance = random.Random(5)
    others = [  # which have entries of their own
        ("audit", arrays, *FAST),
        ("compare", arrays, "--groups", "auto", "--head", "lda", "--features", "last:avg", *FAST),
    ]
    commands = [
        ("extract", arrays, *FAST),
        ("extract", arrays, *FAST, "--out", scene.folder / "out" / "matrix.npz"),
        ("extract", arrays, *FAST, "--out", scene.folder / "out" / "matrix.parquet"),
        ("train", arrays, "--head", "lda", *FAST),
        # the features that the store has already
        ("compare", arrays, "--head", "lda,knn", "--features", "last:avg", *FAST),
        *others,
    ]
    for number in range(count):
        cache, reports = scene.cache(), scene.folder / "reports"
        where = ["--cache", cache]
        if commands[number % len(commands)][0] != "extract":
            where += ["--reports", reports]
            shutil.copytree(sound / "features", cache / "features")  # the reports fill the disk
        arguments = (*commands[number % len(commands)], *where)
        command = scene.run(*arguments, room=int(chance.choice(_ROOMS) * chance.uniform(0.5, 2)))
        outcome.tried += 1
        problem = command.problem(0, 1)
        if problem:
            outcome.wrong.append(f"{arguments[0]}: {problem}")
        if commands[number % len(commands)] not in others:
            outcome.wrong += store_problems(cache, reference)
        for path in (reports, scene.folder / "out"):
            outcome.wrong += [f"{one.name} is left over" for one in left_over(path)]
        problem = scene.run(*arguments).problem(0)
        if problem:
            outcome.wrong.append(f"{arguments[0]} does not go on: {problem}")
        if commands[number % len(commands)] not in others:
            outcome.wrong += store_problems(cache, reference, whole=True)
        for path in (cache, reports, scene.folder / "out"):
            shutil.rmtree(path, ignore_errors=True)
    return outcome
