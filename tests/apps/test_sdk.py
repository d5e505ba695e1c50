"""The SDK against a real cloud on real sockets: what a developer writes in one file works, and goes on working."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glassbridge.app import (
    AppServer,
    AudioState,
    Missed,
    NotConnected,
    PlaybackFailed,
    Refusal,
    Session,
    SessionEnded,
    Track,
    Transcription,
)
from glassbridge.app.server import NoKey
from glassbridge.cloud.apps.connection import AppConnection
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.subscriptions import Permission
from glassbridge.core.values import Transport, user_id
from glassbridge.phone import PhoneClient
from glassbridge.phone.events import Acknowledged, AppChanged, Caption, Shown
from glassbridge.speech.voice import Voice
from glassbridge.wire import app_keys
from glassbridge.wire.device_events import TouchEvent
from tests.cloud.app_stage import KEY, PACKAGE, AppStage, app_stages
from tests.cloud.conftest import ANN, SECRET, Phone
from tests.cloud.test_apps import rest_with
from tests.support.poll import eventually, stays
from tests.support.scripted_voice import ScriptedVoice

PCM = bytes(range(256)) * 50


class Theatre:
    """A cloud, a phone, and an app's server whose `begin` is the test's."""

    def __init__(self, built: AppStage, server: AppServer, phone: Phone) -> None:
        self.built = built
        self.server = server
        self.phone = phone

    @property
    def session(self) -> Session:
        (session,) = self.server.sessions.values()
        return session

    async def start(self) -> None:
        """The user starts the app, and it runs."""
        count = len(self.phone.of_type("app_started"))
        await self.phone.say(type="start_app", packageName=PACKAGE)
        await self.phone.until("app_started", count + 1)

    async def listening_to(self, *streams: str) -> None:
        """Until the cloud says that this is in force."""
        await eventually(
            lambda: set(self.session.subscriptions) == set(streams) or f"in force: {self.session.subscriptions}"
        )

    @property
    def socket(self) -> AppConnection | None:
        """The app's, as the cloud has it."""
        apps = self.built.cloud.sessions.apps_of(user_id(ANN))
        app = apps.find(PACKAGE) if apps is not None else None
        assert app is not None
        return app.socket

    def cut(self) -> None:
        """The app's connection breaks."""
        assert self.socket is not None
        assert self.socket._transport is not None
        self.socket._transport.abort()


Open = Callable[..., Any]


@pytest.fixture
async def theatre() -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack, app_stages() as begin:

        async def open_(
            on_session: Callable[[Session], Any] | None = None,
            livekit: bool = False,
            voice: Voice | None = None,
            **options: Any,
        ) -> Theatre:
            server = AppServer(PACKAGE, KEY, port=0)
            if on_session is not None:
                server.on_session(on_session)
            await stack.enter_async_context(server)
            built = await begin(url=f"http://127.0.0.1:{server.port}", voice=voice, **options)
            phone = await built.phone(query="?livekit=true" if livekit else "")
            if livekit:
                await eventually(lambda: ANN in built.bridge.rooms or "the bridge is not in the room")
            return Theatre(built, server, phone)

        yield open_


async def test_captions_in_one_file(theatre: Open) -> None:
    def begin(session: Session) -> None:
        @session.on_transcription("en-us")
        async def heard(said: Transcription) -> None:
            await session.layouts.show_text(f"{said.text}{'.' if said.final else ''}")

    scene = await theatre(begin)
    await scene.start()
    await scene.listening_to("transcription:en-US")
    await scene.phone.socket.send_bytes(PCM)
    recogniser = scene.built.recogniser
    await eventually(lambda: len(recogniser.streams) == 1 or "no stream")
    recogniser.streams[0].say("hello", final=False)
    recogniser.streams[0].say("hello world", final=True)

    def shown() -> list[str]:
        return [e["layout"]["text"] for e in scene.phone.of_type("display_event") if e["packageName"] == PACKAGE]

    await eventually(lambda: shown() == ["hello", "hello world."] or str(shown()))


async def test_an_app_hears_the_microphone_the_voice_and_the_truth(theatre: Open) -> None:
    pcm, voices, states = bytearray(), list[bool](), list[AudioState]()

    def begin(session: Session) -> None:
        session.on_audio(lambda chunk: pcm.extend(chunk))
        session.on_vad(voices.append)
        session.on_audio_state(states.append)

    scene = await theatre(begin)
    await scene.start()
    await scene.listening_to("audio_chunk", "VAD", "audio_state")
    assert scene.session.user_id == ANN
    await scene.phone.say(type="VAD", status=True)
    await scene.phone.socket.send_bytes(PCM)
    await scene.phone.say(type="VAD", status="false")
    await eventually(lambda: bytes(pcm) == PCM or f"{len(pcm)} bytes")
    await eventually(lambda: voices == [True, False] or str(voices))
    await eventually(lambda: (states and states[-1].state == "live") or str(states))
    await scene.phone.vanish()
    await eventually(lambda: (states[-1].code, states[-1].hop) == ("phone_away", "phone") or str(states))


async def test_a_broken_connection_is_nothing_to_the_app(theatre: Open) -> None:
    voices, begun = list[bool](), list[Session]()

    def begin(session: Session) -> None:
        begun.append(session)
        session.on_vad(voices.append)

    scene = await theatre(begin)
    await scene.start()
    for number in range(3):
        await scene.listening_to("VAD")
        await scene.phone.say(type="VAD", status=True)
        await eventually(lambda heard=number + 1: len(voices) == heard or str(voices))  # type: ignore[misc]
        former = scene.socket
        scene.cut()
        await eventually(lambda former=former: scene.socket not in (None, former) or "not back")  # type: ignore[misc]
        await scene.session.layouts.show_text(f"back {number}")
    assert len(begun) == 1
    await eventually(lambda: len(scene.phone.of_type("display_event")) == 3 or "not all was shown")


async def test_a_server_that_moves_is_found_again(theatre: Open) -> None:
    """Its sessions are new, its users noticed nothing but a gap."""
    voices = list[bool]()
    scene = await theatre(lambda session: session.on_vad(voices.append))
    await scene.start()
    await scene.listening_to("VAD")
    port = scene.server.port
    await scene.server.__aexit__(None, None, None)
    assert not scene.server.sessions
    await eventually(lambda: scene.phone.of_type("app_state_change")[-1]["state"] == "reconnecting" or "not missed")
    moved = AppServer(PACKAGE, KEY, port=port)
    ended = list[str]()
    moved.on_session(lambda session: session.on_vad(voices.append))
    moved.on_stop(lambda _session, why: ended.append(why))
    async with moved:
        scene.server = moved
        await eventually(lambda: (len(moved.sessions) == 1 and scene.session.connected) or "not found", 10.0)
        await scene.phone.say(type="VAD", status=True)
        await eventually(lambda: voices == [True] or str(voices))
        assert len(scene.phone.of_type("app_started")) == 1
        session = scene.session
        await scene.phone.say(type="stop_app", packageName=PACKAGE)
        await eventually(lambda: bool(ended) or "not told")
        assert not moved.sessions
        with pytest.raises(SessionEnded):
            await session.layouts.clear()


async def test_what_is_not_to_be_had_is_told(theatre: Open) -> None:
    trouble = list[Any]()

    def begin(session: Session) -> None:
        session.on_trouble(trouble.append)
        session.on_transcription("fr-FR")(print)

    scene = await theatre(begin)
    await scene.start()
    await eventually(lambda: len(trouble) == 1 or str(trouble))
    assert isinstance(trouble[0], Refusal)
    assert (trouble[0].stream, bool(trouble[0].reason)) == ("transcription:fr-FR", True)
    with pytest.raises(ValueError, match="language"):
        scene.session.on_transcription("french please")


async def test_who_asks_for_a_language_in_two_ways_is_told_once_for_each(theatre: Open) -> None:
    said = list[str]()

    def begin(session: Session) -> None:
        session.on_transcription("en-US")(lambda heard: said.append(f"named {heard.text}"))
        session.on_transcription("auto")(lambda heard: said.append(f"any {heard.text}"))

    scene = await theatre(begin)
    await scene.start()
    await scene.listening_to("transcription:auto", "transcription:en-US")
    await scene.phone.socket.send_bytes(PCM)
    await eventually(lambda: bool(scene.built.recogniser.streams) or "no stream")
    for text in ("one", "two"):
        scene.built.recogniser.streams[0].say(text, final=True)
    await eventually(lambda: len(said) >= 4 or str(said))
    assert sorted(said) == ["any one", "any two", "named one", "named two"]


async def test_a_handler_that_fails_or_sleeps_disturbs_no_other(theatre: Open) -> None:
    voices = list[bool]()

    def begin(session: Session) -> None:
        @session.on_vad
        def fails(_speaking: bool) -> None:
            raise RuntimeError("a mistake of the app's")

        @session.on_vad
        async def sleeps(_speaking: bool) -> None:
            await asyncio.sleep(3600)

        session.on_vad(voices.append)

    scene = await theatre(begin)
    await scene.start()
    await scene.listening_to("VAD")
    for _ in range(3):
        await scene.phone.say(type="VAD", status=True)
    await eventually(lambda: len(voices) == 3 or str(voices))
    scene.session.off(voices.append)
    assert scene.session.connected


async def test_the_next_session_begins_when_the_app_knows_that_the_last_has_ended(theatre: Open) -> None:
    """The user stops the app and starts it again at once: one session at a time, and `on_stop` first."""
    told: list[str] = []
    handler = asyncio.Event()

    async def begin(_session: Session) -> None:
        told.append("begins")

    async def ended(_session: Session, _why: str) -> None:
        told.append("ends")
        await handler.wait()
        told.append("has ended")

    scene = await theatre(begin)
    scene.server.on_stop(ended)
    await scene.start()
    await scene.phone.say(type="stop_app", packageName=PACKAGE)
    await eventually(lambda: told == ["begins", "ends"])
    await scene.phone.say(type="start_app", packageName=PACKAGE)
    await stays(lambda: told == ["begins", "ends"] or str(told), 0.5)
    handler.set()
    await eventually(lambda: told == ["begins", "ends", "has ended", "begins"] or str(told))


async def test_a_stream_without_handlers_is_given_up(theatre: Open) -> None:
    hears = print
    scene = await theatre(lambda session: (session.on_vad(hears), session.on_audio_state(hears)))
    await scene.start()
    await scene.listening_to("VAD", "audio_state")
    scene.session.off(hears)
    await scene.listening_to()


# ---- playing


async def test_play_returns_when_it_was_heard(theatre: Open) -> None:
    scene = await theatre(livekit=True)
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    plays = scene.built.player.plays
    playing = asyncio.create_task(scene.session.play("https://x.test/a.mp3", volume=0.25, track=1, stop_other=False))
    await eventually(lambda: len(plays) == 1 or "not asked")
    (queue,) = plays.values()
    queue.put_nowait({"type": 0, "duration_ms": 900})
    await stays(lambda: not playing.done() or "it does not wait for the end", 0.1)
    queue.put_nowait({"type": 2, "duration_ms": 900})
    assert (await playing).duration_ms == 900
    request = scene.built.player.requests[0]
    assert (request.volume, request.track_id, request.stop_other) == (0.25, 1, False)


async def test_what_fails_raises_and_what_is_cancelled_stops(theatre: Open) -> None:
    scene = await theatre(livekit=True)
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    player = scene.built.player
    failing = asyncio.create_task(scene.session.play("https://x.test/a.mp3"))
    await eventually(lambda: len(player.plays) == 1 or "not asked")
    next(iter(player.plays.values())).put_nowait({"type": 3, "error": "no such file"})
    with pytest.raises(PlaybackFailed, match="no such file"):
        await failing
    with pytest.raises(TimeoutError):
        await scene.session.play("https://x.test/b.mp3", timeout=0.2)
    await eventually(lambda: len(player.stops) == 1 or "the sound goes on")
    assert player.stops[0].request_id == player.requests[1].request_id


async def test_the_answer_comes_although_the_connection_broke_meanwhile(theatre: Open) -> None:
    scene = await theatre(livekit=True)
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    plays = scene.built.player.plays
    playing = asyncio.create_task(scene.session.play("https://x.test/a.mp3"))
    await eventually(lambda: len(plays) == 1 or "not asked")
    scene.cut()
    next(iter(plays.values())).put_nowait({"type": 2, "duration_ms": 7})
    assert (await playing).duration_ms == 7


async def test_a_request_that_was_lost_with_its_connection_is_asked_again(theatre: Open) -> None:
    scene = await theatre(livekit=True)
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    scene.cut()  # what is written now arrives nowhere
    playing = asyncio.create_task(scene.session.play("https://x.test/a.mp3"))
    plays = scene.built.player.plays
    await eventually(lambda: len(plays) == 1 or "not asked")
    await asyncio.sleep(0)
    next(iter(plays.values())).put_nowait({"type": 2, "duration_ms": 7})
    assert (await playing).duration_ms == 7
    assert len(scene.built.player.requests) == 1


async def test_speech_is_asked_of_the_clouds_voice(theatre: Open) -> None:
    scene = await theatre(livekit=True, voice=ScriptedVoice())
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    speaking = asyncio.create_task(scene.session.speak("Hello & goodbye"))
    await eventually(lambda: len(scene.built.player.requests) == 1 or "not asked")
    request = scene.built.player.requests[0]
    assert request.audio_url.startswith(f"{scene.built.url}/api/tts?text=Hello+%26+goodbye")
    assert request.track_id == Track.SPEECH
    assert request.own_address == f"127.0.0.1:{scene.built.cloud.port}", "the bridge is told whose it is"
    async with scene.built.http.get(request.audio_url) as answer:  # as the bridge does
        assert await answer.read() == b"None: Hello & goodbye"
    next(iter(scene.built.player.plays.values())).put_nowait({"type": 2})
    await speaking


async def test_a_cloud_that_stops_ends_what_was_playing(theatre: Open) -> None:
    scene = await theatre(livekit=True)
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    session = scene.session
    playing = asyncio.create_task(session.play("https://x.test/a.mp3"))
    await eventually(lambda: len(scene.built.player.plays) == 1 or "not asked")
    await scene.phone.say(type="stop_app", packageName=PACKAGE)
    with pytest.raises((SessionEnded, PlaybackFailed)):
        await playing


# ---- webhooks


async def test_only_a_signed_webhook_opens_a_session(theatre: Open) -> None:
    scene = await theatre()
    url = f"http://127.0.0.1:{scene.server.port}/webhook"
    asked = {"type": "session_request", "sessionId": "x", "userId": "x", "mentraOSWebsocketUrl": "ws://127.0.0.1:9/x"}
    body = json.dumps(asked).encode()
    for headers in ({}, {app_keys.SIGNATURE_HEADER: app_keys.signer("other").sign(body, 0)}):
        async with scene.built.http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 401
    assert not scene.server.sessions


@pytest.mark.parametrize(
    ("body", "status"),
    [("{", 400), ('{"type":"session_request"}', 400), ('{"type":"new_request"}', 200),
     ('{"type":"session_request","sessionId":"x","userId":"x","mentraOSWebsocketUrl":"file:///etc"}', 400),
     ('{"type":"stop_request","sessionId":"nobody","userId":"x","reason":"r"}', 200)],
)  # fmt: skip
async def test_what_a_believed_webhook_may_say(theatre: Open, body: str, status: int) -> None:
    """The original's clouds do not sign: an app may believe a host."""
    scene = await theatre()
    async with AppServer(PACKAGE, KEY, port=0, unsigned_from=("127.0.0.1",)) as server:
        async with scene.built.http.post(f"http://127.0.0.1:{server.port}/webhook", data=body) as answer:
            assert answer.status == status
        async with scene.built.http.get(f"http://127.0.0.1:{server.port}/health") as answer:
            assert (await answer.json())["sessions"] == 0
        assert not server.sessions


async def test_a_wrong_key_ends_the_session_with_words(theatre: Open) -> None:
    scene = await theatre()
    server, ended = AppServer(PACKAGE, "another key", port=0, unsigned_from=("127.0.0.1",)), list[str]()
    server.on_stop(lambda _session, why: ended.append(why))
    async with server:
        asked = {
            "type": "session_request",
            "sessionId": f"{ANN}-{PACKAGE}",
            "userId": ANN,
            "augmentOSWebsocketUrl": f"{scene.built.url}/app-ws".replace("http", "ws"),
        }
        async with scene.built.http.post(f"http://127.0.0.1:{server.port}/webhook", json=asked) as answer:
            assert answer.status == 200
        await eventually(lambda: bool(ended) or "not ended")
    assert "API key" in ended[0]


async def test_who_is_not_connected_is_told_in_time(theatre: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassbridge.app.link.SEND_WAIT", 0.2)
    session = Session(PACKAGE, KEY, user_id="x", session_id="x", url="ws://127.0.0.1:9/x")
    running = asyncio.create_task(session.run(None))
    with pytest.raises(NotConnected):
        await session.layouts.show_text("hello")
    await session.end("enough")
    assert await running == "enough"


async def test_an_app_needs_a_name_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="package name"):
        AppServer("", KEY)
    monkeypatch.delenv("APP_KEY", raising=False)
    with pytest.raises(NoKey, match="apps add"):
        await AppServer(PACKAGE).__aenter__()


def test_what_was_missed_is_a_value() -> None:
    assert Missed(1, 2) == Missed(audio_chunks=1, messages=2)


async def test_our_own_phone_starts_apps_and_tells_their_words_from_captions(theatre: Open) -> None:
    async def begin(session: Session) -> None:
        await session.layouts.show_two_texts("hello", "there")

    scene = await theatre(begin)
    await scene.phone.close()
    told = list[Any]()
    token = mint_core_token(user_id(ANN), SECRET, 60)
    async with PhoneClient(scene.built.url, token, told.append, transport=Transport.WEBSOCKET) as client:
        await client.start_app(PACKAGE)
        await eventually(lambda: Shown(PACKAGE, "hello\nthere") in told or str(told))
        assert [event.state for event in told if isinstance(event, AppChanged)] == ["starting", "running"]
        assert not [event for event in told if isinstance(event, Caption)]
        await client.drop(0.1)
        await eventually(lambda: sum(isinstance(event, Acknowledged) for event in told) == 2 or str(told), 10.0)
        await eventually(lambda: [e.state for e in told if isinstance(e, AppChanged)][-1] == "running" or str(told))
        await client.stop_app(PACKAGE)
        await eventually(lambda: AppChanged(PACKAGE, "stopped") in told or str(told))


async def test_a_sound_of_the_apps_own_is_brought_to_the_cloud(theatre: Open, tmp_path: Path) -> None:
    scene = await theatre(livekit=True)
    await scene.start()
    await eventually(lambda: (len(scene.server.sessions) == 1 and scene.session.connected) or "not connected")
    ding, plays = tmp_path / "ding.wav", scene.built.player.plays
    ding.write_bytes(b"RIFF of a sound")
    sounds: list[Path | bytes] = [ding, b"RIFF of another"]
    for sound, data in zip(sounds, (b"RIFF of a sound", b"RIFF of another"), strict=True):
        asked = len(plays)
        playing = asyncio.create_task(scene.session.play(sound))
        await eventually(lambda: len(plays) > asked or "not asked")  # noqa: B023 - of this round
        async with scene.built.http.get(scene.built.player.requests[-1].audio_url) as answer:  # as the bridge does
            assert (answer.status, await answer.read()) == (200, data)
        list(plays.values())[-1].put_nowait({"type": 2, "duration_ms": 5})
        assert (await playing).duration_ms == 5
    with pytest.raises(PlaybackFailed, match="cannot be read"):
        await scene.session.play(tmp_path / "missing.wav")
    with pytest.raises(PlaybackFailed, match="at most 16 MiB"):
        await scene.session.play(bytes((16 << 20) + 1))


async def test_events_settings_and_storage_reach_the_app(theatre: Open) -> None:
    schema = ({"type": "slider", "key": "size", "label": "Size", "min": 1, "max": 9, "defaultValue": 5},)
    told: list[object] = []

    async def begin(session: Session) -> None:
        told.append(session.settings)

        @session.on_event("touch_event:double_tap")
        async def tapped(event: TouchEvent) -> None:
            await session.storage.set("taps/ü", event.gesture_name)
            told.append(await session.storage.all())
            told.append(await session.storage.delete("taps/ü"))

        session.on_settings(lambda settings: told.append(settings))

    built = await theatre(begin, settings=schema, permissions=frozenset({Permission.ALL}))
    await built.start()
    await built.listening_to("touch_event:double_tap")
    await built.phone.say(type="touch_event", gesture_name="long_press")
    await built.phone.say(type="touch_event", gesture_name="double_tap")
    await built.phone.say(type="glasses_connection_state", status="CONNECTED", modelName="Mentra Live")
    await eventually(lambda: told[1:] == [{"taps/ü": "double_tap"}, True] or str(told))
    await eventually(lambda: built.session.glasses.get("modelName") == "Mentra Live" or str(built.session.glasses))
    assert built.session.capabilities is not None
    await rest_with(built.built, "POST", f"/appsettings/{PACKAGE}", {"key": "size", "value": 7})
    await eventually(lambda: told[-1] == {"size": 7} or str(told))
    assert told[0] == {"size": 5}
