"""One user's session: the shell around core/session.py, and the owner of the user's microphone, link and captions."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.audio import Listener, Microphone, OddByte, Progress
from glassbridge.cloud.audio_report import AudioReport
from glassbridge.cloud.bridge_pool import BridgePool
from glassbridge.cloud.clock import iso_now, unix_ms_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.connection import PhoneConnection
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flight import Row
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.hearing import Hearing
from glassbridge.cloud.lc3 import Decoder, NoLc3
from glassbridge.cloud.link import LinkShell
from glassbridge.cloud.microphone_order import Order
from glassbridge.cloud.phone_sockets import PhoneSockets
from glassbridge.cloud.recording import Recorder
from glassbridge.cloud.sound_watch import SoundWatch
from glassbridge.cloud.tap import Tap
from glassbridge.cloud.transcription import Transcription
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.cloud.websocket import new_allowance
from glassbridge.core import audio_link, ownership
from glassbridge.core.app_session import StopReason
from glassbridge.core.audio_link import AudioLink, AudioRoute, Notice
from glassbridge.core.diagnosis import Finding, Hop
from glassbridge.core.machine import Record
from glassbridge.core.ownership import Claim, Epoch, Ownership, OwnershipState, first_generation
from glassbridge.core.phone_way import GREET_EVERY, Nudge
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
from glassbridge.core.subscriptions import Stream
from glassbridge.core.uplink import ClockStep
from glassbridge.core.values import BYTES_PER_MS, AudioState, UserId
from glassbridge.livekit.tokens import phone_token
from glassbridge.runtime.lazy import Lazy
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Want
from glassbridge.speech.supervisor import Speech
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import CODING_OPUS, FrameNumber, decode_numbered
from glassbridge.wire.close_codes import CloseCode, ComeBack
from glassbridge.wire.cluster import HandOver, HeardUpTo, fitting
from glassbridge.wire.device_events import DeviceEvent
from glassbridge.wire.phone import (
    AppStateChange,
    AppStopped,
    AudioAck,
    AudioPosition,
    AudioStateNotice,
    ConnectionAck,
    EpochEnd,
    FromPhone,
    GlassesConnectionState,
    LiveKitInfo,
    LocalTranscription,
    Message,
    MicrophoneStateChange,
    NetworkStateChange,
    Ping,
    SpeechEndNotice,
    StartApp,
    StopApp,
    Vad,
)

log = structlog.get_logger()

TICK = Tick()
DRAINING = "draining"
FAILED = "internal error"
_CLOSE_CODES = {DRAINING: CloseCode.DRAINING, FAILED: CloseCode.INTERNAL}
CLOSE_TIMEOUT = 2.0
ANNOUNCED_WITHIN = 2.0
"""Seconds after its greeting in which a phone announces the coding of its audio; the first audio may come before."""


class Owner(Protocol):
    """Who keeps the sessions."""

    def take(self, connection: PhoneConnection) -> None:
        """Finds or makes the session for a socket."""

    def drop(self, session: "UserSession") -> None:
        """Forgets the session, if it is still the user's, and sees to it that close() runs."""

    def release(self, claim: Claim) -> None:
        """Nobody owns the user any more, if this claim still stands."""


class UserSession:
    """Born with its first socket, used once; everything that it owns ends in close(). What audio and apps need is made
    when they come: most phones say nothing most of the time."""

    __slots__ = (
        "_allowance", "_apps", "_asks_for_coding", "_blamed", "_came_at", "_captions", "_clock", "_config",
        "_epoch_asked", "_examiner", "_flight", "_flights", "_handed", "_hearing", "_host", "_left", "_log",
        "_microphone", "_notice", "_numbered", "_numbers", "_odd", "_order", "_owner", "_recorder", "_report", "_shell",
        "_sound_watch", "_speaking", "_speech", "_stops_apps", "_taps", "_tasks", "_transcription", "_transcripts",
        "_unnumbered", "_wall", "_was_elsewhere", "id", "link", "ownership", "sockets", "user",
    )  # fmt: skip
    """With so many attributes each instance would have a dictionary that it shares with none: 1.3 KB more."""

    def __init__(
        self,
        user: UserId,
        owner: Owner,
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
        self.user = user
        self._clock = apps.world.monotonic
        self.id = claim.session if claim is not None else apps.world.token(6)
        self.ownership = Ownership()
        self._was_elsewhere = goes_on
        """The phone has had this session before, with another cloud."""
        self._left: HandOver | None = None
        """What the session had when it moved, but for its transcripts."""
        self._examiner = examiner
        self._flights = flights
        self._flight = flights.open(user, self.id)
        self._owner = owner
        self._wall = apps.world.wall
        self._config = config
        self._log = log.bind(user_id=user, session_id=self.id)
        self._tasks = TaskGroup(f"session:{user}", self._failed)
        self._came_at = self._clock()
        self._asks_for_coding = False
        """A task asks the phone for the coding of its audio."""
        self._numbered = False
        """The newest phone numbers its binary frames."""
        self._numbers = False
        """It numbers all its audio."""
        self._odd: OddByte | None = None
        self._unnumbered: Unnumbered | None = None
        self._allowance = new_allowance(config.phone_rates, self._clock())
        self._shell: Shell[Event] = Shell(Session(config.grace), self._perform, TICK, self._record, self._clock)
        self.sockets = PhoneSockets(self._shell.post, self._log, self._clock)
        self._captions = Want(config.captions) if config.captions else None
        self._report = AudioReport(self._tell_audio_state, self._note_recovery, self._say, self._clock)
        self._speech = speech
        self._hearing: Hearing | None = None
        self._recorder = (
            Recorder(config.record, user, datetime.fromtimestamp(self._wall(), UTC)) if config.record else None
        )
        self._transcripts: Transcripts | None = None
        self._microphone: Microphone | None = None
        self._blamed: tuple[Hop, str] | None = None
        """The hop that was at fault, and why, when audio was last told to be missing; None: it has come since."""
        self._speaking: bool | None = None
        """What the phone said last of speech."""
        self._epoch_asked: int | None = None
        """The epoch that the phone was asked to end."""
        self._taps = [Tap(config.tap, user, self.id, wants_late=late) for late in (True, False)] if config.tap else ()
        first = first_generation(Epoch(int(self._wall() * 1000)) if claim is None else claim.epoch)
        machine = AudioLink(first, apps.world.chance)
        self.link = LinkShell(
            user,
            self.id,
            machine,
            pool,
            examiner,
            self,
            self._hear_notice,
            self._ask_phone,
            self._nudge_phone,
            self._tasks,
            former,
            self._flight,
            self._log,
            pulse,
            self._clock,
        )
        self._stops_apps = StopReason.SYSTEM
        """What the end of the session means for its apps."""
        self._order = Order(self._tell, self._switch_microphone, self._clock, captions=self._captions is not None)
        self._host = apps
        self._apps: UserApps | None = None
        self._notice: AudioStateNotice | None = None
        """What apps were told last of the phone's audio."""
        self._transcription: Transcription | None = None
        self._sound_watch: SoundWatch | None = None
        self._handed = handed

    def start(self) -> None:
        """Sets everything going."""
        self._shell.start(self._tasks, "session")
        if self._recorder is not None:
            self._recorder.start(self._tasks)
        self.link.start()
        self._flight.attach(self)
        if (handed := self._handed) is not None:
            self._handed = None
            self.take_over(handed)
        elif self._was_elsewhere:
            self.hearing.name_after(unix_ms_now())

    async def close(self) -> None:
        """Releases everything; called once, by the owner, after drop(). Takes some seconds at most."""
        self._shell.stop()
        self._order.close()
        if self._apps is not None:
            await self._apps.close(self._stops_apps)
        await self.link.close(CLOSE_TIMEOUT, leaves=self.ownership.state is not OwnershipState.MOVED)
        heard, lost = 0, 0
        if self._microphone is not None:
            self._microphone.close()
            numbered, plain = self._microphone.accounts()
            heard, lost = numbered.delivered + plain.delivered, numbered.lost or 0
        if self._recorder is not None:
            await self._recorder.close(CLOSE_TIMEOUT)
        if self._hearing is not None:
            await self._hearing.close()
        await self._tasks.close()
        for tap in self._taps:
            tap.close()
        self._log.info("session gone", heard=heard, lost=lost)

    # ---- what audio and apps need

    @Lazy
    def microphone(self) -> Microphone:
        """Of the phone."""
        made = Microphone(
            self._acknowledge, self._all_heard, self._report.network, self._clock_stepped, lambda: self.hearing
        )
        made.listeners += [*self._taps, *self.link.ears, self._order, self.sound_watch]
        made.listeners += [one for one in (self._apps, self._recorder) if one is not None]
        made.reached(numbered=self._numbered)
        if self._blamed is not None:
            made.blame(*self._blamed)
        return made

    @Lazy
    def unnumbered(self) -> Unnumbered:
        """Audio without numbers."""
        return Unnumbered(self._judge_coding, self._clock)

    @Lazy
    def sound_watch(self) -> SoundWatch:
        """Whether what comes is the sound of a living microphone."""
        return SoundWatch(self._report.sound)

    @Lazy
    def hearing(self) -> Hearing:
        """What is understood."""
        return Hearing(
            self._speech,
            self._captions,
            lambda said, asked: self.transcription.understood(said, asked),
            self._report.recogniser,
            self._report.pace,
            lambda: self._spawn(self._end_speech(), "speech-end"),
            lambda: self.microphone.catches_up,
            self._clock,
            user_id=self.user,
            session_id=self.id,
        )

    @Lazy
    def transcripts(self) -> Transcripts:
        """What was understood."""
        return Transcripts(self._clock)

    @Lazy
    def transcription(self) -> Transcription:
        """Tells and keeps what is understood."""
        return Transcription(self._captions, self.transcripts, lambda: self._apps, self._flight, self._tell, self._log)

    @Lazy
    def apps(self) -> UserApps:
        """Of the user."""
        made = UserApps(self.user, self.id, self._host, self._tell_of_app, self.link, self.hearing, self._order)
        if self.has_phone:
            made.phone_came()
        if self._notice is not None:
            made.audio_state(self._notice)
        if self._microphone is not None:
            self._microphone.listeners.append(made)
        return made

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.spawn(coroutine, name)

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
        speaks = self._microphone is not None and self._microphone.heard_lately
        return 2 if not self.has_phone else 0 if speaks else 1

    def opened(self, connection: PhoneConnection) -> None:
        """A socket of the user was accepted."""
        self.sockets.opened(connection)

    @property
    def room_age_ms(self) -> int | None:
        """Milliseconds since something came out of the room; None: nothing has."""
        return self.link.room_age_ms

    def on_silence(self, connection: PhoneConnection) -> None:
        """Nothing is heard of a socket; it is as good as closed until something is."""
        self.sockets.silent(connection)

    def on_return(self, connection: PhoneConnection) -> None:
        """Something is heard of it after all."""
        self.sockets.returned(connection)

    def opened_beside(self, connection: PhoneConnection) -> bool:
        """A second socket, which carries audio beside the first; False: its phone is not the one that is here."""
        if not self.sockets.opened_beside(connection):
            return False
        connection.listen(self, self._allowance)
        return True

    def closed(self, connection: PhoneConnection) -> None:
        """A socket of the user is gone; may come late."""
        self.sockets.closed(connection)

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
            about = {"old": record.old.label, "on": record.event, "new": record.new.label, "epoch": record.generation}
            self._log.info("ownership", **about)
            self._flight.note("ownership", **about)
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
        said = () if self._transcripts is None else self._transcripts.handed_over()
        return fitting(replace(held, transcripts=said))

    def _held(self) -> HandOver:
        hearing, microphone = self._hearing, self._microphone
        at_ms, named = (0, 0) if hearing is None else (hearing.position_ms, hearing.named)
        heard = HeardUpTo(at_ms=at_ms, named=named, speaking=self._speaking)
        if microphone is not None and (numbered := microphone.handed_over()) is not None:
            epoch, position, captured_us, missing = numbered
            at_ms = heard.at_ms + microphone.ahead_ms(epoch, position)
            heard = replace(
                heard, at_ms=at_ms, epoch=epoch, position=position, captured_us=captured_us, missing=missing
            )
        apps = HandOver() if self._apps is None else self._apps.handed_over()
        lc3 = 0 if self._unnumbered is None else self._unnumbered.lc3
        return replace(apps, session=self.id, heard=heard, lc3=lc3)

    def take_over(self, handed: HandOver) -> None:
        """What the former owner of the user had. It may come late: what the session has learnt since stands."""
        if handed.transcripts:
            self.transcripts.take_over(handed.transcripts)
        if (heard := handed.heard) is not None:
            if heard.at_ms or heard.named:
                self.hearing.go_on_at(heard.at_ms, heard.named)
            if heard.epoch and self._position is None:
                self.microphone.take_over(heard.epoch, heard.position, heard.captured_us, heard.missing)
            if heard.speaking is not None and self._speaking is None:
                self._hear_of_speech(heard.speaking)
        if handed.apps:
            self.apps.take_over(handed)
        if handed.lc3 and not self.unnumbered.lc3:
            try:
                self.unnumbered.configure(Decoder(handed.lc3))
            except (NoLc3, ValueError) as error:
                self._log.warning("coding not taken over", error=str(error))

    @property
    def _position(self) -> tuple[int, int] | None:
        """(epoch, position) up to which the phone's audio has come; None before any numbered frame."""
        return None if self._microphone is None else self._microphone.position

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Adopt(number, resumed):
                if (connection := self.sockets.find(number)) is not None:
                    self._adopt(connection, resumed)
            case Supersede(number):
                self.sockets.supersede(number)
            case Release():
                self._flight.note("phone socket", here=False, **self.link.ages())
                self._lose_phone()
                self._order.phone_went()
                self.link.depart()
                if self._apps is not None:
                    self._apps.phone_went()
                self._tell_apps(_away())
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
        self._odd = None
        self._came_at = self._clock()
        if self._unnumbered is not None:
            self._unnumbered.reached()
        params = connection.params
        self._flight.note(
            "phone socket", here=True, socket=connection.number, resumed=resumed,
            livekit=params.livekit, numbered=params.numbered,
        )  # fmt: skip
        self._report.phone_came()
        connection.send(self._greeting(connection, resumed or self._was_elsewhere))
        self._order.phone_came()
        self._numbered, self._numbers = params.numbered, params.numbers
        if self._microphone is not None:
            self._microphone.reached(numbered=params.numbered)
        self.link.arrive(audio_link.Wanted(room=params.livekit, numbers=params.numbers), params.trace)
        if self._apps is not None:
            self._apps.phone_came()
        connection.listen(self, self._allowance)

    def _greeting(self, connection: PhoneConnection, resumed: bool) -> ConnectionAck:
        config, position = self._config, self._position
        room = str(self.user)
        livekit = None
        if connection.params.livekit:
            token = phone_token(
                config.livekit_keys, user=self.user, room=room, ttl=config.client_token_ttl, now=self._wall()
            )
            self._log.info("LiveKit token minted", holder="phone", seconds=config.client_token_ttl)
            livekit = LiveKitInfo(config.phones_livekit_url, room, token)
        return ConnectionAck(
            session_id=self.id,
            timestamp=iso_now(),
            livekit=livekit,
            audio=2 if connection.params.numbered else 1,
            known=AudioPosition(*position) if position is not None else None,
            resumed=resumed,
            pings=True,
            codings=(CODING_OPUS,),
            beside=connection.params.numbered and connection.params.phone != "",
        )

    def _dispose(self, cause: str) -> None:
        code = _CLOSE_CODES.get(cause, CloseCode.SESSION_ENDED)
        if code.come_back is not ComeBack.NO:
            self._stops_apps = StopReason.MOVING
        self._leave(code, cause)
        self.own(ownership.Ended())

    def _leave(self, code: CloseCode, cause: str) -> None:
        self.send_away(code)
        self._lose_phone()
        self._flight.note("session gone", cause=cause)
        self._flights.close(self._flight)
        self._owner.drop(self)

    def _lose_phone(self) -> None:
        self.sockets.phone = None
        self._report.phone_went()

    def _record(self, record: Record[SessionState]) -> None:
        about = {"old": record.old.label, "on": record.event, "new": record.new.label, "cause": record.cause}
        self._log.info("session", socket=record.generation, **about)
        self._flight.note("session", socket=record.generation, **about)

    # ---- what the gauges ask (cloud/gauges.py)

    @property
    def told(self) -> AudioState | None:
        """What the phone knows of its audio; None while there is none, or nothing was told yet."""
        return self._report.state

    @property
    def outbox(self) -> int:
        """Messages that wait for the phone."""
        phone = self.sockets.phone
        return phone.waiting if phone is not None else 0

    # ---- what the recorder asks (cloud/flight.py)

    def totals(self) -> tuple[int, ...]:
        """What was counted so far, in the order of the recorder."""
        frames, room, socket = self.link.frames, 0, 0
        if frames:  # it is asked each second, and most phones say nothing
            room, socket = frames[AudioRoute.ROOM], frames[AudioRoute.SOCKET]
        fed = 0 if self._hearing is None else self._hearing.fed // BYTES_PER_MS
        answered = 0 if self._transcription is None else self._transcription.answered
        handed = 0 if self._apps is None else self._apps.handed
        return room, socket, fed, answered, handed

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
        return self.microphone.listeners

    def attend(self, listener: Listener, on_presence: Callable[[FrameNumber], None], *, needs: bool) -> None:
        """Adds a listener of the microphone that is no app. With `needs` the microphone stays on for it."""
        self.microphone.listeners.append(listener)
        self.microphone.on_presence = on_presence
        if needs:
            self._order.need_always()

    # ---- what the phone says

    def on_message(self, connection: PhoneConnection, message: FromPhone) -> None:
        """A message of the phone; one of a superseded socket is not heard."""
        if connection is not self.sockets.phone:
            return
        if self._apps is not None:
            self._apps.phone_spoke()
        match message:
            case Ping(sent=(room, socket)):
                self._flight.told(phone_sent=room, socket_sent=socket)
            case Vad():
                self._flight.note("voice", speaking=message.speaking)
                self.link.post(audio_link.Voice(message.speaking))
                self._hear_of_speech(message.speaking)
                if self._apps is not None:
                    self._apps.relay(Stream.VAD, Vad(status=message.speaking))
            case MicrophoneStateChange(is_microphone_enabled=on):
                self._flight.note("microphone", on=on)
                self._order.phone_said(on=on)
                self._speaking = on
                self.hearing.voice(on)
            case NetworkStateChange():
                self._flight.note("network")
                self.link.post(audio_link.NetworkBack())
            case GlassesConnectionState():
                self._log.info("glasses", status=message.status[:64], model=message.model_name[:64])
                self.apps.devices.connection(message)
            case DeviceEvent():
                self.apps.devices.event(message)
            case LocalTranscription():
                self.transcription.understood_by_phone(message)
            case StartApp(package_name=package):
                self.apps.start_for_phone(package)
            case StopApp(package_name=package):
                if self._apps is not None:
                    self._apps.stop(package)

    def _hear_of_speech(self, speaking: bool) -> None:
        self._speaking = speaking
        self.hearing.voice(speaking)
        self.sound_watch.voice(speaking)

    def on_audio(self, connection: PhoneConnection, frame: bytes) -> None:
        """A binary frame of the phone. Raises FrameError."""
        if not self.sockets.carries_audio(connection):
            return
        if self._apps is not None:
            self._apps.phone_spoke()
        if connection.params.numbered:
            number, pcm = decode_numbered(frame)
            self.microphone.take_numbered(number, pcm, AudioRoute.SOCKET)
            if number.replayed:
                return
        else:
            self._odd = odd = self._odd or OddByte()
            if not (pcm := self.unnumbered.samples(frame, odd)):
                return
            self.microphone.take_plain(pcm)
        self.link.heard(AudioRoute.SOCKET, numbered=connection.params.numbers)

    # ---- what the phone is told

    def _tell(self, message: Message, *, may_drop: bool = False) -> None:
        if (phone := self.sockets.phone) is not None:
            phone.send(message, may_drop=may_drop)

    async def _ask_phone(self) -> bool:
        phone = self.sockets.phone
        return phone is not None and await phone.answers(self._config.status_timeout)

    def _nudge_phone(self, nudge: Nudge) -> None:
        """The original's phones understand no audio_state. They join their room anew on each acknowledgement, and speak
        on their socket while they are in none."""
        phone = self.sockets.phone
        if phone is None or not phone.params.livekit or phone.understands_notices:
            return
        if nudge is Nudge.GREET:
            self._log.info("phone greeted again", socket=phone.number)
            self._flight.note("phone greeted again", socket=phone.number)
            phone.send(self._greeting(phone, resumed=True))
        else:
            self._log.info("phone put out of its room", socket=phone.number)
            self._flight.note("phone put out of its room", socket=phone.number)
            self._spawn(self._examiner.put_out(self.user), "put-phone-out")

    def _hear_notice(self, notice: Notice) -> None:
        """The link has a new notice for the phone."""
        if notice.state is AudioState.LIVE:
            self._blamed = None
        elif notice.hop is not None:
            self._blamed = notice.hop, notice.code
        if (microphone := self._microphone) is not None:
            if notice.hop is not None:
                microphone.blame(notice.hop, notice.code)
            if notice.state is AudioState.LIVE:
                microphone.forgive()
        self._report.link(notice)

    def _switch_microphone(self, on: bool) -> None:
        """The phone's microphone is on, or off."""
        self.link.post(audio_link.Microphone(on))

    def _all_heard(self) -> None:
        """The last numbered sample has been handed on."""
        self.hearing.all_heard()

    def _tell_audio_state(self, said: AudioStateNotice) -> None:
        said = replace(said, traceparent=self.link.trace)
        self._flight.note(
            "audio state", state=said.state, code=said.code, hop=said.hop, text=said.reason,
            transport=said.transport, generation=self.link.generation, **self.link.ages(),
        )  # fmt: skip
        self._tell(said)
        self._tell_apps(said)

    def _tell_apps(self, said: AudioStateNotice) -> None:
        self._notice = said
        if self._apps is not None:
            self._apps.audio_state(said)

    def _tell_of_app(self, message: Message) -> None:
        match message:
            case AppStateChange(package_name=package, state=str(state)):
                self._flight.note("app", package=package, state=state)
            case AppStopped(package_name=package, reason=reason, error=error):
                self._flight.note("app", package=package, state="stopped", reason=reason, error=error)
        self._tell(message, may_drop=True)

    def _clock_stepped(self, step: ClockStep) -> None:
        """The phone's capture clock cannot be believed: told once for each epoch, for which a new one is asked for."""
        self._log.info("capture clock stepped", epoch=step.epoch, number=step.number, seconds=round(step.seconds, 2))
        self._flight.note("capture clock stepped", number=step.number, seconds=round(step.seconds, 2))
        if self._numbered and self._epoch_asked != step.epoch:
            self._epoch_asked = step.epoch
            self._tell(EpochEnd(epoch=step.epoch))

    def _acknowledge(self, progress: Progress) -> None:
        arrived = {
            route: (brought.frames, brought.stop, round(min(brought.late, 60.0) * 1000))
            for route, brought in progress.arrived.items()
        }
        self._tell(
            AudioAck(
                epoch=progress.epoch,
                position=progress.position,
                missing=progress.missing,
                lost=progress.lost,
                room=arrived.get(AudioRoute.ROOM),
                socket=arrived.get(AudioRoute.SOCKET),
            ),
            may_drop=True,
        )
        self.transcription.progress(progress, self._place_ms)

    def _place_ms(self, epoch: int, position: int) -> int:
        """The session's milliseconds of a hole's beginning."""
        given_up = self.hearing.where(epoch, position)
        if given_up is not None:
            return given_up
        return self.hearing.position_ms + self.microphone.ahead_ms(epoch, position)

    def _say(self, sentence: str) -> None:
        self.transcription.say(sentence)

    def _note_recovery(self, finding: Finding, result: str) -> None:
        """Something is done about audio that arrives and is of no use, or has helped."""
        about = {
            "action": finding.action.value,
            "cause": finding.code,
            "result": result,
            "generation": self.link.generation,
        }
        self._log.info("recovery", **about)
        self._flight.note("recovery", **about)

    def _judge_coding(self, refuses: bool) -> None:
        """What comes is no audio that anybody could hear, or is again."""
        self._report.coding(refuses)
        if refuses and not self._asks_for_coding:
            self._asks_for_coding = True
            self._spawn(self._ask_for_coding(), "ask-for-coding")

    async def _ask_for_coding(self) -> None:
        """The original's phones announce their coding after each greeting, and understand no audio_state."""
        await asyncio.sleep(ANNOUNCED_WITHIN)
        while self.unnumbered.refuses:
            self._nudge_phone(Nudge.GREET)
            await asyncio.sleep(GREET_EVERY)
        self._asks_for_coding = False

    async def _end_speech(self) -> None:
        captioned = await self.hearing.finish()
        self._tell(SpeechEndNotice(captioned=captioned, timestamp=iso_now()))


def _away() -> AudioStateNotice:
    """What apps are told while no phone is here to be told."""
    reason = "the phone is not connected"
    return AudioStateNotice(state="unavailable", reason=reason, code="phone_away", hop="phone", since=unix_ms_now())
