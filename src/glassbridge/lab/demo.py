"""The demo: the whole system, a phone that speaks our clip, and a verdict on what arrived.

Figures come from the programs themselves: what the phone says it sent, how long ago the bridge heard (GetStatus), what
the cloud acknowledged, and the recording of what the recogniser was fed, which is compared with the clip bit for bit.
"""

import asyncio
import math
import random
import tempfile
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import grpc

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.lab import clips
from glassbridge.lab.program import Line, Program
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.phone import wav
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

FRAME_SAMPLES = SAMPLE_RATE // 10
WORDS_WANTED = 0.8
"""Share of the clip's words that must come back."""
POLL = 0.25
GIVE_UP = 120.0
_WAV_HEADER = 44


@dataclass
class Meter:
    """One hop of the audio."""

    seconds: float | None = None
    """Of audio that have passed; None where the hop does not count."""
    level: float = 0.0
    """Loudness of the newest audio, 0 to 1; where only its age is known, 1 while it is fresh."""
    note: str = ""


@dataclass
class Scene:
    """What there is to show."""

    parts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(("LiveKit", "bridge", "cloud", "phone"), "-"))
    meters: dict[str, Meter] = field(
        default_factory=lambda: {name: Meter() for name in ("phone", "bridge", "cloud", "recogniser")}
    )
    audio: str = ""
    """What the phone was told about its audio."""
    captions: list[str] = field(default_factory=list)
    partial: str = ""
    """What is understood of the sentence that is being spoken."""
    happened: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    """The last events of all programs."""


class View(Protocol):
    """Shows the demo while it runs."""

    def tell(self, text: str) -> None:
        """Something that happened, worth a line."""

    def show(self, scene: Scene) -> None:
        """How things stand; called several times a second."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    passed: bool
    line: str
    """For people, in one line."""


class Demo:
    """One run."""

    def __init__(self, config: StackConfig, view: View) -> None:
        self._view = view
        self._scene = Scene()
        self._clip = wav.load(clips.wav())
        self._begun = monotonic()
        self._connected_at: float | None = None
        self._live_at: float | None = None
        self._summary: Mapping[str, Any] = {}
        self._folder = Path()
        self._config = config

    async def run(self) -> Verdict:
        """Raises UserError when something does not start. When cancelled, everything is stopped first."""
        with tempfile.TemporaryDirectory(prefix="glassbridge-demo-") as folder:
            self._folder = Path(folder)
            self._view.tell("starting LiveKit, bridge and cloud")
            self._scene.parts |= dict.fromkeys(("LiveKit", "bridge", "cloud"), "starting")
            self._view.show(self._scene)
            stack = Stack(replace(self._config, record=self._folder), self._on_line, self._view.tell)
            async with stack:
                self._part("LiveKit", f"{stack.livekit_kind}, {stack.livekit_url}")
                self._part("bridge", "ready")
                self._part("cloud", f"ready, {stack.cloud_url}")
                user = UserId(f"demo-{random.randrange(16**6):06x}")  # noqa: S311 - a name of its own, no secret
                phone = await stack.start_phone(user, "--wav", str(clips.wav()))
                failure = await self._follow(stack, phone, user)
            return self._judge(failure)

    async def _follow(self, stack: Stack, phone: Program, user: UserId) -> str:
        """Until the phone has ended; returns why it failed, empty when it did not."""
        ended = asyncio.create_task(phone.wait())
        target = f"unix:{stack.bridge_socket}"
        try:
            async with asyncio.timeout(GIVE_UP), grpc.aio.insecure_channel(target) as channel:
                bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
                while not ended.done():
                    await self._measure(bridge, user)
                    self._view.show(self._scene)
                    await asyncio.wait((ended,), timeout=POLL)
        except TimeoutError:
            return f"the phone did not end within {GIVE_UP:.0f} s"
        finally:
            await cancelled(ended)
        self._part("phone", "done" if phone.returncode == 0 else "failed")
        self._view.show(self._scene)
        return "" if phone.returncode == 0 else phone.last_words

    # ---- what is seen

    async def _measure(self, bridge: LiveKitBridgeStub, user: UserId) -> None:
        meters = self._scene.meters
        try:
            status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=user), timeout=POLL)
        except grpc.aio.AioRpcError:
            meters["bridge"].note = "does not answer"
        else:
            age = status.last_audio_age_ms
            heard = status.connected and age >= 0
            meters["bridge"].level = 1.0 if heard and age < 2 * POLL * 1000 else 0.0
            meters["bridge"].note = f"last heard {age} ms ago" if heard else ""
        recorded = self._recorded()
        meters["recogniser"].seconds = len(recorded) / BYTES_PER_SAMPLE / SAMPLE_RATE
        meters["recogniser"].level = loudness(recorded[-_bytes(POLL) :])

    def _recorded(self) -> bytes:
        return b"".join(path.read_bytes()[_WAV_HEADER:] for path in sorted(self._folder.glob("*.wav")))

    def _part(self, name: str, state: str) -> None:
        if self._scene.parts[name] != state:
            self._scene.parts[name] = state
            self._view.tell(f"{name}: {state}")
            self._view.show(self._scene)

    def _on_line(self, line: Line) -> None:
        said = line.fields
        event = said.get("event", "")
        if line.log:
            if said.get("level") in ("warning", "error", "critical"):
                self._view.tell(f"{line.program}: {event} {said.get('error', '')}".rstrip())
            self._scene.happened.append(f"{line.program}: {_described(said) or line.text}")
        elif line.program == "phone" and event in _HEARERS:
            _HEARERS[event](self, said)

    def _on_socket(self, said: Mapping[str, Any]) -> None:
        if said["state"] == "open" and self._connected_at is None:
            self._connected_at = said["t"]
        self._part("phone", "connected" if said["state"] == "open" else said["state"])

    def _on_room(self, said: Mapping[str, Any]) -> None:
        if said["state"] == "joined":
            self._part("phone", "in the room")

    def _on_audio_state(self, said: Mapping[str, Any]) -> None:
        if said["state"] == "live" and self._live_at is None:
            self._live_at = said["t"]
        self._scene.audio = f"{said['state']} {said['reason']}".rstrip()
        self._view.tell(f"audio: {self._scene.audio}")

    def _on_spoke(self, said: Mapping[str, Any]) -> None:
        meter, samples = self._scene.meters["phone"], said["samples"]
        meter.seconds = samples / SAMPLE_RATE
        heard_until = samples * BYTES_PER_SAMPLE
        meter.level = loudness(self._clip[max(0, heard_until - _bytes(POLL)) : heard_until])
        meter.note = f"{said['frames']} frames"

    def _on_audio_ack(self, said: Mapping[str, Any]) -> None:
        meter, seconds = self._scene.meters["cloud"], said["position"] / SAMPLE_RATE
        meter.level = 1.0 if seconds > (meter.seconds or 0.0) else 0.0
        meter.seconds = seconds

    def _on_caption(self, said: Mapping[str, Any]) -> None:
        if said["final"]:
            self._scene.captions.append(said["text"])
            self._scene.partial = ""
            self._view.tell(f"caption: {said['text']}")
        else:
            self._scene.partial = said["text"]

    def _on_summary(self, said: Mapping[str, Any]) -> None:
        self._summary = said

    # ---- what came of it

    def _judge(self, failure: str) -> Verdict:
        recorded = self._recorded()
        sent = sum(self._summary.get("frames", {}).values())
        received = math.ceil(len(recorded) / BYTES_PER_SAMPLE / FRAME_SAMPLES)
        text = " ".join(self._scene.captions)
        spoken = clips.words()
        found = words_found(spoken, text.split())
        passed = not failure and received > 0 and found >= WORDS_WANTED * len(spoken)
        parts = [
            self._first_audio(),
            f"frames: {sent} sent, {received} received{', bit for bit' if recorded == self._clip else ''}, "
            f"{max(0, sent - received)} lost",
            f'{found} of {len(spoken)} words: "{text}"',
        ]
        if failure:
            parts.insert(0, failure)
        return Verdict(passed, f"{'PASSED' if passed else 'FAILED'}: {'; '.join(parts)}")

    def _first_audio(self) -> str:
        if self._live_at is None or self._connected_at is None:
            return "no audio arrived"
        after = self._live_at - self._connected_at
        return (
            f"first audio {after:.2f} s after the phone connected, {self._live_at - self._begun:.1f} s after the start"
        )


_HEARERS: Mapping[str, Callable[[Demo, Mapping[str, Any]], None]] = {
    "socket": Demo._on_socket,
    "room": Demo._on_room,
    "audio_state": Demo._on_audio_state,
    "spoke": Demo._on_spoke,
    "audio_ack": Demo._on_audio_ack,
    "caption": Demo._on_caption,
    "summary": Demo._on_summary,
}
"""What is done with each event of the phone."""


def _described(said: Mapping[str, Any]) -> str:
    """A log line in short: its event, and what tells one from another."""
    telling = (said.get(key) for key in ("old", "new", "state", "code", "reason", "path", "error"))
    return " · ".join(str(word) for word in (said.get("event"), *telling) if word)


def words_found(spoken: list[str], heard: list[str]) -> int:
    """How many of the spoken words were heard, in order."""
    return sum(block.size for block in SequenceMatcher(None, spoken, heard, autojunk=False).get_matching_blocks())


def loudness(pcm: bytes) -> float:
    """0 for silence under -60 dB, 1 for full scale."""
    samples = array("h", pcm)
    power = sum(sample * sample for sample in samples) / max(1, len(samples)) / 32768**2
    return min(1.0, max(0.0, 1 + math.log10(power) / 6)) if power else 0.0


def _bytes(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE) * BYTES_PER_SAMPLE
