"""One worker: a gRPC server and the rooms behind it. bridge/worker_process.py is the program around it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.contract import SERVICE
from glassbridge.bridge.flight import Reporter
from glassbridge.bridge.host import Drain
from glassbridge.bridge.lifeline import Lifeline
from glassbridge.bridge.listening import Listening
from glassbridge.bridge.playback import Player
from glassbridge.bridge.rooms import Rooms
from glassbridge.bridge.service import BridgeService
from glassbridge.livekit.participant import Connector
from glassbridge.livekit.refused import counted
from glassbridge.runtime.listen import raise_descriptor_limit
from glassbridge.runtime.signals import reload_on_hangup, stop_on_signals
from glassbridge.telemetry import metrics
from glassbridge.telemetry.exposition import MetricsServer
from glassbridge.telemetry.loop_lag import watch_loop
from glassbridge.telemetry.numbers import Part, Program
from glassbridge.wire.livekit_bridge_pb2_grpc import add_LiveKitBridgeServicer_to_server

log = structlog.get_logger()

LAST_WORDS: Final = 0.5
"""Seconds in which streams that were told to end may still say so."""


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
        listening: Listening | None = None,
    ) -> None:
        """`listening` may have been started before; None: it is made here."""
        self._listening = listening or Listening(config, number)
        self.address = self._listening.address
        self.rooms = Rooms(config, join, drain, decided)
        self.player = Player(config.playback)
        self.service = BridgeService(self.rooms, self.player, config, number)
        self.health = health.aio.HealthServicer()
        self.metrics: MetricsServer | None = None
        """None: no metrics are served."""
        if config.metrics_port is not None:
            port = config.worker_metrics_port(number)
            # A successor of ours may listen while we still see our streams off.
            self.metrics = MetricsServer(_numbers, config.metrics_host, port, shared=port != 0)
        self._config = config
        self._drain = drain
        self._released = released

    async def __aenter__(self) -> "Worker":
        """Raises CannotListen."""
        await self._listening.start()
        calls = self._listening.calls
        add_LiveKitBridgeServicer_to_server(self.service, calls)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health, calls)
        if self._config.reflection:
            from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

            names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            servicer = reflection.aio.ReflectionServicer(names)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, calls)
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        try:
            if self.metrics is not None:
                await self.metrics.__aenter__()
        except BaseException:
            await self._listening.stop(None)
            raise
        await self.player.__aenter__()
        self.rooms.start()
        self._readings = [
            *self.rooms.read(),
            metrics.PLAYBACKS.read_by(lambda: len(self.player)),
            metrics.LIVEKIT_REFUSED.read_by(lambda: {(what,): n for what, n in counted.items()}),
        ]
        self._listening.serve()
        return self

    async def __aexit__(self, *_: object) -> None:
        config = self._config
        self.service.draining = True
        if self.metrics is not None:
            await self.metrics.__aexit__()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        # From now on the channels of the clouds look for another server; open streams go on.
        stopping = asyncio.get_running_loop().create_task(
            self._listening.stop(config.drain + config.leave + LAST_WORDS)
        )
        await asyncio.gather(self.rooms.hand_over(config.drain), self._let_go())
        for stop_reading in self._readings:
            stop_reading()
        deadline = monotonic() + config.leave
        await self.rooms.shut_down(config.leave)
        await asyncio.wait([stopping], timeout=LAST_WORDS)
        await self._listening.stop(None)
        await stopping
        await self.player.__aexit__()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, deadline - monotonic())):
                await self._drain()

    async def _let_go(self) -> None:
        await self._listening.let_go()
        self._released()

    async def _set_health(self, status: Any) -> None:
        for name in ("", SERVICE):
            await self.health.set(name, status)


def _numbers() -> list[Part]:
    return [((), metrics.snapshot(Program.WORKER))]


async def serve(
    config: BridgeConfig, number: int, lifeline: Lifeline, join: Connector, drain: Drain, listening: Listening
) -> None:
    """Serves until SIGTERM or the end of the supervisor. Raises UserError."""
    descriptors = raise_descriptor_limit()
    with reload_on_hangup(), stop_on_signals() as stop:
        reporter = Reporter(lifeline.say if config.recorder else _unsaid)
        released = partial(lifeline.say, "released")
        async with Worker(config, number, join, drain, released, reporter.decided, listening) as worker:
            about = {"descriptors": descriptors} | ({"metrics": worker.metrics.address} if worker.metrics else {})
            log.info("worker listening", address=str(worker.address), pid=os.getpid(), **about)
            lifeline.say("ready")
            worker.player.decoders.start()  # the first sound finds it warm
            numbers = _as_json if worker.metrics is not None or config.in_cluster else _nothing
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(lifeline.watch(partial(_gone, stop), numbers)),
                    tasks.create_task(watch_loop()),
                ]
                if config.recorder:
                    helpers.append(tasks.create_task(reporter.run(worker.rooms.passed)))
                await stop.wait()
                for helper in helpers:
                    helper.cancel()
            log.info("worker stopping", rooms=worker.rooms.joined, streams=worker.rooms.streams)
    log.info("worker stopped")


def _gone(stop: asyncio.Event) -> None:
    log.warning("the supervisor is gone")
    stop.set()


def _as_json() -> str:
    return msgspec.json.encode(metrics.snapshot(Program.WORKER)).decode()


def _nothing() -> str:
    return ""


def _unsaid(_line: str) -> None:
    """Nobody remembers it."""
