"""The port to the directory: what a cloud asks of it, and what it hears."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from glassbridge.core.ownership import Claim, ClaimVerdict, Epoch, NodeState, Owner, Role
from glassbridge.core.values import UserId


class DirectoryAway(Exception):
    """The directory did not answer in time, or refuses. The world's fault; nothing is known of what it did. The text
    holds nothing that it said."""


@dataclass(frozen=True, slots=True)
class Node:
    """What other nodes know of one."""

    owner: Owner
    state: NodeState
    load: int
    """Its sessions, or rooms."""
    role: Role = Role.CLOUD


@dataclass(frozen=True, slots=True)
class Taken:
    """Another node has taken a user from us."""

    user: UserId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a renewal."""

    now_ms: int
    """Unix milliseconds of the directory."""
    clock_ms: int
    """Milliseconds of the cluster's clock (core/ownership.py): the same or more."""
    server: str
    """Which run of which server answered."""
    nodes: tuple[Node, ...]
    """All clouds and bridges whose lease is good, the one that asks among them."""
    taken: tuple[Taken, ...]
    """All that was not heard yet, the oldest first."""


class Directory(Protocol):
    """One connection of one node. Each call takes `timeout` seconds at most, raises DirectoryAway, and is safe to
    cancel. `clock`: the milliseconds of the cluster's clock that the node has seen; 0: none."""

    async def renew(
        self, node: Node, lease: float, heard: Collection[Taken], timeout: float, clock: int = 0
    ) -> Renewal:
        """Registers the node for `lease` seconds. `heard`: what need not be told again of former answers."""

    async def nodes(self, role: Role, timeout: float) -> tuple[Node, ...]:
        """All of this role whose lease is good; for those that only look."""

    async def withdraw(self, owner: Owner, timeout: float, role: Role = Role.CLOUD) -> None:
        """The node is gone. Its claims stay: the cloud that takes one of them is told."""

    async def claim(self, wanted: Claim, timeout: float, clock: int = 0) -> ClaimVerdict:
        """Claims a user anew (epoch 0), or restores a claim."""

    async def find(self, user: UserId, timeout: float) -> Claim | None:
        """The claim that stands; None: there is none."""

    async def release(self, claim: Claim, timeout: float) -> None:
        """Gives a claim up, if it still stands with this owner and epoch."""

    async def close(self) -> None:
        """Releases everything. Never raises."""
