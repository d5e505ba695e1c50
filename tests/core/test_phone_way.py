"""A phone of the original is taken out of a room that serves nobody, and greeted when it serves again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glassbridge.core.diagnosis import Hop
from glassbridge.core.link_events import AudioRoute, Notice
from glassbridge.core.phone_way import GREET_EVERY, IN_DOUBT, Nudge, PhoneWay
from glassbridge.core.values import AudioState

BY_SOCKET = Notice(AudioState.INTERRUPTED, "bridge_died", route=AudioRoute.SOCKET)
LIVE_BY_SOCKET = Notice(AudioState.LIVE, "bridge_died", route=AudioRoute.SOCKET)
UNHEARD = Notice(AudioState.INTERRUPTED, "phone_unheard", hop=Hop.PHONE, route=AudioRoute.SOCKET)
BY_ROOM = Notice(AudioState.CONNECTING, "awaiting_audio", route=AudioRoute.ROOM)


def heard(route: AudioRoute = AudioRoute.ROOM, *, track: bool = False) -> PhoneWay:
    way = PhoneWay()
    way.reached()
    way.heard(route, track=track)
    return way


def test_out_once_and_back_once() -> None:
    way = heard()
    assert way.told(BY_ROOM, 0.0) is None
    assert way.told(BY_SOCKET, 1.0) is Nudge.TAKE_OUT
    assert way.told(BY_SOCKET, 2.0) is None
    way.heard(AudioRoute.SOCKET, track=False)
    assert way.told(BY_ROOM, 3.0) is Nudge.GREET
    assert way.told(BY_ROOM, 4.0) is None


def test_greetings_have_a_pace() -> None:
    way = heard()
    assert way.invite(0.0) is Nudge.GREET
    assert way.told(BY_SOCKET, 1.0) is Nudge.TAKE_OUT
    assert way.told(BY_ROOM, 2.0) is None
    assert way.due == GREET_EVERY
    assert way.told(LIVE_BY_SOCKET, 3.0) is None
    assert way.told(BY_ROOM, 4.0) is None
    assert way.tick(GREET_EVERY) is Nudge.GREET
    assert way.due is None


@pytest.mark.parametrize("away", [BY_SOCKET, LIVE_BY_SOCKET])
def test_nobody_is_greeted_into_a_room_without_a_bridge(away: Notice) -> None:
    way = heard()
    assert way.invite(0.0) is Nudge.GREET
    way.told(BY_SOCKET, 1.0)
    way.told(BY_ROOM, 2.0)
    assert way.told(away, 3.0) is None
    assert way.tick(GREET_EVERY) is None
    assert way.told(BY_ROOM, GREET_EVERY + 1) is Nudge.GREET


def test_a_phone_that_is_heard_in_its_room_needs_no_greeting() -> None:
    way = heard()
    assert way.invite(0.0) is Nudge.GREET
    assert way.invite(5.0) is None
    assert way.told(Notice(AudioState.LIVE, route=AudioRoute.ROOM), 6.0) is None
    assert way.tick(GREET_EVERY) is None
    way = heard()
    assert way.invite(0.0) is Nudge.GREET
    assert way.invite(5.0) is None
    assert way.told(UNHEARD, 6.0) is Nudge.TAKE_OUT
    assert way.tick(GREET_EVERY) is Nudge.GREET, "it is not heard"


@given(st.floats(0.0, 1e6))
@example(495.43508709194094)
def test_what_is_due_is_done_then(begin: float) -> None:
    """The sum of the moment and the pause, less the moment, may be less than the pause: it was due for ever."""
    way = heard()
    assert way.invite(begin) is Nudge.GREET
    assert way.invite(begin + 5.0) is None
    assert way.told(UNHEARD, begin + 6.0) is Nudge.TAKE_OUT
    assert way.due is not None
    assert way.tick(way.due) is Nudge.GREET


@pytest.mark.parametrize("way", [PhoneWay(), heard(AudioRoute.SOCKET), heard(track=True)])
def test_who_was_not_heard_by_packets_stays_where_it_is(way: PhoneWay) -> None:
    assert way.told(BY_SOCKET, 0.0) is None
    assert way.told(BY_ROOM, 99.0) is None


@pytest.mark.parametrize("code", sorted(IN_DOUBT))
def test_nobody_is_put_out_of_a_room_that_may_be_another_clouds(code: str) -> None:
    assert heard().told(Notice(AudioState.INTERRUPTED, code, route=AudioRoute.SOCKET), 0.0) is None


def test_a_new_socket_begins_anew() -> None:
    way = heard()
    assert way.told(BY_SOCKET, 0.0) is Nudge.TAKE_OUT
    way.reached()
    assert way.told(BY_ROOM, 99.0) is None
