"""What single keys break in a running system (`glassbridge demo --break`, `glassbridge dev --break`), by real means.

The system was started with NEEDED; a fault returns when its cause is gone, and undoes it however it is left.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc

from glassbridge.lab.backend import Backend
from glassbridge.lab.faults import frozen
from glassbridge.lab.stack import Stack
from glassbridge.runtime.errors import UserError
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

TOKEN_LIFE = 5
ASLEEP = 70.0
"""Seconds: LiveKit takes a token for a minute longer than it lives."""
NEEDED: Final[Mapping[str, Any]] = {
    "backends": 2,
    "breakable": True,
    "env": {"GLASSBRIDGE_LIVEKIT_AGENT_TOKEN_TTL": str(TOKEN_LIFE)},
}
"""Options of the StackConfig."""


class Target:
    """What the faults hit: a running system, where the phone is."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._at = 0

    @property
    def backend(self) -> Backend:
        """Where the phone is."""
        return self.stack.backends[self._at]

    async def worker(self) -> int:
        """Process id of the bridge's worker. Raises UserError."""
        async with grpc.aio.insecure_channel(f"unix:{self.backend.sockets[0]}") as channel:
            bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
            try:
                said = await bridge.HealthCheck(pb.HealthCheckRequest(), timeout=1.0)
            except grpc.aio.AioRpcError:
                raise UserError("the bridge does not answer: it is down already; wait until it is back") from None
            return int(said.metadata["pid"])

    def move(self) -> None:
        """Takes our phones to the next backend."""
        self._at = (self._at + 1) % len(self.stack.backends)
        for phone in self.stack.phones:
            phone.tell(f"switch {self.backend.phone_url}")


@dataclass(frozen=True, slots=True)
class Breakage:
    """One key."""

    key: str
    label: str
    do: Callable[[Target], Awaitable[None]]
    own_phone: bool = False
    """Only where the phone is one that we started."""


async def _kill_worker(target: Target) -> None:
    os.kill(await target.worker(), signal.SIGKILL)


async def _freeze_cloud(target: Target, seconds: float) -> None:
    with frozen(target.backend.cloud.pid):
        await asyncio.sleep(seconds)


async def _kill_livekit(target: Target, seconds: float) -> None:
    livekit = target.stack.livekit
    if livekit is None:
        raise UserError("this LiveKit server is not ours to kill: start without --livekit")
    await livekit.kill()
    try:
        await asyncio.sleep(seconds)
    finally:
        await livekit.start()


async def _cut_phones(target: Target, seconds: float) -> None:
    cloud, livekit = target.backend.from_phones, target.stack.phones_to_livekit
    cloud.drop()
    livekit.drop()
    try:
        await asyncio.sleep(seconds)
    finally:
        cloud.heal()
        livekit.heal()


async def _outlive_token(target: Target) -> None:
    with frozen(await target.worker()):
        await asyncio.sleep(ASLEEP)


async def _switch(target: Target) -> None:
    target.move()


_ALL: Final = (
    Breakage("k", "kill the bridge's worker", _kill_worker),
    Breakage("f", "freeze the cloud for 5 s", partial(_freeze_cloud, seconds=5)),
    Breakage("l", "kill LiveKit, back after 2 s", partial(_kill_livekit, seconds=2)),
    Breakage("2", "phone's network away for 2 s", partial(_cut_phones, seconds=2)),
    Breakage("0", "phone's network away for 20 s", partial(_cut_phones, seconds=20)),
    Breakage("9", "phone's network away for 59 s", partial(_cut_phones, seconds=59)),
    Breakage("e", f"bridge asleep for {ASLEEP:.0f} s, past its token's life", _outlive_token),
    Breakage("s", "switch to the other backend", _switch, own_phone=True),
)


def breakages(*, own_phone: bool) -> dict[str, Breakage]:
    """By key; with those that need a phone of our own, or without."""
    return {found.key: found for found in _ALL if own_phone or not found.own_phone}
