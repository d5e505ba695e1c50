"""Between which bytes a frame may be put: judged by a stream that aiohttp's own writer made."""

import random

import pytest
from aiohttp import WSMsgType
from aiohttp.http_websocket import WebSocketWriter

from glassbridge.livekit.websocket_edges import MASKED_PING, FrameEdges


class Wire:
    """Takes what a WebSocketWriter writes."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.frames.append(data)

    def is_closing(self) -> bool:
        return False


class Protocol:
    """What the writer needs of a protocol."""

    async def _drain_helper(self) -> None: ...


async def frames(*payloads: bytes, masked: bool = True) -> list[bytes]:
    """One byte string for each."""
    whole = []
    for payload in payloads:
        wire = Wire()
        writer = WebSocketWriter(Protocol(), wire, use_mask=masked)  # type: ignore[arg-type]
        await writer.send_frame(payload, WSMsgType.BINARY)
        whole.append(b"".join(wire.frames))
    return whole


@pytest.mark.parametrize("masked", [True, False])
async def test_the_edges_are_those_of_the_frames_however_they_are_cut(masked: bool) -> None:
    sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000, 0, 3]
    sent = await frames(*(b"\x81" * size for size in sizes), masked=masked)
    ends = {0}
    for frame in sent:
        ends.add(max(ends) + len(frame))
    stream, seed = b"".join(sent), random.randrange(1 << 32)
    chance, edges, at = random.Random(seed), FrameEdges(), 0
    while at < len(stream):
        assert edges.between == (at in ends), f"at {at}, seed {seed}"
        step = chance.choice((1, 2, 3, 7, 130, 5_000))
        edges.passed(stream[at : at + step])
        at += step
    assert edges.between


def test_our_own_frame_is_whole() -> None:
    edges = FrameEdges()
    edges.passed(MASKED_PING)
    assert edges.between
