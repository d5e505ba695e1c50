"""What cloud/link.py does around the real audio-link machine: joins, streams, questions, and what comes of them."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from glassbridge.cloud.bridge_client import ON_ITS_WAY_OUT, hindered_by
from glassbridge.core import audio_link
from glassbridge.core.audio_link import AudioLink, BridgeFault
from glassbridge.core.diagnosis import Evidence, Hop, LiveKitSays
from glassbridge.core.recovery import DECISIONS
from glassbridge.core.values import Generation, LossReason, UserId, agent_identity
from glassbridge.lab.sim.livekit import Frame, LiveKit
from glassbridge.lab.sim.pool import BridgeRef, Pool, Seat
from glassbridge.lab.sim.world import Alarm, Process
from glassbridge.wire import livekit_bridge_pb2 as pb

HEARD_EVERY = 0.1
"""Seconds after a frame in which further ones are not told to the machine."""
ANSWER_WITHIN = 1.0
"""Seconds that whoever is asked has."""


class Phone(Protocol):
    """The socket of a session's phone."""

    heard_at: float

    def send(self, message: Any) -> None:
        """To the phone."""


class Owner(Protocol):
    """The session whose link it is (lab/sim/cloud.py)."""

    @property
    def cloud(self) -> Any: ...
    @property
    def process(self) -> Process: ...
    @property
    def user(self) -> UserId: ...
    @property
    def name(self) -> str: ...
    @property
    def gone(self) -> bool: ...
    @property
    def phone(self) -> Phone | None: ...
    def tell(self, notice: audio_link.Notice) -> None: ...
    def deliver(self, frame: Frame, path: str, worker: str | None) -> None: ...
    def closed(self) -> None: ...


class Attempt:
    """One join and, when it succeeds, its stream until that ends. Nothing is posted after cancel()."""

    def __init__(self, shell: "LinkShell", generation: Generation, elsewhere: bool) -> None:
        self._shell = shell
        self._generation = generation
        self.over = False
        pool = shell.pool
        former = shell.seat.bridge if elsewhere and shell.seat is not None else None
        self._bridges = pool.by_load(but=former)

    def start(self) -> None:
        """Begins with the first bridge; the next one is tried where one is gone."""
        self._try()

    def cancel(self) -> None:
        """Idempotent."""
        self.over = True
        seat = self._shell.seat
        if seat is not None and seat.generation == self._generation:
            seat.release()

    def _try(self) -> None:
        if self.over:
            return
        if not self._bridges:
            self._end(audio_link.JoinFailed(self._generation, BridgeFault.NONE_ANSWERS))
            return
        shell = self._shell
        bridge = self._bridges.pop(0)
        shell.seat = seat = Seat(bridge, shell.session.process, shell.session.user, self._generation)
        seat.join(shell.session.cloud.token_life, partial(self._joined, seat, bridge))

    def _joined(self, seat: Seat, bridge: BridgeRef, trouble: Any, above: Generation) -> None:
        if self.over:
            return
        if trouble is not None and DECISIONS[trouble].hop is Hop.LIVEKIT:
            self._shell.session.cloud.watch.complain()
        if trouble in ON_ITS_WAY_OUT:
            self._shell.pool.set_alive(bridge, False)
            seat.release()
            self._try()
        elif trouble is not None:
            seat.release()
            refused = trouble is LossReason.REPLACED
            self._end(audio_link.JoinFailed(self._generation, trouble, above if refused else Generation(0)))
        else:
            seat.listen(self._chunk, partial(self._broke, seat))
            self._shell.post(audio_link.Joined(self._generation))

    def _chunk(self, message: pb.AudioChunk) -> None:
        if self.over:
            return
        if not message.HasField("news"):
            self._shell.take(Frame.of(self._shell.session.user, message), self._generation)
            return
        news = message.news
        if news.leaving and self._shell.seat is not None:
            self._shell.pool.set_alive(self._shell.seat.bridge, False)
        self._shell.post(audio_link.News(self._generation, news.phone_here, news.leaving, hindered_by(news)))

    def _broke(self, seat: Seat, trouble: Any) -> None:
        if not self.over:
            seat.release()
            self._end(audio_link.StreamBroke(self._generation, trouble))

    def _end(self, event: Any) -> None:
        self.over = True
        self._shell.post(event)


class LinkShell:
    """Owned by one session."""

    def __init__(self, session: Owner, former: "LinkShell | None") -> None:
        self.session = session
        self.pool: Pool = session.cloud.pool
        self.machine = AudioLink(Generation(session.process.unix_ms()), session.process.world.chance.random)
        self.seat: Seat | None = None
        self._former = former
        self._attempt: Attempt | None = None
        self._leaving = 0
        """Places that are being left."""
        self._waiting: Attempt | None = None
        """Begins when they have been."""
        self._alarm = Alarm(session.process, lambda now: self.post(audio_link.Tick(), now))
        self._heard_at: dict[audio_link.Path, float] = {}
        self._mailbox: deque[tuple[Any, float | None]] = deque()
        self._turning = False
        self.closing = False
        self._closed = False

    @property
    def idle(self) -> bool:
        """Nothing is being left any more."""
        return self._leaving == 0

    def post(self, event: Any, now: float | None = None) -> None:
        """One event, in order, with its effects."""
        if self.session.gone:
            return
        self._mailbox.append((event, now))
        if self._turning:
            return
        self._turning = True
        while self._mailbox:
            event, now = self._mailbox.popleft()
            self._step(event, self.session.process.clock() if now is None else now)
        self._turning = False

    def _step(self, event: Any, now: float) -> None:
        machine, session = self.machine, self.session
        effects = machine.step(event, now)
        for record in machine.records:
            session.process.note(
                "link", session.user, session.name, f"{record.old.label} -> {record.new.label}",
                record.event, record.generation, record.cause,
            )  # fmt: skip
        machine.records.clear()
        for effect in effects:
            self._perform(effect)
        self._alarm.set(machine.next_deadline())

    def _perform(self, effect: Any) -> None:
        match effect:
            case audio_link.Join(generation, elsewhere):
                if self._attempt is not None:
                    self._attempt.cancel()
                self._attempt = attempt = Attempt(self, generation, elsewhere)
                if self.idle and (self._former is None or self._former.idle):
                    attempt.start()
                else:
                    self._waiting = attempt
            case audio_link.Leave():
                self._leave()
            case audio_link.AskStatus(generation):
                self._ask_status(generation)
            case audio_link.Notify(notice):
                self.session.tell(notice)
            case audio_link.Examine(generation):
                self._examine(generation)
            case audio_link.AskPhone(generation):
                self._ask_phone(lambda answers: self.post(audio_link.PhoneAnswered(generation, answers)))

    # ---- joins and leaves

    def _leave(self) -> None:
        attempt, self._attempt = self._attempt, None
        seat, self.seat = self.seat, None
        self._waiting = None
        if attempt is not None and (seat is None or not seat.joined):
            attempt.cancel()
        if seat is None:
            return
        self._leaving += 1

        def left() -> None:
            self._leaving -= 1
            if attempt is not None:
                attempt.cancel()
            seat.release()
            self._begin_waiting()
            if self.closing:
                self._finish()

        seat.leave(left)

    def _begin_waiting(self) -> None:
        if self.idle and (self._former is None or self._former.idle) and self._waiting is not None:
            attempt, self._waiting = self._waiting, None
            attempt.start()

    def former_idle(self) -> None:
        """The user's former session has let go."""
        self._begin_waiting()

    def close(self) -> None:
        """Gives up what is held."""
        self.post(audio_link.Unwanted())
        self.closing = True
        self._finish()

    def _finish(self) -> None:
        if self.idle and not self._closed:
            self._closed = True
            self.session.closed()

    # ---- questions

    def _ask_status(self, generation: Generation) -> None:
        seat = self.seat
        if seat is not None and seat.generation == generation:
            seat.status(ANSWER_WITHIN, lambda status: self.post(audio_link.Status(generation, status.lost)))

    def _examine(self, generation: Generation) -> None:
        answers: dict[str, Any] = {}
        seat = self.seat

        def answered(who: str, answer: Any) -> None:
            answers[who] = answer
            if len(answers) == 3:
                age = None
                if seat is not None and seat.heard_at is not None:
                    age = self.session.process.clock() - seat.heard_at
                evidence = Evidence(answers["bridge"], answers["livekit"], answers["phone"], age)
                self.post(audio_link.Examined(generation, evidence))

        if seat is not None and seat.generation == generation:
            seat.status(ANSWER_WITHIN, lambda status: answered("bridge", status.says))
        else:
            answered("bridge", None)
        self._ask_livekit(lambda says: answered("livekit", says))
        self._ask_phone(lambda answers: answered("phone", answers))

    def _ask_livekit(self, done: Callable[[LiveKitSays | None], None]) -> None:
        user = self.session.user

        def read(livekit: LiveKit) -> LiveKitSays:
            members = livekit.members(user)
            return LiveKitSays(agent_identity(user) in members, user in members, False)

        self.session.cloud.room_service.ask(read, done)

    def _ask_phone(self, done: Any) -> None:
        """A ping on its socket: anything that comes since is an answer."""
        session, phone = self.session, self.session.phone
        if phone is None:
            done(False)
            return
        asked = session.process.clock()
        over = False

        def look(last: bool) -> None:
            nonlocal over
            if not over and (last or phone.heard_at > asked):
                over = True
                done(phone.heard_at > asked)

        phone.send("ping")
        for part in range(1, 11):
            session.process.after(ANSWER_WITHIN * part / 10, look, part == 10)

    # ---- what comes

    def take(self, frame: Frame, generation: Generation) -> None:
        """A frame out of the room."""
        worker = self.seat.bridge.worker.process.name if self.seat is not None else None
        self.session.deliver(frame, "room", worker)
        self.heard(audio_link.Path.ROOM, numbered=frame.numbered, generation=generation)

    def heard(self, path: audio_link.Path, *, numbered: bool, generation: Generation | None = None) -> None:
        """Something came by this path; few frames need the machine."""
        now = self.session.process.clock()
        if now - self._heard_at.get(path, -1.0) >= HEARD_EVERY or not self.machine.state.placed:
            self._heard_at[path] = now
            self.post(audio_link.Heard(path, self.machine.generation if generation is None else generation, numbered))

    def network_back(self) -> None:
        """The phone hints that it is worth trying again."""
        self.post(audio_link.NetworkBack())

    # ---- for the checkers

    def stuck(self) -> str:
        """Why nothing will ever happen here, empty when something will."""
        label = self.machine.state.label
        if self._alarm.is_set or self.session.phone is None:
            return ""
        if label == "joining" and (self._attempt is None or self._attempt.over):
            return "a join that nobody carries out"
        if label in ("backing_off", "interrupted", "suspect", "unheard", "doubtful"):
            return f"{label} without a deadline"
        return ""
