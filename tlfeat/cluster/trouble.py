"""What goes wrong on a cluster, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tlfeat.errors import ClusterError, TlfeatError, first_line


@contextmanager
def errors_as_ours(ray: Any) -> Iterator[None]:
    """Raise what a worker raised, as if it had been raised here; say so where the cluster fails.

    A defect of tlfeat keeps its own traceback.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        for cause in _causes(error):
            if isinstance(cause, TlfeatError) and not isinstance(cause, ray.exceptions.RayError):
                raise cause from error
        if isinstance(error, ray.exceptions.RayTaskError):
            raise
        raise _failed(error) from error
    except (ConnectionError, RuntimeError) as error:
        if ray.is_initialized() and not isinstance(error, ConnectionError):
            raise
        raise _failed(error) from error


def _failed(error: Exception) -> ClusterError:
    return ClusterError(
        f"The Ray cluster failed: {first_line(error).rstrip('.')}. What is finished is kept: the "
        "same command goes on from there."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it came from, the outermost first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = getattr(cause, "cause", None) or cause.__cause__
