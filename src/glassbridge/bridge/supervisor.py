"""`glassbridge bridge`: starts the workers, replaces those that die, freeze or grow, stops them all. Knows no gRPC and
no LiveKit.

Each worker has an address of its own, so losing one costs its rooms one join, and other rooms nothing. A spare process
stands by with all that takes long behind it (importing: 1.6 s); a dead worker's successor listens in milliseconds.
SIGUSR1 recycles the workers one after the other: the successor listens while the old one drains its streams. What the
system refuses (a process, memory, a descriptor) is asked for again with growing gaps; other workers are not touched.
"""

import asyncio
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from secrets import token_hex
from socket import gethostname
from time import monotonic
from typing import Final

import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import FlightCopy
from glassbridge.bridge.overview import LABELS, Overview
from glassbridge.bridge.process import START_TIMEOUT, CannotServe, WorkerPool, WorkerProcess
from glassbridge.cluster.directory import Directory, Node
from glassbridge.cluster.registrar import Registrar
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.ownership import NodeState, Owner, Role
from glassbridge.runtime.errors import UserError, describe
from glassbridge.runtime.grpc_security import ServerSecurity
from glassbridge.runtime.listen import remove_stale_socket
from glassbridge.runtime.signals import reload_on_hangup, stop_on_signals
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry import metrics
from glassbridge.telemetry.loop_lag import watch_loop

log = structlog.get_logger()

RESTARTS: Final = Ladder(base=0.5, cap=10.0)
"""A worker that keeps dying waits longer each time."""
FROZEN: Final = "frozen"


def run(
    config: BridgeConfig,
    admin_tokens: Sequence[str] = (),
    reread: Callable[[], ServerSecurity] | None = None,
    directory: Callable[[], Directory] | None = None,
) -> int:
    """Runs the bridge until SIGTERM or SIGINT; returns the exit status. Raises UserError when it cannot start.

    `directory` lists the workers, so that the clouds of its cluster find them; None: clouds are told where they are.

    Each of `admin_tokens` opens the recorder beside the metrics; none: it is closed. On SIGHUP workers with the
    security of `reread` take over; it raises ValueError or UserError where the former one stays.
    """
    for number in range(config.workers):  # known now, not when a worker has imported all that it needs
        config.address(number).claim()
    return asyncio.run(_supervise(config, admin_tokens, reread, directory))


async def _supervise(
    config: BridgeConfig,
    admin_tokens: Sequence[str],
    reread: Callable[[], ServerSecurity] | None,
    directory: Callable[[], Directory] | None,
) -> int:
    pool = WorkerPool(config)
    overview = Overview(config.workers, fresh=config.health_every * config.health_misses)
    supervisors = [WorkerSupervisor(config, number, pool, overview) for number in range(config.workers)]
    async with AsyncExitStack() as stack:
        stop, recycle = stack.enter_context(stop_on_signals()), stack.enter_context(_asked_to_recycle())
        reloads = {} if reread is None else {"security": partial(_renew, config, pool, recycle, reread)}
        stack.enter_context(reload_on_hangup(reloads))
        log.info("bridge starting", workers=config.workers, participant=config.participant)
        about = await _serve_metrics(config, overview, pool.flights, admin_tokens, stack)
        tasks = [
            asyncio.create_task(supervisor.run(), name=f"worker {supervisor.number}") for supervisor in supervisors
        ]
        helpers = TaskGroup("supervisor", _helper_failed)
        helpers.spawn(_tell_ready(config, supervisors, pool, about), "ready")
        helpers.keep(lambda: _recycle_when_asked(supervisors, recycle), "recycle")
        helpers.keep(watch_loop, "loop lag")
        registrar = None if directory is None else Registrar(directory(), lambda: _listed(supervisors, stop.is_set()))
        listing = TaskGroup("directory", _helper_failed)
        if registrar is not None:
            listing.keep(registrar.run, "list")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("bridge stopping")
            for task in [*tasks, stopping]:
                task.cancel()
            ended = await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await helpers.close()
            if registrar is not None:
                listing.spawn(registrar.tell(), "drain")
            await pool.close()
            await listing.close()
            if registrar is not None:
                await registrar.close()
            for supervisor in supervisors:
                with suppress(OSError):  # no descriptor left to look at it: the next start clears it
                    supervisor.clear_address()
        for error in ended:
            if isinstance(error, Exception):
                raise error
        log.info("bridge stopped")
        return 0


def _renew(config: BridgeConfig, pool: WorkerPool, recycle: asyncio.Event, reread: Callable[[], ServerSecurity]) -> str:
    try:
        security = reread()
    except UserError as error:
        raise ValueError(str(error)) from None
    pool.use(replace(config, security=security))
    recycle.set()
    return f"{len(security.secrets)} for callers; the workers are replaced"


async def _serve_metrics(
    config: BridgeConfig, overview: Overview, flights: FlightCopy, admin_tokens: Sequence[str], stack: AsyncExitStack
) -> dict[str, str]:
    """Until `stack` is left; returns where, for the log. Raises CannotListen."""
    if config.metrics_port is None:
        return {}
    from glassbridge.bridge.recorder_route import recorder_route  # a third of what this process imports
    from glassbridge.telemetry.exposition import MetricsServer

    routes = [recorder_route(flights, *admin_tokens)]
    server = MetricsServer(overview.parts, config.metrics_host, config.metrics_port, LABELS, routes=routes)
    return {"metrics": (await stack.enter_async_context(server)).address}


async def _tell_ready(
    config: BridgeConfig, supervisors: list["WorkerSupervisor"], pool: WorkerPool, about: dict[str, str]
) -> None:
    for supervisor in supervisors:
        await supervisor.ready.wait()
    log.info("bridge ready", addresses=[str(config.address(supervisor.number)) for supervisor in supervisors], **about)
    pool.refill()


async def _recycle_when_asked(supervisors: list["WorkerSupervisor"], recycle: asyncio.Event) -> None:
    for supervisor in supervisors:
        await supervisor.ready.wait()
    while True:
        await recycle.wait()
        recycle.clear()
        for supervisor in supervisors:
            try:
                await supervisor.recycle("asked for")
            except (OSError, CannotServe) as error:
                log.warning(
                    "recycling stopped", worker=supervisor.number, error=_why(error), action="SIGUSR1 asks again"
                )
                break


def _listed(supervisors: list["WorkerSupervisor"], draining: bool) -> list[Node]:
    state = NodeState.DRAINING if draining else NodeState.SERVING
    return [
        Node(supervisor.owner, state, supervisor.rooms, Role.BRIDGE)
        for supervisor in supervisors
        if supervisor.has_served
    ]


def _helper_failed(task: str, error: BaseException) -> None:
    log.error("supervisor task failed", task=task, error=type(error).__name__, exc_info=error)


def _why(error: OSError | CannotServe) -> str:
    return describe(error) if isinstance(error, OSError) else str(error)


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


class WorkerSupervisor:
    """Keeps one worker alive: owns its number and address, not its process, which is the pool's."""

    def __init__(self, config: BridgeConfig, number: int, pool: WorkerPool, overview: Overview) -> None:
        self.number = number
        self.owner = Owner(gethostname(), token_hex(6), config.told(number))
        """As the directory lists it."""
        self.ready = asyncio.Event()
        """Set while a worker listens."""
        self.has_served = False
        self._config = config
        self._pool = pool
        self._overview = overview
        self._worker: WorkerProcess | None = None
        self._cause = ""
        """Why the supervisor ends this worker; empty: it ended by itself."""
        self._backoff = Backoff(RESTARTS, random.random)
        self._log = log.bind(worker=number)
        self._tasks = TaskGroup(f"supervisor {number}", _helper_failed)
        self._replacing: asyncio.Task[None] | None = None

    @property
    def rooms(self) -> int:
        """As the worker last said."""
        numbers = {} if self._worker is None else self._worker.numbers
        return round(sum(value for _, value in numbers.get(metrics.ROOMS.name, ()) if isinstance(value, float | int)))

    async def run(self) -> None:
        """Runs until cancelled. Raises UserError: the first worker cannot listen."""
        first = True
        try:
            while True:
                asked = monotonic()
                try:
                    worker = self._worker = await self._pool.take()
                except OSError as error:
                    delay = self._backoff.next_delay()
                    self._log.error("worker cannot be started", error=describe(error), restart_in_s=round(delay, 2))
                    await asyncio.sleep(delay)
                    continue
                warm = worker.warm.is_set()
                try:
                    await worker.serve(self.number)
                except CannotServe as error:
                    self._pool.discard(worker)
                    if first:
                        raise UserError(str(error)) from None
                    delay = self._backoff.next_delay()
                    about = {"pid": worker.pid, "restart_in_s": round(delay, 2)}
                    self._log.error("worker cannot listen", error=str(error), **about)
                    await asyncio.sleep(delay)
                    continue
                first, begun = False, monotonic()
                self.ready.set()
                self.has_served = True
                self._overview.serves(self.number, worker)
                self._log.info("worker ready", pid=worker.pid, warm=warm, took_s=round(begun - asked, 3))
                self._pool.refill()
                await self._watch(worker)
                self.ready.clear()
                await self._after(worker, monotonic() - begun)
        finally:
            await self._tasks.close()

    async def recycle(self, cause: str) -> None:
        """Has the worker replaced by a fresh one; returns when that listens and the old one has drained its streams.

        Raises OSError or CannotServe: there is no spare process, and the worker stays. Raises TimeoutError: the
        successor does not listen in time. Safe to cancel.
        """
        await self._pool.prepare()
        old = self._worker
        if old is not None and self.ready.is_set():
            self.ready.clear()
            self._ask_to_go(old, cause)
            await old.ended_within(self._config.stop_grace)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self.ready.wait()
        except TimeoutError:
            raise TimeoutError(f"no successor listens within {START_TIMEOUT:g} s") from None

    def clear_address(self) -> None:
        """Removes the socket file that a killed worker has left."""
        path = self._config.address(self.number).path
        if path is not None:
            remove_stale_socket(path)

    async def _watch(self, worker: WorkerProcess) -> None:
        """Returns when it serves no more; makes a worker that does not answer, or has grown, be replaced."""
        begun = monotonic()
        while not await worker.beat(self._config.health_every):
            if worker.unanswered >= self._config.health_misses:
                self._cause = f"{FROZEN}: {worker.unanswered} pings without an answer"
                await worker.killed()
                return
            limit = self._config.max_resident_mb
            too_large = 0 < limit < worker.resident_mb and monotonic() - begun > self._config.settled
            if too_large and not self._cause and (self._replacing is None or self._replacing.done()):
                self._replacing = self._tasks.spawn(self._replace(worker), "replace")

    async def _replace(self, worker: WorkerProcess) -> None:
        """Has one that has grown replaced, beside the watch over it; tries again later if there is no spare process."""
        try:
            await self._pool.prepare()
        except (OSError, CannotServe) as error:
            self._log.error("worker not replaced", pid=worker.pid, error=_why(error), retry_in_s=self._config.settled)
            await asyncio.sleep(self._config.settled)
            return
        if worker is self._worker and not worker.over.is_set():
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
        delay = self._backoff.next_delay()
        about = {"pid": worker.pid, "cause": cause, "lived_s": round(lived, 1), **words}
        self._log.error("worker died", **about, action="start another", restart_in_s=round(delay, 2))
        await asyncio.sleep(delay)


def _end_of(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    names = {each.value: each.name for each in signal.Signals}
    return names.get(-status, f"signal {-status}")
