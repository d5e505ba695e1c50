"""A user without a network: the app's session talks to this instead of a cloud."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from glassbridge.app.errors import NotConnected, SessionEnded
from glassbridge.app.handlers import call
from glassbridge.app.link import SEND_WAIT
from glassbridge.app.server import AppServer
from glassbridge.app.session import Session
from glassbridge.app.socket import OnAudio, OnMessage
from glassbridge.app.storage import Storage
from glassbridge.core.subscriptions import STREAMS, Permission, Stream, Subscriptions, language
from glassbridge.runtime.tasks import cancelled
from glassbridge.testing.user import Said, Sound, User
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import Message, encode
from glassbridge.wire.device_events import DeviceEvent, TouchEvent
from glassbridge.wire.display import words
from glassbridge.wire.phone import AudioStateNotice, Vad

TURNS: Final = 50
"""Of the event loop, which an app has for what it does at once."""


class _Line:
    """Stands for the app's connection; used as glassbridge.app.link.Link is."""

    def __init__(self, user: "ScriptedUser", on_message: OnMessage, on_audio: OnAudio) -> None:
        self._user = user
        self.on_message = on_message
        self.on_audio = on_audio
        self.up = asyncio.Event()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def connected(self) -> bool:
        return self.up.is_set()

    @property
    def is_over(self) -> bool:
        return self._over.done()

    @property
    def asked_again(self) -> bool:
        return False

    def connect_to(self, _url: str, _cloud: str = "") -> bool:
        return False

    async def end(self, why: str, _code: CloseCode = CloseCode.NORMAL) -> None:
        if not self._over.done():
            self._over.set_result(why)
        self.up.set()

    async def run(self) -> str:
        self._user._connected()
        return await self._over

    async def send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_WAIT):
                await self.up.wait()
        except TimeoutError:
            raise NotConnected("the cloud cannot be reached right now") from None
        if self._over.done():
            raise SessionEnded(self._over.result())
        self._user._take(message)


class _TestedSession(Session):
    """Brings no sound anywhere."""

    async def _bring(self, sound: Path | bytes) -> str:
        if self.brought is None:
            raise RuntimeError("the user has not started")
        return self.brought(sound)

    brought: Callable[[Path | bytes], str] | None = None


class _Stored(Storage):
    """In memory."""

    def __init__(self, kept: dict[str, str]) -> None:
        self._kept = kept

    async def _ask(self, method: str, key: str | None = None, body: Any = None) -> Any:
        match method:
            case "GET":
                return dict(self._kept)
            case "PUT":
                self._kept |= body["data"]
                return {"written": len(body["data"])}
        gone = [key] if key in self._kept else [] if key is not None else list(self._kept)
        for one in gone:
            del self._kept[one]
        return {"deleted": len(gone)}


class ScriptedUser(User):
    """Made by user_of()."""

    def __init__(
        self,
        server: AppServer,
        permissions: frozenset[Permission],
        settings: dict[str, Any],
        stored: dict[str, str],
        user_id: str,
    ) -> None:
        super().__init__(server, permissions, settings, user_id)
        self._stored = stored
        self._subscriptions = Subscriptions()
        self._own: dict[str, bytes | Path] = {}
        self._trouble: str | None = None
        self._line: _Line | None = None
        self._session: Session | None = None
        self._living: asyncio.Task[str] | None = None
        self._missed: list[wire.DataStream] = []
        """What waits for the app's connection, as in a cloud (cloud/apps/missed.py)."""

    # ---- what the user does

    def _say(self, said: Said) -> None:
        told = [self._words(said, Stream.TRANSCRIPTION, said.text)]
        told += [self._words(said, Stream.TRANSLATION, other, into) for into, other in said.translated.items()]
        if not any(told):
            stream, languages = said.wanted[0]
            self._nobody(":".join((stream.label, *languages)))
        self._settle()

    def _words(self, said: Said, stream: Stream, text: str, *into: str) -> bool:
        """Whether the app listens to it."""
        common: dict[str, Any] = {
            "text": text,
            "is_final": said.final,
            "start_time": 0,
            "end_time": 0,
            "speaker_id": said.speaker,
        }
        names = self._subscriptions.listeners_by_name(stream, *map(language, (said.language, *into)))
        for _, name in names:
            if stream is Stream.TRANSCRIPTION:
                self._tell(wire.Transcription(**common, transcribe_language=said.language), name, waits=said.final)
            else:
                data = wire.Translation(
                    **common, original_text=said.text, transcribe_language=said.language,
                    translate_language=into[0], did_translate=True,
                )  # fmt: skip
                self._tell(data, name, waits=said.final)
        return bool(names)

    def speaks(self, speaking: bool = True) -> None:
        self._relay(Stream.VAD, Vad(status=speaking))

    def sends_audio(self, pcm: bytes) -> None:
        if not self._subscriptions.listeners(Stream.AUDIO_CHUNK):
            self._nobody(Stream.AUDIO_CHUNK.label)
        assert self._line is not None
        if self._line.connected:
            self._line.on_audio(pcm)
        self._settle()

    def does(self, event: DeviceEvent) -> None:
        gesture = (event.gesture_name,) if isinstance(event, TouchEvent) else ()
        self._relay(STREAMS[str(event.__struct_config__.tag)], event, *gesture)

    def has_audio(
        self, state: Literal["live", "connecting", "interrupted", "unavailable"], reason: str = "", code: str = ""
    ) -> None:
        """The truth about the user's audio changes."""
        self._relay(Stream.AUDIO_STATE, AudioStateNotice(state=state, reason=reason, code=code, since=0))

    def chooses(self, **settings: Any) -> None:
        self.settings |= settings
        self._send(wire.SettingsUpdate(package_name=self._server.package, settings=self._settings))
        self._settle()

    @property
    def _settings(self) -> tuple[dict[str, Any], ...]:
        return tuple({"key": key, "value": value} for key, value in self.settings.items())

    def loses_network(self) -> None:
        assert self._line is not None
        self._line.up.clear()
        self._settle()

    def comes_back(self) -> None:
        self._run(self._acknowledge(resumed=True))

    def cannot_play(self, why: str | None) -> None:
        """From now on sounds fail for this reason; None: they can be heard again."""
        self._trouble = why

    # ---- what the user notices

    @property
    def listens_to(self) -> list[str]:
        return self._subscriptions.in_force(self._server.package)

    @property
    def stored(self) -> dict[str, str]:
        return self._stored

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    # ---- behind it

    async def _open(self) -> None:
        def connect(_url: str, _init: wire.ConnectionInit, on_message: OnMessage, on_audio: OnAudio) -> _Line:
            self._line = _Line(self, on_message, on_audio)
            return self._line

        name = wire.app_session_id(self.user_id, self._server.package)
        session = self._session = _TestedSession(
            self._server.package,
            "testing",
            user_id=self.user_id,
            session_id=name,
            url="ws://testing/app-ws",
            link=connect,
        )
        session.brought = self._bring
        session.storage = _Stored(self._stored)
        self._living = asyncio.get_running_loop().create_task(session.run(self._server.begins))
        await _turns()

    async def _stop(self) -> None:
        why = "user_disabled"
        assert self._line is not None
        await self._line.end(why)
        if self._living is not None:
            await self._living
        if self._server.ends is not None:
            await call(self._server.ends, self.session, why)

    async def _release(self) -> None:
        if self._living is not None and not self._living.done():
            await cancelled(self._living)

    def _settle(self) -> None:
        self._run(_turns())

    def _relay(self, stream: Stream, data: Message, *languages: str) -> None:
        names = self._subscriptions.listeners_by_name(stream, *languages)
        if not names:
            self._nobody(":".join((stream.label, *languages)))
        for _, name in names:
            self._tell(data, name)
        self._settle()

    def _tell(self, data: Message, name: str, *, waits: bool = False) -> None:
        """`waits`: until the app is back."""
        assert self._line is not None
        message = wire.DataStream(session_id=self.session.session_id, stream_type=name, data=wire.raw(data))
        if waits and not self._line.connected:
            self._missed.append(message)
        else:
            self._send(message)

    def _send(self, message: Message) -> None:
        """As a cloud would: by way of its JSON."""
        assert self._line is not None
        if self._line.connected:
            self._line.on_message(wire.decode_from_cloud(encode(message)))

    def _connected(self) -> None:
        assert self._line is not None
        self._line.up.set()
        self._greet(resumed=False)

    async def _acknowledge(self, *, resumed: bool) -> None:
        assert self._line is not None
        self._line.up.set()
        self._greet(resumed=resumed)
        missed, self._missed = self._missed, []
        for message in missed:
            self._send(message)
        await _turns()

    def _greet(self, *, resumed: bool) -> None:
        ack = wire.ConnectionAck(
            session_id=self.session.session_id,
            settings=self._settings,
            subscriptions=tuple(self.listens_to),
            resumed=resumed,
        )
        self._send(ack)

    def _bring(self, sound: bytes | Path) -> str:
        url = f"http://testing/api/sounds/{len(self._own)}"
        self._own[url] = sound
        return url

    def _take(self, message: Message) -> None:
        match wire.decode_from_app(encode(message)):
            case wire.SubscriptionUpdate(subscriptions=asked, request_id=request_id):
                names = [one if isinstance(one, str) else one.stream for one in asked]
                given = self._subscriptions.replace(self._server.package, names, self._permissions)
                self.refused = list(given.refused)
                refused = tuple(
                    wire.Refused(one.text, one.why, one.permission and one.permission.value) for one in given.refused
                )
                self._send(
                    wire.SubscriptionAck(
                        request_id=request_id or "", subscriptions=tuple(self.listens_to), refused=refused
                    )
                )
            case wire.DisplayRequest(layout=layout):
                self._see(words(layout))
            case wire.AudioPlayRequest() as asked:
                self._play(asked)

    def _play(self, asked: wire.AudioPlayRequest) -> None:
        url = asked.audio_url
        text = parse_qs(urlsplit(url).query).get("text", [""])[0] if urlsplit(url).path.endswith("/api/tts") else ""
        own = self._own.get(url, b"")
        sound = Sound(text, "" if text or own else url, own, asked.track_id, asked.volume)
        if self._trouble is None:
            self._hear(sound)
        ok = self._trouble is None
        self._send(wire.AudioPlayResponse(request_id=asked.request_id, success=ok, error=self._trouble, duration=0))


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
