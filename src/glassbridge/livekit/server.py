"""A real livekit-server as our child: configured for this machine alone, owned, stopped with us."""

import asyncio
import errno
import json
import os
import signal
import socket
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from glassbridge.livekit.binary import PORT_OPTION, LiveKitServerError
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.child import Child
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.listen import cannot_listen, port_in_use

log = structlog.get_logger()

START_TIMEOUT = 10.0
LOOPBACK = "127.0.0.1"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = LOOPBACK) -> int:
    """A port that is free at this moment."""
    return free_ports(1, kind, host)[0]


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_STREAM, host: str = LOOPBACK) -> list[int]:
    """So many different ones."""
    with ExitStack() as probes:
        found = [probes.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
        for probe in found:
            probe.bind((host, 0))
        return [int(probe.getsockname()[1]) for probe in found]


def _require_free(port: int, kind: socket.SocketKind, host: str) -> None:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind is socket.SOCK_STREAM))
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LiveKitServerError(cannot_listen(f"{host}:{port}", error)) from None
            name = "TCP" if kind is socket.SOCK_STREAM else "UDP"
            raise LiveKitServerError(f"{name} {port_in_use(port, PORT_OPTION, name.lower())}") from None


class LiveKitServer:
    """One livekit-server on loopback; `async with` starts and stops it. After kill() or stop() it can start() again,
    on the same ports.

    `port` 0 takes any free one; signalling listens there and media on UDP `udp_port` (0: port + 2, or any free one).
    `rtc` adds to or replaces the `rtc` part of its configuration, `turn` is its `turn` part. `redis` is the host:port
    of a server in which nodes find each other; empty: it is the only one.
    """

    def __init__(
        self,
        binary: Path,
        keys: LiveKitKeys,
        *,
        port: int = 0,
        udp_port: int = 0,
        host: str = LOOPBACK,
        log_level: str = "warn",
        rtc: Mapping[str, Any] | None = None,
        turn: Mapping[str, Any] | None = None,
        redis: str = "",
    ) -> None:
        keys.require_strong()
        self._binary = binary
        self._keys = keys
        self._host = host
        self._log_level = log_level
        self._rtc = dict(rtc or {})
        self._turn = dict(turn or {})
        self._redis = redis
        self._child: Child | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.udp_port = udp_port or (port + 2 if port else free_port(socket.SOCK_DGRAM, host))
        self.port = port or free_port(host=host)

    @property
    def url(self) -> str:
        return f"ws://{self._host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def __aenter__(self) -> "LiveKitServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when it answers. Raises LiveKitServerError. When cancelled, nothing is left behind."""
        _require_free(self.port, socket.SOCK_STREAM, self._host)
        _require_free(self.udp_port, socket.SOCK_DGRAM, self._host)
        begun = monotonic()
        config = self._write_config()
        try:
            with self._log_file.open("wb") as output:
                self._child = await Child.start([self._binary, "--config", config], stdout=output, stderr=output)
            await self._ready()
        except OSError as error:
            self._forget()
            raise LiveKitServerError(Complaint.LIVEKIT_NOT_RUN.text(path=self._binary, why=error.strerror)) from None
        except BaseException:
            await self.kill()
            raise
        log.info("livekit-server started", url=self.url, took_ms=round((monotonic() - begun) * 1000))

    def _write_config(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="glassbridge-livekit-")
        path = Path(self._folder.name, "config.yaml")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(self._config(), file)  # JSON is YAML
        return path

    def _config(self) -> dict[str, Any]:
        rtc = {
            "udp_port": self.udp_port,
            "tcp_port": 0,  # would listen on every address
            "node_ip": self._host,
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "ips": {"includes": [f"{self._host}/32"]},
            # A literal: the default names cost each joining client threads and sockets (traps B11). Firefox takes no
            # place in a room whose STUN server has a port on its list of bad ones, such as 9.
            "stun_servers": ["127.0.0.1:3478"],
        }
        return {
            "port": self.port,
            "bind_addresses": [self._host],
            "rtc": rtc | self._rtc,
            "keys": {self._keys.api_key: self._keys.secret},
            **({"turn": self._turn} if self._turn else {}),
            **({"redis": {"address": self._redis}} if self._redis else {}),
            "logging": {"level": self._log_level, "json": True},
        }

    @property
    def _log_file(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, "livekit-server.log")

    async def _ready(self) -> None:
        assert self._child is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not await self._answers():
                    if await self._child.ended_within(0.02):
                        raise LiveKitServerError(Complaint.LIVEKIT_ENDED_AT_ONCE.text(last_words=self._last_words()))
        except TimeoutError:
            raise LiveKitServerError(Complaint.LIVEKIT_SILENT.text(seconds=START_TIMEOUT)) from None

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self._host, self.port)
        except OSError:
            return False
        try:
            writer.write(f"GET / HTTP/1.0\r\nHost: {self._host}\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()

    def _last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").splitlines()
        return lines[-1][:300].replace(self._keys.secret, "***") if lines else "it said nothing"

    async def wait(self) -> str:
        """Returns when it has ended, with its last words. Safe to cancel."""
        assert self._child is not None
        status = await self._child.wait()
        return f"status {status}: {self._last_words()}" if self._folder is not None else f"status {status}"

    async def stop(self) -> None:
        """Ends it within 3 s, participants or not; idempotent."""
        if self._child is not None:
            # The first SIGTERM waits for its participants, the second does not (traps B19).
            self._child.signal(signal.SIGTERM)
            await self._child.ended_within(0.1)
            await self._child.stop(2.5)
        self._forget()

    async def kill(self) -> None:
        """Ends it as a crash does; idempotent."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
            await self._child.wait()
        self._forget()

    def signal(self, number: int) -> None:
        """Sends it a signal (SIGSTOP and SIGCONT, for tests)."""
        if self._child is not None:
            self._child.signal(number)

    def _forget(self) -> None:
        self._child = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
