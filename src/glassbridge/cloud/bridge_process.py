"""One bridge process, as a cloud sees it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import structlog

from glassbridge.cloud.bridge_answers import BridgeError
from glassbridge.cloud.config import CloudConfig
from glassbridge.core.bridge_list import Standing
from glassbridge.core.recovery import BridgeFault
from glassbridge.runtime.addresses import UNIX, is_on_this_machine
from glassbridge.runtime.socket_owner import check_owner
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

log = structlog.get_logger()

JOINS_AT_A_TIME: Final = 8
"""Joins of ours under way on one bridge; more would only wait inside of it, where they cannot be called off."""


class Bridge:
    """One bridge process behind one gRPC target."""

    def __init__(self, target: str, config: CloudConfig, channel: grpc.aio.Channel, *, told: bool = True) -> None:
        """`told`: the cloud was told of it when it started."""
        self.target = target
        self.standing = Standing(told)
        self.channel = channel
        self.stub: Any = LiveKitBridgeStub(self.channel)  # type: ignore[no-untyped-call]
        self.sessions = 0
        """Rooms of everybody, as it last said."""
        self.tasks = TaskGroup(f"bridge:{target}")
        """Ask it again and again how it is."""
        self.lost = asyncio.Event()
        """It is gone, as far as somebody has found."""
        self._joins = asyncio.Semaphore(JOINS_AT_A_TIME)
        self._path = Path(target.removeprefix(UNIX)) if target.startswith(UNIX) else None
        self._owners = config.bridge_owners
        self._refused = ""
        is_known = config.far_bridges or told or is_on_this_machine(target)
        self._unknown = "" if is_known else "it is on another machine, and nothing proves who it is"

    @property
    def alive(self) -> bool:
        """As of the last answer or failure."""
        return self.standing.answers

    @property
    def trusted(self) -> bool:
        """Whether it is the expected process; no request may go to another one. Looks at a socket's file each time."""
        why = check_owner(self._path, self._owners) if self._path is not None else self._unknown
        if why and why != self._refused:
            log.error(
                "bridge refused", worker=self.target, cause=why,
                action="set GLASSBRIDGE_BRIDGE_CA and what the cloud shows to bridges (docs/production.md)"
                if self._unknown
                else "run the bridge as the cloud's user, or set GLASSBRIDGE_BRIDGE_OWNER",
            )  # fmt: skip
        self._refused = why
        return not why

    @property
    def load(self) -> int:
        return max(self.sessions, self.standing.places)

    @asynccontextmanager
    async def turn_to_join(self, timeout: float) -> AsyncIterator[None]:
        """One's turn among JOINS_AT_A_TIME, first come first served. Raises BridgeError. Safe to cancel."""
        try:
            async with asyncio.timeout(timeout):
                await self._joins.acquire()
        except TimeoutError:
            raise BridgeError(BridgeFault.TIMED_OUT) from None
        try:
            yield
        finally:
            self._joins.release()
