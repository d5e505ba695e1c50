"""Socket and place together: what one hears of the other, what a sleep does to both, what a person is told."""

import pytest

from glassbridge.core.phone_link import Effect, Event, PhoneLink, Situation, Tell
from glassbridge.core.phone_place import (
    FROZEN,
    AudioTold,
    Blame,
    Join,
    Leave,
    PlaceFailed,
    PlaceJoined,
    PlaceLeft,
    PlaceLost,
    PlaceState,
)
from glassbridge.core.phone_socket import (
    SILENCE,
    Accepted,
    CloseSocket,
    ComeBack,
    Hint,
    MessageReceived,
    NetworkChanged,
    NetworkLost,
    OpenSocket,
    Ping,
    SocketClosed,
    SocketFailed,
    SocketState,
    Start,
    Stop,
    Switch,
    Tick,
)
from glassbridge.core.values import AudioState, Generation, LossReason

ONE, TWO, THREE = Generation(1), Generation(2), Generation(3)


class Phone:
    """A link that is turned by hand; keeps what a person was told."""

    def __init__(self, *, room: bool = True) -> None:
        self.link = PhoneLink(lambda: 0.5, room=room)
        self.told: list[Tell] = []

    def do(self, event: Event, now: float) -> list[Effect]:
        effects = self.link.step(event, now)
        self.told += [effect for effect in effects if isinstance(effect, Tell)]
        return [effect for effect in effects if not isinstance(effect, Tell)]

    def live(self, now: float = 0.0) -> "Phone":
        """Connected since `now`, in the room, heard; its cloud answers pings."""
        self.do(Start(), now)
        self.do(Accepted(ONE, False), now)
        self.do(MessageReceived(ONE, 1), now)
        self.do(PlaceJoined(ONE), now)
        self.do(AudioTold(ONE, AudioState.LIVE), now)
        self.told.clear()
        return self

    def answering(self, start: float, end: float, socket: Generation = ONE) -> list[Effect]:
        """Time passes; the cloud answers each ping at once."""
        others: list[Effect] = []
        while (due := self.link.next_deadline()) is not None and start <= due <= end:
            for effect in self.do(Tick(), due):
                if isinstance(effect, Ping):
                    self.do(MessageReceived(socket, effect.number), due)
                else:
                    others.append(effect)
        return others

    @property
    def situations(self) -> list[Situation]:
        return [told.situation for told in self.told]

    @property
    def states(self) -> tuple[SocketState, PlaceState]:
        return self.link.socket.state, self.link.place.state


def test_a_place_is_wanted_once_the_cloud_has_acknowledged_the_phone() -> None:
    phone = Phone()
    assert phone.do(Start(), 0.0) == [OpenSocket(ONE)]
    assert phone.do(Accepted(ONE, False), 0.1) == [Ping(ONE, 1), Join(ONE)]


def test_a_phone_that_speaks_by_its_socket_wants_no_place() -> None:
    phone = Phone(room=False)
    phone.do(Start(), 0.0)
    assert phone.do(Accepted(ONE, False), 0.1) == [Ping(ONE, 1)]
    assert phone.do(NetworkChanged(), 0.2) == [CloseSocket(ONE, False), OpenSocket(TWO)]
    assert phone.states[1] is PlaceState.OUT


@pytest.mark.parametrize(("same", "after"), [(True, PlaceState.HELD), (False, PlaceState.LEAVING)])
def test_the_place_outlives_the_socket_and_stays_when_it_is_still_the_right_one(same: bool, after: PlaceState) -> None:
    phone = Phone().live()
    assert phone.do(SocketClosed(ONE, ComeBack.LATER, "the connection broke"), 0.9) == []
    assert phone.states == (SocketState.WAITING, PlaceState.HELD)
    phone.do(Tick(), 1.1)
    phone.do(Accepted(TWO, same), 1.2)
    assert phone.states == (SocketState.READY, after)


def test_a_place_that_outlived_a_socket_which_died_without_a_word_is_renewed_by_the_next_one() -> None:
    phone = Phone().live()
    assert phone.answering(0.5, 9.0) == []
    for second in (10.0, 11.0, 12.0):
        assert [type(effect) for effect in phone.do(Tick(), second)] == [Ping]
    assert phone.do(Tick(), 10.0 + SILENCE) == [OpenSocket(TWO)]
    assert phone.states == (SocketState.OPENING, PlaceState.HELD)
    assert phone.do(Accepted(TWO, True), 12.6)[0::2] == [CloseSocket(ONE, False), Leave(ONE, False)]
    assert phone.do(PlaceLeft(ONE), 12.6) == [Join(TWO)]


def test_a_socket_that_fell_silent_and_answers_again_leaves_the_place_alone_and_tells_what_is_true() -> None:
    phone = Phone().live()
    phone.answering(0.5, 9.0)
    for second in (10.0, 11.0, 12.0):
        phone.do(Tick(), second)
    assert phone.do(Tick(), 10.0 + SILENCE) == [OpenSocket(TWO)]
    phone.do(AudioTold(ONE, AudioState.INTERRUPTED, Blame.ELSEWHERE, "the network is slow"), 13.0)
    assert phone.situations == [Situation.UNREACHABLE]
    effects = phone.do(MessageReceived(ONE, 11), 14.0)
    assert effects[0] == CloseSocket(TWO, False)
    assert phone.states == (SocketState.READY, PlaceState.HELD)
    phone.do(AudioTold(ONE, AudioState.LIVE), 14.5)
    assert phone.situations[1:] == [Situation.UNHEARD, Situation.HEARD]


def test_a_place_lost_without_a_socket_is_taken_again_when_the_cloud_is_back() -> None:
    phone = Phone().live()
    phone.do(SocketClosed(ONE, ComeBack.LATER, "the connection broke"), 0.9)
    assert phone.do(PlaceLost(ONE, LossReason.NETWORK), 1.0) == []
    phone.do(Tick(), 1.1)
    assert phone.do(Accepted(TWO, True), 1.2) == [Ping(TWO, 2), Join(TWO)]


def test_a_switch_leaves_the_old_room_before_the_new_one_is_joined() -> None:
    phone = Phone().live()
    assert phone.do(Switch(), 0.5) == [CloseSocket(ONE, True), OpenSocket(TWO), Leave(ONE, True)]
    assert phone.do(Accepted(TWO, False), 0.6) == [Ping(TWO, 2)], "the old place is not left yet"
    assert phone.do(PlaceLeft(ONE), 0.7) == [Join(TWO)]


@pytest.mark.parametrize(
    "end",
    [
        Stop(),
        SocketClosed(ONE, ComeBack.NO, "a newer socket took over"),
    ],
)
def test_the_end_of_the_phone_is_the_end_of_its_place(end: Event) -> None:
    phone = Phone().live()
    assert phone.do(end, 0.5)[-1] == Leave(ONE, True)
    phone.do(PlaceLeft(ONE), 0.6)
    assert phone.states == (SocketState.ENDED, PlaceState.OUT)
    assert phone.link.next_deadline() is None


def test_a_lost_network_cuts_both_and_its_return_brings_both_back_at_once() -> None:
    phone = Phone().live()
    assert phone.do(NetworkLost(), 0.5) == [CloseSocket(ONE, False), Leave(ONE, False)]
    phone.do(PlaceLeft(ONE), 0.6)
    assert phone.link.next_deadline() is None
    assert phone.do(NetworkChanged(), 60.0) == [OpenSocket(TWO)]
    assert phone.do(Accepted(TWO, True), 60.1) == [Ping(TWO, 2), Join(TWO)]


def test_another_network_opens_a_new_socket_at_once_and_takes_a_fresh_place_by_it() -> None:
    phone = Phone().live()
    effects = phone.do(NetworkChanged(), 0.5)
    assert effects == [CloseSocket(ONE, False), OpenSocket(TWO), Leave(ONE, False)], "nothing is asked first"
    assert phone.told[-1].situation is Situation.UNREACHABLE
    assert "the network changed" in phone.told[-1].text
    phone.do(PlaceLeft(ONE), 0.6)
    assert Join(TWO) in phone.do(Accepted(TWO, True), 0.7)
    assert phone.states == (SocketState.READY, PlaceState.JOINING)


def test_a_short_freeze_tests_the_socket_only() -> None:
    phone = Phone().live()
    assert phone.do(Tick(), 1.0 + 1.5) == [Ping(ONE, 2)]
    assert phone.states == (SocketState.DOUBTFUL, PlaceState.HELD)


def test_a_long_sleep_is_seen_by_whatever_comes_first_and_doubts_both() -> None:
    phone = Phone().live()
    woke = 1.0 + 690.0
    effects = phone.do(AudioTold(ONE, AudioState.INTERRUPTED), woke)
    assert effects == [Ping(ONE, 2), Leave(ONE, False)]
    assert phone.do(PlaceLost(ONE, LossReason.FROZEN), woke) == [], "one fresh place, not two"
    assert phone.do(PlaceLeft(ONE), woke + 0.1) == [Join(TWO)]
    assert phone.do(SocketClosed(ONE, ComeBack.LATER, "silent"), woke + 0.1) == [OpenSocket(TWO)]
    assert phone.do(Accepted(TWO, True), woke + 0.2) == [Ping(TWO, 3)]
    assert FROZEN < 690


def test_a_loop_that_lags_is_no_sleep() -> None:
    phone = Phone().live()
    assert phone.do(Tick(), 1.9) == [Ping(ONE, 2)]
    assert phone.states == (SocketState.READY, PlaceState.HELD)


def test_the_cloud_is_given_a_hint_when_a_place_was_taken_while_audio_was_missed() -> None:
    phone = Phone().live()
    phone.answering(0.0, 4.0)
    assert phone.do(AudioTold(ONE, AudioState.INTERRUPTED, Blame.PHONE), 4.1) == [Leave(ONE, False)]
    phone.do(PlaceLeft(ONE), 4.2)
    phone.do(Tick(), 4.5)
    assert phone.do(PlaceJoined(TWO), 4.6) == [Hint(ONE)]
    assert phone.do(PlaceJoined(ONE), 4.7) == []  # the former place speaks late


def test_what_an_older_socket_says_of_audio_is_not_heard() -> None:
    phone = Phone().live()
    phone.do(Switch(), 0.5)
    phone.do(PlaceLeft(ONE), 0.5)
    phone.do(Accepted(TWO, False), 0.6)
    phone.do(PlaceJoined(TWO), 0.7)
    assert phone.do(AudioTold(ONE, AudioState.INTERRUPTED, Blame.PHONE), 0.8) == []
    assert phone.states[1] is PlaceState.HELD


# ---- what a person is told


def test_nobody_there_is_told_once_with_what_comes_next() -> None:
    phone = Phone()
    phone.do(Start(), 0.0)
    now = 0.0
    for _ in range(10):
        phone.do(SocketFailed(phone.link.socket.generation, False, "connection refused"), now)
        now = phone.link.next_deadline() or now
        phone.do(Tick(), now)
    assert [told.text for told in phone.told] == [
        "connecting to the cloud",
        "the cloud cannot be reached (connection refused), trying again",
    ]
    assert phone.told[1].retry_at == 0.125


def test_a_network_that_swallows_everything_is_told_too() -> None:
    phone = Phone()
    phone.do(Start(), 0.0)
    for _ in range(10):
        phone.do(Tick(), phone.link.next_deadline() or 0.0)
    assert phone.told[-1].text == "the cloud cannot be reached (no answer in time), trying again"
    assert len(phone.told) == 2


def test_a_place_that_is_renewed_is_told_and_so_is_its_end() -> None:
    phone = Phone().live()
    phone.answering(0.5, 5.9)
    phone.do(AudioTold(ONE, AudioState.INTERRUPTED, reason="nothing arrives"), 6.0)
    phone.do(AudioTold(ONE, AudioState.INTERRUPTED, Blame.PHONE, "the phone is not in its room"), 6.5)
    phone.do(PlaceLeft(ONE), 6.6)
    phone.do(PlaceJoined(TWO), 6.7)
    phone.do(AudioTold(ONE, AudioState.LIVE), 6.8)
    assert [told.text for told in phone.told] == [
        "you are connected, but nothing is heard: nothing arrives",
        "you are connected, but nothing is heard: the phone's place in the room is being renewed",
        "you are connected, but nothing is heard: the phone is not in its room",
        "audio is back after 0.8 s",
    ]


def test_a_broken_connection_is_told_until_audio_is_back() -> None:
    phone = Phone().live()
    phone.answering(0.5, 9.5)
    phone.do(SocketClosed(ONE, ComeBack.LATER, "the connection broke"), 9.6)
    phone.do(SocketFailed(TWO, False, "timed out"), 11.6)
    phone.do(SocketFailed(THREE, False, "connection refused"), 11.6)
    phone.do(Tick(), 12.0)
    phone.do(Accepted(Generation(4), True), 12.1)
    phone.do(AudioTold(Generation(4), AudioState.LIVE), 12.2)
    assert [told.text for told in phone.told] == [
        "the connection to the cloud is lost (the connection broke): connecting again",
        "the cloud cannot be reached (timed out), trying again",
        "the cloud cannot be reached (connection refused), trying again",
        "connected; nothing has been heard yet",
        "audio is back after 2.6 s",
    ]


def test_a_cloud_that_cannot_get_audio_says_when_it_tries_again() -> None:
    phone = Phone().live()
    notice = AudioTold(ONE, AudioState.UNAVAILABLE, Blame.ELSEWHERE, "no bridge can be reached", retry_at=3.1)
    phone.do(notice, 0.5)
    assert phone.told[0].text == (
        "you are connected, but nothing is heard: no bridge can be reached, trying again in 3 s"
    )


def test_no_network_is_told_and_so_is_the_end() -> None:
    phone = Phone().live()
    phone.do(NetworkLost(), 0.5)
    phone.do(NetworkChanged(), 9.0)
    phone.do(SocketFailed(TWO, True, "the cloud refuses the token"), 9.1)
    assert phone.situations == [Situation.OFFLINE, Situation.CONNECTING, Situation.ENDED]
    assert phone.told[-1].text == "the cloud refuses the token"


def test_a_room_that_cannot_be_joined_at_first_is_told() -> None:
    phone = Phone()
    phone.do(Start(), 0.0)
    phone.do(Accepted(ONE, False), 0.1)
    phone.do(AudioTold(ONE, AudioState.CONNECTING), 0.1)
    phone.do(PlaceFailed(ONE, "no LiveKit server answers"), 0.2)
    assert phone.situations == [Situation.CONNECTING, Situation.CONNECTED, Situation.RENEWING]
    phone.do(AudioTold(ONE, AudioState.LIVE), 0.3)
    assert phone.told[-1].text == "you are heard", "by the socket"


def test_a_person_is_told_of_a_muted_and_of_a_dead_microphone_and_the_place_stays() -> None:
    phone = Phone().live()
    phone.do(AudioTold(ONE, AudioState.CONNECTING, Blame.ELSEWHERE, "it is muted", code="muted"), 0.4)
    phone.do(AudioTold(ONE, AudioState.LIVE), 0.8)
    phone.do(AudioTold(ONE, AudioState.LIVE, Blame.ELSEWHERE, "it is silent", code="digital_silence"), 0.9)
    assert "it is muted" in phone.told[0].text
    assert (phone.told[-1].situation, "it is silent" in phone.told[-1].text) == (Situation.UNHEARD, True)
    assert phone.states == (SocketState.READY, PlaceState.HELD)
