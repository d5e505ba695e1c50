"""The audio link: each cell of its table, its clocks in virtual time, and that it never lies."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from glassbridge.core.audio_link import (
    EVENTS,
    SETTLED,
    SILENCE,
    TABLE,
    AskStatus,
    AudioLink,
    Away,
    BridgeBack,
    BridgeFault,
    Effect,
    Event,
    Heard,
    Join,
    Joined,
    JoinFailed,
    Leave,
    LinkState,
    Microphone,
    Notice,
    Notify,
    Path,
    Status,
    StreamBroke,
    Tick,
    Unwanted,
    Voice,
    Wanted,
)
from glassbridge.core.machine import Cell, Ignored, missing_cells
from glassbridge.core.values import AudioState, Generation, LossReason

FIRST = Generation(100)
G1, G2, G3 = Generation(101), Generation(102), Generation(103)
OLD_PHONE = Wanted(room=True, numbers=False)
OUR_PHONE = Wanted(room=True, numbers=True)
BY_SOCKET = Wanted(room=False, numbers=False)


def link(chance: Callable[[], float] = lambda: 0.5) -> AudioLink:
    return AudioLink(FIRST, chance)


def heard(generation: Generation = G1, path: Path = Path.ROOM, numbered: bool = False) -> Heard:
    return Heard(path, generation, numbered)


WAYS: dict[LinkState, list[Event]] = {
    LinkState.IDLE: [],
    LinkState.JOINING: [OUR_PHONE],
    LinkState.AWAITING_AUDIO: [OUR_PHONE, Joined(G1)],
    LinkState.LIVE: [OUR_PHONE, Joined(G1), heard()],
    LinkState.INTERRUPTED: [OUR_PHONE, Joined(G1), Tick()],
    LinkState.BACKING_OFF: [OUR_PHONE, JoinFailed(G1, LossReason.UNREACHABLE)],
    LinkState.HELD: [OUR_PHONE, Joined(G1), Away()],
}


def in_state(state: LinkState) -> AudioLink:
    """A link of one of our phones that came to `state` at second 0."""
    machine = link()
    for event in WAYS[state]:
        machine.step(event, 0.0 if state is not LinkState.INTERRUPTED or event == Tick() else -SILENCE)
    assert machine.state is state
    machine.records.clear()
    return machine


def example(event: type, generation: Generation) -> Event:
    """An event of this kind that carries the current generation."""
    examples: dict[type, Event] = {
        Wanted: OUR_PHONE,
        Away: Away(),
        Unwanted: Unwanted(),
        Joined: Joined(generation),
        JoinFailed: JoinFailed(generation, LossReason.TIMED_OUT),
        StreamBroke: StreamBroke(generation, LossReason.NETWORK),
        Status: Status(generation, LossReason.SUPERSEDED),
        BridgeBack: BridgeBack(),
        Heard: heard(generation),
        Microphone: Microphone(on=False),
        Voice: Voice(speaking=True),
        Tick: Tick(),
    }
    return examples[event]


def notices(effects: list[Effect]) -> list[tuple[AudioState, str]]:
    return [(e.notice.state, e.notice.code) for e in effects if isinstance(e, Notify)]


def doings(effects: list[Effect]) -> list[Effect]:
    return [e for e in effects if not isinstance(e, Notify)]


# ---- the table


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, LinkState, EVENTS) == []


@pytest.mark.parametrize(("state", "event"), TABLE, ids=str)
def test_every_cell_lands_where_it_says(state: LinkState, event: type) -> None:
    machine = in_state(state)
    cell = TABLE[state, event]
    effects = machine.step(example(event, machine.generation), 1.0)
    if isinstance(cell, Ignored):
        assert (machine.state, doings(effects)) == (state, [])
    else:
        assert machine.state in cell.to
    assert all(record.old is state for record in machine.records[:1])


@pytest.mark.parametrize(
    ("state", "event", "doing", "after"),
    [
        (LinkState.IDLE, OLD_PHONE, [Join(G1)], LinkState.JOINING),
        (LinkState.IDLE, BY_SOCKET, [], LinkState.IDLE),
        (LinkState.IDLE, Joined(FIRST), [Leave(FIRST)], LinkState.IDLE),
        (LinkState.JOINING, OUR_PHONE, [], LinkState.JOINING),
        (LinkState.JOINING, Joined(G1), [], LinkState.AWAITING_AUDIO),
        (LinkState.JOINING, JoinFailed(G1, LossReason.TIMED_OUT), [], LinkState.BACKING_OFF),
        (LinkState.JOINING, Away(), [Leave(G1)], LinkState.IDLE),
        (LinkState.JOINING, Unwanted(), [Leave(G1)], LinkState.IDLE),
        (LinkState.AWAITING_AUDIO, heard(), [], LinkState.LIVE),
        (LinkState.AWAITING_AUDIO, OUR_PHONE, [AskStatus(G1)], LinkState.AWAITING_AUDIO),
        (LinkState.AWAITING_AUDIO, Status(G1, None), [], LinkState.AWAITING_AUDIO),
        (LinkState.AWAITING_AUDIO, Status(G1, LossReason.SUPERSEDED), [], LinkState.BACKING_OFF),
        (LinkState.AWAITING_AUDIO, StreamBroke(G1, LossReason.NETWORK), [], LinkState.BACKING_OFF),
        (LinkState.LIVE, OUR_PHONE, [AskStatus(G1)], LinkState.AWAITING_AUDIO),
        (LinkState.LIVE, Away(), [], LinkState.HELD),
        (LinkState.LIVE, Unwanted(), [Leave(G1)], LinkState.IDLE),
        (LinkState.LIVE, Status(G1, LossReason.SUPERSEDED), [], LinkState.LIVE),
        (LinkState.INTERRUPTED, heard(), [], LinkState.LIVE),
        (LinkState.INTERRUPTED, OUR_PHONE, [AskStatus(G1)], LinkState.AWAITING_AUDIO),
        (LinkState.INTERRUPTED, StreamBroke(G1, LossReason.NETWORK), [], LinkState.BACKING_OFF),
        (LinkState.INTERRUPTED, Tick(), [Join(G2)], LinkState.JOINING),
        (LinkState.BACKING_OFF, OUR_PHONE, [Join(G2)], LinkState.JOINING),
        (LinkState.BACKING_OFF, Away(), [Leave(G1)], LinkState.IDLE),
        (LinkState.BACKING_OFF, Tick(), [Join(G2)], LinkState.JOINING),
        (LinkState.HELD, OUR_PHONE, [AskStatus(G1)], LinkState.AWAITING_AUDIO),
        (LinkState.HELD, StreamBroke(G1, LossReason.SUPERSEDED), [], LinkState.IDLE),
        (LinkState.HELD, Unwanted(), [Leave(G1)], LinkState.IDLE),
    ],
)
def test_cell(state: LinkState, event: Event, doing: list[Effect], after: LinkState) -> None:
    machine = in_state(state)
    assert doings(machine.step(event, 1.0)) == doing
    assert machine.state is after


# ---- the first way to audio, and what the phone is told


def test_what_is_told_from_the_ack_to_live() -> None:
    machine = link()
    told = [
        notices(machine.step(event, now))
        for event, now in ((OLD_PHONE, 0.0), (Joined(G1), 0.1), (heard(), 0.2), (heard(), 0.3))
    ]
    assert told == [
        [(AudioState.CONNECTING, "joining")],
        [(AudioState.CONNECTING, "awaiting_audio")],
        [(AudioState.LIVE, "")],
        [],
    ]


def test_a_join_proves_nothing() -> None:
    machine = link()
    machine.step(OLD_PHONE, 0.0)
    effects = machine.step(Joined(G1), 0.1) + machine.step(Tick(), 3600.0)
    assert (AudioState.LIVE, "") not in notices(effects)


def test_each_socket_of_the_phone_is_told_and_must_prove_anew() -> None:
    machine = in_state(LinkState.LIVE)
    assert notices(machine.step(OUR_PHONE, 1.0)) == [(AudioState.CONNECTING, "awaiting_audio")]
    assert notices(machine.step(heard(), 1.1)) == [(AudioState.LIVE, "")]


def test_nobody_is_told_anything_while_the_phone_is_away() -> None:
    machine = in_state(LinkState.LIVE)
    assert machine.step(Away(), 1.0) == []
    assert machine.next_deadline() is None
    assert machine.step(StreamBroke(G1, LossReason.SUPERSEDED), 2.0) == []


# ---- the ladder


def test_the_first_rejoin_is_at_once_and_then_they_wait_and_never_end() -> None:
    machine = in_state(LinkState.LIVE)
    now = SETTLED
    assert doings(machine.step(StreamBroke(G1, LossReason.NETWORK), now)) == [Join(G2)]
    waits = []
    for attempt in range(300):
        effects = machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), now)
        due = machine.next_deadline()
        assert due is not None
        assert notices(effects) == [(AudioState.UNAVAILABLE, "unreachable")], f"attempt {attempt}"
        waits.append(due - now)
        assert machine.step(Tick(), due - 0.01) == []
        assert doings(machine.step(Tick(), due)) == [Join(machine.generation)]
        now = due
    assert waits[:5] == pytest.approx([0.25, 0.5, 1.0, 2.0, 3.5])
    assert max(waits) == pytest.approx(3.5)


@pytest.mark.parametrize(("lived", "at_once"), [(SETTLED - 0.1, False), (SETTLED, True)])
def test_only_audio_that_stayed_makes_the_next_join_a_first_one(lived: float, at_once: bool) -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(StreamBroke(G1, LossReason.SUPERSEDED), SETTLED)
    machine.step(Joined(G2), SETTLED)
    machine.step(heard(G2), SETTLED)
    effects = machine.step(StreamBroke(G2, LossReason.SUPERSEDED), SETTLED + lived)
    assert (doings(effects) == [Join(G3)]) is at_once


def test_a_loss_is_told_with_its_reason_and_when_the_next_attempt_is() -> None:
    machine = in_state(LinkState.AWAITING_AUDIO)
    (effect,) = machine.step(StreamBroke(G1, LossReason.SUPERSEDED), 10.0)
    assert effect == Notify(
        Notice(
            AudioState.INTERRUPTED,
            "superseded",
            LossReason.SUPERSEDED.text,
            retry_at=10.25,
            path=Path.SOCKET,
        )
    )


def test_the_news_of_a_loss_stays_until_the_way_is_built() -> None:
    machine = in_state(LinkState.LIVE)
    assert notices(machine.step(StreamBroke(G1, LossReason.NETWORK), SETTLED)) == [(AudioState.INTERRUPTED, "network")]
    assert notices(machine.step(Joined(G2), SETTLED + 0.1)) == [(AudioState.CONNECTING, "awaiting_audio")]


def test_a_phone_that_comes_back_is_served_at_once() -> None:
    machine = in_state(LinkState.HELD)
    for number in range(20):
        machine.step(StreamBroke(machine.generation, LossReason.SUPERSEDED), number)
        assert doings(machine.step(OUR_PHONE, number)) == [Join(machine.generation)]
        machine.step(Joined(machine.generation), number)
        machine.step(Away(), number)


def test_a_bridge_that_is_back_is_used_soon_but_not_by_all_at_once() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(StreamBroke(G1, BridgeFault.DIED), SETTLED)
    now = SETTLED
    for _ in range(8):
        machine.step(JoinFailed(machine.generation, BridgeFault.NONE_ANSWERS), now)
        now = machine.next_deadline() or now
        machine.step(Tick(), now)
    machine.step(JoinFailed(machine.generation, BridgeFault.NONE_ANSWERS), now)
    assert machine.next_deadline() == now + 3.5
    (told,) = machine.step(BridgeBack(), now + 1.0)
    assert machine.next_deadline() == now + 1.25
    assert isinstance(told, Notify)
    assert told.notice.retry_at == now + 1.25


# ---- generations


@pytest.mark.parametrize("late", [Joined, JoinFailed, StreamBroke, Status, Heard])
@pytest.mark.parametrize("state", LinkState)
def test_what_carries_another_generation_is_counted_and_dropped(state: LinkState, late: type) -> None:
    machine = in_state(state)
    deadline = machine.next_deadline()
    assert machine.step(example(late, Generation(7)), 1.0) == []
    assert (machine.state, machine.next_deadline(), machine.records) == (state, deadline, [])
    assert machine.stale == {late.__name__: 1}


def test_generations_only_grow() -> None:
    machine = link()
    seen: list[Generation] = []
    for now in range(10):
        effects = machine.step(OUR_PHONE, now) + machine.step(JoinFailed(machine.generation, LossReason.NETWORK), now)
        seen += [effect.generation for effect in effects if isinstance(effect, Join)]
    assert seen == sorted(set(seen))
    assert min(seen) > FIRST


# ---- silence


def test_a_numbering_phone_is_missed_after_three_seconds() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(heard(numbered=True), 9.0)
    assert machine.next_deadline() == 9.0 + SILENCE
    assert machine.step(Tick(), 11.9) == []
    effects = machine.step(Tick(), 12.0)
    assert notices(effects) == [(AudioState.INTERRUPTED, "no_audio")]
    assert doings(effects) == [Join(G2)]


def test_silence_after_a_rejoin_stays_interrupted_and_waits_longer_each_time() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(heard(), SETTLED)
    now, waits = SETTLED + SILENCE, list[float]()
    told = notices(machine.step(Tick(), now)) + notices(machine.step(Joined(machine.generation), now))
    for _ in range(6):
        now += SILENCE
        told += notices(machine.step(Tick(), now))
        assert machine.state is LinkState.INTERRUPTED
        due = machine.next_deadline()
        assert due is not None
        waits.append(due - now)
        now = due
        assert doings(machine.step(Tick(), now)) == [Join(machine.generation)]
        told += notices(machine.step(Joined(machine.generation), now))
    assert set(told) == {(AudioState.INTERRUPTED, "no_audio")}
    assert waits == sorted(waits)
    assert notices(machine.step(heard(machine.generation), now + 1)) == [(AudioState.LIVE, "")]


def test_a_phone_that_never_numbered_but_said_that_it_does_is_missed_from_the_start() -> None:
    machine = in_state(LinkState.AWAITING_AUDIO)
    assert notices(machine.step(Tick(), SILENCE)) == [(AudioState.INTERRUPTED, "no_audio")]


def test_an_old_phone_is_judged_only_while_it_speaks_with_its_microphone_on() -> None:
    machine = link()
    for event in (OLD_PHONE, Joined(G1), heard()):
        machine.step(event, 0.0)
    assert machine.next_deadline() is None
    machine.step(Voice(speaking=True), 100.0)
    assert machine.next_deadline() == 100.0 + SILENCE
    machine.step(Microphone(on=False), 101.0)
    assert machine.next_deadline() is None
    machine.step(Microphone(on=True), 102.0)
    assert machine.next_deadline() == 100.0 + SILENCE
    machine.step(Voice(speaking=False), 102.5)
    assert machine.next_deadline() is None
    machine.step(Voice(speaking=True), 200.0)
    assert notices(machine.step(Tick(), 203.0)) == [(AudioState.INTERRUPTED, "no_audio")]


def test_an_old_phone_that_falls_silent_is_healthy_again() -> None:
    machine = link()
    for event, now in ((OLD_PHONE, 0.0), (Joined(G1), 0.0), (Voice(speaking=True), 0.0), (Tick(), 3.0)):
        machine.step(event, now)
    assert machine.state is LinkState.INTERRUPTED
    assert notices(machine.step(Voice(speaking=False), 3.1)) == [(AudioState.CONNECTING, "awaiting_audio")]
    assert machine.next_deadline() is None


def test_a_sleep_of_our_own_is_not_the_phones_silence() -> None:
    machine = in_state(LinkState.LIVE)
    assert machine.step(Tick(), 600.0) == []
    assert machine.state is LinkState.LIVE
    assert notices(machine.step(Tick(), 603.0)) == [(AudioState.INTERRUPTED, "no_audio")]


# ---- the other path


def test_a_phone_without_a_room_is_live_by_its_socket_and_missed_there() -> None:
    machine = link()
    told = [notices(machine.step(BY_SOCKET, 0.0)), notices(machine.step(heard(path=Path.SOCKET, numbered=True), 1.0))]
    told += [notices(machine.step(Tick(), 4.0)), notices(machine.step(heard(path=Path.SOCKET), 9.0))]
    assert told == [
        [(AudioState.CONNECTING, "awaiting_audio")],
        [(AudioState.LIVE, "")],
        [(AudioState.INTERRUPTED, "no_audio")],
        [(AudioState.LIVE, "")],
    ]
    assert machine.generation == FIRST


@pytest.mark.parametrize("state", [LinkState.JOINING, LinkState.BACKING_OFF])
def test_audio_by_the_socket_is_live_while_the_room_is_being_joined(state: LinkState) -> None:
    machine = in_state(state)
    (effect,) = machine.step(heard(path=Path.SOCKET), 0.1)
    assert effect == Notify(Notice(AudioState.LIVE, path=Path.SOCKET))
    assert machine.state is state
    deadline = machine.next_deadline()
    assert deadline is not None
    while machine.state is LinkState.BACKING_OFF and deadline < 0.1 + SILENCE:
        machine.step(Tick(), deadline)
        machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), deadline)
        deadline = machine.next_deadline() or 99.0
    assert (AudioState.LIVE, "") not in notices(machine.step(Tick(), 0.1 + SILENCE))
    assert machine.step(OUR_PHONE, 4.0)


def test_a_phone_that_is_heard_by_its_socket_is_not_missed_in_the_room() -> None:
    machine = in_state(LinkState.LIVE)
    told: list[tuple[AudioState, str]] = []
    for tenth in range(100):
        told += notices(machine.step(heard(path=Path.SOCKET, numbered=True), tenth / 10))
        deadline = machine.next_deadline()
        if deadline is not None and deadline <= tenth / 10:
            told += notices(machine.step(Tick(), tenth / 10))
    assert machine.state is LinkState.LIVE
    assert told == []


def path_told(effects: list[Effect]) -> list[Path]:
    return [effect.notice.path for effect in effects if isinstance(effect, Notify)]


def test_where_audio_is_welcome() -> None:
    """In the room as soon as there is a place; on the socket before, and once the room was silent until it is heard."""
    machine = link()
    by_socket = heard(path=Path.SOCKET, numbered=True)
    steps: list[tuple[Event, float, list[Path]]] = [
        (OUR_PHONE, 0.0, [Path.SOCKET]),
        (by_socket, 0.1, [Path.SOCKET]),
        (Joined(G1), 0.2, [Path.ROOM]),
        (by_socket, 0.3, []),
        (Tick(), 3.3, [Path.SOCKET]),
        (by_socket, 3.4, [Path.SOCKET]),
        (heard(), 3.5, [Path.ROOM]),
        (StreamBroke(G1, LossReason.NETWORK), 3.6, [Path.SOCKET]),
    ]
    for event, now, told in steps:
        assert path_told(machine.step(event, now)) == told, f"{event} at {now}"


@pytest.mark.parametrize(("phone", "welcome"), [(OUR_PHONE, Path.SOCKET), (OLD_PHONE, Path.ROOM)])
def test_after_a_rejoin_for_silence_only_a_phone_without_presence_has_to_try_the_room(
    phone: Wanted, welcome: Path
) -> None:
    machine = link()
    for event in (phone, Joined(G1), heard(), Voice(speaking=True)):
        machine.step(event, 0.0)
    machine.step(heard(), SETTLED)
    machine.step(Tick(), SETTLED + SILENCE)
    machine.step(heard(path=Path.SOCKET), SETTLED + SILENCE)
    effects = machine.step(Joined(G2), SETTLED + SILENCE + 0.1)
    assert path_told(effects) == ([Path.ROOM] if welcome is Path.ROOM else [])


# ---- all of it


@pytest.mark.parametrize("seed", range(300))
def test_any_sequence_keeps_to_the_table_and_to_the_truth(seed: int) -> None:
    """Random events: lands where its cell says; at most one attempt in flight; live only after something was heard in
    this state of affairs; a tick at a deadline always moves the deadline."""
    chance = random.Random(seed)
    machine = link(chance.random)
    now, in_flight, proven, here = 0.0, 0, False, False
    for _ in range(150):
        now += chance.choice((0.0, 0.01, 0.5, 1.0, 3.0, 8.0))
        deadline = machine.next_deadline()
        kind: Any = Tick if deadline is not None and deadline <= now else chance.choice(EVENTS)
        event = example(kind, chance.choice((machine.generation,) * 4 + (Generation(machine.generation - 1),)))
        if isinstance(event, (JoinFailed, Joined)) and event.generation == machine.generation:
            in_flight -= machine.state is LinkState.JOINING
        if isinstance(event, Heard) and machine.state.placed and machine.state is not LinkState.HELD:
            proven = proven or event.generation == machine.generation
        if isinstance(event, (Wanted, Away)):
            proven = False
            here = isinstance(event, Wanted)
        before, stale = machine.state, sum(machine.stale.values())
        effects = machine.step(event, now)
        why = f"seed {seed}: {event} in {before}"
        cell = TABLE[before, type(event)]
        if isinstance(cell, Cell) and sum(machine.stale.values()) == stale:
            assert machine.state in cell.to, why
        for effect in effects:
            if isinstance(effect, Join):
                in_flight += 1
            elif isinstance(effect, Leave):
                in_flight = 0
            elif isinstance(effect, Notify):
                assert here, why
                assert effect.notice.state is not AudioState.LIVE or proven, why
        assert in_flight == (machine.state is LinkState.JOINING), why
        if isinstance(event, Unwanted):
            here = False
        if isinstance(event, Tick):
            after = machine.next_deadline()
            assert after is None or after > now or machine.state is not before, why
