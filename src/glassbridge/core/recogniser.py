"""One recognition: one user, one language. When is a stream of the recogniser opened, kept, given back, opened anew?

Rules
- There is a stream while there are subscribers and the user speaks; it outlives speech by `linger` seconds, since the
  next words may follow, and outlives the last audio by `idle` seconds if the phone does not report the end of speech.
- Only audio keeps a stream: keep-alives and pongs do not count.
- Each way in which a stream ends has its own rule (`Reason`): some are never tried again, some wait for audio or for
  the next speech, some are tried again under a growing, jittered wait. A stream that has lasted `settled` seconds is
  forgiven what was before it.
- Between two speeches a lost stream is not replaced: the next one opens with the next words. For KEPT seconds after a
  speech it is replaced, since a part of the speech may not have been recognised yet.
- A stream that is `longest` old is replaced before its provider cuts it off, at the end of a speech if one ends in
  time.

It does not know audio, sockets or time. Streams are numbered here; late events of an older one change nothing. The
audio that was spoken meanwhile is kept beside it (core/spoken.py).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

SOON: Final = Ladder(base=0.5, cap=8.0)
LATER: Final = Ladder(base=2.0, cap=60.0)
"""Seconds until the next try: after what may pass at once, and after being told to come less often."""
KEPT: Final = 30.0
"""Seconds for which what was said is still worth understanding."""


class Reopening(Enum):
    """When a stream that has ended is opened anew."""

    NEVER = "never"
    """An operator has to correct something first."""
    WITH_SPEECH = "with the next speech"
    WITH_AUDIO = "with the next audio"
    SOON = "soon"
    LATER = "later"


class Reason(Enum):
    """Why a stream has ended, or could not be had: what is done about it, and what people are told."""

    NORMAL = ("normal", Reopening.WITH_SPEECH, "the recogniser closed the stream")
    SILENCE = ("silence", Reopening.WITH_AUDIO, "the recogniser heard nothing for too long")
    CAP = ("cap", Reopening.SOON, "the recogniser ends streams of this length")
    RESTART = ("restart", Reopening.SOON, "the recogniser asks for a new stream")
    NETWORK = ("network", Reopening.SOON, "the connection to the recogniser broke")
    CRASHED = ("crashed", Reopening.SOON, "the recogniser failed")
    STUCK = ("stuck", Reopening.SOON, "the recogniser takes no audio")
    BUSY = ("busy", Reopening.SOON, "all recognisers are busy", True)
    OVERLOADED = ("overloaded", Reopening.LATER, "the recogniser has no room: too many people speak at once", True)
    UNAVAILABLE = ("unavailable", Reopening.LATER, "the recogniser is not available")
    TOO_MANY = ("too_many", Reopening.LATER, "the recogniser is asked for too much")
    UNPAID = ("unpaid", Reopening.LATER, "the recogniser's account is exhausted")
    UNAUTHORISED = ("unauthorised", Reopening.NEVER, "the recogniser refuses the key")
    BAD_REQUEST = ("bad_request", Reopening.NEVER, "the recogniser does not understand what it is asked for")
    UNSUPPORTED = ("unsupported", Reopening.NEVER, "the recogniser cannot do this")
    CLOSED = ("closed", Reopening.NEVER, "the recogniser was closed")

    def __init__(self, code: str, again: Reopening, text: str, crowded: bool = False) -> None:
        self.code = code
        self.again = again
        self.text = text
        self.crowded = crowded
        """There is no room: others have it."""

    @property
    def refuses(self) -> bool:
        """No stream is to be had for now, not even after one that was there."""
        return self.crowded or self.again is Reopening.NEVER

    @property
    def is_fault(self) -> bool:
        """Whether people are to be told: what waits for their next word is none."""
        return self.again not in (Reopening.WITH_SPEECH, Reopening.WITH_AUDIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """Seconds; those of a provider."""

    linger: float = 30.0
    idle: float = 30.0
    settled: float = 10.0
    proven: float = 0.0
    """A new stream is believed to work after so long: some providers refuse after they have accepted."""
    longest: float = float("inf")
    rest: float = 10.0
    """If a stream was closed without a reason while the user speaks on, it is opened anew after this long."""


class RecognitionState(Enum):
    """`open` says whether audio goes into a stream."""

    UNWANTED = ("unwanted", False)
    QUIET = ("quiet", False)
    OPENING = ("opening", False)
    LISTENING = ("listening", True)
    WAITING = ("waiting", False)
    RESTING = ("resting", False)
    REFUSED = ("refused", False)
    ENDED = ("ended", False)

    def __init__(self, label: str, open_: bool) -> None:
        self.label = label
        self.open = open_


# ---- events


@dataclass(frozen=True, slots=True)
class Subscribed:
    """There is a subscriber."""


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The last subscriber is gone."""


@dataclass(frozen=True, slots=True)
class SpeechBegins:
    """The user begins to speak; the audio of it may still be in flight."""


@dataclass(frozen=True, slots=True)
class Audio:
    """Samples of speech are here."""


@dataclass(frozen=True, slots=True)
class SpeechEnds:
    """The user has stopped speaking, and all of the speech is here."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream is there."""

    stream: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream has ended, or could not be had; may come late."""

    stream: int
    reason: Reason
    why: str = ""
    """For people; never holds a secret."""


@dataclass(frozen=True, slots=True)
class Close:
    """The user's session has ended."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Subscribed | Unsubscribed | SpeechBegins | Audio | SpeechEnds | Opened | Lost | Close | Tick
EVENTS: Final = (Subscribed, Unsubscribed, SpeechBegins, Audio, SpeechEnds, Opened, Lost, Close, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Open:
    """Open a stream; Opened or Lost comes back."""

    stream: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Give the stream what has been waiting, and from now on what comes."""

    stream: int


@dataclass(frozen=True, slots=True)
class Release:
    """Close the stream, or what is being opened."""

    stream: int
    finish: bool
    """Whether a subscriber still wants its pending results."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The speech is not recognised now."""

    reason: Reason
    why: str
    refused: bool
    """There is no stream to be had; else one that was there has ended, and the next one may be."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """It is understood again."""


Effect = Open | Feed | Release | Fault | Healthy


class Recognition:
    """The machine; begins UNWANTED. `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float], times: StreamTimes) -> None:
        self.state = RecognitionState.UNWANTED
        self.stream = 0
        """Number of the newest stream; 0 before any."""
        self.records: list[Record[RecognitionState]] = []
        self.stale: Counter[str] = Counter()
        """Late events of older streams, by name."""
        self._times = times
        self._waits = {Reopening.SOON: Backoff(SOON, chance), Reopening.LATER: Backoff(LATER, chance)}
        self._speaking = False
        self._needed_until = 0.0
        """There is something to understand until then, unless more is said."""
        self._faulty = False
        self._opened_at = 0.0
        self._due: float | None = None
        """In LISTENING when the stream is given back, in WAITING when the next one is opened."""
        self._proven_at: float | None = None
        self._rests_until = 0.0

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return min((at for at in (self._due, self._proven_at) if at is not None), default=None)

    def _go(self, state: RecognitionState, event: Event, now: float, cause: str = "") -> None:
        number = Generation(self.stream)
        self.records.append(Record("recogniser", self.state, type(event).__name__, state, now, number, cause))
        self.state = state
        self._due = self._proven_at = None

    # ---- what is wanted

    def _want(self, event: Subscribed, now: float) -> list[Effect]:
        self._go(RecognitionState.QUIET, event, now)
        return self._open(event, now) if now < self._needed_until else []

    def _unwant(self, event: Unsubscribed, now: float) -> list[Effect]:
        held = self._held()
        self._go(RecognitionState.UNWANTED, event, now)
        return [*held, *self._well()]

    def _held(self) -> list[Effect]:
        holds = self.state in (RecognitionState.OPENING, RecognitionState.LISTENING)
        return [Release(self.stream, finish=False)] if holds else []

    def _open(self, event: Event, now: float) -> list[Effect]:
        self.stream += 1
        self._go(RecognitionState.OPENING, event, now)
        return [Open(self.stream)]

    # ---- what is said

    def _note(self, event: SpeechBegins | Audio | SpeechEnds, now: float) -> list[Effect]:
        self._speaking = not isinstance(event, SpeechEnds)
        self._needed_until = now + (self._times.idle if self._speaking else KEPT)
        return []

    def _begin(self, event: SpeechBegins | Audio, now: float) -> list[Effect]:
        self._note(event, now)
        return self._open(event, now)

    def _hear(self, event: SpeechBegins | Audio, now: float) -> list[Effect]:
        self._note(event, now)
        self._due = min(now + self._times.idle, self._opened_at + self._times.longest)
        return []

    def _pause(self, event: SpeechEnds, now: float) -> list[Effect]:
        self._note(event, now)
        old = now - self._opened_at >= self._times.longest / 2
        self._due = now if old else now + self._times.linger
        return []

    def _rest_on(self, event: Audio, now: float) -> list[Effect]:
        self._note(event, now)
        return self._open(event, now) if now >= self._rests_until else []

    # ---- streams

    def _start(self, event: Opened, now: float) -> list[Effect]:
        if event.stream != self.stream:
            return self._discard(event, now)
        self._go(RecognitionState.LISTENING, event, now)
        self._opened_at = now
        self._due = now + (self._times.idle if self._speaking else self._times.linger)
        self._proven_at = now + self._times.proven
        return [Feed(self.stream), *self._prove(now)]

    def _prove(self, now: float) -> list[Effect]:
        if self._proven_at is None or now < self._proven_at:
            return []
        self._proven_at = None
        return self._well()

    def _well(self) -> list[Effect]:
        was, self._faulty = self._faulty, False
        return [Healthy()] if was else []

    def _look(self, event: Tick, now: float) -> list[Effect]:
        """A deadline of a stream that listens: it is believed, or it has become idle or old."""
        proven = self._prove(now)
        if self._due is None or now < self._due:
            return proven
        self._go(RecognitionState.QUIET, event, now)
        release = Release(self.stream, finish=True)
        goes_on = self._speaking and now < self._needed_until
        return [*proven, release, *(self._open(event, now) if goes_on else [])]

    def _lose(self, event: Lost, now: float) -> list[Effect]:
        if event.stream != self.stream:
            return self._stale(event, now)
        reason, listened = event.reason, self.state is RecognitionState.LISTENING
        if listened and now - self._opened_at >= self._times.settled:
            for wait in self._waits.values():
                wait.reset()
            if reason is Reason.BAD_REQUEST:
                reason = Reason.CAP  # what was understood for so long is no mistake: the stream was too long
        told = self._tell(reason, event.why, refused=not listened)
        self._go(self._after(reason.again, now), event, now, reason.code)
        if self.state is RecognitionState.WAITING:
            wait = self._waits[reason.again]
            wait.not_at_once()
            self._due = now + wait.next_delay()
        elif reason.again is Reopening.WITH_AUDIO:
            self._rests_until = now + self._waits[Reopening.SOON].next_delay()
        else:
            self._rests_until = now + self._times.rest
        return told

    def _after(self, again: Reopening, now: float) -> RecognitionState:
        if again is Reopening.NEVER:
            return RecognitionState.REFUSED
        if again in (Reopening.WITH_AUDIO, Reopening.WITH_SPEECH):
            return RecognitionState.RESTING
        return RecognitionState.WAITING if now < self._needed_until else RecognitionState.QUIET

    def _tell(self, reason: Reason, why: str, *, refused: bool) -> list[Effect]:
        if not reason.is_fault:
            return []
        self._faulty = True
        return [Fault(reason, why or reason.text, refused or reason.refuses)]

    def _retry(self, event: Tick, now: float) -> list[Effect]:
        if self._due is None or now < self._due:
            return []
        if now < self._needed_until:
            return self._open(event, now)
        self._go(RecognitionState.QUIET, event, now, "nothing is left to understand")
        return []

    def _stale(self, event: Event, _now: float) -> list[Effect]:
        self.stale[type(event).__name__] += 1
        return []

    def _discard(self, event: Opened, now: float) -> list[Effect]:
        return [*self._stale(event, now), Release(event.stream, finish=False)]

    def _close(self, event: Close, now: float) -> list[Effect]:
        held = self._held()
        self._go(RecognitionState.ENDED, event, now)
        return held


_S = RecognitionState
_NO_STREAM = Ignored("there is no stream here: it was late")
_NO_TIMER = Ignored("no timer runs here: it was late")
_KNOWN = Ignored("it is so already")
_NEVER = Ignored("it is never tried again: an operator has to correct something")
_OVER = Ignored("it ends once")
TABLE: Final[dict[tuple[RecognitionState, type], Cell[RecognitionState] | Ignored]] = {
    (_S.UNWANTED, Subscribed): Cell(Recognition._want, (_S.QUIET, _S.OPENING)),
    (_S.UNWANTED, Unsubscribed): _KNOWN,
    (_S.UNWANTED, SpeechBegins): Cell(Recognition._note, (_S.UNWANTED,)),
    (_S.UNWANTED, Audio): Cell(Recognition._note, (_S.UNWANTED,)),
    (_S.UNWANTED, SpeechEnds): Cell(Recognition._note, (_S.UNWANTED,)),
    (_S.UNWANTED, Opened): Cell(Recognition._discard, (_S.UNWANTED,)),
    (_S.UNWANTED, Lost): Cell(Recognition._stale, (_S.UNWANTED,)),
    (_S.UNWANTED, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.UNWANTED, Tick): _NO_TIMER,
    (_S.QUIET, Subscribed): _KNOWN,
    (_S.QUIET, Unsubscribed): Cell(Recognition._unwant, (_S.UNWANTED,)),
    (_S.QUIET, SpeechBegins): Cell(Recognition._begin, (_S.OPENING,)),
    (_S.QUIET, Audio): Cell(Recognition._begin, (_S.OPENING,)),
    (_S.QUIET, SpeechEnds): Ignored("nothing is pending"),
    (_S.QUIET, Opened): Cell(Recognition._discard, (_S.QUIET,)),
    (_S.QUIET, Lost): Cell(Recognition._stale, (_S.QUIET,)),
    (_S.QUIET, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.QUIET, Tick): _NO_TIMER,
    (_S.OPENING, Subscribed): _KNOWN,
    (_S.OPENING, Unsubscribed): Cell(Recognition._unwant, (_S.UNWANTED,)),
    (_S.OPENING, SpeechBegins): Cell(Recognition._note, (_S.OPENING,)),
    (_S.OPENING, Audio): Cell(Recognition._note, (_S.OPENING,)),
    (_S.OPENING, SpeechEnds): Cell(Recognition._note, (_S.OPENING,)),
    (_S.OPENING, Opened): Cell(Recognition._start, (_S.LISTENING, _S.OPENING)),
    (_S.OPENING, Lost): Cell(Recognition._lose, (_S.OPENING, _S.WAITING, _S.RESTING, _S.REFUSED, _S.QUIET)),
    (_S.OPENING, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.OPENING, Tick): _NO_TIMER,
    (_S.LISTENING, Subscribed): _KNOWN,
    (_S.LISTENING, Unsubscribed): Cell(Recognition._unwant, (_S.UNWANTED,)),
    (_S.LISTENING, SpeechBegins): Cell(Recognition._hear, (_S.LISTENING,)),
    (_S.LISTENING, Audio): Cell(Recognition._hear, (_S.LISTENING,)),
    (_S.LISTENING, SpeechEnds): Cell(Recognition._pause, (_S.LISTENING,)),
    (_S.LISTENING, Opened): Cell(Recognition._discard, (_S.LISTENING,)),
    (_S.LISTENING, Lost): Cell(Recognition._lose, (_S.LISTENING, _S.WAITING, _S.RESTING, _S.REFUSED, _S.QUIET)),
    (_S.LISTENING, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.LISTENING, Tick): Cell(Recognition._look, (_S.LISTENING, _S.QUIET, _S.OPENING)),
    (_S.WAITING, Subscribed): _KNOWN,
    (_S.WAITING, Unsubscribed): Cell(Recognition._unwant, (_S.UNWANTED,)),
    (_S.WAITING, SpeechBegins): Cell(Recognition._note, (_S.WAITING,)),
    (_S.WAITING, Audio): Cell(Recognition._note, (_S.WAITING,)),
    (_S.WAITING, SpeechEnds): Cell(Recognition._note, (_S.WAITING,)),
    (_S.WAITING, Opened): Cell(Recognition._discard, (_S.WAITING,)),
    (_S.WAITING, Lost): Cell(Recognition._stale, (_S.WAITING,)),
    (_S.WAITING, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.WAITING, Tick): Cell(Recognition._retry, (_S.WAITING, _S.OPENING, _S.QUIET)),
    (_S.RESTING, Subscribed): _KNOWN,
    (_S.RESTING, Unsubscribed): Cell(Recognition._unwant, (_S.UNWANTED,)),
    (_S.RESTING, SpeechBegins): Cell(Recognition._begin, (_S.OPENING,)),
    (_S.RESTING, Audio): Cell(Recognition._rest_on, (_S.RESTING, _S.OPENING)),
    (_S.RESTING, SpeechEnds): Cell(Recognition._note, (_S.RESTING,)),
    (_S.RESTING, Opened): Cell(Recognition._discard, (_S.RESTING,)),
    (_S.RESTING, Lost): Cell(Recognition._stale, (_S.RESTING,)),
    (_S.RESTING, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.RESTING, Tick): _NO_TIMER,
    (_S.REFUSED, Subscribed): _NEVER,
    (_S.REFUSED, Unsubscribed): _NEVER,
    (_S.REFUSED, SpeechBegins): _NEVER,
    (_S.REFUSED, Audio): _NEVER,
    (_S.REFUSED, SpeechEnds): _NEVER,
    (_S.REFUSED, Opened): Cell(Recognition._discard, (_S.REFUSED,)),
    (_S.REFUSED, Lost): Cell(Recognition._stale, (_S.REFUSED,)),
    (_S.REFUSED, Close): Cell(Recognition._close, (_S.ENDED,)),
    (_S.REFUSED, Tick): _NO_TIMER,
    (_S.ENDED, Subscribed): _OVER,
    (_S.ENDED, Unsubscribed): _OVER,
    (_S.ENDED, SpeechBegins): _OVER,
    (_S.ENDED, Audio): _OVER,
    (_S.ENDED, SpeechEnds): _OVER,
    (_S.ENDED, Opened): Cell(Recognition._discard, (_S.ENDED,)),
    (_S.ENDED, Lost): _NO_STREAM,
    (_S.ENDED, Close): _OVER,
    (_S.ENDED, Tick): _NO_TIMER,
}
