"""The directory of a single cloud, in its memory; several nodes may share one in tests."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from glassbridge.cluster.directory import Node, Renewal, Taken
from glassbridge.core.ownership import Claim, ClaimVerdict, Epoch, Granted, Owner, Released, Role, decide
from glassbridge.core.values import UserId

MOST_RELEASED = 10_000
"""Epochs of released claims that are remembered; the oldest go."""


def _unix_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


class MemoryDirectory:
    """Never away; forgets everything when its process ends. `now_ms` gives unix milliseconds."""

    def __init__(self, now_ms: Callable[[], int] = _unix_ms) -> None:
        self._now_ms = now_ms
        self._nodes: dict[str, tuple[Node, float]] = {}
        """With the end of the lease, in unix milliseconds."""
        self._claims: dict[UserId, Claim] = {}
        self._released: dict[UserId, Released] = {}
        self._taken: dict[str, list[Taken]] = {}
        self._seen = 0
        """Of the cluster's clock."""

    async def renew(
        self, node: Node, lease: float, heard: Collection[Taken], timeout: float, clock: int = 0
    ) -> Renewal:
        self._seen = max(self._seen, clock)
        now, incarnation = self._now_ms(), node.owner.incarnation
        self._nodes[incarnation] = node, now + lease * 1000
        for gone in [key for key, (_, ends) in self._nodes.items() if ends <= now]:
            del self._nodes[gone]
        taken = self._taken[incarnation] = [news for news in self._taken.get(incarnation, []) if news not in heard]
        return Renewal(
            now, max(now, self._seen), "memory", tuple(known for known, _ in self._nodes.values()), tuple(taken)
        )

    async def nodes(self, role: Role, timeout: float) -> tuple[Node, ...]:
        now = self._now_ms()
        return tuple(node for node, ends in self._nodes.values() if node.role is role and ends > now)

    async def withdraw(self, owner: Owner, timeout: float, role: Role = Role.CLOUD) -> None:
        self._nodes.pop(owner.incarnation, None)
        self._taken.pop(owner.incarnation, None)

    async def claim(self, wanted: Claim, timeout: float, clock: int = 0) -> ClaimVerdict:
        user, now = wanted.user, max(self._now_ms(), self._seen, clock)
        verdict = decide(self._claims.get(user) or self._released.get(user), wanted, now)
        if isinstance(verdict, Granted):
            self._seen = max(self._seen, clock, verdict.claim.epoch)
            self._claims[user] = verdict.claim
            self._released.pop(user, None)
            former = verdict.former
            if former is not None and former.owner.incarnation in self._nodes:
                news = Taken(user, verdict.claim.epoch)
                self._taken.setdefault(former.owner.incarnation, []).append(news)
        return verdict

    async def find(self, user: UserId, timeout: float) -> Claim | None:
        return self._claims.get(user)

    async def release(self, claim: Claim, timeout: float) -> None:
        kept = self._claims.get(claim.user)
        if kept is None or (kept.owner.incarnation, kept.epoch) != (claim.owner.incarnation, claim.epoch):
            return
        del self._claims[claim.user]
        self._released[claim.user] = Released(Epoch(kept.epoch))
        if len(self._released) > MOST_RELEASED:
            del self._released[next(iter(self._released))]

    async def close(self) -> None:
        pass
