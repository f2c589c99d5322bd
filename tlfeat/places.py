"""Where the feature store and the reports are.

An explicit path beats the environment variable, which beats the working folder.
"""

import os
from pathlib import Path


def cache_folder(path: str | Path | None = None) -> Path:
    """Give the folder of the feature store: `path`, else $TLFEAT_CACHE, else ./cache."""
    return Path(path or os.environ.get("TLFEAT_CACHE") or "cache")


def reports_folder(path: str | Path | None = None) -> Path:
    """Give the folder of the reports: `path`, else $TLFEAT_REPORTS, else ./reports."""
    return Path(path or os.environ.get("TLFEAT_REPORTS") or "reports")
