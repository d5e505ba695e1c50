"""What comes late is understood in its place: holes at random, sent again at random times, in virtual time."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from glassbridge.cloud.audio import Microphone
from glassbridge.cloud.hearing import Hearing
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.speech.base import Recogniser, Transcript, Want
from glassbridge.speech.mending import MOST_TEXT, Finals
from glassbridge.speech.supervisor import Speech
from glassbridge.wire.audio_frames import FLAG_LAST, FLAG_PRESENCE, FLAG_REPLAYED, FrameNumber
from tests.speech.reading import Reader, Trouble, spoken
from tests.support.virtual_time import virtual_time

MS = 100
RUNS = 40
EPOCH = 9
Text = list[tuple[int, int]]


@dataclass
class Replay:
    """Frames that are lost at first, and when they are sent again: seconds after the first one behind them."""

    frames: range
    after: float
    pace: float
    """Seconds between two frames that are sent again."""
    shuffled: bool = False
    left_out: int = 0
    """The last so many never come."""


@dataclass
class Listening:
    """A session's microphone and hearing, and what came of it."""

    reader: Recogniser
    heard: list[Transcript] = field(default_factory=list)
    fed: int = 0
    """At the end."""

    def __post_init__(self) -> None:
        self.transcripts = Transcripts()
        self.hearing = Hearing(
            Speech(self.reader),
            Want("en-US"),
            self._understand,
            lambda _fault, _captions: None,
            lambda _slow: None,
            lambda: None,
            lambda: self.microphone.catches_up,
            asyncio.get_running_loop().time,
        )
        self.microphone = Microphone(lambda _: None, self.hearing.all_heard, understands=lambda: self.hearing)
        self.microphone.reached(numbered=True)

    def _understand(self, said: Transcript, _asked: frozenset[Want]) -> None:
        self.heard.append(said)
        if said.final and said.text:
            assert said.id is not None
            self.transcripts.add(
                said.text, ["en-US"], said.start_ms, said.end_ms, id=said.id, replaces=said.replaces,
                in_place=said.inserts is not None,
            )  # fmt: skip

    def send(self, sound: bytes, index: int, flags: int = 0, epoch: int = EPOCH, first: int = 0) -> None:
        number = FrameNumber(epoch, (index - first) * MS * 16, index * MS * 1_000, flags)
        pcm = b"" if flags & FLAG_PRESENCE else sound[index * MS * BYTES_PER_MS : (index + 1) * MS * BYTES_PER_MS]
        self.microphone.take_numbered(number, pcm, AudioRoute.SOCKET)

    async def end(self) -> list[str]:
        await asyncio.sleep(1.0)
        assert await self.hearing.finish()
        self.fed = self.hearing.fed
        self.microphone.close()
        await self.hearing.close()
        return " ".join(one.text for one in self.transcripts.find(0.0, float("inf"), None)).split()


async def listen(text: Text, replays: list[Replay], reader: Reader, chance: random.Random, *, told: bool) -> Listening:
    """The text at the pace of speech, while what is missing is sent again. `told`: the phone says where it begins."""
    sound, loop = spoken(text), asyncio.get_running_loop()
    frames = len(sound) // BYTES_PER_MS // MS
    lost = {index for replay in replays for index in replay.frames}
    listening = Listening(reader)
    if told:
        listening.send(sound, 0, FLAG_PRESENCE | FLAG_REPLAYED)
    begun = loop.time()
    sending = []

    async def send_again(replay: Replay) -> None:
        await asyncio.sleep(max(0.0, begun + replay.frames.stop * MS / 1000 - loop.time()) + replay.after)
        again = list(replay.frames)[: len(replay.frames) - replay.left_out]
        if replay.shuffled:
            chance.shuffle(again)
        for index in again:
            listening.send(sound, index, FLAG_REPLAYED)
            await asyncio.sleep(replay.pace)

    for replay in replays:
        sending.append(asyncio.ensure_future(send_again(replay)))
    for index in range(frames):
        await asyncio.sleep(max(0.0, begun + (index + 1) * MS / 1000 - loop.time()))
        if index not in lost:
            listening.send(sound, index)
    listening.send(sound, frames, FLAG_PRESENCE | FLAG_LAST)
    for task in sending:
        await task
    return listening


def words(text: Text) -> list[str]:
    return [str(word) for word in range(1, 1 + sum(count for count, _ in text))]


def play(
    text: Text, replays: list[Replay], reader: Reader, seed: int = 0, *, told: bool = False
) -> tuple[list[str], Listening]:
    async def run() -> tuple[list[str], Listening]:
        listening = await listen(text, replays, reader, random.Random(seed), told=told)
        return await listening.end(), listening

    with virtual_time() as loop:
        random.seed(seed)
        return loop.run_until_complete(run())


def test_a_recogniser_that_says_too_much_about_a_stretch_is_not_kept() -> None:
    """Partial transcripts were kept until the end, and final ones without a bound: 6 MB in one session."""
    finals = Finals()
    for _ in range(100):
        finals.add(Transcript("word " * 5_000, False, 0, 1))
        finals.add(Transcript("word " * 5_000, True, 0, 1))
    finals.add(Transcript("end", True, 1, 2))
    assert len(finals) == 1 + MOST_TEXT // 25_000
    assert finals[-1].text == "end"
    assert all(said.final for said in finals)


@pytest.mark.parametrize("after", [0.5, 1.6, 3.0, 10.0, 40.0])
def test_a_hole_of_30_s_is_whole_however_late_the_replay_begins(after: float) -> None:
    text = [(8, 900), (3, 700), (11, 1_500), (5, 800), (12, 2_000), (2, 1_200), (9, 700), (6, 1_500)] * 4
    reader = Reader("reader")
    got, listening = play(text, [Replay(range(203, 503), after, 0.02)], reader)
    assert got == words(text)
    assert listening.fed == reader.fed


@pytest.mark.parametrize("begins", [0, 1, 7])
def test_a_hole_at_the_beginning_is_filled_in_its_place(begins: int) -> None:
    """The phone said where its audio begins, and then its first words were lost."""
    text = [(8, 900), (3, 700), (11, 1_500), (5, 800), (12, 2_000), (2, 1_200)] * 2
    got, _ = play(text, [Replay(range(begins, 150), 6.0, 0.02)], Reader("reader"), told=True)
    assert got == words(text)


@pytest.mark.parametrize("seed", range(RUNS))
def test_holes_at_random_and_replays_at_random(seed: int) -> None:
    chance = random.Random(seed)
    text = [(chance.randint(1, 12), chance.choice([550, 700, 1_200, 2_500, 6_000])) for _ in range(14)]
    frames = len(spoken(text)) // BYTES_PER_MS // MS
    replays, at = [], chance.choice([0, chance.randint(1, 60)])
    while at < frames - 20:
        length = min(chance.choice([1, 3, 8, 15, 40, 120]), frames - 20 - at)
        after = chance.choice([0.3, 1.4, 1.7, 2.5, 6.0, 15.0])
        replays.append(
            Replay(range(at, at + length), after, chance.choice([0.0, 0.01, 0.05, 0.1]), chance.random() < 0.3)
        )
        at += length + chance.choice([3, 20, 80, 200])
    troubles: list[Trouble | None] = [None, *(chance.choice([None, Trouble(chance.uniform(1, 9))]) for _ in range(2))]
    reader = Reader("reader", chance.choice([0.1, 0.6]), troubles if chance.random() < 0.3 else [], watched=6.0)
    got, listening = play(text, replays, reader, seed, told=chance.random() < 0.5)
    assert got == words(text), (
        seed,
        text,
        replays,
        [(s.text, s.start_ms, s.replaces) for s in listening.heard if s.final],
    )


@pytest.mark.parametrize("late", [0.0, 4.0])
def test_the_end_of_a_former_epoch_and_the_beginning_of_a_new_one_come_late(late: float) -> None:
    """The phone began to count anew within a word, and sends the frames around that again."""
    text = [(6, 900), (9, 1_500), (7, 600), (8, 800), (3, 900)]
    sound, new = spoken(text), 65
    frames = len(sound) // BYTES_PER_MS // MS

    async def run() -> tuple[list[str], list[Transcript]]:
        listening = Listening(Reader("reader"))

        def send(index: int, flags: int = 0) -> None:
            if index < new:
                listening.send(sound, index, flags)
            else:
                listening.send(sound, index, flags, EPOCH + 1, new - 10)

        for index in (*range(60), *range(new + 4, new + 60)):
            send(index)
            await asyncio.sleep(MS / 1000)
        await asyncio.sleep(late)
        for index in range(60, new + 4):
            send(index, FLAG_REPLAYED)
        for index in range(new + 60, frames):
            send(index)
            await asyncio.sleep(MS / 1000)
        send(frames, FLAG_PRESENCE | FLAG_LAST)
        return await listening.end(), listening.heard

    with virtual_time() as loop:
        got, heard = loop.run_until_complete(run())
    assert got == words(text), [(said.text, said.start_ms, said.replaces) for said in heard if said.final]


def test_what_stays_missing_spoils_nothing_else() -> None:
    text = [(8, 900), (6, 700), (7, 1_500), (5, 800), (6, 1_000)]
    got, listening = play(text, [Replay(range(41, 61), 3.0, 0.01, left_out=10)], Reader("reader"))
    assert [word for word in got if word not in words(text)] == ["12(240", "ms)"]
    assert [word for word in words(text) if word not in got] == ["12", "13", "14"]
    inserted = [said for said in listening.heard if said.inserts]
    assert [said.inserts for said in inserted] == ["9-10040"]
    assert inserted[0].replaces


def test_two_languages_are_mended_each_by_itself() -> None:
    """A translation stands beside the captions."""
    text = [(8, 900), (6, 700), (7, 1_500), (5, 800), (6, 1_000)]

    async def run() -> list[Transcript]:
        listening = Listening(Reader("reader"))
        listening.hearing.subscribe([Want("en-US", "es-ES")])
        sound = spoken(text)
        for index in range(len(sound) // BYTES_PER_MS // MS):
            if index not in range(41, 61):
                listening.send(sound, index)
            await asyncio.sleep(MS / 1000)
        for index in range(41, 61):
            listening.send(sound, index, FLAG_REPLAYED)
        listening.send(sound, len(sound) // BYTES_PER_MS // MS, FLAG_PRESENCE | FLAG_LAST)
        await listening.end()
        return [said for said in listening.heard if said.final]

    with virtual_time() as loop:
        said = loop.run_until_complete(run())
    ids = [one.id for one in said]
    assert len(ids) == len(set(ids))
    mended = [one for one in said if one.inserts]
    assert len(mended) == 2
    assert not {*mended[0].replaces} & {*mended[1].replaces}
    assert all({*one.replaces} < {*ids} for one in mended)
