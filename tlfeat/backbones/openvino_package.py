"""Bring in OpenVINO so that it opens no connection, and say which versions there are."""

import contextlib
import importlib.metadata
import sys
from typing import Any

from tlfeat.errors import NetworkError


class CannotExportError(NetworkError):
    """A network that OpenVINO cannot take, or not with the same numbers."""


def import_openvino() -> Any:
    """Import OpenVINO so that it opens no connection.

    It reports its import and every conversion over the network when its telemetry package can
    be imported; without it, it falls back to a stub of its own.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise CannotExportError(f"OpenVINO cannot be imported ({error})") from error
    return openvino


def versions(*packages: str) -> dict[str, str]:
    """Give the versions of packages without importing them."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
