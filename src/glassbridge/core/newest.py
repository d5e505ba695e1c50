"""A list of the newest of what is appended. Empty it takes 80 bytes, where a deque takes 760: a session has many that
stay empty."""

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(list[T], Generic[T]):
    """Append to it; beyond `most` the oldest item goes."""

    __slots__ = ("most",)

    def __init__(self, most: int, items: Iterable[T] = ()) -> None:
        super().__init__(items)
        self.most = most
        del self[: max(0, len(self) - most)]

    def append(self, item: T) -> None:
        """Adds the newest."""
        super().append(item)
        if len(self) > self.most:
            del self[0]
