"""What the demo makes of what it sees, without running anything."""

import pytest

from glassbridge.lab.demo import Demo
from glassbridge.lab.demo_view import picture
from glassbridge.lab.program import Line
from glassbridge.lab.scene import Scene
from glassbridge.lab.sound import loudness, words_found
from glassbridge.lab.stack import StackConfig
from tests.support.livekit import KEYS


class Told:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.scene = Scene()

    def tell(self, text: str) -> None:
        self.said.append(text)

    def show(self, scene: Scene) -> None:
        self.scene = scene


@pytest.mark.parametrize(
    ("heard", "found"),
    [("take a picture", 3), ("", 0), ("fake a pick sure", 1), ("picture a take", 1), ("please take the picture", 2)],
)
def test_words_are_counted_in_order(heard: str, found: int) -> None:
    assert words_found(["take", "a", "picture"], heard.split()) == found


def test_loudness() -> None:
    full = b"\x00\x80" * 100
    assert loudness(b"") == loudness(bytes(200)) == 0
    assert loudness(full) == pytest.approx(1, abs=0.01)
    assert 0 < loudness(b"\x40\x00" * 100) < loudness(b"\x00\x10" * 100) < 1


def test_lines_become_a_scene() -> None:
    view = Told()
    demo = Demo(StackConfig(keys=KEYS, jwt_secret="x" * 32), view)
    for text in (
        '{"event": "socket", "state": "open", "t": 1.0}',
        '{"event": "audio_state", "state": "live", "reason": "", "t": 1.5}',
        '{"event": "spoke", "samples": 16000, "frames": 10, "t": 2.0}',
        '{"event": "audio_ack", "epoch": 1, "position": 8000, "t": 2.0}',
        '{"event": "caption", "text": "good", "final": false, "t": 2.0}',
        '{"event": "caption", "text": "good morning", "final": true, "t": 2.5}',
        '{"event": "something new", "t": 3.0}',
        "not JSON",
    ):
        demo._seen.on_line(Line("phone", text, log=False))
    demo._seen.on_line(Line("bridge", '{"event": "room", "level": "warning", "error": "why"}', log=True))
    demo._seen.on_line(Line("cloud", "plain text", log=True))

    scene = demo._seen.scene
    assert scene.captions == ["good morning"]
    assert scene.partial == ""
    assert scene.meters["phone"].seconds == 1.0
    assert scene.meters["cloud"].seconds == 0.5
    assert scene.audio == "live"
    assert list(scene.happened) == ["bridge: room · why", "cloud: plain text"]
    assert "bridge: room why" in view.said
    assert "caption: good morning" in view.said
    picture(scene)


def test_without_audio_and_words_it_has_failed() -> None:
    demo = Demo(StackConfig(keys=KEYS, jwt_secret="x" * 32), Told())
    verdict = demo._judge("the phone had no cloud")
    assert not verdict.passed
    assert verdict.line.startswith("FAILED: the phone had no cloud; no audio arrived; frames: 0 sent, 0 received")
