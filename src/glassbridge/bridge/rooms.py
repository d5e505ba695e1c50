"""All rooms of one worker, by user, and what is remembered of those that are gone."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final

import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import Passed
from glassbridge.bridge.host import Drain, RoomHost
from glassbridge.bridge.speaker import Speakers
from glassbridge.core.room import RoomState, Ticket
from glassbridge.core.values import LossReason, UserId
from glassbridge.livekit.participant import Connector
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.telemetry import metrics

log = structlog.get_logger()

REMEMBERED_SECONDS: Final = 600.0
REMEMBERED_USERS: Final = 1_000
AT_A_TIME: Final = 8
"""Rooms that clouds take elsewhere at a time: as many as they join on one bridge."""
TOLD_WITHIN: Final = 0.5
"""The part of the time of a drain in which all rooms are told, also where clouds take none."""


@dataclass(frozen=True, slots=True)
class LastDisconnect:
    """How a user's last place in a room ended."""

    reason: LossReason
    at_ms: int
    """Unix milliseconds."""
    noted: float
    """Monotonic seconds."""


class Memory:
    """The last disconnects: for REMEMBERED_SECONDS, of at most REMEMBERED_USERS."""

    def __init__(self, world: World = REAL) -> None:
        self._clock = world.monotonic
        self._wall = world.wall
        self._last: OrderedDict[UserId, LastDisconnect] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def note(self, user: UserId, reason: LossReason) -> None:
        """Remembers the end of a place."""
        self._last[user] = LastDisconnect(reason, int(self._wall() * 1000), self._clock())
        self._last.move_to_end(user)
        while len(self._last) > REMEMBERED_USERS or self._oldest_is_over():
            self._last.popitem(last=False)

    def of(self, user: UserId) -> LastDisconnect | None:
        """None when nothing is known (any more)."""
        found = self._last.get(user)
        return found if found and self._clock() - found.noted <= REMEMBERED_SECONDS else None

    def _oldest_is_over(self) -> bool:
        oldest = next(iter(self._last.values()))
        return self._clock() - oldest.noted > REMEMBERED_SECONDS


class Rooms:
    """The rooms of a worker, by user; each user has at most one."""

    def __init__(
        self,
        config: BridgeConfig,
        connector: Connector,
        drain: Drain,
        decided: Callable[..., None] = lambda **_: None,
        world: World = REAL,
    ) -> None:
        self._world = world
        self.memory = Memory(world)
        self.speakers = Speakers(config.playback.hold)
        self._config = config
        self._connector = connector
        self._drain = drain
        self._decided = decided
        self._hosts: dict[UserId, RoomHost] = {}
        self._tasks = TaskGroup("rooms", self._failed)
        self._watches = TaskGroup("rooms", self._failed)
        """Over this process."""
        self._tickets = count(1)
        self._gone = asyncio.Event()
        """A room is no more."""
        self._pulse = Pulse(self._woke, world.monotonic)

    def find(self, user: UserId) -> RoomHost | None:
        """The user's room, when there is one in any state."""
        return self._hosts.get(user)

    def of(self, user: UserId) -> RoomHost:
        """The user's room, made when there is none: join it without an await between, else it is never forgotten."""
        host = self._hosts.get(user)
        if host is None:
            host = self._hosts[user] = RoomHost(
                user,
                self._config,
                self._connector,
                self._drain,
                self._pulse,
                self.speakers,
                self._tasks,
                self._ticket,
                self._world,
                self._decided,
                self._note_end,
                self._forget,
            )
        return host

    @property
    def joined(self) -> int:
        """Rooms in which we are."""
        return sum(host.machine.state.holds_place for host in self._hosts.values())

    @property
    def streams(self) -> int:
        """Open audio streams."""
        return sum(host.stream is not None for host in self._hosts.values())

    def passed(self) -> list[Passed]:
        """What has passed each place so far."""
        return [passed for host in self._hosts.values() if (passed := host.passed) is not None]

    def __iter__(self) -> Iterator[RoomHost]:
        return iter(self._hosts.values())

    def __len__(self) -> int:
        """Users that have a room or audio here."""
        return sum(host.machine.state is not RoomState.CLOSED for host in self._hosts.values())

    def start(self) -> None:
        """Begins to watch over this process; shut_down() ends that."""
        self._watches.keep(self._pulse.run, "pulse")

    def read(self) -> list[Callable[[], None]]:
        """Our gauges are read from now on; each of what is returned ends the reading of one."""
        return [
            metrics.ROOMS.read_by(self._by_state),
            metrics.STREAMS.read_by(lambda: self.streams),
            metrics.UNCLAIMED.read_by(lambda: max((host.unclaimed for host in self._hosts.values()), default=0.0)),
            metrics.QUEUES.read_by(lambda: {("stream",): sum(host.waiting for host in self._hosts.values())}),
        ]

    async def hand_over(self, timeout: float) -> None:
        """Tells the clouds to take their users elsewhere, room by room; returns when all have, or after `timeout`
        seconds.

        Rooms that no stream claims are left at once. AT_A_TIME are on their way, or more where clouds do not hurry.
        """
        begun, hosts, told = self._world.monotonic(), list(self._hosts.items()), set[UserId]()
        for user, host in hosts:
            host.hand_over()
            told.add(user)
            due = begun + timeout * TOLD_WITHIN * len(told) / len(hosts)
            await self._until(lambda: len(told & self._hosts.keys()) < AT_A_TIME, due)
        await self._until(lambda: not self._hosts, begun + timeout)

    async def _until(self, holds: Callable[[], bool], at: float) -> None:
        """Returns when it holds, which may be after a room has gone, or at this moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at - self._world.monotonic())):
                while not holds():
                    self._gone.clear()
                    await self._gone.wait()

    async def shut_down(self, timeout: float) -> None:
        """Leaves all rooms; returns when that is done, after `timeout` seconds at the latest."""
        clock = self._world.monotonic
        deadline = clock() + timeout
        await self._watches.close()
        for host in list(self._hosts.values()):
            host.shut_down()
        await self.speakers.close(LossReason.CLOSED)
        await self._tasks.settle(timeout)
        await self._tasks.close(max(0.0, deadline - clock()))

    def _by_state(self) -> dict[tuple[str, ...], float]:
        found = Counter(host.machine.state for host in self._hosts.values())
        return {(state.label,): found[state] for state in RoomState if state is not RoomState.CLOSED}

    def _ticket(self) -> Ticket:
        return Ticket(next(self._tickets))

    def _woke(self) -> None:
        for host in self._hosts.values():
            host.woke()

    def _note_end(self, host: RoomHost, reason: LossReason) -> None:
        self.memory.note(host.user, reason)
        metrics.ROOMS_LOST.add(reason.code)

    def _forget(self, host: RoomHost) -> None:
        if self._hosts.get(host.user) is host and host.machine.state is RoomState.CLOSED:
            del self._hosts[host.user]
            self._gone.set()

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("room task failed", task=task, error=type(error).__name__, exc_info=error)
