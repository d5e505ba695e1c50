"""LiveKit without a network: a Connector whose rooms a test scripts (packets, audio, closed, failures, slowness)."""

import asyncio
from collections.abc import Mapping
from time import monotonic

from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.core.voices import RemoteTrack
from glassbridge.livekit.participant import (
    DEFAULT_OPTIONS,
    FRAME_MS,
    AudioBlock,
    Closed,
    ConnectOptions,
    InFlight,
    Packet,
    ParticipantError,
    RemoteParticipant,
    RoomEvents,
    frame_bytes,
)


class FakeTrack:
    """Keeps what is written, with the time of each frame; paced as a real one."""

    def __init__(self, owner: "FakeParticipant", name: str, number: int, rate: int) -> None:
        self.sid = f"TR_{number}"
        self.name = name
        self.frames: list[tuple[float, bytes]] = []
        self.published = True
        self.drained = 0
        self.rate = rate
        self._owner = owner
        self._due = 0.0

    @property
    def pcm(self) -> bytes:
        return b"".join(frame for _, frame in self.frames)

    async def write(self, frame: bytes) -> None:
        if len(frame) != frame_bytes(self.rate):
            raise AssertionError(f"a frame has {frame_bytes(self.rate)} bytes, not {len(frame)}")
        self._owner.require_open()
        if not self.published:
            raise AssertionError("written to after unpublish")
        now = monotonic()
        self.frames.append((now, frame))
        self._due = max(self._due, now) + FRAME_MS / 1000
        await asyncio.sleep(self._due - now)

    async def drain(self) -> None:
        self.drained += 1
        await asyncio.sleep(max(0.0, self._due - monotonic()))

    async def unpublish(self) -> None:
        self.published = False


class FakeParticipant:
    """One place in a fake room."""

    def __init__(self, livekit: "FakeLiveKit", identity: str, events: RoomEvents, options: ConnectOptions) -> None:
        self.sid = f"PA_{len(livekit.joined)}"
        self.identity = identity
        self.room = options.room
        self.options = options
        self.closed: Closed | None = None
        self.waiting, self.silent = 0, 0.0
        self.flight: InFlight | None = None
        self.tracks: list[FakeTrack] = []
        self.sent: list[tuple[bytes, str]] = []
        self._remote: dict[str, RemoteParticipant] = {}
        self._livekit = livekit
        self._events = events

    # ---- Participant

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        return self._remote

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> FakeTrack:
        self.require_open()
        await asyncio.sleep(self._livekit.publish_delay)
        self.require_open()
        track = FakeTrack(self, name, len(self.tracks), rate)
        self.tracks.append(track)
        return track

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        self.require_open()
        self.sent.append((payload, topic))

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.lose(LossReason.CLOSED)

    vanish = close

    # ---- what a test does

    def packet(self, payload: bytes, topic: str = "", sender: str = "phone", *, encrypted: bool = False) -> None:
        """Somebody sent a data packet."""
        self._events.on_packet(Packet(payload, topic, sender, reliable=False, encrypted=encrypted))

    def audio(self, pcm: bytes, sender: str = "phone", track_sid: str = "TR_phone") -> None:
        """A track delivers a block."""
        self._events.on_audio(AudioBlock(pcm, sender, track_sid))

    def enter(self, identity: str, *tracks: RemoteTrack, may_publish: bool = True) -> None:
        """Somebody else comes, or publishes something else than before."""
        self._remote[identity] = RemoteParticipant(identity, f"PA_{identity}", tracks, may_publish)
        self._events.on_participants(self._remote)

    def go(self, identity: str) -> None:
        """Somebody else leaves."""
        del self._remote[identity]
        self._events.on_participants(self._remote)

    def lose(self, reason: LossReason, detail: str = "", unheard: float = 0.0) -> None:
        """The place is gone."""
        if self.closed is None:
            self.closed = Closed(reason, detail, unheard)
            self._events.on_closed(self.closed)

    def require_open(self) -> None:
        if self.closed is not None:
            raise ParticipantError(self.closed.reason)


class FakeLiveKit:
    """The Connector. The token is taken as the identity; a second join of it kicks the first, as LiveKit does."""

    def __init__(self) -> None:
        self.joined: list[FakeParticipant] = []
        """All places that were ever had, oldest first."""
        self.begun = 0
        """Joins begun."""
        self.under_way = 0
        self.most_under_way = 0
        self.delay = 0.0
        """Seconds that a join takes."""
        self.publish_delay = 0.0
        self.refuse: LossReason | None = None
        """Joins fail with this."""
        self.letting_go = 0.02
        """Seconds that a join which was called off stays on the server."""
        self._left = 0.0
        self.crash: Exception | None = None
        """Joins end with this bug."""

    @property
    def open(self) -> list[FakeParticipant]:
        """Places that are held."""
        return [participant for participant in self.joined if participant.closed is None]

    @property
    def last(self) -> FakeParticipant:
        return self.joined[-1]

    async def drain(self) -> None:
        """Returns when joins that were called off are gone."""
        await asyncio.sleep(max(0.0, self._left - monotonic()))

    async def __call__(
        self, url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS
    ) -> FakeParticipant:
        self.begun += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            try:
                async with asyncio.timeout(options.timeout):
                    await asyncio.sleep(self.delay)
            except TimeoutError:
                raise ParticipantError(LossReason.TIMED_OUT) from None
            if self.crash is not None:
                raise self.crash
            if self.refuse is not None:
                raise ParticipantError(self.refuse, "as the test wants it")
            for other in self.open:
                if (other.identity, other.room) == (token, options.room):
                    other.lose(LossReason.SUPERSEDED)
            participant = FakeParticipant(self, token, events, options)
            self.joined.append(participant)
            return participant
        except asyncio.CancelledError:
            self._left = monotonic() + self.letting_go
            raise
        finally:
            self.under_way -= 1
