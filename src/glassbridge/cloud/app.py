"""The cloud program: `run` serves until it is asked to stop."""

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from secrets import token_hex
from socket import gethostname
from urllib.parse import urlsplit

import structlog
import uvloop
from aiohttp import web

from glassbridge.cloud.apps.forwarding import Forwarding
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import Followed, Registry, StaticRegistry
from glassbridge.cloud.apps.store import Store
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.gauges import Gauges
from glassbridge.cloud.handover import HandOverClient, HandOverServer
from glassbridge.cloud.http import HttpApi
from glassbridge.cloud.issuer_keys import IssuerKeys
from glassbridge.cloud.recheck import Recheck
from glassbridge.cloud.relay import RequestRelay
from glassbridge.cloud.sessions import Sessions
from glassbridge.cloud.tokens import CoreTokens
from glassbridge.cluster.directory import Directory
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core.addresses import TrustedProxies
from glassbridge.core.ownership import Owner
from glassbridge.livekit.rooms import RoomService
from glassbridge.runtime.addresses import is_on_this_machine, reachable_at
from glassbridge.runtime.garbage import spare_imports, spare_sessions
from glassbridge.runtime.listen import CannotListen, cannot_listen, raise_descriptor_limit
from glassbridge.runtime.signals import RELOADS, reload_on_hangup, stop_on_signals
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.speech.base import Recogniser
from glassbridge.speech.voice import Voice
from glassbridge.telemetry import metrics
from glassbridge.telemetry.exposition import MetricsServer
from glassbridge.telemetry.listener import Gate, HttpListener
from glassbridge.telemetry.numbers import Part, Program

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Shared:
    """What the clouds of a cluster share; None: this one has its own."""

    directory: Directory | None = None
    registry: Registry | None = None
    store: Store | None = None


class Cloud:
    """A running cloud; `async with` starts and stops it. The recogniser is borrowed; without a registry there are no
    apps, without a voice nothing is said."""

    def __init__(
        self,
        config: CloudConfig,
        recogniser: Recogniser,
        registry: Registry | None = None,
        voice: Voice | None = None,
        directory: Directory | None = None,
        world: World = REAL,
        store: Store | None = None,
    ) -> None:
        """`directory` and `store`: shared by the clouds of `config.cluster`, and closed in the end; None: a directory
        in memory, and the store of the configuration. A registry that others change is followed, and closed, too."""
        self._config = config
        self._directory = directory or MemoryDirectory()
        self._world = world
        self._rooms = RoomService(config.livekit_url, config.livekit_keys, config.status_timeout)
        self._has_apps = registry is not None
        self._relay = RequestRelay(config, world)
        self._forwarding = Forwarding(config, self._relay)
        self._apps = AppHost(config.apps, registry or StaticRegistry(), lambda: self._forwarding.base, world, store)
        self.sessions = Sessions(config, recogniser, self._rooms, self._apps)
        self._issuer = IssuerKeys(config.issuer) if config.issuer is not None else None
        self._recheck = Recheck(config.recheck)
        self.api = HttpApi(
            config, self.sessions, self._apps, voice, CoreTokens(config, self._issuer), self._recheck,
            self._forwarding, self._relay,
        )  # fmt: skip
        self._gate = Gate(config.connections, TrustedProxies(config.trusted_proxies))
        self._listener = HttpListener(self.api.application(), self._gate)
        self.port = config.port
        """Where it listens; the one that was chosen when the configuration says 0."""
        self.metrics_address: str | None = None
        """host:port where metrics need no token; None: nowhere."""
        self._metrics = AsyncExitStack()
        """Of its numbers: who reads them, and where."""
        self._cluster = AsyncExitStack()
        """Serves the requests of other clouds."""
        self._tasks = TaskGroup("cloud", _failed)

    @property
    def routes(self) -> Iterable[web.AbstractRoute]:
        """All that it serves."""
        return self._listener.app.router.routes()

    async def __aenter__(self) -> "Cloud":
        config = self._config
        self._world.claim_port(config.host, config.port)
        if config.metrics_port is not None:
            server = MetricsServer(self._numbers, config.metrics_host, config.metrics_port)
            self.metrics_address = (await self._metrics.enter_async_context(server)).address
        try:
            await self._meet_others()
            self.port = await self._listener.open(config.host, config.port)
        except CannotListen:
            await self._metrics.aclose()
            raise
        except OSError as error:
            await self._cluster.aclose()
            await self._metrics.aclose()
            raise CannotListen(cannot_listen(f"{config.host}:{config.port}", error)) from None
        self._apps.address = reachable_at(config.host, self.port)
        self._forwarding.address = self.sessions.keeper.owner.address or config.address or self._apps.address
        if self._has_apps:
            self._warn_of_local_address()
        await self._rooms.__aenter__()
        await self._apps.__aenter__()
        await self._relay.__aenter__()
        if self._issuer is not None:
            await self._issuer.__aenter__()
        self._tasks.spawn(self._recheck.run(), "recheck")
        if isinstance(self._apps.registry, Followed):
            await self._apps.registry.look()
            self._tasks.keep(self._apps.registry.keep, "registry")
        self.sessions.start()
        self._metrics.enter_context(Gauges(self.sessions, self._gate))
        log.info("cloud listens", host=config.host, port=self.port, bridges=list(config.bridges))
        return self

    def _warn_of_local_address(self) -> None:
        """Bridges elsewhere cannot fetch from it what apps say and play."""
        told = urlsplit(self._apps.http_url).netloc
        if is_on_this_machine(told) and not all(map(is_on_this_machine, self._config.bridges)):
            log.warning(
                "address of this machine told",
                address=told,
                reason="bridges on other machines cannot fetch from it what apps say and play",
                action="set GLASSBRIDGE_PUBLIC_URL to an address that bridges and apps can reach",
            )

    def reload(self, keys: CloudKeys) -> str:
        """From now on these secrets count. Sockets that were let in by what no longer counts are closed soon. Returns
        what is now, for the log."""
        self._config.keys.replace(keys)
        self._rooms.use(keys.livekit)
        self._tasks.spawn(self._look_again(), "reload")
        return f"{len(keys.core)} of core tokens, LiveKit's {keys.livekit.api_key}"

    async def _look_again(self) -> None:
        if self._issuer is not None:
            await self._issuer.reload()
        await self._recheck.look()

    async def _meet_others(self) -> None:
        """Raises CannotListen."""
        config, client, address = self._config.cluster, None, ""
        if config is not None:
            server = HandOverServer(config.host, config.port, config.secrets, self.sessions.give, self._relayed)
            address = (await self._cluster.enter_async_context(server)).address
            client = await self._cluster.enter_async_context(HandOverClient(config.secrets))
        self.sessions.join(self._directory, Owner(address or gethostname(), token_hex(6), address), client)
        if config is not None:
            # Tokens and what is signed for apps count for minutes, and the clock of one cloud may be wrong by hours.
            world = replace(self._apps.world, wall=lambda: self.sessions.keeper.now_ms() / 1000)
            self._apps.world = self.sessions.pool.world = world
            self._rooms.now = world.wall

    async def _relayed(self, request: web.Request) -> web.StreamResponse:
        """Another cloud has a request that belongs here."""
        app = self._listener.app
        if not app.frozen:
            return web.Response(status=503)  # it is being started
        return await self._relay.accept(request, app._handle)

    @staticmethod
    def _numbers() -> list[Part]:
        return [((), metrics.snapshot(Program.CLOUD))]

    async def __aexit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        await self.sessions.drain(self._config.drain_delay if kind is None else 0.0)
        await self._metrics.aclose()
        await self._tasks.close()
        if self._issuer is not None:
            await self._issuer.__aexit__()
        await self.sessions.close()
        await self._cluster.aclose()
        await self._relay.__aexit__()
        await self._apps.__aexit__()
        if isinstance(self._apps.registry, Followed):
            await self._apps.registry.close()
        await self._rooms.__aexit__()
        await self._listener.close()
        log.info("cloud stopped")


def _failed(task: str, error: BaseException) -> None:
    log.error("cloud task failed", task=task, error=type(error).__name__, exc_info=error)


async def serve(
    config: CloudConfig,
    recogniser: Recogniser,
    ready: Callable[[int], None] | None = None,
    registry: Registry | None = None,
    voice: Voice | None = None,
    reread: Callable[[], CloudKeys] | None = None,
    shared: Callable[[], Shared] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, and closes recogniser and voice; `ready` is called with the port. On SIGHUP the
    secrets are those of `reread`, which raises ValueError where the former ones stay.

    Raises CannotListen (the user's to put right).
    """
    tasks = TaskGroup("serve")
    try:
        with reload_on_hangup(), stop_on_signals() as stop:
            opened = Shared() if shared is None else shared()
            async with Cloud(
                config, recogniser, opened.registry or registry, voice, opened.directory, store=opened.store
            ) as cloud:
                if reread is not None:
                    RELOADS["secrets"] = lambda: cloud.reload(reread())
                if ready is not None:
                    ready(cloud.port)
                sessions = cloud.sessions
                tasks.keep(lambda: spare_sessions(lambda: (sessions.begun, sessions.active)), "garbage")
                await stop.wait()
    finally:
        RELOADS.pop("secrets", None)
        await tasks.close()
        await recogniser.close()
        if voice is not None:
            await voice.close()


def run(
    config: CloudConfig,
    recogniser: Recogniser,
    ready: Callable[[int], None] | None = None,
    registry: Registry | None = None,
    voice: Voice | None = None,
    reread: Callable[[], CloudKeys] | None = None,
    shared: Callable[[], Shared] | None = None,
) -> int:
    """The whole program; returns its exit status. Raises CannotListen."""
    raise_descriptor_limit()
    spare_imports()
    uvloop.run(serve(config, recogniser, ready, registry, voice, reread, shared))
    return 0
