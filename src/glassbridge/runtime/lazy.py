"""Attributes that are made when they are first asked for: of ten thousand owners few may need them."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

Owner = TypeVar("Owner")
T = TypeVar("T")


class Lazy(Generic[Owner, T]):
    """A decorator of the method that makes the attribute. Its owner has a slot of the same name after an underscore,
    which is None until then."""

    def __init__(self, make: Callable[[Owner], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type[Owner], name: str) -> None:
        self._slot = f"_{name}"

    @overload
    def __get__(self, one: None, owner: type[Owner]) -> Self: ...

    @overload
    def __get__(self, one: Owner, owner: type[Owner]) -> T: ...

    def __get__(self, one: Owner | None, owner: type[Owner]) -> Self | T:
        if one is None:
            return self
        made: T | None = getattr(one, self._slot)
        if made is None:
            made = self._make(one)
            setattr(one, self._slot, made)
        return made
