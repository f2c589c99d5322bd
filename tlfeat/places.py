"""Where the feature store and the reports are.

An explicit path beats the environment variable, which beats the working folder.
"""

import os
from pathlib import Path

from tlfeat.errors import TlfeatError


def cache_folder(path: str | Path | None = None) -> Path:
    """Give the folder of the feature store: `path`, else $TLFEAT_CACHE, else ./cache."""
    return Path(path or os.environ.get("TLFEAT_CACHE") or "cache")


def reports_folder(path: str | Path | None = None) -> Path:
    """Give the folder of the reports: `path`, else $TLFEAT_REPORTS, else ./reports.

    Raises
    ------
    TlfeatError
        If its name is not UTF-8: neither Parquet nor TensorFlow writes there.
    """
    folder = Path(path or os.environ.get("TLFEAT_REPORTS") or "reports")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise TlfeatError(
            f"Reports cannot be written to {str(folder)!r}: its name is not UTF-8; choose "
            "another folder with --reports or TLFEAT_REPORTS."
        ) from None
    return folder
