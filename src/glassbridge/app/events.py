"""What an app is told."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


@dataclass(frozen=True, slots=True)
class Transcription:
    """The user's words, as far as they are recognised."""

    text: str
    final: bool
    """False: may still change; the next one replaces it."""
    language: str
    start_ms: int
    end_ms: int
    """Of the session: they go on across streams of the recogniser."""
    confidence: float | None = None
    speaker: str | None = None
    id: str | None = None
    """Of a final one."""
    replaces: tuple[str, ...] = ()
    """Ids of final ones whose place it takes, with those that follow it and insert into the same hole."""
    inserts: str | None = None
    """Set when these words came late: they belong before words that came first. `session.transcript` has the order."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The same in another language."""

    text: str
    final: bool
    spoken: str
    """Language."""
    language: str
    """Of `text`."""
    start_ms: int
    end_ms: int
    original: str | None = None
    speaker: str | None = None
    id: str | None = None
    replaces: tuple[str, ...] = ()
    inserts: str | None = None
    """As of a transcription."""


@dataclass(frozen=True, slots=True)
class AudioState:
    """The truth about the user's audio: anything but `live` means that nothing can be heard, and `reason` says why."""

    state: Literal["live", "connecting", "interrupted", "unavailable"]
    reason: str = ""
    code: str = ""
    hop: str | None = None
    """Where it is dead: phone, livekit, bridge, stream; `recogniser` when only captions are."""
    seconds: float | None = None
    """With the code `recogniser_slow`: about how late transcripts come."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Words of the user are missing here."""

    id: str
    at_ms: int
    """As the times of transcriptions."""
    seconds: float
    state: Literal["open", "filled", "kept"]
    """`open`: they may still come; `filled`: they have; `kept`: they are lost."""

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s are missing"


@dataclass(frozen=True, slots=True)
class Moved:
    """The user is with another cloud now, and so is this session. A sound that was playing has ended."""

    former: str
    cloud: str
    """Base URLs; the same where several clouds are behind one address."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Something was left out: this app read too slowly, or was away for longer than sentences are kept for it."""

    audio_chunks: int
    messages: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that the app wants to hear and will not."""

    stream: str
    reason: str
    permission: str | None = None
    """What the app lacks, when it is that."""


@dataclass(frozen=True, slots=True)
class CloudError:
    """The cloud complains about something that this app did."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Played:
    """The user has heard it to its end."""

    duration_ms: int | None
    """None: the bridge does not know."""


class Track(IntEnum):
    """Sounds on different tracks can be heard at once; a new one on the same track takes the older one's place."""

    SPEAKER = 0
    APP = 1
    SPEECH = 2
