"""All apps of one user at one cloud: starts and stops them, brings them what they listen to, and hands them over when
the user moves to another cloud (`handed_over`, `take_over`)."""

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import structlog

from glassbridge.cloud.apps.connection import data_stream
from glassbridge.cloud.apps.devices import Devices
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.playback import Room
from glassbridge.cloud.apps.registry import RegistryError
from glassbridge.cloud.apps.running import RunningApp
from glassbridge.cloud.clock import iso_now
from glassbridge.core.allowance import Allowances, Bucket
from glassbridge.core.app_session import AppState, StopReason
from glassbridge.core.app_settings import shown
from glassbridge.core.subscriptions import AUTO, Refusal, Stream, Subscription, Subscriptions
from glassbridge.core.values import UserId
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Transcript, Want
from glassbridge.telemetry import metrics
from glassbridge.wire import apps as wire
from glassbridge.wire.cluster import HandOver
from glassbridge.wire.codec import Count, Message
from glassbridge.wire.phone import AppStopped, AudioStateNotice, TranscriptGap
from glassbridge.wire.rejections import Rejected, Rejection

log = structlog.get_logger()

WORDS = (Stream.TRANSCRIPTION, Stream.TRANSLATION)
"""Streams of the user's words."""
POSITION = "position_ms"
"""A field that a request for a sound gets when it is handed over."""
MAX_APPS = 64
"""Of one user, at once."""


class Ears(Protocol):
    """The recognition of the user's speech."""

    def why_not(self, want: Want) -> str | None:
        """Why this cloud cannot serve it; None if it can."""

    def subscribe(self, wanted: Iterable[Want]) -> None:
        """Replaces all that was wanted before."""


class MicrophoneOrders(Protocol):
    """The microphone of the user's phone."""

    def need(self, *, on: bool, raw: bool) -> None:
        """Whether apps need it; `raw`: all of its audio, not only what a voice detector lets through."""


class HasApps(Protocol):
    """A session: most make no apps, for most users start none."""

    @property
    def apps(self) -> "UserApps":
        """Made now, if there are none yet."""

    @property
    def apps_here(self) -> "UserApps | None":
        """None: there was no need of them yet."""


class CannotStart(Rejected):
    """Why an app cannot be started."""


class UserApps:
    """Owned by one session; a listener of its microphone. `phone` takes messages for the phone, which may be dropped
    if it reads slowly; `room` is the user's LiveKit room."""

    __slots__ = (
        "_apps", "_audio_state", "_ears", "_hearers", "_host", "_leaving", "_log", "_microphone", "_phone",
        "_phone_is_here", "_room", "_session_id", "_starts", "_starts_of", "_subscriptions", "_tasks", "_user",
        "devices", "handed",
    )  # fmt: skip

    wants_late = False

    def __init__(
        self,
        user: UserId,
        session_id: str,
        host: AppHost,
        phone: Callable[[Message], None],
        room: Room,
        ears: Ears,
        microphone: MicrophoneOrders,
    ) -> None:
        self._user = user
        self._session_id = session_id
        self._host = host
        self._phone = phone
        self._room = room
        self._ears = ears
        self._microphone = microphone
        self._log = log.bind(user_id=user, session_id=session_id)
        self._tasks = TaskGroup(f"apps:{user}")
        self._apps: dict[str, RunningApp] = {}
        self._subscriptions = Subscriptions(self._why_not)
        self.devices = Devices(self._subscriptions, self, phone)
        self._leaving: set[asyncio.Task[None]] = set()
        self.handed = 0
        """Frames and messages that went to apps so far."""
        self._hearers: list[RunningApp] = []
        """Apps that hear raw audio: read with every frame, changed seldom."""
        self._audio_state: AudioStateNotice | None = None
        self._phone_is_here = False
        self._starts = Bucket(host.config.starts, host.world.monotonic())
        self._starts_of = Allowances(host.config.starts_of_one, MAX_APPS)

    async def close(self, reason: StopReason) -> None:
        """The user's session has ended here, and so have its apps. Takes 3 s at most."""
        for app in list(self._apps.values()):
            self._end(app, reason)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2.0)
        await self._tasks.close()

    # ---- started and stopped by the user

    def start(self, package: str) -> RunningApp:
        """Starts an app, or asks again for one that is being started. Raises CannotStart."""
        now = self._host.world.monotonic()
        for bucket in (self._starts_of.of(package, now), self._starts):
            if not bucket.take(now):
                metrics.REFUSALS.add("start")
                raise CannotStart(Rejection.APPS_TOO_OFTEN, seconds=math.ceil(bucket.wait(now)))
        app = self._apps.get(package)
        if app is None:
            app = self._new(package)
            self._apps[package] = app
            app.begin()
        app.start()
        return app

    def handed_over(self) -> HandOver:
        """For the next owner of the user: the apps, their subscriptions, the messages that they missed, and the sounds
        that they play."""
        playing = [one for app in self._apps.values() for one in app.playbacks.handed_over()]
        return HandOver(
            apps=tuple(self._apps),
            subscriptions={package: self._subscriptions.spelled(package) for package in self._apps},
            missed={package: app.missed.handed_over() for package, app in self._apps.items() if app.missed},
            playbacks=tuple(msgspec.to_builtins(request) | {POSITION: position} for request, position in playing),
        )

    def take_over(self, handed: HandOver) -> None:
        """Starts the apps that the former owner of the user had. The user has started them before, so these starts do
        not count against the limits. Their subscriptions stay in force until they replace them, and their sounds go on.
        An app that runs here already is left as it is."""
        for package in dict.fromkeys(handed.apps):
            if (app := self._apps.get(package)) is None:
                try:
                    app = self._new(package)
                except CannotStart as error:
                    self._log.warning("app not taken over", package=package[:256], error=str(error))
                    continue
                self._apps[package] = app
                app.begin()
                app.start()
            app.missed.take_over(handed.missed.get(package, ()))
            if not self._subscriptions.in_force(package):
                self._subscriptions.replace(package, handed.subscriptions.get(package, ()), app.record.permissions)
        self._count()
        for fields in handed.playbacks:
            self._go_on(dict(fields))

    def _go_on(self, fields: dict[str, Any]) -> None:
        """Continues a sound that was handed over; one that cannot be read is skipped."""
        try:
            position = msgspec.convert(fields.pop(POSITION, 0), Count)
            request = msgspec.convert(fields, wire.AudioPlayRequest)
        except msgspec.ValidationError as error:
            self._log.warning("playback not taken over", error=type(error).__name__)
            return
        if (app := self._apps.get(request.package_name)) is not None:
            app.playbacks.go_on(request, position)

    def _new(self, package: str) -> RunningApp:
        try:
            record = self._host.registry.find(package)
        except RegistryError as error:
            self._log.warning("registry of apps cannot be used", error=str(error))
            raise CannotStart(Rejection.REGISTRY_UNREADABLE) from None
        if record is None:
            raise CannotStart(Rejection.APP_ABSENT)
        if len(self._apps) >= MAX_APPS:
            raise CannotStart(Rejection.APPS_TOO_MANY, most=MAX_APPS)
        return RunningApp(self._user, self._session_id, record, self._host, self, self._room)

    def start_for_phone(self, package: str) -> None:
        """The same for the phone's `start_app`: an error is told to the phone."""
        try:
            self.start(package)
        except CannotStart as error:
            self.tell_phone(
                AppStopped(package_name=package, reason="error", code=error.code, error=str(error), timestamp=iso_now())
            )

    def stop(self, package: str) -> bool:
        """Stops an app, which may be started anew at once; False if it did not run."""
        app = self._apps.get(package)
        if app is not None:
            self._end(app, StopReason.USER)
        return app is not None

    def _end(self, app: RunningApp, reason: StopReason) -> None:
        app.stop(reason)
        self.drop(app)

    def find(self, package: str) -> RunningApp | None:
        """The app with this package, if it runs."""
        return self._apps.get(package)

    def states(self) -> dict[str, AppState]:
        """The states of all apps, by package."""
        return {package: app.state for package, app in self._apps.items()}

    def phone_came(self) -> None:
        """Tells the phone which apps run, and calls those that have no socket."""
        for app in self._apps.values():
            app.introduce()
            app.phone(here=True)
        self.devices.phone_came()
        self._phone_is_here = True

    @property
    def phone_is_here(self) -> bool:
        """Whether the user's phone is connected to this cloud."""
        return self._phone_is_here

    def phone_settings(self, settings: dict[str, Any]) -> None:
        """The phone's own settings have changed."""
        for app in self._apps.values():
            app.phone_settings_changed(shown(settings))

    def phone_spoke(self) -> None:
        """A message or audio came from the phone: it is here."""
        for app in self._apps.values():
            app.phone_spoke()

    def phone_went(self) -> None:
        """The phone may be with another cloud, and its apps too: none is called until it is back."""
        self._phone_is_here = False
        for app in self._apps.values():
            app.phone(here=False)

    # ---- to the apps

    def put(self, pcm: bytes) -> None:
        """Live microphone audio; never waits."""
        for app in self._hearers:
            if app.socket is not None:
                app.socket.audio(pcm)
                self.handed += 1

    def transcript(self, said: Transcript, asked: frozenset[Want]) -> None:
        """A result of the recogniser, for the apps that asked for one of these."""
        if not said.text:
            return
        stream = next((Stream.TRANSLATION for want in asked if want.target is not None), Stream.TRANSCRIPTION)
        asked_for = sorted((want.language,) if want.target is None else (want.language, want.target) for want in asked)
        for package, wanted in self._subscriptions.listeners_by_language(stream, asked_for):
            message, name = _as_message(said, *wanted.languages), wanted.spelling or wanted.text
            self._send(package, message, name, kept_for=(stream, wanted.languages) if said.final else None)

    def gap(self, told: TranscriptGap) -> None:
        """Words are missing, or have come late: for all apps that hear words."""
        hearers = {package: stream for stream in WORDS for package in self._subscriptions.listeners(stream)}
        for package, stream in hearers.items():
            self._send(package, told, kept_for=(stream, ()))

    def audio_state(self, notice: AudioStateNotice) -> None:
        """The truth about the user's audio; an app that subscribes later is told at once."""
        self._audio_state = notice
        self.relay(Stream.AUDIO_STATE, notice)

    def relay(self, stream: Stream, data: Message, *languages: str) -> None:
        """For every app that listens to this stream and is connected."""
        for package, name in self._subscriptions.listeners_by_name(stream, *languages):
            self._send(package, data, name)

    def tell_all(self, message: Message) -> None:
        """For every app that is connected."""
        for app in self._apps.values():
            app.answer(message)

    def _send(
        self, package: str, data: Message, name: str = "", kept_for: tuple[Stream, tuple[str, ...]] | None = None
    ) -> None:
        """`kept_for`: an app that is away gets it once it is back and listens to this stream in these languages."""
        app = self._apps.get(package)
        if app is None or (app.socket is None and kept_for is None):
            return
        message = data_stream(app.session_id, data, name)
        if app.socket is not None:
            self._catch_up(app)
            app.socket.stream(message)
            self.handed += 1
        elif kept_for is not None:
            app.missed.keep(*kept_for, message)

    def _catch_up(self, app: RunningApp) -> None:
        """Sends the app the messages that it missed of the streams that it listens to, before anything newer."""
        if not app.missed or app.socket is None:
            return
        told = app.missed.take(
            lambda stream, languages: app.package in self._subscriptions.listeners(stream, *languages)
        )
        for message in told:
            app.socket.stream(message)
        dropped = app.missed.take_dropped()
        self.handed += len(told)
        if told or dropped:
            self._log.info("missed words told", package=app.package, messages=len(told), dropped=dropped)
        if dropped:
            app.socket.send(data_stream(app.session_id, wire.DeliveryGap(audio_chunks=0, messages=dropped)))

    # ---- requests of the apps

    def subscriptions_of(self, app: RunningApp) -> list[str]:
        """The app's subscriptions in force."""
        return self._subscriptions.in_force(app.package)

    def subscribe(self, app: RunningApp, asked: list[str], request_id: str | None) -> None:
        """Replaces the app's whole set. If the update has an id, the answer says which subscriptions are in force. Apps
        of the original do not know that answer; they are told each refusal once, since their SDK repeats the whole set
        for each handler."""
        knew_state = app in self._listening(Stream.AUDIO_STATE)
        heard = self.devices.heard_by(app.package)
        given = self._subscriptions.replace(app.package, asked, app.record.permissions)
        self._count()
        refused = tuple(_refused(refusal) for refusal in given.refused)
        self._log.info("subscriptions", package=app.package, in_force=self.subscriptions_of(app), refused=len(refused))
        if request_id is not None:
            in_force = tuple(self.subscriptions_of(app))
            app.answer(
                wire.SubscriptionAck(
                    request_id=request_id[:64], subscriptions=in_force, refused=refused, timestamp=iso_now()
                )
            )
        elif given.news:
            app.answer(
                wire.PermissionError_(
                    message="some subscriptions are not in force",
                    details=tuple(_refused(refusal) for refusal in given.news),
                    timestamp=iso_now(),
                )
            )
        if self._audio_state is not None and not knew_state and app in self._listening(Stream.AUDIO_STATE):
            app.answer(data_stream(wire.app_session_id(self._user, app.package), self._audio_state))
        self.devices.catch_up(app, heard)
        self._catch_up(app)

    def _count(self) -> None:
        """The subscriptions have changed."""
        self._ears.subscribe(
            Want(*languages)
            for stream in (Stream.TRANSCRIPTION, Stream.TRANSLATION)
            for languages in self._subscriptions.wanted(stream)
        )
        self._hearers = self._listening(Stream.AUDIO_CHUNK)
        self.devices.wanted()
        audible = (Stream.AUDIO_CHUNK, Stream.TRANSCRIPTION, Stream.TRANSLATION, Stream.VAD)
        raw = bool(self._hearers)
        self._microphone.need(on=raw or any(self._subscriptions.wanted(stream) for stream in audible), raw=raw)

    def _listening(self, stream: Stream) -> list[RunningApp]:
        return [self._apps[package] for package in self._subscriptions.listeners(stream) if package in self._apps]

    def tell_phone(self, message: Message) -> None:
        self._phone(message)

    def drop(self, app: RunningApp) -> None:
        """Forgets the app, if it is still the one of its package (hazard L-16), and closes it."""
        if self._apps.get(app.package) is app:
            del self._apps[app.package]
            self._subscriptions.drop(app.package)
            self._count()
            closing = self._tasks.spawn(app.close(), f"close:{app.package}")
            self._leaving.add(closing)
            closing.add_done_callback(self._leaving.discard)

    def _why_not(self, wanted: Subscription) -> str | None:
        """What this cloud cannot give."""
        if wanted.stream in (Stream.TRANSCRIPTION, Stream.TRANSLATION):
            return self._ears.why_not(Want(*wanted.languages))
        return None


def _as_message(said: Transcript, language: str, target: str | None = None) -> Message:
    """The message for an app. An app that leaves the language to the recogniser is told which one it was."""
    spoken = (said.language or AUTO) if language == AUTO else language
    common: dict[str, Any] = {
        "text": said.text,
        "is_final": said.final,
        "start_time": said.start_ms,
        "end_time": said.end_ms,
        "transcribe_language": spoken,
        "speaker_id": said.speaker,
        "provider": said.provider,
        "id": said.id,
        "replaces": said.replaces,
        "inserts": said.inserts,
    }
    if target is None:
        return wire.Transcription(**common, confidence=said.confidence, metadata=said.metadata)
    translated = said.original is not None
    return wire.Translation(**common, original_text=said.original, translate_language=target, did_translate=translated)


def _refused(refusal: Refusal) -> wire.Refused:
    permission = refusal.permission
    return wire.Refused(refusal.text, refusal.why, None if permission is None else permission.value)
