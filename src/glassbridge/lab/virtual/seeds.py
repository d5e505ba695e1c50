"""Many seeds, shared among processes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, TypeVar

SHARE: Final = 100
"""Seeds that a process is given at a time."""

T = TypeVar("T")


def in_shares(play: Callable[[range], T], first: int, count: int, processes: int) -> Iterator[T]:
    """What `play` returns for each share of the seeds, in order. With one process it is called in this one."""
    last = first + count
    shares = [range(start, min(start + SHARE, last)) for start in range(first, last, SHARE)]
    if processes == 1:
        yield from map(play, shares)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(play, shares)
