"""A run as one file, from pixels to probabilities, in a folder that can be used without tlfeat.

A folder is there only once the file in it was asked for held pictures, in a process of its own,
and said what the run says of them.
"""

import json
import shutil
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.digests import DigestIndex
from tlfeat.deploy.exported_model import (
    CARD,
    LABELS,
    PARITY,
    PREPROCESS,
    REQUIREMENTS,
    SCRIPT,
    Export,
    Parity,
    is_export,
    load_export,
)
from tlfeat.deploy.formats import Format, check_writable, get_format
from tlfeat.deploy.model_card import model_card
from tlfeat.deploy.networks import checked_rule
from tlfeat.deploy.parity import compared, known_pictures, pictures_as_files
from tlfeat.deploy.standalone import predict_script
from tlfeat.deploy.whole_network import WholeNetwork, whole_network
from tlfeat.errors import TlfeatError
from tlfeat.files import cannot_write, making_folder, new_name
from tlfeat.runs.find import as_run
from tlfeat.runs.record import Run
from tlfeat.runs.reopen import dataset_of
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where

_CALIBRATED_ON: Final = 200  # train pictures, of an int8 file
_NONE: Final = np.zeros((0, 0, 0, 3), np.uint8)


def export(
    run: Run | str | Path,
    format: str,
    *,
    out: str | Path | None = None,
    precision: str = "float32",
    dataset: Dataset | str | Path | None = None,
    weights: str | Path | None = None,
    cache: str | Path | None = None,
    jobs: int | None = None,
    watch: Watch = SILENT,
) -> Export:
    """Write a run as one file that gives the same answers elsewhere.

    Scaling, network, pooling, head, temperature and labels are in it; it takes pictures of the
    right size as uint8. Beside it are the rule for pictures, a script that predicts with the
    format's runtime alone, and a model card.

    Parameters
    ----------
    run : Run, str or Path
        A finished run, or what `find_run` finds one by, of a head or a fine-tune.
    format : str
        "onnx", "openvino", "keras", "savedmodel" or "litert".
    out : str or Path, optional
        A new folder; export/FORMAT in the run's own if None, where it replaces the last.
    precision : {"float32", "float16", "int8"}
        Of the weights in the file; float16 is for openvino and litert, int8 for litert.
    dataset : Dataset, str or Path, optional
        Where the run's pictures are now; where they were if None.
    weights : str or Path, optional
        Where the weights of a head's network are now.
    cache : str or Path, optional
        The feature store; $TLFEAT_CACHE or ./cache if None.
    jobs : int, optional
        Threads.
    watch : Watch
        Hears what is done.

    Returns
    -------
    done : Export

    Raises
    ------
    UnknownName
        If there is no such format.
    TlfeatError
        If a package is missing, the run cannot be joined in one network, its pictures are gone, or
        the file says something else than the run: nothing is left then.

    Examples
    --------
    >>> run = tlfeat.find_run("garments")  # doctest: +SKIP
    >>> done = tlfeat.export(run, "openvino", out="garments-openvino")  # doctest: +SKIP
    >>> done.model  # doctest: +SKIP
    """
    run = as_run(run)
    row = get_format(format)
    check_writable(row, precision)
    checked_rule(run)
    suffix = "" if precision == "float32" else f"-{precision}"
    folder = run.path / "export" / f"{row.name}{suffix}"
    folder = (folder if out is None else Path(out).expanduser()).absolute()
    _check_place(folder, is_ours=out is None)
    where = Where(cache, jobs=jobs, watch=watch)
    opened = _opened(run, dataset, where)
    try:
        with (
            TemporaryDirectory(prefix="tlfeat-") as place,
            making_folder(folder) as fresh,
        ):
            asked = pictures_as_files(run, opened, precision, Path(place))
            squares = _train_squares(run, opened) if precision == "int8" else _NONE
            watch.doing(f"joining {run.name} in one network")
            whole = whole_network(run, weights)
            _check_whole(run, row, whole)
            watch.doing(f"writing {row.model}")
            _write(row, whole.model, fresh / row.model, precision, squares)
            _write_rule(run, row, fresh, whole)
            watch.doing("comparing it with the run, in a process of its own")
            parity = compared(run, fresh, asked, weights, where)
            _check_parity(parity, precision)
            _write_about(run, row, precision, fresh, parity)
            _make_room(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    watch.finish()
    return load_export(folder)


def _check_place(folder: Path, *, is_ours: bool) -> None:
    """Refuse a place where something of the user's lies, before anything long is begun."""
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if names and is_ours and folder.is_dir():
        names -= _files_of(folder)
        if names:
            raise TlfeatError(
                f"{folder} has {min(names)}, which is no part of an export: name a new folder "
                "with --out."
            )
    elif names or folder == Path.cwd():
        raise TlfeatError(f"{folder} is there already: name a new folder.")


def _files_of(folder: Path) -> set[str]:
    """Name what an export has written into its folder; nothing of another folder."""
    if not is_export(folder):
        return set()
    model = load_export(folder).model
    own = {LABELS, PREPROCESS, PARITY, SCRIPT, REQUIREMENTS, CARD}
    return own | {model.with_suffix(suffix).name for suffix in (model.suffix, ".bin", ".toml")}


def _opened(run: Run, dataset: Dataset | str | Path | None, where: Where) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    where.watch.doing("opening the run's pictures")
    if dataset is None:
        found = dataset_of(run.study, [run], where.cache_folder, where.watch)
        if found is None:
            raise TlfeatError(
                f"The pictures of {run.name} are not at {run.dataset.source} any more, and a file "
                "is compared on them before it is left: say with --data where they are."
            )
        return found
    return open_dataset(dataset, digests=DigestIndex(where.cache_folder), jobs=where.jobs)


def _check_whole(run: Run, row: Format, whole: WholeNetwork) -> None:
    """Refuse what the format, or the file of the labels, cannot hold."""
    if not whole.is_of_keras and row.name != "openvino":
        raise TlfeatError(
            f"{run.backbone} is a network of another framework, which Keras cannot write as "
            f"{row.name}: take --format openvino."
        )
    broken = [label for label in whole.labels if "\n" in label]
    if broken:
        raise TlfeatError(
            f"The class {broken[0]!r} has a line break, and {LABELS} a line a class."
        )


def _train_squares(run: Run, dataset: Dataset) -> np.ndarray:
    """Decode some pictures that the run was trained on, as ranges are measured on them."""
    samples = {sample.digest: sample for sample in dataset.samples}
    train = [one for one in known_pictures(run) if one.split == "train"]
    squares: list[np.ndarray] = []
    for one in train:
        if len(squares) == _CALIBRATED_ON:
            break
        with suppress(KeyError, UndecodableImage, OSError):
            picture = dataset.read(samples[one.digest])
            squares.append(decode(picture, run.picture_rule.size, run.picture_rule.resize))
    if not squares:
        raise TlfeatError(
            f"Not one of the pictures that {run.name} was trained on is in {dataset.path}, and "
            "int8 is measured on them: say with --data where they are."
        )
    return np.stack(squares)


def _write(row: Format, network: Any, file: Path, precision: str, squares: np.ndarray) -> None:
    try:
        row.write(network, file, precision, squares)
    except OSError:
        raise
    except Exception as error:  # converters raise whatever they come across
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise TlfeatError(
            f"This network cannot be written as {row.name} ({reason}): try another format."
        ) from error


def _write_rule(run: Run, row: Format, folder: Path, whole: WholeNetwork) -> None:
    """Write what the script needs, and the script."""
    rule = run.picture_rule
    (folder / LABELS).write_text("".join(f"{label}\n" for label in whole.labels), encoding="utf-8")
    about = {
        "model": row.model,
        "input": [1 if row.takes_one or whole.takes_one else None, rule.size, rule.size, 3],
        "dtype": "uint8",
        "colour": "RGB",
        "layout": "NHWC",
        "size": rule.size,
        "resize": rule.resize.as_dict(),
        "decoder": rule.decoder,
    }
    (folder / PREPROCESS).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    script = predict_script(row.load, row.model, rule.size, rule.resize)
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    if row.is_network_file:  # so that --backbone takes the file
        facts = f'scaling = "none"\nlayout = "NHWC"\nsize = {rule.size}\n'
        (folder / row.model).with_suffix(".toml").write_text(facts, encoding="utf-8")


def _check_parity(parity: Parity, precision: str) -> None:
    problem = parity.problem(precision)
    if problem is not None:
        raise TlfeatError(
            f"What was exported is not the run: {problem}. Nothing is left of it; try another "
            "format."
        )


def _write_about(run: Run, row: Format, precision: str, folder: Path, parity: Parity) -> None:
    kept = {
        "run": run.id,
        "format": row.name,
        "precision": precision,
        "parity": parity.as_dict(),
    }
    (folder / PARITY).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    packages = sorted({"numpy", "pillow", *row.runtime.split()})
    pinned = "".join(f"{_pinned(name)}\n" for name in packages)
    (folder / REQUIREMENTS).write_text(pinned, encoding="utf-8")
    card = model_card(run, row, precision, parity)
    (folder / CARD).write_text(card, encoding="utf-8")


def _pinned(package: str) -> str:
    """Name a package with its version, where it is installed by that name."""
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:  # as a build of another name, such as one for a GPU
        return package


def _make_room(folder: Path) -> None:
    """Put an export of before, or an empty folder, aside just before the new one comes."""
    if folder.is_dir():
        aside = new_name(folder)
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
