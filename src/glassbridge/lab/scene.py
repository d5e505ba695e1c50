"""What there is to see of a running system: its parts, a meter on each hop, captions, and what happens; made from what
the programs print and what the bridge answers."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import grpc

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.lab.program import Line
from glassbridge.lab.sound import bytes_of, loudness
from glassbridge.lab.stack import Stack
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

POLL = 0.25
"""Seconds between two looks."""


@dataclass
class HopMeter:
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
    meters: dict[str, HopMeter] = field(
        default_factory=lambda: {name: HopMeter() for name in ("phone", "bridge", "cloud", "recogniser")}
    )
    audio: str = ""
    """What the phone was told about its audio."""
    told: str = ""
    """What a person would read on the phone."""
    captions: list[str] = field(default_factory=list)
    partial: str = ""
    """What is understood of the sentence that is being spoken."""
    happened: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    """The last events of all programs."""
    keys: str = ""
    """What can be pressed; empty where nothing can."""
    trouble: list[str] = field(default_factory=list)
    """The fault that is on, and what is known of it; then what became of the former ones."""


class View(Protocol):
    """Shows the demo while it runs."""

    def tell(self, text: str) -> None:
        """Something that happened, worth a line."""

    def show(self, scene: Scene) -> None:
        """How things stand; called several times a second."""


class Observer:
    """Keeps a scene up to date. `clip` is what the phone speaks, PCM."""

    def __init__(self, view: View, clip: bytes) -> None:
        self.scene = Scene()
        self.begun = monotonic()
        self.connected_at: float | None = None
        self.live_at: float | None = None
        self.summary: Mapping[str, Any] = {}
        """What the phone said at its end."""
        self._view = view
        self._clip = clip

    def show(self) -> None:
        """Shows how things stand."""
        self._view.show(self.scene)

    def tell(self, text: str) -> None:
        """Says what happened."""
        self._view.tell(text)

    def starting(self) -> None:
        """The programs are being started."""
        self.tell("starting LiveKit, bridge and cloud")
        self.scene.parts |= dict.fromkeys(("LiveKit", "bridge", "cloud"), "starting")
        self.show()

    def ready(self, stack: Stack) -> None:
        """They run."""
        self.part("LiveKit", f"{stack.livekit_kind}, {stack.livekit_url}")
        self.part("bridge", "ready")
        self.part("cloud", f"ready, {stack.cloud_url}")

    async def measure(self, bridge: LiveKitBridgeStub, user: UserId) -> None:
        """Asks the bridge when it last heard."""
        meter = self.scene.meters["bridge"]
        try:
            status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=user), timeout=POLL)
        except grpc.aio.AioRpcError:
            meter.level, meter.note = 0.0, "does not answer"
        else:
            age = status.last_audio_age_ms
            heard = status.connected and age >= 0
            meter.level = 1.0 if heard and age < 2 * POLL * 1000 else 0.0
            meter.note = f"last heard {age} ms ago" if heard else ""

    def part(self, name: str, state: str) -> None:
        """The state of a part, told when it is new."""
        if self.scene.parts[name] != state:
            self.scene.parts[name] = state
            self._view.tell(f"{name}: {state}")
            self.show()

    def on_line(self, line: Line) -> None:
        """A line that a program wrote."""
        said = line.fields
        event = said.get("event", "")
        if line.log:
            if said.get("level") in ("warning", "error", "critical"):
                self._view.tell(f"{line.program}: {event} {said.get('error', '')}".rstrip())
            self.scene.happened.append(f"{line.program}: {described(said) or line.text}")
        elif line.program == "phone" and event in _HEARERS:
            _HEARERS[event](self, said)

    def _on_socket(self, said: Mapping[str, Any]) -> None:
        if said["state"] == "open" and self.connected_at is None:
            self.connected_at = said["t"]
        self.part("phone", "connected" if said["state"] == "open" else said["state"])

    def _on_room(self, said: Mapping[str, Any]) -> None:
        if said["state"] == "joined":
            self.part("phone", "in the room")

    def _on_told(self, said: Mapping[str, Any]) -> None:
        self.scene.told = said["text"]

    def _on_audio_state(self, said: Mapping[str, Any]) -> None:
        if said["state"] == "live" and self.live_at is None:
            self.live_at = said["t"]
        self.scene.audio = f"{said['state']} {said['reason']}".rstrip()
        self._view.tell(f"audio: {self.scene.audio}")

    def _on_spoke(self, said: Mapping[str, Any]) -> None:
        meter, samples = self.scene.meters["phone"], said["samples"]
        meter.seconds = samples / SAMPLE_RATE
        heard_until = samples * BYTES_PER_SAMPLE % len(self._clip) or len(self._clip)  # it may be spoken in a loop
        meter.level = loudness(self._clip[max(0, heard_until - bytes_of(POLL)) : heard_until])
        meter.note = f"{said['frames']} frames"

    def _on_audio_ack(self, said: Mapping[str, Any]) -> None:
        meter, seconds = self.scene.meters["cloud"], said["position"] / SAMPLE_RATE
        meter.level = 1.0 if seconds > (meter.seconds or 0.0) else 0.0
        meter.seconds = seconds

    def _on_caption(self, said: Mapping[str, Any]) -> None:
        if said["final"]:
            self.scene.captions.append(said["text"])
            self.scene.partial = ""
            self._view.tell(f"caption: {said['text']}")
        else:
            self.scene.partial = said["text"]

    def _on_summary(self, said: Mapping[str, Any]) -> None:
        self.summary = said


_HEARERS: Mapping[str, Callable[[Observer, Mapping[str, Any]], None]] = {
    "socket": Observer._on_socket,
    "room": Observer._on_room,
    "told": Observer._on_told,
    "audio_state": Observer._on_audio_state,
    "spoke": Observer._on_spoke,
    "audio_ack": Observer._on_audio_ack,
    "caption": Observer._on_caption,
    "summary": Observer._on_summary,
}
"""What is done with each event of the phone."""


def described(said: Mapping[str, Any]) -> str:
    """A log line in short: its event, and what tells one from another."""
    telling = (said.get(key) for key in ("old", "new", "state", "code", "reason", "path", "error"))
    return " · ".join(str(word) for word in (said.get("event"), *telling) if word)
