"""Batches, waits, halves: what the outbox decides, in virtual time."""

import random
from collections import deque

import pytest

from glassbridge.core.backoff import Ladder
from glassbridge.core.machine import missing_cells
from glassbridge.core.outbox import (
    EVENTS,
    LONGEST_REQUEST,
    TABLE,
    Answered,
    Close,
    Effect,
    Ended,
    Event,
    Forget,
    GiveUp,
    Outbox,
    OutboxState,
    Send,
    SinkVerdict,
    TellRefused,
    Tick,
    Waiting,
    verdict,
)
from tests.support.walk import walk

NO_ANSWER = None


def outbox(**options: float) -> Outbox:
    return Outbox(lambda: 1.0, batch=10, every=5.0, ladder=Ladder(**{"base": 1.0, "cap": 4.0} | options))


def sending(lines: int = 10) -> Outbox:
    box = outbox()
    box.step(Waiting(lines), 0.0)
    if lines < 10:
        box.step(Tick(), 5.0)
    assert box.state is OutboxState.SENDING
    return box


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, OutboxState, EVENTS) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, SinkVerdict.TAKEN),
        (202, SinkVerdict.TAKEN),
        (NO_ANSWER, SinkVerdict.LATER),
        (408, SinkVerdict.LATER),
        (429, SinkVerdict.LATER),
        (500, SinkVerdict.LATER),
        (503, SinkVerdict.LATER),
        (401, SinkVerdict.REFUSED),
        (403, SinkVerdict.REFUSED),
        (413, SinkVerdict.TOO_MUCH),
        (400, SinkVerdict.TOO_MUCH),
        (100, SinkVerdict.LATER),
        (301, SinkVerdict.LATER),
        (304, SinkVerdict.LATER),
        (308, SinkVerdict.LATER),
    ],
)
def test_verdicts(status: int | None, expected: SinkVerdict) -> None:
    assert verdict(status) is expected


def test_a_full_batch_goes_at_once() -> None:
    box = outbox()
    assert box.step(Waiting(9), 0.0) == []
    assert box.step(Waiting(10), 0.1) == [Send(10)]


def test_a_lone_line_goes_after_five_seconds_and_others_do_not_put_it_off() -> None:
    box = outbox()
    assert box.step(Waiting(1), 100.0) == []
    assert box.step(Waiting(2), 104.0) == []
    assert box.next_deadline() == 105.0
    assert box.step(Tick(), 105.0) == [Send(10)]


def test_one_batch_at_a_time() -> None:
    box = sending()
    assert box.step(Waiting(500), 0.1) == []
    assert box.step(Answered(202, 10), 0.2) == [Forget(), Send(10)]


def test_the_rest_is_gathered_anew() -> None:
    box = sending()
    box.step(Waiting(12), 0.1)
    assert box.step(Answered(202, 10), 0.2) == [Forget()]
    assert (box.state, box.waiting, box.next_deadline()) == (OutboxState.GATHERING, 2, 5.2)


@pytest.mark.parametrize("status", [NO_ANSWER, 500, 429])
def test_an_outage_is_waited_out_longer_and_longer_and_forgets_nothing(status: int | None) -> None:
    box, now, waits = sending(), 0.0, []
    for _ in range(5):
        assert box.step(Answered(status, 10), now) == []
        deadline = box.next_deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
        assert box.step(Tick(), now) == [Send(10)]
    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert box.step(Answered(202, 10), now) == [Forget()]
    box.step(Waiting(10), now)
    box.step(Answered(500, 10), now)
    assert box.next_deadline() == now + 1.0, "success begins the ladder anew"


@walk("status", range(100, 600))
def test_only_what_the_rule_names_is_ever_given_up(status: int) -> None:
    box = sending(lines=1)
    given_up = [effect for effect in box.step(Answered(status, 1), 6.0) if isinstance(effect, GiveUp)]
    named = 400 <= status < 500 and status not in (401, 403, 408, 425, 429)
    assert bool(given_up) == named


def test_a_sink_may_ask_for_time_but_not_for_ever() -> None:
    box = sending()
    box.step(Answered(429, 10, wait=30.0), 0.0)
    assert box.next_deadline() == 30.0
    box.step(Tick(), 30.0)
    box.step(Answered(503, 10, wait=1e9), 30.0)
    assert box.next_deadline() == 30.0 + LONGEST_REQUEST


def test_too_large_halves_until_the_one_line_is_found_and_sizes_grow_back() -> None:
    """Ten lines, of which the fourth is never taken."""
    box = outbox()
    lines = deque("aaaXaaaaaa")
    taken, given_up, sizes = 0, 0, list[int]()
    effects: deque[Effect] = deque(box.step(Waiting(len(lines)), 0.0))
    sent = 0
    while effects or box.next_deadline() is not None:
        effect = effects.popleft() if effects else None
        match effect:
            case Send(most):
                sent = min(most, len(lines))
                sizes.append(sent)
                status = 413 if "X" in list(lines)[:sent] else 202
                effects += box.step(Answered(status, sent), 0.0)
            case Forget():
                taken += sent
                for _ in range(sent):
                    lines.popleft()
            case GiveUp(status):
                assert status == 413
                given_up += 1
                assert lines.popleft() == "X"
            case None:
                effects += box.step(Tick(), 99.0)
    assert (taken, given_up, len(lines)) == (9, 1, 0)
    assert sizes[:4] == [10, 5, 2, 4]
    assert box._most > 1


def test_a_refused_token_is_told_once_and_everything_is_kept() -> None:
    box = sending()
    assert box.step(Answered(403, 10), 0.0) == [TellRefused(403)]
    for _ in range(3):
        assert box.step(Tick(), 0.0) == [Send(10)]
        assert box.step(Answered(403, 10), 0.0) == []
    box.step(Tick(), 0.0)
    assert box.step(Answered(202, 10), 0.0) == [Forget()]
    box.step(Waiting(10), 0.0)
    assert box.step(Answered(403, 10), 0.0) == [TellRefused(403)], "another refusal is news again"


def test_the_end_sends_everything_without_delay() -> None:
    box = outbox()
    box.step(Waiting(13), 0.0)
    box = outbox()
    box.step(Waiting(3), 0.0)
    assert box.step(Close(), 0.1) == [Send(10)]
    box.step(Waiting(5), 0.2)
    assert box.step(Answered(202, 3), 0.3) == [Forget(), Send(10)]
    assert box.step(Answered(202, 2), 0.4) == [Forget(), Ended()]
    assert box.state is OutboxState.CLOSED


@pytest.mark.parametrize("status", [NO_ANSWER, 403, 500])
def test_the_end_does_not_wait_for_a_sink_that_is_down(status: int | None) -> None:
    box = sending()
    assert box.step(Close(), 0.0) == []
    assert box.step(Answered(status, 10), 0.0)[-1] == Ended()


def test_an_empty_one_ends_at_once() -> None:
    assert outbox().step(Close(), 0.0) == [Ended()]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_at_most_one_batch_is_on_its_way_and_none_is_forgotten_unanswered(seed: int) -> None:
    chance = random.Random(seed)
    box = Outbox(chance.random, batch=4)
    flying, now = 0, 0.0
    for _ in range(300):
        now += chance.random()
        events: list[Event] = [Waiting(chance.randrange(9)), Tick(), Answered(chance.choice([202, 500, 413, 403]), 2)]
        event = chance.choice(events)
        answers = isinstance(event, Answered)
        if answers and not flying:
            continue
        flying -= answers
        effects = box.step(event, now)
        assert answers or not any(isinstance(effect, Forget | GiveUp) for effect in effects), f"seed {seed}"
        flying += sum(isinstance(effect, Send) for effect in effects)
        assert flying in (0, 1), f"seed {seed}"
        assert flying == box.state.asks, f"seed {seed}"
        box.records.clear()
