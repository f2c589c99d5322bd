"""What the latency of a server costs: extraction from s3:// with it and without.

    python benchmarks/bench_remote.py FOLDER [--delay 0.1] [--rounds 3]

moto serves the pictures in a process of its own, behind a proxy that waits before each answer or
does not. Each round extracts into an empty store, the network exported before, with and without
the delay in turn, and from the folder itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from object_server import Proxy, files_below, s3_server, settings_of, upload

BUCKET = "pictures"


def serve(folder: Path, delay: float) -> None:
    """Serve a folder until stdin ends; print the URLs without and with the delay."""
    with s3_server() as url:
        upload(url, BUCKET, files_below(folder))
        with Proxy(url) as plain, Proxy(url) as slow:
            slow.delay = delay
            print(json.dumps([plain.url, slow.url]), flush=True)
            sys.stdin.read()


def extraction(data: str, url: str, networks: Path) -> float:
    """Extract into an empty store in a process of its own and give its seconds."""
    with tempfile.TemporaryDirectory() as cache:
        (Path(cache) / "networks").symlink_to(networks)
        command = [str(Path(sys.executable).with_name("tlfeat")), "extract", data, "--quiet"]
        environment = {**os.environ, **settings_of(url), "TLFEAT_CACHE": cache}
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.folder, args.delay)
        return
    command = [sys.executable, __file__, str(args.folder), "--serve", "--delay", str(args.delay)]
    seconds: dict[str, list[float]] = {"folder": [], "server": [], "slow server": []}
    with (
        tempfile.TemporaryDirectory() as networks,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        plain, slow = json.loads(server.stdout.readline())
        extraction(str(args.folder), plain, Path(networks))  # exports the network
        for _ in range(args.rounds):
            for name, data, url in (
                ("folder", str(args.folder), plain),
                ("server", f"s3://{BUCKET}", plain),
                ("slow server", f"s3://{BUCKET}", slow),
            ):
                seconds[name].append(extraction(data, url, Path(networks)))
        server.communicate("")
    for name, taken in seconds.items():
        each = ", ".join(f"{one:.1f}" for one in taken)
        print(f"{name:12} {statistics.median(taken):6.1f} s  ({each})")
    ratio = statistics.median(seconds["slow server"]) / statistics.median(seconds["server"])
    print(f"{1000 * args.delay:.0f} ms a request: {ratio:.2f} times as long")


if __name__ == "__main__":
    main()
