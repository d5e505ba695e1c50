"""The sockets beside the first: opened while it is wanted, given up when it is not, never in the way of the first."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from glassbridge.core.sending import Sending
from glassbridge.phone import beside
from glassbridge.phone.beside import SPARE_AFTER, Beside, SocketBeside, keep_beside
from glassbridge.phone.capture import Capture
from glassbridge.phone.coding import Outgoing
from glassbridge.phone.socket import CloudSocket, Unreachable
from glassbridge.runtime.tcp import RoundTrip
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


async def test_one_that_stands_by_gets_what_the_first_carries_in_vain() -> None:
    now, sent = 0.0, list[Outgoing]()
    capture = Capture(7, clock=lambda: round(now * 1e6))
    sending = Sending()
    sending.begin(reports=True, now=now)
    sending.judge(now, queued=0.0)
    sending.probed(None, now)
    second = Beside(capture, sending, never, lambda *_: True, lambda: now)
    first = SimpleNamespace(silent=0.0, trip=RoundTrip(0.05, 0.05))
    one, *more = second.sockets
    one.lane.put = lambda frame, copies=0: sent.append(frame)  # type: ignore[method-assign]

    def speak() -> None:
        nonlocal now
        now += 0.1
        capture.take(bytes(3_200))
        second.put([], first)  # type: ignore[arg-type]

    while now < SPARE_AFTER:
        assert not one.wanted.is_set()
        speak()
    speak()
    assert one.wanted.is_set()
    one.socket = Socket()  # type: ignore[assignment]
    for silent in (0.1, 0.2, 0.3, 0.4, 0.5):
        first.silent = silent
        speak()
    assert [(frame.number.position // 1_600, frame.stop // 1_600) for frame in sent] == [(30, 34), (34, 36)]
    assert not any(other.wanted.is_set() for other in more)
    second.put([], None)
    assert not one.wanted.is_set(), "a room carries again"


@pytest.mark.parametrize(("most", "carry"), [(1, 1), (3, 3)])
async def test_on_a_long_way_that_loses_as_many_carry_as_the_cloud_takes(most: int, carry: int) -> None:
    now, sent = 0.0, list[tuple[float, int, float]]()
    capture = Capture(7, clock=lambda: round(now * 1e6))
    sending = Sending()
    sending.begin(reports=True, now=now, trip=0.8)
    sending.judge(now, queued=0.0)
    sending.probed(None, now)
    besides = Beside(capture, sending, never, lambda *_: True, lambda: now)
    besides.most = most
    besides.open_first()
    assert [one.wanted.is_set() for one in besides.sockets] == [True, False, False]
    first = SimpleNamespace(silent=0.0, trip=RoundTrip(0.8, 0.8))
    for place, one in enumerate(besides.sockets[:most]):
        one.socket = Socket()  # type: ignore[assignment]

        def put(_frame: Outgoing, copies: int = 0, place: int = place, one: SocketBeside = one) -> None:
            sent.append((now, place, one.lane.lag))

        one.lane.put = put  # type: ignore[assignment, method-assign]
    frame = Outgoing(capture.take(bytes(3_200)).number, 1_600, packets=(b"opus",))
    besides.put([frame], first)  # type: ignore[arg-type]
    wanted = [one.wanted.is_set() for one in besides.sockets]
    assert wanted == [True, most > 1, False], "nothing was lost yet; one stands by"
    now = 1.0
    sending.repeated(3, now)
    besides.put([frame], first)  # type: ignore[arg-type]
    assert [one.wanted.is_set() for one in besides.sockets] == [True] * most + [False] * (3 - most)
    assert sent == [(0.0, 0, 0.12), *((1.0, place, (0.12, 0.24, 0.36)[place]) for place in range(carry))]


async def never(_socket: CloudSocket | None, _payload: bytes) -> bool:
    raise AssertionError


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
