"""python -m ear_bare ROOM: the official SDK alone. Hears tracks and data packets; joins anew when the SDK says that
it is disconnected."""

import asyncio
import os
import sys

from ear_tap import RATE, Tap, room_token
from livekit import rtc

AGAIN_AFTER = 0.5


async def stay(name: str, tap: Tap) -> None:
    """One stay in the room; returns at its end."""
    room, over = rtc.Room(), asyncio.Event()
    listening: set[asyncio.Task[None]] = set()

    async def listen(track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            tap.heard(bytes(event.frame.data))

    room.on("track_subscribed", lambda track, *_: listening.add(asyncio.ensure_future(listen(track))))
    room.on("data_received", lambda packet: tap.heard(packet.data))
    room.on("disconnected", lambda _: over.set())
    try:
        await room.connect(os.environ["LIVEKIT_URL"], room_token(name, "ear"))
        print("ready", flush=True)
        await over.wait()
    except rtc.ConnectError as error:
        print("not joined:", error, flush=True)
    finally:
        for task in listening:
            task.cancel()
        await room.disconnect()


async def main() -> None:
    """Until killed."""
    name = sys.argv[1]
    tap = Tap(name)
    while True:
        await stay(name, tap)
        await asyncio.sleep(AGAIN_AFTER)


if __name__ == "__main__":
    asyncio.run(main())
