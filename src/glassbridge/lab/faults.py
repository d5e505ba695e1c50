"""Faults that last while a block runs, and are undone however it is left."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from glassbridge.lab.program import Program


def family(program: Program) -> list[int]:
    """Process ids of a program and of all that it has started, its own first."""
    root = psutil.Process(program.pid)
    return [root.pid, *(child.pid for child in root.children(recursive=True))]


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """The processes stand still, as on a machine asleep: what arrives meanwhile waits."""
    _send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pids, signal.SIGCONT)


def _send(pids: tuple[int, ...], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
