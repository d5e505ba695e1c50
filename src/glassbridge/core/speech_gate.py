"""When does the user speak, and when has all of it arrived? From the phone's word and from the audio itself.

Rules
- A phone that never reports speech or silence is always heard.
- The report of silence overtakes audio: a speech has ended when the last numbered sample has been handed on, or when
  no audio came for QUIET seconds (audio without numbers cannot say so itself).
- A phone may send its silence too. Audio that flows on for FLOWS seconds after the word is silence, and is not let
  through until the phone says otherwise or audio pauses. Audio that is sent again (late) is never silence.
- Audio that comes after the end of a speech, without a report of the phone, is let through: it may have been delayed.

It does not know audio, recognisers or time.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

QUIET: Final = 0.7
FLOWS: Final = 3.0


class GateState(Enum):
    """`open` says whether audio is let through."""

    SPEAKING = ("speaking", True)
    ENDING = ("ending", True)
    OVER = ("over", True)
    SILENCE = ("silence", False)

    def __init__(self, label: str, open_: bool) -> None:
        self.label = label
        self.open = open_


# ---- events


@dataclass(frozen=True, slots=True)
class Speaking:
    """The phone reports speech."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The phone reports silence; samples may still be in flight."""


@dataclass(frozen=True, slots=True)
class SamplesDelivered:
    """Samples have been handed on."""

    late: bool = False
    """Some are being sent again."""


@dataclass(frozen=True, slots=True)
class AllDelivered:
    """The last numbered sample has been handed on: nothing is on its way."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Speaking | Silent | SamplesDelivered | AllDelivered | Tick
EVENTS: Final = (Speaking, Silent, SamplesDelivered, AllDelivered, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Begins:
    """The user begins to speak."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Everything that was said is here."""


Effect = Begins | Ends


class SpeechGate:
    """The machine of one user; begins SPEAKING, until the phone reports silence."""

    __slots__ = ("_due", "_flows_until", "_heard_at", "records", "state")

    def __init__(self, now: float) -> None:
        self.state = GateState.SPEAKING
        self.records: list[Record[GateState]] = []
        self._heard_at = now
        self._flows_until = now
        self._due: float | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return self._due

    def _go(self, state: GateState, event: Event, now: float) -> None:
        self.records.append(Record("speech_gate", self.state, type(event).__name__, state, now, Generation(0)))
        self.state = state
        self._due = None

    def _begin(self, event: Speaking, now: float) -> list[Effect]:
        self._go(GateState.SPEAKING, event, now)
        return [Begins()]

    def _go_on(self, event: Speaking, now: float) -> list[Effect]:
        """The supposed end was a pause."""
        self._go(GateState.SPEAKING, event, now)
        return []

    def _note(self, event: SamplesDelivered, now: float) -> list[Effect]:
        self._heard_at = now
        if event.late:
            self._flows_until = now + FLOWS
        return []

    def _hint(self, event: Silent, now: float) -> list[Effect]:
        self._go(GateState.ENDING, event, now)
        self._flows_until = now + FLOWS
        self._due = max(now, self._heard_at + QUIET)
        return []

    def _end(self, event: AllDelivered, now: float) -> list[Effect]:
        self._go(GateState.OVER, event, now)
        return [Ends()]

    def _check(self, event: Tick, now: float) -> list[Effect]:
        if now >= self._heard_at + QUIET:
            self._go(GateState.OVER, event, now)
            return [Ends()]
        if now >= self._flows_until:
            self._go(GateState.SILENCE, event, now)
            return [Ends()]
        self._due = min(self._heard_at + QUIET, self._flows_until)
        return []

    def _reopen(self, event: SamplesDelivered, now: float) -> list[Effect]:
        """Something comes after the end: it ends as a speech does."""
        self._go(GateState.ENDING, event, now)
        self._note(event, now)
        self._flows_until = now + FLOWS
        self._due = now + QUIET
        return [Begins()]

    def _pass_silence(self, event: SamplesDelivered, now: float) -> list[Effect]:
        paused = now >= self._heard_at + QUIET
        self._heard_at = now
        return self._reopen(event, now) if paused or event.late else []

    def _stop_flowing(self, event: AllDelivered, now: float) -> list[Effect]:
        self._go(GateState.OVER, event, now)
        return []


_S = GateState
_KNOWN = Ignored("it is known")
_NO_TIMER = Ignored("no timer runs here: it was late")
TABLE: Final[dict[tuple[GateState, type], Cell[GateState] | Ignored]] = {
    (_S.SPEAKING, Speaking): _KNOWN,
    (_S.SPEAKING, Silent): Cell(SpeechGate._hint, (_S.ENDING,)),
    (_S.SPEAKING, SamplesDelivered): Cell(SpeechGate._note, (_S.SPEAKING,)),
    (_S.SPEAKING, AllDelivered): Cell(SpeechGate._end, (_S.OVER,)),
    (_S.SPEAKING, Tick): _NO_TIMER,
    (_S.ENDING, Speaking): Cell(SpeechGate._go_on, (_S.SPEAKING,)),
    (_S.ENDING, Silent): _KNOWN,
    (_S.ENDING, SamplesDelivered): Cell(SpeechGate._note, (_S.ENDING,)),
    (_S.ENDING, AllDelivered): Cell(SpeechGate._end, (_S.OVER,)),
    (_S.ENDING, Tick): Cell(SpeechGate._check, (_S.ENDING, _S.OVER, _S.SILENCE)),
    (_S.OVER, Speaking): Cell(SpeechGate._begin, (_S.SPEAKING,)),
    (_S.OVER, Silent): _KNOWN,
    (_S.OVER, SamplesDelivered): Cell(SpeechGate._reopen, (_S.ENDING,)),
    (_S.OVER, AllDelivered): _KNOWN,
    (_S.OVER, Tick): _NO_TIMER,
    (_S.SILENCE, Speaking): Cell(SpeechGate._begin, (_S.SPEAKING,)),
    (_S.SILENCE, Silent): _KNOWN,
    (_S.SILENCE, SamplesDelivered): Cell(SpeechGate._pass_silence, (_S.SILENCE, _S.ENDING)),
    (_S.SILENCE, AllDelivered): Cell(SpeechGate._stop_flowing, (_S.OVER,)),
    (_S.SILENCE, Tick): _NO_TIMER,
}
