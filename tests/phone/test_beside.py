"""The second socket: opened while it is wanted, given up when it is not, never in the way of the first."""

import asyncio
from collections.abc import Callable

import pytest

from glassbridge.phone import beside
from glassbridge.phone.beside import keep_beside
from glassbridge.phone.socket import CloudSocket, Unreachable
from glassbridge.wire.close_codes import CloseCode
from tests.support.poll import eventually


class Socket:
    """Open until it vanishes or `end` is called."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.vanished = False

    async def listen(self, _on_message: Callable[..., object]) -> int:
        await self.over.wait()
        return CloseCode.ABNORMAL

    async def vanish(self) -> None:
        self.vanished = True
        self.over.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "AGAIN_AFTER", 0.01)
    monkeypatch.setattr(beside, "KEPT_FOR", 0.02)
    monkeypatch.setattr(beside, "OPEN_WITHIN", 0.1)


async def test_it_is_open_while_it_is_of_use() -> None:
    wanted, sockets, used = asyncio.Event(), list[Socket](), list[object]()
    trouble: list[Exception | None] = [Unreachable("no cloud answers", "timed out")]

    async def dial() -> CloudSocket:
        if trouble:
            error = trouble.pop()
            if error is not None:
                raise error
        sockets.append(Socket())
        return sockets[-1]  # type: ignore[return-value]

    keeping = asyncio.ensure_future(keep_beside(wanted, dial, used.append))
    try:
        await asyncio.sleep(0)
        assert not sockets
        wanted.set()
        await eventually(lambda: len(used) == 1 or f"used {used}")  # after one attempt in vain
        sockets[0].over.set()  # the network ends it
        await eventually(lambda: len(used) == 3 or f"used {used}")
        assert used == [sockets[0], None, sockets[1]]
        wanted.clear()
        await eventually(lambda: sockets[1].vanished or "it is kept")
        assert used[-1] is None
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert all(socket.over.is_set() for socket in sockets)


async def test_a_cloud_that_takes_none_is_not_asked() -> None:
    wanted, used, asked = asyncio.Event(), list[CloudSocket | None](), 0

    def dial() -> None:
        nonlocal asked
        asked += 1

    wanted.set()
    keeping = asyncio.ensure_future(keep_beside(wanted, dial, used.append))
    await eventually(lambda: asked > 2 or "it was asked once")
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert used == []
