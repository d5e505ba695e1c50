"""One process of the simulation: an event loop, a World, a network interface; it dies, freezes, is cut off."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final

import aiohttp

from glassbridge.lab.weeks.network import Network, Server
from glassbridge.lab.weeks.time import Time, VirtualLoop
from glassbridge.runtime.world import World

BEGUN: Final = 1_900_000_000.0
"""Unix seconds at the begin of each simulation."""

Main = Callable[["Process"], Coroutine[Any, Any, None]]


class _Loop(VirtualLoop):
    """Listens in the simulated network."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process.network.time, process.name)
        self._process = process

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: str, port: int, **_options: Any
    ) -> Server:
        return self._process.network.listen(self._process, protocol_factory, host, port)


class _Connector(aiohttp.BaseConnector):
    """Dials in the simulated network."""

    def __init__(self, process: "Process", **options: Any) -> None:
        super().__init__(**options)
        self._process = process

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        host, port = req.url.raw_host, req.url.port
        async with asyncio.timeout(timeout.sock_connect):
            return await self._process.network.dial(self._process, self._factory, host, port)


class Process:
    """Lives more than once. `main` runs in each life, until it returns or the process ends."""

    def __init__(self, network: Network, name: str, number: int, chance: Random, main: Main, skew: float = 0.0) -> None:
        self.network = network
        self.name = name
        self.address = f"10.0.{number // 250}.{number % 250 + 1}"
        self.chance = chance
        self._main = main
        self._wall = BEGUN + skew
        self.alive = False
        self.cut = False
        self.stopping = asyncio.Event()
        """It was asked to end, as by SIGTERM."""
        self.life = 0
        self.failures: list[str] = []
        """Of tasks that nobody heard of."""
        self.loop: VirtualLoop
        time = network.time
        self.world = World(
            monotonic=time.read,
            since_boot=time.read,
            wall=lambda: self._wall + time.now,
            chance=chance.random,
            token=lambda size: chance.randbytes(size).hex(),
            http=self._http,
            claim_port=lambda _host, _port: None,
        )

    @property
    def time(self) -> Time:
        return self.network.time

    @property
    def awake(self) -> bool:
        """It runs, and others reach it."""
        return self.alive and not self.loop.frozen and not self.cut and not self.stopping.is_set()

    def _http(
        self, *, limit: int = 100, limit_per_host: int = 0, tune: Any = None, **options: Any
    ) -> aiohttp.ClientSession:
        connector = _Connector(self, limit=limit, limit_per_host=limit_per_host)
        return aiohttp.ClientSession(connector=connector, **options)

    def start(self) -> None:
        """Begins a life; nothing when it lives."""
        if self.alive:
            return
        self.alive, self.cut = True, False
        self.life += 1
        self.loop = _Loop(self)
        self.loop.set_exception_handler(self._failed)
        self.stopping = asyncio.Event()
        main = self.loop.create_task(self._main(self), name=self.name)
        main.add_done_callback(self._returned)

    def _failed(self, loop: Any, context: dict[str, Any]) -> None:
        if self.alive and loop is self.loop:  # what a former life left open is found when it is collected
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _returned(self, main: asyncio.Task[None]) -> None:
        if not main.cancelled() and (error := main.exception()) is not None:
            self.failures.append(f"{self.name} failed: {error!r}")
        self.time.at(self.time.now, self._end, self.life, False)

    def stop(self) -> None:
        """As by SIGTERM."""
        if self.alive:
            self.stopping.set()

    def kill(self, *, silent: bool = False) -> None:
        """As by SIGKILL; `silent`: as by loss of the machine's power."""
        self._end(self.life, silent)

    def _end(self, life: int, silent: bool) -> None:
        if not self.alive or life != self.life:
            return
        self.alive = False
        self.network.end(self, silent=silent)
        self.loop.end()

    def freeze(self) -> None:
        """Stands still, as by SIGSTOP."""
        if self.alive:
            self.loop.freeze()

    def thaw(self) -> None:
        """Goes on."""
        if self.alive and self.loop.frozen:
            self.loop.thaw()

    def cut_off(self) -> None:
        """Its link holds all packets."""
        self.cut = True

    def heal(self) -> None:
        """Its link is whole again."""
        if self.cut:
            self.cut = False
            self.network.heal()
