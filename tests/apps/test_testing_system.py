"""glassbridge.testing on a whole system: the same user, with a real phone, bridge and cloud before the app."""

import wave
from pathlib import Path

import pytest

from glassbridge.testing import user_on_system
from tests.apps.answering_app import answering_app
from tests.support.sound import tone


def test_the_same_user_on_a_whole_system(tmp_path: Path) -> None:
    server = answering_app(tells_of_audio=False)
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
        user.says("say Good morning.")
        assert user.hears().text == "Good morning."
        user.says(f"play {tmp_path / 'tone.wav'}")
        assert user.hears().data == tmp_path / "tone.wav"
        user.loses_network()
        user.says("it waits")
        user.comes_back()
        user.says("hello")
        assert [user.sees(), user.sees()] == ["it waits ?", "hello ?"]
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
