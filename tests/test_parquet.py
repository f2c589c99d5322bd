"""Reading Parquet files, on one thread."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlfeat.parquet import read_parquet


def table(rows: int = 50) -> pa.Table:
    return pa.table({"id": [f"picture {i}" for i in range(rows)], "score": [0.5] * rows})


def test_what_is_read_is_what_pandas_reads(tmp_path):
    pq.write_table(table(), path := tmp_path / "some.parquet")
    with path.open("rb") as file:
        ours = read_parquet(file).to_pandas(use_threads=False)
    pd.testing.assert_frame_equal(ours, pd.read_parquet(path))
    assert read_parquet(path, ["score"]).column_names == ["score"]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to count threads in")
def test_reading_starts_no_thread(tmp_path):
    pq.write_table(table(), path := tmp_path / "some.parquet")
    code = (
        "import os, sys, pandas, pyarrow.compute, pyarrow.parquet\n"
        "from pathlib import Path\n"
        "from tlfeat.parquet import read_parquet\n"
        "before = set(os.listdir('/proc/self/task'))\n"
        "read_parquet(Path(sys.argv[1])).to_pandas(use_threads=False)\n"
        "print(len(set(os.listdir('/proc/self/task')) - before))\n"
        "pandas.read_parquet(sys.argv[1])\n"
        "print(len(set(os.listdir('/proc/self/task')) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    ours, theirs = map(int, done.stdout.split())
    assert ours == 0 < theirs
