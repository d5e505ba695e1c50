"""One backend: a cloud and its bridge, as processes that can be killed and started again, on ways that can break."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from glassbridge.bridge.config import BridgeConfig
from glassbridge.lab.link_breaker import ClientLink
from glassbridge.lab.links import ByteLink
from glassbridge.lab.program import Program
from glassbridge.lab.readiness import Http, until

T = TypeVar("T")
LOOPBACK = "127.0.0.1"
CLOUD_GRACE, BRIDGE_GRACE = 1.7, 1.3
"""Seconds from SIGTERM to SIGKILL."""


class Backend:
    """Made by a Stack, which also stops it."""

    def __init__(self, name: str, bridge: Program, cloud: Program, config: BridgeConfig, cloud_url: str) -> None:
        self.name = name
        self.bridge = bridge
        self.cloud = cloud
        self.cloud_url = cloud_url
        """Where the cloud listens."""
        self.bridges = config.workers
        """Workers that the cloud must see; more than its own in a cluster."""
        self.phone_url = cloud_url
        """Where phones find it: the same, or the front of `from_phones`."""
        self._from_phones: ByteLink | None = None
        self._to_bridge: ByteLink | None = None
        self._to_livekit: ClientLink | None = None
        self._config = config
        self._http = Http()
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> "Backend":
        await self._cleanup.enter_async_context(self._http)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    async def make_breakable(self, to_livekit: ClientLink | None) -> None:
        """Puts breakable ways between the programs, before they are started."""
        self._to_livekit = to_livekit
        self._from_phones = await self._cleanup.enter_async_context(ByteLink())
        self._to_bridge = await self._cleanup.enter_async_context(ByteLink())
        port = await self._from_phones.to(_port(self.cloud_url))
        self.phone_url = f"http://{LOOPBACK}:{port}"
        fronts = [await self._to_bridge.to(socket) for socket in self.sockets]
        self.cloud.env["LIVEKIT_GRPC_SOCKET"] = ",".join(map(str, fronts))

    @property
    def from_phones(self) -> ByteLink:
        """The way of the phones to this cloud. Raises RuntimeError, as all ways, where nothing was made breakable."""
        return breakable(self._from_phones)

    @property
    def to_bridge(self) -> ByteLink:
        """The way of the cloud to its bridge."""
        return breakable(self._to_bridge)

    @property
    def to_livekit(self) -> ClientLink:
        """The way of the bridge to LiveKit."""
        return breakable(self._to_livekit)

    @property
    def sockets(self) -> list[Path]:
        """Of the workers."""
        addresses = (self._config.address(worker) for worker in range(self._config.workers))
        return [address.path for address in addresses if address.path is not None]

    @property
    def cloud_port(self) -> int:
        return _port(self.cloud_url)

    @property
    def programs(self) -> tuple[Program, Program]:
        return self.bridge, self.cloud

    async def start(self) -> None:
        """Returns when the cloud sees all workers of the bridge. Raises UserError."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.start_bridge())
            tasks.create_task(self.start_cloud())
        await self.ready()

    async def start_bridge(self) -> None:
        """Starts the bridge, for the first time or again after its end."""
        await self.bridge.start()

    async def start_cloud(self) -> None:
        """Starts the cloud, for the first time or again after its end; returns when it answers."""
        await self.cloud.start()
        await self.cloud_answers()

    async def cloud_answers(self) -> None:
        """Returns when the cloud, which was started, answers. Raises UserError."""
        await until(lambda: self._http.answers(f"{self.cloud_url}/readyz"), self.cloud)

    async def ready(self) -> None:
        """Returns when the cloud sees all workers of the bridge. Raises UserError."""
        await until(self._bridges_are_seen, self.bridge, self.cloud)

    async def _bridges_are_seen(self) -> bool:
        said = await self._http.json(f"{self.cloud_url}/readyz")
        return said.get("bridges") == self.bridges


def breakable(way: T | None) -> T:
    """The way, if it is one. Raises RuntimeError."""
    if way is None:
        raise RuntimeError("this system was started without breakable ways")
    return way


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
