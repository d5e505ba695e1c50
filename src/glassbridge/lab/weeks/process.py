"""A server's or a phone's process: its program is a coroutine, and it has an interface of the simulated network."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final

import aiohttp

from glassbridge.lab.virtual import process
from glassbridge.lab.weeks.network import Network, Server

BEGUN: Final = 1_900_000_000.0
"""Unix seconds at the begin of each simulation."""

Main = Callable[["Process"], Coroutine[Any, Any, None]]


class _Connector(aiohttp.BaseConnector):
    """Dials in the simulated network."""

    def __init__(self, process: "Process", **options: Any) -> None:
        super().__init__(**options)
        self._process = process

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        host, port = req.url.raw_host, req.url.port
        async with asyncio.timeout(timeout.sock_connect):
            return await self._process.network.dial(self._process, self._factory, host, port)


class Process(process.Process):
    """`main` runs in each life, until it returns or the process ends."""

    def __init__(self, network: Network, name: str, number: int, chance: Random, main: Main, skew: float = 0.0) -> None:
        super().__init__(network.time, name, chance, wall=BEGUN + skew, http=self._http)
        self.network = network
        self.address = f"10.0.{number // 250}.{number % 250 + 1}"
        self._main = main
        self.cut = False
        self.stopping = asyncio.Event()
        """It was asked to end, as by SIGTERM."""
        self.failures: list[str] = []
        """Of tasks whose errors were not retrieved."""
        self.boot = self._boot

    @property
    def reachable(self) -> bool:
        """It runs, and others reach it."""
        return self.awake and not self.cut and not self.stopping.is_set()

    def note(self, what: str, _user: str = "", *more: Any) -> None:
        """Of all that happens to it, failures are kept."""
        if what == "failed":
            self.failures.extend(more)

    def _http(
        self, *, limit: int = 100, limit_per_host: int = 0, tune: Any = None, **options: Any
    ) -> aiohttp.ClientSession:
        connector = _Connector(self, limit=limit, limit_per_host=limit_per_host)
        return aiohttp.ClientSession(connector=connector, **options)

    def _boot(self) -> None:
        self.cut = False
        self.stopping = asyncio.Event()
        self.loop.create_server = self._listen  # type: ignore[method-assign,assignment]
        main = self.loop.create_task(self._main(self), name=self.name)
        main.add_done_callback(self._returned)

    async def _listen(self, protocol_factory: Callable[[], Any], host: str, port: int, **_options: Any) -> Server:
        return self.network.listen(self, protocol_factory, host, port)

    def _returned(self, main: asyncio.Task[None]) -> None:
        if not main.cancelled() and (error := main.exception()) is not None:
            self.failures.append(f"{self.name} failed: {error!r}")
        self.at(self.now, self.kill)

    def stop(self) -> None:
        """As by SIGTERM."""
        if self.running:
            self.stopping.set()

    def kill(self, *, silent: bool = False) -> None:
        """As by SIGKILL; `silent`: as by loss of the machine's power."""
        if self.running:
            self.network.end(self, silent=silent)
            super().kill()

    def cut_off(self) -> None:
        """Its link holds all packets."""
        self.cut = True

    def heal(self) -> None:
        """Its link is whole again."""
        if self.cut:
            self.cut = False
            self.network.heal()
