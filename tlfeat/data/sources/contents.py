"""What is in a tar file on a server, remembered, so that it is not fetched whole to be listed.

A tar file has no table of contents: whoever lists it passes over all of it. One that has not
changed since (by its stamp) is listed from a file of the cache. It is only ever a saving of time:
damaged or gone, the tar file is passed over again.
"""

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from tlfeat.data.sources.base import Stamp
from tlfeat.errors import TlfeatError
from tlfeat.files import mark_cache, write_bytes

FOLDER = "listings"
_FORMAT = 1  # raised when what was remembered must not be believed any more


def recall(cache: Path | None, stamp: Stamp | None) -> Any:
    """Give what was remembered of a file as it is now, or None."""
    if cache is None or stamp is None:
        return None
    try:
        said = json.loads(gzip.decompress(_path(cache, stamp).read_bytes()))
    except (OSError, ValueError, EOFError, zlib.error):
        return None
    known = isinstance(said, dict) and said.get("of") == _named(stamp)
    return said["contents"] if known and "contents" in said else None


def remember(cache: Path | None, stamp: Stamp | None, contents: Any) -> None:
    """Keep what a file holds, as JSON, for whoever lists it again."""
    if cache is None or stamp is None:
        return
    said = json.dumps({"of": _named(stamp), "contents": contents})
    try:
        mark_cache(cache)
        write_bytes(_path(cache, stamp), gzip.compress(said.encode(), 6))
    except (OSError, TlfeatError):  # a cache that cannot be written to is still read
        return


def _path(cache: Path, stamp: Stamp) -> Path:
    return cache / FOLDER / f"{hashlib.sha256(stamp.path).hexdigest()[:32]}.json.gz"


def _named(stamp: Stamp) -> list[Any]:
    return [_FORMAT, stamp.path.decode("utf-8", "surrogateescape"), *stamp[1:]]
