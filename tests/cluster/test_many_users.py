"""A cloud with thousands of users keeps its lease, whatever the directory does. In virtual time."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress

import pytest
import structlog

from glassbridge.cloud.handover import HandOverClient
from glassbridge.cloud.ownership import UserOwnership
from glassbridge.cluster.directory import DirectoryAway, Node, Renewal, Taken
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core import ownership
from glassbridge.core.lease import LeaseState
from glassbridge.core.ownership import Claim, ClaimVerdict, Epoch, NodeState
from glassbridge.core.values import UserId
from glassbridge.runtime.shell import MAILBOX
from glassbridge.runtime.world import REAL, World
from tests.cluster.test_contract import ONE, claim
from tests.support.virtual_time import VirtualLoop, virtual_time

USERS = 3 * MAILBOX
TURNS = 16
ASK_TIME = 0.02
"""Seconds for each answer of the directory: all claims take 3.75 s."""


class BusyDirectory(MemoryDirectory):
    """Answers TURNS requests at a time, as a server behind so many connections does. While it is `frozen`, none."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.frozen = False
        self.asked: Counter[UserId] = Counter()
        self.renewals: Counter[bool] = Counter()
        """By whether they were answered in time."""
        self._turns = asyncio.Semaphore(TURNS)

    async def _answer(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout), self._turns:
                await asyncio.sleep(1e9 if self.frozen else ASK_TIME)
        except TimeoutError:
            raise DirectoryAway("TimeoutError") from None

    async def renew(
        self, node: Node, lease: float, heard: Collection[Taken], timeout: float, clock: int = 0
    ) -> Renewal:
        self.renewals[False] += 1
        await self._answer(timeout)
        self.renewals += Counter({True: 1, False: -1})
        return await super().renew(node, lease, heard, timeout, clock)

    async def claim(self, wanted: Claim, timeout: float, clock: int = 0) -> ClaimVerdict:
        self.asked[wanted.user] += 1
        await self._answer(timeout)
        return await super().claim(wanted, timeout, clock)


class ManyUsers:
    def __init__(self) -> None:
        users = [UserId(f"user{number}@example.com") for number in range(USERS)]
        self.held = {user: claim(ONE, user, epoch=Epoch(number + 1)) for number, user in enumerate(users)}

    def claims(self) -> list[Claim]:
        return list(self.held.values())

    def claim_of(self, user: UserId) -> Claim | None:
        return self.held.get(user)

    def own(self, user: UserId, event: ownership.Event) -> None:
        assert isinstance(event, ownership.Held), (user, event)

    def node_state(self) -> tuple[NodeState, int]:
        return NodeState.SERVING, USERS

    def meet(self, nodes: tuple[Node, ...]) -> None:
        pass


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    with virtual_time() as loop:
        yield loop


class Keeping:
    """A cloud's keeper as it runs."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.directory = BusyDirectory()
        self.users = ManyUsers()
        world = World(**{name: getattr(REAL, name) for name in World.__slots__} | {"monotonic": loop.time})
        self.keeper = UserOwnership(self.directory, ONE, self.users, HandOverClient(("x" * 32,)), world)

    async def __aenter__(self) -> "Keeping":
        self._run = asyncio.create_task(self.keeper.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._run.cancel()
        with suppress(asyncio.CancelledError):
            await self._run
        await self.keeper.close()

    async def passes(self, seconds: float) -> LeaseState:
        """What has become of the lease then."""
        await asyncio.wait({self._run}, timeout=seconds)
        assert not self._run.done(), "the lease is kept no more"
        return self.keeper.state


def test_all_claims_are_restored_once_and_renewals_have_their_turns(loop: VirtualLoop) -> None:
    async def run() -> None:
        async with Keeping(loop) as cloud:
            assert await cloud.passes(30.0) is LeaseState.HELD
            assert cloud.directory.renewals[False] == 0, "a renewal waited behind claims"
            assert set(cloud.directory.asked.values()) == {1}
            assert len(cloud.directory.asked) == USERS

    loop.run_until_complete(run())


def test_a_directory_that_stands_still_while_claims_are_restored(loop: VirtualLoop) -> None:
    async def run() -> None:
        async with Keeping(loop) as cloud:
            await cloud.passes(1.0)
            cloud.directory.frozen = True
            with structlog.testing.capture_logs() as lines:
                assert await cloud.passes(20.0) is LeaseState.AWAY
            assert [one["error"] for one in lines if one["event"] == "directory"][-1] == "TimeoutError", "why is told"
            cloud.directory.frozen = False
            assert await cloud.passes(30.0) is LeaseState.HELD
            assert len(cloud.directory.asked) == USERS

    loop.run_until_complete(run())


def test_thousands_of_claims_that_fail_at_once_are_one_piece_of_news(loop: VirtualLoop) -> None:
    async def run() -> None:
        async with Keeping(loop) as cloud:
            await cloud.passes(20.0)
            cloud.directory.frozen = True
            claims = [claim(ONE, user) for user in cloud.users.held]
            await asyncio.gather(*(cloud.keeper.claim(one, one, None, lambda _handed: None) for one in claims))
            cloud.directory.frozen = False
            assert await cloud.passes(20.0) is LeaseState.HELD

    loop.run_until_complete(run())
