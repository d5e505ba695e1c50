"""Which track of a person is their voice, and what keeps it from being heard.

Rules
- A microphone is chosen before a track of unknown source; sound of a shared screen is never chosen.
- Of several such tracks the one that was published last is chosen, whichever sounded first. It stands for the person
  even while it cannot be heard: a muted microphone is muted, whatever else is published.
- What keeps the chosen track from being heard is known from the server's list of tracks, before any sound is missed.

It does not know LiveKit, packets or clocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

CODECS: Final = frozenset({"opus", "red", "pcmu", "pcma", "g722"})
"""The codecs that can be decoded here, as LiveKit names them."""


class TrackSource(Enum):
    """What a track says of its origin; `rank`: greater is preferred, 0 is no voice."""

    SCREEN = 0
    UNKNOWN = 1
    MICROPHONE = 2

    @property
    def rank(self) -> int:
        return int(self.value)


class Hindrance(Enum):
    """What keeps a voice from being heard. The order is that of the gRPC enum, after its NONE."""

    MUTED = 1
    ENCRYPTED = 2
    """End to end; there is no key here."""
    CODEC = 3
    """It cannot be decoded here."""
    SUBSCRIPTION_DENIED = 4
    """We may not hear it."""
    PUBLISH_DENIED = 5
    """The phone may not publish it."""


@dataclass(frozen=True, slots=True)
class RemoteTrack:
    """An audio track of another participant, as the server last reported it."""

    sid: str
    source: TrackSource = TrackSource.UNKNOWN
    muted: bool = False
    encrypted: bool = False
    codec: str = "opus"
    """In lower case, as in `audio/opus`."""
    allowed: bool = True
    """We may subscribe to it."""

    @property
    def understood(self) -> bool:
        """Its sound can be decoded here."""
        return not self.encrypted and self.codec in CODECS

    @property
    def hindrance(self) -> Hindrance | None:
        """What keeps it from being heard; None when nothing does."""
        if self.encrypted:
            return Hindrance.ENCRYPTED
        if self.codec not in CODECS:
            return Hindrance.CODEC
        if not self.allowed:
            return Hindrance.SUBSCRIPTION_DENIED
        return Hindrance.MUTED if self.muted else None


def choose_voice(tracks: Sequence[RemoteTrack]) -> RemoteTrack | None:
    """The track that is the person's voice, None where there is none; `tracks` in the order of their publication."""
    voices = [track for track in reversed(tracks) if track.source.rank]
    return max(voices, key=lambda track: track.source.rank, default=None)
