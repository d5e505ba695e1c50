"""Crowds, in virtual time (tests/speech/hall.py): who is understood, how late, and who is told that there is no room.
`pytest tests/speech/test_crowds.py -m "slow or not slow" -s` prints the figures."""

import asyncio
import random
import signal

import pytest

from tests.speech.hall import Hall, Machine, Person
from tests.support.virtual_time import virtual_time

THIRD, FIFTH = 1 / 3, 1 / 5
JOINING = 5.0
"""Seconds in which programs that start and phones that join take all processors."""


def hall(
    people: int, share: float, *, others: float = 0.8, rate: float = 0.022, gated: bool = False,
    begins: float | None = None, seed: int = 1,
) -> Hall:  # fmt: skip
    """So many people, beside programs that take so many of two processors. A second of speech costs `rate` seconds."""
    chance = random.Random(seed)
    machine = Machine(lambda now: 2.0 if now < JOINING else others, rate=rate)
    return Hall(machine, [Person(share, random.Random(chance.random()), gated, begins) for _ in range(people)])


def speak(hall: Hall, seconds: float, patch: pytest.MonkeyPatch, *, kill_at: float | None = None) -> None:
    async def kill() -> None:
        assert kill_at is not None
        await asyncio.sleep(kill_at)
        hall.processes[0].signal(signal.SIGKILL)

    with virtual_time() as loop:
        random.seed(1)
        loop.run_until_complete(hall.speak(seconds, patch, [] if kill_at is None else [kill()]))
    print(
        f"{len(hall.people)} x {hall.people[0].share:.2f}: {hall.captioned} captioned, {hall.refused} refused, "
        f"{hall.taken_away} taken away, finals p95 {hall.p95():.2f} s, at most {hall.latest:.2f} s"
    )


def all_are_served(hall: Hall, p95: float = 3.0) -> None:
    assert (hall.refused, hall.taken_away) == (0, 0)
    assert hall.captioned == len(hall.people)
    assert hall.p95() <= p95
    assert all(person.words_once_and_in_order for person in hall.people)


def test_forty_who_speak_a_third_of_the_time_are_all_served(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = hall(40, THIRD)
    speak(crowd, 50, monkeypatch)
    all_are_served(crowd, 1.0)


def test_a_process_that_is_killed_in_a_crowd_costs_nobody_a_word_or_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = hall(30, 1 / 2, gated=True)
    speak(crowd, 50, monkeypatch, kill_at=30.0)
    assert len(crowd.processes) == 3
    all_are_served(crowd)


def test_of_a_crowd_that_is_too_large_those_who_are_refused_are_told_and_nobody_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A word that is understood although its speaker was told that there is no room is not older than a moment."""
    crowd = hall(40, 1.0, others=1.2, rate=0.04)
    speak(crowd, 40, monkeypatch)
    assert crowd.refused > 0
    assert crowd.taken_away == 0
    assert crowd.captioned + crowd.refused >= 40
    assert crowd.p95() <= 3.0
    assert crowd.latest <= 5.0


@pytest.mark.slow
@pytest.mark.parametrize("gated", [False, True], ids=["silence is sent", "silence is not sent"])
@pytest.mark.parametrize(("others", "rate"), [(0.6, 0.022), (1.0, 0.022), (0.6, 0.035)])
@pytest.mark.parametrize(
    ("people", "share", "begins"),
    [
        (40, THIRD, None), (30, 1 / 2, None), (60, FIFTH, None), (12, 1.0, None), (16, 1.0, None),
        (40, THIRD, 20.0), (25, THIRD, 0.0),
    ],
)  # fmt: skip
def test_all_are_served(
    people: int, share: float, begins: float | None, others: float, rate: float, gated: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    crowd = hall(people, share, others=others, rate=rate, gated=gated, begins=begins)
    speak(crowd, 60, monkeypatch)
    crowd.people = [person for person in crowd.people if person.lags or person.refused]  # some never got to speak
    all_are_served(crowd)


@pytest.mark.slow
@pytest.mark.parametrize("people", [16, 40])
@pytest.mark.parametrize("rate", [0.022, 0.04])
def test_a_process_that_is_killed_takes_captions_from_nobody(
    people: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some had no room before. Those must not take the places of people who come back."""
    crowd = hall(people, 1.0, rate=rate)
    speak(crowd, 60, monkeypatch, kill_at=30.0)
    assert crowd.taken_away == 0
    assert crowd.p95() <= 3.0
