"""Which hop is dead? The answers that arrive within a second become one finding: the hop, its cause, the action.

Rules
- The neighbours of a hop decide, never its own word alone. If the bridge answers and hears the phone, the stream is
  dead; if it answers and hears nothing, the room service says which participant is missing.
- Nothing is rebuilt for a phone that answers nowhere: it may be with another backend by now, and a rejoin would take it
  from there.
- Only the dead hop is rebuilt. Only the phone can renew its place: it is asked to, and the bridge's place stays. A
  stream is not rebuilt without its place: a fresh join gives both within 20 ms, and nothing else cures a stalled one.
- If both sides are in the room and nothing passes, either may be deaf. The bridge's place is renewed first, as that
  costs least; if the fresh place hears nothing either, the phone is at fault.
- A missing answer is an answer: a peer that is silent for a second is suspect.
- Facts outrank recent audio. If the bridge or the room service reports that the phone is gone, it is gone; and a known
  hindrance of the phone's voice (core/voices.py) explains its silence.

It does not ask (cloud/examination.py does) and does not act (core/audio_link.py does).
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from glassbridge.core.voices import Hindrance

HEARS: Final = 1.5
"""Seconds since the phone's last frame within which a bridge counts as hearing it: presence comes each second."""


class Hop(Enum):
    """The parts of the way on which audio can die; the values are those of the wire."""

    PHONE = "phone"
    LIVEKIT = "livekit"
    BRIDGE = "bridge"
    STREAM = "stream"
    RECOGNISER = "recogniser"


class Action(Enum):
    """The action that follows a finding. The values are for the log."""

    WAIT = "wait"
    """The cloud cannot help: it looks again later."""
    ASK_PHONE = "ask_phone"
    """The phone is asked to join its room anew; the bridge's place stays."""
    REJOIN = "rejoin"
    """A fresh join of the bridge, at once the first time."""
    REJOIN_LATER = "rejoin_later"
    """A fresh join of the bridge after a wait: at once it would fail. Until then audio is welcome on the socket."""
    RESTART_CAPTURE = "restart_capture"
    """The phone is asked to start its capture anew; nothing else is rebuilt."""
    RESTART_RECOGNISER = "restart_recogniser"
    """Only the recogniser is started anew; audio goes on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A dead hop by name; without a hop it is no fault."""

    hop: Hop | None
    code: str
    """For programs."""
    text: str
    """For people."""
    action: Action


# ---- what was asked, and answered


@dataclass(frozen=True, slots=True)
class BridgeStatus:
    """The bridge's GetStatus. None: it does not tell, as the original's bridge."""

    in_room: bool
    """It holds this very place."""
    audio_age: float | None = None
    """Seconds since the phone's last frame or presence; None also when there was none yet."""
    phone_here: bool | None = None
    phone_publishes: bool | None = None
    hindered: "Finding | None" = None
    """What keeps the phone's voice from being heard there."""


@dataclass(frozen=True, slots=True)
class LiveKitStatus:
    """LiveKit's room service. It lists a participant that died for 21 s more."""

    agent_here: bool
    phone_here: bool
    phone_publishes: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """The answers; None if there was none within a second."""

    bridge: BridgeStatus | None = None
    livekit: LiveKitStatus | None = None
    phone_answers: bool = True
    """Something came by the phone's socket since it was pinged for this."""
    stream_age: float | None = None
    """Seconds since anything came by the audio stream, heartbeats too; None: nothing ever. For the log: a stream whose
    bridge lives ends by itself when heartbeats stay out."""


# ---- the observations that follow


class BridgeObservation(Enum):
    """The bridge, from its answer."""

    SILENT = "silent"
    OUT = "out"
    ALONE = "alone"
    """The phone is not there with it."""
    DEAF = "deaf"
    HEARING = "hearing"


class RoomObservation(Enum):
    """The room, from LiveKit's answer."""

    SILENT = "silent"
    WITHOUT_AGENT = "without_agent"
    WITHOUT_PHONE = "without_phone"
    COMPLETE = "complete"


def observe_bridge(evidence: Evidence) -> BridgeObservation:
    """The observation that the bridge's answer gives."""
    says = evidence.bridge
    if says is None:
        return BridgeObservation.SILENT
    if not says.in_room:
        return BridgeObservation.OUT
    if says.phone_here is False:
        return BridgeObservation.ALONE
    hears = says.audio_age is not None and says.audio_age < HEARS
    return BridgeObservation.HEARING if hears else BridgeObservation.DEAF


def observe_room(evidence: Evidence) -> RoomObservation:
    """The observation that LiveKit's answer gives."""
    says = evidence.livekit
    if says is None:
        return RoomObservation.SILENT
    if not says.agent_here:
        return RoomObservation.WITHOUT_AGENT
    return RoomObservation.COMPLETE if says.phone_here else RoomObservation.WITHOUT_PHONE


PHONE_UNREACHABLE: Final = Finding(Hop.PHONE, "phone_unreachable", "the phone does not answer", Action.WAIT)
PHONE_NOT_IN_ROOM: Final = Finding(
    Hop.PHONE, "phone_not_in_room", "the phone is not in its LiveKit room", Action.ASK_PHONE
)
PHONE_UNHEARD: Final = Finding(
    Hop.PHONE, "phone_unheard", "everything else works, but nothing comes from the phone", Action.ASK_PHONE
)
LIVEKIT_SILENT: Final = Finding(Hop.LIVEKIT, "livekit_silent", "LiveKit does not answer", Action.REJOIN_LATER)
ROOM_SILENT: Final = Finding(
    Hop.LIVEKIT, "room_silent", "phone and bridge are in the room, but no audio passes between them", Action.REJOIN
)
BRIDGE_SILENT: Final = Finding(Hop.BRIDGE, "bridge_silent", "the bridge does not answer", Action.REJOIN)
BRIDGE_NOT_IN_ROOM: Final = Finding(
    Hop.BRIDGE, "bridge_not_in_room", "the bridge is not in the room any more", Action.REJOIN
)
STREAM_SILENT: Final = Finding(
    Hop.STREAM, "stream_silent", "the bridge hears the phone, but its stream to the cloud is silent", Action.REJOIN
)
RECOGNISER_FAILED: Final = Finding(
    Hop.RECOGNISER, "recogniser_failed", "audio arrives, but the recogniser fails", Action.RESTART_RECOGNISER
)
RECOGNISER_STUCK: Final = Finding(
    Hop.RECOGNISER, "recogniser_stuck", "audio arrives, but the recogniser takes none", Action.RESTART_RECOGNISER
)
RECOGNISER_OVERLOADED: Final = Finding(
    Hop.RECOGNISER, "recogniser_overloaded", "audio arrives, but too many people speak at once", Action.WAIT
)
RECOGNISER_SLOW: Final = "recogniser_slow"
"""No hop is dead: the code of captions that come late (core/slowness.py)."""

MUTED: Final = "muted"
"""Code of the one hindrance that is no fault: the user wants it."""
_HINDRANCES: Final = {
    Hindrance.MUTED: Finding(None, MUTED, "the phone's microphone is muted: unmute it to be heard", Action.WAIT),
    Hindrance.ENCRYPTED: Finding(
        Hop.PHONE,
        "encrypted",
        "the phone's audio is end-to-end encrypted and cannot be understood: switch the encryption off",
        Action.WAIT,
    ),
    Hindrance.CODEC: Finding(
        Hop.PHONE,
        "codec_unsupported",
        "the phone's audio is in a codec that is not understood ({codec}): publish Opus",
        Action.WAIT,
    ),
    Hindrance.SUBSCRIPTION_DENIED: Finding(
        Hop.PHONE,
        "subscription_denied",
        "the bridge may not hear the phone's microphone: allow it to subscribe",
        Action.WAIT,
    ),
    Hindrance.PUBLISH_DENIED: Finding(
        Hop.LIVEKIT,
        "publish_denied",
        "LiveKit does not let the phone publish its microphone: give it the permission",
        Action.WAIT,
    ),
}


def hindered(hindrance: Hindrance, codec: str = "") -> Finding:
    """The finding for a hindrance; `codec` names the one that is not understood."""
    finding = _HINDRANCES[hindrance]
    return replace(finding, text=finding.text.format(codec=codec or "unknown"))


SLOW_NETWORK: Final = Finding(Hop.PHONE, "slow_network", "the network is slow: speech arrives", Action.WAIT)
"""Followed by the age: audio arrives, but too late to be live."""

_ANY = None
TABLE: Final[tuple[tuple[bool | None, BridgeObservation | None, RoomObservation | None, bool | None, Finding], ...]] = (
    # phone answers, bridge, room, a fresh place heard nothing either: the first row that fits counts; None fits all
    (True, BridgeObservation.HEARING, RoomObservation.WITHOUT_PHONE, _ANY, PHONE_NOT_IN_ROOM),
    (_ANY, BridgeObservation.HEARING, _ANY, _ANY, STREAM_SILENT),
    (False, _ANY, _ANY, _ANY, PHONE_UNREACHABLE),
    (_ANY, BridgeObservation.SILENT, _ANY, _ANY, BRIDGE_SILENT),
    (_ANY, BridgeObservation.OUT, RoomObservation.SILENT, _ANY, LIVEKIT_SILENT),
    (_ANY, BridgeObservation.OUT, _ANY, _ANY, BRIDGE_NOT_IN_ROOM),
    (_ANY, BridgeObservation.ALONE, _ANY, _ANY, PHONE_NOT_IN_ROOM),
    (_ANY, _ANY, RoomObservation.WITHOUT_PHONE, _ANY, PHONE_NOT_IN_ROOM),
    (_ANY, _ANY, RoomObservation.WITHOUT_AGENT, _ANY, BRIDGE_NOT_IN_ROOM),
    (_ANY, _ANY, RoomObservation.SILENT, False, LIVEKIT_SILENT),
    (_ANY, _ANY, RoomObservation.COMPLETE, False, ROOM_SILENT),
    (_ANY, _ANY, _ANY, _ANY, PHONE_UNHEARD),
)


def diagnose(evidence: Evidence, *, renewed: bool) -> Finding:
    """The dead hop. `renewed`: the bridge rejoined since the phone was last heard, and that changed nothing."""
    bridge = evidence.bridge
    if bridge is not None and bridge.hindered is not None and observe_bridge(evidence) is BridgeObservation.DEAF:
        return bridge.hindered
    looks = (evidence.phone_answers, observe_bridge(evidence), observe_room(evidence), renewed)
    return next(
        row[-1] for row in TABLE if all(want in (None, have) for want, have in zip(row[:-1], looks, strict=True))
    )
