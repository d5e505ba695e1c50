"""What is the sound of a living microphone, and from when it is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from glassbridge.cloud.sound_watch import BLOCK_BYTES, SoundWatch
from glassbridge.core.diagnosis import Finding
from glassbridge.core.sound_faults import FAULT_AFTER
from glassbridge.core.values import SAMPLE_RATE

Samples = NDArray[np.float64]
AT = np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE
CHANCE = np.random.default_rng(7)


def tone(loud: float, hz: float = 440.0) -> Samples:
    return loud * np.sin(2 * np.pi * hz * AT)


def codes(samples: Samples, *, speaking: bool = True, frame: int = 320) -> list[str]:
    """What is told of it, in turn; an empty string: all is well again."""
    told: list[Finding | None] = []
    watch = SoundWatch(told.append)
    watch.voice(speaking)
    pcm = np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()
    for at in range(0, len(pcm), 2 * frame):
        watch.put(pcm[at : at + 2 * frame])
    return [finding.code if finding is not None else "" for finding in told]


def coded(samples: Samples) -> Samples:
    """Zeros as a codec for voices gives them: here and there a unit."""
    return samples + np.where(CHANCE.random(len(samples)) < 0.01, CHANCE.choice([-2, -1, 1], len(samples)), 0)


ZEROS = np.zeros_like(AT)


@pytest.mark.parametrize(
    ("sound", "code"),
    [
        (ZEROS, "digital_silence"),
        (coded(ZEROS), "digital_silence"),
        (ZEROS + 5_000, "stuck_signal"),
        (ZEROS - 1, "stuck_signal"),
        (ZEROS - 32_768, "stuck_signal"),
        (32_767 * np.sign(tone(1)), "clipped_signal"),
        (9_000 * np.sign(tone(1, 100)), "clipped_signal"),
        (tone(100_000), "clipped_signal"),
        (20_000 * np.sign(tone(1)) + 5_000, "clipped_signal"),
    ],
)
@pytest.mark.parametrize("frame", [1, 160, 320, 1_600, 5_000])
def test_dead_sound_is_told(sound: Samples, code: str, frame: int) -> None:
    if frame == 1:
        sound = sound[: 4 * SAMPLE_RATE]
    assert codes(sound, frame=frame) == [code]
    assert codes(sound, speaking=False, frame=frame) == []


@pytest.mark.parametrize(
    "sound",
    [
        CHANCE.integers(-1, 2, len(AT)).astype(float),
        CHANCE.normal(0, 1, len(AT)),
        CHANCE.normal(0, 9_000, len(AT)),
        tone(9_000),
        tone(32_000, 300),
        tone(1, 50),
        tone(8_000) + tone(8_000, 697),
        20 * np.sign(tone(1)),
    ],
)
def test_living_sound_is_not_told_of(sound: Samples) -> None:
    assert codes(sound) == []


def test_it_takes_three_seconds_and_the_first_sound_ends_it() -> None:
    second = SAMPLE_RATE
    almost = np.concatenate((tone(9_000)[:second], ZEROS[: round((FAULT_AFTER - 0.2) * second)], tone(9_000)[:second]))
    assert codes(almost) == []
    enough = np.concatenate((ZEROS[: round((FAULT_AFTER + 0.2) * second)], tone(9_000)[:second], ZEROS[:second]))
    assert codes(enough) == ["digital_silence", ""]


def test_one_fault_after_another_is_told() -> None:
    assert codes(np.concatenate((ZEROS, ZEROS + 7))) == ["digital_silence", "stuck_signal"]


def test_silence_counts_from_when_somebody_speaks() -> None:
    told: list[Finding | None] = []
    watch = SoundWatch(told.append)
    for _ in range(100):
        watch.put(bytes(BLOCK_BYTES))
    watch.voice(speaking=True)
    for _ in range(29):
        watch.put(bytes(BLOCK_BYTES))
    assert told == []
    watch.put(bytes(BLOCK_BYTES))
    assert len(told) == 1
