"""glassbridge.testing on a whole system: the same user, with a real phone, bridge and cloud before the app."""

import wave
from pathlib import Path

import pytest

from glassbridge.app import AppServer, Session, Transcription, Translation
from glassbridge.testing import user_on_system
from glassbridge.wire.device_events import ButtonPress
from tests.support.sound import tone

PACKAGE = "com.example.tested"


@pytest.fixture
def server() -> AppServer:
    server = AppServer(PACKAGE)

    @server.on_session
    def begin(session: Session) -> None:
        @session.on_transcription("en-US")
        async def heard(said: Transcription) -> None:
            if said.text == "fail":
                raise RuntimeError("the app fails")
            if said.text == "say it":
                await session.speak("Good morning.")
            elif said.text.startswith("play "):
                await session.play(Path(said.text.removeprefix("play ")))
            else:
                await session.layouts.show_text(f"{said.text} {session.settings['sign']}")

        @session.on_translation("en-US", "es-ES")
        async def translated(said: Translation) -> None:
            await session.layouts.show_text(f"{said.original}: {said.text}")

        @session.on_event("button_press")
        async def pressed(press: ButtonPress) -> None:
            count = int(await session.storage.get("count") or 0) + 1
            await session.storage.set("count", str(count))
            await session.layouts.show_text(f"{press.button_id} {count}")

    return server


def test_the_same_user_on_a_whole_system(server: AppServer, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(tone(0.5))
    ended: list[str] = []
    server.on_stop(lambda _, why: ended.append(why))
    with user_on_system(server, settings={"sign": "!"}, stored={"count": "1"}) as user:
        user.says("good morning")
        assert user.sees() == "good morning !"
        user.says("good evening", translated={"es-ES": "buenas noches"})
        assert sorted([user.sees(), user.sees()]) == ["good evening !", "good evening: buenas noches"]
        user.presses("left")
        assert user.sees() == "left 2"
        assert user.stored == {"count": "2"}
        user.chooses(sign="?")
        user.says("say it")
        assert user.hears().text == "Good morning."
        user.says(f"play {tmp_path / 'tone.wav'}")
        assert user.hears().data == tmp_path / "tone.wav"
        user.loses_network()
        user.says("nobody hears this")
        user.comes_back()
        user.says("hello")
        assert user.sees() == "hello ?"
        user.notices_nothing()
        with pytest.raises(RuntimeError, match="the app fails"):
            user.says("fail")
        with pytest.raises(
            AssertionError, match=r"does not listen to transcription:fr-FR; it listens to .*button_press"
        ):
            user.says("bonjour", language="fr-FR")
        assert len(server.sessions) == 1
    assert ended == ["stopped by the user"]
    assert server.port == 7010, "as it was before"
