"""The phone's machine against the books of a phone: one socket that counts, beside at most one that fell silent, one
place, and nothing tried where nothing helps."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glassbridge.core.phone_link import Effect, Event, PhoneLink, Tell
from glassbridge.core.phone_place import (
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


class PhoneModel(RuleBasedStateMachine):
    """Books only: which socket and which place the phone has, and what it was asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = PhoneLink(lambda: 0.5)
        self.now = 5.0
        self.opening: Generation | None = None
        self.socket: Generation | None = None
        """Acknowledged."""
        self.kept: Generation | None = None
        """It fell silent."""
        self.rival = False
        """The socket answered after an attempt to replace it: the cloud may have taken that."""
        self.joining: Generation | None = None
        self.place: Generation | None = None
        self.leaving: Generation | None = None
        self.sockets = self.places = self.pings = 0
        self.offline = self.over = False
        self.told: Tell | None = None

    def step(self, event: Event) -> list[Effect]:
        effects = self.machine.step(event, self.now)
        socket = self.machine.socket
        if socket.kept is not None and socket.kept == self.socket:
            self.kept, self.socket = self.socket, None
        elif socket.state.here and socket.generation == self.kept:
            self.socket, self.kept, self.rival = self.kept, None, True
        for effect in effects:
            self.book(effect)
        return effects

    def book(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(socket):
                assert self.opening is self.socket is None, "two sockets that count"
                assert not self.offline, "a socket where there is no network"
                assert not self.over, "a socket after the end"
                assert socket > self.sockets
                self.opening, self.sockets = socket, socket
            case CloseSocket(socket):
                assert socket in (self.opening, self.socket, self.kept), "a socket is closed that is not open"
                self.opening, self.socket, self.kept = (
                    None if each == socket else each for each in (self.opening, self.socket, self.kept)
                )
            case Ping(socket, number):
                assert socket == self.socket, "a ping without a socket"
                assert number == self.pings + 1
                self.pings = number
            case Hint(socket):
                assert socket == self.socket, "a hint without a socket"
            case Join(place):
                assert self.joining is self.place is self.leaving is None, "two places at once"
                assert self.socket is not None, "a place is sought without a cloud"
                assert place > self.places
                self.joining, self.places = place, place
            case Leave(place):
                assert place in (self.joining, self.place), "a place is left that is not ours"
                self.joining = self.place = None
                self.leaving = place
            case Tell():
                assert self.told is None or (effect.situation, effect.text) != (self.told.situation, self.told.text)
                self.told = effect

    @initialize()
    def start(self) -> None:
        self.step(Start())
        assert self.opening is not None

    # ---- the cloud

    @precondition(lambda self: self.opening is not None)
    @rule(same=st.booleans(), answers=st.booleans())
    def accepted(self, same: bool, answers: bool) -> None:
        assert self.opening is not None
        self.socket, self.opening, self.rival = self.opening, None, False
        self.step(Accepted(self.socket, same, answers))

    @precondition(lambda self: self.opening is not None)
    @rule(final=st.sampled_from([False] * 9 + [True]))
    def failed(self, final: bool) -> None:
        assert self.opening is not None
        socket, self.opening = self.opening, None
        self.over = final
        self.step(SocketFailed(socket, final, "no"))

    @precondition(lambda self: self.socket is not None)
    @rule(back=st.sampled_from([ComeBack.LATER] * 5 + [ComeBack.NOW] * 4 + [ComeBack.NO]))
    def closed(self, back: ComeBack) -> None:
        assert self.socket is not None
        socket, self.socket = self.socket, None
        self.over = back is ComeBack.NO and not self.rival
        self.step(SocketClosed(socket, back, "bye"))

    @precondition(lambda self: self.socket is not None)
    @rule(same=st.booleans())
    def comes_back(self, same: bool) -> None:
        """The whole way from a lost socket to the next one."""
        self.closed(ComeBack.NOW)
        while self.opening is None:
            self.time_passes(0.5)
        self.accepted(same, answers=True)

    @precondition(lambda self: self.socket is not None)
    @rule(echo=st.booleans())
    def heard(self, echo: bool) -> None:
        assert self.socket is not None
        self.step(MessageReceived(self.socket, self.pings if echo else None))

    @precondition(lambda self: self.socket is not None)
    @rule(state=st.sampled_from(AudioState), blame=st.sampled_from(Blame))
    def told_of_audio(self, state: AudioState, blame: Blame) -> None:
        assert self.socket is not None
        self.step(AudioTold(self.socket, state, blame, "because"))

    @precondition(lambda self: self.kept is not None)
    @rule(echo=st.booleans())
    def the_silent_one_speaks(self, echo: bool) -> None:
        assert self.kept is not None
        self.step(MessageReceived(self.kept, self.pings if echo else None))

    @precondition(lambda self: self.kept is not None)
    @rule(back=st.sampled_from(ComeBack))
    def the_silent_one_breaks(self, back: ComeBack) -> None:
        assert self.kept is not None
        socket, self.kept = self.kept, None
        self.step(SocketClosed(socket, back, "bye"))

    # ---- the room

    @precondition(lambda self: self.joining is not None)
    @rule()
    def joined(self) -> None:
        assert self.joining is not None
        self.place, self.joining = self.joining, None
        self.step(PlaceJoined(self.place))

    @precondition(lambda self: self.joining is not None)
    @rule()
    def join_failed(self) -> None:
        assert self.joining is not None
        place, self.joining = self.joining, None
        self.step(PlaceFailed(place, "no"))

    @precondition(lambda self: self.place is not None)
    @rule(reason=st.sampled_from(LossReason))
    def lost(self, reason: LossReason) -> None:
        assert self.place is not None
        place, self.place = self.place, None
        self.step(PlaceLost(place, reason))

    @precondition(lambda self: self.leaving is not None)
    @rule()
    def left(self) -> None:
        assert self.leaving is not None
        place, self.leaving = self.leaving, None
        self.step(PlaceLeft(place))

    # ---- what is over

    @rule(behind=st.integers(1, 3))
    def the_past_speaks(self, behind: int) -> None:
        """An older socket or place changes nothing, least of all by being superseded."""
        states = self.states()
        old, gone = Generation(self.sockets - behind), Generation(self.places - behind)
        if old in (self.socket, self.kept):
            return
        events: list[Event] = [
            Accepted(old, same_room=False),
            SocketFailed(old, True, "no"),
            SocketClosed(old, ComeBack.NO, "superseded"),
            MessageReceived(old, 1),
            AudioTold(old, AudioState.LIVE),
            PlaceJoined(gone),
            PlaceFailed(gone, "no"),
            PlaceLost(gone, LossReason.SUPERSEDED),
            PlaceLeft(gone),
        ]
        for event in events:
            assert [effect for effect in self.step(event) if not self.is_of_time(effect)] == []
        assert self.states() == states or self.late()

    def states(self) -> tuple[Any, ...]:
        return self.machine.socket.state, self.machine.place.state

    def late(self) -> bool:
        due = self.machine.next_deadline()
        return due is not None and self.now > due

    @staticmethod
    def is_of_time(effect: Effect) -> bool:
        """Waking up is noticed with whatever comes first."""
        return isinstance(effect, Ping | Tell | Leave | OpenSocket | CloseSocket)

    # ---- the person and the system

    @rule()
    def network_changed(self) -> None:
        self.offline = False
        self.step(NetworkChanged())

    @rule()
    def network_lost(self) -> None:
        if not self.over:
            self.offline = True
        self.step(NetworkLost())
        assert self.opening is self.socket is self.kept is None

    @rule()
    def switch(self) -> None:
        self.step(Switch())
        assert self.joining is self.place is None, "the old room is not left first"

    @precondition(lambda self: self.sockets > 3)
    @rule()
    def stop(self) -> None:
        self.over = True
        self.step(Stop())
        assert self.opening is self.socket is self.kept is self.joining is self.place is None

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.2, 10.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(1_000):
            due = self.machine.next_deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.step(Tick())
        else:
            raise AssertionError("the timer rings without end")
        self.now = until

    @rule(seconds=st.sampled_from([1.5, 6.0, 600.0]))
    def it_sleeps(self, seconds: float) -> None:
        self.now += seconds
        self.step(Tick())

    # ---- what must hold

    @invariant()
    def the_books_agree(self) -> None:
        socket, place = self.machine.socket, self.machine.place
        assert socket.state.here is (self.socket is not None)
        assert socket.kept == self.kept
        assert (socket.state is SocketState.OPENING) is (self.opening is not None)
        assert (place.state is PlaceState.HELD) is (self.place is not None)
        assert (place.state is PlaceState.JOINING) is (self.joining is not None)
        assert (place.state is PlaceState.LEAVING) is (self.leaving is not None)
        assert socket.state.final is self.over

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        machine = self.machine
        if machine.socket.state not in (SocketState.IDLE, SocketState.OFFLINE, SocketState.ENDED):
            assert machine.socket.next_deadline() is not None
        if machine.place.state in (PlaceState.JOINING, PlaceState.WAITING):
            assert machine.place.next_deadline() is not None

    @invariant()
    def the_end_is_quiet(self) -> None:
        if self.over:
            assert self.joining is self.place is None, "a place is kept after the end"


TestPhone = PhoneModel.TestCase
TestPhone.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
