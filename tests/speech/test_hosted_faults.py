"""A hosted recogniser that fails in each way, 20 runs each in virtual time, beside the same reading without the fault:
no word is lost or said twice, captions are there again within 2 s, and the hosted one is back at a pause.
tests/speech/test_standby.py has the same on real sockets. `pytest tests/speech/test_hosted_faults.py -m slow -s` prints
the figures."""

import asyncio
import random
from itertools import pairwise

import pytest

from glassbridge.core import standby as rules
from glassbridge.core.recogniser import Reason
from glassbridge.core.spoken import Piece
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.standby import StandbyRecogniser
from glassbridge.speech.supervisor import Speech
from tests.speech.reading import Reader, Trouble, spoken
from tests.support.poll import stays
from tests.support.virtual_time import virtual_time

RUNS = 20
SENTENCES = [(8, 900), (3, 700), (11, 1_500), (5, 800), (12, 2_000), (2, 1_200), (9, 700), (6, 1_500)] * 2
WORDS = [str(word) for word in range(1, 1 + sum(count for count, _ in SENTENCES))]
SOUND = spoken(SENTENCES)
CHUNK_MS = 100
STAYS_AWAY = ("does not answer", "refused (401)")
"""A stream is waited for 60 s here; a key that is refused is never tried again."""
WITHIN = 2.0
"""Seconds from the moment at which a fault can be known."""
FAULTS: dict[str, tuple[Trouble, float]] = {
    "frozen": (Trouble(1.0), rules.LATE),
    "20 s late": (Trouble(1.0, slow=20.0), rules.LATE),
    "cannot be reached": (Trouble(0.0, Reason.NETWORK), 0.0),
    "does not answer": (Trouble(0.0), rules.PATIENCE),
    "refused (401)": (Trouble(0.0, Reason.UNAUTHORISED), 0.0),
    "refused (429)": (Trouble(0.0, Reason.TOO_MANY), 0.0),
    "429 in the middle": (Trouble(1.0, Reason.TOO_MANY), 0.0),
    "closed in the middle (1000)": (Trouble(1.0, Reason.NORMAL), 0.0),
    "closed in the middle (1006)": (Trouble(1.0, Reason.NETWORK), 0.0),
}
"""What becomes of its stream, and the seconds until that can be known."""


def read(trouble: Trouble | None, seed: int) -> list[tuple[float, Transcript]]:
    """What is heard of it, with the seconds since the beginning."""
    heard: list[tuple[float, Transcript]] = []

    async def speak() -> None:
        recogniser = StandbyRecogniser(Reader("hosted", troubles=[trouble]), Reader("offline", delay=0.2, watched=6.0))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ear = Ear(
            Speech(recogniser),
            Want("en-US"),
            lambda said: heard.append((loop.time() - begun, said)),
            lambda _fault: None,
        )
        for at in range(0, len(SOUND) // BYTES_PER_MS, CHUNK_MS):
            pcm = SOUND[at * BYTES_PER_MS : (at + CHUNK_MS) * BYTES_PER_MS]
            ear.put(Piece(at * BYTES_PER_MS // 2, pcm, loop.time()))
            await asyncio.sleep(CHUNK_MS / 1000)
        ear.ends()
        await ear.finish()
        whole = len(heard)
        await stays(lambda: len(heard) == whole or f"after the end came {heard[whole:]}", 1.0)
        await ear.close()
        await recogniser.close()

    with virtual_time() as loop:
        random.seed(seed)
        loop.run_until_complete(speak())
    return heard


def words(heard: list[tuple[float, Transcript]]) -> list[str]:
    return " ".join(said.text for _, said in heard if said.final).split()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_twenty_times_the_words_are_those_of_the_reading_without_the_fault(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "HELD", 8.0)
    trouble, known_after = FAULTS[fault]
    whole = words(read(None, 0))
    assert whole == WORDS
    slowest = 0.0
    for seed in range(RUNS):
        chance = random.Random(seed)
        one = Trouble(chance.uniform(0.5, 18.0), trouble.reason, trouble.slow) if trouble.after else trouble
        heard = read(one, seed)
        assert words(heard) == whole, (seed, one)
        finals = [said for _, said in heard if said.final and said.text]
        assert all(before.end_ms <= after.start_ms for before, after in pairwise(finals)), (seed, one)
        begun = one.after if one.after else finals[0].start_ms / 1000
        first = next(at for at, said in heard if said.provider == "offline")
        slowest = max(slowest, first - begun - known_after)
        providers = [said.provider for said in finals]
        if fault not in STAYS_AWAY:
            assert providers[-1] == "hosted", (seed, one, "it is not back")
    print(f"{fault}: {RUNS} runs, {len(whole)} words each; first of the offline one after {slowest:.2f} s at most")
    assert slowest <= WITHIN
