"""What the examiner saw of a phone in one act: plain records, in the order in which they came.

`at` is monotonic seconds. Sockets are numbered from 1 within an act.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from glassbridge.core.values import BYTES_PER_SAMPLE
from glassbridge.wire.audio_frames import CODING_PCM16, FrameNumber

R = TypeVar("R", bound="Record")
Route = Literal["room", "socket"]

MOST_RECORDS: Final = 60_000
"""Of one act; what comes after them is counted. A phone that connects without a pause makes some thousand a second."""
MOST_BYTES: Final = 64 << 20
"""Of audio that is kept for comparison."""


@dataclass(frozen=True, slots=True)
class Record:
    at: float


@dataclass(frozen=True, slots=True)
class Attempt(Record):
    """The phone has asked for a socket."""

    query: Mapping[str, str]
    """Without the token."""
    signed_in: bool
    """It showed the token that it was given."""
    socket: int | None
    """None: it was refused."""


@dataclass(frozen=True, slots=True)
class Acknowledged(Record):
    """`connection_ack` was sent."""

    socket: int
    numbered: bool
    """Numbered audio was agreed on."""
    codings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ended(Record):
    """A socket is gone."""

    socket: int


@dataclass(frozen=True, slots=True)
class Said(Record):
    """A text message of the phone."""

    socket: int
    type: str
    fields: Mapping[str, Any]
    problem: str = ""
    """Why it is not what the protocol allows."""


@dataclass(frozen=True, slots=True)
class Sound(Record):
    """A binary frame, or a data packet in the room."""

    route: Route
    socket: int | None
    numbered: bool
    """Numbered audio was agreed on with this socket, or, of the room, with the newest one."""
    number: FrameNumber | None
    """None: it is no numbered frame."""
    payload: bytes = field(repr=False)
    problem: str = ""
    """Why it is not what was agreed on."""
    withheld: bool = False
    """The examiner acts as if it had been lost on its way."""

    @property
    def has_samples(self) -> bool:
        return bool(self.payload) and (self.number is None or not self.number.presence)

    @property
    def samples(self) -> int:
        """How many it says it holds."""
        if self.number is None or self.number.coding == CODING_PCM16:
            return len(self.payload) // BYTES_PER_SAMPLE
        return int.from_bytes(self.payload[:2], "little")

    @property
    def stop(self) -> int:
        """The position after its last sample."""
        assert self.number is not None
        return self.number.position + self.samples


@dataclass(frozen=True, slots=True)
class Ticket(Record):
    """The phone has asked for a LiveKit token."""

    granted: bool


@dataclass(frozen=True, slots=True)
class Placed(Record):
    """The phone is in the room."""

    sid: str


@dataclass(frozen=True, slots=True)
class Unplaced(Record):
    """A place of the phone's is gone."""

    sid: str


@dataclass(frozen=True, slots=True)
class Asked(Record):
    """The cloud has asked for samples that it says are missing."""

    epoch: int
    missing: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Did(Record):
    """The examiner has done something to the phone."""

    what: str


@dataclass
class Seen:
    """All of one act."""

    act: str
    records: list[Record] = field(default_factory=list)
    ended: int | None = None
    """Exit status with which the phone ended by itself before the act was over."""
    overflow: int = 0
    """Records that were too many to keep."""
    _bytes: int = 0

    def note(self, record: Record) -> None:
        """Keeps it, within the bounds."""
        size = len(record.payload) if isinstance(record, Sound) else 0
        if len(self.records) >= MOST_RECORDS or self._bytes + size > MOST_BYTES:
            self.overflow += 1
            return
        self._bytes += size
        self.records.append(record)

    def all(self, kind: type[R], after: float = 0.0) -> Iterator[R]:
        """The records of this kind since then."""
        return (record for record in self.records if isinstance(record, kind) and record.at >= after)

    def first(self, kind: type[R], after: float = 0.0) -> R | None:
        """The first of this kind since then."""
        return next(self.all(kind, after), None)

    def did(self, what: str) -> float | None:
        """When the examiner first did this; None: it did not come to that."""
        return next((record.at for record in self.all(Did) if record.what == what), None)

    def samples(self, after: float = 0.0) -> Iterator[Sound]:
        """Numbered frames with samples since then."""
        return (one for one in self.all(Sound, after) if one.number is not None and one.has_samples and not one.problem)


@dataclass(frozen=True, slots=True)
class Announced:
    """What a phone says of itself: promises follow from it."""

    sockets: bool = False
    """It came at all."""
    room: bool = False
    """`livekit=true`: it wants a place in a room."""
    numbered: bool = False
    """`audio=2`: it numbers its audio."""
    named: bool = False
    """`phone=NAME`: a cloud may tell it to stay away, or to renew its place."""
    pings: bool = False
    """It has sent a ping."""


def announced(acts: Mapping[str, Seen]) -> Announced:
    """By all that it did."""
    attempts = [attempt for seen in acts.values() for attempt in seen.all(Attempt)]
    return Announced(
        sockets=bool(attempts),
        room=any(attempt.query.get("livekit") == "true" for attempt in attempts),
        numbered=any(attempt.query.get("audio") == "2" for attempt in attempts),
        named=any(attempt.query.get("phone") for attempt in attempts),
        pings=any(said.type == "ping" for seen in acts.values() for said in seen.all(Said)),
    )
