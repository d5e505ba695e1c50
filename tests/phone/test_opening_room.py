"""A phone that is in its room before the room's channels are open."""

import asyncio
from time import monotonic
from typing import cast

import pytest

from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.room import Room
from glassbridge.phone.sender import Sender
from glassbridge.wire.phone import ConnectionAck
from tests.support.poll import eventually


class _Opening:
    """A room that takes nothing yet."""

    joined = True
    has_track = False
    silent = 0.0
    flight = None

    def __init__(self) -> None:
        self.asked = 0

    async def send(self, _payload: bytes, _topic: str, *, timeout: float) -> bool:
        self.asked += 1
        return False


@pytest.mark.parametrize(("speaks", "level"), [(False, "guarded"), (True, "narrow")])
async def test_presence_that_waits_for_the_channels_is_no_full_link(speaks: bool, level: str) -> None:
    """On a round trip of 0.3 s they open 2 s after the join: audio was sent as on a link that is full from then on."""
    room, capture = _Opening(), Capture(1)
    sender = Sender(capture, cast(Room, room), Transport.DATA, lambda: True, monotonic, opus=True)
    sender.numbered = True
    sender.use(None, ConnectionAck(session_id="one", timestamp="", audio=2, codings=(1,)))

    def frame() -> Frame:
        return capture.take(bytes(100 * BYTES_PER_MS)) if speaks else capture.presence(microphone_on=True)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sender.run())
        sender.put(frame())
        await eventually(lambda: room.asked > 0 or "the room was not asked")
        await sender.flush()
        running.cancel()
    assert sender.level.name == level
