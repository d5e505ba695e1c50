"""The narrow interface to a place in a LiveKit room. Two implementations stand behind it: `own` and `sdk`.

What is deliberately absent: resuming, reconnecting, any repair. A participant joins once, says what it hears, and at
the first sign of trouble leaves and says why; a fresh join with a fresh token is the only repair, and somebody else
decides about it (system.md 4.3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple, Protocol

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, LossReason
from glassbridge.core.voices import RemoteTrack
from glassbridge.runtime.tcp import RoundTrip

FRAME_MS = 20
"""Milliseconds of audio in one playback frame and in one block that a track delivers."""
FRAME_BYTES = FRAME_MS * 32
"""The same in bytes of PCM16 mono at 16 kHz: 640."""
RATES = (SAMPLE_RATE, 48_000)
"""Sample rates at which a track can be published: 16 kHz is for voices, 48 kHz for music."""
TRACK_BITRATE = 96_000
"""Bits per second of what we publish. At 32,000 a recogniser reads a human voice otherwise than the file of it; more
than this changes nothing (docs/track-audio.md)."""

ParticipantKind = Literal["own", "sdk"]


def frame_bytes(rate: int) -> int:
    """Bytes in FRAME_MS of PCM16 mono at this rate."""
    return FRAME_MS * rate * BYTES_PER_SAMPLE // 1000


class Packet(NamedTuple):
    """One data packet out of the room."""

    payload: bytes
    topic: str
    """Empty when the sender gave none."""
    sender: str
    """Identity of the sender; empty when the server sent it."""
    reliable: bool
    encrypted: bool = False
    """It is end-to-end encrypted: the payload is empty then, the topic unknown."""


class InFlight(NamedTuple):
    """The data packets that we sent into the room, in bytes."""

    given: int
    """So far."""
    pending: int
    """Of them those that wait to be sent, or to be acknowledged by the server."""
    oldest: float
    """Seconds since the first of them was sent that was sent but once; 0 if there is none."""
    trip: RoundTrip
    """Of the newest that were acknowledged."""


class AudioBlock(NamedTuple):
    """Sound of a remote track: PCM16 LE, 16 kHz, mono, mostly 20 ms long."""

    pcm: bytes
    sender: str
    track_sid: str
    concealed: bool = False
    """True where the sound is made up for a lost packet."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a place in a room; comes exactly once for each connect that returned."""

    reason: LossReason
    detail: str = ""
    """For the log: never holds a token or a URL with one."""
    unheard: float = 0.0
    """Seconds before the end for which nothing proves that what we said was heard."""


@dataclass(frozen=True, slots=True)
class RemoteParticipant:
    """Another participant of the room, as the server last reported it."""

    identity: str
    sid: str
    tracks: tuple[RemoteTrack, ...] = ()
    """Their audio tracks, the one that was published first comes first."""
    may_publish: bool = True
    """The server lets them publish a microphone."""

    @property
    def publishing(self) -> bool:
        """True while an audio track of theirs is published and not muted."""
        return any(not track.muted for track in self.tracks)


class RoomEvents(Protocol):
    """What happens in a room. Called on the event loop, synchronously, in the order of arrival: do nothing here but
    hand it on (traps B16). An exception raised here closes the participant with LossReason.INTERNAL.
    """

    def on_packet(self, packet: Packet) -> None:
        """A data packet has come."""

    def on_audio(self, block: AudioBlock) -> None:
        """A block of sound has come from a remote track."""

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None:
        """The other participants have changed; keyed by identity. Reports can be up to 3 s old (traps B7)."""

    def on_closed(self, closed: Closed) -> None:
        """The place is lost or left; nothing comes after this."""


class LocalTrack(Protocol):
    """An audio track that we publish: PCM16 LE, mono, at the rate it was published with."""

    @property
    def sid(self) -> str:
        """The server's id of the track."""

    async def write(self, frame: bytes) -> None:
        """Sends one frame of FRAME_MS and returns when the next one is due, so a loop over frames is paced.

        Raises ParticipantError when the place is lost. Safe to cancel between frames: the frame is sent or not sent.
        """

    async def drain(self) -> None:
        """Returns when what was written has been heard, as far as the sender can know. Safe to cancel."""

    async def unpublish(self) -> None:
        """Takes the track out of the room; idempotent; never raises when the place is lost already."""


class Participant(Protocol):
    """A joined place in a room. Single use."""

    @property
    def sid(self) -> str:
        """The server's id of this participant."""

    @property
    def identity(self) -> str: ...

    @property
    def room(self) -> str:
        """Name of the room."""

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        """The other participants, by identity."""

    @property
    def closed(self) -> Closed | None:
        """None while the place is held."""

    @property
    def waiting(self) -> int:
        """Bytes of lossy packets that wait to be sent, because the link takes them no faster; 0 if it cannot tell."""

    @property
    def flight(self) -> InFlight | None:
        """What is on its way; None if it cannot tell, or nothing was acknowledged yet."""

    @property
    def silent(self) -> float:
        """Seconds for which nothing was acknowledged although data is on its way; 0.0 if it cannot tell."""

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> LocalTrack:
        """Publishes an audio track for PCM at one of RATES; several at once are mixed by the listener.

        Raises ParticipantError (place lost, or no answer within the deadline). Safe to cancel.
        """

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        """Sends a data packet of at most 15,000 bytes to all, or to the identities in `to`.

        Raises ValueError (too large), ParticipantError (place lost, or its send buffer is full: lossy packets are then
        dropped silently). Safe to cancel: sent or not sent.
        """

    async def close(self) -> None:
        """Leaves the room and releases everything; idempotent; takes 3 s at most.

        A cancelled caller does not stop it.
        """

    async def vanish(self) -> None:
        """The same, but without a word to the server, as when the network goes away; if it can do that."""


class ParticipantError(Exception):
    """Why a place could not be had or was lost. Its text never holds a token."""

    def __init__(self, reason: LossReason, detail: str = "") -> None:
        super().__init__(f"{reason.text}: {detail}" if detail else reason.text)
        self.reason = reason
        self.detail = detail


class RelayUse(Enum):
    """When media goes through a TURN server that LiveKit names."""

    FALLBACK = "fallback"
    """Where no path by UDP is found."""
    NEVER = "never"
    ONLY = "only"
    """For tests of it."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How to join; times in seconds."""

    room: str = ""
    """When given, a token of another room is refused with WRONG_ROOM (traps A8)."""
    timeout: float = 10.0
    """Deadline of connect()."""
    subscribe_audio: bool = True
    """Whether remote audio tracks are delivered: those that can be understood."""
    publish_ready: bool = True
    """Open the sending side at join already: first sound and first packet come 50 ms sooner (traps A10)."""
    ping_interval: float = 1.0
    pong_timeout: float = 2.5
    """A ping is unanswered for so long, and media is silent too: the place is left (traps A3)."""
    media_timeout: float = 3.5
    """No sign of life of the media path (ICE consent, once a second) for so long: left."""
    loop_gap: float = 10.0
    """Seconds of a stall after which the participant leaves: another one may hold the identity by now (traps A7)."""
    catch_up: float = 0.1
    """A writer of a track who is later than this begins a new stretch of sound; less is made good, faster than real
    time. Little suits what is played, for a listener keeps the delay; a microphone must not tear its words apart."""
    lag: Callable[[], float] = lambda: 0.0
    """Seconds since we sent by another way what was answered last. Where it grows, the link is slow or dead, and
    silence says nothing of the server. Of our own participant."""
    relay: RelayUse = RelayUse.FALLBACK
    """Of our own participant; the SDK decides for itself."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further query parameters, for tests."""


DEFAULT_OPTIONS = ConnectOptions()


class Connector(Protocol):
    """Joins a room: the one function that differs between the implementations."""

    async def __call__(
        self, url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS
    ) -> Participant:
        """Returns a joined participant: data and audio of others can arrive from now on (even before it returns).

        Raises ParticipantError with the reason. When cancelled at any moment, nothing is left behind: neither here nor
        on the server; the clean-up goes on in its own task (traps A4), which `drain_closing()` awaits.
        """
