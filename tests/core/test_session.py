"""The session machine: each cell of its table, and the edges of its grace in virtual time."""

import random

import pytest

from glassbridge.core.machine import Cell, Ignored, missing_cells
from glassbridge.core.session import (
    EVENTS,
    TABLE,
    Adopt,
    Dispose,
    End,
    Event,
    Move,
    Refuse,
    Release,
    Session,
    SessionState,
    SocketClosed,
    SocketNumber,
    SocketOpened,
    Supersede,
    Taken,
    Tick,
)
from tests.support.walk import walk

ONE, TWO, THREE = SocketNumber(1), SocketNumber(2), SocketNumber(3)


def in_state(state: SessionState) -> Session:
    """A session that came to `state` by socket 1; in GRACE since second 0."""
    session = Session()
    way: dict[SessionState, list[Event]] = {
        SessionState.ABSENT: [],
        SessionState.ACTIVE: [SocketOpened(ONE)],
        SessionState.GRACE: [SocketOpened(ONE), SocketClosed(ONE)],
        SessionState.ENDED: [SocketOpened(ONE), End("test")],
        SessionState.MOVED: [SocketOpened(ONE), Taken()],
    }
    for event in way[state]:
        session.step(event, 0.0)
    assert session.state is state
    session.records.clear()
    return session


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, SessionState, EVENTS) == []


@pytest.mark.parametrize(
    ("state", "event", "now", "effects", "after"),
    [
        (SessionState.ABSENT, SocketOpened(ONE), 1.0, [Adopt(ONE, resumed=False)], SessionState.ACTIVE),
        (SessionState.ABSENT, End("stop"), 1.0, [Dispose("stop", None)], SessionState.ENDED),
        (SessionState.ACTIVE, SocketOpened(TWO), 1.0, [Supersede(ONE), Adopt(TWO, resumed=True)], SessionState.ACTIVE),
        (SessionState.ACTIVE, SocketClosed(ONE), 1.0, [Release()], SessionState.GRACE),
        (SessionState.ACTIVE, End("stop"), 1.0, [Dispose("stop", ONE)], SessionState.ENDED),
        (SessionState.GRACE, SocketOpened(TWO), 59.9, [Adopt(TWO, resumed=True)], SessionState.ACTIVE),
        (
            SessionState.GRACE,
            SocketOpened(TWO),
            60.0,
            [Dispose("grace is over", None), Refuse(TWO)],
            SessionState.ENDED,
        ),
        (
            SessionState.GRACE,
            SocketOpened(TWO),
            60.1,
            [Dispose("grace is over", None), Refuse(TWO)],
            SessionState.ENDED,
        ),
        (SessionState.ABSENT, Taken(), 1.0, [Move(None)], SessionState.MOVED),
        (SessionState.ACTIVE, Taken(), 1.0, [Move(ONE)], SessionState.MOVED),
        (SessionState.GRACE, Taken(), 1.0, [Move(None)], SessionState.MOVED),
        (SessionState.ENDED, Taken(), 1.0, [], SessionState.ENDED),
        (SessionState.MOVED, SocketOpened(TWO), 1.0, [Refuse(TWO)], SessionState.MOVED),
        (SessionState.MOVED, End("stop"), 1.0, [], SessionState.MOVED),
        (SessionState.MOVED, Taken(), 1.0, [], SessionState.MOVED),
        (SessionState.GRACE, Tick(), 59.9, [], SessionState.GRACE),
        (SessionState.GRACE, Tick(), 60.0, [Dispose("grace is over", None)], SessionState.ENDED),
        (SessionState.GRACE, Tick(), 60.1, [Dispose("grace is over", None)], SessionState.ENDED),
        (SessionState.GRACE, SocketClosed(ONE), 1.0, [], SessionState.GRACE),
        (SessionState.GRACE, End("stop"), 1.0, [Dispose("stop", None)], SessionState.ENDED),
        (SessionState.ENDED, SocketOpened(TWO), 1.0, [Refuse(TWO)], SessionState.ENDED),
    ],
)
def test_cell(state: SessionState, event: Event, now: float, effects: list[object], after: SessionState) -> None:
    session = in_state(state)
    assert session.step(event, now) == effects
    assert session.state is after
    changed = state is not after or Adopt in map(type, effects)
    assert [(r.old, r.new, r.at) for r in session.records] == ([(state, after, now)] if changed else [])


@pytest.mark.parametrize(
    ("state", "event"), [(s, e) for (s, e), cell in TABLE.items() if isinstance(cell, Ignored)], ids=str
)
def test_ignored_cells_change_nothing(state: SessionState, event: type) -> None:
    session = in_state(state)
    arguments = {SocketOpened: (TWO,), SocketClosed: (ONE,), End: ("late",), Taken: (), Tick: ()}[event]
    assert session.step(event(*arguments), 1000.0) == []
    assert session.state is state
    assert session.records == []


def test_the_late_close_of_a_superseded_socket_touches_nothing() -> None:
    session = in_state(SessionState.ACTIVE)
    session.step(SocketOpened(TWO), 1.0)
    assert session.step(SocketClosed(ONE), 2.0) == []
    assert (session.state, session.socket) == (SessionState.ACTIVE, TWO)
    assert session.next_deadline() is None
    assert session.stale == {"SocketClosed": 1}


def test_a_socket_that_overtakes_a_newer_one_is_the_one_to_go() -> None:
    session = in_state(SessionState.ACTIVE)
    session.step(SocketOpened(THREE), 1.0)
    assert session.step(SocketOpened(TWO), 1.1) == [Supersede(TWO)]
    assert session.socket == THREE


def test_grace_counts_from_the_last_close() -> None:
    session = in_state(SessionState.GRACE)
    session.step(SocketOpened(TWO), 59.9)
    assert session.next_deadline() is None
    session.step(SocketClosed(TWO), 100.0)
    assert session.next_deadline() == 160.0


@walk("seed", range(200))
def test_any_sequence_keeps_to_the_table(seed: int) -> None:
    """Random events at random times: every step lands where its cell says, one socket speaks, it ends once."""
    chance = random.Random(seed)
    session = Session()
    now, disposed = 0.0, 0
    for opened in range(1, 61):
        now += chance.choice((0.0, 0.03, 1.0, 30.0, 61.0))
        number = SocketNumber(chance.randint(max(1, opened - 3), opened))
        event: Event = chance.choice(
            (SocketOpened(SocketNumber(opened)), SocketClosed(number), Tick(), SocketClosed(number))
        )
        if chance.random() < 0.01:
            event = End("test")
        cell = TABLE[session.state, type(event)]
        effects = session.step(event, now)
        if isinstance(cell, Cell):
            assert session.state in cell.to, f"seed {seed}: {event}"
        disposed += sum(isinstance(effect, Dispose) for effect in effects)
        assert (session.socket is not None) == (session.state is SessionState.ACTIVE), f"seed {seed}"
        assert (session.next_deadline() is not None) == (session.state is SessionState.GRACE), f"seed {seed}"
    assert disposed == (session.state is SessionState.ENDED), f"seed {seed}"
