"""glassbridge.testing, as makers of apps use it: what works passes, what is wrong fails and says why."""

import sys
from pathlib import Path
from time import perf_counter

import pytest

from glassbridge.app import AppServer, PlaybackFailed, Session, Translation
from glassbridge.core.subscriptions import Permission
from glassbridge.testing import Sound, user_of
from glassbridge.wire.device_events import ButtonPress, TouchEvent
from tests.apps.answering_app import PACKAGE, answering_app


@pytest.fixture
def server() -> AppServer:
    return answering_app()


def test_what_the_user_says_is_shown(server: AppServer) -> None:
    begun = perf_counter()
    with user_of(server) as user:
        user.says("good morning")
        assert user.sees() == "good morning"
        user.says("later")
        assert user.sees() == "now"
        user.has_audio("interrupted")
        assert user.sees() == "(interrupted)"
        user.notices_nothing()
        assert user.shown == ["good morning", "now", "(interrupted)"]
    assert perf_counter() - begun < 1.5


def test_what_the_app_says_and_plays_is_heard(server: AppServer) -> None:
    with user_of(server) as user:
        user.says("say it")
        assert user.hears().text == "it"
        user.says("play it")
        assert user.hears() == Sound(data=b"RIFF")


def test_an_app_that_fails_fails_the_test(server: AppServer) -> None:
    with user_of(server) as user:
        with pytest.raises(RuntimeError, match="the app fails"):
            user.says("fail")
        user.cannot_play("no room")
        with pytest.raises(PlaybackFailed, match="no room"):
            user.says("say it")


def test_what_the_app_does_not_listen_to_fails_the_test_and_says_what_it_listens_to(server: AppServer) -> None:
    with user_of(server) as user:
        with pytest.raises(
            AssertionError, match=r"does not listen to touch_event:single_tap; it listens to .*transcription:en-US"
        ):
            user.touches("single_tap")
        with pytest.raises(AssertionError, match="transcription:fr-FR"):
            user.says("bonjour", language="fr-FR")
        with pytest.raises(AssertionError, match=r"shows nothing within 0\.05 s"):
            user.sees(within=0.05)
        user.says("hello")
        with pytest.raises(AssertionError, match="hello"):
            user.notices_nothing()


def test_a_permission_that_is_missing_is_told(server: AppServer) -> None:
    with user_of(server, permissions=frozenset()) as user:
        assert user.refused[0].permission is Permission.MICROPHONE
        with pytest.raises(AssertionError, match="needs a permission"):
            user.says("hello")


def test_the_session_goes_on_when_the_network_is_back(server: AppServer) -> None:
    with user_of(server) as user:
        user.loses_network()
        user.says("it is only rem", final=False)
        user.says("it waits")
        user.notices_nothing()
        user.comes_back()
        user.says("hello")
        assert [user.sees(), user.sees()] == ["it waits", "hello"]
        user.notices_nothing()


def test_gestures_translations_audio_and_the_end() -> None:
    server = AppServer(PACKAGE)
    told: list[object] = []

    @server.on_session
    def begin(session: Session) -> None:
        @session.on_translation("es-ES", "en-US")
        def translated(said: Translation) -> None:
            told.append((said.original, said.text))

        session.on_audio(lambda pcm: told.append(pcm))
        session.on_vad(lambda speaking: told.append(speaking))

    @server.on_stop
    def ended(_: Session, why: str) -> None:
        told.append(why)

    with user_of(server) as user:
        user.speaks()
        user.sends_audio(b"1234")
        user.says("hola", language="es-ES", translated={"en-US": "hello"})
    assert told == [True, b"1234", ("hola", "hello"), "user_disabled"]


def test_buttons_settings_and_storage() -> None:
    server, stored = AppServer(PACKAGE), {"count": "1"}

    @server.on_session
    async def begin(session: Session) -> None:
        @session.on_event("button_press")
        async def pressed(press: ButtonPress) -> None:
            count = int(await session.storage.get("count") or 0) + 1
            await session.storage.set("count", str(count))
            await session.layouts.show_text(f"{session.settings['greeting']} {press.button_id} {count}")

        @session.on_event("touch_event:double_tap")
        async def tapped(_: TouchEvent) -> None:
            await session.storage.clear()

        @session.on_settings
        async def changed(settings: dict[str, object]) -> None:
            await session.layouts.show_text(str(settings["greeting"]))

    with user_of(server, settings={"greeting": "hello"}, stored=stored) as user:
        user.presses("left")
        assert user.sees() == "hello left 2"
        user.chooses(greeting="hi")
        assert user.sees() == "hi"
        user.touches("double_tap")
        assert user.stored == {}
        with pytest.raises(AssertionError, match="touch_event:single_tap"):
            user.touches("single_tap")


async def test_a_test_that_is_a_coroutine_is_told_what_is_wrong(server: AppServer) -> None:
    with pytest.raises(AssertionError, match="not for coroutines"), user_of(server):
        pass


def test_the_first_app_of_the_docs_and_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "apps.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```python\n")[1:]]
    (tmp_path / "captions.py").write_text(blocks[0])
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {}
    try:
        exec(blocks[1], names)
        tests = [test for name, test in names.items() if name.startswith("test_")]
        assert tests
        for test in tests:
            assert callable(test)
            test()
    finally:
        sys.modules.pop("captions", None)
