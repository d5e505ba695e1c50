"""A child of the lab: one phone that speaks a clip once and tells when, for `glassbridge bench network`.

    python -m glassbridge.lab.network_phone CLOUD TRANSPORT PARTICIPANT CLIP FRAME_MS

The core token is in GLASSBRIDGE_TOKEN. JSON lines on standard output, with `t_ns` of CLOCK_MONOTONIC: `heard` when
the cloud
first says `live`, `begun` with the first sample, `spoken` after the last, `state` and `level` on change, `done`. It
ends when all is acknowledged, or PATIENCE seconds after the last sample.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.livekit.connectors import connector, drainer
from glassbridge.livekit.participant import ParticipantKind
from glassbridge.phone import events
from glassbridge.phone.client import PhoneClient
from glassbridge.phone.events import PhoneEvent
from glassbridge.telemetry.config import LogConfig
from glassbridge.telemetry.logs import configure

PATIENCE = 60.0
READY = 15.0


def tell(event: str, **fields: Any) -> None:
    """One JSON line to the lab."""
    print(json.dumps({"event": event, **fields, "t_ns": monotonic_ns()}), flush=True)


class SpeakingPhone:
    """Speaks once."""

    def __init__(self, cloud: str, transport: Transport, participant: ParticipantKind) -> None:
        self._live, self._over = asyncio.Event(), asyncio.Event()
        token = os.environ["GLASSBRIDGE_TOKEN"]
        self._phone = PhoneClient(cloud, token, self._on_event, transport=transport, connect=connector(participant))
        self._level = ""

    def _on_event(self, event: PhoneEvent) -> None:
        match event:
            case events.AudioStateChanged(state=state, code=code, hop=hop):
                tell("state", state=state, code=code, hop=hop)
                if state == "live":
                    self._live.set()
            case events.Told(situation=situation, text=text):
                tell("told", situation=situation, text=text)
            case events.SpeechEnded():
                tell("speech_end")
                self._over.set()
            case events.SocketChanged(state=state) | events.RoomChanged(state=state):
                tell("socket" if isinstance(event, events.SocketChanged) else "room", state=state)

    async def run(self, clip: bytes, frame_ms: int) -> None:
        """Speaks the clip in real time."""
        async with self._phone as phone:
            try:
                async with asyncio.timeout(READY):
                    await self._live.wait()
            except TimeoutError:
                tell("unheard")
            await phone.voice(True)
            begun, size = monotonic(), frame_ms * BYTES_PER_MS
            tell("begun")
            for at in range(0, len(clip), size):
                piece = clip[at : at + size]
                due = begun + (at + len(piece)) / BYTES_PER_MS / 1000
                await asyncio.sleep(max(0.0, due - monotonic()))
                phone.speak(piece, last=at + size >= len(clip))
                if (level := phone.sender.level.name) != self._level:
                    self._level = level
                    tell("level", level=level)
            tell("spoken")
            await phone.flush()
            await phone.voice(False)
            await phone.microphone(False)
            await self._settled(phone)
            sent = {path.value: count for path, count in phone.sender.counts.sent.items()}
            capture = phone.capture
            tell("done", acknowledged=capture.acknowledged, samples=capture.position, lost=capture.lost,
                 sent=sent, replayed=phone.sender.counts.replayed, unsent=phone.sender.counts.unsent)  # fmt: skip

    async def _settled(self, phone: PhoneClient) -> None:
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            if (
                phone.numbered
                and phone.capture.acknowledged == phone.capture.position
                and self._over.is_set()
                and not phone.capture.lost
            ):
                return
            if not phone.numbered and monotonic() > deadline - PATIENCE + 3:
                return
            await asyncio.sleep(0.05)


async def main() -> None:
    """As the module's docstring says."""
    cloud, transport, participant, clip, frame_ms = sys.argv[1:]
    configure("phone", LogConfig(level=os.environ.get("GLASSBRIDGE_LOG_LEVEL", "warning")))
    kind: ParticipantKind = "sdk" if participant == "sdk" else "own"
    try:
        sound = await asyncio.to_thread(Path(clip).read_bytes)
        await SpeakingPhone(cloud, Transport(transport), kind).run(sound, int(frame_ms))
    finally:
        await drainer(kind)()


if __name__ == "__main__":
    asyncio.run(main())
