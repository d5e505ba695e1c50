"""Sounds that apps make while they are heard (`createOutputStream` of the original's SDK 3): pieces come on the app's
socket, and a bridge fetches them as one sound that goes on until the app ends it.

The received part is kept until the stream is forgotten, so that a bridge that begins anew finds the beginning, too.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from glassbridge.runtime.world import World
from glassbridge.wire.rejections import Rejected, Rejection

ID_LENGTH: Final = 36
"""Bytes of the stream's id before each piece."""
MAX_STREAM: Final = 16 << 20
"""Bytes of one stream: 17 minutes of MP3 at 128 kbit/s."""
MAX_STREAMS: Final = 4
"""Of one app and user, at once."""
KEPT: Final = 60.0
"""Seconds after the end."""


@dataclass(slots=True)
class SoundStream:
    """One of them."""

    owner: object
    id: str
    data: bytearray = field(default_factory=bytearray)
    ended_at: float | None = None
    """Monotonic seconds."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Those that read go on."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def read(self) -> AsyncIterator[bytes]:
        """From the beginning to the end, as it comes; the reader needs a deadline of its own."""
        at = 0
        while True:
            if at < len(self.data):
                piece = bytes(self.data[at:])
                at += len(piece)
                yield piece
            elif self.ended_at is not None:
                return
            else:
                await self.changed.wait()


class Streams:
    """All of one cloud, of at most `most` bytes together. An owner is an app of a user."""

    def __init__(self, most: int, world: World) -> None:
        self._most = most
        self._clock = world.monotonic
        self._token = world.token
        self._streams: dict[str, SoundStream] = {}
        """By the name in their addresses, which only the app and its bridge are told."""

    def find(self, name: str) -> SoundStream | None:
        """The one at this address."""
        return self._streams.get(name)

    def open(self, owner: object, id_: str) -> str:
        """Its name: asked for again, the same. Raises Rejected."""
        self._forget()
        mine = {name: one for name, one in self._streams.items() if one.owner is owner and one.ended_at is None}
        for name, one in mine.items():
            if one.id == id_:
                return name
        if len(id_.encode()) != ID_LENGTH:
            raise Rejected(Rejection.STREAM_ID_WRONG, length=ID_LENGTH)
        if len(mine) >= MAX_STREAMS:
            raise Rejected(Rejection.STREAMS_TOO_MANY, most=MAX_STREAMS)
        name = self._token(16)
        self._streams[name] = SoundStream(owner, id_)
        return name

    def write(self, owner: object, piece: bytes) -> None:
        """A piece, after the id of its stream. One of a stream that has ended is late and counts for nothing. Raises
        Rejected: then the stream ends."""
        stream = self._of(owner, piece[:ID_LENGTH].decode(errors="replace"))
        if stream is None:
            if not any(one.owner is owner for one in self._streams.values()):
                raise Rejected(Rejection.STREAM_NOT_BEGUN)
            return
        data = memoryview(piece)[ID_LENGTH:]
        if len(stream.data) + len(data) > MAX_STREAM or self._bytes() + len(data) > self._most:
            self._end(stream)
            raise Rejected(Rejection.STREAM_TOO_LONG, most=MAX_STREAM >> 20, all=self._most >> 20)
        stream.data += data
        stream.wake()

    def end(self, owner: object, id_: str | None = None) -> None:
        """The app has said all of it; without an id: of all that it has."""
        for stream in self._streams.values():
            if stream.owner is owner and stream.ended_at is None and id_ in (None, stream.id):
                self._end(stream)
        self._forget()

    def _end(self, stream: SoundStream) -> None:
        stream.ended_at = self._clock()
        stream.wake()
        asyncio.get_running_loop().call_later(KEPT, self._forget)

    def _of(self, owner: object, id_: str) -> SoundStream | None:
        mine = (one for one in self._streams.values() if one.owner is owner and one.id == id_)
        return next((one for one in mine if one.ended_at is None), None)

    def _bytes(self) -> int:
        self._forget()
        return sum(len(one.data) for one in self._streams.values())

    def _forget(self) -> None:
        now = self._clock()
        gone = [name for name, one in self._streams.items() if one.ended_at is not None and now - one.ended_at >= KEPT]
        for name in gone:
            del self._streams[name]
