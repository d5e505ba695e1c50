"""What the process does with its audio, without the process: a decoder that writes down what it is given."""

import io
import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from glassbridge.speech.endpointing import FRAME_SAMPLES
from glassbridge.speech.pocketsphinx_model import PARTIAL_EVERY, PocketsphinxTranscriber
from glassbridge.speech.process_wire import FRAME, Answer, Finished, ProcessOrder, ProcessStatus, Ready, Said
from glassbridge.speech.worker import Listeners, serve


class Decoder:
    """Its text is the number of bytes that it heard in the utterance."""

    def __init__(self) -> None:
        self.utterances: list[bytes] = []
        self.open = False

    def start_utt(self) -> None:
        assert not self.open
        self.open = True
        self.utterances.append(b"")

    def process_raw(self, pcm: bytes) -> None:
        assert self.open
        if not pcm:
            raise IndexError("as the real one says")
        self.utterances[-1] += pcm

    def end_utt(self) -> None:
        assert self.open
        self.open = False

    def hyp(self) -> Any:
        return SimpleNamespace(hypstr=str(len(self.utterances[-1])))


class Loud:
    """A detector: what is not silence is speech."""

    def probability(self, frame: bytes) -> float:
        return float(frame.count(0) < len(frame) // 2)

    def reset(self) -> None: ...


def make() -> tuple[Decoder, PocketsphinxTranscriber]:
    decoder = Decoder()
    return decoder, PocketsphinxTranscriber(decoder, Loud())


SPEECH, SILENCE = b"\x11" * 64_000, bytes(64_000)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_fed_is_what_is_decoded_in_chunks_of_any_size(seed: int) -> None:
    random_ = random.Random(seed)
    decoder, listener = make()
    position, fed = 0, bytes(random_.randrange(1, 256) for _ in range(50_002))
    finals = []
    while position < len(fed) // 2:
        samples = random_.randrange(1, 3_000)
        chunk = fed[2 * position : 2 * (position + samples)]
        finals += [said for said in listener.feed(position, chunk) if said.final]
        position += len(chunk) // 2
    finals += listener.finish()
    assert b"".join(decoder.utterances) == fed, f"seed {seed}"
    assert [said.final for said in finals] == [True] * len(decoder.utterances)


def test_partials_come_every_320_ms_and_times_count_from_the_first_sample() -> None:
    _, listener = make()
    said = [*listener.feed(0, SILENCE + SPEECH + SILENCE)]
    partials, finals = [t for t in said if not t.final], [t for t in said if t.final]
    [final] = finals
    assert 2000 - 350 <= final.start_ms <= 2000
    assert 4000 <= final.end_ms <= 4000 + 620
    steps = [b.end_ms - a.end_ms for a, b in pairwise(partials)]
    assert set(steps) == {320}
    assert all(t.start_ms == final.start_ms for t in partials)


def test_a_gap_ends_the_utterance_and_moves_the_clock() -> None:
    decoder, listener = make()
    said = [*listener.feed(0, SPEECH), *listener.feed(16_000 * 60, SPEECH), *listener.finish()]
    first, second = [t for t in said if t.final]
    assert (first.start_ms, first.end_ms) == (0, 2000)
    assert (second.start_ms, second.end_ms) == (60_000, 62_000)
    assert decoder.utterances == [SPEECH, SPEECH]


def test_finish_in_silence_says_nothing_and_the_stream_goes_on() -> None:
    _, listener = make()
    assert [*listener.feed(0, SILENCE), *listener.finish()] == []
    assert [t.final for t in listener.feed(32_000, SPEECH)][-1] is False
    assert [t.final for t in listener.finish()] == [True]
    assert [*listener.finish()] == []


def test_speech_may_end_with_a_whole_frame() -> None:
    decoder, listener = make()
    whole = SPEECH[: FRAME_SAMPLES * 2 * 40]
    assert [t.final for t in [*listener.feed(0, whole), *listener.finish()]][-1] is True
    assert decoder.utterances == [whole]


def test_a_process_of_listeners_reads_frames_and_writes_lines_until_its_input_ends() -> None:
    _, listener = make()
    sound = SPEECH[: FRAME_SAMPLES * 2 * PARTIAL_EVERY * 2]
    frames = [(ProcessOrder.OPEN, b""), (ProcessOrder.AUDIO, sound), (ProcessOrder.FINISH, b"")]
    source = io.BytesIO(b"".join(FRAME.pack(order, 7, 0, len(pcm)) + pcm for order, pcm in frames) + b"cut")
    sink = io.BytesIO()
    serve(source, sink, Listeners(lambda: listener))
    first, *rest = [msgspec.json.decode(line, type=Answer) for line in sink.getvalue().splitlines()]
    assert isinstance(first, Ready)
    *said, finished = [answer for answer in rest if not isinstance(answer, ProcessStatus)]
    assert finished == Finished(7)
    transcripts = [answer.transcript for answer in said if isinstance(answer, Said) and answer.stream == 7]
    assert len(transcripts) == len(said)
    assert [transcript.final for transcript in transcripts][-2:] == [False, True]


def test_what_is_asked_of_a_stream_that_is_closed_is_ignored() -> None:
    listeners = Listeners(lambda: make()[1])
    for order in (ProcessOrder.OPEN, ProcessOrder.CLOSE, ProcessOrder.AUDIO, ProcessOrder.FINISH):
        assert list(listeners.obey(order, 1, 0, SPEECH)) == []
    [status] = listeners.review(0.0)
    assert isinstance(status, ProcessStatus)
    assert status.streams == 0
