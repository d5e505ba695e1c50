"""Which users this cloud owns: the shell around the lease (core/lease.py), and the way to the directory and to former
owners. Without a cluster the directory is in memory, and no other cloud is asked."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Protocol

import structlog

from glassbridge.cloud.handover import HAND_OVER_TIME, MOST_ASKED, HandOverClient, Late
from glassbridge.cluster.directory import Directory, DirectoryAway, Node, Taken
from glassbridge.core import ownership
from glassbridge.core.admission import share_of
from glassbridge.core.lease import (
    LEASE,
    RENEW_TIME,
    ClaimFailed,
    Drop,
    Effect,
    Event,
    Lease,
    LeaseState,
    NotRenewed,
    Reconcile,
    Renew,
    Renewed,
    Tick,
    Withdraw,
)
from glassbridge.core.lost_nodes import LostNodes
from glassbridge.core.machine import Record
from glassbridge.core.ownership import Claim, Epoch, Granted, NodeState, Owner, Refused, Role, decide, resume
from glassbridge.core.values import UserId
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import World
from glassbridge.telemetry import metrics
from glassbridge.wire.cluster import HandOver

log = structlog.get_logger()

CLAIM_TIME: Final = 0.5
"""Seconds that a claim may take; then it is local."""
ASKED_WITHIN: Final = 2 * HAND_OVER_TIME
"""Seconds for which a user that the directory says was taken is kept: the new owner asks for the session just now."""
CLOSE_TIME: Final = 0.5
"""Seconds in which a node that stops tells the directory."""
RESTORED_AT_ONCE: Final = 8
"""Claims: thousands at once would keep the directory from new claims and renewals until the lease is lost again."""


class Users(Protocol):
    """The users whose sessions are here."""

    def claims(self) -> list[Claim]:
        """Of all that this cloud owns."""

    def claim_of(self, user: UserId) -> Claim | None:
        """None: this cloud does not own the user."""

    def own(self, user: UserId, event: ownership.Event) -> None:
        """The ownership of this user has changed."""

    def node_state(self) -> tuple[NodeState, int]:
        """Whether this cloud takes new users, and how many it has."""

    def meet(self, nodes: tuple[Node, ...]) -> None:
        """These are all nodes now, this one among them."""


@dataclass(frozen=True, slots=True)
class Won:
    """The user is ours."""

    claim: Claim
    held: bool
    """The directory says so; False: our own word."""
    lost_meanwhile: bool
    """This cloud's former state of the user is outdated: another owner was in between."""
    handed: HandOver | None
    """What the former owner has handed over; None: there was none, or it did not answer so far."""
    goes_on: bool
    """It is a session that the phone has had before."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """A newer attempt of the same phone is elsewhere."""

    by: Claim | None


class UserOwnership:
    """One for each running cloud. `run` for as long as it serves, then `close`."""

    def __init__(
        self, directory: Directory, owner: Owner, users: Users, client: HandOverClient | None, world: World
    ) -> None:
        self._clock, self._wall = world.monotonic, world.wall
        self._directory = directory
        self.owner = owner
        self._users = users
        self._client = client
        self._lease = Lease(self._clock())
        self._shell: Shell[Event] = Shell(self._lease, self._perform, Tick(), self._note, self._clock)
        self._tasks = TaskGroup("keeper")
        self._unrestored: dict[UserId, None] = {}
        """Users whose claims are to be restored; who waits longest comes first."""
        self._reconciling: asyncio.Task[None] | None = None
        self._heard: list[Taken] = []
        """What the directory has told and need not tell again."""
        self._ahead_ms: float | None = None
        """What the directory's clock shows beyond monotonic time, in milliseconds,"""
        self._clock_ahead_ms: float | None = None
        """and the cluster's clock, as far as it was seen."""
        self._failure = ""
        """Of the last renewal that failed: what it was."""
        self._away_since: float | None = None
        self._lost = LostNodes()
        self.nodes: tuple[Node, ...] = ()
        """All that the directory knew when it last answered, and those that were met since."""

    @property
    def state(self) -> LeaseState:
        return self._lease.state

    @property
    def shared(self) -> bool:
        """Other clouds may take our users."""
        return self._client is not None

    @property
    def others(self) -> list[Owner]:
        """All other clouds, those that are cut off from the directory too."""
        here = self.owner.incarnation
        known = [node.owner for node in self.nodes if node.owner.incarnation != here]
        return [*known, *self._lost.lost(self._clock())]

    @property
    def share(self) -> float:
        """The part of what all clouds have together that this one may use, by their sessions."""
        here = self.owner.incarnation
        return share_of(
            self._users.node_state()[1], (node.load for node in self.nodes if node.owner.incarnation != here)
        )

    @property
    def has_successor(self) -> bool:
        """Another cloud, as far as is known, takes users."""
        here = self.owner.incarnation
        return any(node.state is NodeState.SERVING and node.owner.incarnation != here for node in self.nodes)

    def met(self, owner: Owner) -> None:
        """Another cloud has asked us for a user: the directory may not have told of it yet."""
        if all(node.owner.incarnation != owner.incarnation for node in self.nodes):
            self.nodes = (*self.nodes[-MOST_ASKED:], Node(owner, NodeState.SERVING, 0))

    @property
    def away_for(self) -> float:
        """Seconds for which the directory has been away; 0 while it is not."""
        return 0.0 if self._away_since is None else self._clock() - self._away_since

    async def run(self) -> None:
        """Keeps the lease, until close(). Safe to cancel."""
        await self._shell.run()

    async def close(self) -> None:
        """Says goodbye to the directory; existing claims stay."""
        self._shell.stop()
        for effect in self._lease.step(Withdraw(), self._clock()):
            assert isinstance(effect, Drop)
            try:
                await self._directory.withdraw(self.owner, CLOSE_TIME)
            except DirectoryAway as away:
                log.info("node not withdrawn", error=str(away))
        await self._tasks.close()
        await self._directory.close()

    # ---- claims

    async def claim(self, wanted: Claim, mine: Claim | None, given: Claim | None, late: Late) -> Won | TooLate:
        """Claims a user for a new socket; `mine` is the claim by which the user is here already, `given` the one
        by which another cloud took the user from this one. Takes CLAIM_TIME and twice HAND_OVER_TIME at most; a former
        owner that lives but has not answered by then hands over to `late`. Safe to cancel."""
        verdict = await self._ask_directory(wanted)
        held = verdict is not None
        if verdict is None:
            verdict = decide(mine, wanted, self._seen_ms() or int(self._wall() * 1000))
        metrics.CLAIMS.add("refused" if isinstance(verdict, Refused) else "held" if held else "local")
        if isinstance(verdict, Refused):
            return TooLate(verdict.claim)
        former = verdict.former
        claim, lost_meanwhile = resume(mine, given, verdict)
        asked = self._whom_to_ask(held, former, mine, given)
        answers = [] if self._client is None or not asked else await self._client.ask(claim, asked, late)
        if any(answer.stays for answer in answers):
            metrics.HAND_OVERS.add("late")
            return TooLate(None)
        handed = max(answers, key=lambda answer: answer.epoch, default=None)
        last = former if held else given
        silent = None if handed is not None else self._silent(last, held=held)
        if former is not None or handed is not None:
            metrics.HAND_OVERS.add("handed" if handed is not None else "overdue" if silent is not None else "no_answer")
        known = handed.session if handed is not None else "" if silent is None else silent.session
        takes_over = mine is None or lost_meanwhile
        claim = replace(claim, session=known if known and takes_over else wanted.session)
        if handed is not None:
            claim = replace(claim, epoch=Epoch(max(claim.epoch, handed.epoch)))
        changed = held and claim != verdict.claim  # the id, or the epoch
        unknown = not held and self._lease.is_trusted(self._clock())  # the directory has come back meanwhile
        if changed or unknown:
            self.restore(claim)
        return Won(claim, held, lost_meanwhile, handed, goes_on=bool(known))

    def silent(self, user: UserId) -> frozenset[Owner]:
        """Former owners that were asked for this user and may still answer."""
        return frozenset() if self._client is None else self._client.silent(user)

    def _silent(self, former: Claim | None, *, held: bool) -> Claim | None:
        """The claim of the former owner, if that one lives, as far as is known, and may still answer; or, where the
        directory names it (`held`), a cloud that it has named."""
        if former is None:
            return None
        silent = self.silent(former.user).intersection(self.others)
        return former if former.owner in silent or (held and silent) else None

    def restore(self, claim: Claim) -> None:
        """Writes down in the directory what this claim has become."""
        self._tasks.spawn(self._restore(claim), f"restore:{claim.user}")

    async def _ask_directory(self, wanted: Claim) -> Granted | Refused | None:
        """None: it is away."""
        if not self._lease.is_trusted(self._clock()):
            return None
        try:
            verdict = await self._directory.claim(wanted, CLAIM_TIME, self._seen_ms())
        except DirectoryAway as away:
            log.warning("claim failed", user_id=wanted.user, error=str(away))
            self._shell.post_once(ClaimFailed())
            return None
        self._see(verdict.claim.epoch)
        return verdict

    def _whom_to_ask(
        self, held: bool, former: Claim | None, mine: Claim | None, given: Claim | None
    ) -> frozenset[Owner]:
        """The former owner. The directory may not know it: then the cloud that got the user from us, or, while the
        directory is away, every cloud that may be it."""
        if mine is not None and former is None:
            return frozenset()
        asked = {former.owner} if former is not None else set()
        if given is not None:
            asked.add(given.owner)
        if not held:
            asked |= {node.owner for node in self.nodes}
        return frozenset(owner for owner in asked if owner.incarnation != self.owner.incarnation)

    async def owners_of(self, user: UserId) -> tuple[str, ...] | None:
        """Addresses of the clouds that may have this user, other than this one: the owner that the directory names, or
        all that are known while it is away. None: no cloud owns the user. Never raises."""
        if self._lease.is_trusted(self._clock()):
            try:
                claim = await self._directory.find(user, CLAIM_TIME)
            except DirectoryAway as away:
                log.warning("owner not found", user_id=user, error=str(away))
                self._shell.post_once(ClaimFailed())
            else:
                return None if claim is None else self._elsewhere(claim.owner)
        return self._elsewhere(*(node.owner for node in self.nodes))

    def _elsewhere(self, *owners: Owner) -> tuple[str, ...]:
        return tuple(one.address for one in owners if one.address and one.incarnation != self.owner.incarnation)

    async def release(self, claim: Claim) -> None:
        """Gives up this user. While the directory is away it is not told: the next owner asks here, and
        hears that there is nothing."""
        if self._lease.is_trusted(self._clock()):
            try:
                await self._directory.release(claim, CLAIM_TIME)
            except DirectoryAway:
                self._shell.post_once(ClaimFailed())

    def now_ms(self) -> int:
        """Unix milliseconds of the directory, as far as they are known: clocks of clouds do not count."""
        return int(self._wall() * 1000) if self._ahead_ms is None else int(self._ahead_ms + self._clock() * 1000)

    def _seen_ms(self) -> int:
        """The cluster's clock; 0: nothing is known of it."""
        return 0 if self._clock_ahead_ms is None else int(self._clock_ahead_ms + self._clock() * 1000)

    def _see(self, clock_ms: int) -> None:
        ahead = clock_ms - self._clock() * 1000
        self._clock_ahead_ms = ahead if self._clock_ahead_ms is None else max(self._clock_ahead_ms, ahead)

    # ---- the lease

    def _note(self, record: Record[LeaseState]) -> None:
        if record.new is LeaseState.AWAY:
            self._away_since = self._clock()
        elif record.new is LeaseState.HELD:
            self._away_since = None
        if self.shared:
            level = log.warning if record.new is LeaseState.AWAY else log.info
            error = "" if record.new.trusted else self._failure
            level(
                "directory",
                error=error,
                **record.fields,
            )

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Renew(number):
                self._tasks.spawn(self._renew(number), f"renew-{number}")
            case Reconcile():
                self._reconcile()

    async def _renew(self, number: int) -> None:
        state, load = self._users.node_state()
        heard = list(self._heard)
        try:
            node = Node(self.owner, state, load)
            answer = await self._directory.renew(node, LEASE, heard, RENEW_TIME, self._seen_ms())
        except DirectoryAway as away:
            self._failure = str(away)
            self._shell.post(NotRenewed(number))
            return
        self._ahead_ms = answer.now_ms - self._clock() * 1000
        self._see(answer.clock_ms)
        self.nodes = tuple(node for node in answer.nodes if node.role is Role.CLOUD)
        self._lost.see({node.owner: node.state is NodeState.DRAINING for node in self.nodes}, self._clock())
        self._users.meet(answer.nodes)
        self._heard = list(answer.taken)
        if answer.taken:
            self._tasks.spawn(self._lose(answer.taken), f"lose-{number}")
        self._shell.post(Renewed(number, answer.server))

    async def _lose(self, taken: Iterable[Taken]) -> None:
        """Lets users go whose new owner has not asked for them by itself. A claim of ours that is newer than the loss
        has been restored by then."""
        await asyncio.sleep(ASKED_WITHIN)
        if self._reconciling is not None:
            await asyncio.wait({self._reconciling})
        for news in taken:
            self._users.own(news.user, ownership.Taken(news.epoch))

    def _reconcile(self) -> None:
        """Restores all claims: what others took meanwhile is let go. Users that wait already keep their places, so that
        each is reached, however often the directory goes and comes back."""
        claims = self._users.claims()
        if claims and self.shared:
            log.info("claims restored", users=len(claims))
        self._unrestored |= dict.fromkeys(claim.user for claim in claims)
        if self._reconciling is None or self._reconciling.done():
            self._reconciling = self._tasks.spawn(self._restore_all(), "reconcile")

    async def _restore_all(self) -> None:
        """While the lease is trusted; once it is so again, those that are left are restored too."""
        while self._unrestored and self._lease.is_trusted(self._clock()):
            users = list(islice(self._unrestored, RESTORED_AT_ONCE))
            for user in users:
                del self._unrestored[user]
            claims = filter(None, map(self._users.claim_of, users))
            await asyncio.gather(*(self._restore(claim) for claim in claims))

    async def _restore(self, claim: Claim) -> None:
        try:
            verdict = await self._directory.claim(claim, LEASE, self._seen_ms())
        except DirectoryAway:
            self._shell.post_once(ClaimFailed())
            return
        self._see(verdict.claim.epoch)
        granted, stands = isinstance(verdict, Granted), verdict.claim
        event = ownership.Held(stands) if granted else ownership.Denied(claim.epoch, stands.owner)
        self._users.own(claim.user, event)
