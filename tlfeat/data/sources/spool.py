"""A compressed stream, unpacked to a temporary file that vanishes by itself."""

import shutil
import tempfile
from pathlib import Path
from typing import IO

from tlfeat.errors import DataError


def spool(stream: IO[bytes], size: int | None, source: Path) -> IO[bytes]:
    """Unpack a stream to a nameless temporary file, since nothing can be found in it otherwise.

    Raises
    ------
    DataError
        If there is no room for it, or the stream is damaged.
    """
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size is not None and size > free:
        raise DataError(
            f"{str(source)!r} unpacks to {size / 2**30:.1f} GiB, but {tempfile.gettempdir()} has "
            f"{free / 2**30:.1f} GiB free; unpack it elsewhere, or set TMPDIR."
        )
    file = tempfile.TemporaryFile(prefix="tlfeat-")  # noqa: SIM115 - handed to the caller
    try:
        shutil.copyfileobj(stream, file, 2**20)
        file.flush()
    except Exception as error:  # zlib, lzma, bz2 and the disk each have their own
        file.close()
        raise DataError(f"{str(source)!r} cannot be unpacked: {error}.") from error
    file.seek(0)
    return file
