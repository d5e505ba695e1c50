"""The gate of speech: each cell of its table, and what phones of all kinds do, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.speech_gate import (
    EVENTS,
    FLOWS,
    QUIET,
    TABLE,
    AllDelivered,
    Begins,
    Effect,
    Ends,
    Event,
    GateState,
    SamplesDelivered,
    Silent,
    Speaking,
    SpeechGate,
    Tick,
)

S = GateState


def play(gate: SpeechGate, *story: tuple[float, Event]) -> list[tuple[float, Effect]]:
    """Steps at the given seconds, ticks when they are due; the effects and when they came."""
    out: list[tuple[float, Effect]] = []
    for at, event in story:
        while (deadline := gate.next_deadline()) is not None and deadline <= at:
            out += [(round(deadline, 3), effect) for effect in gate.step(Tick(), deadline)]
        out += [(at, effect) for effect in gate.step(event, at)]
    while (deadline := gate.next_deadline()) is not None:
        out += [(round(deadline, 3), effect) for effect in gate.step(Tick(), deadline)]
    return out


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, GateState, EVENTS) == []


def test_who_never_says_anything_is_heard_always() -> None:
    gate = SpeechGate(0.0)
    assert play(gate, (1.0, SamplesDelivered()), (1000.0, SamplesDelivered())) == []
    assert gate.state.open


def test_speech_ends_with_the_last_numbered_sample() -> None:
    gate = SpeechGate(0.0)
    assert play(gate, (1.0, SamplesDelivered()), (1.1, Silent()), (1.2, SamplesDelivered()), (1.2, AllDelivered())) == [
        (1.2, Ends())
    ]
    assert play(gate, (9.0, Speaking()), (9.5, SamplesDelivered()), (10.0, AllDelivered())) == [
        (9.0, Begins()),
        (10.0, Ends()),
    ]


def test_without_numbers_it_ends_when_nothing_is_on_its_way() -> None:
    gate = SpeechGate(0.0)
    assert play(gate, (1.0, SamplesDelivered()), (1.1, Silent()), (1.5, SamplesDelivered())) == [(1.5 + QUIET, Ends())]
    assert gate.state is S.OVER


def test_a_pause_is_not_the_end() -> None:
    gate = SpeechGate(0.0)
    assert play(gate, (1.0, SamplesDelivered()), (1.1, Silent()), (1.2, Speaking()), (5.0, SamplesDelivered())) == []


def flow(start: float, seconds: float, *, late: bool = False) -> list[tuple[float, Event]]:
    return [(start + n / 10, SamplesDelivered(late)) for n in range(round(seconds * 10))]


def test_silence_that_flows_on_is_not_let_through() -> None:
    gate = SpeechGate(0.0)
    assert play(gate, *flow(0.0, 1.0), (1.0, Silent()), *flow(1.0, 9.0)) == [(1.0 + FLOWS, Ends())]
    assert gate.state is S.SILENCE
    assert not gate.state.open
    assert play(gate, (10.0, Speaking())) == [(10.0, Begins())]
    assert gate.state.open


def test_what_is_sent_again_is_never_silence() -> None:
    gate = SpeechGate(0.0)
    sent: list[tuple[float, Event]] = [
        (1.0, Silent()),
        (20.0, SamplesDelivered(late=True)),
        *flow(20.1, 8.0, late=True),
        (28.1, AllDelivered()),
    ]
    assert play(gate, *sent) == [(1.0, Ends()), (20.0, Begins()), (28.1, Ends())]


def test_after_a_pause_silence_is_looked_at_again() -> None:
    gate = SpeechGate(0.0)
    play(gate, *flow(0.0, 1.0), (1.0, Silent()), *flow(1.0, 5.0))
    assert gate.state is S.SILENCE
    assert play(gate, (7.0, SamplesDelivered())) == [(7.0, Begins()), (7.0 + QUIET, Ends())]


EVENT = st.one_of(
    st.sampled_from([Speaking(), Silent(), AllDelivered(), Tick()]), st.builds(SamplesDelivered, st.booleans())
)


@given(st.lists(st.tuples(EVENT, st.floats(0.0, 5.0)), max_size=50))
def test_begins_and_ends_alternate(story: list[tuple[Event, float]]) -> None:
    gate, now, speaking = SpeechGate(0.0), 0.0, True
    for event, wait in story:
        now += wait
        cell = TABLE[gate.state, type(event)]
        for effect in gate.step(event, now):
            assert speaking is isinstance(effect, Ends)
            speaking = isinstance(effect, Begins)
        if isinstance(cell, Cell):
            assert gate.state in cell.to


@pytest.mark.parametrize("state", S)
def test_only_flowing_silence_is_shut_out(state: GateState) -> None:
    assert state.open is (state is not S.SILENCE)
