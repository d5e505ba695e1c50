"""The audio link against the books of a cloud: one attempt at a time, none for a phone that is away, and the truth."""

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glassbridge.core.audio_link import (
    SILENCE,
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
    Status,
    StreamBroke,
    Tick,
    Trouble,
    Unwanted,
    Voice,
    Wanted,
)
from glassbridge.core.diagnosis import BridgeStatus, Evidence, LiveKitStatus
from glassbridge.core.values import AudioState, Generation, LossReason

TROUBLES = st.sampled_from([*LossReason, *BridgeFault])
SAYS = st.none() | st.builds(
    BridgeStatus, st.booleans(), st.none() | st.floats(0.0, 5.0), st.none() | st.booleans(), st.just(False)
)
EVIDENCE = st.builds(
    Evidence, SAYS, st.none() | st.builds(LiveKitStatus, st.booleans(), st.booleans(), st.booleans()), st.booleans()
)
WAITS = {LinkState.SUSPECT, LinkState.INTERRUPTED, LinkState.UNHEARD, LinkState.DOUBTFUL, LinkState.BACKING_OFF}
"""States that end by themselves."""
SPARE = 1.1
"""Seconds that what waits to be read has after a standstill, and a little more."""


class LinkModel(RuleBasedStateMachine):
    """Books only: it answers for bridges, LiveKit and the phone, in any order and at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = AudioLink(Generation(100), lambda: 0.5)
        self.now = 10.0
        self.here = self.over = False
        self.numbers = False
        self.speaking_since: float | None = None
        self.microphone = True
        self.attempt: Generation | None = None
        """The join under way."""
        self.place: Generation | None = None
        self.kept: Generation | None = None
        """A former place that goes on until the next one stands."""
        self.newest = 100
        """Of all joins, of others' too as far as we were told."""
        self.ours = 100
        self.asked: set[type] = set()
        """Questions that wait for their answer."""
        self.told: Notice | None = None
        self.arrived_at = 0.0
        self.heard_at = -inf
        self.slept_at = -inf

    def step(self, event: Event) -> list[Effect]:
        effects = self.machine.step(event, self.now)
        for effect in effects:
            self.book(effect)
        return effects

    def book(self, effect: Effect) -> None:
        match effect:
            case Join(generation, _, keeps):
                assert self.here, "a join for a phone that is away"
                assert generation > self.newest, "a generation is used twice"
                self.kept = self.place or self.kept if keeps else None
                self.newest = self.ours = self.attempt = generation
                self.place = None
                self.asked.clear()
            case Keep(generation, instead_of):
                assert self.here, "a place is kept for a phone that is away"
                assert (generation, instead_of) == (self.kept, self.ours), "a place that is gone is kept"
                assert self.newest == self.ours, "another owner has used a newer generation"
                self.ours = generation
                self.place, self.attempt, self.kept = generation, None, None
            case Dismiss():
                self.kept = None
            case Leave(generation):
                assert generation == self.ours, "somebody else's place is given up"
                self.attempt = self.place = self.kept = None
            case AskStatus(generation) | Examine(generation):
                assert generation == self.place, "a question about a place that is not there"
                self.asked.add(type(effect))
            case AskPhone():
                assert self.here
                self.asked.add(AskPhone)
            case Notify(notice):
                assert self.here, "nobody is there to be told"
                assert self.told is None or notice != self.told, "the same is told twice"
                self.told = notice

    def due_since(self) -> float:
        """From when this phone must be heard; infinite while it may be silent."""
        if self.numbers:
            return -inf
        return self.speaking_since if self.microphone and self.speaking_since is not None else inf

    # ---- the phone

    @rule(room=st.booleans(), numbers=st.booleans())
    def a_socket_comes(self, room: bool, numbers: bool) -> None:
        if self.over:
            return
        self.here, self.numbers, self.told = True, numbers, None
        self.microphone, self.speaking_since = True, None
        self.arrived_at, self.heard_at = self.now, -inf
        self.step(Wanted(room, numbers))
        assert self.told is not None, "a new socket is told nothing"

    @precondition(lambda self: self.here)
    @rule()
    def it_goes(self) -> None:
        self.here, self.told = False, None
        self.asked.discard(AskPhone)
        self.step(Away())

    @precondition(lambda self: not self.over)
    @rule()
    def the_session_ends(self) -> None:
        had = self.attempt is not None or self.place is not None
        self.here, self.over = False, True
        effects = self.step(Unwanted())
        assert not had or any(isinstance(effect, Leave) for effect in effects), "a place is left behind"

    @precondition(lambda self: self.here)
    @rule(route=st.sampled_from(AudioRoute))
    def it_is_heard(self, route: AudioRoute) -> None:
        if route is AudioRoute.ROOM and self.place is None:
            return
        self.heard_at = self.now
        self.step(AudioReceived(route, Generation(self.ours), self.numbers))
        assert self.told is not None
        assert (
            self.told.state is AudioState.LIVE or self.machine.state is LinkState.DOUBTFUL or route is AudioRoute.ROOM
        )

    @precondition(lambda self: self.here and self.kept is not None)
    @rule()
    def the_kept_place_is_heard(self) -> None:
        assert self.kept is not None
        heard_at, self.heard_at = self.heard_at, self.now
        effects = self.step(AudioReceived(AudioRoute.ROOM, self.kept, self.numbers))
        if not any(isinstance(effect, Keep) for effect in effects):
            self.heard_at = heard_at

    @precondition(lambda self: self.kept is not None)
    @rule(reason=TROUBLES)
    def the_kept_place_breaks(self, reason: Trouble) -> None:
        assert self.kept is not None
        kept, self.kept = self.kept, None
        assert self.step(StreamBroke(kept, reason)) == []

    @precondition(lambda self: self.here)
    @rule(on=st.booleans())
    def microphone_switched(self, on: bool) -> None:
        self.microphone = on
        self.step(Microphone(on))

    @precondition(lambda self: self.here)
    @rule(speaking=st.booleans())
    def voice_detected(self, speaking: bool) -> None:
        self.speaking_since = None if not speaking else self.speaking_since or self.now
        self.step(Voice(speaking))

    @precondition(lambda self: self.here)
    @rule()
    def hint(self) -> None:
        self.step(NetworkBack())

    # ---- bridges

    @precondition(lambda self: self.attempt is not None)
    @rule()
    def join_succeeds(self) -> None:
        assert self.attempt is not None
        self.place, self.attempt = self.attempt, None
        self.step(Joined(self.place))

    @precondition(lambda self: self.attempt is not None)
    @rule(reason=TROUBLES, above=st.sampled_from([0, 0, 50, 500]))
    def join_fails(self, reason: Trouble, above: int) -> None:
        assert self.attempt is not None
        attempt, self.attempt = self.attempt, None
        self.newest = max(self.newest, above)
        self.step(JoinFailed(attempt, reason, Generation(above)))

    @precondition(lambda self: self.place is not None)
    @rule(reason=TROUBLES)
    def stream_breaks(self, reason: Trouble) -> None:
        assert self.place is not None
        place, self.place = self.place, None
        self.asked.clear()
        self.step(StreamBroke(place, reason))

    @precondition(lambda self: self.place is not None)
    @rule(here=st.booleans(), leaving=st.booleans())
    def news(self, here: bool, leaving: bool) -> None:
        assert self.place is not None
        self.step(News(self.place, here, leaving))

    @rule()
    def a_bridge_is_back(self) -> None:
        self.step(BridgeBack(waiting=2))

    @rule(behind=st.integers(1, 3), reason=TROUBLES)
    def the_past_speaks(self, behind: int, reason: Trouble) -> None:
        """Whatever an older attempt still says changes nothing and does nothing."""
        old, state = Generation(self.newest - behind), self.machine.state
        if old in (self.kept, self.place):
            return
        for event in (
            Joined(old),
            JoinFailed(old, reason),
            StreamBroke(old, reason),
            News(old, phone_here=True, leaving=True),
            Status(old, reason),
            Examined(old, Evidence()),
            PhoneAnswered(old, answers=True),
            AudioReceived(AudioRoute.ROOM, old, numbered=True),
        ):
            assert self.step(event) == []
        assert self.machine.state is state

    # ---- answers

    @precondition(lambda self: AskStatus in self.asked)
    @rule(lost=st.none() | TROUBLES)
    def status(self, lost: Trouble | None) -> None:
        self.asked.discard(AskStatus)
        if self.place is not None:
            self.step(Status(self.place, lost))

    @precondition(lambda self: Examine in self.asked)
    @rule(evidence=EVIDENCE)
    def examined(self, evidence: Evidence) -> None:
        self.asked.discard(Examine)
        if self.place is not None:
            self.step(Examined(self.place, evidence))

    @precondition(lambda self: AskPhone in self.asked)
    @rule(answers=st.booleans())
    def phone_answered(self, answers: bool) -> None:
        self.asked.discard(AskPhone)
        self.step(PhoneAnswered(Generation(self.ours), answers))

    # ---- time

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.4, 1.0, 2.5, 3.5, 8.0]))
    def time_passes(self, seconds: float) -> None:
        """The timer rings whenever it is due."""
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
        self.the_truth_is_told()

    @rule(seconds=st.sampled_from([0.6, 3.0, 20.0]))
    def it_sleeps(self, seconds: float) -> None:
        """Nothing happens for a while, then the timer rings once, late."""
        self.now += seconds
        self.slept_at = self.now
        self.step(Tick())

    def the_truth_is_told(self) -> None:
        due = max(self.due_since(), self.arrived_at, self.heard_at)
        if not self.here or self.now - due <= SILENCE + 0.01 or self.now - self.slept_at <= SILENCE + SPARE:
            return
        assert self.told is not None
        assert self.told.state is not AudioState.LIVE, f"live, but nothing is heard for {self.now - due:.2f} s"

    # ---- what must hold

    @invariant()
    def the_books_agree(self) -> None:
        state = self.machine.state
        assert (state is LinkState.JOINING) is (self.attempt is not None), "a join that is no join"
        assert not state.placed or self.place is not None, "it believes in a place that is gone"
        if not self.here:
            assert state in (LinkState.IDLE, LinkState.HELD), "something is done for a phone that is away"

    @invariant()
    def only_audio_proves_audio(self) -> None:
        if self.told is not None and self.told.state is AudioState.LIVE:
            assert self.heard_at >= self.arrived_at, "live, and nothing was ever heard"

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        assert self.machine.state not in WAITS or self.machine.next_deadline() is not None


TestLink = LinkModel.TestCase
TestLink.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
