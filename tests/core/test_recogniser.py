"""The machine of a recognition: each cell of its table, a rule for each reason, its edges in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.recogniser import (
    EVENTS,
    KEPT,
    TABLE,
    Audio,
    Close,
    Event,
    Fault,
    Feed,
    Healthy,
    Lost,
    Open,
    Opened,
    Reason,
    Recognition,
    RecognitionState,
    Release,
    Reopening,
    SpeechBegins,
    SpeechEnds,
    StreamTimes,
    Subscribed,
    Tick,
    Unsubscribed,
)

S = RecognitionState
TIMES = StreamTimes(linger=15.0, idle=30.0, settled=10.0, proven=1.0, longest=300.0)
WAYS: dict[RecognitionState, list[tuple[Event, float]]] = {
    S.UNWANTED: [],
    S.QUIET: [(Subscribed(), 0.0)],
    S.OPENING: [(Subscribed(), 0.0), (Audio(), 0.0)],
    S.LISTENING: [(Subscribed(), 0.0), (Audio(), 0.0), (Opened(1), 0.0)],
    S.WAITING: [(Subscribed(), 0.0), (Audio(), 0.0), (Lost(1, Reason.NETWORK), 0.0)],
    S.RESTING: [(Subscribed(), 0.0), (Audio(), 0.0), (Opened(1), 0.0), (Lost(1, Reason.SILENCE), 0.0)],
    S.REFUSED: [(Subscribed(), 0.0), (Audio(), 0.0), (Lost(1, Reason.UNAUTHORISED), 0.0)],
    S.ENDED: [(Close(), 0.0)],
}


def in_state(state: RecognitionState, chance: float = 1.0) -> Recognition:
    """A recognition that came to `state` at second 0, by stream 1 where there is one."""
    machine = Recognition(lambda: chance, TIMES)
    for event, now in WAYS[state]:
        machine.step(event, now)
    assert machine.state is state
    machine.records.clear()
    return machine


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, RecognitionState, EVENTS) == []


@pytest.mark.parametrize(
    ("state", "event", "now", "effects", "after"),
    [
        (S.UNWANTED, Audio(), 1.0, [], S.UNWANTED),
        (S.QUIET, Audio(), 1.0, [Open(1)], S.OPENING),
        (S.QUIET, SpeechBegins(), 1.0, [Open(1)], S.OPENING),
        (S.QUIET, Unsubscribed(), 1.0, [], S.UNWANTED),
        (S.OPENING, Opened(1), 1.0, [Feed(1)], S.LISTENING),
        (S.OPENING, Opened(0), 1.0, [Release(0, finish=False)], S.OPENING),
        (S.OPENING, Unsubscribed(), 1.0, [Release(1, finish=False)], S.UNWANTED),
        (S.OPENING, Lost(1, Reason.BUSY), 1.0, [Fault(Reason.BUSY, Reason.BUSY.text, refused=True)], S.WAITING),
        (S.LISTENING, Tick(), 29.9, [], S.LISTENING),
        (S.LISTENING, Tick(), 30.0, [Release(1, finish=True)], S.QUIET),
        (S.LISTENING, Unsubscribed(), 1.0, [Release(1, finish=False)], S.UNWANTED),
        (S.LISTENING, Close(), 1.0, [Release(1, finish=False)], S.ENDED),
        (S.LISTENING, Lost(0, Reason.NETWORK), 1.0, [], S.LISTENING),
        (S.LISTENING, Lost(1, Reason.NETWORK, "cut"), 1.0, [Fault(Reason.NETWORK, "cut", refused=False)], S.WAITING),
        (S.LISTENING, Lost(1, Reason.NORMAL), 1.0, [], S.RESTING),
        (S.LISTENING, Lost(1, Reason.SILENCE), 1.0, [], S.RESTING),
        (S.WAITING, Tick(), 0.4, [], S.WAITING),
        (S.WAITING, Tick(), 0.5, [Open(2)], S.OPENING),
        (S.WAITING, Unsubscribed(), 0.1, [Healthy()], S.UNWANTED),
        (S.RESTING, Audio(), 0.0, [Open(2)], S.OPENING),
        (S.RESTING, SpeechBegins(), 0.0, [Open(2)], S.OPENING),
        (S.REFUSED, Audio(), 1e6, [], S.REFUSED),
        (S.REFUSED, SpeechBegins(), 1e6, [], S.REFUSED),
        (S.ENDED, Opened(1), 1.0, [Release(1, finish=False)], S.ENDED),
    ],
)
def test_cells(
    state: RecognitionState, event: Event, now: float, effects: list[object], after: RecognitionState
) -> None:
    machine = in_state(state)
    assert (machine.step(event, now), machine.state) == (effects, after)


EXPECTED = {
    Reason.NORMAL: S.RESTING,
    Reason.SILENCE: S.RESTING,
    Reason.UNAUTHORISED: S.REFUSED,
    Reason.BAD_REQUEST: S.REFUSED,
    Reason.UNSUPPORTED: S.REFUSED,
    Reason.CLOSED: S.REFUSED,
}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_every_reason_has_its_rule(reason: Reason) -> None:
    machine = in_state(S.LISTENING)
    machine.step(Lost(1, reason), 1.0)
    assert machine.state is EXPECTED.get(reason, S.WAITING)
    deadline = machine.next_deadline()
    if reason.again is Reopening.SOON:
        assert deadline is not None
        assert deadline - 1.0 <= 0.5
    elif reason.again is Reopening.LATER:
        assert deadline is not None
        assert deadline - 1.0 <= 2.0
    else:
        assert deadline is None


def test_a_normal_close_is_not_made_good_while_the_same_speech_goes_on_but_nobody_is_deaf_for_ever() -> None:
    machine = in_state(S.LISTENING)
    machine.step(Lost(1, Reason.NORMAL), 1.0)
    assert machine.step(Audio(), 1.0 + TIMES.rest - 0.1) == []
    assert machine.step(Audio(), 1.0 + TIMES.rest) == [Open(2)]


def test_silence_that_is_punished_again_and_again_is_asked_for_ever_less_often() -> None:
    machine = in_state(S.LISTENING)
    now, last = 0.0, 0.0
    waits: list[float] = []
    while len(waits) < 8:
        machine.step(Lost(machine.stream, Reason.SILENCE), now)
        while machine.step(Audio(), now) == []:
            now += 0.05
        machine.step(Opened(machine.stream), now)
        waits.append(now - last)
        last = now
    assert waits[0] == 0.0
    assert waits[-1] == pytest.approx(8.0, abs=0.1)


def test_waits_grow_from_half_a_second_to_eight_and_a_stream_that_lasted_is_forgiven() -> None:
    machine, now, waits = in_state(S.LISTENING), 0.0, []
    for _ in range(8):
        machine.step(Lost(machine.stream, Reason.NETWORK), now)
        due = machine.next_deadline()
        assert due is not None
        waits.append(due - now)
        machine.step(Audio(), due)
        machine.step(Tick(), due)
        machine.step(Opened(machine.stream), due)
        now = due + 1.0
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0])
    machine.step(Lost(machine.stream, Reason.NETWORK), now + TIMES.settled)
    assert machine.next_deadline() == pytest.approx(now + TIMES.settled + 0.5)


def test_nobody_is_told_well_before_a_stream_is_proven() -> None:
    machine = in_state(S.WAITING)
    machine.step(Audio(), 0.5)
    machine.step(Tick(), 0.5)
    assert machine.step(Opened(2), 1.0) == [Feed(2)]
    assert machine.next_deadline() == 2.0
    assert machine.step(Tick(), 2.0) == [Healthy()]
    assert machine.step(Tick(), 2.1) == []


def test_what_was_just_said_is_still_recognised_after_a_loss_but_not_for_ever() -> None:
    machine = in_state(S.LISTENING, chance=0.99)
    machine.step(SpeechEnds(), 5.0)
    machine.step(Lost(1, Reason.NETWORK), 6.0)
    assert machine.step(Tick(), 6.6) == [Open(2)]
    machine.step(Lost(2, Reason.NETWORK), 5.0 + KEPT)
    assert machine.state is S.QUIET
    assert machine.step(Audio(), 20.0) == [Open(3)]


def test_an_old_stream_is_replaced_at_a_pause_or_at_the_latest_when_it_is_too_old() -> None:
    machine = in_state(S.LISTENING)
    machine.step(Tick(), 1.0)
    machine.step(SpeechEnds(), 149.0)
    assert machine.next_deadline() == 149.0 + TIMES.linger
    machine.step(Audio(), 151.0)
    machine.step(SpeechEnds(), 155.0)
    assert machine.step(Tick(), 155.0) == [Release(1, finish=True)]
    machine = in_state(S.LISTENING)
    machine.step(Tick(), 1.0)
    machine.step(Audio(), 299.0)
    assert machine.next_deadline() == 300.0
    assert machine.step(Tick(), 300.0) == [Release(1, finish=True), Open(2)]


def test_a_bad_request_after_long_good_work_was_the_cap() -> None:
    machine = in_state(S.LISTENING)
    machine.step(Audio(), 40.0)
    machine.step(Lost(1, Reason.BAD_REQUEST), 40.0)
    assert machine.state is S.WAITING


def test_who_subscribes_in_the_middle_of_a_speech_hears_at_once() -> None:
    machine = Recognition(lambda: 0.5, TIMES)
    machine.step(Audio(), 1.0)
    assert machine.step(Subscribed(), 2.0) == [Open(1)]
    machine = Recognition(lambda: 0.5, TIMES)
    machine.step(Audio(), 1.0)
    machine.step(SpeechEnds(), 2.0)
    assert machine.step(Subscribed(), 2.0 + KEPT) == []


EVENT = st.one_of(
    st.sampled_from([Subscribed(), Unsubscribed(), SpeechBegins(), Audio(), SpeechEnds(), Tick()]),
    st.builds(Opened, st.integers(0, 4)),
    st.builds(Lost, st.integers(0, 4), st.sampled_from(Reason)),
)


@given(st.lists(st.tuples(EVENT, st.floats(0.0, 20.0)), max_size=60), st.floats(0.0, 0.999))
def test_whatever_happens_streams_are_released_once_and_states_are_those_of_the_table(
    story: list[tuple[Event, float]], chance: float
) -> None:
    machine, now = Recognition(lambda: chance, TIMES), 0.0
    held: set[int] = set()
    for event, wait in [*story, (Close(), 0.0)]:
        now += wait
        cell, before = TABLE[machine.state, type(event)], machine.state
        effects = machine.step(event, now)
        if isinstance(cell, Cell):
            assert machine.state in cell.to
        else:
            assert machine.state is before
        if isinstance(event, Lost) and event.stream == machine.stream and before in (S.OPENING, S.LISTENING):
            held.discard(event.stream)
        for effect in effects:
            match effect:
                case Open(stream):
                    assert not held, "two streams at once"
                    held.add(stream)
                case Release(stream):
                    held.discard(stream)
        deadline = machine.next_deadline()
        assert deadline is None or deadline > now or machine.state in (S.LISTENING, S.WAITING)
        if machine.state in (S.UNWANTED, S.QUIET, S.WAITING, S.RESTING, S.REFUSED, S.ENDED):
            assert not held, "a stream is left"
