"""One user who runs this app."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import structlog

from glassbridge.app import events
from glassbridge.app.errors import AppError, NotConnected, PlaybackFailed, SessionEnded
from glassbridge.app.handlers import Handler, Handling, call
from glassbridge.app.layouts import Layouts
from glassbridge.app.link import CloudLink, Line
from glassbridge.app.socket import OnAudio, OnMessage
from glassbridge.app.storage import Storage
from glassbridge.app.transcript import Transcript
from glassbridge.app.upload import upload
from glassbridge.core.subscriptions import STREAMS, Stream, Subscription, parse
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.wire import apps as wire
from glassbridge.wire.app_keys import signer, speech_claim
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import MalformedMessage, Message, UnknownMessage
from glassbridge.wire.device_events import DeviceEvent, TouchEvent
from glassbridge.wire.phone import AudioStateNotice, TranscriptGap, Vad

log = structlog.get_logger()

CLOCKS_DIFFER = 1_000
"""Milliseconds."""
ASK_AGAIN = 1.0
"""Seconds after a reconnect in which the cloud has told the results that we may have missed."""

Connect = Callable[[str, wire.ConnectionInit, OnMessage, OnAudio], Line]
Begin = Callable[["Session"], Awaitable[None] | None]
HearsTranscription = TypeVar("HearsTranscription", bound=Handler[events.Transcription])
HearsTranslation = TypeVar("HearsTranslation", bound=Handler[events.Translation])
HearsAudio = TypeVar("HearsAudio", bound=Handler[bytes])
HearsVad = TypeVar("HearsVad", bound=Handler[bool])
HearsAudioState = TypeVar("HearsAudioState", bound=Handler[events.AudioState])
HearsEvent = TypeVar("HearsEvent", bound=Handler[Any])
HearsSettings = TypeVar("HearsSettings", bound=Handler[dict[str, Any]])
HearsGap = TypeVar("HearsGap", bound=Handler[events.Gap])
HearsMoved = TypeVar("HearsMoved", bound=Handler[events.Moved])
HearsTrouble = TypeVar("HearsTrouble", bound=Handler["events.Missed | events.Refusal | events.CloudError"])


class Session:
    """Given to the function that `AppServer.on_session` names. It stays connected by itself; what the app has said it
    wants to hear holds across reconnects. Handlers are functions or coroutine functions of one argument."""

    def __init__(
        self,
        package: str,
        api_key: str,
        *,
        user_id: str,
        session_id: str,
        url: str,
        world: World = REAL,
        link: Connect | None = None,
    ) -> None:
        self.user_id = user_id
        self.session_id = session_id
        self.subscriptions: tuple[str, ...] = ()
        """What is in force now, as the cloud last said."""
        self.layouts = Layouts(package, self._send)
        self.storage = Storage(lambda: self._cloud, package, api_key, user_id, world)
        self.settings: dict[str, Any] = {}
        """Of this app: by key, what the user has chosen, else the default."""
        self.capabilities: dict[str, Any] | None = None
        """Of the glasses (`hasCamera`, `display`, ...); None: no glasses are connected, or their model is not known."""
        self.glasses: dict[str, Any] = {}
        """State of the glasses, as far as it is known (`modelName`, `batteryLevel`, ...)."""
        self.transcript = Transcript()
        """What was said, as far as the app listens to it."""
        self.asked_at = 0
        """Unix milliseconds at which the cloud last asked for us."""
        self._world = world
        self._package = package
        self._signer = signer(api_key)
        self._url = url
        self._log = log.bind(user_id=user_id, session_id=session_id)
        self._tasks = TaskGroup(f"session:{session_id}")
        init = wire.ConnectionInit(package_name=package, session_id=session_id, api_key=api_key)
        connect = link or partial(CloudLink, world=world)
        self._link = connect(url, init, self._hear, lambda pcm: self._tell(pcm, "", Stream.AUDIO_CHUNK))
        self._handlers: dict[Subscription, list[Handling[Any]]] = {}
        self._trouble: list[Handling[Any]] = []
        self._gap_handlers: list[Handling[Any]] = []
        self._moved: list[Handling[Any]] = []
        self._on_settings: list[Handling[Any]] = []
        self._former: str | None = None
        """The cloud that the session is leaving; None: it is not moving."""
        self.asked_by = ""
        """The cloud that last asked for us, if it has a name."""
        self._begin: Begin | None = None
        self._begun = False
        self._numbers = count(1)
        self._playing: dict[str, tuple[wire.AudioPlayRequest, asyncio.Future[wire.AudioPlayResponse]]] = {}
        self._changed = asyncio.Event()
        """The handlers' streams are not those that the cloud was told."""

    @property
    def connected(self) -> bool:
        return self._link.connected

    # ---- what the app wants to hear

    def on_transcription(self, language: str = "en-US") -> Callable[[HearsTranscription], HearsTranscription]:
        """What the user says in this language; `auto`: in whichever is recognised. Raises ValueError."""
        return self._registers(f"{Stream.TRANSCRIPTION.label}:{language}")

    def on_translation(self, spoken: str, language: str) -> Callable[[HearsTranslation], HearsTranslation]:
        """What the user says, translated. Raises ValueError."""
        return self._registers(f"{Stream.TRANSLATION.label}:{spoken}-to-{language}")

    def on_audio(self, handler: HearsAudio) -> HearsAudio:
        """The microphone itself: PCM16 LE, 16 kHz, mono, in pieces of any length."""
        self._register(Stream.AUDIO_CHUNK.label, handler)
        return handler

    def on_vad(self, handler: HearsVad) -> HearsVad:
        """True when the user begins to speak, False when that is over."""
        self._register(Stream.VAD.label, handler)
        return handler

    def on_audio_state(self, handler: HearsAudioState) -> HearsAudioState:
        """The truth about the user's audio: now, and on each change."""
        self._register(Stream.AUDIO_STATE.label, handler)
        return handler

    def on_event(self, stream: str) -> Callable[[HearsEvent], HearsEvent]:
        """What phone and glasses tell, as glassbridge.wire.device_events has it: `button_press`, `touch_event` (or
        `touch_event:double_tap`), `head_position`, `glasses_battery_update`, `phone_battery_update`, `location_update`,
        `calendar_event`, `phone_notification`, `phone_notification_dismissed`. Raises ValueError."""
        return self._registers(stream)

    def on_settings(self, handler: HearsSettings) -> HearsSettings:
        """The user has chosen something else: all of `settings`."""
        self._on_settings.append(self._handling(handler))
        return handler

    def on_gap(self, handler: HearsGap) -> HearsGap:
        """Gaps in the user's words, and how they end; for apps that hear words."""
        self._gap_handlers.append(self._handling(handler))
        return handler

    def on_trouble(self, handler: HearsTrouble) -> HearsTrouble:
        """What this app does not get, and why."""
        self._trouble.append(self._handling(handler))
        return handler

    def on_moved(self, handler: HearsMoved) -> HearsMoved:
        """The session goes on with another cloud, to which the user has moved. Handlers and subscriptions hold."""
        self._moved.append(self._handling(handler))
        return handler

    def off(self, handler: Callable[..., Any]) -> None:
        """The handler hears nothing any more; a stream without handlers is given up."""
        for handlings in (*self._handlers.values(), self._trouble, self._gap_handlers, self._moved, self._on_settings):
            for handling in [one for one in handlings if one.handler is handler]:
                handling.stop()
                handlings.remove(handling)
        self._handlers = {wanted: handlings for wanted, handlings in self._handlers.items() if handlings}
        self._changed.set()

    def _registers(self, stream: str) -> Callable[[Any], Any]:
        parse(stream)  # a mistake shows where it was made

        def register(handler: Any) -> Any:
            self._register(stream, handler)
            return handler

        return register

    def _handling(self, handler: Handler[Any]) -> Handling[Any]:
        return Handling(handler, self._tasks, self._world.monotonic)

    def _register(self, stream: str, handler: Handler[Any]) -> None:
        self._handlers.setdefault(parse(stream), []).append(self._handling(handler))
        self._changed.set()

    # ---- what the app does

    async def play(
        self,
        sound: str | Path | bytes,
        *,
        volume: float = 1.0,
        track: int = events.Track.SPEAKER,
        stop_other: bool = True,
        music: bool = False,
        timeout: float | None = None,
    ) -> events.Played:
        """Plays a sound (its URL, a file of the app's own, or what is in one) and returns when the user has heard it.
        `volume` is 0 (mute) to 1; `stop_other=False` plays beside what is playing; `music=True` keeps 48 kHz, where 16
        are enough for a voice. Raises PlaybackFailed, NotConnected, SessionEnded, and TimeoutError after `timeout`
        seconds; the cloud always answers. Cancelling stops the sound."""
        request = wire.AudioPlayRequest(
            package_name=self._package,
            request_id=self._world.token(8),
            audio_url=sound if isinstance(sound, str) else await self._bring(sound),
            volume=volume,
            stop_other_audio=stop_other,
            track_id=track,
            sample_rate=wire.MUSIC_RATE if music else wire.VOICE_RATE,
            session_id=self.session_id,
        )
        answer: asyncio.Future[wire.AudioPlayResponse] = asyncio.get_running_loop().create_future()
        self._playing[request.request_id] = request, answer
        try:
            await self._send(request)
            async with asyncio.timeout(timeout):
                response = await answer
        except (asyncio.CancelledError, TimeoutError):
            self._tasks.spawn(self._try_send(self._stop_request(request_id=request.request_id)), "stop")
            raise
        finally:
            del self._playing[request.request_id]
        if not response.success:
            raise PlaybackFailed(response.error or "the cloud does not say why")
        return events.Played(response.duration)

    async def _bring(self, sound: Path | bytes) -> str:
        if isinstance(sound, Path):
            try:
                sound = await asyncio.to_thread(sound.read_bytes)
            except OSError as error:
                raise PlaybackFailed(f"the sound cannot be read: {error.strerror}") from None
        return await upload(self._cloud, self._package, self._signer, sound, self._world)

    @property
    def _cloud(self) -> str:
        """Base URL of its REST interface."""
        base = urlsplit(self._url)
        path = base.path.removesuffix(wire.APP_PATHS[0]).removesuffix(wire.APP_PATHS[1])
        return f"{'https' if base.scheme == 'wss' else 'http'}://{base.netloc}{path}"

    async def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        volume: float = 1.0,
        track: int = events.Track.SPEECH,
        stop_other: bool = True,
    ) -> events.Played:
        """Says it with the cloud's voice; as `play`. A cloud without a voice: PlaybackFailed."""
        query = {"text": text} | ({"voice_id": voice} if voice is not None else {})
        claim = speech_claim(self._package, text, voice or "")
        query |= {"app": self._package, "signature": self._signer.sign(claim, int(self._world.wall()))}
        url = f"{self._cloud}/api/tts?{urlencode(query)}"
        return await self.play(url, volume=volume, track=track, stop_other=stop_other)

    async def stop(self, track: int | None = None) -> None:
        """Stops what this app plays on a track, or all of it. Raises NotConnected, SessionEnded."""
        await self._send(self._stop_request(track=track))

    def _stop_request(self, *, track: int | None = None, request_id: str | None = None) -> wire.AudioStopRequest:
        return wire.AudioStopRequest(
            package_name=self._package, track_id=track, request_id=request_id, session_id=self.session_id
        )

    async def _send(self, message: Message) -> None:
        await self._link.send(message)

    async def _try_send(self, message: Message) -> None:
        """For troubles that the next acknowledgement settles."""
        with suppress(NotConnected, SessionEnded):
            await self._send(message)

    # ---- its life, which the server looks after

    async def run(self, begin: Begin | None) -> str:
        """Runs until the session is over; returns why. Safe to cancel."""
        self._begin = begin
        self._tasks.spawn(self._keep_subscribed(), "subscriptions")
        try:
            return await self._link.run()
        finally:
            self._fail_playing(SessionEnded("the session has ended"))
            await self._tasks.close()

    @property
    def is_over(self) -> bool:
        return self._link.is_over

    @property
    def begun(self) -> bool:
        """The app was given it."""
        return self._begun

    @property
    def asked_again(self) -> bool:
        """A cloud has just called the app, and none has acknowledged a socket since: a stop is of an older start."""
        return self._link.asked_again

    @property
    def url(self) -> str:
        """The address of the cloud that called last."""
        return self._url

    def connect_to(self, url: str, at: int, cloud: str) -> None:
        """A cloud calls the app to this address: the same cloud as before, or another one. A call that is older than
        the last one, by more than the clocks of clouds differ, is ignored."""
        if 0 < at < self.asked_at - CLOCKS_DIFFER:
            return
        former = self._cloud
        self._url, self.asked_at, self.asked_by = url, max(at, self.asked_at), cloud
        if self._link.connect_to(url, cloud):
            self._former = self._former or former

    async def end(self, why: str, code: CloseCode = CloseCode.NORMAL) -> None:
        """Ends the session from the app's side."""
        await self._link.end(why, code)

    async def _keep_subscribed(self) -> None:
        """Handlers that are registered together are subscribed together."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(0)
            self._changed.clear()
            update = wire.SubscriptionUpdate(
                package_name=self._package,
                subscriptions=[wanted.text for wanted in self._handlers],
                session_id=self.session_id,
                request_id=f"s{next(self._numbers)}",
            )
            await self._try_send(update)

    # ---- what the cloud says

    def _accepted(self, ack: wire.ConnectionAck) -> None:
        """We are in. A cloud that does not know this session any more has forgotten what was playing."""
        self.subscriptions = tuple(ack.subscriptions)
        self.settings, self.capabilities = _values(ack.settings), ack.capabilities
        if not self._begun:
            self._begun = True
            if self._begin is not None:
                self._tasks.spawn(call(self._begin, self), "begin")
            return
        former, self._former = self._former, None
        if former is not None:
            self._log.info("session moved", former=former, cloud=self._cloud)
            self._fail_playing(PlaybackFailed("the user has moved to another cloud"))
            for handling in self._moved:
                handling.put(events.Moved(former, self._cloud))
        elif ack.resumed:
            self._tasks.spawn(self._ask_again(), "ask again")
        else:
            self._fail_playing(PlaybackFailed("the cloud was started anew"))
        self._changed.set()

    async def _ask_again(self) -> None:
        """For what is still unanswered: the request may have been lost with the former socket. Played it is once."""
        await asyncio.sleep(ASK_AGAIN)
        for request, _ in list(self._playing.values()):
            await self._try_send(request)

    def _fail_playing(self, error: AppError) -> None:
        for _, answer in self._playing.values():
            if not answer.done():
                answer.set_exception(error)

    def _hear(self, message: wire.FromCloud | UnknownMessage) -> None:
        match message:
            case wire.ConnectionAck():
                self._accepted(message)
            case wire.DataStream():
                self._stream(message)
            case wire.AudioPlayResponse(request_id=request_id):
                _, answer = self._playing.get(request_id, (None, None))
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case wire.SubscriptionAck(subscriptions=in_force, refused=refused):
                self.subscriptions = in_force
                self._refused(refused)
            case wire.PermissionError_(details=refused):
                self._refused(refused)
            case wire.SettingsUpdate(settings=settings):
                self.settings = _values(settings)
                for handling in self._on_settings:
                    handling.put(self.settings)
            case wire.CapabilitiesUpdate(capabilities=capabilities):
                self.capabilities = capabilities
            case wire.DeviceStateUpdate(state=state, full_snapshot=whole):
                self.glasses = state if whole else self.glasses | state
            case wire.ConnectionError_(code=code, message=text):
                self._log.warning("the cloud complains", code=code, reason=text)
                self._tell_trouble(events.CloudError(code, text))
            case UnknownMessage(type=kind):
                self._log.debug("message of an unknown type", type=kind)

    def _refused(self, refused: tuple[wire.Refused, ...]) -> None:
        for one in refused:
            self._log.warning("not subscribed", stream=one.stream, reason=one.message)
            self._tell_trouble(events.Refusal(one.stream, one.message, one.required_permission))

    def _stream(self, message: wire.DataStream) -> None:
        try:
            data = wire.read_data(message)
        except MalformedMessage as error:
            self._log.warning("the cloud sent a malformed message", error=str(error))
            return
        match data:
            case wire.Transcription(transcribe_language=language):
                heard = events.Transcription(
                    data.text, data.is_final, language, data.start_time, data.end_time, data.confidence,
                    data.speaker_id, data.id, data.replaces, data.inserts,
                )  # fmt: skip
                self.transcript.note(heard)
                self._tell(heard, message.stream_type, Stream.TRANSCRIPTION, language)
            case wire.Translation(transcribe_language=spoken, translate_language=language):
                translated = events.Translation(
                    data.text, data.is_final, spoken, language, data.start_time, data.end_time, data.original_text,
                    data.speaker_id, data.id, data.replaces, data.inserts,
                )  # fmt: skip
                self._tell(translated, message.stream_type, Stream.TRANSLATION, spoken, language)
            case Vad():
                self._tell(data.speaking, message.stream_type, Stream.VAD)
            case AudioStateNotice():
                state = events.AudioState(data.state, data.reason, data.code, data.hop, data.seconds)
                self._tell(state, message.stream_type, Stream.AUDIO_STATE)
            case TranscriptGap():
                gap = events.Gap(data.id, data.at_ms, data.seconds, data.state)
                self.transcript.note(gap)
                for handling in self._gap_handlers:
                    handling.put(gap)
            case DeviceEvent():
                gesture = (data.gesture_name,) if isinstance(data, TouchEvent) else ()
                self._tell(data, message.stream_type, STREAMS[str(data.__struct_config__.tag)], *gesture)
            case wire.DeliveryGap(audio_chunks=chunks, messages=messages):
                self._tell_trouble(events.Missed(chunks, messages))

    def _tell(self, event: object, name: str, stream: Stream, *languages: str) -> None:
        """To the handlers of the stream that the cloud names: a stream with two subscriptions comes twice. If the cloud
        names none of ours, all handlers that hear it are meant."""
        named = [wanted for wanted in self._handlers if wanted.text == name]
        for wanted in named or [wanted for wanted in self._handlers if wanted.hears(stream, languages)]:
            for handling in self._handlers[wanted]:
                handling.put(event)

    def _tell_trouble(self, event: object) -> None:
        for handling in self._trouble:
            handling.put(event)


def _values(settings: Iterable[Any]) -> dict[str, Any]:
    return {one["key"]: one.get("value") for one in settings if isinstance(one, dict) and "key" in one}
