"""The arrival watch: whose silence counts, on which path, and from when."""

import pytest

from glassbridge.core.arrival import CATCH_UP, GONE, PRESENCE_MISSED, SILENCE, STALL, Arrival
from glassbridge.core.link_events import AudioRoute, Microphone, Voice, Wanted


def watch(*, numbers: bool, room: bool = True) -> Arrival:
    arrival = Arrival()
    arrival.arrive(Wanted(room=room, numbers=numbers), 0.0)
    arrival.listen_to_room(0.0)
    return arrival


def test_a_numbering_phone_has_longer_until_it_was_heard() -> None:
    arrival = watch(numbers=True)
    assert arrival.fault_at(AudioRoute.ROOM) == SILENCE
    arrival.hear(AudioRoute.ROOM, True, 1.0)
    assert arrival.fault_at(AudioRoute.ROOM) == 1.0 + PRESENCE_MISSED


@pytest.mark.parametrize(("numbers", "room_fault_at"), [(True, 1.0 + PRESENCE_MISSED), (False, 2.0 + SILENCE)])
def test_only_a_numbering_phone_is_missed_on_each_path_by_itself(numbers: bool, room_fault_at: float) -> None:
    arrival = watch(numbers=numbers)
    arrival.learn(Voice(speaking=True), 0.0)
    arrival.hear(AudioRoute.ROOM, numbers, 1.0)
    arrival.hear(AudioRoute.SOCKET, numbers, 2.0)
    assert arrival.fault_at(AudioRoute.ROOM) == room_fault_at


def test_an_old_phone_is_due_while_it_speaks() -> None:
    arrival = watch(numbers=False)
    assert arrival.fault_at(AudioRoute.ROOM) is None
    arrival.learn(Voice(speaking=True), 5.0)
    arrival.learn(Voice(speaking=True), 6.0)
    assert arrival.fault_at(AudioRoute.ROOM) == 5.0 + SILENCE
    arrival.learn(Microphone(on=False), 6.0)
    assert not arrival.is_due


def test_the_room_is_not_awaited_of_a_phone_that_does_not_use_it_until_it_is_heard_there() -> None:
    arrival = watch(numbers=True, room=False)
    assert arrival.fault_at(AudioRoute.ROOM) is None
    assert arrival.fault_at(AudioRoute.SOCKET) == SILENCE
    arrival.hear(AudioRoute.ROOM, True, 1.0)
    assert arrival.fault_at(AudioRoute.ROOM) == 1.0 + PRESENCE_MISSED


@pytest.mark.parametrize("late", [0.0, STALL])
def test_a_fault_that_is_found_in_time_is_a_fault(late: float) -> None:
    arrival = watch(numbers=True)
    assert not arrival.fault(AudioRoute.ROOM, SILENCE - 0.01)
    assert arrival.fault(AudioRoute.ROOM, SILENCE + late)


@pytest.mark.parametrize("late", [STALL + 0.01, 3600.0])
@pytest.mark.parametrize("numbers", [True, False])
def test_one_that_is_found_late_is_forgiven_once(numbers: bool, late: float) -> None:
    arrival = watch(numbers=numbers)
    arrival.learn(Voice(speaking=True), 0.0)
    woken = SILENCE + late
    assert not arrival.fault(AudioRoute.ROOM, woken)
    assert arrival.fault_at(AudioRoute.ROOM) == pytest.approx(woken + CATCH_UP)
    assert arrival.fault(AudioRoute.ROOM, woken + CATCH_UP + 0.001)


def test_a_phone_that_was_heard_in_the_room_may_be_out_of_it_for_a_moment() -> None:
    arrival = watch(numbers=True)
    arrival.phone_in_room(False, 0.1)
    assert arrival.fault_at(AudioRoute.ROOM) == SILENCE, "it has not come yet"
    arrival.hear(AudioRoute.ROOM, True, 1.0)
    arrival.phone_in_room(False, 1.2)
    arrival.phone_in_room(False, 1.4)
    assert arrival.fault_at(AudioRoute.ROOM) == 1.2 + GONE
    arrival.phone_in_room(True, 1.5)
    assert arrival.fault_at(AudioRoute.ROOM) == 1.0 + PRESENCE_MISSED


def test_a_new_socket_has_everything_to_prove() -> None:
    arrival = watch(numbers=True)
    arrival.hear(AudioRoute.ROOM, True, 1.0)
    arrival.depart()
    assert (arrival.heard, arrival.fault_at(AudioRoute.ROOM), arrival.phone.here) == (frozenset(), None, False)
    arrival.arrive(Wanted(room=False, numbers=True), 2.0)
    assert arrival.phone.room, "a wish for the room lasts"
    assert not arrival.phone.uses_room


def test_a_phone_that_comes_into_the_room_late_has_time_for_its_first_sound() -> None:
    """RTT 400: its join takes 2.9 s, and its way for audio is built after it. Once, however often it comes."""
    arrival = watch(numbers=True)
    arrival.phone_in_room(False, 0.1)
    arrival.phone_in_room(True, 2.9)
    assert arrival.fault_at(AudioRoute.ROOM) == 2.9 + SILENCE
    arrival.phone_in_room(False, 4.0)
    arrival.phone_in_room(True, 4.2)
    assert arrival.fault_at(AudioRoute.ROOM) == 2.9 + SILENCE


def test_a_phone_that_was_heard_gets_no_more_time_by_news_of_it() -> None:
    arrival = watch(numbers=True)
    arrival.hear(AudioRoute.ROOM, True, 1.0)
    arrival.phone_in_room(True, 2.0)
    assert arrival.fault_at(AudioRoute.ROOM) == 1.0 + PRESENCE_MISSED
