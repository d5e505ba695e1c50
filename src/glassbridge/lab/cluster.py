"""What makes one system of several clouds: a directory in a real Valkey server, a way to it for each cloud that can
break, and a balancer before all of them. Made by a Stack."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Final, Self

from glassbridge.lab.backend import Backend
from glassbridge.lab.balancer import Balancer
from glassbridge.lab.links import ByteLink
from glassbridge.lab.valkey import Valkey
from glassbridge.livekit.server import LOOPBACK

LEASE: Final = 5.0
"""Seconds after which a cloud that says nothing is none (core/lease.py)."""
NOTICED: Final = 2.0
"""Seconds in which the balancer notices that a cloud is not ready any more,"""
DRAIN: Final = 8.0
"""and that the cloud has for its users then."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where phones find the clouds, whichever they get."""

    phone_url: str
    name: str | None = None
    """None: audio may come out at any backend."""


class Cluster:
    """`async with`, before the backends are started."""

    def __init__(
        self, folder: Path, directory: Valkey, backends: Sequence[Backend], say: Callable[[str], None]
    ) -> None:
        self.directory = directory
        self.from_phones = ByteLink()
        """The way of all phones."""
        self.to_directory: dict[str, ByteLink] = {}
        """By backend, the way of its cloud to the directory."""
        self.front: Front
        self._backends = backends
        self._balancer = Balancer(folder, [backend.cloud_port for backend in backends], say)
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises UserError."""
        async with AsyncExitStack() as clean:
            await clean.enter_async_context(self.directory)
            await clean.enter_async_context(self._balancer)
            await clean.enter_async_context(self.from_phones)
            self.front = Front(f"http://{LOOPBACK}:{await self.from_phones.to(self._balancer.port)}")
            secret = token_urlsafe(32)
            for backend in self._backends:
                way = self.to_directory[backend.name] = await clean.enter_async_context(ByteLink())
                directory = f"valkey://{LOOPBACK}:{await way.to(self.directory.port)}"
                backend.cloud.env |= self._environment(directory, secret)
                del backend.cloud.env["LIVEKIT_GRPC_SOCKET"]  # the directory tells where bridges are
                backend.bridge.env["GLASSBRIDGE_CLUSTER"] = f"valkey://{LOOPBACK}:{self.directory.port}"
                backend.bridges = sum(len(one.sockets) for one in self._backends)
            self._cleanup = clean.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    @property
    def url(self) -> str:
        """The balancer's, for those who are no phones: it never breaks."""
        return f"http://{LOOPBACK}:{self._balancer.port}"

    def _environment(self, directory: str, secret: str) -> Mapping[str, str]:
        return {
            "GLASSBRIDGE_CLUSTER": directory,
            "GLASSBRIDGE_CLUSTER_SECRET": secret,
            "GLASSBRIDGE_CLUSTER_SECRET_FILE": "",
            "GLASSBRIDGE_PUBLIC_URL": self.url,
            "GLASSBRIDGE_DRAIN_DELAY": str(NOTICED),
            "GLASSBRIDGE_DRAIN": str(DRAIN),
        }
