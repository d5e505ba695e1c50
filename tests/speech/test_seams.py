"""Every word once and in order, whatever becomes of the recognisers: seams of streams, of engines and of pauses, in
virtual time."""

import asyncio
import random
from itertools import pairwise

import pytest

from glassbridge.core import standby as rules
from glassbridge.core.recogniser import Reason, Reopening
from glassbridge.core.spoken import Piece
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.speech.base import Recogniser, Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.standby import StandbyRecogniser
from glassbridge.speech.supervisor import Speech
from tests.speech.reading import Reader, Trouble, spoken
from tests.support.virtual_time import virtual_time

CHUNK_MS = 100
BREAKS = [reason for reason in Reason if reason.again in (Reopening.SOON, Reopening.LATER)]
RUNS = 25


async def listen(speech: Speech, sound: bytes, gated: list[tuple[int, int]]) -> list[Transcript]:
    """What an ear makes of it, at the pace of speech; in the `gated` milliseconds nobody speaks, as the phone says."""
    heard: list[Transcript] = []
    ear = Ear(speech, Want("en-US"), heard.append, lambda _fault: None)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    silent = False
    finishing: list[asyncio.Task[bool]] = []
    for at in range(0, len(sound) // BYTES_PER_MS, CHUNK_MS):
        pcm = sound[at * BYTES_PER_MS : (at + CHUNK_MS) * BYTES_PER_MS]
        piece = Piece(at * BYTES_PER_MS // 2, pcm, loop.time())
        is_silent = any(begin <= at and at + CHUNK_MS <= end for begin, end in gated)
        if is_silent and not silent:
            ear.ends()
            finishing.append(asyncio.ensure_future(ear.finish()))
        if silent and not is_silent:
            ear.begins(piece.start)
        silent = is_silent
        if is_silent:
            ear.pass_by(piece)
        else:
            ear.put(piece)
        await asyncio.sleep(max(0.0, begun + (at + CHUNK_MS) / 1000 - loop.time()))
    ear.ends()
    for task in finishing:
        await task
    await ear.finish()
    await asyncio.sleep(1.0)
    await ear.close()
    return heard


def check(heard: list[Transcript], words: int, story: object) -> None:
    finals = [said for said in heard if said.final and said.text]
    got = " ".join(said.text for said in finals).split()
    assert got == [str(word) for word in range(1, words + 1)], (story, [(s.provider, s.text) for s in finals])
    for before, after in pairwise(finals):
        assert before.end_ms <= after.start_ms, (story, before, after)


def play(
    recogniser: Recogniser, sentences: list[tuple[int, int]], gates: bool, seed: int, story: object
) -> list[Transcript]:
    at, gated = 0, []
    for words, pause in sentences:
        at += words * 360
        if gates and pause >= 3_000:
            gated.append((at + 700, at + pause - 300))
        at += pause
    with virtual_time() as loop:
        random.seed(seed)
        heard = loop.run_until_complete(listen(Speech(recogniser), spoken(sentences), gated))
    check(heard, sum(words for words, _ in sentences), story)
    return heard


def a_text(chance: random.Random, count: int) -> list[tuple[int, int]]:
    """Sentences as people say them; some pauses are long."""
    return [(chance.randint(1, 12), chance.choice([600, 800, 1_200, 2_000, 5_000, 9_000])) for _ in range(count)]


@pytest.mark.parametrize("seed", range(RUNS))
def test_the_offline_one_dies_or_freezes(seed: int) -> None:
    chance = random.Random(seed)
    sentences = a_text(chance, 8)
    troubles: list[Trouble | None] = [
        Trouble(chance.uniform(0.2, 15.0), chance.choice([Reason.CRASHED, None])) for _ in range(2)
    ]
    troubles.insert(1, None)
    gates = chance.random() < 0.5
    story = (seed, sentences, list(troubles), gates)
    play(Reader("offline", troubles=troubles, watched=6.0), sentences, gates, seed, story)


@pytest.mark.parametrize("seed", range(RUNS))
def test_the_hosted_one_fails_and_comes_back(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "HELD", 4.0)
    chance = random.Random(seed)
    sentences = a_text(chance, 14)
    troubles: list[Trouble | None] = []
    for _ in range(3):
        kind = chance.choice(["break", "freeze", "slow", "refuse", "hang", "fine"])
        after = chance.uniform(0.2, 12.0)
        troubles.append(
            {
                "break": Trouble(after, chance.choice([*BREAKS, Reason.NORMAL, Reason.SILENCE])),
                "freeze": Trouble(after),
                "slow": Trouble(after, slow=20.0),
                "refuse": Trouble(0.0, chance.choice(BREAKS)),
                "hang": Trouble(0.0),
                "fine": None,
            }[kind]
        )
    gates = chance.random() < 0.5
    story = (seed, sentences, list(troubles), gates)
    hosted = Reader("hosted", delay=chance.choice([0.2, 0.6]), troubles=troubles)
    offline = Reader("offline", delay=chance.choice([0.1, 0.5]), watched=6.0)
    if chance.random() < 0.3:
        offline.troubles = [Trouble(chance.uniform(0.2, 12.0), chance.choice([Reason.CRASHED, None]))]
    play(StandbyRecogniser(hosted, offline), sentences, gates, seed, story)
