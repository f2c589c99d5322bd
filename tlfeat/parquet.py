"""One way to read a Parquet file: on the thread that asks.

Arrow reads on threads of its own, which it ends while the process ends; where they were at work
until then, the process is aborted at times ("terminate called without an active exception",
https://github.com/apache/arrow/issues/34314), after all is done. What is read here is read
quickly by one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa


def open_parquet(source: Path | BinaryIO) -> Any:
    """Open a Parquet file.

    Parameters
    ----------
    source : Path or binary file
        A path with a colon may be taken for a URI: give an absolute path, or an open file.

    Returns
    -------
    file : pyarrow.parquet.ParquetFile
        Give `use_threads=False` to what reads from it.

    Raises
    ------
    OSError, pyarrow.ArrowException
        If it cannot be read, or is no Parquet file.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(source, pre_buffer=False)  # which would be done by threads


def read_parquet(source: Path | BinaryIO, columns: Sequence[str] | None = None) -> "pa.Table":
    """Read a Parquet file, or columns of it; see `open_parquet`."""
    return open_parquet(source).read(columns=columns, use_threads=False)
