"""The machine of one app: each cell of its table, its budgets at their edges, in virtual time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.app_session import (
    EVENTS,
    TABLE,
    Adopt,
    Announce,
    AppSession,
    AppState,
    Called,
    CallWebhook,
    Dispose,
    Doubt,
    Effect,
    Event,
    PhoneAway,
    PhoneBack,
    PhoneSpoke,
    Refuse,
    Released,
    SocketClosed,
    SocketOpened,
    Start,
    Stop,
    StopReason,
    Supersede,
    Tick,
)
from glassbridge.core.app_times import TIMES, WEBHOOKS
from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.session import SocketNumber

ONE, TWO, THREE = SocketNumber(1), SocketNumber(2), SocketNumber(3)
A = AppState
WAYS: dict[AppState, list[tuple[Event, float]]] = {
    A.ABSENT: [],
    A.STARTING: [(Start(), 0.0)],
    A.RUNNING: [(Start(), 0.0), (SocketOpened(ONE), 1.0)],
    A.GRACE: [(Start(), 0.0), (SocketOpened(ONE), 1.0), (SocketClosed(ONE), 100.0)],
    A.REVIVING: [(Start(), 0.0), (SocketOpened(ONE), 1.0), (SocketClosed(ONE), 100.0), (Tick(), 105.0)],
    A.PAUSED: [(Start(), 0.0), (SocketOpened(ONE), 1.0), (PhoneAway(), 50.0), (SocketClosed(ONE), 100.0)],
    A.STOPPED: [(Stop(StopReason.USER), 0.0)],
}


def in_state(state: AppState) -> AppSession:
    """An app that came to `state`; the socket it had is 1, lost at second 100."""
    app = AppSession(lambda: 0.5)
    for event, now in WAYS[state]:
        app.step(event, now)
    assert app.state is state
    app.records.clear()
    return app


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, AppState, EVENTS) == []


@pytest.mark.parametrize(
    ("state", "event", "now", "effects", "after"),
    [
        (A.ABSENT, Start(), 0.0, [Announce(A.STARTING), CallWebhook(1)], A.STARTING),
        (A.ABSENT, SocketOpened(ONE), 0.0, [Refuse(ONE)], A.ABSENT),
        (A.STARTING, SocketOpened(ONE), 1.0, [Adopt(ONE, resumed=False), Announce(A.RUNNING)], A.RUNNING),
        (A.STARTING, Stop(StopReason.USER), 1.0, [Dispose(StopReason.USER, None)], A.STOPPED),
        (A.STARTING, Tick(), TIMES.start - 0.1, [], A.STARTING),
        (A.STARTING, Tick(), TIMES.start, [Dispose(StopReason.NEVER_CAME, None)], A.STOPPED),
        (A.RUNNING, SocketOpened(TWO), 2.0, [Supersede(ONE), Adopt(TWO, resumed=True)], A.RUNNING),
        (A.RUNNING, SocketClosed(ONE), 2.0, [Announce(A.GRACE)], A.GRACE),
        (A.RUNNING, SocketClosed(TWO), 2.0, [], A.RUNNING),
        (A.RUNNING, SocketClosed(ONE, unseen=True), 2.0, [Announce(A.GRACE)], A.GRACE),
        (A.RUNNING, Stop(StopReason.SYSTEM), 2.0, [Dispose(StopReason.SYSTEM, ONE)], A.STOPPED),
        (A.GRACE, SocketOpened(TWO), 99.9 + TIMES.grace, [Adopt(TWO, resumed=True), Announce(A.RUNNING)], A.RUNNING),
        (A.GRACE, Tick(), 99.9 + TIMES.grace, [], A.GRACE),
        (A.GRACE, Tick(), 100.0 + TIMES.grace, [CallWebhook(2)], A.REVIVING),
        (A.GRACE, Start(), 101.0, [CallWebhook(2)], A.REVIVING),
        (A.GRACE, SocketClosed(ONE), 101.0, [], A.GRACE),
        (A.REVIVING, SocketOpened(TWO), 110.0, [Adopt(TWO, resumed=True), Announce(A.RUNNING)], A.RUNNING),
        (A.REVIVING, Start(), 110.0, [], A.REVIVING),
        (A.REVIVING, Tick(), 100.0 + TIMES.revival, [Dispose(StopReason.LOST, None)], A.STOPPED),
        (A.STARTING, PhoneAway(), 1.0, [Announce(A.PAUSED)], A.PAUSED),
        (A.GRACE, PhoneAway(), 101.0, [], A.PAUSED),
        (A.REVIVING, PhoneAway(), 110.0, [], A.PAUSED),
        (A.RUNNING, Released(ONE), 2.0, [Announce(A.GRACE)], A.GRACE),
        (A.RUNNING, Released(TWO), 2.0, [], A.RUNNING),
        (A.PAUSED, Tick(), 1e6, [], A.PAUSED),
        (A.PAUSED, PhoneBack(), 130.0, [CallWebhook(3)], A.REVIVING),
        (A.PAUSED, Start(), 130.0, [CallWebhook(3)], A.REVIVING),
        (A.PAUSED, SocketOpened(TWO), 130.0, [Adopt(TWO, resumed=True), Announce(A.RUNNING)], A.RUNNING),
        (A.PAUSED, Stop(StopReason.SYSTEM), 160.0, [Dispose(StopReason.ELSEWHERE, None)], A.STOPPED),
        (A.PAUSED, Stop(StopReason.USER), 160.0, [Dispose(StopReason.USER, None)], A.STOPPED),
        (A.STOPPED, SocketOpened(TWO), 1.0, [Refuse(TWO)], A.STOPPED),
        (A.STOPPED, Called(1, accepted=True), 1.0, [], A.STOPPED),
    ],
)
def test_cell(state: AppState, event: Event, now: float, effects: list[Effect], after: AppState) -> None:
    app = in_state(state)
    assert app.step(event, now) == effects
    assert app.state is after


def test_a_phone_that_comes_back_casts_doubt_on_a_socket_that_never_seemed_lost() -> None:
    app = in_state(A.RUNNING)
    assert app.step(PhoneBack(), 2.0) == [], "it was not away"
    assert app.step(PhoneAway(), 3.0) == []
    assert app.step(PhoneBack(), 40.0) == [Doubt(ONE)]
    assert app.step(SocketClosed(ONE), 42.0) == [Announce(A.GRACE)], "it is missed at once, not paused"


def test_a_webhook_without_a_socket_is_tried_again_and_late_answers_count_for_nothing() -> None:
    app = in_state(A.STARTING)
    assert app.next_deadline() == TIMES.start  # nothing but the budget while the call is under way
    assert app.step(Called(1, accepted=True), 1.0) == []
    assert app.next_deadline() == 1.0 + TIMES.connect
    assert app.step(Tick(), 1.0 + TIMES.connect) == [CallWebhook(2)]
    assert app.step(Called(1, accepted=False), 12.0) == []
    assert app.stale["Called"] == 1
    assert app.next_deadline() == TIMES.start


def test_a_key_that_is_refused_ends_a_start_and_nothing_else() -> None:
    app = in_state(A.STARTING)
    assert app.step(Called(1, accepted=False, refused=True), 1.0) == [Dispose(StopReason.WRONG_KEY, None)]
    app = in_state(A.REVIVING)
    assert app.step(Called(2, accepted=False, refused=True), 106.0) == []
    assert app.state is A.REVIVING


def test_a_lost_app_is_asked_for_longer_than_moving_a_server_takes() -> None:
    """Hazard L-11: the original gave up after 6.6 s, a server takes 25 s to move."""
    app = in_state(A.REVIVING)
    now, calls, gaps = 105.0, [105.0], []
    while not app.state.final:
        app.step(Called(len(calls) + 1, accepted=False), now)
        due = app.next_deadline()
        assert due is not None
        effects = app.step(Tick(), due)
        gaps.append(due - now)
        now = due
        calls += [now for effect in effects if isinstance(effect, CallWebhook)]
    assert now == 100.0 + TIMES.revival
    assert 15 < len(calls) < 60
    assert min(gaps[:-1]) > 0.4
    assert max(gaps) <= WEBHOOKS.cap


def test_an_app_that_comes_and_goes_has_one_budget_until_it_settles() -> None:
    app = in_state(A.GRACE)  # lost at 100
    number, now = 2, 101.0
    while now < 100.0 + TIMES.revival:
        app.step(SocketOpened(SocketNumber(number)), now)
        app.step(SocketClosed(SocketNumber(number)), now + 1.0)
        assert app.state is A.GRACE
        number, now = number + 1, now + 2.0
    assert app.step(Tick(), now) == [Dispose(StopReason.LOST, None)]

    app = in_state(A.GRACE)
    app.step(SocketOpened(TWO), 101.0)
    assert app.next_deadline() is None
    app.step(SocketClosed(TWO), 101.0 + TIMES.settled)
    app.step(Tick(), 101.0 + TIMES.settled + TIMES.grace)
    assert app.state is A.REVIVING
    assert app.step(Tick(), 101.0 + TIMES.settled + TIMES.revival) == [Dispose(StopReason.LOST, None)]


def test_an_app_that_changed_its_socket_before_the_loss_has_the_whole_budget() -> None:
    """Its server noticed a dead connection first, and came by another one; that one was lost soon after."""
    app = in_state(A.REVIVING)
    app.step(SocketOpened(TWO), 101.0)
    changed = 101.0 + 10 * TIMES.revival
    app.step(SocketOpened(THREE), changed)
    assert app.step(SocketClosed(THREE), changed + 1.0) == [Announce(A.GRACE)]
    assert app.next_deadline() == changed + 1.0 + TIMES.grace
    app.step(Tick(), changed + 1.0 + TIMES.grace)
    assert app.state is A.REVIVING


def test_an_app_lost_just_after_its_start_has_the_whole_budget() -> None:
    app = in_state(A.RUNNING)
    app.step(SocketClosed(ONE), 2.0)
    assert app.step(Tick(), TIMES.start + 1.0) == [CallWebhook(2)]
    assert app.state is A.REVIVING


def test_the_user_who_asks_again_does_not_wait() -> None:
    app = in_state(A.REVIVING)
    app.step(Called(2, accepted=False), 106.0)
    assert app.step(Start(), 106.1) == [CallWebhook(3)]
    app.step(Tick(), 100.0 + TIMES.revival)
    assert app.state is A.REVIVING


STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.just(Start()),
            st.sampled_from(StopReason).map(Stop),
            st.integers(1, 4).map(SocketNumber).map(SocketOpened),
            st.integers(1, 4).map(SocketNumber).map(SocketClosed),
            st.builds(Called, st.integers(0, 4), st.booleans()),
            st.just(Tick()),
        ),
        st.floats(0, 50),
    )
)


@given(STEPS, st.integers(0, 1 << 32))
def test_whatever_comes_it_stays_on_its_table_and_ends_once(steps: list[tuple[Event, float]], seed: int) -> None:
    app = AppSession(random.Random(seed).random)
    now, disposed, under_way = 0.0, 0, 0
    for event, gap in steps:
        now += gap
        before = app.state
        cell = TABLE[before, type(event)]
        effects = app.step(event, now)
        assert app.state in cell.to if isinstance(cell, Cell) else app.state is before
        disposed += sum(isinstance(effect, Dispose) for effect in effects)
        under_way = max([under_way, *(e.call for e in effects if isinstance(e, CallWebhook))])
        assert (app.socket is not None) == (app.state is A.RUNNING)
        assert (app.next_deadline() is None) == (app.state in (A.ABSENT, A.RUNNING, A.STOPPED))
    assert disposed == app.state.final


@pytest.mark.parametrize(("unseen", "waits"), [(False, TIMES.grace), (True, 0.0)])
def test_an_app_that_died_unseen_is_asked_at_once(unseen: bool, waits: float) -> None:
    app = in_state(A.RUNNING)
    assert app.step(SocketClosed(ONE, unseen), 50.0) == [Announce(A.GRACE)]
    assert app.next_deadline() == 50.0 + waits
    assert CallWebhook(2) in app.step(Tick(), 50.0 + waits)


@pytest.mark.parametrize("revived_at", [210.0, 218.0, 219.9])
@pytest.mark.parametrize("lasted", [0.5, 6.0, 29.9])
def test_an_app_that_is_lost_again_after_a_long_revival_gets_its_grace_again(revived_at: float, lasted: float) -> None:
    app = in_state(A.REVIVING)
    app.step(SocketOpened(TWO), revived_at)
    lost_at = revived_at + lasted
    assert app.step(SocketClosed(TWO), lost_at) == [Announce(A.GRACE)]
    deadline = app.next_deadline()
    assert deadline is not None
    assert deadline >= lost_at + TIMES.grace
    assert app.step(Tick(), lost_at + TIMES.grace - 0.1) == []
    assert app.step(SocketOpened(THREE), lost_at + TIMES.grace - 0.1) == [
        Adopt(THREE, resumed=True),
        Announce(A.RUNNING),
    ]


def test_grace_is_no_new_budget_for_an_app_that_comes_and_goes() -> None:
    app = in_state(A.REVIVING)
    app.step(SocketOpened(TWO), 219.0)
    app.step(SocketClosed(TWO), 230.0)
    assert app.step(Tick(), 230.0 + TIMES.grace) == [Dispose(StopReason.LOST, None)]


def test_an_app_that_went_to_another_cloud_is_left_there_longer_than_a_lost_phone_goes_unnoticed() -> None:
    app = in_state(A.RUNNING)
    app.step(Released(ONE), 100.0)
    assert app.step(SocketClosed(ONE), 100.1) == []
    assert app.next_deadline() == 100.0 + TIMES.elsewhere
    assert app.step(Tick(), 100.0 + TIMES.elsewhere) == [CallWebhook(2)]


def test_an_app_that_was_called_away_while_its_user_stayed_is_called_back() -> None:
    app = in_state(A.RUNNING)
    app.step(Released(ONE), 100.0)
    assert app.released
    assert app.step(PhoneSpoke(), 100.0 + TIMES.doubt - 0.1) == []  # said before it left, perhaps
    assert app.step(PhoneSpoke(), 100.0 + TIMES.doubt) == [CallWebhook(2)]
    assert app.state is A.REVIVING


def test_a_phone_that_never_met_its_app_gets_a_whole_start_when_it_is_back() -> None:
    app = in_state(A.STARTING)
    app.step(PhoneAway(), 10.0)
    assert app.next_deadline() is None
    assert app.step(PhoneBack(), 60.0) == [Announce(A.STARTING), CallWebhook(3)]
    assert app.step(Tick(), 60.0 + TIMES.start) == [Dispose(StopReason.NEVER_CAME, None)]


def test_a_webhook_under_way_when_the_phone_goes_counts_for_nothing() -> None:
    app = in_state(A.REVIVING)
    app.step(PhoneAway(), 110.0)
    assert app.step(Called(2, accepted=True), 111.0) == []
    assert app.next_deadline() is None
