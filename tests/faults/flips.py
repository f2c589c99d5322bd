"""One byte or bit changed in what a study is made of: the same output, or what is wrong."""

import random
import re
import shutil
from pathlib import Path

from pictures import colour_folders

from faults.common import FAST, Outcome, Scene, answer

_STUDY = (
    *("run.json", "predictions.parquet", "novelty.npz"),
    *("study.toml", "groups.csv", "trust.json"),
)
_CACHE = ("files.sqlite", "costs.sqlite")
_COMPARED = ("runs", "compare", "predict", "report")
_NEVER_SILENT = ("run.json", "predictions.parquet", "novelty.npz", "files.sqlite")
# What an output says that names what is wrong, where it does not name the file itself.
_NAMED = re.compile(
    r"damaged|cannot be read|altered|set aside|no finished run|schema|not as it was written", re.I
)


def of_files(scene: Scene, count: int) -> Outcome:
    """Flip, then ask one command; put everything back before the next one.

    What is in `_COMPARED` must say the same, or what is wrong; none may end in a traceback.
    """
    outcome = Outcome("flips")
    data = colour_folders(scene.folder / "set", per_class=8, side=24)
    cache, reports = scene.cache(), scene.folder / "reports"
    where = ("--cache", cache)
    compare = ("compare", data, "--groups", "auto", "--head", "lda,ridge", *FAST, *where)
    compare += ("--reports", reports)
    made = answer(*compare)
    if made.crash or made.code:
        outcome.wrong.append(f"compare does not even run undisturbed: {made.said}")
        return outcome
    study = reports / "set"
    run = min((study / "runs").iterdir())
    commands = {
        "runs": ("runs", "--reports", reports),
        "compare": compare,
        "predict": ("predict", run, min(data.rglob("*.png")), "--reject", "20%", *where),
        "train": ("train", data, "--head", "knn", *FAST, *where, "--reports", reports),
        "report": ("report", study, *where, "--quiet"),
        "study.toml": ("compare", study / "study.toml", *where, "--reports", reports, "--quiet"),
    }
    page = study / "index.html"
    wanted = {name: answer(*arguments) for name, arguments in commands.items() if name != "train"}
    shown = _text(page)
    saved = [(path, path.with_name(f"{path.name}-saved")) for path in (reports, cache)]
    for path, copy in saved:
        shutil.copytree(path, copy, symlinks=True)
    files = [path for name in _STUDY for path in sorted(reports.rglob(name))]
    files += [path for name in _CACHE for path in sorted(cache.rglob(name))]
    names = sorted({path.name for path in files})
    chance = random.Random(7)
    for number in range(count):
        name = names[number % len(names)]
        path = chance.choice([one for one in files if one.name == name])
        what = f"{name}, {_flip(path, chance)}"
        flipped = path.read_bytes()
        outcome.tried += 1
        for command, arguments in commands.items():
            if command == "train" and name not in _CACHE:
                continue  # it reads costs, which the others need not
            path.write_bytes(flipped)
            found = answer(*arguments)
            if found.crash:
                outcome.wrong.append(f"{what}: {command} ends in {found.crash}")
            elif command in _COMPARED and name in _NEVER_SILENT:
                out, sound = found.out, wanted[command].out
                if command == "report":
                    out, sound = _text(page), shown
                if out != sound and not _NAMED.search(found.said + out):
                    how = _difference(out, sound)
                    outcome.wrong.append(f"{what}: {command} says otherwise: {how}")
            for place, copy in saved:
                shutil.rmtree(place)
                shutil.copytree(copy, place, symlinks=True)
    return outcome


def _text(page: Path) -> str:
    """Give what a page says, without the key that it was drawn by."""
    return re.sub(r'content="[0-9a-f]{64}"', "", page.read_text(encoding="utf-8"))


def _flip(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    before = data[at]
    data[at] = before ^ (1 << chance.randrange(8)) if chance.random() < 0.5 else (before + 1) % 256
    path.write_bytes(data)
    return f"byte {at} of {len(data)}, {before} to {data[at]}"


def _difference(found: str, sound: str) -> str:
    pairs = zip(found.splitlines(), sound.splitlines(), strict=False)
    return next((f"{a!r}, not {b!r}" for a, b in pairs if a != b), "more or fewer lines")
