"""One app of one user, at one cloud: when its server is asked to connect, and what happens when its socket is lost, its
user's phone is away, or its user moves to another cloud.

Rules
- The app's own server is asked by webhook to connect. The newest socket speaks; an older one is closed.
- After the loss of a socket, with any close code, the app has `grace` seconds to come back by itself. Then its server
  is asked again, with growing gaps, for `revival` seconds: longer than moving a server takes. If the socket died
  unseen, there is no grace: the app does not know of the loss. Only the user stops an app. If no call brings it back,
  the app has ended, and the user is told.
- A webhook call that is answered but brings no socket within `connect` seconds counts as a failure. If the app's server
  refuses the call because it has another API key, a start ends at once: asking again does not change a key. An app that
  ran before is asked again, as after any failure: its key may be changing.
- While the user's phone is away, no call is made: the phone may be with another cloud, which calls the same app, and
  the cloud that called last gets the app. An app that is lost meanwhile is paused, and called as soon as the phone is
  back. A paused app ends without a message to its server: the session there may be another cloud's by now.
- When the phone is back, an app whose socket seems to be open must show that it is alive: the socket may have died
  unseen, and the app may be with the cloud that the phone comes from.
- An app that announces that it goes to another cloud (`Released`) is not called for `elsewhere` seconds: a phone that
  has moved is noticed here within that time. If the phone is heard here more than `doubt` seconds later, it has not
  moved: it had only visited the other cloud, and the app is called at once.
- An app that comes and goes gets no new budget until one of its sockets has lasted `settled` seconds. An app that came
  back upon a call gets its grace again at the next loss, even if the revival took all the budget.

How several clouds hand an app over: cloud/apps/user_apps.py. It does not know webhooks, sockets or clocks. Sockets are
numbered by their owner, greater for each newer one; webhook calls are numbered here.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from glassbridge.core.app_times import TIMES, WEBHOOKS, AppTimes
from glassbridge.core.backoff import Backoff
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.session import SocketNumber
from glassbridge.core.values import Generation

Shown = Literal["starting", "running", "reconnecting", "stopped"]


class AppState(Enum):
    """`shown`: the word for the phone; `final`: nothing can happen any more."""

    ABSENT = ("absent", "stopped", False)
    STARTING = ("starting", "starting", False)
    RUNNING = ("running", "running", False)
    GRACE = ("grace", "reconnecting", False)
    REVIVING = ("reviving", "reconnecting", False)
    PAUSED = ("paused", "reconnecting", False)
    STOPPED = ("stopped", "stopped", True)

    def __init__(self, label: str, shown: Shown, final: bool) -> None:
        self.label = label
        self.shown = shown
        self.final = final


class StopReason(Enum):
    """Why an app ended. `code` and `text` go to the app and the phone; `told`: its server gets a message too. The
    original's SDK looks for "User session ended" in the reason of a close."""

    USER = ("user_disabled", "stopped by the user", True)
    SYSTEM = ("system_stop", "User session ended", True)
    NEVER_CAME = ("error", "the app's server did not answer", True)
    WRONG_KEY = (
        "error",
        "the app has another API key than the one that is registered here: set APP_KEY, or `glassbridge apps rekey`",
        False,
    )
    LOST = ("error", "the app's server went away and did not come back", True)
    FAILED = ("error", "this cloud failed while it served the app", True)
    MOVING = ("moving", "moving: this cloud is stopping, connect again", False)
    ELSEWHERE = ("system_stop", "the user did not come back to this cloud", False)

    def __init__(self, code: str, text: str, told: bool) -> None:
        self.code = code
        self.text = text
        self.told = told


# ---- events


@dataclass(frozen=True, slots=True)
class Start:
    """The user starts it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The user stops it, or the user's session has ended."""

    reason: StopReason


@dataclass(frozen=True, slots=True)
class SocketOpened:
    """The app has connected and authenticated."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """A socket of the app is closed; the event may be late, and may be of any socket."""

    socket: SocketNumber
    unseen: bool = False
    """It died without a close: the app may not know yet, and does not come back by itself."""


@dataclass(frozen=True, slots=True)
class Released:
    """The app announces on this socket that it goes to another cloud."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class PhoneAway:
    """The user's phone is not connected to this cloud any more."""


@dataclass(frozen=True, slots=True)
class PhoneBack:
    """The user's phone is here again."""


@dataclass(frozen=True, slots=True)
class PhoneSpoke:
    """Something came from the user's phone; needed while `released` only."""


@dataclass(frozen=True, slots=True)
class Called:
    """A webhook call has ended."""

    call: int
    accepted: bool
    refused: bool = False
    """The app's server does not accept this cloud's signature: it has another API key."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Start | Stop | SocketOpened | SocketClosed | Released | PhoneAway | PhoneBack | PhoneSpoke | Called | Tick
EVENTS: Final = (Start, Stop, SocketOpened, SocketClosed, Released, PhoneAway, PhoneBack, PhoneSpoke, Called, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class CallWebhook:
    """Ask the app's server to connect; Called comes back, however it ends."""

    call: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """This socket speaks for the app now."""

    socket: SocketNumber
    resumed: bool
    """True when the app had a socket before."""


@dataclass(frozen=True, slots=True)
class Supersede:
    """Close this socket: a newer one took over."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class Refuse:
    """Close this socket: the app does not run here."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class Doubt:
    """Close this socket unless it gives a sign of life soon."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the phone how the app is now."""

    state: AppState


@dataclass(frozen=True, slots=True)
class Dispose:
    """The app has ended: tell app, server and phone, and forget it; `socket` is the one to close."""

    reason: StopReason
    socket: SocketNumber | None


Effect = CallWebhook | Adopt | Supersede | Refuse | Doubt | Announce | Dispose


class AppSession:
    """The machine of one app; begins ABSENT, is used once. `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float], times: AppTimes = TIMES) -> None:
        self.state = AppState.ABSENT
        self.socket: SocketNumber | None = None
        """The socket that speaks; None in every state but RUNNING."""
        self.records: list[Record[AppState]] = []
        self.stale: Counter[str] = Counter()
        """Late events of superseded sockets and webhook calls, by name."""
        self._times = times
        self._backoff = Backoff(WEBHOOKS, chance)
        self._calls = 0
        self._met = False
        """It has had a socket."""
        self._phone_here = True
        self._released_at: float | None = None
        """When the app went to another cloud; None if it did not, or has been called or has come back since."""
        self._opened_at = 0.0
        self._earned_grace = 0.0
        """Seconds of grace that a loss of this socket grants beyond the budget."""
        self._due: float | None = None
        """When its server is called next; None while a call is in flight."""
        self._gives_up_at: float | None = None
        """The end of the budget. A running app keeps it until it has settled."""

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    @property
    def released(self) -> bool:
        """The app has gone to another cloud, and the phone seems to be here."""
        return self._released_at is not None

    def next_deadline(self) -> float | None:
        if self.state is AppState.RUNNING:
            return None
        return min((at for at in (self._due, self._gives_up_at) if at is not None), default=None)

    def _go(self, state: AppState, event: Event, now: float, cause: str = "") -> list[Effect]:
        number = Generation(self.socket or 0)
        told = state.shown != self.state.shown and not state.final
        self.records.append(Record("app_session", self.state, type(event).__name__, state, now, number, cause))
        self.state = state
        self._due = self._released_at = None
        return [Announce(state)] if told else []

    # ---- asking the app's server

    def _begin(self, event: Start, now: float) -> list[Effect]:
        self._gives_up_at = now + self._times.start
        return [*self._go(AppState.STARTING, event, now), self._call()]

    def _call(self) -> CallWebhook:
        self._calls += 1
        self._due = None
        return CallWebhook(self._calls)

    def _called(self, event: Called, now: float) -> list[Effect]:
        if event.call != self._calls:
            self.stale["Called"] += 1
            return []
        if event.refused and not self._met:
            return self._end(event, now, StopReason.WRONG_KEY)
        if event.accepted:
            self._due = now + self._times.connect
        else:
            self._backoff.not_at_once()
            self._due = now + self._backoff.next_delay()
        return []

    def _ask(self, event: Tick, now: float) -> list[Effect]:
        """A deadline while the app has no socket."""
        if self._gives_up_at is not None and now >= self._gives_up_at:
            return self._end(event, now, StopReason.LOST if self._met else StopReason.NEVER_CAME)
        if self._due is None or now < self._due:
            return []
        told = self._go(AppState.REVIVING, event, now) if self.state is AppState.GRACE else []
        return [*told, self._call()]

    def _hasten(self, _event: Start, now: float) -> list[Effect]:
        """The user starts it again: a full budget, and no waiting."""
        self._gives_up_at = now + self._times.revival
        if self._due is None:
            return []
        self._backoff.reset()
        return [self._call()]

    # ---- its sockets

    def _adopt(self, event: SocketOpened, now: float) -> list[Effect]:
        self.socket = event.socket
        self._opened_at = now
        self._earned_grace = self._times.grace if self.state is AppState.REVIVING else 0.0
        told = self._go(AppState.RUNNING, event, now)
        resumed, self._met = self._met, True
        if not resumed:
            self._gives_up_at = None
        return [Adopt(event.socket, resumed), *told]

    def _supersede(self, event: SocketOpened, now: float) -> list[Effect]:
        older = self.socket
        if older is None or event.socket <= older:
            self.stale["SocketOpened"] += 1
            return [Supersede(event.socket)]
        if self._has_settled(now):
            self._gives_up_at = None  # the older socket has earned a full budget, which the newer one inherits
        return [Supersede(older), *self._adopt(event, now)]

    def _has_settled(self, now: float) -> bool:
        """Whether the current socket has lasted so long that its loss counts as a new trouble."""
        return now - self._opened_at >= self._times.settled

    def _lose(self, event: SocketClosed | Released, now: float) -> list[Effect]:
        if event.socket != self.socket:
            self.stale[type(event).__name__] += 1
            return []
        if self._gives_up_at is None or self._has_settled(now):
            self._backoff.reset()
            self._gives_up_at = now + self._times.revival
        if not self._phone_here:
            return self._pause(event, now)
        told = self._go(AppState.GRACE, event, now)
        self.socket = None
        released = isinstance(event, Released)
        self._released_at = now if released else None
        waits = self._times.elsewhere if released else self._times.grace
        self._due = now if isinstance(event, SocketClosed) and event.unseen else now + waits
        self._gives_up_at = max(self._gives_up_at, self._due if released else now + self._earned_grace)
        return told

    # ---- the user's phone

    def _note_phone(self, event: PhoneAway | PhoneBack, _now: float) -> list[Effect]:
        self._phone_here = isinstance(event, PhoneBack)
        return []

    def _doubt(self, _event: PhoneBack, _now: float) -> list[Effect]:
        was_here, self._phone_here = self._phone_here, True
        return [] if was_here or self.socket is None else [Doubt(self.socket)]

    def _call_back(self, event: PhoneSpoke, now: float) -> list[Effect]:
        if self._released_at is None or now - self._released_at < self._times.doubt:
            return []
        return [*self._go(AppState.REVIVING, event, now), self._call()]

    def _pause(self, event: Event, now: float) -> list[Effect]:
        self._phone_here = False
        told = self._go(AppState.PAUSED, event, now)
        self.socket = self._gives_up_at = None
        self._calls += 1  # the answer to a call under way counts for nothing
        return told

    def _resume(self, event: PhoneBack, now: float) -> list[Effect]:
        self._phone_here = True
        self._backoff.reset()
        self._gives_up_at = now + (self._times.revival if self._met else self._times.start)
        return [*self._go(AppState.REVIVING if self._met else AppState.STARTING, event, now), self._call()]

    def _revive(self, event: Start, now: float) -> list[Effect]:
        self._gives_up_at = now + self._times.revival
        return [*self._go(AppState.REVIVING, event, now), self._call()]

    def _stale(self, event: Event, _now: float) -> list[Effect]:
        self.stale[type(event).__name__] += 1
        return []

    # ---- its end

    def _stop(self, event: Stop, now: float) -> list[Effect]:
        return self._end(event, now, event.reason)

    def _end(self, event: Event, now: float, reason: StopReason) -> list[Effect]:
        if self.state is AppState.PAUSED and reason is StopReason.SYSTEM:
            reason = StopReason.ELSEWHERE
        self._go(AppState.STOPPED, event, now, reason.code)
        self._gives_up_at = None
        socket, self.socket = self.socket, None
        return [Dispose(reason, socket)]

    def _refuse(self, event: SocketOpened, _now: float) -> list[Effect]:
        return [Refuse(event.socket)]


_A = AppState
_NO_SOCKET = Ignored("it has had no socket yet")
_NOT_RELEASED = Ignored("it has not gone to another cloud")
_NOT_ASKED = Ignored("its server has not been asked")
_ENDED = Ignored("it ends once")
TABLE: Final[dict[tuple[AppState, type], Cell[AppState] | Ignored]] = {
    (_A.ABSENT, Start): Cell(AppSession._begin, (_A.STARTING,)),
    (_A.ABSENT, Stop): Cell(AppSession._stop, (_A.STOPPED,)),
    (_A.ABSENT, SocketOpened): Cell(AppSession._refuse, (_A.ABSENT,)),
    (_A.ABSENT, SocketClosed): _NO_SOCKET,
    (_A.ABSENT, Released): _NO_SOCKET,
    (_A.ABSENT, PhoneAway): Cell(AppSession._note_phone, (_A.ABSENT,)),
    (_A.ABSENT, PhoneBack): Cell(AppSession._note_phone, (_A.ABSENT,)),
    (_A.ABSENT, PhoneSpoke): _NOT_RELEASED,
    (_A.ABSENT, Called): _NOT_ASKED,
    (_A.ABSENT, Tick): _NOT_ASKED,
    (_A.STARTING, Start): Ignored("it is being started"),
    (_A.STARTING, Stop): Cell(AppSession._stop, (_A.STOPPED,)),
    (_A.STARTING, SocketOpened): Cell(AppSession._adopt, (_A.RUNNING,)),
    (_A.STARTING, SocketClosed): _NO_SOCKET,
    (_A.STARTING, Released): _NO_SOCKET,
    (_A.STARTING, PhoneAway): Cell(AppSession._pause, (_A.PAUSED,)),
    (_A.STARTING, PhoneBack): Cell(AppSession._note_phone, (_A.STARTING,)),
    (_A.STARTING, PhoneSpoke): _NOT_RELEASED,
    (_A.STARTING, Called): Cell(AppSession._called, (_A.STARTING, _A.STOPPED)),
    (_A.STARTING, Tick): Cell(AppSession._ask, (_A.STARTING, _A.STOPPED)),
    (_A.RUNNING, Start): Ignored("it runs"),
    (_A.RUNNING, Stop): Cell(AppSession._stop, (_A.STOPPED,)),
    (_A.RUNNING, SocketOpened): Cell(AppSession._supersede, (_A.RUNNING,)),
    (_A.RUNNING, SocketClosed): Cell(AppSession._lose, (_A.RUNNING, _A.GRACE, _A.PAUSED)),
    (_A.RUNNING, Released): Cell(AppSession._lose, (_A.RUNNING, _A.GRACE, _A.PAUSED)),
    (_A.RUNNING, PhoneAway): Cell(AppSession._note_phone, (_A.RUNNING,)),
    (_A.RUNNING, PhoneBack): Cell(AppSession._doubt, (_A.RUNNING,)),
    (_A.RUNNING, PhoneSpoke): _NOT_RELEASED,
    (_A.RUNNING, Called): Cell(AppSession._stale, (_A.RUNNING,)),
    (_A.RUNNING, Tick): Ignored("no timer runs here: it was late"),
    (_A.GRACE, Start): Cell(AppSession._revive, (_A.REVIVING,)),
    (_A.GRACE, Stop): Cell(AppSession._stop, (_A.STOPPED,)),
    (_A.GRACE, SocketOpened): Cell(AppSession._adopt, (_A.RUNNING,)),
    (_A.GRACE, SocketClosed): Cell(AppSession._stale, (_A.GRACE,)),
    (_A.GRACE, Released): Cell(AppSession._stale, (_A.GRACE,)),
    (_A.GRACE, PhoneAway): Cell(AppSession._pause, (_A.PAUSED,)),
    (_A.GRACE, PhoneBack): Cell(AppSession._note_phone, (_A.GRACE,)),
    (_A.GRACE, PhoneSpoke): Cell(AppSession._call_back, (_A.GRACE, _A.REVIVING)),
    (_A.GRACE, Called): Cell(AppSession._stale, (_A.GRACE,)),
    (_A.GRACE, Tick): Cell(AppSession._ask, (_A.GRACE, _A.REVIVING, _A.STOPPED)),
    (_A.REVIVING, Start): Cell(AppSession._hasten, (_A.REVIVING,)),
    (_A.REVIVING, Stop): Cell(AppSession._stop, (_A.STOPPED,)),
    (_A.REVIVING, SocketOpened): Cell(AppSession._adopt, (_A.RUNNING,)),
    (_A.REVIVING, SocketClosed): Cell(AppSession._stale, (_A.REVIVING,)),
    (_A.REVIVING, Released): Cell(AppSession._stale, (_A.REVIVING,)),
    (_A.REVIVING, PhoneAway): Cell(AppSession._pause, (_A.PAUSED,)),
    (_A.REVIVING, PhoneBack): Cell(AppSession._note_phone, (_A.REVIVING,)),
    (_A.REVIVING, PhoneSpoke): _NOT_RELEASED,
    (_A.REVIVING, Called): Cell(AppSession._called, (_A.REVIVING, _A.STOPPED)),
    (_A.REVIVING, Tick): Cell(AppSession._ask, (_A.REVIVING, _A.STOPPED)),
    (_A.PAUSED, Start): Cell(AppSession._revive, (_A.REVIVING,)),
    (_A.PAUSED, Stop): Cell(AppSession._stop, (_A.STOPPED,)),
    (_A.PAUSED, SocketOpened): Cell(AppSession._adopt, (_A.RUNNING,)),
    (_A.PAUSED, SocketClosed): Cell(AppSession._stale, (_A.PAUSED,)),
    (_A.PAUSED, Released): Cell(AppSession._stale, (_A.PAUSED,)),
    (_A.PAUSED, PhoneAway): Ignored("it is paused for that"),
    (_A.PAUSED, PhoneBack): Cell(AppSession._resume, (_A.STARTING, _A.REVIVING)),
    (_A.PAUSED, PhoneSpoke): _NOT_RELEASED,
    (_A.PAUSED, Called): Cell(AppSession._stale, (_A.PAUSED,)),
    (_A.PAUSED, Tick): Ignored("no timer runs here: it was late"),
    (_A.STOPPED, Start): Ignored("it is used once: the next start is another one"),
    (_A.STOPPED, Stop): _ENDED,
    (_A.STOPPED, SocketOpened): Cell(AppSession._refuse, (_A.STOPPED,)),
    (_A.STOPPED, SocketClosed): Ignored("its socket was closed with it"),
    (_A.STOPPED, Released): Ignored("its socket was closed with it"),
    (_A.STOPPED, PhoneAway): _ENDED,
    (_A.STOPPED, PhoneBack): _ENDED,
    (_A.STOPPED, PhoneSpoke): _ENDED,
    (_A.STOPPED, Called): Ignored("the answer of its server is not needed any more"),
    (_A.STOPPED, Tick): _ENDED,
}
