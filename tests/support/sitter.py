"""A program that sits in a room and prints what happens there, one JSON object a line: to be frozen, or killed.

python -m tests.support.sitter own|sdk URL TOKEN '{"loop_gap": 2.0}'
"""

import asyncio
import json
import sys
from time import monotonic

import structlog

from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import Closed, ConnectOptions, Packet
from tests.support.participants import Recorder


class Teller(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    def on_packet(self, packet: Packet) -> None:
        tell(packet=packet.payload.decode())

    def on_closed(self, closed: Closed) -> None:
        super().on_closed(closed)
        tell(closed=closed.reason.code, detail=closed.detail)
        self.ended.set()


def tell(**what: str) -> None:
    print(json.dumps(what | {"t": monotonic()}), flush=True)


async def main(kind: str, url: str, pass_: str, options: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    ears = Teller()
    join = connector("own" if kind == "own" else "sdk")
    place = await join(url, pass_, ears, ConnectOptions(**json.loads(options)))
    tell(joined=place.sid)
    await ears.ended.wait()
    await place.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
