"""By which path a phone's frames went, and how many of them."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from glassbridge.wire.audio_frames import FrameNumber


class Path(Enum):
    """By which way a frame went."""

    DATA = "data"
    TRACK = "track"
    WEBSOCKET = "websocket"


@dataclass(slots=True)
class Counts:
    """Of one phone, so far."""

    sent: Counter[Path] = field(default_factory=Counter)
    """Frames with samples, by path."""
    into_room: int = 0
    """Frames, presence and silence included, repetitions left out; of a track its blocks."""
    on_sockets: int = 0
    unsent: int = 0
    """Frames with samples that no path took at once."""
    replayed: int = 0
    """Frames that were sent again."""

    def speak(self, path: Path | None, *, done: bool) -> None:
        """A frame without a number went by this path, or by none."""
        if path is None or not done:
            self.unsent += 1
            return
        self.sent[path] += 1
        self.into_room += path is Path.DATA
        self.on_sockets += path is Path.WEBSOCKET

    def deliver(self, path: Path, number: FrameNumber, *, done: bool, both: bool) -> None:
        """A numbered frame was `done` on this path, or refused there; `both`: the other one carries it, too."""
        if number.repair or (number.replayed and not number.presence):
            self.replayed += done
        elif done:
            self.sent[path] += not number.presence
            self.into_room += path is Path.DATA
            self.on_sockets += path is Path.WEBSOCKET
        elif not number.presence:
            self.unsent += not both
