"""A process full of phones that say nothing but a ping each second, for `glassbridge bench phones`.

    python -m glassbridge.lab.idle_phones

It reads one JSON configuration line on standard input, then commands, and answers in JSON lines. A phone here is a raw
WebSocket in 100 lines, so that ten of them cost less than one in the cloud that is measured.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final, cast
from urllib.parse import urlsplit

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.runtime.listen import raise_descriptor_limit

PING_EVERY: Final = 1.0
SLICES: Final = 50
"""Groups of phones whose pings are apart."""
ACK: Final = b"connection_ack"
TOKEN_TIME: Final = 3600.0


def masked(text: bytes) -> bytes:
    """A text frame of a client; the mask is zero, which the protocol allows."""
    assert len(text) < 126
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


PING: Final = masked(json.dumps({"type": "ping", "timestamp": "0", "every": PING_EVERY}).encode())


class IdlePhone(asyncio.Protocol):
    """One socket. `crowd` hears of its greeting, of its pongs, and of its end."""

    def __init__(self, crowd: "IdleCrowd", request: bytes) -> None:
        self._crowd = crowd
        self._request = request
        self.transport: asyncio.Transport | None = None
        self.here = False
        self.pinged_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.here:
            if ACK in data:
                self.here = True
                self._crowd.came(self)
        elif self.pinged_at:
            self._crowd.waited(monotonic() - self.pinged_at)
            self.pinged_at = 0.0

    def connection_lost(self, error: Exception | None) -> None:
        self._crowd.went(self)
        self.transport, self.here = None, False

    def ping(self, now: float) -> None:
        if self.here and self.transport is not None:
            self.pinged_at = self.pinged_at or now
            self.transport.write(PING)


class IdleCrowd:
    """All phones of this process."""

    def __init__(self, config: dict[str, Any]) -> None:
        where = urlsplit(config["url"])
        self._host, self._port = where.hostname, where.port
        self._secret = config["secret"]
        self._phones = [
            IdlePhone(self, self._handshake(number))
            for number in range(config["first"], config["first"] + config["phones"])
        ]
        self._here = 0
        self.longest = 0.0
        """Seconds that a pong took."""
        self.lost = 0
        """Sockets that the cloud closed."""
        self._waits_for = 0
        self._all_here = asyncio.Event()
        self._dropping = False

    def _handshake(self, number: int) -> bytes:
        token = mint_core_token(user_id(f"idle-{number}@example.org"), self._secret, TOKEN_TIME)
        return (
            f"GET /glasses-ws?audio=2&phone=idle-{number}&attempt=1 HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token}\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        ).encode()

    # ---- what its phones tell

    def came(self, phone: IdlePhone) -> None:
        self._here += 1
        phone.ping(monotonic())
        if self._here >= self._waits_for:
            self._all_here.set()

    def went(self, phone: IdlePhone) -> None:
        self._here -= phone.here
        self.lost += phone.here and not self._dropping

    def waited(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)

    # ---- what it is told

    async def connect(self, phones: list[IdlePhone], at_once: int) -> float:
        """Seconds until all are greeted."""
        begun = monotonic()
        self._waits_for = self._here + len(phones)
        self._all_here.clear()
        turns = asyncio.Semaphore(at_once)
        loop = asyncio.get_running_loop()

        async def one(phone: IdlePhone) -> None:
            async with turns:
                await loop.create_connection(lambda: phone, self._host, self._port)
                while at_once < len(phones) and not phone.here and phone.transport is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

        await asyncio.gather(*(one(phone) for phone in phones))
        await self._all_here.wait()
        return monotonic() - begun

    async def come(self) -> float:
        return await self.connect(self._phones, 50)

    async def come_back(self, count: int) -> float:
        """So many lose their sockets at once and connect again at once."""
        back = self._phones[:count]
        self._dropping = True
        for phone in back:
            if phone.transport is not None:
                phone.transport.abort()
        while any(phone.transport is not None for phone in back):  # noqa: ASYNC110 - they end in some milliseconds
            await asyncio.sleep(0.01)
        self._dropping = False
        return await self.connect(back, len(back))

    async def ping_on(self) -> None:
        """For ever; each phone once in PING_EVERY."""
        due = monotonic()
        for turn in _turns():
            now = monotonic()
            for phone in self._phones[turn::SLICES]:
                phone.ping(now)
            due += PING_EVERY / SLICES
            await asyncio.sleep(max(0.0, due - monotonic()))


def _turns() -> Iterator[int]:
    while True:
        yield from range(SLICES)


def tell(**message: Any) -> None:
    """One JSON line to the parent."""
    print(json.dumps(message), flush=True)


async def main() -> None:
    """Obeys standard input until it ends."""
    raise_descriptor_limit()
    commands = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    crowd = IdleCrowd(json.loads(await commands.readline()))
    pings = asyncio.create_task(crowd.ping_on())
    tell(event="ready")
    async for line in commands:
        match json.loads(line):
            case {"do": "come"}:
                tell(event="here", seconds=await crowd.come())
            case {"do": "come back", "phones": int(count)}:
                tell(event="back", seconds=await crowd.come_back(count))
            case {"do": "look"}:
                tell(event="looked", longest=crowd.longest, lost=crowd.lost)
                crowd.longest = 0.0
    pings.cancel()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
