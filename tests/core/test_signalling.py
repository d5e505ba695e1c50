"""The machine that decides how a place in a room begins and ends: each cell of its table, and its clocks."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from glassbridge.core.machine import Cell, Ignored, missing_cells
from glassbridge.core.signalling import (
    EVENTS,
    MEDIA_SETTLE,
    PATIENT,
    TABLE,
    WAKE_SETTLE,
    Broke,
    Effect,
    End,
    Event,
    Joined,
    JoinStage,
    Leave,
    Left,
    Limits,
    MediaAlive,
    MediaLost,
    MediaReady,
    Pong,
    Ready,
    Refused,
    SendPing,
    Signalling,
    SocketEnded,
    Tick,
)
from glassbridge.core.values import LossReason
from tests.support.walk import walk

LIMITS = Limits(join=10.0, ping_interval=1.0, pong_timeout=2.5, media_timeout=3.5, loop_gap=10.0)
SAMPLES: dict[type, Event] = {
    Refused: Refused(LossReason.TOKEN_REFUSED, "no"),
    Joined: Joined("room"),
    MediaReady: MediaReady(),
    MediaAlive: MediaAlive(),
    MediaLost: MediaLost("the connection has failed"),
    Pong: Pong(),
    Left: Left(LossReason.SUPERSEDED, "the server says so"),
    SocketEnded: SocketEnded("close code 1006"),
    Broke: Broke("ValueError"),
    Leave: Leave(),
    Tick: Tick(),
}


def in_stage(stage: JoinStage, lag: Callable[[], float] = lambda: 0.0) -> Signalling:
    """A machine that came to `stage` at second 0."""
    machine = Signalling(LIMITS, 0.0, "room", lag)
    way: dict[JoinStage, list[Event]] = {
        JoinStage.CONNECTING: [],
        JoinStage.JOINING: [Joined("room")],
        JoinStage.JOINED: [Joined("room"), MediaReady()],
        JoinStage.SETTLING: [Joined("room"), MediaReady(), MediaLost("gone")],
        JoinStage.ENDED: [Leave()],
    }
    for event in way[stage]:
        machine.step(event, 0.0)
    assert machine.stage is stage
    machine.records.clear()
    return machine


def end(reason: LossReason, detail: str = "", *, say_leave: bool = True, unheard: float = 0.0) -> list[End]:
    return [End(reason, detail, say_leave, unheard)]


def run_until(machine: Signalling, until: float, answer: tuple[Event, ...] = ()) -> tuple[float, list[object]]:
    """Lets time pass in ticks; each ping is answered by `answer`. Returns when it ended, and what it then said."""
    while (due := machine.next_deadline()) is not None and due <= until:
        effects = machine.step(Tick(), due)
        if SendPing() in effects:
            for event in answer:
                machine.step(event, due + 0.01)
        elif effects:
            return due, list(effects)
    return until, []


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, JoinStage, EVENTS) == []
    assert set(SAMPLES) == set(EVENTS)


REFUSED = end(LossReason.TOKEN_REFUSED, "no", say_leave=False)
SUPERSEDED = end(LossReason.SUPERSEDED, "the server says so", say_leave=False)
SOCKET_LOST = end(LossReason.NETWORK, "close code 1006", say_leave=False)
BROKEN = end(LossReason.INTERNAL, "ValueError")
LEFT = end(LossReason.CLOSED)


@pytest.mark.parametrize(
    ("stage", "event", "effects", "after"),
    [
        (JoinStage.CONNECTING, Refused, REFUSED, JoinStage.ENDED),
        (JoinStage.CONNECTING, Joined, [], JoinStage.JOINING),
        (JoinStage.CONNECTING, Left, SUPERSEDED, JoinStage.ENDED),
        (JoinStage.CONNECTING, SocketEnded, SOCKET_LOST, JoinStage.ENDED),
        (JoinStage.CONNECTING, Broke, BROKEN, JoinStage.ENDED),
        (JoinStage.CONNECTING, Leave, LEFT, JoinStage.ENDED),
        (JoinStage.CONNECTING, Tick, [], JoinStage.CONNECTING),
        (JoinStage.JOINING, MediaReady, [Ready()], JoinStage.JOINED),
        (JoinStage.JOINING, MediaLost, [], JoinStage.SETTLING),
        (JoinStage.JOINING, Pong, [], JoinStage.JOINING),
        (JoinStage.JOINING, Left, SUPERSEDED, JoinStage.ENDED),
        (JoinStage.JOINING, SocketEnded, SOCKET_LOST, JoinStage.ENDED),
        (JoinStage.JOINING, Broke, BROKEN, JoinStage.ENDED),
        (JoinStage.JOINING, Leave, LEFT, JoinStage.ENDED),
        (JoinStage.JOINING, Tick, [], JoinStage.JOINING),
        (JoinStage.JOINED, MediaAlive, [], JoinStage.JOINED),
        (JoinStage.JOINED, MediaLost, [], JoinStage.SETTLING),
        (JoinStage.JOINED, Pong, [], JoinStage.JOINED),
        (JoinStage.JOINED, Left, SUPERSEDED, JoinStage.ENDED),
        (JoinStage.JOINED, SocketEnded, SOCKET_LOST, JoinStage.ENDED),
        (JoinStage.JOINED, Broke, BROKEN, JoinStage.ENDED),
        (JoinStage.JOINED, Leave, LEFT, JoinStage.ENDED),
        (JoinStage.JOINED, Tick, [], JoinStage.JOINED),
        (JoinStage.SETTLING, Left, SUPERSEDED, JoinStage.ENDED),
        (JoinStage.SETTLING, SocketEnded, end(LossReason.MEDIA_FAILED, "gone", say_leave=False), JoinStage.ENDED),
        (JoinStage.SETTLING, Broke, BROKEN, JoinStage.ENDED),
        (JoinStage.SETTLING, Leave, LEFT, JoinStage.ENDED),
        (JoinStage.SETTLING, Tick, [], JoinStage.SETTLING),
    ],
)
def test_cell(stage: JoinStage, event: type[Event], effects: list[object], after: JoinStage) -> None:
    machine = in_stage(stage)
    assert machine.step(SAMPLES[event], 0.05) == effects
    assert machine.stage is after
    changes = [(stage, event.__name__, after, 0.05)] if after is not stage else []
    assert [(r.old, r.event, r.new, r.at) for r in machine.records] == changes
    cell = TABLE[stage, event]
    assert isinstance(cell, Cell)
    assert after in cell.to
    assert (machine.next_deadline() is None) == (after is JoinStage.ENDED)


@pytest.mark.parametrize(
    ("stage", "event"), [(s, e) for (s, e), cell in TABLE.items() if isinstance(cell, Ignored)], ids=str
)
def test_ignored_cells_change_nothing(stage: JoinStage, event: type) -> None:
    machine = in_stage(stage)
    before = machine.next_deadline()
    assert machine.step(SAMPLES[event], 0.05) == []
    assert (machine.stage, machine.records, machine.next_deadline()) == (stage, [], before)


def test_a_token_of_another_room_is_not_ours_to_use() -> None:
    machine = Signalling(LIMITS, 0.0, "ours")
    assert machine.step(Joined("theirs"), 0.1) == end(LossReason.WRONG_ROOM, "it is for 'theirs'")


def test_a_token_that_does_not_let_us_hear_is_named_at_once() -> None:
    machine = Signalling(LIMITS, 0.0)
    expected = end(LossReason.TOKEN_REFUSED, "it does not allow to hear others in this room")
    assert machine.step(Joined("room", may_hear=False), 0.1) == expected


def test_any_room_will_do_when_none_is_expected() -> None:
    machine = Signalling(LIMITS, 0.0)
    machine.step(Joined("theirs"), 0.1)
    assert machine.stage is JoinStage.JOINING


@pytest.mark.parametrize(
    ("events", "reason"), [([], LossReason.UNREACHABLE), ([Joined("room")], LossReason.MEDIA_FAILED)]
)
def test_a_join_has_one_deadline_and_says_what_was_missing(events: list[Event], reason: LossReason) -> None:
    machine = Signalling(LIMITS, 100.0)
    for event in events:
        machine.step(event, 100.5)
    at, effects = run_until(machine, 200.0, answer=(Pong(),))
    assert (at, effects) == (110.0, end(reason, "not joined within 10 s"))


def test_a_joined_place_pings_each_second_and_lives_on_answers() -> None:
    machine = in_stage(JoinStage.JOINED)
    pings = []
    for second in range(1, 1200):
        due = machine.next_deadline()
        assert due is not None
        assert machine.step(Tick(), due) == [SendPing()]
        pings.append(due)
        machine.step(Pong(), due + 0.01)
        machine.step(MediaAlive(), due + 0.02)
        assert len(pings) == second
    assert pings == [float(second) for second in range(1, 1200)]


@pytest.mark.parametrize(
    ("answer", "at", "reason", "detail", "unheard"),
    [
        ((MediaAlive(),), 1.0 + PATIENT + 0.51, LossReason.NETWORK, "no pong for 10.5 s", 0.5),
        ((Pong(),), 3.5, LossReason.MEDIA_FAILED, "no sign of life for 3.5 s", 3.5),
        ((), 3.5, LossReason.NETWORK, "no pong for 2.5 s", 3.5),
    ],
)
def test_either_path_alone_can_die(
    answer: tuple[Event, ...], at: float, reason: LossReason, detail: str, unheard: float
) -> None:
    machine = in_stage(JoinStage.JOINED)
    ended, effects = run_until(machine, 60.0, answer)
    assert ended == pytest.approx(at)
    assert [replace(effect, unheard=round(effect.unheard, 3)) for effect in effects if isinstance(effect, End)] == end(
        reason, detail, unheard=unheard
    )


def test_a_sign_of_life_counts_from_when_it_came() -> None:
    """It may be told a second later: the path is dead 3.5 s after the sign, and nobody waits longer."""
    machine = in_stage(JoinStage.JOINED)
    for second in (1.0, 2.0):
        machine.step(Pong(), second)
        machine.step(MediaAlive(ago=0.9), second)
    ended, effects = run_until(machine, 60.0, (Pong(),))
    assert ended == pytest.approx(1.1 + 3.5)
    assert isinstance(effects[-1], End)


@pytest.mark.parametrize(("pong", "alive"), [(3.49, True), (3.51, False)])
def test_the_last_moment_for_a_pong(pong: float, alive: bool) -> None:
    """2.5 s after the first ping, which goes 1 s after the join."""
    machine = in_stage(JoinStage.JOINED)
    at, effects = run_until(machine, pong)
    if not effects:
        machine.step(Pong(), at)
    assert (machine.stage is JoinStage.JOINED) == alive


@pytest.mark.parametrize("trip", [0.05, 0.8, 2.05, 2.4])
def test_a_long_way_is_not_a_dead_one(trip: float) -> None:
    """Both paths answer each question, late."""
    machine = in_stage(JoinStage.JOINED)
    answers: list[tuple[float, Event]] = [(1.0 + trip, MediaAlive())]
    now = 0.0
    while now < 60.0:
        answers.sort(key=lambda answer: answer[0])
        due = machine.next_deadline()
        assert due is not None
        if answers and answers[0][0] <= due:
            now, event = answers.pop(0)
            machine.step(event, now)
            if isinstance(event, MediaAlive):
                answers.append((now + 1.0 + trip, MediaAlive()))
        else:
            now = due
            effects = machine.step(Tick(), now)
            assert effects in ([], [SendPing()]), f"at {now}"
            answers += [(now + trip, Pong())] if effects else []
    assert machine.stage is JoinStage.JOINED


def test_the_server_never_makes_a_loss_look_like_our_wish() -> None:
    machine = in_stage(JoinStage.JOINED)
    assert machine.step(Left(LossReason.CLOSED), 1.0) == end(LossReason.NETWORK, say_leave=False)


def answered_late(begun: float, more: float, heals: float) -> Callable[[float], float]:
    """When that is answered which was sent at a time: `more` seconds later between `begun` and `heals`."""
    return lambda sent: sent + (more if begun <= sent < heals else 0.05)


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("server", "link", "heals", "ends"),
    [(5.0, 5.0, 14.0, False), (99.0, 99.0, 14.0, False), (99.0, 99.0, 30.0, True), (99.0, 0.05, 30.0, True)],
)
def test_silence_says_nothing_of_the_server_where_the_owner_hears_nothing_either(
    phase: float, server: float, link: float, heals: float, ends: bool
) -> None:
    """From second 6 on all answers, those of the owner's other way, or only the server's are so many seconds late."""
    by_server, by_link = answered_late(6.0, server, heals), answered_late(6.0, link, heals)
    now = 0.0

    def lag() -> float:
        sent = [phase + number for number in range(-2, 40)]
        return now - max(at for at in sent if by_link(at) <= now)

    machine = in_stage(JoinStage.JOINED, lag)
    answers: list[tuple[float, Event]] = [(by_server(at / 10), MediaAlive()) for at in range(1, 400, 10)]
    over: list[Effect] = []
    while now < 30.0 and not over:
        now = min([machine.next_deadline() or 99.0, *(at for at, _ in answers)])
        due = [entry for entry in answers if entry[0] <= now]
        answers = [entry for entry in answers if entry[0] > now]
        steps = [effect for event in ([event for _, event in due] or [Tick()]) for effect in machine.step(event, now)]
        answers += [(by_server(now), Pong()) for effect in steps if effect == SendPing()]
        over = [effect for effect in steps if isinstance(effect, End)]
    assert bool(over) is ends
    if ends:
        assert now < (9.6 if link < 1.0 else 6.0 + PATIENT + 0.5), "and is not kept for ever"


def test_a_closed_media_path_waits_for_the_servers_word() -> None:
    machine = in_stage(JoinStage.JOINED)
    machine.step(MediaLost("the connection has closed"), 5.0)
    assert machine.step(Left(LossReason.REMOVED), 5.0 + MEDIA_SETTLE / 2) == end(LossReason.REMOVED, say_leave=False)


def test_a_failed_media_path_is_reported_when_the_server_says_nothing() -> None:
    machine = in_stage(JoinStage.JOINED)
    machine.step(MediaLost("the connection has failed"), 0.5)
    assert machine.next_deadline() == 0.5 + MEDIA_SETTLE
    assert machine.step(Tick(), 0.5 + MEDIA_SETTLE) == end(LossReason.MEDIA_FAILED, "the connection has failed")


@pytest.mark.parametrize("stalled", [0.2, 1.0, 2.4, 2.6, 3.1, 5.0, 9.9])
@pytest.mark.parametrize("begun", [0.05, 0.5, 0.95])
def test_standing_still_is_not_the_peers_silence(stalled: float, begun: float) -> None:
    machine = in_stage(JoinStage.JOINED)
    run_until(machine, 20 + begun, answer=(Pong(), MediaAlive()))
    woke = 20 + begun + stalled
    machine.step(Tick(), woke)
    assert machine.stage is JoinStage.JOINED
    # What waited in the socket is read only after the timers fired.
    machine.step(Pong(), woke + 0.05)
    machine.step(MediaAlive(), woke + 0.05)
    assert run_until(machine, woke + 30, answer=(Pong(), MediaAlive())) == (woke + 30, [])


@pytest.mark.parametrize("queued", [1, 50])
def test_a_stall_counts_once_however_many_events_have_queued_up(queued: int) -> None:
    machine = in_stage(JoinStage.JOINED)
    run_until(machine, 20.0, answer=(Pong(), MediaAlive()))
    for number in range(queued):
        machine.step(MediaAlive(), 25.0 + number / 10_000)
    at, effects = run_until(machine, 60.0)
    assert [effect for effect in effects if isinstance(effect, End)], "it ends"
    assert at < 25.0 + LIMITS.media_timeout + LIMITS.ping_interval


@pytest.mark.parametrize("stage", [JoinStage.JOINING, JoinStage.JOINED])
@pytest.mark.parametrize(("stalled", "goes"), [(10.9, False), (11.0, True), (30.0, True)])
def test_who_stood_still_too_long_leaves(stage: JoinStage, stalled: float, goes: bool) -> None:
    machine = Signalling(Limits(join=100.0), 0.0)
    machine.step(Joined("room"), 0.0)
    if stage is JoinStage.JOINED:
        machine.step(MediaReady(), 0.0)
    machine.step(Tick(), stalled)  # the ping was due at 1.0: so much of it is proven
    assert machine.stage is (JoinStage.SETTLING if goes else stage)
    if goes:
        at, effects = run_until(machine, stalled + 5)
        assert at == pytest.approx(stalled + WAKE_SETTLE)
        assert effects == end(LossReason.FROZEN, f"for {stalled - 1:.1f} s")


def test_who_wakes_superseded_says_so() -> None:
    machine = in_stage(JoinStage.JOINED)
    assert machine.step(Tick(), 30.0) == []
    assert machine.step(Left(LossReason.SUPERSEDED), 30.01) == end(LossReason.SUPERSEDED, say_leave=False)


def test_who_wakes_to_the_servers_word_at_once_says_so_too() -> None:
    machine = in_stage(JoinStage.JOINED)
    assert machine.step(Left(LossReason.SUPERSEDED), 30.0) == end(LossReason.SUPERSEDED, say_leave=False)


def test_who_wakes_to_an_ended_socket_was_frozen() -> None:
    machine = in_stage(JoinStage.JOINED)
    assert machine.step(SocketEnded(), 30.0) == end(LossReason.FROZEN, "for 29.0 s", say_leave=False)


@walk("seed", range(300))
def test_any_sequence_keeps_to_the_table(seed: int) -> None:
    """Random events at random times: every step lands where its cell says, and it ends at most once."""
    chance = random.Random(seed)
    machine = Signalling(LIMITS, 0.0, "room")
    now, ends = 0.0, 0
    for _ in range(80):
        now += chance.choice((0.0, 0.01, 0.4, 1.0, 2.6, 12.0))
        kind = chance.choices(EVENTS, weights=(1, 4, 4, 9, 1, 9, 1, 1, 1, 1, 20))[0]
        before = machine.stage
        effects = machine.step(SAMPLES[kind], now)
        for record in machine.records:
            assert record.old is before, f"seed {seed}"
            cell = TABLE[record.old, kind]
            standstill = record.event == "stall" and record.new is JoinStage.SETTLING
            assert standstill or (isinstance(cell, Cell) and record.new in cell.to), f"seed {seed}: {record}"
            before = record.new
        assert before is machine.stage, f"seed {seed}: a change without a record"
        machine.records.clear()
        ends += sum(isinstance(effect, End) for effect in effects)
        assert (machine.next_deadline() is None) == (machine.stage is JoinStage.ENDED), f"seed {seed}"
    assert ends == (machine.stage is JoinStage.ENDED), f"seed {seed}"
