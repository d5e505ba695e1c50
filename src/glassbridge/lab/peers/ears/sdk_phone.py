"""python -m sdk_phone ROOM track|data CLIP: a phone that is nothing but the official SDK. Speaks a clip once, by a
track or by lossy data packets of 100 ms; joins anew when the SDK says that it is disconnected.

JSON lines on standard output, with `t_ns` of CLOCK_MONOTONIC: `begun` with the first sample, `room` on change, `done`.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

from ear_tap import RATE, room_token
from livekit import rtc

PIECE = 0.1
AGAIN_AFTER = 0.5
WAIT_FOR_EAR = 60.0
PATIENCE = 0.5
"""Seconds that the SDK may take a piece; what it does not take is lost."""
SETTLE = 3.0


def tell(event: str, **fields: Any) -> None:
    """One JSON line to the benchmark."""
    print(json.dumps({"event": event, **fields, "t_ns": monotonic_ns()}), flush=True)


class SdkPhone:
    """In its room as often as it can."""

    def __init__(self, name: str, way: str) -> None:
        self._name = name
        self._way = way
        self._room: rtc.Room | None = None
        self._source: rtc.AudioSource | None = None
        self.ear = asyncio.Event()
        """Somebody listens."""

    async def stay(self) -> None:
        """One stay in the room; returns at its end."""
        room, over = rtc.Room(), asyncio.Event()
        room.on("disconnected", lambda _: over.set())
        room.on("reconnecting", lambda: tell("room", state="reconnecting"))
        room.on("reconnected", lambda: tell("room", state="reconnected"))
        room.on("local_track_subscribed", lambda *_: self.ear.set())
        if self._way == "data":
            room.on("participant_connected", lambda _: self.ear.set())
        try:
            await room.connect(os.environ["LIVEKIT_URL"], room_token(self._name, "phone"))
            source = None
            if self._way == "track":
                source = rtc.AudioSource(RATE, 1)
                track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
                options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
                await room.local_participant.publish_track(track, options)
            elif room.remote_participants:
                self.ear.set()
            self._room, self._source = room, source
            tell("room", state="joined")
            await over.wait()
        except rtc.ConnectError:
            tell("room", state="failed")
        self._room = self._source = None
        tell("room", state="left")
        await room.disconnect()

    async def stay_again(self) -> None:
        """Until cancelled."""
        while True:
            await self.stay()
            await asyncio.sleep(AGAIN_AFTER)

    async def _say(self, pcm: bytes) -> None:
        room, source = self._room, self._source
        async with asyncio.timeout(PATIENCE):
            if source is not None:
                await source.capture_frame(rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2))
            elif room is not None and self._way == "data":
                await room.local_participant.publish_data(pcm, reliable=False)

    async def speak(self, clip: bytes) -> None:
        """In real time."""
        size = round(PIECE * RATE) * 2
        begun, saying = monotonic(), set()

        def said(task: asyncio.Task[None]) -> None:
            """What the SDK did not take is lost, as a microphone's samples are: its exceptions say no more."""
            saying.discard(task)
            if not task.cancelled():
                task.exception()

        tell("begun")
        for at in range(0, len(clip), size):
            piece = clip[at : at + size]
            await asyncio.sleep(max(0.0, begun + (at + len(piece)) / 2 / RATE - monotonic()))
            task = asyncio.ensure_future(self._say(piece))
            saying.add(task)
            task.add_done_callback(said)


async def main() -> None:
    """As the module's docstring says."""
    name, way, clip = sys.argv[1:]
    phone = SdkPhone(name, way)
    staying = asyncio.ensure_future(phone.stay_again())
    try:
        async with asyncio.timeout(WAIT_FOR_EAR):
            await phone.ear.wait()
        await phone.speak(await asyncio.to_thread(Path(clip).read_bytes))
        await asyncio.sleep(SETTLE)
        tell("done")
    except TimeoutError:
        tell("unheard")
    finally:
        staying.cancel()


if __name__ == "__main__":
    asyncio.run(main())
