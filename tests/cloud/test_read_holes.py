"""Holes in a text that somebody reads, by the real recogniser, at the pace of speech: after the replay the words are
those of the same reading without a hole, each once. One word in a hundred may be misheard in one of the two and not in
the other: their utterances begin at other samples. `pytest tests/cloud/test_read_holes.py -m slow -s` prints the
figures."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain

import pytest

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.core.words import normalised, word_errors
from glassbridge.lab import clips
from glassbridge.phone import wav
from glassbridge.speech.moonshine import MoonshineRecogniser
from glassbridge.wire.audio_frames import FLAG_LAST, FLAG_PRESENCE, FLAG_REPLAYED
from tests.cloud.test_late_words import MS, Listening
from tests.support.poll import eventually

PAUSE = bytes(700 * BYTES_PER_MS)
READ = ("clip", "short") * 4
SECOND = 1_000 // MS
"""Frames."""


@dataclass(frozen=True)
class Hole:
    """Frames that are lost, and in which pieces they are sent again: each so many seconds after the first one behind
    the hole."""

    frames: range
    pieces: tuple[tuple[range, float], ...]

    @staticmethod
    def of(start: float, stop: float, *pieces: tuple[float, float, float]) -> "Hole":
        frames = range(round(start * SECOND), round(stop * SECOND))
        return Hole(frames, tuple((range(round(a * SECOND), round(b * SECOND)), after) for a, b, after in pieces))


HOLES: dict[str, list[Hole]] = {
    "none": [],
    "30 s in the middle": [Hole.of(20.3, 50.3, (20.3, 50.3, 4.0))],
    "30 s, sent again at once": [Hole.of(17.7, 47.7, (17.7, 47.7, 0.3))],
    "30 s at the beginning": [Hole.of(0.0, 30.1, (0.0, 30.1, 6.0))],
    "several": [
        Hole.of(8.1, 18.4, (8.1, 18.4, 3.0)),
        Hole.of(22.2, 24.9, (22.2, 24.9, 12.0)),
        Hole.of(40.6, 61.0, (40.6, 61.0, 2.0)),
    ],
    "in pieces, the last first": [Hole.of(25.2, 55.2, (45.0, 55.2, 3.0), (25.2, 35.0, 9.0), (35.0, 45.0, 15.0))],
    "30 s that never come": [Hole.of(20.3, 50.3)],
}


def text() -> bytes:
    return b"".join(wav.load(clips.wav(name)) + PAUSE for name in READ)


async def read(recogniser: MoonshineRecogniser, holes: list[Hole]) -> list[str]:
    """What is remembered of it."""
    sound, loop = text(), asyncio.get_running_loop()
    frames = len(sound) // BYTES_PER_MS // MS
    lost = set(chain.from_iterable(hole.frames for hole in holes))
    listening = Listening(recogniser)
    listening.send(sound, 0, FLAG_PRESENCE | FLAG_REPLAYED)  # as phones begin
    begun = loop.time()

    async def send_again(stop: int, piece: Iterable[int], after: float) -> None:
        await asyncio.sleep(begun + stop * MS / 1000 + after - loop.time())
        for index in piece:
            listening.send(sound, index, FLAG_REPLAYED)
            await asyncio.sleep(0.02)

    again = [asyncio.create_task(send_again(hole.frames.stop, *piece)) for hole in holes for piece in hole.pieces]
    for index in range(frames):
        await asyncio.sleep(max(0.0, begun + (index + 1) * MS / 1000 - loop.time()))
        if index not in lost:
            listening.send(sound, index)
    await asyncio.gather(*again)
    listening.send(sound, frames, FLAG_PRESENCE | FLAG_LAST)
    return normalised(" ".join(await listening.end()))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_after_the_replay_the_words_are_those_of_a_reading_without_a_hole() -> None:
    recogniser = MoonshineRecogniser(len(HOLES) * 4)
    recogniser.warm_up()
    await eventually(lambda: bool(recogniser.processes) or "no process", 20.0)
    heard = dict(zip(HOLES, await asyncio.gather(*(read(recogniser, one) for one in HOLES.values())), strict=True))
    await recogniser.close()
    whole = heard.pop("none")
    spoken = [word for name in READ for word in clips.words(name)]
    print(f"no hole: {word_errors(spoken, whole)} of {len(spoken)} words are wrong")
    differ = {kind: word_errors(whole, words) for kind, words in heard.items()}
    for kind, count in differ.items():
        print(f"{kind}: {count} of {len(whole)} words differ, {len(heard[kind])} words")
        for tag, a, b, c, d in SequenceMatcher(None, whole, heard[kind], autojunk=False).get_opcodes():
            if tag != "equal":
                print(f"  {tag} at word {a}: {' '.join(whole[a:b])!r} is {' '.join(heard[kind][c:d])!r}")
    never = "30 s that never come"
    assert differ.pop(never) <= len(whole) - len(heard[never]) + 4, "words outside the hole are spoilt"
    assert {kind: count for kind, count in differ.items() if count > len(spoken) // 100} == {}
    assert {len(heard[kind]) for kind in differ} == {len(spoken)}, "a word came twice, or not at all"
