"""One user's session: the shell around core/session.py, and the owner of the user's microphone, link and captions."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from msgspec.structs import replace as replace_struct

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.audio import Listener, Microphone, OddByte, Progress
from glassbridge.cloud.bridge_client import BridgePool
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
from glassbridge.cloud.recording import Recorder
from glassbridge.cloud.sound_watch import SoundWatch
from glassbridge.cloud.tap import Tap
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.cloud.websocket import new_allowance
from glassbridge.core import audio_link, ownership
from glassbridge.core.app_session import StopReason
from glassbridge.core.audio_link import AudioLink, AudioRoute, Notice
from glassbridge.core.coded_audio import CODED_AUDIO
from glassbridge.core.diagnosis import (
    RECOGNISER_FAILED,
    RECOGNISER_OVERLOADED,
    RECOGNISER_SLOW,
    RECOGNISER_STUCK,
    SLOW_NETWORK,
    Finding,
)
from glassbridge.core.gaps import Gap, Gaps
from glassbridge.core.machine import Record
from glassbridge.core.ownership import Claim, Epoch, Ownership, OwnershipState, first_generation
from glassbridge.core.phone_way import GREET_EVERY, Nudge
from glassbridge.core.recogniser import Fault, Reason
from glassbridge.core.rivals import Rivals
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
    SocketClosed,
    SocketNumber,
    SocketOpened,
    Supersede,
    Taken,
    Tick,
)
from glassbridge.core.slowness import Slow
from glassbridge.core.subscriptions import AUTO, Stream, language
from glassbridge.core.uplink import ClockStep
from glassbridge.core.values import BYTES_PER_MS, AudioState, UserId
from glassbridge.livekit.tokens import phone_token
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.supervisor import Speech
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import CODING_OPUS, decode_numbered
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
    DisplayEvent,
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
    TextWall,
    TranscriptGap,
    Vad,
)

log = structlog.get_logger()

DRAINING = "draining"
FAILED = "internal error"
_CLOSE_CODES = {DRAINING: CloseCode.DRAINING, FAILED: CloseCode.INTERNAL}
CAPTIONS = "glassbridge.captions"
"""Package name under which captions are displayed."""
NO_CAPTIONS = "Captions are not available"
RECOGNISER_FINDINGS = {Reason.STUCK: RECOGNISER_STUCK, Reason.OVERLOADED: RECOGNISER_OVERLOADED}
"""What is told of a recogniser's fault; RECOGNISER_FAILED of all others."""
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
    """Born with its first socket, used once; everything that it owns ends in close()."""

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
        former: asyncio.Task[None] | None,
        claim: Claim | None = None,
        handed: HandOver | None = None,
    ) -> None:
        """`claim` names the session; `handed` is what another cloud has handed over."""
        self.user = user
        self._clock = apps.world.monotonic
        self.id = claim.session if claim is not None else apps.world.token(6)
        self.ownership = Ownership()
        self._was_elsewhere = handed is not None
        """The phone has had this session before, with another cloud."""
        self._examiner = examiner
        self._flights = flights
        self._flight = flights.open(user, self.id)
        self._owner = owner
        self._config = config
        self._log = log.bind(user_id=user, session_id=self.id)
        self._tasks = TaskGroup(f"session:{user}", self._failed)
        self._connections: dict[SocketNumber, PhoneConnection] = {}
        self._beside: PhoneConnection | None = None
        """The second socket of the phone; closed ones are kept until the next comes."""
        self._rivals = Rivals()
        self._kept: list[SocketNumber] = []
        """Superseded phones that are still connected, oldest first."""
        self._phone: PhoneConnection | None = None
        self._came_at = self._clock()
        self._told: tuple[AudioState, int] | None = None
        """The audio state that the phone knows, and since when (unix milliseconds)."""
        self._notice: Notice | None = None
        """The newest of the link; None while no phone is here."""
        self._recogniser_trouble: Finding | None = None
        self._sound_trouble: Finding | None = None
        self._slow: Slow | None = None
        """Captions come this late."""
        self._slow_network: Finding | None = None
        """Audio arrives late, as the phone was told."""
        self._asks_for_coding = False
        """A task asks the phone for the coding of its audio."""
        self._deaf = False
        """People were told that there are no captions, and none have come since."""
        self._answered = 0
        """Transcripts so far."""
        self._numbered = False
        """The newest phone numbers its audio."""
        self._odd = OddByte()
        self.unnumbered = Unnumbered(self._judge_coding, self._clock)
        self._allowance = new_allowance(config.phone_rates, self._clock())
        self._shell: Shell[Event] = Shell(Session(config.grace), self._perform, Tick(), self._record, self._clock)
        self._captions = Want(config.captions) if config.captions else None
        self.hearing = Hearing(
            speech,
            self._captions,
            self._understand,
            self._judge_recogniser,
            self._judge_pace,
            lambda: self._spawn(self._end_speech(), "speech-end"),
            lambda: self.microphone.catches_up,
            self._clock,
            user_id=user,
            session_id=self.id,
        )
        self._recorder = (
            Recorder(config.record, user, datetime.fromtimestamp(apps.world.wall(), UTC)) if config.record else None
        )
        self.transcripts = Transcripts(self._clock)
        self._gaps = Gaps()
        self.microphone = Microphone(
            self._acknowledge, self.hearing.all_heard, self._judge_network, self._clock_stepped, self.hearing
        )
        self._speaking: bool | None = None
        """What the phone said last of speech."""
        self._epoch_asked: int | None = None
        """The epoch that the phone was asked to end."""
        self._taps = [Tap(config.tap, user, self.id, wants_late=late) for late in (True, False)] if config.tap else []
        self.microphone.listeners += self._taps
        first = first_generation(Epoch(int(apps.world.wall() * 1000)) if claim is None else claim.epoch)
        machine = AudioLink(first, apps.world.chance)
        self.link = LinkShell(
            user,
            self.id,
            machine,
            pool,
            examiner,
            self.microphone,
            self.unnumbered,
            self._notify,
            self._ask_phone,
            self._nudge_phone,
            self._tasks,
            former,
            self._flight,
            self._clock,
        )

        self._stops_apps = StopReason.SYSTEM
        """What the end of the session means for its apps."""
        self._order = Order(self._tell, self._clock, captions=self._captions is not None)
        self.apps = UserApps(
            user,
            self.id,
            apps,
            self._tell_of_app,
            self.link,
            self.hearing,
            self._order,
        )
        self._sound_watch = SoundWatch(self._judge_sound)
        self.microphone.listeners += [self.apps, self._order, self._sound_watch]
        self._handed = handed

    def start(self) -> None:
        """Sets everything going."""
        self._spawn(self._shell.run(), "session")
        if self._recorder is not None:
            self.microphone.listeners.append(self._recorder)
            self._recorder.start(self._tasks)
        self.link.start()
        self._flight.attach(self)
        if (handed := self._handed) is not None:
            self._handed = None
            self._take_over(handed)

    async def close(self) -> None:
        """Releases everything; called once, by the owner, after drop(). Takes some seconds at most."""
        self._shell.stop()
        self._order.close()
        await self.apps.close(self._stops_apps)
        await self.link.close(CLOSE_TIMEOUT, leaves=self.ownership.state is not OwnershipState.MOVED)
        self.microphone.close()
        if self._recorder is not None:
            await self._recorder.close(CLOSE_TIMEOUT)
        await self.hearing.close()
        await self._tasks.close()
        for tap in self._taps:
            tap.close()
        numbered, plain = self.microphone.accounts()
        self._log.info("session gone", heard=numbered.delivered + plain.delivered, lost=numbered.lost)

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
        return self._phone is not None

    @property
    def here_for(self) -> float:
        """Seconds since the newest socket of the phone came."""
        return self._clock() - self._came_at

    @property
    def moves_easily(self) -> int:
        """How little is disturbed when the phone has to come anew: 2 where there is none, 1 where nothing is said."""
        return 2 if not self.has_phone else 0 if self.microphone.heard_lately else 1

    def opened(self, connection: PhoneConnection) -> None:
        """A socket of the user was accepted."""
        if any(connection.params.superseded_by(other.params) for other in self._connections.values()):
            self._log.info("late socket refused", socket=connection.number, attempt=connection.params.attempt)
            connection.close(CloseCode.SUPERSEDED)
            return
        self._connections[connection.number] = connection
        self._shell.post(SocketOpened(connection.number))

    @property
    def room_age_ms(self) -> int | None:
        """Milliseconds since something came out of the room; None: nothing has."""
        return self.link.ages()["room_age_ms"]

    def on_silence(self, connection: PhoneConnection) -> None:
        """Nothing is heard of a socket; it is as good as closed until something is."""
        self._shell.post(SocketClosed(connection.number))

    def on_return(self, connection: PhoneConnection) -> None:
        """Something is heard of it after all."""
        if connection.number in self._connections:
            self._shell.post(SocketOpened(connection.number))

    def opened_beside(self, connection: PhoneConnection) -> bool:
        """A second socket, which carries audio beside the first; False: its phone is not the one that is here."""
        phone, params = self._phone, connection.params
        if phone is None or not phone.params.numbered or not params.numbered or params.phone != phone.params.phone:
            return False
        if self._beside is not None:
            self._beside.close(CloseCode.SUPERSEDED)
        self._beside = connection
        connection.listen(self, self._allowance)
        return True

    def closed(self, connection: PhoneConnection) -> None:
        """A socket of the user is gone; may come late."""
        if self._connections.pop(connection.number, None) is not None:
            self._shell.post(SocketClosed(connection.number))

    def end(self, cause: str) -> None:
        """Ends the session now."""
        self._shell.post(End(cause))

    def send_away(self, code: CloseCode) -> None:
        """Closes the phones; the session waits for them, or for another cloud that takes it."""
        for connection in self._connections.values():
            connection.close(code)
        if self._beside is not None:
            self._beside.close(code)

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
                    self._shell.post(Taken())
                    self._owner.drop(self)
                case ownership.Release(claim):
                    self._owner.release(claim)

    def hand_over(self) -> HandOver:
        """What the next owner of the user gets."""
        heard = HeardUpTo(at_ms=self.hearing.position_ms, speaking=self._speaking)
        if (numbered := self.microphone.handed_over()) is not None:
            epoch, position, captured_us, missing = numbered
            at_ms = heard.at_ms + self.microphone.ahead_ms(epoch, position)
            heard = replace_struct(
                heard, at_ms=at_ms, epoch=epoch, position=position, captured_us=captured_us, missing=missing
            )
        handed = replace_struct(
            self.apps.handed_over(),
            session=self.id,
            heard=heard,
            lc3=self.unnumbered.lc3,
            transcripts=self.transcripts.handed_over(),
        )
        return fitting(handed)

    def _take_over(self, handed: HandOver) -> None:
        """What the former owner of the user had."""
        self.transcripts.take_over(handed.transcripts)
        if (heard := handed.heard) is not None:
            self.hearing.go_on_at(heard.at_ms)
            if heard.epoch:
                self.microphone.take_over(heard.epoch, heard.position, heard.captured_us, heard.missing)
            if heard.speaking is not None:
                self._hear_of_speech(heard.speaking)
        self.apps.take_over(handed)
        if handed.lc3:
            try:
                self.unnumbered.configure(Decoder(handed.lc3))
            except (NoLc3, ValueError) as error:
                self._log.warning("coding not taken over", error=str(error))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Adopt(number, resumed):
                if (connection := self._connections.get(number)) is not None:
                    self._adopt(connection, resumed)
            case Supersede(number):
                if (connection := self._connections.get(number)) is not None:
                    self._supersede(connection)
            case Release():
                self._flight.note("phone socket", here=False, **self.link.ages())
                self._phone = self._notice = None
                self._order.phone_went()
                self.link.depart()
                self.apps.phone_went()
                self.apps.audio_state(_away())
                self._let_speak()
            case Dispose(cause):
                self._dispose(cause)
            case Move():
                self._stops_apps = StopReason.MOVING
                self._leave(CloseCode.SUPERSEDED, "another cloud owns the user")
            case Refuse(number):
                if (connection := self._connections.pop(number, None)) is not None:
                    self._owner.take(connection)

    def _supersede(self, connection: PhoneConnection) -> None:
        kept = [number for number in self._kept if number in self._connections]
        stays = connection is self._phone and self._rivals.keeps(len(kept), self._clock())
        if stays and not connection.understands_notices:
            self._kept = [*kept, connection.number]
            self._log.info("older phone kept unheard", socket=connection.number)
        else:
            connection.close(CloseCode.SUPERSEDED)

    def _let_speak(self) -> None:
        """The newest of the phones that were kept speaks for the user now."""
        while self._kept:
            if (number := self._kept.pop()) in self._connections:
                self._shell.post(SocketOpened(number))
                return

    def _adopt(self, connection: PhoneConnection, resumed: bool) -> None:
        kind = "resumed" if self._phone is None else "superseding"
        metrics.PHONE_SOCKETS.add(kind if resumed else "handed_over" if self._was_elsewhere else "new")
        self._phone, self._odd = connection, OddByte()
        self._came_at = self._clock()
        if self._beside is not None and self._beside.params.phone != connection.params.phone:
            self._beside.close(CloseCode.SUPERSEDED)
            self._beside = None
        self.unnumbered.reached()
        params = connection.params
        self._flight.note(
            "phone socket", here=True, socket=connection.number, resumed=resumed,
            livekit=params.livekit, numbered=params.numbered,
        )  # fmt: skip
        self._told = self._notice = None
        connection.send(self._greeting(connection, resumed or self._was_elsewhere))
        self._order.phone_came()
        self._numbered = params.numbered
        self.microphone.reached(numbered=params.numbered)
        self.link.arrive(audio_link.Wanted(room=params.livekit, numbers=params.numbered), params.trace)
        self.apps.phone_came()
        connection.listen(self, self._allowance)

    def _greeting(self, connection: PhoneConnection, resumed: bool) -> ConnectionAck:
        config, position = self._config, self.microphone.position
        room = str(self.user)
        livekit = None
        if connection.params.livekit:
            token = phone_token(config.livekit_keys, user=self.user, room=room, ttl=config.client_token_ttl)
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
        self._phone = self._notice = None
        self._flight.note("session gone", cause=cause)
        self._flights.close(self._flight)
        self._owner.drop(self)

    def _record(self, record: Record[SessionState]) -> None:
        about = {"old": record.old.label, "on": record.event, "new": record.new.label, "cause": record.cause}
        self._log.info("session", socket=record.generation, **about)
        self._flight.note("session", socket=record.generation, **about)

    # ---- what the gauges ask (cloud/gauges.py)

    @property
    def told(self) -> AudioState | None:
        """What the phone knows of its audio; None while there is none, or nothing was told yet."""
        return self._notice.state if self._notice is not None else None

    @property
    def outbox(self) -> int:
        """Messages that wait for the phone."""
        return self._phone.waiting if self._phone is not None else 0

    # ---- what the recorder asks (cloud/flight.py)

    def totals(self) -> tuple[int, ...]:
        """What was counted so far, in the order of the recorder."""
        frames = self.link.frames
        fed = self.hearing.fed // BYTES_PER_MS
        return frames[AudioRoute.ROOM], frames[AudioRoute.SOCKET], fed, self._answered, self.apps.handed

    def facts(self) -> Row:
        """How it is now."""
        place = self.link.place
        return {
            "link": self.link.state.label,
            "generation": self.link.generation,
            "epoch": self.ownership.epoch,
            "bridge": None if place is None else place.bridge.target,
            "numbered": self._numbered,
            "apps": {package: state.label for package, state in self.apps.states().items()},
        }

    @property
    def listeners(self) -> list[Listener]:
        """Of its microphone."""
        return self.microphone.listeners

    # ---- what the phone says

    def on_message(self, connection: PhoneConnection, message: FromPhone) -> None:
        """A message of the phone; one of a superseded socket is not heard."""
        if connection is not self._phone:
            return
        self.apps.phone_spoke()
        match message:
            case Ping(sent=(room, socket)):
                self._flight.told(phone_sent=room, socket_sent=socket)
            case Vad():
                self._flight.note("voice", speaking=message.speaking)
                self.link.post(audio_link.Voice(message.speaking))
                self._hear_of_speech(message.speaking)
                self.apps.relay(Stream.VAD, Vad(status=message.speaking))
            case MicrophoneStateChange(is_microphone_enabled=on):
                self._flight.note("microphone", on=on)
                self.link.post(audio_link.Microphone(on))
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
                self._relay_local(message)
            case StartApp(package_name=package):
                self.apps.start_for_phone(package)
            case StopApp(package_name=package):
                self.apps.stop(package)

    def _hear_of_speech(self, speaking: bool) -> None:
        self._speaking = speaking
        self.hearing.voice(speaking)
        self._sound_watch.voice(speaking)

    def on_audio(self, connection: PhoneConnection, frame: bytes) -> None:
        """A binary frame of the phone. Raises FrameError."""
        if self._phone is None or connection not in (self._phone, self._beside):
            return
        self.apps.phone_spoke()
        if connection.params.numbered:
            number, pcm = decode_numbered(frame)
            self.microphone.take_numbered(number, pcm, AudioRoute.SOCKET)
            if number.replayed:
                return
        else:
            if not (pcm := self.unnumbered.samples(frame, self._odd)):
                return
            self.microphone.take_plain(pcm)
        self.link.heard(AudioRoute.SOCKET, numbered=connection.params.numbered)

    # ---- what the phone is told

    def _tell(self, message: Message, *, may_drop: bool = False) -> None:
        if self._phone is not None:
            self._phone.send(message, may_drop=may_drop)

    async def _ask_phone(self) -> bool:
        return self._phone is not None and await self._phone.answers(self._config.status_timeout)

    def _nudge_phone(self, nudge: Nudge) -> None:
        """The original's phones understand no audio_state. They join their room anew on each acknowledgement, and speak
        on their socket while they are in none."""
        phone = self._phone
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

    def _notify(self, notice: Notice) -> None:
        if self._phone is None:  # the link has yet to hear that it went away
            return
        self._notice = notice
        late = self._slow_network
        if notice.state is AudioState.LIVE and late is not None:
            notice = replace(notice, state=AudioState.INTERRUPTED, code=late.code, text=late.text, hop=late.hop)
        trouble = self._sound_trouble or self._recogniser_trouble
        if trouble is not None and notice.state is AudioState.LIVE and notice.hop is None:
            notice = replace(notice, code=trouble.code, text=trouble.text, hop=trouble.hop)
        slow = self._slow if notice.state is AudioState.LIVE and notice.hop is None else None
        if slow is not None:
            notice = replace(notice, code=RECOGNISER_SLOW, text=_slow_text(slow))
        if self.unnumbered.refuses and notice.state in (AudioState.LIVE, AudioState.CONNECTING):
            coded = CODED_AUDIO
            notice = replace(notice, state=AudioState.INTERRUPTED, code=coded.code, text=coded.text, hop=coded.hop)
        if self._told is None or self._told[0] is not notice.state:
            self._told = notice.state, unix_ms_now()
        wait = None if notice.retry_at is None else max(0.0, notice.retry_at - self._clock())
        said = AudioStateNotice(
            state=notice.state.value,
            reason=notice.text,
            code=notice.code,
            hop=notice.hop and notice.hop.value,
            since=self._told[1],
            retry_in_ms=None if wait is None else round(wait * 1000),
            transport=notice.path.value,
            traceparent=self.link.trace,
            seconds=None if slow is None else slow.seconds,
        )
        self._flight.note(
            "audio state", state=said.state, code=said.code, hop=said.hop, text=said.reason,
            transport=said.transport, generation=self.link.generation, **self.link.ages(),
        )  # fmt: skip
        self._tell(said)
        self.apps.audio_state(said)

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
        given_up = tuple(hole for hole in progress.missing if hole[1] <= progress.position)
        for gap in self._gaps.note(progress.epoch, progress.position, given_up, self._place_ms):
            self._tell_of_gap(gap)

    def _place_ms(self, epoch: int, position: int) -> int:
        """The session's milliseconds of a hole's beginning."""
        given_up = self.hearing.where(epoch, position)
        if given_up is not None:
            return given_up
        return self.hearing.position_ms + self.microphone.ahead_ms(epoch, position)

    def _judge_network(self, late: float | None) -> None:
        """Audio arrives, but late: the phone is told by how much, and when it is fresh again."""
        self._slow_network = (
            None if late is None else replace(SLOW_NETWORK, text=f"{SLOW_NETWORK.text} {late:.0f} s late")
        )
        if self._notice is not None and self._notice.state is AudioState.LIVE:
            self._notify(self._notice)

    def _tell_of_gap(self, gap: Gap) -> None:
        self._log.info("transcript gap", gap=gap.id, state=gap.state.value, seconds=gap.seconds)
        self.transcripts.note(gap)
        self._flight.words_missing(gap)
        told = TranscriptGap(id=gap.id, at_ms=gap.at_ms, seconds=gap.seconds, state=gap.state.value)
        self._tell(told)
        self.apps.gap(told)

    def _understand(self, said: Transcript, asked: frozenset[Want]) -> None:
        if self._captions in asked:
            self._answered += 1
            if said.text:
                self._flight.understood(said)
                self._tell(_caption(said), may_drop=not said.final)
        self.apps.transcript(said, asked)
        self._remember(said, asked)

    def _remember(self, said: Transcript, asked: frozenset[Want]) -> None:
        if not (said.final and said.text):
            return
        self.transcripts.add(
            said.text,
            ((said.language or AUTO) if want.language == AUTO else want.language for want in asked),
            said.start_ms,
            said.end_ms,
            target=next((want.target for want in asked if want.target is not None), None),
            original=said.original,
            speaker=said.speaker,
            provider=said.provider,
            id=said.id,
            replaces=said.replaces,
            in_place=said.inserts is not None,
        )

    def _relay_local(self, message: LocalTranscription) -> None:
        """What the phone has understood itself: for apps and for the record; the phone shows it already."""
        try:
            spoken = language(message.transcribe_language)
        except ValueError:
            self._log.info("local transcription in no language")
            return
        said = Transcript(
            message.text,
            message.is_final,
            round(message.start_time),
            round(message.end_time),
            language=spoken,
            speaker=None if message.speaker_id is None else str(message.speaker_id)[:64],
            provider=message.provider[:64],
        )
        self.apps.transcript(said, frozenset({Want(spoken), Want(AUTO)}))
        self._remember(said, frozenset({Want(spoken)}))

    def _say(self, sentence: str) -> None:
        self._log.warning("told the phone", text=sentence)
        self._tell(_sentence(sentence))

    def _judge_recogniser(self, fault: Fault | None, captions: bool) -> None:
        """Audio goes on; only what becomes of it is told."""
        finding = None
        if fault is not None:
            finding = RECOGNISER_FINDINGS.get(fault.reason, RECOGNISER_FAILED)
            if fault.refused:
                what = "it is not captioned" if captions else "not all that apps ask for is understood"
                finding = replace(finding, text=f"audio arrives, but {what}: {fault.why}")
                if captions and not self._deaf:
                    self._say(f"{NO_CAPTIONS}: {fault.why}")
        self._deaf = fault is not None and captions and (fault.refused or self._deaf)
        former, self._recogniser_trouble = self._recogniser_trouble, finding
        self._tell_beside_live(former, finding, "recognises")

    def _judge_sound(self, finding: Finding | None) -> None:
        """Whether what arrives is the sound of a living microphone."""
        former, self._sound_trouble = self._sound_trouble, finding
        self._tell_beside_live(former, finding, "sounds")

    def _judge_coding(self, refuses: bool) -> None:
        """What comes is no audio that anybody could hear, or is again."""
        about = {
            "action": CODED_AUDIO.action.value,
            "cause": CODED_AUDIO.code,
            "result": "under way" if refuses else "understood",
            "generation": self.link.generation,
        }
        self._log.info("recovery", **about)
        self._flight.note("recovery", **about)
        if self._notice is not None:
            self._notify(self._notice)
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

    def _tell_beside_live(self, former: Finding | None, finding: Finding | None, well: str) -> None:
        """Something is wrong with audio that arrives, or is not any more: `well` says how the log calls that."""
        told = finding or former
        if former == finding or told is None:
            return
        about = {
            "action": told.action.value,
            "cause": told.code,
            "result": "under way" if finding is not None else well,
            "generation": self.link.generation,
        }
        self._log.info("recovery", **about)
        self._flight.note("recovery", **about)
        if self._notice is not None and self._notice.state is AudioState.LIVE:
            self._notify(self._notice)

    def _judge_pace(self, slow: Slow | None) -> None:
        self._slow = slow
        if self._notice is not None and self._notice.state is AudioState.LIVE:
            self._notify(self._notice)

    async def _end_speech(self) -> None:
        captioned = await self.hearing.finish()
        self._tell(SpeechEndNotice(captioned=captioned, timestamp=iso_now()))


def _slow_text(slow: Slow) -> str:
    how = "with each sentence only" if slow.finals_only else f"about {slow.seconds:.0f} s late"
    return f"captions come {how}: the recogniser is busy"


def _away() -> AudioStateNotice:
    """What apps are told while no phone is here to be told."""
    reason = "the phone is not connected"
    return AudioStateNotice(state="unavailable", reason=reason, code="phone_away", hop="phone", since=unix_ms_now())


def _caption(said: Transcript) -> DisplayEvent:
    return DisplayEvent(
        view="main",
        layout=TextWall(said.text),
        package_name=CAPTIONS,
        is_final=said.final,
        start_ms=said.start_ms,
        end_ms=said.end_ms,
        id=said.id,
        replaces=said.replaces,
        inserts=said.inserts,
        timestamp=iso_now(),
    )


def _sentence(text: str) -> DisplayEvent:
    """Of the cloud's own, where captions are shown."""
    return DisplayEvent(view="main", layout=TextWall(text), package_name=CAPTIONS, timestamp=iso_now())
