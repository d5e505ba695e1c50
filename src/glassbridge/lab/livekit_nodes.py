"""LiveKit as several nodes, which find each other in a Valkey server; a balancer stands before them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from glassbridge.lab.balancer import Balancer
from glassbridge.livekit.server import LOOPBACK, LiveKitServer


class LiveKitNodes:
    """`async with` for the balancer; `start` and `stop` for the nodes, once the Valkey server runs."""

    def __init__(self, folder: Path, nodes: Sequence[LiveKitServer], say: Callable[[str], None]) -> None:
        self.nodes = nodes
        self._balancer = Balancer(folder, [node.port for node in nodes], say, name="livekit", check="/")

    async def __aenter__(self) -> Self:
        """Raises UserError."""
        await self._balancer.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._balancer.__aexit__()

    @property
    def url(self) -> str:
        """The balancer's."""
        return f"ws://{LOOPBACK}:{self._balancer.port}"

    async def start(self) -> None:
        """Returns when all answer. Raises LiveKitServerError."""
        await asyncio.gather(*(node.start() for node in self.nodes))

    async def stop(self) -> None:
        """Ends all; idempotent."""
        await asyncio.gather(*(node.stop() for node in self.nodes))

    async def kill(self) -> None:
        """Ends all as a crash does; start() brings them back."""
        await asyncio.gather(*(node.kill() for node in self.nodes))
