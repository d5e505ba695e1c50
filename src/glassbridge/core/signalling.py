"""Decides how a place in a LiveKit room begins and ends: what proves life, when to suspect, which reason to report.

Rules
- A place is never repaired. Every doubt ends it; the owner of the user decides about a fresh join (system.md 4.3).
- Two paths must prove life: signalling by pongs, media by ICE consent. Either alone can die unnoticed (traps A3). But
  if signalling is late while media answers, it may only be repeating lost packets: then it has PATIENT seconds.
- If the owner hears nothing by another way either, the link is slow or dead, not the server: the place is kept until
  that way proves more than this one, for PATIENT seconds at most.
- Time in which this process stalled is not silence of the peer: the watches are postponed by it, once for each stall,
  however many events have queued up meanwhile. If it stalled for `loop_gap`, the place is left: another process may
  hold the identity by now.
- The server's own reason outranks our conclusion: after a stall, or when the media path closes, its message may still
  wait in the socket. So the place is SETTLING for a moment before our own verdict is reported.

It does not know sockets, protobufs or SDP. Offers, answers and candidates go past it to the connections.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import LossReason

WAKE_SETTLE = 0.1
"""Seconds in which the server's own word, waiting in the socket, may overtake our verdict after a stall."""
MEDIA_SETTLE = 0.5
"""The same after a connection has closed: a server that goes closes them some time before it says so."""


PATIENT = 10.0
"""Seconds that a ping may be unanswered while the media path answers, or a path while the link is silent."""
PROOF = 1.4
"""Seconds. The link is proven by an answer on another way to something sent at least this long after the message that
is unanswered here. Pings go each second, so a place in a server that died is left no later for it."""
SILENT_LINK = 2.5
"""Seconds of lag from which on the link is silent. Once it is not, the server gets PROOF seconds and a ping more."""
LOOK_AGAIN = 0.25
"""Seconds until a silent link is looked at again."""


class JoinStage(Enum):
    """Where a place stands; `overdue` is the reason reported when the deadline of the join passes in this stage."""

    CONNECTING = ("the server was asked to let us in", LossReason.UNREACHABLE)
    JOINING = ("it has let us in; the media path is being built", LossReason.MEDIA_FAILED)
    JOINED = ("data can arrive", None)
    SETTLING = ("lost; the socket's waiting data is read to learn why", None)
    ENDED = ("the place is gone", None)

    def __init__(self, text: str, overdue: LossReason | None) -> None:
        self.text = text
        self.overdue = overdue

    @property
    def label(self) -> str:
        return self.name.lower()


class DeadlineName(Enum):
    """Deadlines by name."""

    JOIN = "join"
    PING = "ping"
    PONG = "pong"
    MEDIA = "media"
    SETTLE = "settle"


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refused:
    """The upgrade failed."""

    reason: LossReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """The server let us in."""

    room: str
    may_hear: bool = True
    """Whether the token allows to hear others: without it LiveKit opens no way to us."""


@dataclass(frozen=True, slots=True)
class MediaReady:
    """The channels for data have opened."""


@dataclass(frozen=True, slots=True)
class MediaAlive:
    """The media path has answered a consent check, or has carried something to us."""

    ago: float = 0.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class MediaLost:
    """A connection has failed or closed, or cannot be built."""

    detail: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The server has answered a ping."""


@dataclass(frozen=True, slots=True)
class Left:
    """The server ends the place, whatever repair it proposes."""

    reason: LossReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SocketEnded:
    """The socket of the signalling has ended without a reason."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Broke:
    """An error of our own, or one thrown by the listener."""

    detail: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The owner wants to go, or has given up waiting."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline may have passed."""


Event = (
    Refused | Joined | MediaReady | MediaAlive | MediaLost | Pong | Left | SocketEnded | Broke | Leave | Tick
)  # fmt: skip
EVENTS: tuple[type[Event], ...] = (
    Refused, Joined, MediaReady, MediaAlive, MediaLost, Pong, Left, SocketEnded, Broke, Leave, Tick,
)  # fmt: skip


# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendPing:
    """Ask the server for a pong."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Tell the owner that the place is his."""


@dataclass(frozen=True, slots=True)
class End:
    """Release everything and tell the owner why. Comes once."""

    reason: LossReason
    detail: str
    say_leave: bool
    """Whether the server must be told; it is pointless after it told us, or without a socket."""
    unheard: float = 0.0
    """Seconds before now for which nothing proves that what we sent arrived."""


Effect = SendPing | Ready | End


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds; the meaning of each is told at ConnectOptions."""

    join: float = 10.0
    ping_interval: float = 1.0
    pong_timeout: float = 2.5
    media_timeout: float = 3.5
    loop_gap: float = 10.0


class Signalling:
    """One place in a room, from the upgrade to its end."""

    def __init__(
        self, limits: Limits, now: float, expected_room: str = "", lag: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`lag`: seconds since the owner sent by another way what was answered last; 0 where there is none."""
        self.stage = JoinStage.CONNECTING
        self.records: list[Record[JoinStage]] = []
        self._limits = limits
        self._expected_room = expected_room
        self._lag = lag
        self._link_silent_at = -inf
        self._timers: dict[DeadlineName, float] = {DeadlineName.JOIN: now + limits.join}
        self._allowed_until = now
        """Stalls up to this time have been allowed for."""
        self._asked_at: float | None = None
        """When the oldest ping was sent that has no answer."""
        self._heard_at = now
        """When either path last proved that it lives."""
        self._alive_at = now
        """When the media path last did."""
        self._verdict = (LossReason.INTERNAL, "")
        """What is reported after SETTLING when the server says nothing."""

    def next_deadline(self) -> float | None:
        """When step(Tick(), now) is due, in monotonic seconds; None once ended."""
        return min(self._timers.values(), default=None)

    def step(self, event: Event, now: float) -> list[Effect]:
        """What follows from the event."""
        self._allow_for_stall(now)
        cell = TABLE[self.stage, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    # --- time -------------------------------------------------------------------------------------------------------

    def _allow_for_stall(self, now: float) -> None:
        """Our own lateness is not the peer's silence; much of it is a reason to go."""
        due = self.next_deadline()
        late = 0.0 if due is None else now - max(due, self._allowed_until)
        if late <= WAKE_SETTLE:
            return
        self._allowed_until = now
        for timer in (DeadlineName.PONG, DeadlineName.MEDIA):
            if timer in self._timers:
                self._timers[timer] = max(self._timers[timer] + late, now + WAKE_SETTLE)
        if late >= self._limits.loop_gap and self.stage in (JoinStage.JOINING, JoinStage.JOINED):
            self._settle(LossReason.FROZEN, f"for {late:.1f} s", "stall", now, WAKE_SETTLE)

    def _tick(self, event: Event, now: float) -> list[Effect]:
        over = {timer for timer, at in self._timers.items() if at <= now}
        if DeadlineName.JOIN in over and self.stage.overdue is not None:
            return self._lose(self.stage.overdue, f"not joined within {self._limits.join:g} s", event, now)
        if DeadlineName.PONG in over:
            asked_at = self._asked_at if self._asked_at is not None else now
            answering_until = self._alive_at + self._limits.pong_timeout
            if now < min(answering_until, asked_at + PATIENT):
                self._timers[DeadlineName.PONG] = answering_until
                return []
            if self._is_excused(asked_at, now):
                self._timers[DeadlineName.PONG] = now + LOOK_AGAIN
                return []
            detail = f"no pong for {now - asked_at:.3g} s"
            return self._lose(LossReason.NETWORK, detail, event, now, unheard=now - self._heard_at)
        if DeadlineName.MEDIA in over:
            if self._is_excused(self._alive_at, now):
                self._timers[DeadlineName.MEDIA] = now + LOOK_AGAIN
                return []
            detail = f"no sign of life for {now - self._alive_at:.3g} s"
            return self._lose(LossReason.MEDIA_FAILED, detail, event, now, unheard=now - self._alive_at)
        if DeadlineName.PING in over:
            self._timers[DeadlineName.PING] = now + self._limits.ping_interval
            if self._asked_at is None:
                self._asked_at = now
                self._timers[DeadlineName.PONG] = now + self._limits.pong_timeout
            return [SendPing()]
        return []

    def _is_excused(self, since: float, now: float) -> bool:
        """Whether silence `since` then says nothing of the server: the link proves no more by another way."""
        if (lag := self._lag()) > SILENT_LINK:
            self._link_silent_at = now
        return now - lag - max(since, self._link_silent_at) < PROOF and now < since + PATIENT

    def _settled(self, event: Event, now: float) -> list[Effect]:
        return self._lose(*self._verdict, event, now) if now >= self._timers[DeadlineName.SETTLE] else []

    # --- the way in -------------------------------------------------------------------------------------------------

    def _joined(self, event: Joined, now: float) -> list[Effect]:
        if self._expected_room and event.room != self._expected_room:
            return self._lose(LossReason.WRONG_ROOM, f"it is for {event.room[:80]!r}", event, now)
        if not event.may_hear:
            return self._lose(LossReason.TOKEN_REFUSED, "it does not allow to hear others in this room", event, now)
        self._timers[DeadlineName.PING] = now + self._limits.ping_interval
        self._go(JoinStage.JOINING, "Joined", now)
        return []

    def _media_ready(self, event: MediaReady, now: float) -> list[Effect]:
        del self._timers[DeadlineName.JOIN]
        self._timers[DeadlineName.MEDIA] = now + self._limits.media_timeout
        self._heard_at = self._alive_at = now
        self._go(JoinStage.JOINED, "MediaReady", now)
        return [Ready()]

    def _media_alive(self, event: MediaAlive, now: float) -> list[Effect]:
        at = now - event.ago
        self._timers[DeadlineName.MEDIA] = max(self._timers[DeadlineName.MEDIA], at + self._limits.media_timeout)
        self._heard_at, self._alive_at = max(self._heard_at, at), max(self._alive_at, at)
        return []

    def _pong(self, event: Pong, now: float) -> list[Effect]:
        self._asked_at = None
        self._timers.pop(DeadlineName.PONG, None)
        self._heard_at = now
        return []

    # --- the ways out -----------------------------------------------------------------------------------------------

    def _refused(self, event: Refused, now: float) -> list[Effect]:
        return self._lose(event.reason, event.detail, event, now, say_leave=False)

    def _left(self, event: Left, now: float) -> list[Effect]:
        # Only we leave on purpose: if it were reported as ours, no bridge would rejoin.
        reason = LossReason.NETWORK if event.reason is LossReason.CLOSED else event.reason
        return self._lose(reason, event.detail, event, now, say_leave=False)

    def _socket_ended(self, event: SocketEnded, now: float) -> list[Effect]:
        return self._lose(LossReason.NETWORK, event.detail, event, now, say_leave=False)

    def _socket_ended_too(self, event: SocketEnded, now: float) -> list[Effect]:
        return self._lose(*self._verdict, event, now, say_leave=False)

    def _media_lost(self, event: MediaLost, now: float) -> list[Effect]:
        self._settle(LossReason.MEDIA_FAILED, event.detail, "MediaLost", now, MEDIA_SETTLE)
        return []

    def _broke(self, event: Broke, now: float) -> list[Effect]:
        return self._lose(LossReason.INTERNAL, event.detail, event, now)

    def _leave(self, event: Leave, now: float) -> list[Effect]:
        return self._lose(LossReason.CLOSED, "", event, now)

    def _settle(self, reason: LossReason, detail: str, event: str, now: float, wait: float) -> None:
        self._verdict = (reason, detail)
        self._timers = {DeadlineName.SETTLE: now + wait}
        self._go(JoinStage.SETTLING, event, now, detail)

    def _lose(
        self,
        reason: LossReason,
        detail: str,
        event: Event,
        now: float,
        *,
        say_leave: bool = True,
        unheard: float = 0.0,
    ) -> list[Effect]:
        self._timers.clear()
        self._go(JoinStage.ENDED, type(event).__name__, now, f"{reason.code} {detail}".rstrip())
        return [End(reason, detail, say_leave, unheard)]

    def _go(self, new: JoinStage, event: str, now: float, cause: str = "") -> None:
        self.records.append(Record("signalling", self.stage, event, new, now, 0, cause))
        self.stage = new


_NO_MEDIA_YET = Ignored("there is no media before the join")
_UPGRADED = Ignored("the upgrade is long answered")
_TWICE = Ignored("the server says it twice")
_VERDICT_FIXED = Ignored("the verdict is fixed, only the server can better it")

_S = JoinStage
_TO_END = (_S.ENDED,)
TABLE: dict[tuple[JoinStage, type], Cell[JoinStage] | Ignored] = {
    (_S.CONNECTING, Refused): Cell(Signalling._refused, _TO_END),
    (_S.CONNECTING, Joined): Cell(Signalling._joined, (_S.JOINING, _S.ENDED)),
    (_S.CONNECTING, MediaReady): _NO_MEDIA_YET,
    (_S.CONNECTING, MediaAlive): _NO_MEDIA_YET,
    (_S.CONNECTING, MediaLost): _NO_MEDIA_YET,
    (_S.CONNECTING, Pong): Ignored("nothing was asked yet"),
    (_S.CONNECTING, Left): Cell(Signalling._left, _TO_END),
    (_S.CONNECTING, SocketEnded): Cell(Signalling._socket_ended, _TO_END),
    (_S.CONNECTING, Broke): Cell(Signalling._broke, _TO_END),
    (_S.CONNECTING, Leave): Cell(Signalling._leave, _TO_END),
    (_S.CONNECTING, Tick): Cell(Signalling._tick, (_S.CONNECTING, _S.ENDED)),
    (_S.JOINING, Refused): _UPGRADED,
    (_S.JOINING, Joined): _TWICE,
    (_S.JOINING, MediaReady): Cell(Signalling._media_ready, (_S.JOINED,)),
    (_S.JOINING, MediaAlive): Ignored("the watch begins when data can arrive; until then the join has its deadline"),
    (_S.JOINING, MediaLost): Cell(Signalling._media_lost, (_S.SETTLING,)),
    (_S.JOINING, Pong): Cell(Signalling._pong, (_S.JOINING,)),
    (_S.JOINING, Left): Cell(Signalling._left, _TO_END),
    (_S.JOINING, SocketEnded): Cell(Signalling._socket_ended, _TO_END),
    (_S.JOINING, Broke): Cell(Signalling._broke, _TO_END),
    (_S.JOINING, Leave): Cell(Signalling._leave, _TO_END),
    (_S.JOINING, Tick): Cell(Signalling._tick, (_S.JOINING, _S.ENDED)),
    (_S.JOINED, Refused): _UPGRADED,
    (_S.JOINED, Joined): _TWICE,
    (_S.JOINED, MediaReady): _TWICE,
    (_S.JOINED, MediaAlive): Cell(Signalling._media_alive, (_S.JOINED,)),
    (_S.JOINED, MediaLost): Cell(Signalling._media_lost, (_S.SETTLING,)),
    (_S.JOINED, Pong): Cell(Signalling._pong, (_S.JOINED,)),
    (_S.JOINED, Left): Cell(Signalling._left, _TO_END),
    (_S.JOINED, SocketEnded): Cell(Signalling._socket_ended, _TO_END),
    (_S.JOINED, Broke): Cell(Signalling._broke, _TO_END),
    (_S.JOINED, Leave): Cell(Signalling._leave, _TO_END),
    (_S.JOINED, Tick): Cell(Signalling._tick, (_S.JOINED, _S.ENDED)),
    (_S.SETTLING, Refused): _UPGRADED,
    (_S.SETTLING, Joined): _TWICE,
    (_S.SETTLING, MediaReady): _VERDICT_FIXED,
    (_S.SETTLING, MediaAlive): _VERDICT_FIXED,
    (_S.SETTLING, MediaLost): _VERDICT_FIXED,
    (_S.SETTLING, Pong): _VERDICT_FIXED,
    (_S.SETTLING, Left): Cell(Signalling._left, _TO_END),
    (_S.SETTLING, SocketEnded): Cell(Signalling._socket_ended_too, _TO_END),
    (_S.SETTLING, Broke): Cell(Signalling._broke, _TO_END),
    (_S.SETTLING, Leave): Cell(Signalling._leave, _TO_END),
    (_S.SETTLING, Tick): Cell(Signalling._settled, (_S.SETTLING, _S.ENDED)),
}
TABLE.update(((_S.ENDED, event), Ignored("the place is gone")) for event in EVENTS)
