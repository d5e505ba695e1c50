"""The audio link of one session, in the cloud: whether and when a bridge joins the room or rejoins it, whether audio
arrives, and what the phone is told.

Rules
- Only audio proves audio. A join, an open stream or an answered status proves only that the way is built. `live` is
  told on the first samples or the first presence frame, whichever route brings them.
- Silence is a fault only while audio is due (core/arrival.py). A phone that numbers its audio sends something through
  the room each second, even while its audio goes by the socket: the room is repaired while the socket serves.
- The phone is told at the first suspicion. Then bridge, LiveKit and phone are asked, the dead hop is named
  (core/diagnosis.py) and told, and only that hop is rebuilt: the bridge's place by a rejoin, the phone's by the phone.
- A rejoin (a fresh join) is the cloud's only repair. At most one attempt is in flight, and each has a generation of its
  own; events of other generations are counted and dropped. A table decides when the first attempt goes, and to which
  bridge (core/recovery.py). Later attempts wait (core/backoff.py), and never end while the phone is here. Only a new
  socket of the phone, or audio that stayed for SETTLED seconds, makes the next attempt a first one again, so that two
  backends cannot fight at full speed.
- A place that is only silent is kept until the next join has succeeded. If it is heard again before that, it stays, and
  that join is given up: silence was no reason to leave it. Not so once another owner has used a newer generation, nor
  with a bridge that pushes no news: such a bridge could take the end of the kept place for the end of the next one.
- While the phone is away the bridge's place is held, and a lost place is not rejoined: the backend that holds the
  phone's socket owns the user. If another participant took the place although the phone's socket is here, the phone
  must answer on that socket before the rejoin. When the phone is back, the bridge is asked whether the place is still
  there.
- A phone that must join its room anew is told so by its notice, and invited every INVITE_EVERY seconds at most: the
  original's phones understand no notice, and join anew only when they are greeted again.
- If the bridge knows from the room why the phone's voice cannot be heard, the phone is told at once, in those words.
  Silence is no fault then: nothing is asked or rebuilt. Audio that the phone's track still brings was sent before.
- The socket stays welcome until numbered audio has proven the room again, so that nothing is lost in between.
- The phone's notice is computed from all this after each step, and sent when it changed.

It does not know bridges, sockets, LiveKit, clocks or chance; time and chance are arguments. Its events and effects are
in core/link_events.py.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from math import inf
from typing import Final

from glassbridge.core.arrival import SILENCE, Arrival
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.diagnosis import MUTED, Action, Evidence, Finding, Hop, diagnose
from glassbridge.core.link_events import (
    EVENTS,
    AskPhone,
    AskStatus,
    AudioReceived,
    AudioRoute,
    Away,
    BridgeBack,
    Dismiss,
    Effect,
    Event,
    Examine,
    Examined,
    InvitePhone,
    Join,
    Joined,
    JoinFailed,
    Keep,
    Leave,
    LinkState,
    Microphone,
    NetworkBack,
    News,
    Notice,
    Notify,
    PhoneAnswered,
    Raised,
    Status,
    StreamBroke,
    Tick,
    Unwanted,
    Voice,
    Wanted,
)
from glassbridge.core.machine import Cell, Ignored, Record, total
from glassbridge.core.recovery import DECISIONS, BridgeFault, Decision, Trouble
from glassbridge.core.values import AudioState, Generation

__all__ = [
    "EVENTS",
    "SILENCE",
    "TABLE",
    "AskPhone",
    "AskStatus",
    "AudioLink",
    "AudioReceived",
    "AudioRoute",
    "Away",
    "BridgeBack",
    "BridgeFault",
    "Dismiss",
    "Effect",
    "Event",
    "Examine",
    "Examined",
    "InvitePhone",
    "Join",
    "JoinFailed",
    "Joined",
    "Keep",
    "Leave",
    "LinkState",
    "Microphone",
    "NetworkBack",
    "News",
    "Notice",
    "Notify",
    "PhoneAnswered",
    "Raised",
    "Status",
    "StreamBroke",
    "Tick",
    "Trouble",
    "Unwanted",
    "Voice",
    "Wanted",
]

SETTLED: Final = 5.0
"""Seconds of audio after which a join counts as a success."""
ANSWERED: Final = 2.0
"""Seconds after which a question counts as unanswered."""
LOOK_AGAIN: Final = 3.0
"""Seconds until the next look at the way, when only the phone can help."""
SIGN_OF_LIFE: Final = 1.0
"""Seconds for which a message from the phone proves that it is here."""
HINT_EVERY: Final = 1.0
"""Seconds after a hint from the phone in which further hints are ignored."""
INVITE_EVERY: Final = 30.0
"""Seconds between two invitations: a phone that joins anew is not heard for a moment."""
RENEWED_FOR: Final = 60.0
"""Seconds after a rejoin in which the bridge's place is not blamed for silence again."""
STATUS_EVERY: Final = 30.0
"""Seconds between two status requests to a bridge that pushes its news: the safety net."""
STATUS_EVERY_WITHOUT_NEWS: Final = 10.0
"""The same for a bridge that has not pushed any news."""

_JOINING = Notice(AudioState.CONNECTING, "joining", "joining the room")
_AWAITING = Notice(AudioState.CONNECTING, "awaiting_audio", "ready; nothing has been heard yet")
_SILENT = Notice(AudioState.INTERRUPTED, "no_audio", "nothing arrives from the phone any more")
_SOCKET_SILENT = replace(_SILENT, hop=Hop.PHONE)


class RoomTrust(Enum):
    """Whether audio is expected to pass through the room."""

    TRUSTED = "trusted"
    """There is no sign against it."""
    UNPROVEN = "unproven"
    """It was silent while audio was due, and nothing has come through it since."""


class AudioLink:
    """The machine of one session's audio; begins IDLE. `first` must exceed every generation that this process or
    another has used for this user. Unix milliseconds do; if a clock was set back, JoinFailed says so. `chance` gives
    numbers in [0, 1)."""

    __slots__ = (
        "_above", "_arrival", "_asked_at", "_backoff", "_due_at", "_former", "_hindered", "_hinted_at", "_invited_at",
        "_keeps", "_live_since", "_next", "_renewed_at", "_room", "_sign_at", "_status_at", "_status_every", "_told",
        "_trouble", "generation", "records", "stale", "state",
    )  # fmt: skip

    def __init__(self, first: Generation, chance: Callable[[], float], ladder: Ladder = Ladder()) -> None:  # noqa: B008
        self.state = LinkState.IDLE
        self.generation = first
        """The generation of the current attempt or place."""
        self._above = first
        """The next generation must exceed this."""
        self.records: list[Record[LinkState]] = []
        self.stale: Counter[str] = Counter()
        """Results of former generations, by name."""
        self._backoff = Backoff(ladder, chance)
        self._arrival = Arrival()
        self._room = RoomTrust.TRUSTED
        self._renewed_at = -inf
        """When the bridge's place was last joined anew because of silence, if nothing was heard since."""
        self._live_since = inf
        """When the state became LIVE; inf outside it."""
        self._due_at: float | None = None
        """The deadline of this state: the next join, the next look, or the end of waiting for an answer."""
        self._next: Decision | None = None
        """The decision about the join that is due; None without one."""
        self._keeps = False
        """The former place is kept until the next join has succeeded."""
        self._former: Generation | None = None
        """Of the former place, if it is kept and only silent."""
        self._status_at: float | None = None
        self._status_every = STATUS_EVERY_WITHOUT_NEWS
        """Seconds; longer once the bridge of this place has pushed news."""
        self._sign_at = self._hinted_at = -inf
        """When the phone last said anything on its socket, and when it last gave a hint."""
        self._invited_at = -inf
        """When the phone was last asked to join its room anew."""
        self._hindered: Finding | None = None
        """Why the phone's voice cannot be heard in this place."""
        self._asked_at = inf
        """When the bridge was last asked for its status."""
        self._trouble: Notice | None = None
        """The notice for the phone until the way is built again."""
        self._told: Notice | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        if self._is_stale(event):
            self.stale[type(event).__name__] += 1
            return []
        if isinstance(event, (Wanted, NetworkBack, Microphone, Voice)) or self._is_by_socket(event):
            self._sign_at = now
        cell = TABLE[self.state, type(event)]
        effects: list[Effect] = [] if isinstance(cell, Ignored) else cell.by(self, event, now)
        return effects + self._tell()

    def next_deadline(self) -> float | None:
        times = (self._due_at, self._status_at, *map(self._arrival.fault_at, AudioRoute))
        return min((at for at in times if at is not None), default=None)

    @staticmethod
    def _is_by_socket(event: Event) -> bool:
        return isinstance(event, AudioReceived) and event.route is AudioRoute.SOCKET

    def _is_stale(self, event: Event) -> bool:
        if self._is_by_socket(event) or (self._is_of_former(event) and self.state in _REPLACING):
            return False
        return getattr(event, "generation", self.generation) != self.generation

    def _is_of_former(self, event: Event) -> bool:
        """It comes from the place that is kept because it was only silent."""
        return isinstance(event, (AudioReceived, StreamBroke)) and event.generation == self._former

    def _go(self, state: LinkState, event: Event, now: float, cause: str = "") -> None:
        self.records.append(Record("audio_link", self.state, type(event).__name__, state, now, self.generation, cause))
        self._settle(now)
        self.state = state
        self._due_at = None
        if not state.placed:
            self._arrival.lose(AudioRoute.ROOM)
        if not state.placed or state is LinkState.HELD:
            self._status_at = None
        if state is LinkState.AWAITING_AUDIO:
            # Phones that number their audio prove the room by presence; old ones must be allowed to send there first.
            if not self._arrival.phone.numbers:
                self._room = RoomTrust.TRUSTED
            self._arrival.listen_to_room(now)
        elif state is not LinkState.LIVE:
            self._arrival.ignore_room()

    def _settle(self, now: float) -> None:
        """LIVE is being left: audio that stayed counts as a success."""
        if now - self._live_since >= SETTLED:
            self._backoff.reset()
        self._live_since = inf

    # ---- truth

    def _tell(self) -> list[Effect]:
        if not self._arrival.phone.here:
            return []
        notice, told = self._truth(), self._told
        if told is not None and (notice == told or notice == replace(told, retry_at=None)):
            return []
        self._told = notice
        return [Notify(notice)]

    def _truth(self) -> Notice:
        heard = self._arrival.heard
        if not self._arrival.phone.uses_room:
            silent = not self._arrival.awaits(AudioRoute.SOCKET)
            return Notice(AudioState.LIVE) if heard else _SOCKET_SILENT if silent else _AWAITING
        route, trouble = self._welcome(), self._trouble
        if not heard:
            waiting = _JOINING if self.state is LinkState.JOINING else _AWAITING
            return replace(trouble or waiting, route=route)
        if AudioRoute.ROOM in heard or trouble is None or trouble.hop is None:
            return Notice(AudioState.LIVE, route=route)
        return replace(trouble, state=AudioState.LIVE, retry_at=None, route=route)

    def _welcome(self) -> AudioRoute:
        """The route by which the phone shall send now."""
        heard = self._arrival.heard
        proving = self._room is RoomTrust.UNPROVEN or (self._arrival.phone.numbers and AudioRoute.SOCKET in heard)
        return AudioRoute.ROOM if self.state.placed and (AudioRoute.ROOM in heard or not proving) else AudioRoute.SOCKET

    # ---- the phone comes and goes

    def _arrive(self, event: Wanted, now: float) -> None:
        """A new socket: everything has to be proven anew, and the next join is a first one."""
        self._backoff.reset()
        self._arrival.arrive(event, now)
        self._told = self._trouble = self._next = None
        self._room = RoomTrust.TRUSTED
        self._renewed_at = self._invited_at = -inf

    def _want(self, event: Wanted, now: float) -> list[Effect]:
        self._arrive(event, now)
        if not self._arrival.phone.room:
            return []
        self._backoff.not_at_once()  # this one is
        return self._join(event, now, "wanted")

    def _wanted_while_joining(self, event: Wanted, now: float) -> list[Effect]:
        trouble = self._trouble
        self._arrive(event, now)
        self._backoff.not_at_once()
        self._trouble = trouble
        return []

    def _wanted_while_live(self, event: Wanted, now: float) -> list[Effect]:
        self._arrive(event, now)
        self._listen(event, now)
        return self._ask_status(now)

    def _depart(self) -> None:
        self._arrival.depart()
        self._trouble = self._former = None
        self._keeps = False

    def _hold(self, event: Away, now: float) -> list[Effect]:
        self._depart()
        self._go(LinkState.HELD, event, now)
        return []

    def _give_up(self, event: Away | Unwanted, now: float) -> list[Effect]:
        self._depart()
        self._go(LinkState.IDLE, event, now)
        return [Leave(self.generation)]

    def _let_go(self, event: Away | Unwanted, now: float) -> list[Effect]:
        """Another participant has the place: there is nothing to leave."""
        self._depart()
        self._go(LinkState.IDLE, event, now)
        return []

    def _go_away(self, _event: Away | Unwanted, _now: float) -> list[Effect]:
        self._depart()
        return []

    # ---- the way to the room

    def _join(self, event: Event, now: float, cause: str = "") -> list[Effect]:
        decision, self._next = self._next, None
        if not self._keeps:
            self._former = None
        elif decision is not None and decision.silent:
            self._former = self.generation
        self.generation = Generation(max(self.generation, self._above) + 1)
        self._go(LinkState.JOINING, event, now, cause)
        return [Join(self.generation, decision is not None and decision.elsewhere, self._keeps)]

    def _join_by(
        self,
        decision: Decision,
        event: Event,
        now: float,
        trouble: Notice,
        wait_in: LinkState = LinkState.BACKING_OFF,
    ) -> list[Effect]:
        """Joins at once, or waits in `wait_in` for as long as the ladder says; the phone is told `trouble`."""
        self._settle(now)
        if not decision.at_once:
            self._backoff.not_at_once()
        self._next = decision
        self._keeps = decision.stays or decision.silent or (self._keeps and isinstance(event, JoinFailed))
        delay = self._backoff.next_delay(patient=decision.patient)
        self._trouble = replace(trouble, retry_at=now + delay)
        if delay == 0.0:
            return self._join(event, now, trouble.code)
        self._go(wait_in, event, now, trouble.code)
        self._due_at = now + delay
        return []

    def _joined(self, event: Joined, now: float) -> list[Effect]:
        missed = self._trouble if self._room is RoomTrust.UNPROVEN and self._arrival.is_due else None
        self._trouble = missed and replace(missed, state=AudioState.INTERRUPTED, retry_at=None)
        self._status_every, self._hindered = STATUS_EVERY_WITHOUT_NEWS, None
        kept, self._keeps, self._former = self._keeps, False, None
        self._go(LinkState.AWAITING_AUDIO, event, now)
        self._status_at = now + self._status_every
        return [Dismiss()] if kept else []

    def _joined_too_late(self, _event: Joined, _now: float) -> list[Effect]:
        return [Leave(self.generation)]

    def _failed(self, event: JoinFailed, now: float) -> list[Effect]:
        decision = replace(DECISIONS[event.reason], at_once=False)
        self._above = max(self._above, event.above)
        text = event.text or event.reason.text
        trouble = Notice(AudioState.UNAVAILABLE, event.reason.code, text, decision.hop)
        return self._join_unless_in_doubt(decision, event, now, trouble)

    def _broke(self, event: StreamBroke, now: float) -> list[Effect]:
        return self._lost(event, event.reason, now)

    def _answered(self, event: Status, now: float) -> list[Effect]:
        if event.lost is None or self._arrival.heard_since(AudioRoute.ROOM, self._asked_at):  # heard after it was asked
            return []
        return self._lost(event, event.lost, now)

    def _lost(self, event: Event, reason: Trouble, now: float) -> list[Effect]:
        decision = DECISIONS[reason]
        trouble = Notice(AudioState.INTERRUPTED, reason.code, reason.text, decision.hop)
        return self._join_unless_in_doubt(decision, event, now, trouble)

    def _join_unless_in_doubt(self, decision: Decision, event: Event, now: float, trouble: Notice) -> list[Effect]:
        """If another backend may own the user, the phone must first show that it is here."""
        if not decision.doubt or now - self._sign_at < SIGN_OF_LIFE:
            return self._join_by(decision, event, now, trouble)
        self._trouble, self._keeps, self._former = trouble, False, None
        self._go(LinkState.DOUBTFUL, event, now, trouble.code)
        return self._ask_phone(now)

    def _release(self, event: StreamBroke, now: float) -> list[Effect]:
        self._go(LinkState.IDLE, event, now, event.reason.code)
        return []

    def _raise(self, event: Raised, _now: float) -> list[Effect]:
        self._above = max(self._above, event.above)
        return []

    def _ask_phone(self, now: float) -> list[Effect]:
        self._due_at = now + ANSWERED
        return [AskPhone(self.generation)]

    def _phone_answered(self, event: PhoneAnswered, now: float) -> list[Effect]:
        if event.answers:
            return self._join_after_doubt(event, now)
        self._due_at = now + LOOK_AGAIN
        return []

    def _hear_in_doubt(self, event: AudioReceived, now: float) -> list[Effect]:
        if event.route is AudioRoute.ROOM:  # on its way when the place was lost
            return []
        self._hear(event, now)
        return self._join_after_doubt(event, now)

    def _join_after_doubt(self, event: Event, now: float) -> list[Effect]:
        assert self._trouble is not None, "a doubt has its reason"
        return self._join_by(Decision(Hop.BRIDGE), event, now, self._trouble)

    def _hasten(self, event: BridgeBack, now: float) -> list[Effect]:
        """A session that waits alone joins at once; many are spread over the first rung of the ladder at most."""
        if self._due_at is not None and self._trouble is not None:
            self._due_at = min(self._due_at, now + self._backoff.spread(event.waiting))
            self._trouble = replace(self._trouble, retry_at=self._due_at)
        return []

    def _start_over(self, _event: BridgeBack | NetworkBack, _now: float) -> list[Effect]:
        """The attempt in flight may still fail, since it began before the news; the next one shall not wait long."""
        self._backoff.reset()
        self._backoff.not_at_once()
        return []

    def _take_hint(self, event: NetworkBack, now: float) -> list[Effect]:
        """Ends the wait, but never makes the cloud try more often than every HINT_EVERY seconds."""
        if now - self._hinted_at < HINT_EVERY:
            return []
        self._hinted_at = now
        if self.state is LinkState.JOINING:
            return self._start_over(event, now)
        if self.state is LinkState.DOUBTFUL:
            return self._join_after_doubt(event, now)
        if self.state is LinkState.UNHEARD:
            self._listen(event, now)
            return []
        return self._join(event, now, "network_back")

    # ---- news of the place

    def _hear_news(self, event: News, now: float) -> list[Effect]:
        if self._status_every != STATUS_EVERY:
            self._status_every, self._status_at = STATUS_EVERY, now + STATUS_EVERY
        if event.leaving:
            return self._lost(event, BridgeFault.LEAVING, now)
        before, self._hindered = self._hindered, event.hindered
        if event.hindered is not None:
            if event.hindered != before:
                self._arrival.lose(AudioRoute.ROOM)
                self._listen(event, now)
        elif self.state is LinkState.UNHEARD and (event.phone_here or before is not None):
            if before is not None:
                self._trouble = None
            self._listen(event, now)
        self._arrival.phone_in_room(event.phone_here, now)
        return []

    def _remember_news(self, event: News, _now: float) -> list[Effect]:
        self._hindered = event.hindered
        return []

    def _listen(self, event: Event, now: float) -> None:
        """The place stands: audio is awaited, unless it is known that none can come."""
        finding = self._hindered
        if finding is None:
            self._go(LinkState.AWAITING_AUDIO, event, now)
            return
        fault = finding.code != MUTED
        state = AudioState.INTERRUPTED if fault else AudioState.CONNECTING
        self._trouble = Notice(state, finding.code, finding.text, finding.hop)
        if fault:
            self._room = RoomTrust.UNPROVEN
        self._go(LinkState.UNHEARD, event, now, finding.code)

    def _ask_status(self, now: float) -> list[Effect]:
        self._asked_at = now
        self._status_at = now + self._status_every
        return [AskStatus(self.generation)]

    # ---- what is heard, and what should be

    def _hear_placed(self, event: AudioReceived, now: float) -> list[Effect]:
        if event.track and self._hindered is not None:
            return []
        if event.route is AudioRoute.ROOM and self.state is not LinkState.LIVE:
            self._trouble = None
            self._go(LinkState.LIVE, event, now)
            self._live_since = now
        self._hear(event, now)
        return []

    def _hear_unplaced(self, event: AudioReceived, now: float) -> list[Effect]:
        if event.route is AudioRoute.SOCKET:
            self._hear(event, now)
        return []

    def _hear_former(self, event: AudioReceived, now: float) -> list[Effect]:
        """While a join is under way, or due again: the kept place may be heard after all."""
        hindered = event.track and self._hindered is not None
        if not self._is_of_former(event) or hindered or self._above > self.generation:
            return self._hear_unplaced(event, now)
        given_up, self.generation = self.generation, event.generation
        self._above = max(self._above, given_up)
        self._next, self._former, self._keeps = None, None, False
        self._hear_placed(event, now)
        self._status_at = now + self._status_every
        return [Keep(self.generation, given_up)]

    def _lose_former(self, event: StreamBroke, _now: float) -> list[Effect]:
        if self._is_of_former(event):
            self._former = None
        return []

    def _hear(self, event: AudioReceived, now: float) -> None:
        self._arrival.hear(event.route, event.numbered, now)
        if event.route is AudioRoute.ROOM:
            self._room = RoomTrust.TRUSTED
            self._renewed_at = -inf

    def _learn(self, event: Microphone | Voice, now: float) -> list[Effect]:
        self._arrival.learn(event, now)
        return []

    def _learn_placed(self, event: Microphone | Voice, now: float) -> list[Effect]:
        """A phone that is silent on purpose is healthy: the suspicion is withdrawn."""
        self._learn(event, now)
        if self.state is not LinkState.LIVE and not self._arrival.is_due and self._hindered is None:
            self._trouble = None
            if self.state is not LinkState.AWAITING_AUDIO:
                self._go(LinkState.AWAITING_AUDIO, event, now)
        return []

    # ---- time

    def _tick(self, event: Tick, now: float) -> list[Effect]:
        if self._arrival.fault(AudioRoute.ROOM, now):
            return self._suspect(event, now)
        if self._arrival.fault(AudioRoute.SOCKET, now):
            self._arrival.lose(AudioRoute.SOCKET)
        if self._due_at is not None and now >= self._due_at:
            return self._come_due(event, now)
        if self._status_at is not None and now >= self._status_at:
            return self._ask_status(now)
        return []

    def _come_due(self, event: Tick, now: float) -> list[Effect]:
        match self.state:
            case LinkState.UNHEARD:
                return self._suspect(event, now)
            case LinkState.SUSPECT:
                return self._examined(Examined(self.generation, Evidence()), now)
            case LinkState.DOUBTFUL:
                return self._ask_phone(now)
            case _:
                return self._join(event, now, self._trouble.code if self._trouble is not None else "")

    def _suspect(self, event: Tick, now: float) -> list[Effect]:
        self._arrival.lose(AudioRoute.ROOM)
        self._room = RoomTrust.UNPROVEN
        self._trouble = self._trouble or _SILENT
        self._go(LinkState.SUSPECT, event, now, self._trouble.code)
        self._due_at = now + ANSWERED
        return [Examine(self.generation)]

    def _examined(self, event: Examined, now: float) -> list[Effect]:
        finding = diagnose(event.evidence, renewed=now - self._renewed_at < RENEWED_FOR)
        notice = Notice(AudioState.INTERRUPTED, finding.code, finding.text, finding.hop)
        if finding.hop is not None and finding.action in (Action.REJOIN, Action.REJOIN_LATER):
            self._renewed_at = now
            at_once, elsewhere = finding.action is Action.REJOIN, finding.hop is Hop.BRIDGE
            fenced = self._status_every == STATUS_EVERY
            decision = Decision(finding.hop, at_once=at_once, elsewhere=elsewhere, silent=fenced)
            return self._join_by(decision, event, now, notice, LinkState.INTERRUPTED)
        if event.evidence.bridge is not None and finding is event.evidence.bridge.hindered:
            self._hindered = finding
            self._listen(event, now)
            return []
        self._trouble = notice
        self._go(LinkState.UNHEARD, event, now, finding.code)
        self._due_at = now + LOOK_AGAIN
        if finding.action is not Action.ASK_PHONE or now - self._invited_at < INVITE_EVERY:
            return []
        self._invited_at = now
        return [InvitePhone()]


_L = LinkState
_REPLACING: Final = (_L.JOINING, _L.BACKING_OFF)
"""States in which a former place may be kept."""
IGNORED_BECAUSE: Final = {
    _L.IDLE: "no bridge is in the room, or on its way there",
    _L.JOINING: "this attempt has not got that far",
    _L.AWAITING_AUDIO: "this attempt has succeeded, and no question is open",
    _L.LIVE: "this attempt has succeeded, and no question is open",
    _L.SUSPECT: "bridge, LiveKit and phone are being asked",
    _L.INTERRUPTED: "audio, or the join that is due, decides",
    _L.UNHEARD: "only the phone can help, and no question is open",
    _L.DOUBTFUL: "no bridge is in the room, and the phone has to answer first",
    _L.BACKING_OFF: "this attempt has ended, and the next one is due",
    _L.HELD: "the phone is away",
}
"""Why events outside the table change nothing in a state."""
_LEGAL: Final[dict[tuple[LinkState, type], Cell[LinkState]]] = {
    **{(state, Raised): Cell(AudioLink._raise, (state,)) for state in LinkState},
    (_L.IDLE, Wanted): Cell(AudioLink._want, (_L.IDLE, _L.JOINING)),
    (_L.IDLE, Away): Cell(AudioLink._go_away, (_L.IDLE,)),
    (_L.IDLE, Unwanted): Cell(AudioLink._go_away, (_L.IDLE,)),
    (_L.IDLE, Joined): Cell(AudioLink._joined_too_late, (_L.IDLE,)),
    (_L.IDLE, AudioReceived): Cell(AudioLink._hear_unplaced, (_L.IDLE,)),
    (_L.IDLE, Microphone): Cell(AudioLink._learn, (_L.IDLE,)),
    (_L.IDLE, Voice): Cell(AudioLink._learn, (_L.IDLE,)),
    (_L.IDLE, Tick): Cell(AudioLink._tick, (_L.IDLE,)),
    (_L.JOINING, Wanted): Cell(AudioLink._wanted_while_joining, (_L.JOINING,)),
    (_L.JOINING, Away): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.JOINING, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.JOINING, Joined): Cell(AudioLink._joined, (_L.AWAITING_AUDIO,)),
    (_L.JOINING, JoinFailed): Cell(AudioLink._failed, (_L.BACKING_OFF, _L.DOUBTFUL)),
    (_L.JOINING, BridgeBack): Cell(AudioLink._start_over, (_L.JOINING,)),
    (_L.JOINING, NetworkBack): Cell(AudioLink._take_hint, (_L.JOINING,)),
    (_L.JOINING, StreamBroke): Cell(AudioLink._lose_former, (_L.JOINING,)),
    (_L.JOINING, AudioReceived): Cell(AudioLink._hear_former, (_L.JOINING, _L.LIVE)),
    (_L.JOINING, Microphone): Cell(AudioLink._learn, (_L.JOINING,)),
    (_L.JOINING, Voice): Cell(AudioLink._learn, (_L.JOINING,)),
    (_L.JOINING, Tick): Cell(AudioLink._tick, (_L.JOINING,)),
    (_L.AWAITING_AUDIO, Wanted): Cell(AudioLink._wanted_while_live, (_L.AWAITING_AUDIO, _L.UNHEARD)),
    (_L.AWAITING_AUDIO, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.AWAITING_AUDIO, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.AWAITING_AUDIO, StreamBroke): Cell(AudioLink._broke, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.AWAITING_AUDIO, News): Cell(AudioLink._hear_news, (_L.AWAITING_AUDIO, _L.UNHEARD, _L.BACKING_OFF, _L.JOINING)),
    (_L.AWAITING_AUDIO, Status): Cell(
        AudioLink._answered, (_L.AWAITING_AUDIO, _L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)
    ),
    (_L.AWAITING_AUDIO, AudioReceived): Cell(AudioLink._hear_placed, (_L.AWAITING_AUDIO, _L.LIVE)),
    (_L.AWAITING_AUDIO, Microphone): Cell(AudioLink._learn_placed, (_L.AWAITING_AUDIO,)),
    (_L.AWAITING_AUDIO, Voice): Cell(AudioLink._learn_placed, (_L.AWAITING_AUDIO,)),
    (_L.AWAITING_AUDIO, Tick): Cell(AudioLink._tick, (_L.AWAITING_AUDIO, _L.SUSPECT)),
    (_L.LIVE, Wanted): Cell(AudioLink._wanted_while_live, (_L.AWAITING_AUDIO, _L.UNHEARD)),
    (_L.LIVE, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.LIVE, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.LIVE, StreamBroke): Cell(AudioLink._broke, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.LIVE, News): Cell(AudioLink._hear_news, (_L.LIVE, _L.UNHEARD, _L.BACKING_OFF, _L.JOINING)),
    (_L.LIVE, Status): Cell(AudioLink._answered, (_L.LIVE, _L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.LIVE, AudioReceived): Cell(AudioLink._hear_placed, (_L.LIVE,)),
    (_L.LIVE, Microphone): Cell(AudioLink._learn_placed, (_L.LIVE,)),
    (_L.LIVE, Voice): Cell(AudioLink._learn_placed, (_L.LIVE,)),
    (_L.LIVE, Tick): Cell(AudioLink._tick, (_L.LIVE, _L.SUSPECT)),
    (_L.SUSPECT, Wanted): Cell(AudioLink._wanted_while_live, (_L.AWAITING_AUDIO, _L.UNHEARD)),
    (_L.SUSPECT, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.SUSPECT, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.SUSPECT, StreamBroke): Cell(AudioLink._broke, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.SUSPECT, News): Cell(AudioLink._hear_news, (_L.SUSPECT, _L.UNHEARD, _L.BACKING_OFF, _L.JOINING)),
    (_L.SUSPECT, Examined): Cell(AudioLink._examined, (_L.UNHEARD, _L.INTERRUPTED, _L.JOINING)),
    (_L.SUSPECT, AudioReceived): Cell(AudioLink._hear_placed, (_L.SUSPECT, _L.LIVE)),
    (_L.SUSPECT, Microphone): Cell(AudioLink._learn_placed, (_L.SUSPECT, _L.AWAITING_AUDIO)),
    (_L.SUSPECT, Voice): Cell(AudioLink._learn_placed, (_L.SUSPECT, _L.AWAITING_AUDIO)),
    (_L.SUSPECT, Tick): Cell(AudioLink._tick, (_L.SUSPECT, _L.UNHEARD, _L.INTERRUPTED, _L.JOINING)),
    (_L.INTERRUPTED, Wanted): Cell(AudioLink._wanted_while_live, (_L.AWAITING_AUDIO, _L.UNHEARD)),
    (_L.INTERRUPTED, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.INTERRUPTED, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.INTERRUPTED, StreamBroke): Cell(AudioLink._broke, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.INTERRUPTED, News): Cell(AudioLink._hear_news, (_L.INTERRUPTED, _L.UNHEARD, _L.BACKING_OFF, _L.JOINING)),
    (_L.INTERRUPTED, BridgeBack): Cell(AudioLink._hasten, (_L.INTERRUPTED,)),
    (_L.INTERRUPTED, NetworkBack): Cell(AudioLink._take_hint, (_L.INTERRUPTED, _L.JOINING)),
    (_L.INTERRUPTED, AudioReceived): Cell(AudioLink._hear_placed, (_L.INTERRUPTED, _L.LIVE)),
    (_L.INTERRUPTED, Microphone): Cell(AudioLink._learn_placed, (_L.INTERRUPTED, _L.AWAITING_AUDIO)),
    (_L.INTERRUPTED, Voice): Cell(AudioLink._learn_placed, (_L.INTERRUPTED, _L.AWAITING_AUDIO)),
    (_L.INTERRUPTED, Tick): Cell(AudioLink._tick, (_L.INTERRUPTED, _L.JOINING)),
    (_L.UNHEARD, Wanted): Cell(AudioLink._wanted_while_live, (_L.AWAITING_AUDIO, _L.UNHEARD)),
    (_L.UNHEARD, Away): Cell(AudioLink._hold, (_L.HELD,)),
    (_L.UNHEARD, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.UNHEARD, StreamBroke): Cell(AudioLink._broke, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.UNHEARD, News): Cell(AudioLink._hear_news, (_L.UNHEARD, _L.AWAITING_AUDIO, _L.BACKING_OFF, _L.JOINING)),
    (_L.UNHEARD, Status): Cell(AudioLink._answered, (_L.UNHEARD, _L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.UNHEARD, NetworkBack): Cell(AudioLink._take_hint, (_L.UNHEARD, _L.AWAITING_AUDIO)),
    (_L.UNHEARD, AudioReceived): Cell(AudioLink._hear_placed, (_L.UNHEARD, _L.LIVE)),
    (_L.UNHEARD, Microphone): Cell(AudioLink._learn_placed, (_L.UNHEARD, _L.AWAITING_AUDIO)),
    (_L.UNHEARD, Voice): Cell(AudioLink._learn_placed, (_L.UNHEARD, _L.AWAITING_AUDIO)),
    (_L.UNHEARD, Tick): Cell(AudioLink._tick, (_L.UNHEARD, _L.SUSPECT)),
    (_L.DOUBTFUL, Wanted): Cell(AudioLink._want, (_L.JOINING,)),
    (_L.DOUBTFUL, Away): Cell(AudioLink._let_go, (_L.IDLE,)),
    (_L.DOUBTFUL, Unwanted): Cell(AudioLink._let_go, (_L.IDLE,)),
    (_L.DOUBTFUL, PhoneAnswered): Cell(AudioLink._phone_answered, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.DOUBTFUL, NetworkBack): Cell(AudioLink._take_hint, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.DOUBTFUL, AudioReceived): Cell(AudioLink._hear_in_doubt, (_L.DOUBTFUL, _L.BACKING_OFF, _L.JOINING)),
    (_L.DOUBTFUL, Microphone): Cell(AudioLink._learn, (_L.DOUBTFUL,)),
    (_L.DOUBTFUL, Voice): Cell(AudioLink._learn, (_L.DOUBTFUL,)),
    (_L.DOUBTFUL, Tick): Cell(AudioLink._tick, (_L.DOUBTFUL,)),
    (_L.BACKING_OFF, Wanted): Cell(AudioLink._want, (_L.JOINING,)),
    (_L.BACKING_OFF, Away): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.BACKING_OFF, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.BACKING_OFF, BridgeBack): Cell(AudioLink._hasten, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, NetworkBack): Cell(AudioLink._take_hint, (_L.BACKING_OFF, _L.JOINING)),
    (_L.BACKING_OFF, StreamBroke): Cell(AudioLink._lose_former, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, AudioReceived): Cell(AudioLink._hear_former, (_L.BACKING_OFF, _L.LIVE)),
    (_L.BACKING_OFF, Microphone): Cell(AudioLink._learn, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, Voice): Cell(AudioLink._learn, (_L.BACKING_OFF,)),
    (_L.BACKING_OFF, Tick): Cell(AudioLink._tick, (_L.BACKING_OFF, _L.JOINING)),
    (_L.HELD, Wanted): Cell(AudioLink._wanted_while_live, (_L.AWAITING_AUDIO, _L.UNHEARD)),
    (_L.HELD, Unwanted): Cell(AudioLink._give_up, (_L.IDLE,)),
    (_L.HELD, StreamBroke): Cell(AudioLink._release, (_L.IDLE,)),
    (_L.HELD, News): Cell(AudioLink._remember_news, (_L.HELD,)),
}
TABLE: Final[dict[tuple[LinkState, type], Cell[LinkState] | Ignored]] = total(_LEGAL, IGNORED_BECAUSE, EVENTS)
