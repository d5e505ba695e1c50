"""Logs: one structured line for each fact, on standard error, without secrets and without ever stopping the event loop.

A caller renders and redacts its line and puts it into a bounded queue; a thread of its own writes. When whoever reads
standard error stops reading, the queue fills, lines are dropped and counted, and the count is told when it reads again
(traps 29: a handler that blocks stands the event loop still).
"""

import atexit
import logging
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, Full, Queue
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from glassbridge.telemetry.redaction import MASK, Redactor, is_sensitive

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "console", "json")
STDERR = 2
QUEUE_LINES = 10_000
FLUSH_SECONDS = 1.0
"""How long the end of the process waits for what is still queued."""

QUIET = ("aioice", "aiortc", "aiohttp", "asyncio", "grpc", "libav", "livekit")
"""Libraries that speak only from WARNING on, unless the level is debug."""

_writer: "LineWriter | None" = None


class LineWriter(logging.Handler):
    """Hands formatted lines to a thread that writes them to a descriptor. Never waits, never raises; counts drops."""

    def __init__(self, fd: int, capacity: int) -> None:
        super().__init__()
        # A bare descriptor: a thread that is stuck in sys.stderr would hold its lock and abort the interpreter's end.
        self._fd = fd
        self._lines: Queue[str | None] = Queue(capacity)
        self._told = 0
        self.dropped = 0
        """Lines that were not written, so far."""
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Renders the line and queues it."""
        try:
            self._lines.put_nowait(self.format(record))
        except Exception:  # boundary: a line that cannot be kept must not break the code that wrote it
            self.dropped += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write((line + "\n").encode(errors="replace"))
            except OSError:  # the reader is gone
                self.dropped += 1
            if self.dropped != self._told and self._lines.empty():
                lost, self._told = self.dropped - self._told, self.dropped
                structlog.get_logger(__name__).warning("log lines dropped", count=lost)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Writes what is queued, for FLUSH_SECONDS at most. Idempotent."""
        if self._thread.is_alive():
            self._end()
            self._thread.join(FLUSH_SECONDS)
        super().close()

    def _end(self) -> None:
        while True:
            try:
                return self._lines.put_nowait(None)
            except Full:
                with suppress(Empty):
                    self._lines.get_nowait()
                    self.dropped += 1


class _Redacted(logging.Formatter):
    """Removes secrets from the whole of a rendered record, its traceback included."""

    def __init__(self, inner: logging.Formatter, redact: Redactor) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._inner.format(record))


def configure(
    service: str,
    level: str = "info",
    fmt: str = "auto",
    *,
    secrets: Iterable[str] = (),
    fd: int = STDERR,
) -> None:
    """Sets up logging of this process; `service` names the program in each line. May be called again.

    `secrets` are values that must never be printed, beside what looks like a credential anyway. `fmt` auto means
    console on a terminal and JSON elsewhere. Raises ValueError for a level or format that does not exist.
    """
    global _writer
    if level not in LEVELS:
        raise ValueError(f"there is no log level {level!r}: use one of {', '.join(LEVELS)}")
    if fmt not in FORMATS:
        raise ValueError(f"there is no log format {fmt!r}: use one of {', '.join(FORMATS)}")
    terminal = os.isatty(fd)
    console = fmt == "console" or (fmt == "auto" and terminal)
    number = logging.getLevelNamesMapping()[level.upper()]

    shared = _processors(service)
    # Plain tracebacks: the rich ones print local variables, and with them whatever they hold.
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(default=repr)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    flush()
    _writer = LineWriter(fd, QUEUE_LINES)
    _writer.setFormatter(_Redacted(formatter, Redactor(secrets)))
    root = logging.getLogger()
    root.handlers[:] = [_writer]
    root.setLevel(number)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else max(number, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    _capture_stray_errors()
    # The C core of gRPC writes to standard error by itself, around all of the above.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@atexit.register
def flush() -> None:
    """Ends logging once what is queued is written; called by itself at the end of the process."""
    if _writer is not None:
        _writer.close()


def _processors(service: str) -> list[Processor]:
    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _mask_sensitive_fields,
    ]


def _mask_sensitive_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in event:
        if is_sensitive(key):
            event[key] = MASK
    return event


def _capture_stray_errors() -> None:
    """What Python would print to standard error by itself becomes log lines too."""
    log = structlog.get_logger(__name__)

    def uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        log.error("the program failed", exc_info=error)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        log.error("a thread failed", thread=args.thread and args.thread.name, exc_info=args.exc_value)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        log.error("an error had nowhere to go", where=repr(args.object)[:200], exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
