"""One user's session: the shell around core/session.py and core/ownership.py, and the owner of all that the user has
here: sockets, audio, link and apps."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from msgspec.structs import replace

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.audio import Listener
from glassbridge.cloud.audio_report import AudioReport
from glassbridge.cloud.bridge_pool import BridgePool
from glassbridge.cloud.clock import unix_ms_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.connection import PhoneConnection
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flight import Row
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.greeter import Greeter
from glassbridge.cloud.link import LinkShell
from glassbridge.cloud.microphone_order import Order
from glassbridge.cloud.phone_messages import PhoneMessages
from glassbridge.cloud.phone_sockets import PhoneSockets
from glassbridge.cloud.user_audio import UserAudio
from glassbridge.cloud.websocket import new_allowance
from glassbridge.core import audio_link, ownership
from glassbridge.core.app_session import StopReason
from glassbridge.core.audio_link import AudioLink, AudioRoute, Notice
from glassbridge.core.machine import Record
from glassbridge.core.ownership import Claim, Epoch, Ownership, OwnershipState, first_generation
from glassbridge.core.session import (
    Adopt,
    Dispose,
    Effect,
    End,
    Event,
    Move,
    Refuse,
    Release,
    Session,
    SessionState,
    Supersede,
    Taken,
    Tick,
)
from glassbridge.core.values import AudioState, UserId
from glassbridge.runtime.lazy import Lazy
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.supervisor import Speech
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import FrameNumber
from glassbridge.wire.close_codes import CloseCode, ComeBack
from glassbridge.wire.cluster import HandOver, fitting
from glassbridge.wire.phone import AppStateChange, AppStopped, Message

log = structlog.get_logger()

TICK = Tick()
DRAINING = "draining"
FAILED = "internal error"
_CLOSE_CODES = {DRAINING: CloseCode.DRAINING, FAILED: CloseCode.INTERNAL}
CLOSE_TIMEOUT = 2.0


class SessionKeeper(Protocol):
    """Who keeps the sessions."""

    def take(self, connection: PhoneConnection) -> None:
        """Finds or makes the session for a socket."""

    def drop(self, session: "UserSession") -> None:
        """Forgets the session, if it is still the user's, and sees to it that close() runs."""

    def release(self, claim: Claim) -> None:
        """Nobody owns the user any more, if this claim still stands."""


class UserSession:
    """Born with its first socket, used once; everything that it owns ends in close(). Apps are made when the first is
    started: most users start none."""

    __slots__ = (
        "_allowance", "_apps", "_came_at", "_clock", "_flight", "_flights", "_greeter", "_handed", "_host", "_left",
        "_log", "_messages", "_numbers", "_order", "_owner", "_report", "_shell", "_stops_apps", "_tasks",
        "_was_elsewhere", "audio", "id", "link", "ownership", "sockets", "user",
    )  # fmt: skip
    """With so many attributes each instance would have a dictionary that it shares with none: 1.3 KB more."""

    def __init__(
        self,
        user: UserId,
        owner: SessionKeeper,
        config: CloudConfig,
        pool: BridgePool,
        speech: Speech,
        examiner: Examiner,
        apps: AppHost,
        flights: Flights,
        pulse: Pulse,
        former: asyncio.Task[None] | None,
        claim: Claim | None = None,
        handed: HandOver | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        """`claim` names the session; `handed` is what another cloud has handed over. `goes_on`: the phone has had it
        there."""
        world = apps.world
        self.user = user
        self.id = claim.session if claim is not None else world.token(6)
        self.ownership = Ownership()
        self._was_elsewhere = goes_on
        """The phone has had this session before, with another cloud."""
        self._numbers = False
        """The newest phone numbers all its audio."""
        self._handed = handed
        self._left: HandOver | None = None
        """What the session had when it moved, but for its transcripts."""
        self._owner = owner
        self._clock = clock = world.monotonic
        self._came_at = clock()
        self._log = logger = log.bind(user_id=user, session_id=self.id)
        self._tasks = tasks = TaskGroup(f"session:{user}", self._failed)
        self._flights = flights
        self._flight = flight = flights.open(user, self.id)
        self._allowance = new_allowance(config.phone_rates, clock())
        self._shell: Shell[Event] = Shell(Session(config.grace), self._perform, TICK, self._record, clock)
        self.sockets = sockets = PhoneSockets(self._shell.post, config.status_timeout, logger, clock)
        self._report = AudioReport(self, sockets, flight, logger, clock)
        self._order = Order(sockets.tell, self._switch_microphone, logger, clock, captions=bool(config.captions))
        self.audio = UserAudio(
            user, self.id, config, speech, self, sockets, self._report, flight, tasks, logger, world
        )  # fmt: skip
        self._greeter = Greeter(user, self.id, config, examiner, sockets, self.audio, flight, tasks, logger, world)
        first = first_generation(Epoch(int(world.wall() * 1000)) if claim is None else claim.epoch)
        self.link = LinkShell(
            user, self.id, AudioLink(first, world.chance), pool, examiner, self.audio, self._hear_notice,
            sockets.answers, self._greeter.nudge, tasks, former, flight, logger, pulse,
            clock,
        )  # fmt: skip
        self._messages = PhoneMessages(self, sockets, self.link, self.audio, self._order, flight, logger)
        self._host = apps
        self._apps: UserApps | None = None
        self._stops_apps = StopReason.SYSTEM
        """The reason that its apps are given when the session ends."""

    def start(self) -> None:
        """Sets everything going."""
        self._shell.start(self._tasks, "session")
        self.audio.start()
        self.link.start()
        self._flight.attach(self)
        if (handed := self._handed) is not None:
            self._handed = None
            self.take_over(handed)
        elif self._was_elsewhere:
            self.audio.hearing.name_after(unix_ms_now())

    async def close(self) -> None:
        """Releases everything; called once, by the owner, after drop(). Takes some seconds at most."""
        self._shell.stop()
        self._order.close()
        if self._apps is not None:
            await self._apps.close(self._stops_apps)
        await self.link.close(CLOSE_TIMEOUT, leaves=self.ownership.state is not OwnershipState.MOVED)
        heard, lost = await self.audio.close(CLOSE_TIMEOUT)
        await self._tasks.close()
        self._log.info("session gone", heard=heard, lost=lost)

    @Lazy
    def apps(self) -> UserApps:
        """Of the user."""
        made = UserApps(self.user, self.id, self._host, self._tell_of_app, self.link, self.audio.hearing, self._order)
        if self.has_phone:
            made.phone_came()
        if (told := self._report.told_apps) is not None:
            made.audio_state(told)
        self.audio.add(made)
        return made

    @property
    def apps_here(self) -> UserApps | None:
        """None: there was no need of them yet."""
        return self._apps

    @property
    def hearers(self) -> list[Listener]:
        """Of the microphone, beside those that belong to the audio."""
        return [*self.link.ears, self._order, *([] if self._apps is None else [self._apps])]

    def _failed(self, task: str, error: BaseException) -> None:
        """The supervisor boundary: what nobody expected ends this session and no other."""
        self._log.error("session failed", task=task, exc_info=error)
        self._dispose(FAILED)

    # ---- its sockets

    @property
    def has_phone(self) -> bool:
        """False in grace."""
        return self.sockets.phone is not None

    @property
    def here_for(self) -> float:
        """Seconds since the newest socket of the phone came."""
        return self._clock() - self._came_at

    @property
    def moves_easily(self) -> int:
        """How little is disturbed when the phone has to come anew: 2 where there is none, 1 where nothing is said."""
        return 2 if not self.has_phone else 0 if self.audio.heard_lately else 1

    def opened_beside(self, connection: PhoneConnection) -> bool:
        """A second socket, which carries audio beside the first; False: its phone is not the one that is here."""
        if beside := self.sockets.opened_beside(connection):
            connection.listen(self._messages, self._allowance)
        return beside

    def end(self, cause: str) -> None:
        """Ends the session now."""
        self._shell.post(End(cause))

    def send_away(self, code: CloseCode) -> None:
        """Closes the phones; the session waits for them, or for another cloud that takes it."""
        self.sockets.close(code)

    # ---- whose it is

    def own(self, event: ownership.Event) -> None:
        """Something is new about who owns the user."""
        effects = self.ownership.step(event, self._clock())
        for record in self.ownership.records:
            self._log.info("ownership", epoch=record.generation, **record.fields)
            self._flight.note("ownership", epoch=record.generation, **record.fields)
        self.ownership.records.clear()
        for effect in effects:
            match effect:
                case ownership.Raise(epoch):
                    self.link.post(audio_link.Raised(first_generation(epoch)))
                case ownership.Move():
                    self._left = self._held()
                    self._shell.post(Taken())
                    self._owner.drop(self)
                case ownership.Release(claim):
                    self._owner.release(claim)

    def hand_over(self) -> HandOver:
        """What the next owner of the user gets; also after the session has moved."""
        held = self._held() if self._left is None else self._left
        return fitting(replace(held, transcripts=self.audio.words_handed_over()))

    def _held(self) -> HandOver:
        apps = HandOver() if self._apps is None else self._apps.handed_over()
        return replace(apps, session=self.id, heard=self.audio.handed_over(), lc3=self.audio.lc3)

    def take_over(self, handed: HandOver) -> None:
        """What the former owner of the user had. It may come late: what the session has learnt since stands."""
        self.audio.take_over(handed)
        if handed.apps:
            self.apps.take_over(handed)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Adopt(number, resumed):
                if (connection := self.sockets.find(number)) is not None:
                    self._adopt(connection, resumed)
            case Supersede(number):
                self.sockets.supersede(number)
            case Release():
                self._flight.note("phone socket", here=False, **self.link.ages())
                self.sockets.phone = None
                self._report.phone_went()
                self._order.phone_went()
                self.link.depart()
                if self._apps is not None:
                    self._apps.phone_went()
                self._report.tell_apps_away()
                self.sockets.let_speak()
            case Dispose(cause):
                self._dispose(cause)
            case Move():
                self._stops_apps = StopReason.MOVING
                self._leave(CloseCode.SUPERSEDED, "another cloud owns the user")
            case Refuse(number):
                if (connection := self.sockets.give_up(number)) is not None:
                    self._owner.take(connection)

    def _adopt(self, connection: PhoneConnection, resumed: bool) -> None:
        kind = "superseding" if self.has_phone else "resumed"
        metrics.PHONE_SOCKETS.add(kind if resumed else "handed_over" if self._was_elsewhere else "new")
        self.sockets.adopt(connection)
        self._came_at = self._clock()
        params = connection.params
        self.audio.phone_came(numbered=params.numbered)
        self._flight.note(
            "phone socket", here=True, socket=connection.number, resumed=resumed,
            livekit=params.livekit, numbered=params.numbered,
        )  # fmt: skip
        self._report.phone_came()
        self._greeter.greet(connection, resumed=resumed or self._was_elsewhere)
        self._order.phone_came()
        self._numbers = params.numbers
        self.link.arrive(audio_link.Wanted(room=params.livekit, numbers=params.numbers), params.trace)
        if self._apps is not None:
            self._apps.phone_came()
        connection.listen(self._messages, self._allowance)

    def _dispose(self, cause: str) -> None:
        code = _CLOSE_CODES.get(cause, CloseCode.SESSION_ENDED)
        if code.come_back is not ComeBack.NO:
            self._stops_apps = StopReason.MOVING
        self._leave(code, cause)
        self.own(ownership.Ended())

    def _leave(self, code: CloseCode, cause: str) -> None:
        self.send_away(code)
        self.sockets.phone = None
        self._report.phone_went()
        self._flight.note("session gone", cause=cause)
        self._flights.close(self._flight)
        self._owner.drop(self)

    def _record(self, record: Record[SessionState]) -> None:
        self._log.info("session", socket=record.generation, **record.fields)
        self._flight.note("session", socket=record.generation, **record.fields)

    # ---- what gauges (cloud/gauges.py) and recorder (cloud/flight.py) ask

    @property
    def told(self) -> AudioState | None:
        """The audio state that the phone was told last; None: none so far."""
        return self._report.state

    def totals(self) -> tuple[int, ...]:
        """What was counted so far, in the order of the recorder."""
        frames, room, socket = self.link.frames, 0, 0
        if frames:  # it is asked each second, and most phones say nothing
            room, socket = frames[AudioRoute.ROOM], frames[AudioRoute.SOCKET]
        handed = 0 if self._apps is None else self._apps.handed
        return room, socket, self.audio.fed, self.audio.answered, handed

    def facts(self) -> Row:
        """How it is now."""
        place = self.link.place
        apps = {} if self._apps is None else self._apps.states()
        return {
            "link": self.link.state.label,
            "generation": self.link.generation,
            "epoch": self.ownership.epoch,
            "bridge": None if place is None else place.bridge.target,
            "numbered": self._numbers,
            "apps": {package: state.label for package, state in apps.items()},
        }

    @property
    def listeners(self) -> list[Listener]:
        """Of its microphone."""
        return self.audio.microphone.listeners

    def attend(self, listener: Listener, on_presence: Callable[[FrameNumber], None], *, needs: bool) -> None:
        """Adds a listener of the microphone that is no app. With `needs` the microphone stays on for it."""
        self.audio.microphone.listeners.append(listener)
        self.audio.microphone.on_presence = on_presence
        if needs:
            self._order.need_always()

    # ---- what its parts tell each other

    def _hear_notice(self, notice: Notice) -> None:
        self.audio.notice(notice)
        self._report.link(notice)

    def say(self, sentence: str) -> None:
        """Shows it where captions are."""
        self.audio.transcription.say(sentence)

    def _switch_microphone(self, on: bool) -> None:
        self.link.post(audio_link.Microphone(on))

    def _tell_of_app(self, message: Message) -> None:
        match message:
            case AppStateChange(package_name=package, state=str(state)):
                self._flight.note("app", package=package, state=state)
            case AppStopped(package_name=package, reason=reason, error=error):
                self._flight.note("app", package=package, state="stopped", reason=reason, error=error)
        self.sockets.tell(message, may_drop=True)

    def judge_coding(self, refuses: bool) -> None:
        """The phone's frames cannot be read as audio, or can again."""
        self._report.coding(refuses)
        if refuses:
            self._greeter.ask_for_coding()
