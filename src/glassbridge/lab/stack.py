"""The whole system on one machine: LiveKit, bridge and cloud as real processes, phones on request.

Everything is owned: whatever ends the `async with` block ends all of it within STOP_WITHIN seconds, in order (phones,
cloud, bridge, LiveKit), and leaves no process, socket file or room. Should this process be killed, so are its children.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import UserId
from glassbridge.lab.program import Line, Program
from glassbridge.livekit.binary import find_binary, provide_binary
from glassbridge.livekit.participant import ParticipantKind
from glassbridge.livekit.rooms import RoomService, RoomServiceError
from glassbridge.livekit.server import LiveKitServer, free_port
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.errors import UserError

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"
READY_WITHIN = 30.0
STOP_WITHIN = 5.0
_PHONE_GRACE, _CLOUD_GRACE, _BRIDGE_GRACE, _LIVEKIT_GRACE = 0.8, 1.7, 1.3, 0.7
"""Seconds from SIGTERM to SIGKILL; together less than STOP_WITHIN."""
TOKEN_LIFE = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """What runs where. Port 0 takes a free one."""

    livekit: str = "auto"
    """auto (real where a binary is at hand, else embedded), real, embedded, or the URL of a running one."""
    keys: LiveKitKeys
    jwt_secret: str = field(repr=False)
    livekit_bin: Path | None = None
    livekit_port: int = 0
    cloud_port: int = 0
    workers: int = 1
    participant: ParticipantKind = "own"
    record: Path | None = None
    """Folder for what the recogniser is fed."""
    log_level: str = "info"
    log_format: str = "json"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further environment of all programs."""


class LiveKit(Protocol):
    """A server that we run ourselves."""

    @property
    def url(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


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
        self.livekit_kind = "elsewhere"
        """real, embedded, or elsewhere; known once it runs, as all below."""
        self.livekit_url = config.livekit
        self.cloud_url = f"http://{LOOPBACK}:{config.cloud_port or free_port()}"

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
        livekit = await self._livekit()
        if livekit is not None:
            self.livekit_url = livekit.url
            clean.push_async_callback(livekit.stop)
        elif not await self._http.answers(self.livekit_url):
            raise UserError(f"no LiveKit server answers at {self.livekit_url}: check the address, and that it runs")
        else:
            clean.push_async_callback(self._delete_rooms)
        record = ("--record", str(config.record)) if config.record is not None else ()
        port = str(urlsplit(self.cloud_url).port)
        self.bridge = self._program("bridge", "--workers", str(config.workers), "--participant", config.participant)
        self.cloud = self._program("cloud", "--port", port, *record)
        clean.push_async_callback(self.bridge.stop, _BRIDGE_GRACE)
        clean.push_async_callback(self.cloud.stop, _CLOUD_GRACE)
        clean.push_async_callback(self._stop_phones)
        try:
            async with asyncio.TaskGroup() as tasks:
                if livekit is not None:
                    tasks.create_task(livekit.start())
                tasks.create_task(self.start_bridge())
                tasks.create_task(self.start_cloud())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        await self.ready()

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
            return LiveKitServer(binary, config.keys, port=config.livekit_port)
        self.livekit_kind = "embedded"
        port = config.livekit_port or free_port()
        program = self._program("livekit", "start", "--embedded", "--port", str(port))
        return EmbeddedProcess(program, f"ws://{LOOPBACK}:{port}", self._http)

    async def ready(self) -> None:
        """Returns when the cloud sees all workers of the bridge. Raises UserError."""
        await until(self._bridges_are_seen, self.bridge, self.cloud)

    async def start_bridge(self) -> None:
        """Starts the bridge, for the first time or again after its end."""
        await self.bridge.start()

    async def start_cloud(self) -> None:
        """Starts the cloud, for the first time or again after its end; returns when it answers."""
        await self.cloud.start()
        await until(lambda: self._http.answers(f"{self.cloud_url}/readyz"), self.cloud)

    async def start_phone(self, user: UserId, *options: str) -> Program:
        """A phone of this user that prints JSON; `options` as of `glassbridge phone`."""
        self._users.add(user)
        fixed = ("--cloud", self.cloud_url, "--participant", self._config.participant, "--json")
        phone = self._program("phone", *fixed, *options, GLASSBRIDGE_TOKEN=self.core_token(user))
        self.phones.append(phone)
        await phone.start()
        return phone

    @property
    def bridge_socket(self) -> Path:
        """Of the only worker."""
        return self._folder / "bridge.sock"

    def core_token(self, user: UserId) -> str:
        """What a phone shows to sign in."""
        return mint_core_token(user, self._config.jwt_secret, TOKEN_LIFE)

    # ---- how

    def _program(self, command: str, *options: str, **env: str) -> Program:
        config = self._config
        bridge = BridgeConfig(workers=config.workers, socket=str(self.bridge_socket))
        sockets = ",".join(str(bridge.address(worker).path) for worker in range(config.workers))
        shared = {
            "LIVEKIT_URL": self.livekit_url,
            "LIVEKIT_API_KEY": config.keys.api_key,
            "LIVEKIT_API_SECRET": config.keys.secret,
            "AUGMENTOS_AUTH_JWT_SECRET": config.jwt_secret,
            "LIVEKIT_GRPC_SOCKET": str(bridge.socket) if command == "bridge" else sockets,
            "GLASSBRIDGE_LOG_LEVEL": config.log_level,
            "GLASSBRIDGE_LOG_FORMAT": config.log_format,
        }
        return Program(command, (command, *options), shared | env | dict(config.env), self._on_line)

    async def _bridges_are_seen(self) -> bool:
        said = await self._http.json(f"{self.cloud_url}/readyz")
        return said.get("bridges") == self._config.workers

    async def _stop_phones(self) -> None:
        await asyncio.gather(*(phone.stop(_PHONE_GRACE) for phone in self.phones))

    async def _delete_rooms(self) -> None:
        """On a server that goes on without us: it would keep our empty rooms for a while."""
        try:
            async with RoomService(self.livekit_url, self._config.keys, timeout=1.0) as rooms:
                for user in self._users:
                    await rooms.delete(user)
        except RoomServiceError as error:
            log.warning("rooms are left to LiveKit's own clean-up", error=str(error))


class Http:
    """Questions to programs of ours that may not listen yet."""

    async def __aenter__(self) -> "Http":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def answers(self, url: str) -> bool:
        """Whether an HTTP (or ws) server answers there, with anything but a 5xx."""
        try:
            async with self._session.get(_as_http(url)) as response:
                return response.status < 500
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    async def json(self, url: str) -> Mapping[str, Any]:
        """The object that a GET answers; empty when it does not."""
        try:
            async with self._session.get(url) as response:
                found = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _as_http(url: str) -> str:
    return "http" + url.removeprefix("ws") if url.startswith("ws") else url


async def until(ready: Callable[[], Awaitable[bool]], *programs: Program) -> None:
    """Returns when it is ready. Raises UserError: a program has ended, or READY_WITHIN is over."""
    deadline = monotonic() + READY_WITHIN
    while not await ready():
        for program in programs:
            if not program.running:
                await program.wait()
                raise UserError(f"the {program.name} does not start: {program.last_words}")
        if monotonic() > deadline:
            names = " and ".join(program.name for program in programs)
            raise UserError(f"the {names} did not become ready within {READY_WITHIN:.0f} s")
        await asyncio.sleep(0.05)
