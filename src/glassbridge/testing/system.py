"""A user on a whole system: livekit-server, bridge and cloud are processes; a phone of ours speaks, shows and hears."""

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp

from glassbridge.app.events import Played
from glassbridge.app.server import AppServer
from glassbridge.app.session import Session
from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.cloud.apps.store import SqliteStore, StoredKind
from glassbridge.core.subscriptions import STREAMS, Permission, Refusal, Stream, parse
from glassbridge.core.values import BYTES_PER_MS, Transport, user_id
from glassbridge.lab.links import ByteLink
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.livekit.server import free_port
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.phone import events
from glassbridge.phone.client import PhoneClient
from glassbridge.runtime.errors import UserError
from glassbridge.speech.soniox_double import SonioxDouble
from glassbridge.testing.spoken_text import FRAME, Spoken, SpokenWords, as_sound
from glassbridge.testing.user import Said, Sound, User, until
from glassbridge.wire import apps as wire
from glassbridge.wire.codec import UnknownMessage
from glassbridge.wire.device_events import DeviceEvent, TouchEvent

AT_ONCE: Final = 0.3
"""Seconds that the app has for what it does at once: a way through all processes takes 0.1."""
STARTS_WITHIN: Final = 60.0
HEARD_WITHIN: Final = 2.0
MOST_STORED: Final = 1 << 20
LAST_LINES: Final = 10
_SPOKEN: Final = (Stream.TRANSCRIPTION.label, Stream.TRANSLATION.label)


Wanted = tuple[Stream, tuple[str, ...]]
"""A stream, and its languages."""


class _WatchedSession(Session):
    """Tells the user of the test what it gets, and what of its sounds was heard."""

    user: "SystemUser"

    def _hear(self, message: "wire.FromCloud | UnknownMessage") -> None:
        self.user._told(self, message)
        super()._hear(message)

    async def play(self, sound: str | Path | bytes, **options: Any) -> Played:
        before = self.user._phone.heard_ms
        played = await super().play(sound, **options)
        if not await until(lambda: self.user._phone.heard_ms > before, HEARD_WITHIN):
            raise AssertionError("the app has played something, but the phone hears nothing")
        self.user._played(sound, options)
        return played


class SystemUser(User):
    """Made by user_on_system()."""

    within: ClassVar[float] = 10.0

    def __init__(
        self,
        server: AppServer,
        permissions: frozenset[Permission],
        settings: dict[str, Any],
        stored: dict[str, str],
        user_id: str,
        livekit: str,
    ) -> None:
        super().__init__(server, permissions, settings, user_id)
        self._stored = stored
        self._livekit = livekit
        self._cleanup = AsyncExitStack()
        self._session: Session | None = None
        self._words = 0
        """Transcripts and translations that the app was sent."""
        self._lines: list[str] = []
        """Of all programs, for a failure."""

    # ---- what the user does

    def _say(self, said: Said) -> None:
        self._require(*said.wanted)
        short = {into.partition("-")[0]: other for into, other in said.translated.items()}
        words = self._words
        self._speak(as_sound(Spoken(said.text, said.final, short, said.speaker)))
        if self.session.connected and not self._run(until(lambda: self._words > words, self.within)):
            raise AssertionError(f"what the user says does not arrive: {self._last_lines()}")
        self._settle()

    def speaks(self, speaking: bool = True) -> None:
        self._require((Stream.VAD, ()))
        self._run(self._phone.voice(speaking))
        self._settle()

    def sends_audio(self, pcm: bytes) -> None:
        self._require((Stream.AUDIO_CHUNK, ()))
        self._speak([pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME)])
        self._settle()

    def does(self, event: DeviceEvent) -> None:
        gesture = (event.gesture_name,) if isinstance(event, TouchEvent) else ()
        self._require((STREAMS[str(event.__struct_config__.tag)], gesture))
        self._run(self._phone.report(event))
        self._settle()

    def chooses(self, **settings: Any) -> None:
        self.settings |= settings
        for key, value in settings.items():
            self._run(self._choose(key, value))
        self._settle()

    def loses_network(self) -> None:
        self._way.refuse()
        self._run(until(lambda: not self.session.connected, self.within))

    def comes_back(self) -> None:
        self._way.heal()
        if not self._run(until(lambda: self.session.connected, self.within)):
            raise AssertionError("the app does not come back")
        self._settle()

    # ---- what the user notices

    @property
    def listens_to(self) -> list[str]:
        return [] if self._session is None else list(self._session.subscriptions)

    @property
    def stored(self) -> dict[str, str]:
        return self._run(self.session.storage.all())

    @property
    def session(self) -> Session:
        assert self._session is not None, "the app has not begun"
        return self._session

    # ---- behind it

    async def _open(self) -> None:
        clean, user = self._cleanup, user_id(self.user_id)
        folder = Path(clean.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-testing-")))
        port, cloud_port = free_port(), free_port()
        schema = tuple(_setting(key, value) for key, value in self.settings.items())
        words = [permission.value for permission in self._permissions]
        record, key = new_app(self._server.package, f"http://127.0.0.1:{port}", "", words, schema)
        TomlRegistry(folder / "apps.toml").add(record)
        await self._keep(folder / "apps.store.db")
        double = await clean.enter_async_context(SonioxDouble(hears=SpokenWords))
        self._way = await clean.enter_async_context(ByteLink())
        front = await self._way.to(cloud_port)
        await self._serve(key, port)
        config = StackConfig(
            livekit=self._livekit,
            keys=LiveKitKeys("testing", token_urlsafe(32)),
            jwt_secret=token_urlsafe(32),
            cloud_port=cloud_port,
            apps=folder / "apps.toml",
            env={
                "GLASSBRIDGE_PUBLIC_URL": f"http://127.0.0.1:{front}",
                "GLASSBRIDGE_STORE": str(folder / "apps.store.db"),
                "GLASSBRIDGE_RECOGNISER": "soniox",
                "GLASSBRIDGE_STANDBY": "none",
                "SONIOX_API_KEY": "testing",
                "SONIOX_ENDPOINT": double.url,
            },
        )
        stack = await clean.enter_async_context(Stack(config, lambda line: self._lines.append(line.text)))
        self._url, self._token = stack.cloud_url, stack.core_token(user)
        self._http = await clean.enter_async_context(aiohttp.ClientSession())
        phone = PhoneClient(self._url, self._token, self._notice, transport=Transport.DATA, opus=False)
        self._phone = await clean.enter_async_context(phone)
        await phone.start_app(self._server.package)
        begun = await until(lambda: self._session is not None and self._heard_well, STARTS_WITHIN)
        if not begun:
            raise UserError(f"the app does not begin: {self._last_lines()}")
        await asyncio.sleep(AT_ONCE)

    @property
    def _heard_well(self) -> bool:
        state = self._phone.audio_state
        return state is not None and state.state == "live"

    async def _keep(self, path: Path) -> None:
        """What the app has stored before."""
        if self._stored:
            async with SqliteStore(path, MOST_STORED) as store:
                of = user_id(self.user_id), self._server.package
                await store.know(*of)
                await store.write(StoredKind.STORED, *of, self._stored, MOST_STORED)

    async def _serve(self, key: str, port: int) -> None:
        """The app's own server, with sessions that are watched."""

        class Watched(_WatchedSession):
            user = self

        server = self._server
        before = server.port, server.session_class

        def restore() -> None:
            server.port, server.session_class = before

        self._cleanup.callback(restore)
        server.port, server.session_class = port, Watched
        server.use_key(key)
        await self._cleanup.enter_async_context(server)

    async def _stop(self) -> None:
        await self._phone.stop_app(self._server.package)
        await until(lambda: self.session.is_over, self.within)
        await asyncio.sleep(AT_ONCE)

    async def _release(self) -> None:
        await self._cleanup.aclose()

    def _notice(self, event: events.PhoneEvent) -> None:
        if isinstance(event, events.Shown) and event.package == self._server.package:
            self._see(event.text)

    def _told(self, session: Session, message: "wire.FromCloud | UnknownMessage") -> None:
        match message:
            case wire.ConnectionAck():
                self._session = session
            case wire.DataStream(stream_type=name):
                self._words += name.startswith(_SPOKEN)
            case wire.SubscriptionAck(refused=refused):
                self.refused = [Refusal(one.stream, one.message, _permission(one)) for one in refused]
            case _:
                pass

    def _played(self, sound: str | Path | bytes, options: Mapping[str, Any]) -> None:
        url, own = (sound, b"") if isinstance(sound, str) else ("", sound)
        parts = urlsplit(url)
        text = parse_qs(parts.query).get("text", [""])[0] if parts.path.endswith("/api/tts") else ""
        self._hear(Sound(text, "" if text else url, own, options.get("track", 0), options.get("volume", 1.0)))

    def _require(self, *wanted: Wanted) -> None:
        """Raises AssertionError when the app listens to none of these."""
        listening = [parse(text) for text in self.listens_to]
        if not any(one.hears(stream, languages) for one in listening for stream, languages in wanted):
            stream, languages = wanted[0]
            self._nobody(":".join((stream.label, *languages)))

    def _speak(self, frames: list[bytes]) -> None:
        self._run(self._say_aloud(frames))

    async def _say_aloud(self, frames: list[bytes]) -> None:
        """In real time."""
        for frame in frames:
            self._phone.speak(frame)
            await asyncio.sleep(len(frame) / BYTES_PER_MS / 1000)

    async def _choose(self, key: str, value: Any) -> None:
        path, headers = f"/appsettings/{self._server.package}", {"Authorization": f"Bearer {self._token}"}
        async with self._http.post(self._url + path, json={"key": key, "value": value}, headers=headers) as answer:
            if answer.status != 200:
                raise AssertionError(f"{key} cannot be chosen: {await answer.text()}")

    def _settle(self) -> None:
        self._run(asyncio.sleep(AT_ONCE))

    def _last_lines(self) -> str:
        return "\n".join(self._lines[-LAST_LINES:]) or "the system says nothing"


def _setting(key: str, value: Any) -> dict[str, Any]:
    kind = "toggle" if isinstance(value, bool) else "numeric_input" if isinstance(value, int | float) else "text"
    return {"type": kind, "key": key, "label": key, "defaultValue": value}


def _permission(refused: wire.Refused) -> Permission | None:
    return None if refused.required_permission is None else Permission(refused.required_permission)
