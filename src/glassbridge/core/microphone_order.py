"""Is the phone's microphone ordered on or off? On while it is needed, off when it is not, but never off in a hurry.

Rules
- It is needed while the phone gets captions or an app listens to audio in any form. It is switched on at once.
- It is switched off when it was not needed for HOLD seconds, and never within SETTLE seconds after a phone came or the
  subscriptions of apps changed: apps that come back subscribe anew (hazards L-4, L-5).
- Changes of the need are sent at once, and then at most once in DEBOUNCE seconds.
- While it is on, the order is repeated every REPEAT seconds. If it sends although it was switched off, that order is
  repeated, at most every HUSH seconds.

It does not know phones, apps or time.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

HOLD: Final = 3.0
SETTLE: Final = 5.0
DEBOUNCE: Final = 1.0
REPEAT: Final = 10.0
HUSH: Final = 5.0


class OrderState(Enum):
    """What the phone was told last."""

    AWAY = "away"
    ON = "on"
    OFF = "off"

    @property
    def label(self) -> str:
        return self.value


# ---- events


@dataclass(frozen=True, slots=True)
class PhoneCame:
    """A phone is here, the same or another one."""


@dataclass(frozen=True, slots=True)
class PhoneWent:
    """No phone is here."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What is needed from now on."""

    on: bool
    raw: bool = False
    """As it is: no voice detector decides what is sent."""


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Audio has come."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = PhoneCame | PhoneWent | Needed | AudioReceived | Tick
EVENTS: Final = (PhoneCame, PhoneWent, Needed, AudioReceived, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class SwitchOn:
    """Tell the phone that its microphone is to be on."""

    raw: bool = False


@dataclass(frozen=True, slots=True)
class SwitchOff:
    """Tell the phone that its microphone is to be off."""


Effect = SwitchOn | SwitchOff


class MicrophoneOrder:
    """The machine of one user; begins AWAY, and needed as it is told."""

    __slots__ = ("_need", "_off_at", "_said", "_said_at", "_say_at", "_settled_at", "records", "state")

    def __init__(self, need: Needed) -> None:
        self.state = OrderState.AWAY
        self.records: list[Record[OrderState]] = []
        self._need = need
        self._said: Effect = SwitchOn()
        self._said_at = 0.0
        self._settled_at = 0.0
        self._off_at: float | None = None
        self._say_at: float | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return min((at for at in (self._off_at, self._say_at) if at is not None), default=None)

    def _go(self, state: OrderState, event: Event, now: float) -> None:
        self.records.append(Record("microphone", self.state, type(event).__name__, state, now, Generation(0)))
        self.state = state
        self._off_at = self._say_at = None

    def _say(self, event: Event, now: float) -> list[Effect]:
        """Tells what is needed, and plans when to tell it again."""
        state = OrderState.ON if self._need.on else OrderState.OFF
        if state is not self.state:
            self._go(state, event, now)
        self._said, self._said_at = SwitchOn(self._need.raw) if self._need.on else SwitchOff(), now
        self._say_at = now + REPEAT if self._need.on else None
        return [self._said]

    def _come(self, event: PhoneCame, now: float) -> list[Effect]:
        self._settled_at = now + SETTLE
        if self._need.on:
            return self._say(event, now)
        self._go(OrderState.ON, event, now)  # as far as is known
        self._off_at = self._settled_at
        return []

    def _go_away(self, event: PhoneWent, now: float) -> list[Effect]:
        self._go(OrderState.AWAY, event, now)
        return []

    def _note(self, event: Needed, _now: float) -> list[Effect]:
        self._need = event
        return []

    def _change(self, event: Needed, now: float) -> list[Effect]:
        self._need = event
        self._settled_at = max(self._settled_at, now + HOLD)
        if not event.on:
            self._off_at, self._say_at = self._settled_at, None
            return []
        self._off_at = None
        if SwitchOn(event.raw) == self._said:
            self._say_at = self._said_at + REPEAT
            return []
        if now >= self._said_at + DEBOUNCE:
            return self._say(event, now)
        self._say_at = self._said_at + DEBOUNCE
        return []

    def _switch_on(self, event: Needed, now: float) -> list[Effect]:
        self._need = event
        return self._say(event, now) if event.on else []

    def _due(self, event: Tick, now: float) -> list[Effect]:
        return self._say(event, now) if any(at is not None and now >= at for at in (self._off_at, self._say_at)) else []

    def _hush(self, event: AudioReceived, now: float) -> list[Effect]:
        return self._say(event, now) if now >= self._said_at + HUSH else []


_S = OrderState
_WANTED = Ignored("it may be heard")
_NOBODY = Ignored("there is no phone to be told")
TABLE: Final[dict[tuple[OrderState, type], Cell[OrderState] | Ignored]] = {
    (_S.AWAY, PhoneCame): Cell(MicrophoneOrder._come, (_S.ON,)),
    (_S.AWAY, PhoneWent): _NOBODY,
    (_S.AWAY, Needed): Cell(MicrophoneOrder._note, (_S.AWAY,)),
    (_S.AWAY, AudioReceived): _NOBODY,
    (_S.AWAY, Tick): _NOBODY,
    (_S.ON, PhoneCame): Cell(MicrophoneOrder._come, (_S.ON,)),
    (_S.ON, PhoneWent): Cell(MicrophoneOrder._go_away, (_S.AWAY,)),
    (_S.ON, Needed): Cell(MicrophoneOrder._change, (_S.ON,)),
    (_S.ON, AudioReceived): _WANTED,
    (_S.ON, Tick): Cell(MicrophoneOrder._due, (_S.ON, _S.OFF)),
    (_S.OFF, PhoneCame): Cell(MicrophoneOrder._come, (_S.ON,)),
    (_S.OFF, PhoneWent): Cell(MicrophoneOrder._go_away, (_S.AWAY,)),
    (_S.OFF, Needed): Cell(MicrophoneOrder._switch_on, (_S.ON, _S.OFF)),
    (_S.OFF, AudioReceived): Cell(MicrophoneOrder._hush, (_S.OFF,)),
    (_S.OFF, Tick): Ignored("no timer runs here: it was late"),
}
