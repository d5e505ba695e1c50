"""SIGTERM and SIGINT as one event on the loop: the first asks the program to stop, a second ends it at once."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """Gives the event that the first signal sets; the handlers are gone at the end. Main thread only."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in STOPPING:
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
