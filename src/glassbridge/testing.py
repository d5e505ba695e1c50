"""Tests an app without a network, in milliseconds: a made-up user speaks, presses buttons, and sees what the app does.

from captions import server
from glassbridge.testing import user_of

def test_it_shows_what_is_said() -> None:
    with user_of(server) as user:
        user.says("good morning")
        assert user.sees() == "good morning"

The app's own code and the SDK run as they do with a cloud; what the app asks for is judged by the cloud's rules. An
exception in a handler of the app, which costs a user one event only, fails the test. Not for tests that are coroutines.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

from glassbridge.app.errors import NotConnected, SessionEnded
from glassbridge.app.handlers import FAILURES, call
from glassbridge.app.link import SEND_WAIT
from glassbridge.app.server import AppServer
from glassbridge.app.session import Session
from glassbridge.app.socket import OnAudio, OnMessage
from glassbridge.app.storage import Storage
from glassbridge.core.subscriptions import STREAMS, Book, Permission, Refusal, Stream, language
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import Message, encode
from glassbridge.wire.device_events import ButtonPress, DeviceEvent, TouchEvent
from glassbridge.wire.display import words
from glassbridge.wire.phone import AudioStateNotice, Vad

EVERYTHING: Final = frozenset({Permission.ALL})
WITHIN: Final = 2.0
"""Seconds that the user waits for the app."""
TURNS: Final = 50
"""Of the event loop, which an app has for what it does at once."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sound:
    """That the app plays: what the user hears."""

    text: str = ""
    """What is spoken; empty: it is no speech."""
    url: str = ""
    data: bytes | Path = b""
    """A sound of the app's own."""
    track: int = 0
    volume: float = 1.0


@contextmanager
def user_of(
    server: AppServer,
    *,
    permissions: frozenset[Permission] = EVERYTHING,
    settings: Mapping[str, Any] | None = None,
    stored: dict[str, str] | None = None,
    user_id: str = "ann@example.com",
) -> Iterator["User"]:
    """A user who starts the app, and stops it at the end of the block. `permissions` are those of the app, `settings`
    what the user has chosen, `stored` what the app has stored for the user before, and stores."""
    user = User(server, permissions, dict(settings or {}), {} if stored is None else stored, user_id)
    try:
        user._start()
        yield user
        user._stop()
    finally:
        user._close()


class _Line:
    """Stands for the app's connection; used as glassbridge.app.link.Link is."""

    def __init__(self, user: "User", on_message: OnMessage, on_audio: OnAudio) -> None:
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

    def nudge(self, _url: str, _cloud: str = "") -> bool:
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


class User:
    """Made by user_of(). Each method returns when the app had the time to do what it does at once."""

    def __init__(
        self,
        server: AppServer,
        permissions: frozenset[Permission],
        settings: dict[str, Any],
        stored: dict[str, str],
        user_id: str,
    ) -> None:
        self.user_id = user_id
        self.settings = settings
        self.stored = stored
        """What the app has stored for this user."""
        self.shown: list[str] = []
        """All that the app has shown, a line for each block of a layout; a view that was cleared is empty."""
        self.heard: list[Sound] = []
        """All that it has played."""
        self.refused: list[Refusal] = []
        """What it wants to hear and will not, and why."""
        self._server = server
        self._permissions = permissions
        self._book = Book()
        self._unseen: deque[str] = deque()
        self._unheard: deque[Sound] = deque()
        self._own: dict[str, bytes | Path] = {}
        self._trouble: str | None = None
        self._failures: list[BaseException] = []
        self._runner = asyncio.Runner()
        self._line: _Line | None = None
        self._session: Session | None = None
        self._living: asyncio.Task[str] | None = None
        self._stopped = False

    # ---- what the user does

    def says(
        self,
        text: str,
        *,
        language: str = "en-US",
        final: bool = True,
        translated: Mapping[str, str] | None = None,
        speaker: str | None = None,
    ) -> None:
        """Speaks. `final=False`: it may still change. `translated`: the same in other languages."""
        named: list[tuple[Stream, str, tuple[str, ...]]] = [(Stream.TRANSCRIPTION, text, (language,))]
        named += [(Stream.TRANSLATION, other, (language, into)) for into, other in (translated or {}).items()]
        told = [self._words(stream, words_, text, final, languages, speaker) for stream, words_, languages in named]
        if not any(told):
            asked = f"transcription:{language}" if not translated else f"translation:{language}-to-..."
            self._nobody(asked)
        self._settle()

    def _words(
        self, stream: Stream, text: str, original: str, final: bool, languages: tuple[str, ...], speaker: str | None
    ) -> bool:
        common: dict[str, Any] = {
            "text": text,
            "is_final": final,
            "start_time": 0,
            "end_time": 0,
            "speaker_id": speaker,
        }
        names = self._book.names(stream, *map(language, languages))
        for _, name in names:
            if stream is Stream.TRANSCRIPTION:
                self._tell(wire.Transcription(**common, transcribe_language=languages[0]), name)
            else:
                data = wire.Translation(
                    **common, original_text=original, transcribe_language=languages[0],
                    translate_language=languages[1], did_translate=True,
                )  # fmt: skip
                self._tell(data, name)
        return bool(names)

    def speaks(self, speaking: bool = True) -> None:
        """Begins to speak, or has ended (False), as the voice detector tells it."""
        self._relay(Stream.VAD, Vad(status=speaking))

    def sends_audio(self, pcm: bytes) -> None:
        """The microphone: PCM16 LE, 16 kHz, mono."""
        if not self._book.listeners(Stream.AUDIO_CHUNK):
            self._nobody(Stream.AUDIO_CHUNK.label)
        assert self._line is not None
        if self._line.connected:
            self._line.on_audio(pcm)
        self._settle()

    def presses(self, button: str = "main", how: Literal["short", "long"] = "short") -> None:
        """A button of the glasses."""
        self.does(ButtonPress(button_id=button, press_type=how))

    def touches(self, gesture: str) -> None:
        """The glasses: `single_tap`, `double_tap`, `forward_swipe`, ..."""
        self.does(TouchEvent(gesture_name=gesture))

    def does(self, event: DeviceEvent) -> None:
        """Anything that phone and glasses tell: see glassbridge.wire.device_events."""
        gesture = (event.gesture_name,) if isinstance(event, TouchEvent) else ()
        self._relay(STREAMS[str(event.__struct_config__.tag)], event, *gesture)

    def has_audio(
        self, state: Literal["live", "connecting", "interrupted", "unavailable"], reason: str = "", code: str = ""
    ) -> None:
        """The truth about the user's audio changes."""
        self._relay(Stream.AUDIO_STATE, AudioStateNotice(state=state, reason=reason, code=code, since=0))

    def chooses(self, **settings: Any) -> None:
        """Changes settings of the app."""
        self.settings |= settings
        self._say(wire.SettingsUpdate(package_name=self._server.package, settings=self._settings))
        self._settle()

    @property
    def _settings(self) -> tuple[dict[str, Any], ...]:
        return tuple({"key": key, "value": value} for key, value in self.settings.items())

    def loses_network(self) -> None:
        """The app's connection is gone; what is said meanwhile is not heard."""
        assert self._line is not None
        self._line.up.clear()
        self._settle()

    def comes_back(self) -> None:
        """The connection is back; the app's session is the same."""
        self._run(self._acknowledge(resumed=True))

    def cannot_play(self, why: str | None) -> None:
        """From now on sounds fail for this reason; None: they can be heard again."""
        self._trouble = why

    # ---- what the user notices

    def sees(self, within: float = WITHIN) -> str:
        """The next thing that the app shows and that was not seen yet. Raises AssertionError when nothing comes."""
        return self._next(self._unseen, within, "the app shows nothing")

    def hears(self, within: float = WITHIN) -> Sound:
        """The next sound, likewise."""
        return self._next(self._unheard, within, "the app plays nothing")

    def notices_nothing(self, for_: float = 0.05) -> None:
        """Raises AssertionError when the app shows or plays something that was not noticed yet, or does within so many
        seconds."""
        self._run(asyncio.sleep(for_))
        noticed = [*self._unseen, *self._unheard]
        if noticed:
            raise AssertionError(f"the app does something: {noticed}")

    @property
    def listens_to(self) -> list[str]:
        """What the app has subscribed to and may hear."""
        return self._book.in_force(self._server.package)

    @property
    def session(self) -> Session:
        """The app's, which its handlers use."""
        assert self._session is not None
        return self._session

    # ---- behind it

    def _start(self) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise AssertionError("glassbridge.testing is for tests that are functions, not for coroutines")
        self._run(self._open())
        self._settle()

    async def _open(self) -> None:
        FAILURES.set(self._failures)

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
        session.storage = _Stored(self.stored)
        self._living = asyncio.get_running_loop().create_task(session.run(self._server.begins))

    def _stop(self) -> None:
        self._stopped = True
        self._run(self._end("user_disabled"))

    async def _end(self, why: str) -> None:
        assert self._line is not None
        await self._line.end(why)
        if self._living is not None:
            await self._living
        if self._server.ends is not None:
            await call(self._server.ends, self.session, why)

    def _close(self) -> None:
        if self._living is not None and not self._living.done():
            with suppress(RuntimeError):
                self._runner.run(cancelled(self._living))
        self._runner.close()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        result = self._runner.run(what)
        if self._failures:
            raise self._failures.pop(0)
        return result

    def _settle(self) -> None:
        self._run(_turns())

    def _next(self, queue: deque[T], within: float, nothing: str) -> T:
        self._run(_until(lambda: bool(queue), within))
        if not queue:
            raise AssertionError(f"{nothing} within {within:g} s; it listens to {self._listens()}")
        return queue.popleft()

    def _listens(self) -> str:
        refused = "".join(f"; refused: {one.text}: {one.why}" for one in self.refused)
        return f"{', '.join(self.listens_to) or 'nothing'}{refused}"

    def _nobody(self, stream: str) -> None:
        raise AssertionError(f"the app does not listen to {stream}; it listens to {self._listens()}")

    def _relay(self, stream: Stream, data: Message, *languages: str) -> None:
        names = self._book.names(stream, *languages)
        if not names:
            self._nobody(":".join((stream.label, *languages)))
        for _, name in names:
            self._tell(data, name)
        self._settle()

    def _tell(self, data: Message, name: str) -> None:
        self._say(wire.DataStream(session_id=self.session.session_id, stream_type=name, data=wire.raw(data)))

    def _say(self, message: Message) -> None:
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
        await _turns()

    def _greet(self, *, resumed: bool) -> None:
        ack = wire.ConnectionAck(
            session_id=self.session.session_id,
            settings=self._settings,
            subscriptions=tuple(self.listens_to),
            resumed=resumed,
        )
        self._say(ack)

    def _bring(self, sound: bytes | Path) -> str:
        url = f"http://testing/api/sounds/{len(self._own)}"
        self._own[url] = sound
        return url

    def _take(self, message: Message) -> None:
        match wire.decode_from_app(encode(message)):
            case wire.SubscriptionUpdate(subscriptions=asked, request_id=request_id):
                names = [one if isinstance(one, str) else one.stream for one in asked]
                given = self._book.replace(self._server.package, names, self._permissions)
                self.refused = list(given.refused)
                refused = tuple(
                    wire.Refused(one.text, one.why, one.permission and one.permission.value) for one in given.refused
                )
                self._say(
                    wire.SubscriptionAck(
                        request_id=request_id or "", subscriptions=tuple(self.listens_to), refused=refused
                    )
                )
            case wire.DisplayRequest(layout=layout):
                self.shown.append(words(layout))
                self._unseen.append(words(layout))
            case wire.AudioPlayRequest() as asked:
                self._play(asked)

    def _play(self, asked: wire.AudioPlayRequest) -> None:
        url = asked.audio_url
        text = parse_qs(urlsplit(url).query).get("text", [""])[0] if urlsplit(url).path.endswith("/api/tts") else ""
        own = self._own.get(url, b"")
        sound = Sound(text, "" if text or own else url, own, asked.track_id, asked.volume)
        if self._trouble is None:
            self.heard.append(sound)
            self._unheard.append(sound)
        ok = self._trouble is None
        self._say(wire.AudioPlayResponse(request_id=asked.request_id, success=ok, error=self._trouble, duration=0))


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _until(condition: Callable[[], bool], within: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110 - the app's own tasks change it, in whatever way
                await asyncio.sleep(0.001)
