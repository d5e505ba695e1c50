"""Ways for bytes: held, lost, reset and refused, to Unix sockets as to ports, in one direction or both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from glassbridge.lab.links import Address, ByteLink, Way
from tests.support.patience import deadline
from tests.support.poll import eventually

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
QUIET = 0.2
"""Seconds in which nothing may come through a way that is closed."""


class Echo:
    """Says back what it hears, and keeps it."""

    def __init__(self) -> None:
        self.heard = bytearray()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            self.heard += data
            writer.write(data)
        writer.close()


@asynccontextmanager
async def listening(kind: str, folder: Path, echo: Echo) -> AsyncIterator[Address]:
    if kind == "unix":
        path = folder / "echo.sock"
        async with await asyncio.start_unix_server(echo.serve, path):
            yield path
    else:
        async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
            yield int(server.sockets[0].getsockname()[1])


@pytest.fixture(params=["unix", "tcp"])
async def way(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ByteLink, Dial, Echo]]:
    echo = Echo()
    async with listening(request.param, tmp_path, echo) as back, ByteLink() as link:
        front = await link.to(back)
        assert isinstance(front, type(back))

        async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            if isinstance(front, Path):
                return await asyncio.open_unix_connection(front)
            return await asyncio.open_connection("127.0.0.1", front)

        yield link, dial, echo
    assert link.connections == set()


async def read(reader: asyncio.StreamReader) -> bytes:
    async with deadline(5):
        return await reader.read(100)


async def ends(reader: asyncio.StreamReader) -> None:
    """With a goodbye or with a reset."""
    try:
        rest = await read(reader)
    except ConnectionError:
        rest = b""
    assert rest == b""


async def test_what_was_held_comes_when_healed(way: tuple[ByteLink, Dial, Echo]) -> None:
    link, dial, echo = way
    reader, writer = await dial()
    writer.write(b"one")
    assert await read(reader) == b"one"
    link.hold(Way.DOWN)
    writer.write(b"two")
    await eventually(lambda: echo.heard == b"onetwo" or f"heard {bytes(echo.heard)!r}")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET):
            await reader.read(100)
    link.heal()
    assert await read(reader) == b"two"
    writer.close()


async def test_what_was_lost_costs_the_connection(way: tuple[ByteLink, Dial, Echo]) -> None:
    link, dial, echo = way
    reader, writer = await dial()
    writer.write(b"one")
    assert await read(reader) == b"one"
    link.drop(Way.UP)
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET):
            await reader.read(100)
    link.heal()
    await ends(reader)
    assert echo.heard == b"one"
    writer.close()


async def test_refused_connections_are_reset_until_healed(way: tuple[ByteLink, Dial, Echo]) -> None:
    link, dial, _ = way
    link.refuse()
    reader, writer = await dial()
    await ends(reader)
    writer.close()
    link.heal()
    reader, writer = await dial()
    writer.write(b"two")
    assert await read(reader) == b"two"
    writer.close()


async def test_a_cut_way_lets_new_connections_through(way: tuple[ByteLink, Dial, Echo]) -> None:
    link, dial, _ = way
    reader, writer = await dial()
    writer.write(b"one")
    assert await read(reader) == b"one"
    link.cut()
    await ends(reader)
    reader, again = await dial()
    again.write(b"two")
    assert await read(reader) == b"two"
    for one in (writer, again):
        one.close()


async def test_nobody_behind_the_way_is_a_reset(tmp_path: Path) -> None:
    async with ByteLink() as link:
        front = await link.to(tmp_path / "nobody.sock")
        assert isinstance(front, Path)
        reader, writer = await asyncio.open_unix_connection(front)
        await ends(reader)
        writer.close()
