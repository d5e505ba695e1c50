"""The session machine against a small model, under any order of events and any lateness of its timer."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glassbridge.core.session import (
    GRACE,
    Adopt,
    Dispose,
    Effect,
    End,
    Refuse,
    Release,
    Session,
    SessionState,
    SocketClosed,
    SocketNumber,
    SocketOpened,
    Supersede,
    Tick,
)


class SessionModel(RuleBasedStateMachine):
    """Knows who speaks, when the last speaker went, and whether it is over; nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Session()
        self.now = 1_000.0
        self.opened = 0
        self.speaker: int | None = None
        self.left_at: float | None = None
        self.over = False
        self.disposals = 0

    def step(self, event: SocketOpened | SocketClosed | End | Tick) -> list[Effect]:
        effects = self.machine.step(event, self.now)
        self.disposals += sum(isinstance(effect, Dispose) for effect in effects)
        return effects

    @property
    def expired(self) -> bool:
        return self.left_at is not None and self.now >= self.left_at + GRACE

    @initialize()
    def first_socket(self) -> None:
        self.opened = self.speaker = 1
        assert self.step(SocketOpened(SocketNumber(1))) == [Adopt(SocketNumber(1), resumed=False)]

    @rule()
    def newer_socket(self) -> None:
        self.opened += 1
        number = SocketNumber(self.opened)
        effects = self.step(SocketOpened(number))
        if self.over:
            assert effects == [Refuse(number)]
        elif self.expired:
            self.over, self.left_at = True, None
            assert effects == [Dispose("grace is over", None), Refuse(number)]
        else:
            former = [Supersede(SocketNumber(self.speaker))] if self.speaker is not None else []
            assert effects == [*former, Adopt(number, resumed=True)]
            self.speaker, self.left_at = self.opened, None

    @precondition(lambda self: self.speaker is not None and self.speaker > 1)
    @rule(behind=st.integers(0, 3))
    def older_socket_comes_late(self, behind: int) -> None:
        assert self.speaker is not None
        number = SocketNumber(max(1, self.speaker - behind))
        assert self.step(SocketOpened(number)) == [Supersede(number)]

    @rule(behind=st.integers(0, 3))
    def a_socket_closes(self, behind: int) -> None:
        number = max(1, self.opened - behind)
        effects = self.step(SocketClosed(SocketNumber(number)))
        if number == self.speaker and not self.over:
            assert effects == [Release()]
            self.speaker, self.left_at = None, self.now
        else:
            assert effects == [], "what an old socket does late touches nothing"

    @rule(cause=st.sampled_from(["signed out", "draining"]))
    def somebody_ends_it(self, cause: str) -> None:
        effects = self.step(End(cause))
        speaker = None if self.speaker is None else SocketNumber(self.speaker)
        assert effects == ([] if self.over else [Dispose(cause, speaker)])
        self.over, self.speaker, self.left_at = True, None, None

    @rule(seconds=st.sampled_from([0.0, 0.001, 1.0, 30.0, 59.9, 60.0, 60.1]), rings=st.booleans())
    def time_passes(self, seconds: float, rings: bool) -> None:
        self.now += seconds
        if rings:
            effects = self.step(Tick())
            assert effects == ([Dispose("grace is over", None)] if self.expired else [])
            if self.expired:
                self.over, self.left_at = True, None

    @invariant()
    def agrees_with_the_model(self) -> None:
        machine = self.machine
        assert machine.socket == self.speaker
        assert machine.state.final is self.over
        assert (machine.state is SessionState.ACTIVE) is (self.speaker is not None)
        assert machine.next_deadline() == (None if self.left_at is None else self.left_at + GRACE)
        assert self.disposals == int(self.over)


TestSession = SessionModel.TestCase
TestSession.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
