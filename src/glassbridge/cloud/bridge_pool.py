"""The bridges of one cloud: which there are, which of them answer, and which one takes the next room."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

import grpc
import structlog

from glassbridge.cloud.bridge_answers import BridgeError
from glassbridge.cloud.bridge_process import Bridge
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.seat_client import SeatClient
from glassbridge.core.bridge_list import MOST
from glassbridge.core.diagnosis import Hop
from glassbridge.core.ownership import NodeState
from glassbridge.core.recovery import DECISIONS, BridgeFault
from glassbridge.core.values import Generation, LossReason, UserId
from glassbridge.runtime.addresses import check_target
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.wire import livekit_bridge_pb2 as pb

log = structlog.get_logger()

REFUSALS: Final = (
    LossReason.TOKEN_REFUSED,
    LossReason.TOKEN_EXPIRED,
    LossReason.CLOCK_SKEW,
    LossReason.UNREACHABLE,
    LossReason.LIMIT_EXCEEDED,
    BridgeFault.REFUSED,
)
"""Statuses of a join that LiveKit refused: LiveKit is asked why."""
AGAIN: Final = 0.2
"""Seconds until a bridge is asked again, at least: it may be lost again and again."""
PASSING: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Statuses of a bridge that may answer in a moment."""
ON_ITS_WAY_OUT: Final = (BridgeFault.DIED, LossReason.CLOSED)
"""Statuses of a bridge that is gone, or about to stop: the next one is tried at once."""

Dial = Callable[[str], grpc.aio.Channel]
"""Opens a channel to a target."""


async def _unexplained(_room: str) -> None:
    return None


class BridgePool:
    """All bridges of this cloud (core/bridge_list.py). `on_back` hears when one that was down answers again,
    `on_livekit_fault` when a join failed because of LiveKit."""

    def __init__(
        self,
        config: CloudConfig,
        on_back: Callable[[], None],
        on_livekit_fault: Callable[[], None],
        explain: Callable[[str], Awaitable[tuple[LossReason, str] | None]] = _unexplained,
        world: World = REAL,
        dial: Dial | None = None,
    ) -> None:
        """`explain`: why LiveKit lets nobody into a room, in words for people; None where that is not known. `dial`
        opens a channel to a target, instead of what the configuration says."""
        self._config = config
        self.world = world
        """By its wall clock tokens of bridges count."""
        dial = dial or partial(config.bridge_security.open, secret=lambda: config.keys.bridge)
        self._explain = explain
        self._on_back = on_back
        self._on_livekit_fault = on_livekit_fault
        self._dial = dial
        self._by_target = {target: Bridge(target, config, dial(target)) for target in config.bridges}
        self._tasks = TaskGroup("bridges")
        self._watches = False
        self._strange: set[str] = set()
        """Entries of the directory that cannot be used."""

    @property
    def bridges(self) -> Collection[Bridge]:
        """All that there are now."""
        return self._by_target.values()

    @property
    def live(self) -> int:
        """How many bridges answer."""
        return sum(bridge.alive for bridge in self.bridges)

    async def join(
        self,
        user: UserId,
        session_id: str,
        generation: Generation,
        trying: Callable[[SeatClient], None],
        not_on: Bridge | None = None,
    ) -> SeatClient:
        """A seat in the user's room on the least loaded bridge; the next one is tried where one is gone.

        The room is named as the user is. `not_on` comes last. `trying` gets each seat before it is tried: whoever
        cancels this, which is safe, or gives up for good should leave() that one, for the bridge may have got there.
        Raises BridgeError.
        """
        for bridge in self._by_load(not_on):
            seat = SeatClient(bridge, user, session_id, generation, self._config, self.world)
            trying(seat)
            joined = False
            try:
                async with bridge.turn_to_join(self._config.join_timeout):
                    await seat.join(room=user)
                joined = True
            except BridgeError as error:
                if DECISIONS[error.trouble].hop is Hop.LIVEKIT:
                    self._on_livekit_fault()
                if error.trouble in REFUSALS and (found := await self._explain(user)) is not None:
                    why, text = found
                    about = {"user_id": user, "session_id": session_id, "generation": generation}
                    log.warning("join explained", cause=why.code, error=text, **about)
                    raise BridgeError(why, text=text) from None
                if error.trouble not in ON_ITS_WAY_OUT:
                    raise
                self.is_lost(bridge)
            finally:
                if not joined:
                    seat.release()
            if joined:
                return seat
        raise BridgeError(BridgeFault.NONE_ANSWERS)

    def is_leaving(self, bridge: Bridge) -> None:
        """Takes no more rooms there until it says that it serves."""
        self._set_alive(bridge, False)

    def is_lost(self, bridge: Bridge) -> None:
        """The same for one that is gone, or on its way out; it is asked at once whether it serves again."""
        self._set_alive(bridge, False)
        bridge.lost.set()

    def _by_load(self, not_on: Bridge | None) -> Iterable[Bridge]:
        """The live ones, least loaded first; where none is, all: news of a bridge can be old."""
        trusted = [bridge for bridge in self.bridges if bridge.trusted]
        live = [bridge for bridge in trusted if bridge.alive]
        return sorted(live or trusted, key=lambda bridge: (bridge is not_on, bridge.standing.lateness, bridge.load))

    def meet(self, listed: Mapping[str, NodeState]) -> None:
        """These are all bridges that the directory lists now."""
        strange = {target for target in islice(listed, MOST) if not _is_target(target)}
        if strange - self._strange:
            log.warning("bridges left out", count=len(strange), cause="the directory lists what is no bridge's address")
        self._strange = strange
        for target in islice(listed, MOST):
            if target not in self._by_target and target not in strange:
                log.info("bridge found", worker=target)
                bridge = self._by_target[target] = Bridge(target, self._config, self._dial(target), told=False)
                if self._watches:
                    self._watch_one(bridge)
        for target, bridge in self._by_target.items():
            bridge.standing.listed = listed.get(target)
        for bridge in [bridge for bridge in self.bridges if not bridge.standing.stays]:
            log.info("bridge forgotten", worker=bridge.target)
            del self._by_target[bridge.target]
            self._tasks.spawn(self._part_with(bridge), f"part:{bridge.target}")

    def start(self) -> None:
        """Begins to ask each bridge how it is."""
        self._watches = True
        for bridge in self.bridges:
            self._watch_one(bridge)

    def _watch_one(self, bridge: Bridge) -> None:
        bridge.tasks.keep(lambda: self._watch(bridge), "watch")

    async def _watch(self, bridge: Bridge) -> None:
        """One that answers is asked each `bridge_poll` seconds, and at once when it is lost. One that does not is
        waited for, and asked as soon as it listens."""
        poll = self._config.bridge_poll
        while True:
            bridge.lost.clear()
            passing = await self._ask(bridge)
            await asyncio.sleep(min(poll, AGAIN))
            if not passing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, poll - AGAIN)):
                        await bridge.lost.wait()

    @staticmethod
    async def _part_with(bridge: Bridge) -> None:
        await bridge.tasks.close()
        await bridge.channel.close(None)

    async def _ask(self, bridge: Bridge) -> bool:
        """Asks how it is, and waits for one that does not answer, `bridge_timeout` seconds at most; returns whether it
        may serve in a moment, though not now."""
        if not bridge.trusted:
            self._set_alive(bridge, False)
            return False
        try:
            answer = await bridge.stub.HealthCheck(
                pb.HealthCheckRequest(), timeout=self._config.bridge_timeout, wait_for_ready=not bridge.alive
            )
        except grpc.aio.AioRpcError as error:
            # One that has no such call lives all the same.
            self._set_alive(bridge, error.code() is grpc.StatusCode.UNIMPLEMENTED)
            return error.code() in PASSING
        bridge.sessions = answer.active_sessions
        serves = answer.status != pb.HealthCheckResponse.NOT_SERVING
        self._set_alive(bridge, serves)
        return not serves

    def _set_alive(self, bridge: Bridge, alive: bool) -> None:
        if bridge.alive == alive:
            return
        bridge.standing.answers = alive
        log.info("bridge answers" if alive else "bridge does not answer", worker=bridge.target)
        if alive:
            self._on_back()

    async def close(self) -> None:
        """Closes the channels; open calls on them are cancelled."""
        await self._tasks.close()
        for bridge in self.bridges:
            await self._part_with(bridge)


def _is_target(text: str) -> bool:
    """Whether it is the address of a bridge: gRPC understands others, too."""
    try:
        return bool(check_target(text))
    except ValueError:
        return False
