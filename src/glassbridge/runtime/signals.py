"""SIGTERM and SIGINT as one event on the loop: the first asks the program to stop, a second ends it at once."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

STOPPING = (signal.SIGTERM, signal.SIGINT)
ECHO = 0.1
"""Seconds in which a second signal is the echo of the first: Ctrl-C reaches a child between fork and exec too, which
still writes into our own wake-up descriptor."""


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """Gives the event that the first signal sets; the handlers are gone at the end. Main thread only."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    first_at = inf

    def asked(number: int) -> None:
        nonlocal first_at
        if not stop.is_set():
            first_at = loop.time()
            stop.set()
        elif loop.time() - first_at > ECHO:
            os._exit(128 + number)

    for number in STOPPING:
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
