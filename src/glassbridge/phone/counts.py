"""How many frames of a phone each carrier took."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from glassbridge.wire.audio_frames import FrameNumber


class Carrier(Enum):
    """How a frame leaves the phone: by data packets or an audio track into the room, or by the WebSocket. Chosen by the
    route (core/audio_routes.py) and the phone's transport."""

    DATA = "data"
    TRACK = "track"
    WEBSOCKET = "websocket"


@dataclass(slots=True)
class Counts:
    """Of one phone, so far."""

    sent: Counter[Carrier] = field(default_factory=Counter)
    """Frames with samples, by carrier."""
    into_room: int = 0
    """Frames, presence and silence included, repetitions left out; of a track its blocks."""
    on_sockets: int = 0
    unsent: int = 0
    """Frames with samples that no carrier took at once."""
    replayed: int = 0
    """Frames that were sent again."""

    def speak(self, carrier: Carrier | None, *, done: bool) -> None:
        """A frame without a number went by this carrier, or by none."""
        if carrier is None or not done:
            self.unsent += 1
            return
        self._took(carrier, presence=False)

    def deliver(self, carrier: Carrier, number: FrameNumber, *, done: bool, both: bool) -> None:
        """A numbered frame was `done` on this carrier, or refused there; `both`: the other one carries it, too."""
        if number.repair or (number.replayed and not number.presence):
            self.replayed += done
        elif done:
            self._took(carrier, presence=number.presence)
        elif not number.presence:
            self.unsent += not both

    def _took(self, carrier: Carrier, *, presence: bool) -> None:
        self.sent[carrier] += not presence
        self.into_room += carrier is Carrier.DATA
        self.on_sockets += carrier is Carrier.WEBSOCKET
