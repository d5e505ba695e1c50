"""The program of one worker process.

    python -m glassbridge.bridge.worker_process FD LOG

FD is its lifeline to the supervisor (bridge/process.py tells what is said on it); its end means that the supervisor is
gone. LOG is where its log lines go: standard error itself is what native code writes to, and the supervisor reads it.

A worker that is to serve at once listens before it imports slow modules: callers wait meanwhile. A spare one
imports everything and waits for its number. This module imports only what listening needs.
"""

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.lifeline import Lifeline
from glassbridge.bridge.listening import Listening
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.garbage import spare_imports, spare_the_start
from glassbridge.telemetry.lean_structlog import import_structlog

if TYPE_CHECKING:
    from glassbridge.bridge.host import Drain
    from glassbridge.livekit.participant import Connector

SERVE = "serve"


def main() -> None:
    """The process: exit status 0 after an orderly end, 1 for an error that the user was told."""
    spare_the_start()
    import_structlog()
    faulthandler.enable(all_threads=False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it serves, and has a loop
    lifeline = Lifeline(int(sys.argv[1]))
    config = BridgeConfig.from_json(lifeline.listen())
    line = lifeline.listen_now()
    if not line.startswith(SERVE):
        _warm_up(config, lifeline)
        while line.strip() in ("", "ping"):
            if line:
                lifeline.answer()
            if not (line := lifeline.listen()):  # the supervisor is gone
                return
    word, _, number = line.strip().partition(" ")
    if word != SERVE:
        return
    try:
        _runner()(_serve(config, int(number), lifeline))
    except UserError as error:
        lifeline.say(f"failed {error}")
        sys.exit(1)


async def _serve(config: BridgeConfig, number: int, lifeline: Lifeline) -> None:
    """Raises UserError."""
    import structlog

    structlog.contextvars.bind_contextvars(worker=number)  # before gRPC copies the context for its calls
    listening = Listening(config, number)
    await listening.start()
    join, drain = _warm_up(config, lifeline)
    from glassbridge.bridge.worker import serve
    from glassbridge.telemetry.tracing import tracing

    with tracing("bridge", config.traces):
        await serve(config, number, lifeline, join, drain, listening)


def _warm_up(config: BridgeConfig, lifeline: Lifeline) -> "tuple[Connector, Drain]":
    """Imports all that a worker needs, the first time; says so."""
    from glassbridge.livekit.lean_aiortc import import_aiortc
    from glassbridge.telemetry import logs

    first = "glassbridge.bridge.worker" not in sys.modules
    if first:
        logs.configure("bridge", config.log, fd=int(sys.argv[2]))
        import_aiortc()
    from glassbridge.livekit.connectors import connector, drainer

    found = connector(config.participant), drainer(config.participant)
    if first:
        spare_imports()
        lifeline.say("warm")
    return found


def _runner() -> Callable[[Any], None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    main()
