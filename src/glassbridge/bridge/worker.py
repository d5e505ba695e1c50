"""One worker process: a gRPC server and the rooms behind it.

    python -m glassbridge.bridge.worker FD LOG

FD is its lifeline to the supervisor (bridge/process.py tells what is said on it); its end means that the supervisor is
gone. LOG is where its log lines go: standard error itself is what native code writes to, and the supervisor reads it.
"""

import asyncio
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final

import grpc
import msgspec
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from glassbridge.bridge.config import Address, BridgeConfig
from glassbridge.bridge.contract import SERVICE
from glassbridge.bridge.flight import Reporter
from glassbridge.bridge.host import Drain
from glassbridge.bridge.malformed import RefuseMalformed
from glassbridge.bridge.playback import Player
from glassbridge.bridge.rooms import Rooms
from glassbridge.bridge.service import BridgeService, resident_mb
from glassbridge.livekit.connectors import connector, drainer
from glassbridge.livekit.lean_aiortc import import_aiortc
from glassbridge.livekit.participant import Connector
from glassbridge.livekit.refused import counted
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.garbage import spare_imports
from glassbridge.runtime.grpc_options import SERVER_OPTIONS
from glassbridge.runtime.listen import (
    CannotListen,
    private_files,
    raise_descriptor_limit,
)
from glassbridge.runtime.signals import reload_on_hangup, stop_on_signals
from glassbridge.telemetry import logs, metrics
from glassbridge.telemetry.exposition import MetricsServer, Part
from glassbridge.telemetry.loop_lag import watch_loop
from glassbridge.telemetry.numbers import Program
from glassbridge.telemetry.tracing import tracing
from glassbridge.wire.livekit_bridge_pb2_grpc import add_LiveKitBridgeServicer_to_server

log = structlog.get_logger()

LAST_WORDS: Final = 0.5
"""Seconds in which streams that were told to end may still say so."""
LETTING_GO: Final = 1.0
"""Seconds that gRPC may take to let go of an address; it takes 5 ms."""


class Worker:
    """A listening worker; use as an async context. Leaving it hands over: nothing is left behind then.

    `released` is called as soon as a successor can have the address, while the streams here are still seen off;
    `decided` hears of each decision of a room.
    """

    def __init__(
        self,
        config: BridgeConfig,
        number: int,
        join: Connector,
        drain: Drain,
        released: Callable[[], None] = lambda: None,
        decided: Callable[..., None] = lambda **_: None,
    ) -> None:
        self.address = config.address(number)
        self.rooms = Rooms(config, join, drain, decided)
        self.player = Player(config.playback)
        self.service = BridgeService(self.rooms, self.player, config, number)
        self.health = health.aio.HealthServicer()
        self.metrics: MetricsServer | None = None
        """None: nobody asks for numbers."""
        if config.metrics_port is not None:
            port = config.worker_metrics_port(number)
            # A successor of ours may listen while we still see our streams off.
            self.metrics = MetricsServer(_numbers, config.metrics_host, port, shared=port != 0)
        self._config = config
        self._drain = drain
        self._released = released
        interceptors = [*config.security.interceptors(self.address.target), RefuseMalformed()]
        self._server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
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
        if self.metrics is not None:
            await self.metrics.__aenter__()
        await self.player.__aenter__()
        await self._server.start()
        self.rooms.start()
        self._readings = [
            *self.rooms.read(),
            metrics.PLAYBACKS.read_by(lambda: len(self.player)),
            metrics.LIVEKIT_REFUSED.read_by(lambda: {(what,): n for what, n in counted.items()}),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        config = self._config
        self.service.draining = True
        if self.metrics is not None:
            await self.metrics.__aexit__()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        # From now on the channels of the clouds look for another server; what is open goes on.
        stopping = asyncio.get_running_loop().create_task(self._server.stop(config.drain + config.leave + LAST_WORDS))
        await asyncio.gather(self.rooms.hand_over(config.drain), self._let_go())
        for stop_reading in self._readings:
            stop_reading()
        deadline = monotonic() + config.leave
        await self.rooms.shut_down(config.leave)
        await asyncio.wait([stopping], timeout=LAST_WORDS)
        await self._server.stop(None)
        await stopping
        await self.player.__aexit__()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, deadline - monotonic())):
                await self._drain()

    async def _let_go(self) -> None:
        """Returns when the address is free, at the latest after LETTING_GO seconds."""
        deadline = monotonic() + LETTING_GO
        while self._is_bound() and monotonic() < deadline:  # noqa: ASYNC110 - gRPC does not say when
            await asyncio.sleep(0.005)
        self._released()

    def _is_bound(self) -> bool:
        path = self.address.path
        try:
            if path is not None:
                return path.lstat().st_ino == self._inode
            self.address.claim()
        except FileNotFoundError:
            return False
        except CannotListen:
            return True
        return False

    def _bind(self, address: Address) -> None:
        address.claim()
        try:
            with private_files():
                self._config.security.add_port(self._server, address.target)
        except OSError as error:
            raise CannotListen(
                f"cannot read the certificate or key of {address}: {error.strerror}; correct "
                "GLASSBRIDGE_BRIDGE_CERT and _KEY"
            ) from None
        except RuntimeError:
            raise CannotListen(
                f"cannot listen on {address}: taken in this moment, or not an address of ours; choose another"
            ) from None
        if address.path is not None:
            self._inode = address.path.stat().st_ino

    async def _set_health(self, status: Any) -> None:
        for name in ("", SERVICE):
            await self.health.set(name, status)


def _numbers() -> list[Part]:
    return [((), metrics.snapshot(Program.WORKER))]


async def serve(config: BridgeConfig, number: int, lifeline: "Lifeline", join: Connector, drain: Drain) -> None:
    """Serves until SIGTERM or the end of the supervisor. Raises UserError."""
    structlog.contextvars.bind_contextvars(worker=number)
    descriptors = raise_descriptor_limit()
    with reload_on_hangup(), stop_on_signals() as stop:
        reporter = Reporter(lifeline.say if config.recorder else _unsaid)
        released = partial(lifeline.say, "released")
        async with Worker(config, number, join, drain, released, reporter.decided) as worker:
            about = {"descriptors": descriptors} | ({"metrics": worker.metrics.address} if worker.metrics else {})
            log.info("worker listening", address=str(worker.address), pid=os.getpid(), **about)
            lifeline.say("ready")
            worker.player.decoders.start()  # the first sound finds it warm
            numbers = _nothing if worker.metrics is None else _as_json
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(lifeline.watch(stop, numbers)),
                    tasks.create_task(watch_loop()),
                ]
                if config.recorder:
                    helpers.append(tasks.create_task(reporter.run(worker.rooms.passed)))
                await stop.wait()
                for helper in helpers:
                    helper.cancel()
            log.info("worker stopping", rooms=worker.rooms.joined, streams=worker.rooms.streams)
    log.info("worker stopped")


def _as_json() -> str:
    return msgspec.json.encode(metrics.snapshot(Program.WORKER)).decode()


def _nothing() -> str:
    return ""


def _unsaid(_line: str) -> None:
    """Nobody remembers it."""


class Lifeline:
    """The worker's end of the socket to its supervisor."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._file = self._socket.makefile("rb")
        self._rest = b""
        """Of a line that did not fit."""

    def listen(self) -> str:
        """The next line that the supervisor says; blocks until then. Empty: it is gone."""
        return self._file.readline().decode()

    def say(self, line: str) -> None:
        """Tells the supervisor; dropped when it is gone, or does not read. Never waits once watch() runs."""
        with suppress(OSError):
            self._rest = self._rest[self._socket.send(self._rest) :] if self._rest else b""
            if not self._rest:
                data = line.encode() + b"\n"
                self._rest = data[self._socket.send(data) :]

    async def watch(self, stop: asyncio.Event, numbers: Callable[[], str]) -> None:
        """Answers each ping, with `numbers`; sets `stop` when the supervisor is gone. Safe to cancel."""
        self._socket.setblocking(False)
        with suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(self._socket, 64):
                self.say(f"pong {resident_mb():.1f} {numbers()}".rstrip())
        log.warning("the supervisor is gone")
        stop.set()


def main() -> None:
    """The process: exit status 0 after an orderly end, 1 for an error that the user was told."""
    faulthandler.enable(all_threads=False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it serves, and has a loop
    lifeline = Lifeline(int(sys.argv[1]))
    config = BridgeConfig.from_json(lifeline.listen())
    logs.configure("bridge", config.log, fd=int(sys.argv[2]))
    run = _runner()
    import_aiortc()
    join, drain = connector(config.participant), drainer(config.participant)
    spare_imports()
    lifeline.say("warm")
    while (line := lifeline.listen().strip()) == "ping":
        lifeline.say(f"pong {resident_mb():.1f}")
    word, _, number = line.partition(" ")
    if word != "serve":  # the supervisor is gone
        return
    try:
        with tracing("bridge", config.traces):
            run(serve(config, int(number), lifeline, join, drain))
    except UserError as error:
        lifeline.say(f"failed {error}")
        sys.exit(1)


def _runner() -> Callable[[Any], None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    main()
