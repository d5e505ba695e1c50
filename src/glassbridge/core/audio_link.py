"""The audio link of one session: from "audio is wanted" to "audio is arriving", and back. It owns the truth.

Rules
- Only audio proves audio. A join, an open stream, an answered status prove that the way is built; `live` is told on
  the first samples or the first presence frame, by whichever path they come.
- Silence is a fault only where there should be none. A phone that numbers its audio sends something each second: three
  seconds of nothing is a fault. An old phone is judged only while its voice detector says speech and its microphone is
  on. A phone that is heard on one path is not missed on the other.
- A fresh join is the only repair. One attempt is in flight at most, each with a generation of its own; what carries
  another generation is counted and dropped. The first attempt goes at once, later ones wait (core/backoff.py), and they
  never end while the phone is here. Only a new socket of the phone, or audio that stayed for SETTLED seconds, makes
  the next attempt a first one again, so that two backends cannot fight at full speed.
- While the phone is away its place in the room is held, and a lost place is not fought for: whoever holds the phone's
  socket owns the user. When the phone is back, the bridge is asked whether the place is still there.
- What the phone is told is computed from all this after each step, and sent when it changed.

It does not know bridges, sockets, LiveKit, clocks or chance; time and chance are arguments.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Final

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import AudioState, Generation, LossReason

SILENCE: Final = 3.0
"""Seconds without a frame, where frames are due, that make a fault."""
SETTLED: Final = 5.0
"""Seconds of audio after which a join counts as a success."""
STOOD_STILL: Final = 1.0
"""A deadline that is late by more than so many seconds says that we were frozen, not that the phone was silent."""


class Path(Enum):
    """How audio comes from the phone."""

    ROOM = "livekit"
    SOCKET = "websocket"


class LinkState(Enum):
    """`placed` says whether a bridge holds a place in the room for us, as far as we know."""

    IDLE = ("idle", False)
    JOINING = ("joining", False)
    AWAITING_AUDIO = ("awaiting_audio", True)
    LIVE = ("live", True)
    INTERRUPTED = ("interrupted", True)
    """The place is there, and nothing is heard that should be; the next join is due at a deadline."""
    BACKING_OFF = ("backing_off", False)
    HELD = ("held", True)
    """The phone is away; the place is kept for it."""

    def __init__(self, label: str, placed: bool) -> None:
        self.label = label
        self.placed = placed


class BridgeFault(Enum):
    """What can be wrong with a bridge, before or beside its place in a room (that is LossReason)."""

    NONE_ANSWERS = ("no_bridge", "no bridge can be reached")
    TIMED_OUT = ("bridge_timed_out", "the bridge did not answer in time")
    REFUSED = ("bridge_refused", "the bridge could not join the room")
    DIED = ("bridge_died", "the bridge is gone")

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text


Trouble = LossReason | BridgeFault

# ---- events


@dataclass(frozen=True, slots=True)
class Wanted:
    """A new socket of the phone is here and wants audio to flow."""

    room: bool
    """It wants the LiveKit room; once wanted it stays so for the session."""
    numbers: bool
    """It numbers its audio, and so sends something each second."""


@dataclass(frozen=True, slots=True)
class Away:
    """The phone's socket is gone; it may come back."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The session ends."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The bridge is in the room and its audio stream is open."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class JoinFailed:
    """The attempt ended without a place or without a stream."""

    generation: Generation
    reason: Trouble


@dataclass(frozen=True, slots=True)
class StreamBroke:
    """The audio stream ended, and the place with it."""

    generation: Generation
    reason: Trouble


@dataclass(frozen=True, slots=True)
class Status:
    """The bridge's answer to AskStatus, or that there was none."""

    generation: Generation
    lost: Trouble | None
    """None: it says that it is in the room."""


@dataclass(frozen=True, slots=True)
class BridgeBack:
    """A bridge that was down answers again."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Samples or a presence frame came. Owners may leave out frames that follow one within a fraction of SILENCE."""

    path: Path
    generation: Generation
    """Of the stream that brought it; of no meaning for the socket."""
    numbered: bool


@dataclass(frozen=True, slots=True)
class Microphone:
    """The phone switched its microphone."""

    on: bool


@dataclass(frozen=True, slots=True)
class Voice:
    """The phone's voice detector."""

    speaking: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = (
    Wanted
    | Away
    | Unwanted
    | Joined
    | JoinFailed
    | StreamBroke
    | Status
    | BridgeBack
    | Heard
    | Microphone
    | Voice
    | Tick
)
EVENTS: Final = Event.__args__


# ---- effects


@dataclass(frozen=True, slots=True)
class Join:
    """Put a bridge into the room with a fresh token and open its audio stream, in place of what there is of ours."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class Leave:
    """Give up the attempt or the place of this generation, and no other."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class AskStatus:
    """Ask the bridge whether it still is in the room."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class Notice:
    """What is true of the phone's audio."""

    state: AudioState
    code: str = ""
    """For programs: the code of a Trouble, `joining`, `awaiting_audio` or `no_audio`."""
    text: str = ""
    """For people; empty when live."""
    retry_at: float | None = None
    """Monotonic seconds of the next attempt; None when none is planned."""
    path: Path = Path.SOCKET
    """Where audio is welcome now: in the room, unless there is no place in it or nothing came through it."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the phone."""

    notice: Notice


Effect = Join | Leave | AskStatus | Notify

_LIVE = Notice(AudioState.LIVE)
_JOINING = Notice(AudioState.CONNECTING, "joining", "joining the room")
_AWAITING = Notice(AudioState.CONNECTING, "awaiting_audio", "ready; nothing has been heard yet")
_SILENT = Notice(AudioState.INTERRUPTED, "no_audio", f"nothing has arrived from the phone for {SILENCE:.0f} seconds")


@dataclass(frozen=True, slots=True)
class _Phone:
    """What the phone said of itself. Its microphone is on until it says otherwise: the cloud asks for that."""

    here: bool = False
    room: bool = False
    numbers: bool = False
    microphone: bool = True
    speaking_since: float | None = None

    def due_since(self) -> float | None:
        """From when something should be arriving from this phone; None while it may be silent."""
        if self.numbers:
            return -inf
        return self.speaking_since if self.microphone else None


class AudioLink:
    """The machine of one session's audio; begins IDLE. `first` must exceed every generation that was used for this user
    before, by this process or another: unix milliseconds do. `chance` gives numbers in [0, 1)."""

    def __init__(self, first: Generation, chance: Callable[[], float], ladder: Ladder = Ladder()) -> None:  # noqa: B008
        self.state = LinkState.IDLE
        self.generation = first
        """Of the current attempt or place."""
        self.records: list[Record[LinkState]] = []
        self.stale: Counter[str] = Counter()
        """Results of former generations, by name."""
        self._backoff = Backoff(ladder, chance)
        self._phone = _Phone()
        self._heard: set[Path] = set()
        """Paths that brought something since they were last lost or at fault."""
        self._deaf = False
        """The room was silent where it should not have been, and has not been heard since."""
        self._listening_since: float | None = None
        """From when silence counts; None while it proves nothing or is told already."""
        self._live_since = 0.0
        self._retry_at: float | None = None
        self._trouble: Notice | None = None
        """What the phone is told until the way is built again."""
        self._told: Notice | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        if self._is_stale(event):
            self.stale[type(event).__name__] += 1
            return []
        cell = TABLE[self.state, type(event)]
        effects: list[Effect] = [] if isinstance(cell, Ignored) else cell.by(self, event, now)
        return effects + self._tell()

    def next_deadline(self) -> float | None:
        return min((at for at in (self._retry_at, self._fault_at()) if at is not None), default=None)

    def _is_stale(self, event: Event) -> bool:
        if isinstance(event, Heard) and event.path is Path.SOCKET:
            return False
        return getattr(event, "generation", self.generation) != self.generation

    def _go(self, state: LinkState, event: Event, now: float, cause: str = "") -> None:
        self.records.append(Record("audio_link", self.state, type(event).__name__, state, now, self.generation, cause))
        self.state = state
        self._retry_at = None
        if not state.placed:
            self._heard.discard(Path.ROOM)

    # ---- truth

    def _tell(self) -> list[Effect]:
        notice = self._truth() if self._phone.here else None
        if notice is None or notice == self._told:
            return []
        self._told = notice
        return [Notify(notice)]

    def _truth(self) -> Notice:
        waiting = _JOINING if self.state is LinkState.JOINING else _AWAITING
        notice = _LIVE if self._heard else self._trouble or waiting
        return replace(notice, path=Path.ROOM if self.state.placed and not self._deaf else Path.SOCKET)

    def _fault_at(self) -> float | None:
        """When silence becomes a fault if nothing more comes; None where silence proves nothing."""
        due_since = self._phone.due_since()
        if self._listening_since is None or due_since is None:
            return None
        return max(self._listening_since, due_since) + SILENCE

    # ---- the way to the room

    def _join(self, event: Event, now: float, cause: str = "") -> list[Effect]:
        self.generation = Generation(self.generation + 1)
        self._go(LinkState.JOINING, event, now, cause)
        self._listen_on(now)
        return [Join(self.generation)]

    def _listen_on(self, now: float) -> None:
        """Without a place in the room, silence means something only where the socket was heard."""
        self._listening_since = now if self._heard else None

    def _join_later(self, event: Event, now: float, trouble: Notice, wait_in: LinkState) -> list[Effect]:
        """Joins at once or waits in `wait_in`, as the ladder says; the phone is told `trouble`."""
        if self.state is LinkState.LIVE and now - self._live_since >= SETTLED:
            self._backoff.reset()
        delay = self._backoff.next_delay()
        self._trouble = replace(trouble, retry_at=now + delay)
        if delay == 0.0:
            return self._join(event, now, trouble.code)
        self._go(wait_in, event, now, trouble.code)
        self._listen_on(now)
        self._retry_at = now + delay
        return []

    def _arrive(self, event: Wanted, now: float) -> None:
        """A new socket: what was proven by the former one is to be proven anew, and the next join is a first one."""
        self._backoff.reset()
        self._phone = _Phone(here=True, room=self._phone.room or event.room, numbers=event.numbers)
        self._told = self._trouble = None
        self._deaf = False
        self._heard.clear()
        self._listening_since = now

    def _want(self, event: Wanted, now: float) -> list[Effect]:
        self._arrive(event, now)
        if not self._phone.room:
            return []
        self._backoff.next_delay()  # the first one is at once
        return self._join(event, now)

    def _want_more(self, event: Wanted, now: float) -> list[Effect]:
        trouble = self._trouble
        self._arrive(event, now)
        self._listening_since, self._trouble = None, trouble
        return []

    def _want_again(self, event: Wanted, now: float) -> list[Effect]:
        self._arrive(event, now)
        self._go(LinkState.AWAITING_AUDIO, event, now)
        return [AskStatus(self.generation)]

    def _depart(self) -> None:
        self._phone = replace(self._phone, here=False)
        self._heard.clear()
        self._listening_since = self._trouble = None

    def _hold(self, event: Away, now: float) -> list[Effect]:
        self._depart()
        self._go(LinkState.HELD, event, now)
        return []

    def _give_up(self, event: Away | Unwanted, now: float) -> list[Effect]:
        self._depart()
        self._go(LinkState.IDLE, event, now)
        return [Leave(self.generation)]

    def _go_away(self, _event: Away | Unwanted, _now: float) -> list[Effect]:
        self._depart()
        return []

    def _joined(self, event: Joined, now: float) -> list[Effect]:
        self._go(LinkState.AWAITING_AUDIO, event, now)
        silent = self._trouble is not None and self._trouble.code == _SILENT.code
        self._trouble = _SILENT if silent and self._phone.due_since() is not None else None
        self._deaf = self._deaf and self._phone.numbers  # one that numbers goes on proving the room from afar
        self._listening_since = now
        return []

    def _joined_too_late(self, _event: Joined, _now: float) -> list[Effect]:
        return [Leave(self.generation)]

    def _failed(self, event: JoinFailed, now: float) -> list[Effect]:
        trouble = Notice(AudioState.UNAVAILABLE, event.reason.code, event.reason.text)
        return self._join_later(event, now, trouble, LinkState.BACKING_OFF)

    def _broke(self, event: StreamBroke, now: float) -> list[Effect]:
        return self._lost(event, event.reason, now)

    def _answered(self, event: Status, now: float) -> list[Effect]:
        return [] if event.lost is None else self._lost(event, event.lost, now)

    def _lost(self, event: Event, reason: Trouble, now: float) -> list[Effect]:
        trouble = Notice(AudioState.INTERRUPTED, reason.code, reason.text)
        return self._join_later(event, now, trouble, LinkState.BACKING_OFF)

    def _release(self, event: StreamBroke, now: float) -> list[Effect]:
        self._go(LinkState.IDLE, event, now, event.reason.code)
        return []

    def _hasten(self, _event: BridgeBack, now: float) -> list[Effect]:
        """All who wait for a bridge come within the first rung of the ladder, spread over it."""
        if self._retry_at is not None and self._trouble is not None:
            self._retry_at = min(self._retry_at, now + self._backoff.spread())
            self._trouble = replace(self._trouble, retry_at=self._retry_at)
        return []

    # ---- what is heard, and what should be

    def _hear_placed(self, event: Heard, now: float) -> list[Effect]:
        self._hear(event, now)
        if self.state is not LinkState.LIVE:
            self._trouble = None
            self._live_since = now
            self._go(LinkState.LIVE, event, now)
        return []

    def _hear_unplaced(self, event: Heard, now: float) -> list[Effect]:
        if event.path is Path.SOCKET:
            self._hear(event, now)
            if self.state is LinkState.IDLE:
                self._trouble = None
        return []

    def _hear(self, event: Heard, now: float) -> None:
        self._heard.add(event.path)
        self._listening_since = now
        if event.path is Path.ROOM:
            self._deaf = False
        if event.numbered and not self._phone.numbers:
            self._phone = replace(self._phone, numbers=True)

    def _learn(self, event: Microphone | Voice, now: float) -> list[Effect]:
        if isinstance(event, Microphone):
            self._phone = replace(self._phone, microphone=event.on)
        elif not event.speaking:
            self._phone = replace(self._phone, speaking_since=None)
        elif self._phone.speaking_since is None:
            self._phone = replace(self._phone, speaking_since=now)
        return []

    def _learn_placed(self, event: Microphone | Voice, now: float) -> list[Effect]:
        """A phone that falls silent on purpose is healthy: what its silence was taken for is taken back."""
        self._learn(event, now)
        if self.state is not LinkState.LIVE and self._phone.due_since() is None:
            self._trouble = None
            self._listening_since = now
            if self.state is LinkState.INTERRUPTED:
                self._go(LinkState.AWAITING_AUDIO, event, now)
        return []

    def _tick(self, event: Tick, now: float) -> list[Effect]:
        if self._retry_at is not None and now >= self._retry_at:
            return self._join(event, now)
        fault_at = self._fault_at()
        if fault_at is None or now < fault_at:
            return []
        if now - fault_at > STOOD_STILL:  # it was us who slept: what has arrived meanwhile is still to be read
            self._listening_since = now
            return []
        self._heard.clear()
        self._listening_since = None
        if self.state.placed:
            self._deaf = True
            return self._join_later(event, now, _SILENT, LinkState.INTERRUPTED)
        if self.state is LinkState.IDLE:
            self._trouble = _SILENT
        return []


_L = LinkState
_NO_PLACE = Ignored("nothing of ours is in a room")
_NOT_NOW = Ignored("this attempt has not got so far")
_DECIDED = Ignored("this attempt has ended")
_BETTER = Ignored("what is heard, or a join that is due, counts more")
_NOBODY = Ignored("the phone is away")
_NOT_WAITING = Ignored("no join waits for a bridge")
TABLE: Final[dict[tuple[LinkState, type], Cell[LinkState] | Ignored]] = {
    (_L.IDLE, Wanted): Cell(AudioLink._want, (_L.IDLE, _L.JOINING)),
    (_L.IDLE, Away): Cell(AudioLink._go_away, (_L.IDLE,)),
    (_L.IDLE, Unwanted): Cell(AudioLink._go_away, (_L.IDLE,)),
    (_L.IDLE, Joined): Cell(AudioLink._joined_too_late, (_L.IDLE,)),
    (_L.IDLE, JoinFailed): _NO_PLACE,
    (_L.IDLE, StreamBroke): _NO_PLACE,
    (_L.IDLE, Status): _NO_PLACE,
    (_L.IDLE, BridgeBack): _NOT_WAITING,
    (_L.IDLE, Heard): Cell(AudioLink._hear_unplaced, (_L.IDLE,)),
    (_L.IDLE, Microphone): Cell(AudioLink._learn, (_L.IDLE,)),
    (_L.IDLE, Voice): Cell(AudioLink._learn, (_L.IDLE,)),
    (_L.IDLE, Tick): Cell(AudioLink._tick, (_L.IDLE,)),
    (_L.JOINING, Wanted): Cell(AudioLink._want_more, (_L.JOINING,)),
    (_L.JOINING, Away): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.JOINING, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.JOINING, Joined): Cell(AudioLink._joined, (_L.AWAITING_AUDIO,)),
    (_L.JOINING, JoinFailed): Cell(AudioLink._failed, (_L.BACKING_OFF, _L.JOINING)),
    (_L.JOINING, StreamBroke): _NOT_NOW,
    (_L.JOINING, Status): _NOT_NOW,
    (_L.JOINING, BridgeBack): _NOT_WAITING,
    (_L.JOINING, Heard): Cell(AudioLink._hear_unplaced, (_L.JOINING,)),
    (_L.JOINING, Microphone): Cell(AudioLink._learn, (_L.JOINING,)),
    (_L.JOINING, Voice): Cell(AudioLink._learn, (_L.JOINING,)),
    (_L.JOINING, Tick): Cell(AudioLink._tick, (_L.JOINING,)),
    (_L.AWAITING_AUDIO, Wanted): Cell(AudioLink._want_again, (_L.AWAITING_AUDIO,)),
    (_L.AWAITING_AUDIO, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.AWAITING_AUDIO, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.AWAITING_AUDIO, Joined): _DECIDED,
    (_L.AWAITING_AUDIO, JoinFailed): _DECIDED,
    (_L.AWAITING_AUDIO, StreamBroke): Cell(AudioLink._broke, (_L.JOINING, _L.BACKING_OFF)),
    (_L.AWAITING_AUDIO, Status): Cell(AudioLink._answered, (_L.AWAITING_AUDIO, _L.JOINING, _L.BACKING_OFF)),
    (_L.AWAITING_AUDIO, BridgeBack): _NOT_WAITING,
    (_L.AWAITING_AUDIO, Heard): Cell(AudioLink._hear_placed, (_L.LIVE,)),
    (_L.AWAITING_AUDIO, Microphone): Cell(AudioLink._learn_placed, (_L.AWAITING_AUDIO,)),
    (_L.AWAITING_AUDIO, Voice): Cell(AudioLink._learn_placed, (_L.AWAITING_AUDIO,)),
    (_L.AWAITING_AUDIO, Tick): Cell(AudioLink._tick, (_L.AWAITING_AUDIO, _L.JOINING, _L.INTERRUPTED)),
    (_L.LIVE, Wanted): Cell(AudioLink._want_again, (_L.AWAITING_AUDIO,)),
    (_L.LIVE, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.LIVE, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.LIVE, Joined): _DECIDED,
    (_L.LIVE, JoinFailed): _DECIDED,
    (_L.LIVE, StreamBroke): Cell(AudioLink._broke, (_L.JOINING, _L.BACKING_OFF)),
    (_L.LIVE, Status): _BETTER,
    (_L.LIVE, BridgeBack): _NOT_WAITING,
    (_L.LIVE, Heard): Cell(AudioLink._hear_placed, (_L.LIVE,)),
    (_L.LIVE, Microphone): Cell(AudioLink._learn_placed, (_L.LIVE,)),
    (_L.LIVE, Voice): Cell(AudioLink._learn_placed, (_L.LIVE,)),
    (_L.LIVE, Tick): Cell(AudioLink._tick, (_L.LIVE, _L.JOINING, _L.INTERRUPTED)),
    (_L.INTERRUPTED, Wanted): Cell(AudioLink._want_again, (_L.AWAITING_AUDIO,)),
    (_L.INTERRUPTED, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.INTERRUPTED, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.INTERRUPTED, Joined): _DECIDED,
    (_L.INTERRUPTED, JoinFailed): _DECIDED,
    (_L.INTERRUPTED, StreamBroke): Cell(AudioLink._broke, (_L.BACKING_OFF, _L.JOINING)),
    (_L.INTERRUPTED, Status): _BETTER,
    (_L.INTERRUPTED, BridgeBack): _NOT_WAITING,
    (_L.INTERRUPTED, Heard): Cell(AudioLink._hear_placed, (_L.LIVE,)),
    (_L.INTERRUPTED, Microphone): Cell(AudioLink._learn_placed, (_L.INTERRUPTED, _L.AWAITING_AUDIO)),
    (_L.INTERRUPTED, Voice): Cell(AudioLink._learn_placed, (_L.INTERRUPTED, _L.AWAITING_AUDIO)),
    (_L.INTERRUPTED, Tick): Cell(AudioLink._tick, (_L.INTERRUPTED, _L.JOINING)),
    (_L.BACKING_OFF, Wanted): Cell(AudioLink._want, (_L.JOINING,)),
    (_L.BACKING_OFF, Away): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.BACKING_OFF, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.BACKING_OFF, Joined): _DECIDED,
    (_L.BACKING_OFF, JoinFailed): _DECIDED,
    (_L.BACKING_OFF, StreamBroke): _DECIDED,
    (_L.BACKING_OFF, Status): _NO_PLACE,
    (_L.BACKING_OFF, BridgeBack): Cell(AudioLink._hasten, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, Heard): Cell(AudioLink._hear_unplaced, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, Microphone): Cell(AudioLink._learn, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, Voice): Cell(AudioLink._learn, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, Tick): Cell(AudioLink._tick, (_L.BACKING_OFF, _L.JOINING)),
    (_L.HELD, Wanted): Cell(AudioLink._want_again, (_L.AWAITING_AUDIO,)),
    (_L.HELD, Away): _NOBODY,
    (_L.HELD, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.HELD, Joined): _DECIDED,
    (_L.HELD, JoinFailed): _DECIDED,
    (_L.HELD, StreamBroke): Cell(AudioLink._release, (_L.IDLE,)),
    (_L.HELD, Status): _NOBODY,
    (_L.HELD, BridgeBack): _NOT_WAITING,
    (_L.HELD, Heard): _NOBODY,
    (_L.HELD, Microphone): _NOBODY,
    (_L.HELD, Voice): _NOBODY,
    (_L.HELD, Tick): _NOBODY,
}
