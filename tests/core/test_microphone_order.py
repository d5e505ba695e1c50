"""What the phone's microphone is told: each cell, and the harm that the rules are there to prevent, in virtual time."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.microphone_order import (
    EVENTS,
    HOLD,
    HUSH,
    REPEAT,
    SETTLE,
    TABLE,
    AudioReceived,
    Effect,
    Event,
    MicrophoneOrder,
    Needed,
    OrderState,
    PhoneCame,
    PhoneWent,
    SwitchOff,
    SwitchOn,
    Tick,
)

ON, OFF = Needed(True), Needed(False)


def play(order: MicrophoneOrder, *story: tuple[float, Event], until: float = 0.0) -> list[tuple[float, Effect]]:
    """Steps at the given seconds, ticks when they are due; the effects and when they came."""
    out: list[tuple[float, Effect]] = []

    def tick_until(at: float) -> None:
        while (deadline := order.next_deadline()) is not None and deadline <= at:
            out.extend((deadline, effect) for effect in order.step(Tick(), deadline))

    for at, event in story:
        tick_until(at)
        out += [(at, effect) for effect in order.step(event, at)]
    tick_until(until)
    return out


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, OrderState, EVENTS) == []


def test_it_is_on_at_once_and_said_again_and_again() -> None:
    order = MicrophoneOrder(ON)
    assert play(order, (0.0, PhoneCame()), until=2 * REPEAT) == [
        (0.0, SwitchOn()), (REPEAT, SwitchOn()), (2 * REPEAT, SwitchOn()),
    ]  # fmt: skip


def test_changes_are_told_at_once_and_then_not_too_often() -> None:
    order = MicrophoneOrder(ON)
    raw, plain = Needed(True, raw=True), Needed(True)
    said = play(order, (0.0, PhoneCame()), (5.0, raw), (5.2, plain), (5.4, raw), (5.6, plain), until=7.0)
    assert said == [(0.0, SwitchOn()), (5.0, SwitchOn(raw=True)), (6.0, SwitchOn())]


def test_nobody_needs_it_any_more() -> None:
    order = MicrophoneOrder(ON)
    said = play(order, (0.0, PhoneCame()), (9.0, OFF), until=60.0)
    assert said == [(0.0, SwitchOn()), (9.0 + HOLD, SwitchOff())]
    assert play(order, (70.0, ON), until=70.0) == [(70.0, SwitchOn())]


def test_an_app_that_comes_back_in_time_switches_nothing_off() -> None:
    order = MicrophoneOrder(ON)
    story: list[tuple[float, Event]] = [(0.0, PhoneCame())]
    for n in range(20):
        story += [(10.0 + 3 * n, OFF), (12.5 + 3 * n, ON)]
    assert SwitchOff() not in [effect for _, effect in play(order, *story, until=100.0)]


def test_nothing_is_switched_off_right_after_a_phone_came_back() -> None:
    order = MicrophoneOrder(OFF)
    assert play(order, (0.0, PhoneCame()), (1.0, AudioReceived()), until=20.0) == [(SETTLE, SwitchOff())]
    assert play(order, (30.0, PhoneWent()), (31.0, PhoneCame()), (34.0, ON), until=34.0) == [(34.0, SwitchOn())]


def test_one_that_sends_all_the_same_is_told_again_now_and_then() -> None:
    order = MicrophoneOrder(OFF)
    story: list[tuple[float, Event]] = [(0.0, PhoneCame()), *((n / 10, AudioReceived()) for n in range(1, 200))]
    said = [at for at, effect in play(order, *story) if effect == SwitchOff()]
    assert said[0] == SETTLE
    assert all(HUSH <= b - a < HUSH + 0.2 for a, b in pairwise(said))


EVENT = st.one_of(
    st.sampled_from([PhoneCame(), PhoneWent(), AudioReceived(), Tick()]),
    st.builds(Needed, st.booleans(), st.booleans()),
)


@given(st.lists(st.tuples(EVENT, st.floats(0.0, 8.0)), max_size=50))
def test_off_is_never_said_in_a_hurry_and_states_are_those_of_the_table(story: list[tuple[Event, float]]) -> None:
    order, now, came, needed = MicrophoneOrder(OFF), 0.0, -100.0, False
    for event, wait in story:
        now += wait
        cell = TABLE[order.state, type(event)]
        if isinstance(event, PhoneCame):
            came = now
        if isinstance(event, Needed):
            needed = event.on
        for effect in order.step(event, now):
            if effect == SwitchOff():
                assert not needed
                assert now >= came + SETTLE
        if isinstance(cell, Cell):
            assert order.state in cell.to
