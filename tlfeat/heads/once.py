"""What is made once an object, by the first thread that asks.

`functools.cached_property` of Python 3.11 has one lock for all objects of a class: two folds could
not be made at the same time.
"""

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - used as a decorator, as `property` is
    """A property that is computed once; others that ask meanwhile wait for it.

    The object keeps what was made and its lock in its `__dict__`.

    Parameters
    ----------
    make : callable
        Of the object.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make, self.__doc__ = make, make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "once[T]": ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: object | None, kind: type) -> "once[T] | T":
        if owner is None:
            return self
        kept, name = vars(owner), self.make.__name__
        with kept.setdefault("once lock", RLock()):  # setdefault is atomic
            key = f"once {name}"
            if key not in kept:
                kept[key] = self.make(owner)
            made: T = kept[key]
            return made
