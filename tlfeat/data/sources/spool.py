"""What is packed: a stream that is unpacked to a temporary file, and how much is too much.

A file of some kilobytes can claim, or unpack to, more than any disk holds. Real pictures never
shrink so far, so what does is refused before it fills the disk, the memory or the day.
"""

import shutil
import tempfile
from pathlib import Path
from typing import IO

from tlfeat.errors import DataError

MOST_TIMES = 200  # its packed size: pictures of drawings in arrays come to about 50
FREE_BYTES = 2**30  # what may be packed as tightly as it likes
ROW_BYTES = 500  # that one picture takes in the list of them
_PIECE = 2**20


def refuse_bomb(source: Path | str, packed: int, unpacked: int) -> None:
    """Refuse what unpacks to more than 1 GiB and more than 200 times its size.

    Parameters
    ----------
    source : Path or str
        What the message names.
    packed, unpacked : int
        Bytes; `unpacked` may be those that came so far.

    Raises
    ------
    DataError
        If it is too much.
    """
    if unpacked > FREE_BYTES and unpacked > MOST_TIMES * packed:
        raise DataError(
            f"{str(source)!r} unpacks to more than {unpacked / 2**30:.0f} GiB, over {MOST_TIMES} "
            "times its size, as pictures never do: if it is meant to, give it unpacked."
        )


def spool(
    stream: IO[bytes], packed: IO[bytes] | None, size: int | None, source: Path | str
) -> IO[bytes]:
    """Unpack a stream to a nameless temporary file, since nothing can be found in it otherwise.

    Parameters
    ----------
    stream : file
        Gives the unpacked bytes.
    packed : file, optional
        What it reads from; how far it has come there is compared with what it gave.
    size : int, optional
        Bytes that come, where that is known.
    source : Path or str
        What messages name.

    Raises
    ------
    DataError
        If there is no room for it, it unpacks to too much, or the stream is damaged.
    """
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size is not None and size > free:
        raise DataError(
            f"{str(source)!r} unpacks to {size / 2**30:.1f} GiB, but {tempfile.gettempdir()} has "
            f"{free / 2**30:.1f} GiB free; unpack it elsewhere, or set TMPDIR."
        )
    file = tempfile.TemporaryFile(prefix="tlfeat-")  # noqa: SIM115 - handed to the caller
    try:
        while piece := stream.read(_PIECE):
            file.write(piece)
            if packed is not None:
                refuse_bomb(source, packed.tell(), file.tell())
        file.flush()
    except DataError:
        file.close()
        raise
    except Exception as error:  # zlib, lzma, bz2 and the disk each have their own
        file.close()
        raise DataError(f"{str(source)!r} cannot be unpacked: {error}.") from error
    file.seek(0)
    return file
