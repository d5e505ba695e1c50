"""Connections and questions over them, from within a program's own coroutines."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from glassbridge.lab.sim.net import Connection, Link

A = TypeVar("A")


async def dial(link: Link, end: int, within: float | None = None) -> Connection | None:
    """A connection from this end; None: there is none. Asked for once, or as runtime/tcp.py does it.
    When cancelled, nothing is left behind."""
    opened: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()

    def found(connection: Connection | None) -> None:
        if not opened.done():
            opened.set_result(connection)
        elif connection is not None:
            connection.close(end)

    def failed(_refused: bool) -> None:
        found(None)

    if within is None:
        link.dial_often(end, found, failed, lambda: not opened.done())
    else:
        link.dial(end, within, found, failed)
    try:
        return await opened
    except asyncio.CancelledError:
        if opened.done() and not opened.cancelled() and (late := opened.result()) is not None:
            late.close(end)
        raise


async def ask(link: Link, end: int, read: Callable[[], A], within: float | None = None) -> A | None:
    """What `read` gives at the other end; None: no answer came, or the connection broke. Safe to cancel."""
    connection = await dial(link, end, within)
    if connection is None:
        return None
    answered: asyncio.Future[A | None] = asyncio.get_running_loop().create_future()

    def answer(what: A | None) -> None:
        if not answered.done():
            answered.set_result(what)

    def serve() -> None:
        connection.send(1 - end, answer, read())

    connection.on_close[end] = lambda _code: answer(None)
    connection.send(end, serve)
    try:
        return await answered
    finally:
        connection.close(end)
