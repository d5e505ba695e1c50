"""`glassbridge bridge`: starts the workers, replaces those that die, freeze or grow, stops them all. Knows no gRPC and
no LiveKit.

Each worker has an address of its own, so losing one costs its rooms one join, and nobody else anything. A spare process
stands by with all that takes long behind it (importing: 1.6 s); a dead worker's successor listens in milliseconds.
SIGUSR1 recycles the workers one after the other: the successor listens while the old one sees its streams off.
"""

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from time import monotonic
from typing import Final

import structlog
from aiohttp import web

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import recorder_route
from glassbridge.bridge.overview import LABELS, Overview
from glassbridge.bridge.process import CannotServe, WorkerPool, WorkerProcess
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.listen import remove_stale_socket
from glassbridge.runtime.signals import stop_on_signals
from glassbridge.telemetry.exposition import MetricsServer
from glassbridge.telemetry.loop_lag import watch_loop

log = structlog.get_logger()

RESTARTS: Final = Ladder(base=0.5, cap=10.0)
"""A worker that keeps dying waits longer each time."""
FROZEN: Final = "frozen"


def run(config: BridgeConfig, admin_token: str = "") -> int:
    """Runs the bridge until SIGTERM or SIGINT; returns the exit status. Raises UserError when it cannot start.

    `admin_token` opens the recorder beside the metrics; empty: nobody may look.
    """
    for number in range(config.workers):  # known now, not when a worker has imported all that it needs
        config.address(number).claim()
    return asyncio.run(_supervise(config, admin_token))


async def _supervise(config: BridgeConfig, admin_token: str) -> int:
    pool = WorkerPool(config)
    overview = Overview(config.workers, fresh=config.health_every * config.health_misses)
    keepers = [Keeper(config, number, pool, overview) for number in range(config.workers)]
    async with AsyncExitStack() as stack:
        stop, recycle = stack.enter_context(stop_on_signals()), stack.enter_context(_asked_to_recycle())
        log.info("bridge starting", workers=config.workers, participant=config.participant)
        about = await _serve_metrics(config, overview, [recorder_route(pool.flights, admin_token)], stack)
        tasks = [asyncio.create_task(keeper.run(), name=f"worker {keeper.number}") for keeper in keepers]
        helpers = [
            asyncio.create_task(_serve_requests(config, keepers, pool, recycle, about)),
            asyncio.create_task(watch_loop()),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("bridge stopping")
            for task in [*tasks, *helpers, stopping]:
                task.cancel()
            ended = await asyncio.gather(*tasks, *helpers, stopping, return_exceptions=True)
            await pool.close()
            for keeper in keepers:
                keeper.clear_address()
        for error in ended:
            if isinstance(error, Exception):
                raise error
        log.info("bridge stopped")
        return 0


async def _serve_metrics(
    config: BridgeConfig, overview: Overview, routes: list[web.RouteDef], stack: AsyncExitStack
) -> dict[str, str]:
    """Until `stack` is left; returns where, for the log. Raises CannotListen."""
    if config.metrics_port is None:
        return {}
    server = MetricsServer(overview.parts, config.metrics_host, config.metrics_port, LABELS, routes=routes)
    return {"metrics": (await stack.enter_async_context(server)).address}


async def _serve_requests(
    config: BridgeConfig,
    keepers: list["Keeper"],
    pool: WorkerPool,
    recycle: asyncio.Event,
    about: dict[str, str],
) -> None:
    for keeper in keepers:
        await keeper.ready.wait()
    log.info("bridge ready", addresses=[str(config.address(keeper.number)) for keeper in keepers], **about)
    pool.refill()
    while True:
        await recycle.wait()
        recycle.clear()
        for keeper in keepers:
            await keeper.recycle("asked for")


@contextmanager
def _asked_to_recycle() -> Iterator[asyncio.Event]:
    """The event that SIGUSR1 sets."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, asked.set)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


class Keeper:
    """Keeps one worker alive: owns its number and address, not its process, which is the pool's."""

    def __init__(self, config: BridgeConfig, number: int, pool: WorkerPool, overview: Overview) -> None:
        self.number = number
        self.ready = asyncio.Event()
        """Set while a worker listens."""
        self._config = config
        self._pool = pool
        self._overview = overview
        self._worker: WorkerProcess | None = None
        self._cause = ""
        """Why we end this life of the worker; empty: it is not we who do."""
        self._backoff = Backoff(RESTARTS, random.random)
        self._log = log.bind(worker=number)

    async def run(self) -> None:
        """Runs until cancelled. Raises UserError: the first worker cannot listen."""
        first = True
        while True:
            asked = monotonic()
            worker = self._worker = await self._pool.take()
            warm = worker.warm.is_set()
            try:
                await worker.serve(self.number)
            except CannotServe as error:
                self._pool.discard(worker)
                if first:
                    raise UserError(str(error)) from None
                self._log.error("worker cannot listen", error=str(error), pid=worker.pid)
                await self._pause()
                continue
            first, begun = False, monotonic()
            self.ready.set()
            self._overview.serves(self.number, worker)
            self._log.info("worker ready", pid=worker.pid, warm=warm, took_s=round(begun - asked, 3))
            self._pool.refill()
            await self._watch(worker)
            self.ready.clear()
            await self._after(worker, monotonic() - begun)

    async def recycle(self, cause: str) -> None:
        """Has the worker replaced by a fresh one; returns when that listens and the old one has seen its streams off.

        Safe to cancel.
        """
        await self._pool.prepare()
        old = self._worker
        if old is not None and self.ready.is_set():
            self.ready.clear()
            self._ask_to_go(old, cause)
            await old.ended()
        await self.ready.wait()

    def clear_address(self) -> None:
        """Removes the socket file that a killed worker has left."""
        path = self._config.address(self.number).path
        if path is not None:
            remove_stale_socket(path)

    async def _watch(self, worker: WorkerProcess) -> None:
        """Returns when it serves no more; sees to it that one which does not answer, or has grown, is replaced."""
        missed, begun = 0, monotonic()
        while True:
            before = worker.answers
            worker.ping()
            try:
                async with asyncio.timeout(self._config.health_every):
                    await worker.over.wait()
                return
            except TimeoutError:
                # Counted, not timed: in a machine that slept nobody answered, and nobody is to blame.
                missed = missed + 1 if worker.answers == before else 0
            if missed >= self._config.health_misses:
                self._cause = f"{FROZEN}: {missed} pings without an answer"
                worker.kill()
                await worker.over.wait()
                return
            limit = self._config.max_resident_mb
            too_large = 0 < limit < worker.resident_mb and monotonic() - begun > self._config.settled
            if too_large and not self._cause:
                await self._pool.prepare()
                self._ask_to_go(worker, f"grown to {worker.resident_mb:.0f} MB")

    def _ask_to_go(self, worker: WorkerProcess, cause: str) -> None:
        self._cause = cause
        self._log.info("worker is asked to go", pid=worker.pid, cause=cause, action="drain, then start another")
        worker.drain()

    async def _after(self, worker: WorkerProcess, lived: float) -> None:
        """Decides when the next one starts."""
        cause, self._cause = self._cause, ""
        kind = "replaced" if worker.released else "frozen" if cause.startswith(FROZEN) else "died"
        self._overview.ended(self.number, kind)
        self._pool.discard(worker)
        if worker.released:
            cause = cause or "SIGTERM from elsewhere"
            self._log.info("worker hands over", pid=worker.pid, cause=cause, lived_s=round(lived, 1))
            return
        if lived > self._config.settled:
            self._backoff.reset()
        words = {"last_words": list(worker.last_words)} if worker.last_words else {}
        cause = cause or _end_of(worker.exit_status)
        await self._pause(pid=worker.pid, cause=cause, lived_s=round(lived, 1), **words)

    async def _pause(self, **about: object) -> None:
        delay = self._backoff.next_delay()
        if about:
            self._log.error("worker died", **about, action="start another", restart_in_s=round(delay, 2))
        await asyncio.sleep(delay)


def _end_of(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    return signal.Signals(-status).name
