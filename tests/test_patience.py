"""Deadlines of tests follow the machine; here its slowness is made up."""

import asyncio
from time import monotonic

import pytest

from tests.support import patience
from tests.support.patience import BETWEEN, RECENT, REMEMBERED, Patience, deadline, patient, slowness, soon
from tests.support.poll import eventually


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times slower than a quiet machine, and just measured."""
    monkeypatch.setattr(patience, "_measured", [(monotonic(), 4.0)])


def test_a_machine_is_as_slow_as_it_was_at_worst_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    now = monotonic()
    monkeypatch.setattr(patience, "_measured", [(now - REMEMBERED - 1, 99.0), (now - 20.0, 6.0), (now - 10.0, 1.5)])
    assert 6.0 <= slowness() < 99.0, "the first one is forgotten, a new one is taken"
    assert len(patience._measured) == 3


def test_it_is_measured_again_when_the_last_time_is_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_measured", [(monotonic() - (RECENT + BETWEEN) / 2, 2.0)])
    assert slowness(BETWEEN) == 2.0
    assert len(patience._measured) == 1, "good enough to begin a test"
    slowness()
    assert len(patience._measured) == 2, "not to end a wait"


@pytest.mark.usefixtures("slow")
def test_what_takes_a_second_may_take_four() -> None:
    assert patient(1.0) >= 4.0
    waiting = Patience(0.0)
    assert waiting.left <= 0, "no time at all is none on any machine"


@pytest.mark.usefixtures("slow")
async def test_a_deadline_ends_what_hangs_and_not_what_is_slow() -> None:
    assert await soon(asyncio.sleep(0.15, "done"), 0.1) == "done"
    begun = monotonic()
    with pytest.raises(TimeoutError):
        async with deadline(0.05):
            await asyncio.Event().wait()
    assert 0.2 <= monotonic() - begun < patient(2.0)
    with pytest.raises(AssertionError, match=r"not within 0\.05 s .*never"):
        await eventually(lambda: "never", 0.05)
