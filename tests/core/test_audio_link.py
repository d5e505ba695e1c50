"""The audio link: each cell of its table, its clocks in virtual time, and that it never lies."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from glassbridge.core.arrival import GONE, PRESENCE_MISSED, SILENCE, STALL
from glassbridge.core.audio_link import (
    ANSWERED,
    EVENTS,
    HINT_EVERY,
    INVITE_EVERY,
    LOOK_AGAIN,
    RENEWED_FOR,
    SETTLED,
    SIGN_OF_LIFE,
    STATUS_EVERY,
    STATUS_EVERY_WITHOUT_NEWS,
    TABLE,
    AskPhone,
    AskStatus,
    AudioLink,
    AudioReceived,
    AudioRoute,
    Away,
    BridgeBack,
    BridgeFault,
    Dismiss,
    Effect,
    Event,
    Examine,
    Examined,
    InvitePhone,
    Join,
    Joined,
    JoinFailed,
    Keep,
    Leave,
    LinkState,
    Microphone,
    NetworkBack,
    News,
    Notice,
    Notify,
    PhoneAnswered,
    Raised,
    Status,
    StreamBroke,
    Tick,
    Trouble,
    Unwanted,
    Voice,
    Wanted,
)
from glassbridge.core.diagnosis import BridgeStatus, Evidence, Finding, Hop, LiveKitStatus, hindered
from glassbridge.core.machine import Cell, Ignored, missing_cells
from glassbridge.core.values import AudioState, Generation, LossReason
from glassbridge.core.voices import Hindrance
from tests.support.walk import walk

COMPLETE = LiveKitStatus(agent_here=True, phone_here=True, phone_publishes=False)
DEAF = BridgeStatus(in_room=True, audio_age=9.0, phone_here=True)
OURS_DEAF = Evidence(DEAF, COMPLETE)
"""Our place is to be renewed; after that it is the phone's."""
PHONE_OUT = Evidence(DEAF, LiveKitStatus(agent_here=True, phone_here=False, phone_publishes=False))
BRIDGE_GONE = Evidence(None, COMPLETE)
LIVEKIT_DOWN = Evidence(DEAF, None)
PHONE_DEAD = Evidence(DEAF, COMPLETE, phone_answers=False)

FIRST = Generation(100)
G1, G2, G3 = Generation(101), Generation(102), Generation(103)
OLD_PHONE = Wanted(room=True, numbers=False)
OUR_PHONE = Wanted(room=True, numbers=True)
BY_SOCKET = Wanted(room=False, numbers=False)


def link(chance: Callable[[], float] = lambda: 0.5) -> AudioLink:
    return AudioLink(FIRST, chance)


def heard(generation: Generation = G1, route: AudioRoute = AudioRoute.ROOM, numbered: bool = False) -> AudioReceived:
    return AudioReceived(route, generation, numbered)


WAYS: dict[LinkState, list[Event]] = {
    LinkState.IDLE: [],
    LinkState.JOINING: [OUR_PHONE],
    LinkState.AWAITING_AUDIO: [OUR_PHONE, Joined(G1)],
    LinkState.LIVE: [OUR_PHONE, Joined(G1), heard()],
    LinkState.SUSPECT: [OUR_PHONE, Joined(G1), Tick()],
    LinkState.INTERRUPTED: [OUR_PHONE, Joined(G1), Tick(), Examined(G1, OURS_DEAF)],
    LinkState.UNHEARD: [OUR_PHONE, Joined(G1), Tick(), Examined(G1, PHONE_OUT)],
    LinkState.DOUBTFUL: [OUR_PHONE, Joined(G1), StreamBroke(G1, LossReason.SUPERSEDED)],
    LinkState.BACKING_OFF: [OUR_PHONE, JoinFailed(G1, LossReason.UNREACHABLE)],
    LinkState.HELD: [OUR_PHONE, Joined(G1), Away()],
}


def in_state(state: LinkState) -> AudioLink:
    """A link of one of our phones that came to `state` at second 0."""
    machine = link()
    for event in WAYS[state]:
        if isinstance(event, Joined) and Tick() in WAYS[state]:
            machine.step(event, -SILENCE)
        elif isinstance(event, Wanted) and state is LinkState.DOUBTFUL:
            machine.step(event, -SIGN_OF_LIFE)
        else:
            machine.step(event, 0.0)
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
        News: News(generation, phone_here=False),
        Examined: Examined(generation, OURS_DEAF),
        PhoneAnswered: PhoneAnswered(generation, answers=True),
        NetworkBack: NetworkBack(),
        Status: Status(generation, LossReason.SUPERSEDED),
        BridgeBack: BridgeBack(waiting=1),
        AudioReceived: heard(generation),
        Raised: Raised(Generation(0)),
        Microphone: Microphone(on=False),
        Voice: Voice(speaking=True),
        Tick: Tick(),
    }
    return examples[event]


def notices(effects: list[Effect]) -> list[tuple[AudioState, str]]:
    return [(e.notice.state, e.notice.code) for e in effects if isinstance(e, Notify)]


def doings(effects: list[Effect]) -> list[Effect]:
    return [e for e in effects if not isinstance(e, Notify)]


def pass_time(machine: AudioLink, until: float) -> list[Effect]:
    """Ticks at each deadline up to and including `until`."""
    effects: list[Effect] = []
    while (due := machine.next_deadline()) is not None and due <= until:
        effects += machine.step(Tick(), due)
    return effects


# ---- the table


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, LinkState, EVENTS) == []


@walk("state, event", TABLE)
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
        (LinkState.AWAITING_AUDIO, Status(G1, LossReason.SUPERSEDED), [AskPhone(G1)], LinkState.DOUBTFUL),
        (LinkState.AWAITING_AUDIO, Status(G1, LossReason.FROZEN), [], LinkState.BACKING_OFF),
        (LinkState.AWAITING_AUDIO, Tick(), [Examine(G1)], LinkState.SUSPECT),
        (LinkState.AWAITING_AUDIO, News(G1, phone_here=True), [], LinkState.AWAITING_AUDIO),
        (LinkState.AWAITING_AUDIO, News(G1, phone_here=True, leaving=True), [], LinkState.BACKING_OFF),
        (LinkState.AWAITING_AUDIO, StreamBroke(G1, LossReason.NETWORK), [], LinkState.BACKING_OFF),
        (LinkState.LIVE, OUR_PHONE, [AskStatus(G1)], LinkState.AWAITING_AUDIO),
        (LinkState.LIVE, Away(), [], LinkState.HELD),
        (LinkState.LIVE, Unwanted(), [Leave(G1)], LinkState.IDLE),
        (LinkState.LIVE, Status(G1, LossReason.FROZEN), [Join(G2, elsewhere=True)], LinkState.JOINING),
        (LinkState.LIVE, Tick(), [Examine(G1)], LinkState.SUSPECT),
        (
            LinkState.LIVE,
            News(G1, phone_here=True, leaving=True),
            [Join(G2, elsewhere=True, keeps=True)],
            LinkState.JOINING,
        ),
        (LinkState.LIVE, NetworkBack(), [], LinkState.LIVE),
        (LinkState.SUSPECT, heard(), [], LinkState.LIVE),
        (LinkState.SUSPECT, Status(G1, LossReason.NETWORK), [], LinkState.SUSPECT),
        (LinkState.SUSPECT, StreamBroke(G1, LossReason.NETWORK), [], LinkState.BACKING_OFF),
        (LinkState.SUSPECT, Examined(G1, OURS_DEAF), [], LinkState.INTERRUPTED),
        (LinkState.SUSPECT, Examined(G1, BRIDGE_GONE), [], LinkState.INTERRUPTED),
        (LinkState.SUSPECT, Examined(G1, LIVEKIT_DOWN), [], LinkState.INTERRUPTED),
        (LinkState.SUSPECT, Examined(G1, PHONE_OUT), [InvitePhone()], LinkState.UNHEARD),
        (LinkState.SUSPECT, Examined(G1, PHONE_DEAD), [], LinkState.UNHEARD),
        (LinkState.SUSPECT, Tick(), [], LinkState.INTERRUPTED),
        (LinkState.SUSPECT, Away(), [], LinkState.HELD),
        (LinkState.UNHEARD, heard(), [], LinkState.LIVE),
        (LinkState.UNHEARD, Tick(), [Examine(G1)], LinkState.SUSPECT),
        (LinkState.UNHEARD, News(G1, phone_here=True), [], LinkState.AWAITING_AUDIO),
        (LinkState.UNHEARD, News(G1, phone_here=False), [], LinkState.UNHEARD),
        (LinkState.UNHEARD, NetworkBack(), [], LinkState.AWAITING_AUDIO),
        (LinkState.UNHEARD, OUR_PHONE, [AskStatus(G1)], LinkState.AWAITING_AUDIO),
        (LinkState.DOUBTFUL, PhoneAnswered(G1, answers=True), [], LinkState.BACKING_OFF),
        (LinkState.DOUBTFUL, PhoneAnswered(G1, answers=False), [], LinkState.DOUBTFUL),
        (LinkState.DOUBTFUL, Tick(), [AskPhone(G1)], LinkState.DOUBTFUL),
        (LinkState.DOUBTFUL, heard(), [], LinkState.DOUBTFUL),
        (LinkState.DOUBTFUL, heard(route=AudioRoute.SOCKET), [], LinkState.BACKING_OFF),
        (LinkState.DOUBTFUL, NetworkBack(), [], LinkState.BACKING_OFF),
        (LinkState.DOUBTFUL, OUR_PHONE, [Join(G2)], LinkState.JOINING),
        (LinkState.DOUBTFUL, Away(), [], LinkState.IDLE),
        (LinkState.INTERRUPTED, NetworkBack(), [Join(G2)], LinkState.JOINING),
        (LinkState.BACKING_OFF, NetworkBack(), [Join(G2)], LinkState.JOINING),
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
    """At second 5, in which a first join after audio that stayed goes at once; a tick comes when it is due."""
    machine = in_state(state)
    now = machine.next_deadline() if event == Tick() else 5.0
    assert now is not None
    assert doings(machine.step(event, now)) == doing
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
    machine.step(StreamBroke(G1, LossReason.NETWORK), SETTLED)
    machine.step(Joined(G2), SETTLED)
    machine.step(heard(G2), SETTLED)
    effects = machine.step(StreamBroke(G2, LossReason.NETWORK), SETTLED + lived)
    assert (doings(effects) == [Join(G3)]) is at_once


def test_a_loss_is_told_with_its_reason_and_when_the_next_attempt_is() -> None:
    machine = in_state(LinkState.AWAITING_AUDIO)
    (effect,) = machine.step(StreamBroke(G1, LossReason.NETWORK), 10.0)
    assert effect == Notify(
        Notice(
            AudioState.INTERRUPTED,
            "network",
            LossReason.NETWORK.text,
            Hop.LIVEKIT,
            retry_at=10.25,
            route=AudioRoute.SOCKET,
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


@pytest.mark.parametrize(("waiting", "wait"), [(1, 0.0), (11, 0.1), (1000, 0.25)])
def test_a_bridge_that_is_back_is_used_soon_but_not_by_all_at_once(waiting: int, wait: float) -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(StreamBroke(G1, BridgeFault.DIED), SETTLED)
    now = SETTLED
    for _ in range(8):
        machine.step(JoinFailed(machine.generation, BridgeFault.NONE_ANSWERS), now)
        now = machine.next_deadline() or now
        machine.step(Tick(), now)
    machine.step(JoinFailed(machine.generation, BridgeFault.NONE_ANSWERS), now)
    assert machine.next_deadline() == now + 3.5
    (told,) = machine.step(BridgeBack(waiting), now + 1.0)
    assert machine.next_deadline() == pytest.approx(now + 1.0 + wait)
    assert isinstance(told, Notify)
    assert told.notice.retry_at == machine.next_deadline()


@pytest.mark.parametrize("back", [BridgeBack(waiting=1000), NetworkBack()])
def test_a_join_that_fails_of_the_time_before_is_soon_followed_by_another(back: Event) -> None:
    """LiveKit, or the phone's network, came back while a join was under way: the next one was up to 7 s away."""
    machine, now = in_state(LinkState.JOINING), 0.0
    for _ in range(8):
        machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), now)
        now = machine.next_deadline() or now
        machine.step(Tick(), now)
    assert machine.state is LinkState.JOINING
    assert doings(machine.step(back, now)) == []
    machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), now + 0.1)
    assert machine.next_deadline() == now + 0.1 + 0.25


# ---- generations


@pytest.mark.parametrize("late", [Joined, JoinFailed, StreamBroke, Status, AudioReceived])
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


def test_a_numbering_phone_is_missed_told_and_the_hop_is_named_before_anything_is_rebuilt() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(heard(numbered=True), SETTLED)
    missed = SETTLED + PRESENCE_MISSED
    assert machine.next_deadline() == missed
    assert machine.step(Tick(), missed - 0.1) == []
    effects = machine.step(Tick(), missed)
    assert notices(effects) == [(AudioState.INTERRUPTED, "no_audio")]
    assert doings(effects) == [Examine(G1)]
    told, join = sorted(machine.step(Examined(G1, OURS_DEAF), missed + 0.1), key=lambda e: isinstance(e, Join))
    assert isinstance(told, Notify)
    assert (told.notice.hop, told.notice.code) == (Hop.LIVEKIT, "room_silent")
    assert join == Join(G2)


def test_a_phone_that_was_heard_only_once_in_three_seconds_is_not_missed() -> None:
    """One lost presence frame and 0.3 s of jitter."""
    machine = in_state(LinkState.LIVE)
    for second in range(0, 20, 2):
        assert pass_time(machine, second + 0.29) == [] or second == 10  # the status is asked for then
        assert machine.step(heard(numbered=True), second + 0.29) == []


@pytest.mark.parametrize(
    ("evidence", "renews", "elsewhere"),
    [(OURS_DEAF, True, False), (BRIDGE_GONE, True, True), (LIVEKIT_DOWN, False, False)],
)
def test_what_is_ours_is_rebuilt_by_a_join(evidence: Evidence, renews: bool, elsewhere: bool) -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(heard(), SETTLED)
    pass_time(machine, SETTLED + PRESENCE_MISSED)
    effects = machine.step(Examined(G1, evidence), 8.0)
    if renews:
        assert doings(effects) == [Join(G2, elsewhere)]
    else:
        assert doings(effects) == []
        assert machine.state is LinkState.INTERRUPTED
        assert machine.next_deadline() == 8.25


def test_our_place_stays_while_the_phone_is_asked_to_join_anew() -> None:
    machine = in_state(LinkState.SUSPECT)
    invited, told = machine.step(Examined(G1, PHONE_OUT), 0.1)
    assert invited == InvitePhone()
    assert isinstance(told, Notify)
    assert (told.notice.code, told.notice.hop, told.notice.route) == ("phone_not_in_room", Hop.PHONE, AudioRoute.SOCKET)
    asked: list[Effect] = []
    for _ in range(10):
        due = machine.next_deadline()
        assert due is not None
        asked += machine.step(Tick(), due) + machine.step(Examined(G1, PHONE_OUT), due)
    assert notices(asked) == [], "nothing is told twice"
    assert asked.count(Examine(G1)) >= 5
    assert machine.step(News(G1, phone_here=True), 40.0) == []
    assert notices(machine.step(heard(), 40.1)) == [(AudioState.LIVE, "")]


def test_where_a_fresh_place_hears_nothing_either_it_is_the_phones_turn_and_a_minute_later_ours_again() -> None:
    machine = in_state(LinkState.LIVE)
    codes, joined_at, now = list[str](), list[float](), 0.0
    while now < 150.0:
        due = machine.next_deadline()
        assert due is not None
        now = max(now, due)
        effects = machine.step(Tick(), now)
        if machine.state is LinkState.SUSPECT:
            effects += machine.step(Examined(machine.generation, OURS_DEAF), now)
        if machine.state is LinkState.JOINING:
            joined_at.append(now)
            effects += machine.step(Joined(machine.generation), now)
        codes += [code for _, code in notices(effects)]
    assert codes[:5] == ["no_audio", "room_silent", "phone_unheard", "room_silent", "phone_unheard"]
    assert [later - earlier > RENEWED_FOR for earlier, later in pairwise(joined_at)] == [True, True]


def test_a_phone_that_is_missed_is_invited_to_its_room_now_and_then() -> None:
    machine = in_state(LinkState.SUSPECT)
    machine.step(Examined(G1, PHONE_OUT), 0.1)
    invited, now = [0.1], 0.1
    while now < 95.0:
        due = machine.next_deadline()
        assert due is not None
        now = due
        effects = machine.step(Tick(), now) + machine.step(Examined(G1, PHONE_OUT), now)
        invited += [now] * effects.count(InvitePhone())
    assert len(invited) == 4
    assert all(INVITE_EVERY <= later - earlier <= INVITE_EVERY + LOOK_AGAIN for earlier, later in pairwise(invited))
    machine.step(OLD_PHONE, 96.0)
    machine.step(Voice(speaking=True), 96.0)
    effects = machine.step(Tick(), 96.0 + SILENCE) + machine.step(Examined(G1, PHONE_OUT), 96.1 + SILENCE)
    assert InvitePhone() in effects, "a new socket is a new phone"


def test_nothing_is_rebuilt_for_a_phone_that_does_not_answer() -> None:
    machine = in_state(LinkState.SUSPECT)
    told = machine.step(Examined(G1, PHONE_DEAD), 0.1)
    assert notices(told) == [(AudioState.INTERRUPTED, "phone_unreachable")]
    for _ in range(20):
        due = machine.next_deadline()
        assert due is not None
        assert doings(machine.step(Tick(), due)) in ([Examine(G1)], [AskStatus(G1)])
        assert machine.step(Examined(G1, PHONE_DEAD), due) == []
    assert machine.generation == G1


def test_silence_after_a_rejoin_stays_interrupted_and_waits_longer_each_time() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(heard(), SETTLED)
    now = SETTLED + PRESENCE_MISSED
    told, waits = list[tuple[AudioState, str]](), list[float]()
    for _ in range(6):
        told += notices(pass_time(machine, now))
        told += notices(machine.step(Examined(machine.generation, BRIDGE_GONE), now))
        if machine.state is LinkState.INTERRUPTED:
            due = machine.next_deadline()
            assert due is not None
            waits.append(due - now)
            now = due
            assert doings(machine.step(Tick(), now)) == [Join(machine.generation, elsewhere=True)]
        told += notices(machine.step(Joined(machine.generation), now))
        now += SILENCE
    assert {state for state, _ in told} == {AudioState.INTERRUPTED}
    assert waits == sorted(waits)
    assert len(waits) == 5
    assert notices(machine.step(heard(machine.generation), now - 1)) == [(AudioState.LIVE, "")]


def test_an_examination_without_any_answer_ends_by_itself() -> None:
    machine = in_state(LinkState.SUSPECT)
    assert machine.next_deadline() == ANSWERED
    assert notices(machine.step(Tick(), ANSWERED)) == [(AudioState.INTERRUPTED, "bridge_silent")]


def test_a_phone_that_said_that_it_numbers_is_missed_from_the_start() -> None:
    machine = in_state(LinkState.AWAITING_AUDIO)
    assert notices(pass_time(machine, SILENCE)) == [(AudioState.INTERRUPTED, "no_audio")]


def test_an_old_phone_is_judged_only_while_it_speaks_with_its_microphone_on() -> None:
    machine = link()
    for event in (OLD_PHONE, Joined(G1), heard()):
        machine.step(event, 0.0)
    assert pass_time(machine, 99.0) == [AskStatus(G1)] * 9
    machine.step(Voice(speaking=True), 99.0)
    assert machine.next_deadline() == 100.0  # the status
    assert pass_time(machine, 100.0) == [AskStatus(G1)]
    assert machine.next_deadline() == 99.0 + SILENCE
    machine.step(Microphone(on=False), 101.0)
    assert machine.next_deadline() == 110.0
    machine.step(Microphone(on=True), 101.5)
    assert machine.next_deadline() == 99.0 + SILENCE
    machine.step(Voice(speaking=False), 101.9)
    assert machine.next_deadline() == 110.0
    machine.step(Voice(speaking=True), 105.0)
    assert notices(machine.step(Tick(), 108.0)) == [(AudioState.INTERRUPTED, "no_audio")]


@pytest.mark.parametrize("found", [None, PHONE_OUT, OURS_DEAF])
def test_an_old_phone_that_falls_silent_is_healthy_again(found: Evidence | None) -> None:
    machine = link()
    for event, now in ((OLD_PHONE, 0.0), (Joined(G1), 0.0), (Voice(speaking=True), 0.0), (Tick(), 3.0)):
        machine.step(event, now)
    assert machine.state is LinkState.SUSPECT
    if found is not None:
        machine.step(Examined(G1, found), 3.05)
    assert notices(machine.step(Voice(speaking=False), 3.1)) == [(AudioState.CONNECTING, "awaiting_audio")]
    assert machine.next_deadline() == STATUS_EVERY_WITHOUT_NEWS


@pytest.mark.parametrize("late", [STALL + 0.1, 600.0])
@pytest.mark.parametrize("phone", [OUR_PHONE, OLD_PHONE])
def test_a_sleep_of_our_own_is_not_the_phones_silence(phone: Wanted, late: float) -> None:
    machine = link()
    for event in (phone, Joined(G1), heard(), Voice(speaking=True)):
        machine.step(event, 0.0)
    due = machine.next_deadline()
    assert due is not None
    woken = due + late
    assert [e for e in machine.step(Tick(), woken) if not isinstance(e, AskStatus)] == []
    assert machine.state is LinkState.LIVE
    effects = pass_time(machine, woken + 0.99)
    assert notices(effects) == []
    assert notices(pass_time(machine, woken + 1.01)) == [(AudioState.INTERRUPTED, "no_audio")]


# ---- the bridge's news


def test_a_phone_that_is_out_of_the_room_for_long_is_missed_at_once() -> None:
    machine = in_state(LinkState.LIVE)
    assert machine.step(News(G1, phone_here=False), 1.0) == []
    assert machine.next_deadline() == 1.0 + GONE
    assert doings(machine.step(Tick(), 1.0 + GONE)) == [Examine(G1)]


@pytest.mark.parametrize("back", [News(G1, phone_here=True), heard()])
def test_a_phone_that_joins_anew_by_itself_disturbs_nothing(back: Event) -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(News(G1, phone_here=False), 1.0)
    assert machine.step(back, 1.4) == []
    assert pass_time(machine, 2.0) == []
    assert machine.state is LinkState.LIVE


def test_an_old_phone_that_is_silent_may_be_out_of_the_room() -> None:
    machine = link()
    for event in (OLD_PHONE, Joined(G1), heard(), News(G1, phone_here=False)):
        machine.step(event, 0.0)
    assert pass_time(machine, 20.0) == []
    machine.step(Voice(speaking=True), 20.0)
    assert doings(machine.step(Tick(), 20.0)) == [Examine(G1)]


@pytest.mark.parametrize(("pushes", "every"), [(True, STATUS_EVERY), (False, STATUS_EVERY_WITHOUT_NEWS)])
def test_the_status_is_asked_for_less_often_where_news_are_pushed(pushes: bool, every: float) -> None:
    machine = link()
    machine.step(OLD_PHONE, 0.0)
    machine.step(Joined(G1), 0.0)
    if pushes:
        machine.step(News(G1, phone_here=True), 0.0)
    asked: list[float] = []
    for _ in range(3):
        due = machine.next_deadline()
        assert due is not None
        assert machine.step(Tick(), due - 0.1) == []
        assert machine.step(Tick(), due) == [AskStatus(G1)]
        assert machine.step(Status(G1, None), due) == []
        asked.append(due)
    assert asked == [every, 2 * every, 3 * every]


@pytest.mark.parametrize("answer", [BridgeFault.TIMED_OUT, LossReason.NETWORK])
def test_a_status_counts_less_than_what_is_heard_after_it_was_asked_for(answer: Trouble) -> None:
    for heard_at, lost in ((STATUS_EVERY_WITHOUT_NEWS - 0.1, True), (STATUS_EVERY_WITHOUT_NEWS + 0.1, False)):
        machine = link()
        for event in (OLD_PHONE, Joined(G1), heard()):
            machine.step(event, 0.0)
        if lost:
            machine.step(heard(), heard_at)
        assert machine.step(Tick(), STATUS_EVERY_WITHOUT_NEWS) == [AskStatus(G1)]
        if not lost:
            machine.step(heard(), heard_at)
        machine.step(Status(G1, answer), STATUS_EVERY_WITHOUT_NEWS + 0.5)
        assert (machine.state is not LinkState.LIVE) is lost


def test_a_silent_old_phone_keeps_its_place_only_as_long_as_the_bridge_says_so() -> None:
    machine = link()
    for event in (OLD_PHONE, Joined(G1), heard()):
        machine.step(event, 0.0)
    assert doings(machine.step(Status(G1, LossReason.NETWORK), 10.0)) == [Join(G2)]


# ---- who owns the user


def test_a_place_that_was_taken_is_taken_back_only_when_the_phone_answers_here() -> None:
    machine = in_state(LinkState.LIVE)
    effects = machine.step(StreamBroke(G1, LossReason.SUPERSEDED), 10.0)
    assert doings(effects) == [AskPhone(G1)]
    assert notices(effects) == [(AudioState.INTERRUPTED, "superseded")]
    machine.step(PhoneAnswered(G1, answers=False), 11.0)
    assert machine.next_deadline() == 11.0 + LOOK_AGAIN
    assert machine.step(Tick(), 14.0) == [AskPhone(G1)]
    assert doings(machine.step(PhoneAnswered(G1, answers=True), 14.1)) == [Join(G2)]


def test_a_half_open_socket_never_fights() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(StreamBroke(G1, LossReason.SUPERSEDED), 10.0)
    for _ in range(20):
        due = machine.next_deadline()
        assert due is not None
        assert machine.step(Tick(), due) == [AskPhone(G1)]
        assert machine.step(PhoneAnswered(G1, answers=False), due + 1.0) == []
    assert machine.step(Away(), 200.0) == []
    assert machine.state is LinkState.IDLE


@pytest.mark.parametrize(
    "sign", [Voice(speaking=True), Microphone(on=True), NetworkBack(), heard(route=AudioRoute.SOCKET)]
)
def test_a_phone_that_just_spoke_need_not_be_asked(sign: Event) -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(sign, 10.0)
    effects = machine.step(StreamBroke(G1, LossReason.SUPERSEDED), 10.0 + SIGN_OF_LIFE - 0.1)
    assert doings(effects) == [Join(G2)]


def test_somebody_newer_at_the_bridge_is_not_fought_before_the_phone_answers() -> None:
    machine = in_state(LinkState.JOINING)
    effects = machine.step(JoinFailed(G1, LossReason.REPLACED, above=Generation(5_000)), SIGN_OF_LIFE)
    assert doings(effects) == [AskPhone(G1)]
    assert machine.state is LinkState.DOUBTFUL
    machine.step(PhoneAnswered(G1, answers=False), SIGN_OF_LIFE + 1.0)
    assert doings(machine.step(Away(), 15.0)) == [], "there is nothing of ours to give up"


def test_an_old_phone_that_is_back_in_the_room_is_let_in() -> None:
    machine = link()
    for event, now in ((OLD_PHONE, 0.0), (Voice(speaking=True), 0.0), (Joined(G1), 0.0), (Tick(), 3.0)):
        machine.step(event, now)
    told = machine.step(Examined(G1, PHONE_OUT), 3.1)
    assert [e.notice.route for e in told if isinstance(e, Notify)] == [AudioRoute.SOCKET]
    machine.step(heard(route=AudioRoute.SOCKET), 3.2)
    told = machine.step(News(G1, phone_here=True), 4.0)
    assert [e.notice.route for e in told if isinstance(e, Notify)] == [AudioRoute.ROOM], "it speaks on one way only"


def test_a_generation_that_is_too_old_is_exceeded() -> None:
    machine = in_state(LinkState.JOINING)
    machine.step(JoinFailed(G1, LossReason.REPLACED, above=Generation(5_000)), 0.1)
    assert machine.generation == G1, "what is not ours is not given up as ours"
    assert doings(pass_time(machine, 1.0)) == [Join(Generation(5_001))]
    assert machine.step(Joined(Generation(5_001)), 1.1)


# ---- the phone's hint


def test_a_hint_collapses_the_wait_once_a_second() -> None:
    machine = in_state(LinkState.BACKING_OFF)
    for attempt in range(20):
        machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), attempt)
        if machine.state is LinkState.JOINING:
            machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), attempt)
        machine.step(Tick(), machine.next_deadline() or 0.0)
    machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), 50.0)
    assert doings(machine.step(NetworkBack(), 50.1)) == [Join(machine.generation)]
    machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), 50.2)
    assert machine.step(NetworkBack(), 50.1 + HINT_EVERY - 0.01) == []
    assert doings(machine.step(NetworkBack(), 50.1 + HINT_EVERY)) == [Join(machine.generation)]


# ---- the other route


def test_a_phone_without_a_room_is_live_by_its_socket_and_missed_there() -> None:
    machine = link()
    told = [
        notices(machine.step(BY_SOCKET, 0.0)),
        notices(machine.step(heard(route=AudioRoute.SOCKET, numbered=True), 1.0)),
    ]
    told += [notices(pass_time(machine, 4.0)), notices(machine.step(heard(route=AudioRoute.SOCKET), 9.0))]
    assert told == [
        [(AudioState.CONNECTING, "awaiting_audio")],
        [(AudioState.LIVE, "")],
        [(AudioState.INTERRUPTED, "no_audio")],
        [(AudioState.LIVE, "")],
    ]
    assert machine.generation == FIRST


@pytest.mark.parametrize(
    ("state", "wrong"), [(LinkState.JOINING, ("", None)), (LinkState.BACKING_OFF, ("unreachable", Hop.LIVEKIT))]
)
def test_audio_by_the_socket_is_live_while_the_room_is_being_joined(
    state: LinkState, wrong: tuple[str, Hop | None]
) -> None:
    """And says what is wrong with the room."""
    machine = in_state(state)
    (effect,) = machine.step(heard(route=AudioRoute.SOCKET), 0.1)
    assert isinstance(effect, Notify)
    told = effect.notice
    assert (told.state, told.code, told.hop, told.route, told.retry_at) == (
        AudioState.LIVE,
        *wrong,
        AudioRoute.SOCKET,
        None,
    )
    assert machine.state is state
    while (due := machine.next_deadline()) is not None and due < 0.1 + PRESENCE_MISSED:
        machine.step(Tick(), due)
        machine.step(JoinFailed(machine.generation, LossReason.UNREACHABLE), due)
    assert AudioState.LIVE not in [state for state, _ in notices(machine.step(Tick(), 0.1 + PRESENCE_MISSED))]


def test_a_numbering_phone_that_is_heard_by_its_socket_is_missed_in_the_room() -> None:
    """It is live all the time; the room is repaired behind it."""
    machine = in_state(LinkState.LIVE)
    effects: list[Effect] = []
    for tenth in range(60):
        effects += machine.step(heard(route=AudioRoute.SOCKET, numbered=True), tenth / 10)
        effects += pass_time(machine, tenth / 10)
        if machine.state is LinkState.SUSPECT:
            effects += machine.step(Examined(G1, PHONE_OUT), tenth / 10)
    assert doings(effects) == [Examine(G1), InvitePhone(), Examine(G1)]
    told = [e.notice for e in effects if isinstance(e, Notify)]
    assert {notice.state for notice in told} == {AudioState.LIVE}
    assert [(notice.code, notice.route) for notice in told] == [
        ("", AudioRoute.SOCKET),
        ("phone_not_in_room", AudioRoute.SOCKET),
    ]
    (back,) = machine.step(heard(), 6.0)
    assert back == Notify(Notice(AudioState.LIVE, route=AudioRoute.ROOM))


def test_an_old_phone_that_is_heard_by_its_socket_is_not_missed_in_the_room() -> None:
    machine = link()
    for event in (OLD_PHONE, Joined(G1), heard(), Voice(speaking=True)):
        machine.step(event, 0.0)
    for tenth in range(90):
        assert machine.step(heard(route=AudioRoute.SOCKET), tenth / 10) == []
        assert pass_time(machine, tenth / 10) == []
    assert machine.state is LinkState.LIVE


def test_a_phone_that_comes_back_without_the_wish_for_a_room_is_sent_to_its_socket() -> None:
    """Its place is kept all the same: the original's phones say the wish once (S-4)."""
    machine = in_state(LinkState.HELD)
    effects = machine.step(Wanted(room=False, numbers=True), 1.0)
    assert doings(effects) == [AskStatus(G1)]
    assert path_told(effects) == [AudioRoute.SOCKET]
    assert notices(effects) == [(AudioState.CONNECTING, "awaiting_audio")]
    assert path_told(machine.step(heard(route=AudioRoute.SOCKET), 1.1)) == [AudioRoute.SOCKET]
    effects = machine.step(StreamBroke(G1, LossReason.NETWORK), 1.2)
    assert doings(effects) == [Join(G2)]
    assert notices(effects) == []
    machine.step(Joined(G2), 1.3)
    assert path_told(machine.step(heard(G2), 1.4)) == [AudioRoute.ROOM], "it was in the room after all"


def path_told(effects: list[Effect]) -> list[AudioRoute]:
    return [effect.notice.route for effect in effects if isinstance(effect, Notify)]


def test_where_audio_is_welcome() -> None:
    """In the room as soon as there is a place; on the socket before, and once the room was silent until it is heard."""
    machine = link()
    by_socket = heard(route=AudioRoute.SOCKET, numbered=True)
    steps: list[tuple[Event, float, list[AudioRoute]]] = [
        (OUR_PHONE, 0.0, [AudioRoute.SOCKET]),
        (Joined(G1), 0.1, [AudioRoute.ROOM]),
        (by_socket, 0.2, [AudioRoute.SOCKET]),
        (heard(), 0.3, [AudioRoute.ROOM]),
        (by_socket, 0.4, []),
        (Tick(), 2.6, [AudioRoute.SOCKET]),
        (by_socket, 2.65, []),
        (heard(), 2.7, [AudioRoute.ROOM]),
        (StreamBroke(G1, LossReason.NETWORK), 2.8, [AudioRoute.SOCKET]),
    ]
    for event, now, told in steps:
        assert path_told(machine.step(event, now)) == told, f"{event} at {now}"


@pytest.mark.parametrize(("phone", "welcome"), [(OUR_PHONE, AudioRoute.SOCKET), (OLD_PHONE, AudioRoute.ROOM)])
def test_after_a_rejoin_for_silence_only_a_phone_without_presence_has_to_try_the_room(
    phone: Wanted, welcome: AudioRoute
) -> None:
    machine = link()
    for event in (phone, Joined(G1), heard(), Voice(speaking=True)):
        machine.step(event, 0.0)
    machine.step(heard(), SETTLED)
    now = machine.next_deadline() or 0.0
    machine.step(Tick(), now)
    machine.step(heard(route=AudioRoute.SOCKET), now)
    machine.step(Examined(G1, OURS_DEAF), now)
    effects = machine.step(Joined(G2), now + 0.1)
    assert path_told(effects) == ([AudioRoute.ROOM] if welcome is AudioRoute.ROOM else [])


# ---- a place that was only silent


def replacing(failed: bool = False) -> AudioLink:
    """A link whose silent place G1 is kept while G2 joins, or, if that failed, until the next join is due."""
    machine = in_state(LinkState.LIVE)
    machine.step(News(G1, phone_here=True), 0.0)
    machine.step(heard(), SETTLED)
    pass_time(machine, SETTLED + PRESENCE_MISSED)
    assert doings(machine.step(Examined(G1, OURS_DEAF), 8.0)) == [Join(G2, keeps=True)]
    if failed:
        machine.step(JoinFailed(G2, LossReason.UNREACHABLE), 8.5)
    machine.records.clear()
    return machine


@pytest.mark.parametrize("failed", [False, True])
def test_a_place_that_is_heard_again_before_its_successor_stands_is_kept(failed: bool) -> None:
    machine = replacing(failed)
    effects = machine.step(heard(), 9.0)
    assert notices(effects) == [(AudioState.LIVE, "")]
    assert [effect for effect in effects if not isinstance(effect, Notify)] == [Keep(G1, G2)]
    assert (machine.state, machine.generation) == (LinkState.LIVE, G1)
    for late in (Joined(G2), JoinFailed(G2, LossReason.TIMED_OUT), StreamBroke(G2, LossReason.CLOSED), heard(G2)):
        assert machine.step(late, 9.1) == []
    effects = machine.step(StreamBroke(G1, LossReason.NETWORK), 20.0)
    assert doings(effects) == [Join(G3)], "the number of the join that was given up is used once"


@pytest.mark.parametrize(
    ("before", "failed"),
    [
        (StreamBroke(G1, LossReason.NETWORK), False),
        (StreamBroke(G1, LossReason.NETWORK), True),
        (Raised(Generation(G2 + 1)), False),
        (Raised(Generation(G2 + 1)), True),
        (JoinFailed(G2, LossReason.REPLACED, G3), False),
    ],
)
def test_a_place_that_is_gone_or_may_be_anothers_is_not_kept(before: Event, failed: bool) -> None:
    machine = replacing(failed)
    machine.step(before, 8.6)
    state = machine.state
    assert doings(machine.step(heard(), 8.7)) == []
    assert machine.state is state


def test_a_place_of_a_bridge_that_cannot_tell_places_apart_is_left_before_the_next_join() -> None:
    machine = in_state(LinkState.LIVE)
    machine.step(heard(), SETTLED)
    pass_time(machine, SETTLED + PRESENCE_MISSED)
    assert doings(machine.step(Examined(G1, OURS_DEAF), 8.0)) == [Join(G2)]
    assert machine.step(heard(), 8.1) == []


def test_once_the_successor_stands_the_kept_place_is_dismissed_and_the_past() -> None:
    machine = replacing()
    assert doings(machine.step(Joined(G2), 8.4)) == [Dismiss()]
    assert machine.step(heard(), 8.5) == []
    assert machine.state is LinkState.AWAITING_AUDIO


def test_a_bridge_that_is_about_to_stop_does_not_keep_its_place_by_being_heard() -> None:
    machine = in_state(LinkState.LIVE)
    effects = machine.step(News(G1, phone_here=True, leaving=True), SETTLED)
    assert doings(effects) == [Join(G2, elsewhere=True, keeps=True)]
    assert machine.step(heard(), SETTLED + 0.1) == []
    assert doings(machine.step(Joined(G2), SETTLED + 0.2)) == [Dismiss()]


@pytest.mark.parametrize("end", [Away(), Unwanted()])
def test_a_kept_place_goes_with_the_phone(end: Event) -> None:
    machine = replacing()
    assert doings(machine.step(end, 8.4)) == [Leave(G2)]
    assert machine.step(heard(), 8.5) == []
    assert doings(machine.step(OUR_PHONE, 9.0)) == ([Join(G3)])


# ---- all of it


@walk("seed", range(300))
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
        if isinstance(event, AudioReceived) and machine.state.placed and machine.state is not LinkState.HELD:
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
            elif isinstance(effect, Keep):
                in_flight, proven = 0, True
            elif isinstance(effect, Notify):
                assert here, why
                assert effect.notice.state is not AudioState.LIVE or proven, why
        assert in_flight == (machine.state is LinkState.JOINING), why
        if isinstance(event, Unwanted):
            here = False
        if isinstance(event, Tick):
            after = machine.next_deadline()
            assert after is None or after > now or machine.state is not before, why


# ---- what keeps a voice from being heard

MUTED = hindered(Hindrance.MUTED)
ENCRYPTED = hindered(Hindrance.ENCRYPTED)
BY_TRACK = AudioReceived(AudioRoute.ROOM, G1, False, track=True)


def news(finding: Finding | None = None, *, here: bool = True) -> News:
    return News(G1, phone_here=here, hindered=finding)


def speaking_phone() -> AudioLink:
    """An old phone that speaks, by a track, and is heard."""
    machine = link()
    for event in (OLD_PHONE, Voice(speaking=True), Joined(G1), news(), BY_TRACK):
        machine.step(event, 0.0)
    return machine


@pytest.mark.parametrize("hindrance", Hindrance)
def test_a_hindrance_is_told_at_once_and_nothing_is_done_about_it(hindrance: Hindrance) -> None:
    machine, finding = speaking_phone(), hindered(hindrance, "speex")
    told = notices(machine.step(news(finding), 1.0))
    muted = hindrance is Hindrance.MUTED
    assert told == [(AudioState.CONNECTING if muted else AudioState.INTERRUPTED, finding.code)]
    assert machine.step(BY_TRACK, 1.1) == [], "it was on its way before"
    assert doings(pass_time(machine, 29.0)) == []
    assert machine.state is LinkState.UNHEARD


def test_the_end_of_a_hindrance_is_heard_at_the_first_sample() -> None:
    machine = speaking_phone()
    machine.step(news(MUTED), 1.0)
    assert notices(machine.step(news(), 20.0)) == [(AudioState.CONNECTING, "awaiting_audio")]
    assert notices(machine.step(BY_TRACK, 20.1)) == [(AudioState.LIVE, "")]
    assert doings(pass_time(machine, 23.0)) == []


def test_one_hindrance_after_another() -> None:
    machine = speaking_phone()
    machine.step(news(MUTED), 1.0)
    assert notices(machine.step(news(ENCRYPTED), 2.0)) == [(AudioState.INTERRUPTED, "encrypted")]
    assert notices(machine.step(news(MUTED), 3.0)) == [(AudioState.CONNECTING, "muted")]


def test_voice_changes_nothing_about_a_hindrance() -> None:
    machine = speaking_phone()
    machine.step(news(MUTED), 1.0)
    for event in (Voice(speaking=False), Voice(speaking=True), Microphone(on=False), Microphone(on=True)):
        assert machine.step(event, 2.0) == []
    machine.step(NetworkBack(), 3.0)
    assert machine.state is LinkState.UNHEARD


def test_packets_are_heard_whatever_becomes_of_the_track() -> None:
    machine = link()
    for event in (OUR_PHONE, Joined(G1), news(ENCRYPTED)):
        machine.step(event, 0.0)
    assert notices(machine.step(heard(numbered=True), 0.5)) == [(AudioState.LIVE, "")]
    assert machine.step(news(), 0.5) == []


def test_packets_that_end_leave_the_hindrance() -> None:
    machine = link()
    for event in (OUR_PHONE, Joined(G1), news(), heard(numbered=True)):
        machine.step(event, 0.0)
    due = machine.next_deadline()
    assert due is not None
    assert doings(machine.step(Tick(), due)) == [Examine(G1)]
    evidence = Evidence(replace(DEAF, hindered=MUTED), COMPLETE)
    assert notices(machine.step(Examined(G1, evidence), due)) == [(AudioState.CONNECTING, "muted")]
    assert machine.state is LinkState.UNHEARD


def test_a_phone_that_comes_back_finds_what_it_left_or_what_was_told_meanwhile() -> None:
    for meanwhile, told in ((None, "muted"), (news(), "awaiting_audio")):
        machine = speaking_phone()
        machine.step(news(MUTED), 1.0)
        machine.step(Away(), 2.0)
        if meanwhile is not None:
            machine.step(meanwhile, 3.0)
        assert notices(machine.step(OLD_PHONE, 4.0)) == [(AudioState.CONNECTING, told)]


def test_a_fresh_place_knows_nothing_of_the_former_ones_hindrance() -> None:
    machine = speaking_phone()
    machine.step(news(MUTED), 1.0)
    machine.step(StreamBroke(G1, LossReason.NETWORK), 10.0)
    due = machine.next_deadline()
    assert due is not None
    machine.step(Tick(), due)
    machine.step(Joined(G2), due)
    assert machine.state is LinkState.AWAITING_AUDIO


def test_a_muted_phone_that_leaves_is_missed_soon() -> None:
    machine = speaking_phone()
    machine.step(news(MUTED), 1.0)
    machine.step(news(here=False), 5.0)
    assert machine.next_deadline() == 5.0 + GONE


def test_a_phone_whose_track_is_hindered_may_speak_by_the_socket() -> None:
    machine = speaking_phone()
    machine.step(news(ENCRYPTED), 1.0)
    effects = machine.step(heard(route=AudioRoute.SOCKET), 2.0)
    (notice,) = [effect.notice for effect in effects if isinstance(effect, Notify)]
    assert (notice.state, notice.code, notice.route) == (AudioState.LIVE, "encrypted", AudioRoute.SOCKET)


# ---- what cannot succeed before somebody has put it right


@pytest.mark.parametrize(("reason", "longest"), [(LossReason.CLOCK_SKEW, 60.0), (LossReason.UNREACHABLE, 7.0)])
def test_joins_that_cannot_succeed_wait_longer(reason: LossReason, longest: float) -> None:
    machine, now = link(lambda: 1.0), 0.0
    machine.step(OUR_PHONE, now)
    waits = []
    for _ in range(12):
        effects = machine.step(JoinFailed(machine.generation, reason, text="what a person can do"), now)
        assert [e.notice.text for e in effects if isinstance(e, Notify)] == ["what a person can do"]
        due = machine.next_deadline()
        assert due is not None
        waits.append(due - now)
        now = due
        machine.step(Tick(), now)
    assert waits[-1] == longest
    assert waits == sorted(waits)


def test_a_former_owner_may_have_used_greater_generations() -> None:
    machine = in_state(LinkState.LIVE)
    assert doings(machine.step(Raised(Generation(5_000)), 1.0)) == []
    assert machine.generation == G1, "the place that there is stays"
    machine.step(StreamBroke(G1, LossReason.STREAM_BROKEN), 1.1)
    assert doings(pass_time(machine, 2.0)) == [Join(Generation(5_001))]
