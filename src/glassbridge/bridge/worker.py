"""One worker process: a gRPC server and the rooms behind it.

    python -m glassbridge.bridge.worker FD WORKER

FD is its lifeline to the supervisor: the configuration comes as one line, `ready` or `failed` goes back as one, and its
end means that the supervisor is gone.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from glassbridge.bridge.config import Address, BridgeConfig
from glassbridge.bridge.contract import SERVICE
from glassbridge.bridge.host import Drain
from glassbridge.bridge.playback import Player
from glassbridge.bridge.rooms import Rooms
from glassbridge.bridge.service import BridgeService
from glassbridge.livekit.participant import Connector, connector, drainer
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.grpc_options import SERVER_OPTIONS
from glassbridge.runtime.listen import (
    CannotListen,
    claim_port,
    claim_socket,
    private_files,
    raise_descriptor_limit,
    remove_socket,
)
from glassbridge.runtime.signals import stop_on_signals
from glassbridge.telemetry import logs
from glassbridge.wire.livekit_bridge_pb2_grpc import add_LiveKitBridgeServicer_to_server

log = structlog.get_logger()

READY: Final = b"ready\n"
FAILED: Final = b"failed "
LAST_WORDS: Final = 0.5
"""Seconds in which streams that were told to end may still say so."""


class Worker:
    """A listening worker; use as an async context. Leaving it drains: nothing is left behind after config.drain."""

    def __init__(self, config: BridgeConfig, number: int, join: Connector, drain: Drain) -> None:
        self.address = config.address(number)
        self.rooms = Rooms(config, join, drain)
        self.player = Player(config.playback)
        self.service = BridgeService(self.rooms, self.player, config, number)
        self.health = health.aio.HealthServicer()
        self._config = config
        self._drain = drain
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._inode: int | None = None

    async def __aenter__(self) -> "Worker":
        """Raises CannotListen."""
        add_LiveKitBridgeServicer_to_server(self.service, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if self._config.reflection:
            from grpc_reflection.v1alpha import reflection

            names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        self._bind(self.address)
        await self.player.__aenter__()
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        deadline = monotonic() + self._config.drain
        self.service.draining = True
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.rooms.announce_leaving()
        await self.rooms.shut_down(self._config.drain)
        await self._server.stop(LAST_WORDS)
        await self.player.__aexit__()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, deadline - monotonic())):
                await self._drain()
        if self.address.path is not None and self._inode is not None:
            remove_socket(self.address.path, self._inode)

    def _bind(self, address: Address) -> None:
        if address.path is not None:
            claim_socket(address.path)
        else:
            claim_port(address.host, address.port)
        try:
            with private_files():
                self._server.add_insecure_port(address.target)
        except RuntimeError:
            raise CannotListen(f"cannot listen on {address}: taken in this moment, or not an address of ours") from None
        if address.path is not None:
            self._inode = address.path.stat().st_ino

    async def _set_health(self, status: Any) -> None:
        for name in ("", SERVICE):
            await self.health.set(name, status)


async def serve(config: BridgeConfig, number: int, lifeline: "Lifeline") -> None:
    """Serves until SIGTERM or the end of the supervisor. Raises UserError."""
    structlog.contextvars.bind_contextvars(worker=number)
    descriptors = raise_descriptor_limit()
    with stop_on_signals() as stop:
        async with Worker(config, number, connector(config.participant), drainer(config.participant)) as worker:
            log.info("worker listening", address=str(worker.address), pid=os.getpid(), descriptors=descriptors)
            lifeline.say(READY)
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(lifeline.watch(stop))
                await stop.wait()
                watch.cancel()
            log.info("worker stopping", rooms=worker.rooms.joined)
    log.info("worker stopped")


class Lifeline:
    """The worker's end of the socket to its supervisor."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._file = self._socket.makefile("rb")

    def configuration(self) -> BridgeConfig:
        """Blocks until the supervisor has said it."""
        return BridgeConfig.from_json(self._file.readline())

    def say(self, word: bytes) -> None:
        """Tells the supervisor; ignored when it is gone."""
        with suppress(OSError):
            self._socket.send(word)

    async def watch(self, stop: asyncio.Event) -> None:
        """Sets `stop` when the supervisor is gone. Safe to cancel."""
        self._socket.setblocking(False)
        with suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(self._socket, 64):
                pass
        log.warning("the supervisor is gone")
        stop.set()


def main() -> None:
    """The process: exit status 0 after an orderly end, 1 for an error that the user was told."""
    lifeline = Lifeline(int(sys.argv[1]))
    config = lifeline.configuration()
    logs.configure("bridge", config.log_level, config.log_format)
    try:
        _run(serve(config, int(sys.argv[2]), lifeline))
    except UserError as error:
        lifeline.say(FAILED + str(error).encode() + b"\n")
        sys.exit(1)


def _run(program: Any) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(program)
    else:
        uvloop.run(program)


if __name__ == "__main__":
    main()
