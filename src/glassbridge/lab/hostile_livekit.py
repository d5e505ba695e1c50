"""Servers that a bridge is sent to as if they were LiveKit, and that answer what no LiveKit does: A14's other side."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from typing import Final

from livekit.protocol import models, rtc

from glassbridge.core.values import UserId, agent_identity
from glassbridge.livekit.signal import encode_response
from glassbridge.runtime.tasks import TaskGroup

MUCH: Final = 64 << 20
"""Bytes that a server sends at most, where the other side lets it."""
PIECE: Final = 64 << 10
_STATUS = b"HTTP/1.1 101 Switching Protocols\r\n"
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Answer = Callable[[bytes, str], AsyncIterator[bytes]]
"""What is sent after the request, whose Sec-WebSocket-Accept is given, and the room that it is about."""


async def serve(ports: Mapping[str, int], seconds: float) -> dict[str, int]:
    """One server for each mode; run by the attacker. Returns how many bytes were taken from each."""
    async with serving(ports) as sent:
        await asyncio.sleep(seconds)
    return sent


@asynccontextmanager
async def serving(ports: Mapping[str, int]) -> AsyncIterator[dict[str, int]]:
    """One server for each mode; gives how many bytes were taken from each so far."""
    sent, tasks = dict.fromkeys(ports, 0), TaskGroup("hostile LiveKit")

    async def answer(mode: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            async for data in MODES[mode](_accept(head), user_in(mode)):
                writer.write(data)
                await writer.drain()
                sent[mode] += len(data)

    def accepts(mode: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.spawn(answer(mode, reader, writer), mode)

        return accept

    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.close)
        for mode, port in ports.items():
            server = await asyncio.start_server(accepts(mode), "127.0.0.1", port)
            stack.callback(server.close)
        yield sent


def _accept(head: bytes) -> bytes:
    key = next(
        (line[18:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")), b""
    )
    return base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())


def _upgrade(accept: bytes) -> bytes:
    return _STATUS + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def frame(data: bytes, opcode: int = 2, *, final: bool = True) -> bytes:
    """As a server sends it."""
    head = bytes([(0x80 if final else 0) | opcode])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 1 << 16:
        return head + b"\x7e" + struct.pack(">H", len(data)) + data
    return head + b"\x7f" + struct.pack(">Q", len(data)) + data


def user_in(mode: str) -> str:
    """Whose room, named as the user, is asked for at this server."""
    return f"{mode}@example.org"


def _join(room: str, **fields: object) -> bytes:
    join = rtc.JoinResponse(
        room=models.Room(sid="RM_x", name=room),
        participant=models.ParticipantInfo(sid="PA_x", identity=agent_identity(UserId(room))),
        server_version="1.9.0",
        ping_timeout=15,
        ping_interval=5,
        subscriber_primary=True,
        **fields,  # type: ignore[arg-type]
    )
    return frame(encode_response(join=join))


async def _words(*parts: bytes, stays: float = 15.0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    await asyncio.sleep(stays)


async def _endless(head: bytes, piece: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    yield head
    for _ in range(MUCH // max(len(piece), 1)):
        yield piece
        await asyncio.sleep(pause)


def _upgraded(*frames: bytes) -> Answer:
    return lambda accept, _: _words(_upgrade(accept), *frames)


def _joined(*frames: bytes, **fields: object) -> Answer:
    return lambda accept, room: _words(_upgrade(accept), _join(room, **fields), *frames)


def _trickle(candidate: str) -> bytes:
    return frame(
        encode_response(trickle=rtc.TrickleRequest(candidateInit=candidate, target=rtc.SignalTarget.SUBSCRIBER))
    )


def _offer(sdp: str) -> bytes:
    return frame(encode_response(offer=rtc.SessionDescription(type="offer", sdp=sdp)))


def _crowd(accept: bytes, room: str) -> AsyncIterator[bytes]:
    people = [models.ParticipantInfo(sid=f"PA_{number}", identity=f"p{number}" * 8) for number in range(20_000)]
    return _words(_upgrade(accept), _join(room, other_participants=people))


def _huge_update(accept: bytes, room: str) -> AsyncIterator[bytes]:
    person = models.ParticipantInfo(sid="PA_x", identity="x", metadata="x" * (9 << 20))
    update = encode_response(update=rtc.ParticipantUpdate(participants=[person]))
    return _words(_upgrade(accept), _join(room), frame(update))


MODES: Final[Mapping[str, Answer]] = {
    "noise": lambda *_: _words(bytes(range(256)) * 256, stays=0.0),
    "silence": lambda *_: _words(),
    "endless-headers": lambda *_: _endless(_STATUS, b"X-More: and more of it\r\n" * 2_000),
    "slow-headers": lambda *_: _endless(_STATUS, b"X", 1.0),
    "endless-body": lambda *_: _endless(b"HTTP/1.1 500 Sorry\r\nContent-Length: 99999999999\r\n\r\n", bytes(PIECE)),
    "redirect": lambda *_: _words(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "no-websocket": lambda *_: _words(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "silent-socket": _upgraded(),
    "no-protobuf": _upgraded(frame(b"\xff" * 60_000)),
    "claims-4-eib": _upgraded(b"\x82\x7f\x3f\xff\xff\xff\xff\xff\xff\xff" + bytes(PIECE)),
    "endless-message": lambda accept, _: _endless(
        _upgrade(accept) + frame(b"x", final=False), frame(bytes(PIECE), 0, final=False)
    ),
    "deep-text": _upgraded(frame(b"[" * 100_000, 1)),
    "pings": lambda accept, _: _endless(_upgrade(accept), frame(b"ping", 9) * 500, 0.01),
    "close-5000": _upgraded(b"\x88\x02" + struct.pack(">H", 5_000)),
    "crowd": _crowd,
    "huge-update": _huge_update,
    "many-ice-servers": _joined(ice_servers=[rtc.ICEServer(urls=["stun:127.0.0.1:1"] * 10)] * 1_000),
    "deep-candidate": _joined(_trickle("[" * 100_000), _trickle('{"candidate": 5}'), _trickle("{" * 10)),
    "no-sdp": _joined(_offer("v=0\r\nm=" + "x" * 100_000)),
    "long-sdp": _joined(_offer("v=0\r\n" + "a=candidate:1 1 udp 1 127.0.0.1 1 typ host\r\n" * 20_000)),
    "leave": _upgraded(frame(encode_response(leave=rtc.LeaveRequest(reason=models.DisconnectReason.JOIN_FAILURE)))),
}
