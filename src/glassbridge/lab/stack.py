"""The whole system on one machine: LiveKit, one or more backends and phones, as real processes.

Everything is owned: whatever ends the `async with` block ends all of it within STOP_WITHIN seconds, in order (phones,
cloud, bridge, LiveKit), and leaves no process, socket file or room. Should this process be killed, so are its children.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Protocol

import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import UserId
from glassbridge.lab.backend import BRIDGE_GRACE, CLOUD_GRACE, LOOPBACK, Backend, breakable
from glassbridge.lab.cluster import Cluster
from glassbridge.lab.link_breaker import ClientLink, LinkBreaker, behind_breaker
from glassbridge.lab.livekit_nodes import LiveKitNodes
from glassbridge.lab.program import Line, Program
from glassbridge.lab.readiness import Http, until
from glassbridge.lab.turn import Turn
from glassbridge.lab.valkey import Valkey
from glassbridge.livekit.binary import find_binary, provide_binary
from glassbridge.livekit.participant import ParticipantKind
from glassbridge.livekit.rooms import RoomService, RoomServiceError, RoomServiceRefused
from glassbridge.livekit.server import LiveKitServer, free_port
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.errors import UserError

log = structlog.get_logger()

STOP_WITHIN = 5.0
_PHONE_GRACE, _LIVEKIT_GRACE = 0.8, 0.7
"""Seconds from SIGTERM to SIGKILL; with those of a backend less than STOP_WITHIN."""
TOKEN_LIFE = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """What runs where. Port 0 takes a free one."""

    host: str = LOOPBACK
    """Where LiveKit and the clouds listen; another address only in a network namespace of our own."""
    livekit: str = "auto"
    """auto (real where a binary is at hand, else embedded), real, embedded, or the URL of a running one."""
    keys: LiveKitKeys
    jwt_secret: str = field(repr=False)
    livekit_bin: Path | None = None
    turn: Turn | None = field(default=None, repr=False)
    """The TURN server that a real LiveKit server of ours brings and names."""
    livekit_port: int = 0
    cloud_port: int = 0
    backends: int = 1
    """Clouds, each with a bridge of its own; all share LiveKit."""
    cluster: bool = False
    """The clouds share a directory, all bridges, and a balancer."""
    livekit_nodes: int = 1
    """More than one needs a cluster, whose Valkey server they share, and a real livekit-server."""
    original_clouds: bool = False
    """Doubles of the original's cloud (lab/originals/cloud.py) in the place of ours."""
    breakable: bool = False
    """All ways between the programs can be broken; those to LiveKit only where it is a real server of ours."""
    workers: int = 1
    spare: bool = True
    """Bridges keep a process warm that replaces a dead worker."""
    participant: ParticipantKind = "own"
    record: Path | None = None
    """Folder for what the recogniser is fed."""
    log_level: str = "info"
    log_format: str = "json"
    apps: Path | None = None
    """Registry of apps."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further environment of all programs."""
    backend_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """More of it for the programs of single backends, by name."""
    pythons: Mapping[str, str] = field(default_factory=dict)
    """Interpreters of single programs, by name: those of another version."""
    taps: Mapping[str, Path] = field(default_factory=dict)
    """By the name of a backend, where its cloud sends what it hands on to listeners (cloud/tap.py)."""


class LiveKit(Protocol):
    """A server that we run ourselves."""

    @property
    def url(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def kill(self) -> None:
        """Ends it as a crash does; start() brings it back on the same address."""


class EmbeddedProcess:
    """The stand-in in a process of its own."""

    def __init__(self, program: Program, url: str, http: "Http") -> None:
        self.url = url
        self._program = program
        self._http = http

    async def start(self) -> None:
        """Raises UserError."""
        await self._program.start()
        await until(lambda: self._http.answers(self.url), self._program)

    async def stop(self) -> None:
        await self._program.stop(_LIVEKIT_GRACE)

    async def kill(self) -> None:
        self._program.signal(signal.SIGKILL)
        await self._program.wait()


class Stack:
    """`async with Stack(config) as stack`: inside the block it is ready. Raises UserError where it cannot be.

    `on_line` hears every line that a program writes, `say` what takes long.
    """

    def __init__(
        self,
        config: StackConfig,
        on_line: Callable[[Line], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._on_line = on_line
        self._say = say
        self._http = Http()
        self._cleanup = AsyncExitStack()
        self._users: set[UserId] = set()
        self.phones: list[Program] = []
        self.backends: list[Backend] = []
        self.cluster: Cluster | None = None
        self.livekit: LiveKit | None = None
        """None: it runs elsewhere."""
        self.livekit_kind = "elsewhere"
        """real, embedded, or elsewhere; known once it runs, as all below."""
        self.livekit_url = config.livekit
        self._phones_to_livekit: ClientLink | None = None

    async def __aenter__(self) -> "Stack":
        try:
            await self._start()
        except BaseException:
            await self._cleanup.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    async def _start(self) -> None:
        clean, config = self._cleanup, self._config
        await clean.enter_async_context(self._http)
        self._folder = Path(clean.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-")))
        self._valkey = Valkey(self._folder)
        self.livekit = await self._livekit()
        if self.livekit is not None:
            self.livekit_url = self.livekit.url
            clean.push_async_callback(self.livekit.stop)
        else:
            await self._ask_livekit()
            clean.push_async_callback(self._delete_rooms)
        breaker = None
        if config.breakable and isinstance(self.livekit, LiveKitServer):
            breaker = await clean.enter_async_context(LinkBreaker(self.livekit))
            self._phones_to_livekit = await breaker.link()
        for name in ascii_uppercase[: config.backends]:
            self.backends.append(await self._backend(name, breaker))
        if config.cluster:
            self.cluster = await clean.enter_async_context(
                Cluster(self._folder, self._valkey, self.backends, self._say)
            )
        clean.push_async_callback(self._stop_programs)
        try:
            async with asyncio.TaskGroup() as tasks:
                if self.livekit is not None:
                    tasks.create_task(self.livekit.start())
                for backend in self.backends:
                    tasks.create_task(backend.start())
        except ExceptionGroup as group:
            raise _first(group) from None

    @property
    def phones_to_livekit(self) -> ClientLink:
        """The way of all phones to LiveKit. Raises RuntimeError where nothing was made breakable."""
        return breakable(self._phones_to_livekit)

    # ---- the first backend, which often is the only one

    @property
    def bridge(self) -> Program:
        return self.backends[0].bridge

    @property
    def cloud(self) -> Program:
        return self.backends[0].cloud

    @property
    def cloud_url(self) -> str:
        return self.backends[0].cloud_url

    @property
    def bridge_socket(self) -> Path:
        """Of its only worker."""
        return self._folder / "bridge.sock"

    async def start_bridge(self) -> None:
        """As of Backend."""
        await self.backends[0].start_bridge()

    async def start_cloud(self) -> None:
        """As of Backend."""
        await self.backends[0].start_cloud()

    async def ready(self) -> None:
        """As of Backend."""
        await self.backends[0].ready()

    # ---- parts

    async def _livekit(self) -> LiveKit | None:
        """The server to run, not started yet; None: it runs elsewhere."""
        config = self._config
        if "://" in config.livekit:
            return None
        if config.livekit not in ("auto", "real", "embedded"):
            raise UserError(f"LiveKit is real, embedded, or a URL such as ws://host:7880, not {config.livekit!r}", 2)
        try:
            config.keys.require_strong()
        except ValueError as error:
            raise UserError(str(error), 2) from None
        binary = None
        if config.livekit == "real":
            binary = await provide_binary(config.livekit_bin, self._say)
        elif config.livekit == "auto":
            binary = find_binary(config.livekit_bin)
        if binary is not None:
            self.livekit_kind = "real"
            rtc = behind_breaker() if config.breakable else {}
            turn = config.turn or Turn({}, [])
            rtc |= {"turn_servers": turn.servers} if turn.servers else {}
            if config.livekit_nodes > 1:
                shared = f"{LOOPBACK}:{self._valkey.port}"
                nodes = [LiveKitServer(binary, config.keys, redis=shared) for _ in range(config.livekit_nodes)]
                return await self._cleanup.enter_async_context(LiveKitNodes(self._folder, nodes, self._say))
            return LiveKitServer(
                binary, config.keys, port=config.livekit_port, host=config.host, rtc=rtc, turn=turn.turn
            )
        self.livekit_kind = "embedded"
        port = config.livekit_port or free_port()
        self.livekit_url = f"ws://{LOOPBACK}:{port}"
        program = self._program("livekit", ("livekit", "start", "--embedded", "--port", str(port)), {})
        return EmbeddedProcess(program, self.livekit_url, self._http)

    async def _backend(self, name: str, breaker: LinkBreaker | None) -> Backend:
        """Not started yet."""
        config = self._config
        alone = config.backends == 1
        suffix = "" if alone else f"-{name}"
        bridge_config = BridgeConfig(workers=config.workers, socket=str(self._folder / f"bridge{suffix}.sock"))
        port = config.cloud_port if alone and config.cloud_port else free_port(host=config.host)
        to_livekit = await breaker.link() if breaker is not None else None
        env = {"GLASSBRIDGE_REGION": name, **config.backend_env.get(name, {})}
        if to_livekit is not None:
            env["LIVEKIT_URL"] = to_livekit.url
        record = ("--record", str(config.record)) if config.record is not None else ()
        apps = ("--apps", str(config.apps)) if config.apps is not None else ()
        bridge = self._program(
            f"bridge{suffix}",
            (
                *("bridge", "--workers", str(config.workers), "--participant", config.participant),
                *(() if config.spare else ("--no-spare",)),
            ),
            env | {"LIVEKIT_GRPC_SOCKET": str(bridge_config.socket)},
        )
        if name in config.taps:
            env["GLASSBRIDGE_TAP"] = str(config.taps[name])
        if config.original_clouds:
            cloud = self._program(f"cloud{suffix}", (config.host, str(port)), env, "glassbridge.lab.originals.cloud")
        else:
            args = ("cloud", "--host", config.host, "--port", str(port), *record, *apps)
            cloud = self._program(f"cloud{suffix}", args, env)
        backend = Backend(name, bridge, cloud, bridge_config, f"http://{config.host}:{port}")
        cloud.env["LIVEKIT_GRPC_SOCKET"] = ",".join(map(str, backend.sockets))
        if self._phones_to_livekit is not None:
            cloud.env["GLASSBRIDGE_LIVEKIT_PUBLIC_URL"] = self._phones_to_livekit.url
        await self._cleanup.enter_async_context(backend)
        if config.breakable:
            await backend.make_breakable(to_livekit)
        return backend

    async def start_phone(self, user: UserId, *options: str, prefix: tuple[str, ...] = ()) -> Program:
        """A phone of this user that prints JSON; `options` as of `glassbridge phone`, `prefix` runs it."""
        self._users.add(user)
        fixed = ("phone", "--cloud", self.cloud_url, "--participant", self._config.participant, "--json")
        env = {"GLASSBRIDGE_TOKEN": self.core_token(user)}
        phone = self._program("phone", (*fixed, *options), env, prefix=prefix)
        self.phones.append(phone)
        await phone.start()
        return phone

    def core_token(self, user: UserId) -> str:
        """What a phone shows to sign in."""
        return mint_core_token(user, self._config.jwt_secret, TOKEN_LIFE)

    # ---- how

    @property
    def environment(self) -> dict[str, str]:
        """What makes a program part of it; holds secrets."""
        config = self._config
        return {
            "LIVEKIT_URL": self.livekit_url,
            "LIVEKIT_API_KEY": config.keys.api_key,
            "LIVEKIT_API_SECRET": config.keys.secret,
            "AUGMENTOS_AUTH_JWT_SECRET": config.jwt_secret,
        }

    def _program(
        self,
        name: str,
        args: tuple[str, ...],
        env: dict[str, str],
        module: str = "glassbridge",
        prefix: tuple[str, ...] = (),
    ) -> Program:
        config = self._config
        shared = self.environment | {
            # Ours are the ones that count, also where this process got its own from files.
            "LIVEKIT_API_SECRET_FILE": "",
            "AUGMENTOS_AUTH_JWT_SECRET_FILE": "",
            "GLASSBRIDGE_LOG_LEVEL": config.log_level,
            "GLASSBRIDGE_LOG_FORMAT": config.log_format,
        }
        python = config.pythons.get(name, sys.executable)
        return Program(name, args, shared | dict(config.env) | env, self._on_line, module, prefix, python)

    async def _stop_programs(self) -> None:
        await asyncio.gather(*(phone.stop(_PHONE_GRACE) for phone in self.phones))
        await asyncio.gather(*(backend.cloud.stop(CLOUD_GRACE) for backend in self.backends))
        await asyncio.gather(*(backend.bridge.stop(BRIDGE_GRACE) for backend in self.backends))

    async def _ask_livekit(self) -> None:
        """Raises UserError where no LiveKit server runs; one that refuses our key is only told of."""
        try:
            async with RoomService(self.livekit_url, self._config.keys) as rooms:
                await rooms.rooms()
        except RoomServiceRefused as error:
            self._say(f"{error}: LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
        except RoomServiceError as error:
            raise UserError(
                f"no LiveKit server answers at {self.livekit_url} ({error}): check the address, and that it runs"
            ) from None

    async def _delete_rooms(self) -> None:
        """On a server that goes on without us: it would keep our empty rooms for a while."""
        try:
            async with RoomService(self.livekit_url, self._config.keys, timeout=1.0) as rooms:
                for user in self._users:
                    await rooms.delete(user)
        except RoomServiceError as error:
            log.warning("rooms are left to LiveKit's own clean-up", error=str(error))


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
