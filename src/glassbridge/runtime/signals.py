"""SIGTERM and SIGINT as one event on the loop: the first asks the program to stop, a second ends it at once.
SIGHUP asks a service to read anew what it can; it stops a program of a terminal."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Final

import structlog

log = structlog.get_logger()

STOPPING = (signal.SIGTERM, signal.SIGINT)
ECHO = 0.1
"""Seconds in which a second signal is the echo of the first: Ctrl-C reaches a child between fork and exec too, which
still writes into our own wake-up descriptor."""


Reload = Callable[[], str]
"""Reads one thing anew; returns what it is now, for the log, without secrets. Raises ValueError or OSError: the former
stays."""
RELOADS: Final[dict[str, Reload]] = {}
"""What this process reads anew on SIGHUP, by name; whoever owns such a thing adds it."""


@contextmanager
def reload_on_hangup(reloads: Mapping[str, Reload] = RELOADS) -> Iterator[None]:
    """SIGHUP reads anew what can be, and never ends the program meanwhile. Main thread only."""
    loop = asyncio.get_running_loop()

    def reload() -> None:
        if not reloads:
            log.warning(
                "SIGHUP ignored", cause="this program reads nothing anew", action="restart it to change settings"
            )
        for name, read in list(reloads.items()):
            try:
                log.info("setting reloaded", setting=name, value=read())
            except (OSError, ValueError) as error:
                log.warning("setting not reloaded", setting=name, error=str(error), action="keep the former one")

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # not while it stops either


@contextmanager
def stop_on_signals(*, hangup: bool = False) -> Iterator[asyncio.Event]:
    """Gives the event that the first signal sets; the handlers are gone at the end. Main thread only.

    `hangup`: the end of the terminal stops the program too.
    """
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

    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    numbers = (*STOPPING, signal.SIGHUP) if hangup and not under_nohup else STOPPING
    for number in numbers:
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
