"""The utterances of a stream, with a detector that takes whatever is loud for speech."""

import random

import pytest

from glassbridge.speech.endpointing import FRAME_MS, FRAME_SAMPLES, FULL_FRAMES, LEAD
from glassbridge.speech.segments import FRAME_BYTES, Segment, Segments

SECOND = 32_000
SPEECH, SILENCE = b"\x11\x11" * 16_000, bytes(SECOND)


class Loud:
    """A detector: what is not silence is speech."""

    def __init__(self) -> None:
        self.resets = 0

    def probability(self, frame: bytes) -> float:
        return float(frame.count(0) < len(frame) // 2)

    def reset(self) -> None:
        self.resets += 1


def feed(segments: Segments, sound: bytes, chunk: int = 3_200, position: int = 0) -> list[Segment]:
    found: list[Segment] = []
    for at in range(0, len(sound), chunk):
        found += segments.feed(position + at // 2, sound[at : at + chunk])
    return found


@pytest.mark.parametrize("seed", range(5))
def test_all_speech_is_in_a_segment_once_in_chunks_of_any_size(seed: int) -> None:
    random_ = random.Random(seed)
    segments = Segments(Loud())
    found: list[Segment] = []
    words = [random_.randrange(8_000, 60_000) // 2 * 2 for _ in range(6)]
    sound = b"".join(SILENCE + bytes([n + 1]) * size for n, size in enumerate(words)) + SILENCE + b"\x77" * 10_002
    at = 0
    while at < len(sound):
        chunk = random_.randrange(2, 9_000) // 2 * 2
        found += segments.feed(at // 2, sound[at : at + chunk])
        at += chunk
    found += segments.finish()
    heard = b"".join(segment.pcm for segment in found)
    assert [heard.count(bytes([n + 1])) for n in range(6)] == words, f"seed {seed}"
    assert heard.count(b"\x77") == 10_002, "what was fed last is lost"
    assert len(found) == 7


def test_times_are_those_of_the_speech() -> None:
    segments = Segments(Loud())
    [segment] = feed(segments, SILENCE * 2 + SPEECH * 2 + SILENCE)
    assert abs(segment.start_ms - 2_000) <= FRAME_MS
    assert abs(segment.end_ms - 4_000) <= FRAME_MS
    assert len(segment.pcm) > 2 * SECOND, "no silence around it"
    assert segments.position == 5 * SECOND // 2


def test_a_gap_ends_the_utterance_and_moves_the_clock() -> None:
    detector = Loud()
    segments = Segments(detector)
    found = [*feed(segments, SPEECH), *feed(segments, SPEECH, position=16_000 * 60), *segments.finish()]
    assert [(s.start_ms, s.end_ms) for s in found] == [(0, 1_000), (60_000, 61_000)]
    assert [s.pcm for s in found] == [SPEECH, SPEECH]
    assert detector.resets >= 1


def test_finish_in_silence_gives_nothing_and_the_stream_goes_on() -> None:
    segments = Segments(Loud())
    assert [*feed(segments, SILENCE), *segments.finish(), *segments.finish()] == []
    assert feed(segments, SPEECH, position=16_000) == []
    [segment] = segments.finish()
    assert (segment.start_ms, segment.end_ms) == (1_000, 2_000)


def _long() -> bytes:
    """Nobody pauses; it is quieter for a moment at 8.0 and at 10.0 s."""
    loud, quiet = b"\x11\x11" * FRAME_SAMPLES, b"\x11\x01" * FRAME_SAMPLES
    return b"".join(quiet if n in (250, 312) else loud for n in range(FULL_FRAMES + 2))


@pytest.mark.parametrize(("right", "frame"), [((250, 312), 312), ((250,), 250), ((), 312)])
def test_a_long_utterance_is_cut_where_the_words_agree(right: tuple[int, ...], frame: int) -> None:
    segments = Segments(Loud())
    sound = _long()
    assert feed(segments, sound) == []
    wanted = segments.wants_cut
    assert wanted
    best = sound[: 312 * FRAME_BYTES] if 312 in right or not right else sound[: 250 * FRAME_BYTES]
    part = segments.cut(lambda part: len(part.pcm) // FRAME_BYTES in right)
    assert part.pcm == best
    assert part.end_ms == frame * FRAME_MS
    assert not segments.wants_cut
    [rest] = segments.finish()
    assert part.pcm + rest.pcm == sound, "a sample was lost, or came twice"
    assert rest.start_ms == part.end_ms


def test_memory_is_bounded_by_the_open_utterance() -> None:
    segments = Segments(Loud())
    feed(segments, SILENCE * 60)
    assert len(segments._audio) < SECOND


def test_silence_that_goes_on_is_not_judged_and_costs_no_speech_after_it() -> None:
    class Counting(Loud):
        asked = 0

        def probability(self, frame: bytes) -> float:
            self.asked += 1
            return super().probability(frame)

    detector = Counting()
    segments = Segments(detector)
    assert feed(segments, SILENCE * 60) == []
    assert detector.asked == LEAD
    faint_noise = b"\x03\x00\xfc\xff" * (SECOND // 4)
    assert feed(segments, faint_noise * 10, position=60 * SECOND // 2) == []
    assert detector.asked == LEAD
    [segment] = feed(segments, SPEECH + SILENCE, position=70 * SECOND // 2)
    assert segment.pcm.count(SPEECH) == 1
    assert abs(segment.start_ms - 70_000) <= FRAME_MS
    assert detector.resets == 1, "what it remembers is a minute old"
