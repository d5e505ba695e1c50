"""Three clouds, one user, and a directory that is cut off, delays, forgets and fails over; clocks are hours apart.

The clouds here are the two machines and `decide`, joined as cloud/ownership.py joins them, without tasks and sockets.
"""

import os
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from glassbridge.core.lease import (
    ClaimFailed,
    Lease,
    LeaseState,
    NotRenewed,
    Reconcile,
    Renew,
    Renewed,
    Tick,
)
from glassbridge.core.ownership import (
    Assumed,
    Claim,
    Denied,
    Ended,
    Epoch,
    Granted,
    Held,
    Owner,
    Ownership,
    Refused,
    Release,
    Released,
    Taken,
    decide,
    resume,
)
from glassbridge.core.values import UserId

ANN = UserId("ann@example.com")
BEGAN_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
CONNECTING = 0.005
"""Seconds between two sockets of the phone, at least."""
nodes = st.integers(0, 2)


class Directory:
    """Of one user. `saved` is what a replica has."""

    def __init__(self) -> None:
        self.kept: Claim | Released | None = None
        self.saved: Claim | Released | None = None
        self.server = 0
        """Which run of a server it is: each has a number of its own."""
        self.behind_ms = 0
        self.clock = self.saved_clock = 0
        """Of the cluster, as it was last seen."""
        self.taken: dict[int, list[Epoch]] = {0: [], 1: [], 2: []}
        self.saved_taken: dict[int, list[Epoch]] = {0: [], 1: [], 2: []}

    def claim(self, wanted: Claim, server_ms: int, clock: int) -> Granted | Refused:
        verdict = decide(self.kept, wanted, max(server_ms, self.clock, clock))
        if isinstance(verdict, Granted):
            self.clock = max(self.clock, verdict.claim.epoch)
            self.kept = verdict.claim
            if verdict.former is not None:
                self.taken[int(verdict.former.owner.node)].append(verdict.claim.epoch)
        return verdict

    def release(self, claim: Claim) -> None:
        kept = self.kept
        if isinstance(kept, Claim) and (kept.owner, kept.epoch) == (claim.owner, claim.epoch):
            self.kept = Released(kept.epoch)


class Cloud:
    """One node."""

    def __init__(self, number: int, skew_ms: int) -> None:
        self.owner = Owner(str(number), f"incarnation-{number}", "")
        self.skew_ms = skew_ms
        self.lease = Lease(0.0)
        self.session: Ownership | None = None
        self.given: Claim | None = None
        """By what another one took the user from here."""
        self.reaches_directory = True
        self.hears_directory = True
        """False: what it asks arrives, but no answer is in time."""
        self.ahead: int | None = None
        """By how much the clock of the cluster, as it was seen, is ahead of monotonic time."""


class ClusterModel(RuleBasedStateMachine):
    """Knows which cloud took the phone's newest socket; nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.directory = Directory()
        self.clouds = [Cloud(0, 0), Cloud(1, HOUR_MS), Cloud(2, -HOUR_MS)]
        self.network = True
        """Clouds reach each other."""
        self.attempt = 0
        self.newest: int | None = None
        self.servers = 0
        self.epochs: dict[int, Epoch] = {}
        """The greatest that each cloud has had a session by."""

    @initialize()
    def all_register(self) -> None:
        self.settle()

    def next_server(self) -> int:
        self.servers += 1
        return self.servers

    # ---- the shells

    def ms(self, cloud: Cloud) -> int:
        return self.seen(cloud) or BEGAN_MS + cloud.skew_ms + round(self.now * 1000)

    def seen(self, cloud: Cloud) -> int:
        return 0 if cloud.ahead is None else cloud.ahead + round(self.now * 1000)

    def see(self, cloud: Cloud, clock: int) -> None:
        ahead = clock - round(self.now * 1000)
        cloud.ahead = ahead if cloud.ahead is None else max(cloud.ahead, ahead)

    def directory_ms(self) -> int:
        return BEGAN_MS - self.directory.behind_ms + round(self.now * 1000)

    def turn(self, cloud: Cloud) -> None:
        """Everything that is due, answers included."""
        due = cloud.lease.next_deadline()
        for effect in cloud.lease.step(Tick(), self.now) if due is not None and self.now >= due else []:
            assert isinstance(effect, Renew)
            self.renew(cloud, effect.number)

    def renew(self, cloud: Cloud, number: int) -> None:
        if cloud.reaches_directory:
            self.directory.clock = max(self.directory.clock, self.seen(cloud), self.directory_ms())
        if not (cloud.reaches_directory and cloud.hears_directory):
            cloud.lease.step(NotRenewed(number), self.now)
            return
        self.see(cloud, self.directory.clock)
        effects = cloud.lease.step(Renewed(number, f"run-{self.directory.server}"), self.now)
        news = self.directory.taken[int(cloud.owner.node)]
        heard = [*news]
        news.clear()
        for effect in effects:
            if isinstance(effect, Reconcile):
                self.reconcile(cloud)
        for epoch in heard:
            self.hear(cloud, Taken(epoch))

    def reconcile(self, cloud: Cloud) -> None:
        if cloud.session is None or not cloud.session.state.owns or cloud.session.claim is None:
            return
        self.restore(cloud, cloud.session.claim)

    def restore(self, cloud: Cloud, claim: Claim) -> None:
        verdict = self.directory.claim(claim, self.directory_ms(), self.seen(cloud))
        if not cloud.hears_directory:
            for effect in cloud.lease.step(ClaimFailed(), self.now):
                assert isinstance(effect, Renew)
                self.renew(cloud, effect.number)
            return
        self.see(cloud, verdict.claim.epoch)
        granted, stands = isinstance(verdict, Granted), verdict.claim
        self.hear(cloud, Held(stands) if granted else Denied(claim.epoch, stands.owner))

    def hear(self, cloud: Cloud, event: Held | Assumed | Taken | Denied) -> None:
        if cloud.session is not None:
            cloud.session.step(event, self.now)

    def claim(self, cloud: Cloud, wanted: Claim) -> Granted | Refused | None:
        """None: the directory is away."""
        if not cloud.lease.is_trusted(self.now):
            return None
        if cloud.reaches_directory:
            verdict = self.directory.claim(wanted, self.directory_ms(), self.seen(cloud))
        if not (cloud.reaches_directory and cloud.hears_directory):
            for effect in cloud.lease.step(ClaimFailed(), self.now):
                assert isinstance(effect, Renew)
                self.renew(cloud, effect.number)
            return None
        self.see(cloud, verdict.claim.epoch)
        return verdict

    # ---- what happens

    @rule(number=nodes)
    def phone_connects(self, number: int) -> None:
        cloud = self.clouds[number]
        self.attempt += 1
        self.now += CONNECTING
        wanted = Claim(ANN, cloud.owner, f"s{self.attempt}", "phone", self.attempt)
        live = cloud.session if cloud.session is not None and cloud.session.state.owns else None
        verdict = self.claim(cloud, wanted)
        given, cloud.given = cloud.given, None
        owed: Claim | None = None
        if verdict is None:  # by its own word, and by that of the clouds that it can ask
            mine = live.claim if live is not None else None
            assumed = decide(mine, wanted, self.ms(cloud))
            assert isinstance(assumed, Granted), "the newest attempt is never late"
            claim, _ = resume(mine, given, assumed)
            for other in self.clouds if self.network else ():
                if other is not cloud:
                    claim = self.hand_over(other, claim)
            event: Held | Assumed = Assumed(claim)
        else:
            assert isinstance(verdict, Granted), "the newest attempt is never late"
            claim, lost_meanwhile = resume(None if live is None else live.claim, given, verdict)
            for one in (verdict.former, given):
                if one is not None and one.owner != cloud.owner and self.network:
                    claim = self.hand_over(self.clouds[int(one.owner.node)], claim)
            if live is not None and lost_meanwhile:
                live.step(Taken(claim.epoch), self.now)  # and win it anew
                assert not live.state.owns, "two sessions of a user"
                live = None
            event, owed = Held(claim), claim if claim != verdict.claim else None
        if live is None:
            cloud.session = live = Ownership()
        live.step(event, self.now)
        assert live.state.owns
        assert live.claim is not None
        assert live.claim.attempt == self.attempt
        self.newest = number
        self.epochs[number] = max(live.epoch, self.epochs.get(number, live.epoch))
        if owed is not None:
            self.restore(cloud, owed)

    def hand_over(self, asked: Cloud, claim: Claim) -> Claim:
        """A former owner lets the user go. The claim with the epoch that it needs then."""
        held = asked.session.claim if asked.session is not None and asked.session.state.owns else None
        if held is None:
            return claim
        verdict = decide(held, replace(claim, epoch=Epoch(0)), claim.epoch)
        assert isinstance(verdict, Granted), "the newest attempt is never late"
        asked.given = replace(claim, epoch=verdict.claim.epoch)
        self.hear(asked, Taken(asked.given.epoch))
        return replace(claim, epoch=Epoch(max(claim.epoch, asked.given.epoch)))

    @rule(number=nodes)
    def session_ends(self, number: int) -> None:
        cloud = self.clouds[number]
        if cloud.session is None or self.newest == number:
            return
        for effect in cloud.session.step(Ended(), self.now):
            if isinstance(effect, Release) and cloud.reaches_directory:
                self.directory.release(effect.claim)
        cloud.session = None

    @rule(number=nodes, reaches=st.booleans())
    def directory_partitioned(self, number: int, reaches: bool) -> None:
        self.clouds[number].reaches_directory = reaches

    @rule(number=nodes, hears=st.booleans())
    def directory_slow(self, number: int, hears: bool) -> None:
        self.clouds[number].hears_directory = hears

    @rule(whole=st.booleans())
    def network_partitioned(self, whole: bool) -> None:
        self.network = whole

    @rule()
    def replica_in_sync(self) -> None:
        self.directory.saved = self.directory.kept
        self.directory.saved_clock = self.directory.clock
        self.directory.saved_taken = {number: [*news] for number, news in self.directory.taken.items()}

    @rule(behind_ms=st.sampled_from([0, 0, HOUR_MS]))
    def directory_failed_over(self, behind_ms: int) -> None:
        self.directory.behind_ms += behind_ms
        self.directory.kept = self.directory.saved
        self.directory.clock = self.directory.saved_clock
        self.directory.taken = {number: [*news] for number, news in self.directory.saved_taken.items()}
        self.directory.server = self.next_server()

    @rule(behind_ms=st.sampled_from([0, HOUR_MS]))
    def directory_restarted_empty(self, behind_ms: int) -> None:
        self.directory = replaced = Directory()
        replaced.behind_ms = behind_ms
        replaced.server = self.next_server()

    @rule(number=nodes, seconds=st.sampled_from([0.3, 1.0, 4.0, 25.0]))
    def time_passes_but_one_stands_still(self, number: int, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.1)
            for other in self.clouds:
                if other is not self.clouds[number]:
                    self.turn(other)

    @rule()
    def settle(self) -> None:
        """Everything is well again, for long enough: one owner, the one that has the phone."""
        self.network = True
        for cloud in self.clouds:
            cloud.reaches_directory = cloud.hears_directory = True
        for _ in range(60):
            self.now += 0.1
            for cloud in self.clouds:
                self.turn(cloud)
        assert all(cloud.lease.state is LeaseState.HELD for cloud in self.clouds)
        owners = [int(cloud.owner.node) for cloud in self.clouds if cloud.session and cloud.session.state.owns]
        assert owners == ([] if self.newest is None else [self.newest])

    # ---- what must hold

    @invariant()
    def the_newest_socket_is_owned_where_it_is(self) -> None:
        if self.newest is not None:
            session = self.clouds[self.newest].session
            assert session is not None, "the phone has no session"
            assert session.state.owns, "the cloud that has the phone let it go"

    @invariant()
    def the_newest_owner_is_not_fenced(self) -> None:
        """Bridges and LiveKit take the greatest generation they know."""
        if self.newest is not None:
            session = self.clouds[self.newest].session
            assert session is not None
            others = [epoch for number, epoch in self.epochs.items() if number != self.newest]
            assert all(session.epoch > epoch for epoch in others), "a former owner has as great an epoch"


def test_a_phone_returns_to_its_cloud_after_a_failover_that_lost_its_claim() -> None:
    """The directory grants the newest attempt a smaller epoch than the cloud has."""
    for saved in (False, True):
        for behind_ms in (0, HOUR_MS):
            model = ClusterModel()
            model.all_register()
            model.phone_connects(0)
            if saved:
                model.replica_in_sync()
            model.phone_connects(1)
            model.directory_failed_over(behind_ms)
            model.phone_connects(1)
            model.the_newest_socket_is_owned_where_it_is()
            model.settle()
            model.the_newest_socket_is_owned_where_it_is()


TestCluster = ClusterModel.TestCase
SCHEDULES = int(os.environ.get("SCHEDULES", "100"))
"""How many are tried; 30,000 take some time."""
TestCluster.settings = settings(max_examples=SCHEDULES, stateful_step_count=40, deadline=None)
