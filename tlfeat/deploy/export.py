"""A run as one file, from pixels to probabilities, in a folder that can be used without tlfeat.

A folder is there only once the file in it was asked for held pictures, in a process of its own,
and said what the run says of them.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.digests import DigestIndex
from tlfeat.deploy.exported_model import (
    LABELS,
    PARITY,
    PREPROCESS,
    SCRIPT,
    Export,
    Parity,
    is_export,
    load_export,
)
from tlfeat.deploy.formats import Format, get_format
from tlfeat.deploy.model_card import model_card
from tlfeat.deploy.parity import compared, held_samples, write_pictures
from tlfeat.deploy.standalone import predict_script
from tlfeat.deploy.whole_network import WholeNetwork, whole_network
from tlfeat.errors import TlfeatError
from tlfeat.files import making_folder
from tlfeat.runs.record import Run
from tlfeat.runs.reopen import dataset_of
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where

_CALIBRATED_ON: Final = 200  # train pictures, of an int8 file


def export(
    run: Run,
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
    run : Run
        A finished run, of a head or a fine-tune.
    format : {"onnx", "openvino", "keras", "savedmodel", "litert"}
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
    """
    row = get_format(format, precision)
    where = Where(cache, jobs=jobs, watch=watch)
    opened = _opened(run, dataset, where)
    suffix = "" if precision == "float32" else f"-{precision}"
    folder = run.path / "export" / f"{row.name}{suffix}" if out is None else Path(out)
    if out is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TlfeatError(f"{folder} is there already and not empty: name a new folder.")
    watch.doing(f"joining {run.name} in one network")
    whole = whole_network(run, weights)
    _check_labels(whole.labels)
    if not whole.is_of_keras and row.name != "openvino":
        raise TlfeatError(
            f"{run.backbone} is a network of another framework, which Keras cannot write as "
            f"{row.name}: take --format openvino."
        )
    squares = _train_squares(run, opened) if precision == "int8" else np.zeros(0, np.uint8)
    with making_folder(folder) as fresh:
        watch.doing(f"writing {row.model}")
        _write(row, whole.model, fresh / row.model, precision, squares)
        _write_rule(run, row, fresh, whole)
        watch.doing("comparing it with the run, in a process of its own")
        parity = _parity(run, fresh, opened, precision, weights, where)
        _write_about(run, row, precision, fresh, parity)
        _make_room(folder)
    watch.finish()
    return load_export(folder)


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
    asked = {**run.dataset.asked, "split_seed": run.split.seed}
    return open_dataset(dataset, **asked, digests=DigestIndex(where.cache_folder), jobs=where.jobs)


def _check_labels(labels: Sequence[str]) -> None:
    broken = [label for label in labels if "\n" in label]
    if broken:
        raise TlfeatError(
            f"The class {broken[0]!r} has a line break, and {LABELS} a line a class."
        )


def _train_squares(run: Run, dataset: Dataset) -> np.ndarray:
    """Decode some train pictures, as a network's ranges are measured on them."""
    rule = run.recipes[0].pictures if run.recipes else run.pictures
    train = [one for one in dataset.samples if one.split == "train"]
    order = np.random.default_rng(run.seed).permutation(len(train))
    squares: list[np.ndarray] = []
    for i in order:
        if len(squares) == _CALIBRATED_ON:
            break
        try:
            squares.append(decode(dataset.read(train[i]), rule.size, rule.resize))
        except (UndecodableImage, OSError):
            continue
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
    rule = run.recipes[0].pictures if run.recipes else run.pictures
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


def _parity(
    run: Run,
    folder: Path,
    dataset: Dataset,
    precision: str,
    weights: str | Path | None,
    where: Where,
) -> Parity:
    skipped = {one["id"] for one in run.dataset.skipped}
    split, samples = held_samples(dataset, precision, run.seed, skipped)
    with tempfile.TemporaryDirectory(prefix="tlfeat-") as place:
        files = write_pictures(dataset, samples, Path(place))
        truth = [dataset.label_name(sample) for sample in samples]
        parity = compared(run, folder, files, truth, split, weights, where)
    problem = parity.problem(precision)
    if problem is not None:
        raise TlfeatError(
            f"What was exported is not the run: {problem}. Nothing is left of it; try another "
            "format."
        )
    return parity


def _write_about(run: Run, row: Format, precision: str, folder: Path, parity: Parity) -> None:
    from importlib.metadata import version

    kept = {
        "run": run.id,
        "format": row.name,
        "precision": precision,
        "parity": parity.as_dict(),
    }
    (folder / PARITY).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    packages = sorted({"numpy", "pillow", row.runtime})
    pinned = "".join(f"{name}=={version(name)}\n" for name in packages)
    (folder / "requirements.txt").write_text(pinned, encoding="utf-8")
    card = model_card(run, row, precision, parity)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _make_room(folder: Path) -> None:
    """Take away an export of before, or an empty folder, just before the new one comes."""
    import shutil

    if folder.is_dir() and (is_export(folder) or not any(folder.iterdir())):
        shutil.rmtree(folder)
