"""A route's queue: in order, bounded by age and by count, and what waits can be taken back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from glassbridge.phone import lane
from glassbridge.phone.coding import Outgoing, merged
from glassbridge.phone.lane import Lane
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.audio_frames import CODING_OPUS, FrameNumber
from tests.support.poll import eventually


def frame(position: int) -> Outgoing:
    return Outgoing(FrameNumber(1, position, 0), position + 1, b"ab")


class Road:
    """Takes frames while it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.taken = 0
        self.results: list[tuple[int, bool]] = []

    async def take(self, _payload: bytes) -> bool:
        self.taken += 1
        await self.open.wait()
        return True

    def result(self, frame: Outgoing, done: bool) -> None:
        self.results.append((frame.number.position, done))


@asynccontextmanager
async def running(road: Road, max_age: float = 5.0) -> AsyncIterator[Lane]:
    built = Lane(road.take, road.result, lambda _, waited: waited <= max_age, monotonic)
    task = asyncio.create_task(built.run())
    try:
        yield built
    finally:
        await cancelled(task)


async def test_frames_go_in_order_and_the_lane_is_empty_after_them() -> None:
    road = Road()
    async with running(road) as built:
        for position in range(5):
            built.put(frame(position))
        await built.emptied()
    assert road.results == [(position, True) for position in range(5)]


async def test_what_nobody_wants_any_more_is_dropped_and_told() -> None:
    road = Road()
    road.open.clear()
    async with running(road, max_age=0.0) as built:
        built.put(frame(0))
        await eventually(lambda: road.results == [(0, False)])


async def test_a_blocked_route_keeps_a_bounded_number_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "MAX_WAITING", 3)
    road = Road()
    road.open.clear()
    async with running(road) as built:
        built.put(frame(0))
        await eventually(lambda: road.taken == 1)
        for position in range(1, 6):
            built.put(frame(position))
        assert road.results == [(1, False), (2, False)]
        road.open.set()
        await built.emptied()
    assert road.results[2:] == [(0, True), (3, True), (4, True), (5, True)]


async def test_what_waits_can_be_taken_back_but_not_what_is_being_sent() -> None:
    road = Road()
    road.open.clear()
    async with running(road) as built:
        for position in range(3):
            built.put(frame(position))
        await eventually(lambda: road.taken == 1)
        assert built.backlog(asyncio.get_running_loop().time() + 1) >= 0
        assert [waiting.number.position for waiting in built.take_back()] == [1, 2]
        road.open.set()
        await built.emptied()
    assert road.results == [(0, True)]


async def test_what_is_sent_again_goes_before_all_later_samples_that_wait() -> None:
    road = Road()
    road.open.clear()
    async with running(road) as built:
        built.put(frame(10))
        await eventually(lambda: road.taken == 1)
        for position in (11, 12, 3, 4):
            built.put(frame(position))
        road.open.set()
        await built.emptied()
    assert [position for position, _ in road.results] == [10, 3, 4, 11, 12]


def test_what_is_sent_again_hides_no_backlog() -> None:
    now = [100.0]
    built = Lane(Road().take, lambda *_: None, lambda *_: True, lambda: now[0])
    built.put(frame(10))
    now[0] += 3.0
    built.put(frame(3))
    assert built.backlog(now[0]) == 3.0


async def test_what_a_route_does_not_take_yet_lets_earlier_samples_pass_and_can_be_taken_back() -> None:
    road = Road()
    built = Lane(road.take, road.result, lambda *_: True, monotonic, takes=lambda frame, _: frame.number.position < 5)
    task = asyncio.create_task(built.run())
    try:
        built.put(frame(7))
        built.put(frame(9))
        await asyncio.sleep(0)
        built.put(frame(3))
        await eventually(lambda: road.results == [(3, True)] or str(road.results))
        assert built.backlog(monotonic() + 1.0) > 1.0
        assert [waits.number.position for waits in built.take_back()] == [7, 9]
        await built.emptied()
    finally:
        await cancelled(task)


async def test_what_nobody_wants_any_more_does_not_wait_for_a_route_that_takes_nothing() -> None:
    road = Road()
    built = Lane(road.take, road.result, lambda *_: False, monotonic, takes=lambda *_: False)
    task = asyncio.create_task(built.run())
    try:
        built.put(frame(7))
        await eventually(lambda: road.results == [(7, False)] or str(road.results))
    finally:
        await cancelled(task)


async def test_what_comes_while_a_frame_lags_goes_with_it() -> None:
    sent = list[bytes]()

    async def take(payload: bytes) -> bool:
        sent.append(payload)
        return True

    built = Lane(take, lambda *_: None, lambda *_: True, monotonic)
    built.lag = 0.05
    first, second, far = (
        Outgoing(FrameNumber(1, at, 0, coding=CODING_OPUS), at + 320, packets=(b"opus",)) for at in (0, 320, 960)
    )
    for waiting in (first, second, far):
        built.put(waiting)
    task = asyncio.create_task(built.run())
    await built.emptied()
    await cancelled(task)
    assert sent == [merged([first, second])[0].encoded(), far.encoded()]
