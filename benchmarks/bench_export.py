"""What does a picture take in each exported format, beside `tlfeat predict` with the run?

    python benchmarks/bench_export.py RUN FOLDER

Each is a process of its own that reads, decodes and labels the pictures; what it takes for one
picture is taken off, so that starting and opening count for neither. The scripts label one
picture after the other; tlfeat decodes beside the network, on all cores.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import measure

from tlfeat.data.layout import PICTURE_SUFFIXES, suffix_of
from tlfeat.deploy.export import export
from tlfeat.deploy.formats import FORMATS
from tlfeat.runs.find import find_run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run's folder or name")
    parser.add_argument("folder", type=Path, help="pictures")
    parser.add_argument("--cache", default="cache")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run = find_run(options.run)
    pictures = [
        str(path)
        for path in sorted(options.folder.rglob("*"))
        if suffix_of(path.name) in PICTURE_SUFFIXES
    ]
    tlfeat = str(Path(sys.executable).with_name("tlfeat"))
    commands = {
        "tlfeat": [tlfeat, "predict", str(run.path), "--quiet", "--cache", options.cache],
    }
    with tempfile.TemporaryDirectory() as place:
        for row in FORMATS:
            for precision in row.precisions:
                name = row.name if precision == "float32" else f"{row.name}_{precision}"
                done = export(
                    run,
                    row.name,
                    precision=precision,
                    out=Path(place) / name,
                    cache=options.cache,
                )
                print(name, done.parity.sentence(precision))
                commands[name] = [sys.executable, "-I", str(done.folder / "predict.py")]

        def asked(command: list[str], paths: list[str]) -> None:
            subprocess.run([*command, *paths], check=True, capture_output=True)

        alone = {f"{name}_alone": command for name, command in commands.items()}
        contenders = {
            name: lambda command=command: asked(command, pictures)
            for name, command in commands.items()
        } | {
            name: lambda command=command: asked(command, pictures[:1])
            for name, command in alone.items()
        }
        seconds = measure(options.rounds, **contenders)
    print(f"\n{len(pictures) - 1:,} pictures of {run.name}, ms a picture, medians:")
    for name in commands:
        each = [
            1000 * (whole - first) / (len(pictures) - 1)
            for whole, first in zip(seconds[name], seconds[f"{name}_alone"], strict=True)
        ]
        print(f"{name:20} {statistics.median(each):6.1f}")


if __name__ == "__main__":
    main()
