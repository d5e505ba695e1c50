"""Logs: one structured line for each fact, on standard error and to sinks, without secrets and without ever stopping
the event loop.

A caller renders and redacts its line and puts it into a bounded queue; threads write (telemetry/writer.py) and ship
(telemetry/shipper.py). When the reader of standard error stops reading, the queue fills, lines are dropped and counted,
and the count is told when it reads again (traps 29: a handler that blocks stands the event loop still).
"""

import atexit
import hashlib
import hmac
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from io import StringIO
from itertools import islice
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from glassbridge.core.values import UserId, agent_identity
from glassbridge.telemetry import metrics
from glassbridge.telemetry.config import LogConfig
from glassbridge.telemetry.line_limit import LineLimit
from glassbridge.telemetry.redaction import MASK, Redactor, is_sensitive
from glassbridge.telemetry.writer import LineWriter

if TYPE_CHECKING:
    from glassbridge.telemetry.shipper import Shipper

log = structlog.get_logger()

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "console", "json")
STDERR = 2
FLUSH_SECONDS = 1.0
"""How long the end of the process waits for what is still queued, or on its way to a sink."""

QUIET = ("aioice", "aiortc", "aiohttp", "asyncio", "grpc", "libav", "livekit")
"""Libraries that speak only from WARNING on, unless the level is debug."""

FIELD_BYTES = 512
"""The most that a field of a line holds."""
TRACEBACKS, TRACEBACK_BYTES = ("exception", "stack"), 16 << 10
"""Fields that hold a traceback, and the most they hold: the message of an error may hold what a peer sent."""
REDACTED_BYTES = 32 << 10
"""As much of a longer text is searched for secrets before it is cut."""
MAX_ITEMS, MAX_DEPTH = 64, 4
"""Of a list or dict in a field."""
CUT = "[...]"

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal may obey, or shows as another line or in another order."""

AGENT = agent_identity(UserId(""))
USER_FIELDS = ("user_id", "room_name", "identity")
"""Fields that hold a user id, behind AGENT or not; rooms have the name of their user."""
PLAIN_FIELDS = ("event", "level", "logger", "service", "timestamp")
"""Fields that never hold one, though a user may be called `cloud`."""


class Outlet(Protocol):
    """Somewhere for lines to go. None of its methods but wait() blocks."""

    def put(self, line: str) -> None: ...

    def end(self) -> None: ...

    def wait(self, seconds: float) -> None: ...


class _Lines(logging.Handler):
    """Renders each record once for each format that is wanted, and hands it to the outlets of that format."""

    def __init__(self) -> None:
        super().__init__()
        self.writer: LineWriter | None = None
        self.shippers: list[Shipper] = []
        self.broken = 0
        """Lines that could not be rendered."""
        self._outlets: list[tuple[logging.Formatter, list[Outlet]]] = []
        self._limit = LineLimit()

    def add(self, formatter: logging.Formatter, outlet: Outlet) -> None:
        """One more outlet; those with the same formatter share its work."""
        for known, outlets in self._outlets:
            if known is formatter:
                outlets.append(outlet)
                return
        self._outlets.append((formatter, [outlet]))

    def emit(self, record: logging.LogRecord) -> None:
        if self._limit.admits(record):
            self._write(record)
        else:
            metrics.LOG_LINES_SUPPRESSED.add()
        self._tell_suppressed(self._limit.due())

    def _tell_suppressed(self, counts: Mapping[str, int]) -> None:
        for peer, lines in counts.items():
            log.warning("log lines suppressed", of=peer, lines=lines)

    def _write(self, record: logging.LogRecord) -> None:
        metrics.LOG_LINES.add(record.levelname.lower())
        try:
            for formatter, outlets in self._outlets:
                line = formatter.format(record)
                for outlet in outlets:
                    outlet.put(line)
        except Exception:  # boundary: a line that cannot be kept must not break the code that wrote it
            self.broken += 1

    def close(self) -> None:
        """Writes and sends what is queued, for FLUSH_SECONDS at most. Idempotent."""
        self._tell_suppressed(self._limit.due(all_of_it=True))
        everyone = [outlet for _, outlets in self._outlets for outlet in outlets]
        self._outlets = []
        for outlet in everyone:
            outlet.end()
        deadline = monotonic() + FLUSH_SECONDS
        for outlet in everyone:
            outlet.wait(deadline - monotonic())
        super().close()


_lines: _Lines | None = None
_redact = Redactor()
"""Of this process."""


class _Redacted(logging.Formatter):
    """Removes secrets from the whole of a rendered record, its traceback included."""

    def __init__(self, inner: logging.Formatter, redact: Redactor) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._inner.format(record))


def configure(service: str, config: LogConfig = LogConfig(), *, fd: int = STDERR) -> None:  # noqa: B008 - frozen
    """Sets up logging of this process; `service` names the program in each line. May be called again.

    Raises ValueError for a level or format that does not exist.
    """
    global _lines, _redact
    if config.level not in LEVELS:
        raise ValueError(f"there is no log level {config.level!r}: use one of {', '.join(LEVELS)}")
    if config.fmt not in FORMATS:
        raise ValueError(f"there is no log format {config.fmt!r}: use one of {', '.join(FORMATS)}")
    terminal = os.isatty(fd)
    console = config.fmt == "console" or (config.fmt == "auto" and terminal)
    number = logging.getLevelNamesMapping()[config.level.upper()]

    redact = _redact = Redactor(config.secrets)
    shared = _processors(service, config, redact)
    as_json = _formatter(shared, structlog.processors.JSONRenderer(default=repr), redact)
    flush()
    _lines = _Lines()
    _lines.writer = LineWriter(fd)
    # Plain tracebacks: the rich ones print local variables, and with them whatever they hold.
    pretty = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=_harmless_traceback)
    _lines.add(_formatter(shared, pretty, redact, harmless) if console else as_json, _lines.writer)
    root = logging.getLogger()
    root.handlers[:] = [_lines]
    root.setLevel(number)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET if config.level == "debug" else max(number, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    for sink in config.sinks:
        from glassbridge.telemetry.shipper import Shipper

        shipper = Shipper(sink, Path(config.spool) / sink.folder if config.spool else None)
        _lines.shippers.append(shipper)
        _lines.add(as_json, shipper)
    _capture_stray_errors()
    # The C core of gRPC writes to standard error by itself, around all of the above.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def hide(secrets: Iterable[str]) -> None:
    """From now on no line holds these either."""
    _redact.learn(secrets)


@atexit.register
def flush() -> None:
    """Ends logging once what is queued is written and sent; called by itself at the end of the process."""
    if _lines is not None:
        _lines.close()


def adopt() -> None:
    """Has the lines shipped that a process left which is no more."""
    for shipper in _lines.shippers if _lines is not None else ():
        shipper.adopt()


def dropped() -> Mapping[str, int]:
    """Lines lost so far, by where they should have gone: `stderr`, or the kind of the sink."""
    if _lines is None or _lines.writer is None:
        return {}
    found = {"stderr": _lines.writer.dropped + _lines.broken}
    return found | {s.config.kind: s.counts.dropped + s.counts.given_up for s in _lines.shippers}


def shipped() -> Mapping[str, tuple[int, int]]:
    """By kind of sink: lines that have arrived there, and lines that wait."""
    return {s.config.kind: (s.counts.shipped, s.counts.waiting) for s in _lines.shippers} if _lines is not None else {}


metrics.LOG_LINES_DROPPED.read_by(lambda: {(sink,): count for sink, count in dropped().items()})
metrics.LOG_LINES_SENT.read_by(lambda: {(sink,): arrived for sink, (arrived, _) in shipped().items()})
metrics.QUEUES.read_by(lambda: {("log",): sum(waiting for _, waiting in shipped().values())})


def hash_user(user: str, key: str) -> str:
    """What stands in the log for this user where ids are hashed with this key."""
    return "u-" + hmac.new(key.encode(), user.encode(), hashlib.sha256).hexdigest()[:16]


def harmless(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """For a terminal: control characters of peers are spelled, so they neither begin a line nor colour it."""
    return {_spelled(key): _spelled(value) for key, value in event.items()}


def _spelled(value: Any) -> Any:
    """JSON spells them by itself. Values that are not text are shown by their repr, which spells most of them."""
    match value:
        case str():
            return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], value)
        case dict():
            return {_spelled(key): _spelled(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_spelled(inner) for inner in value]
    return value


def _harmless_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Its lines are set in, for the text of an error may hold line ends."""
    plain = StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    out.write("\n".join(f"  {_spelled(line)}" for line in plain.getvalue().splitlines()))


def _formatter(shared: list[Processor], renderer: Processor, redact: Redactor, *before: Processor) -> logging.Formatter:
    inner = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *before, renderer],
    )
    return _Redacted(inner, redact)


def _processors(service: str, config: LogConfig, redact: Redactor) -> list[Processor]:
    fixed = {"service": service} | ({"region": config.region} if config.region else {})

    def name_program(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.update(fixed)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_program,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _mask_sensitive_fields,
        *([_user_hasher(config.user_key)] if config.user_key else []),
        _cutter(redact),
    ]


def _cutter(redact: Redactor) -> Processor:
    """Bounds each field of a line, from whichever source its text is: a path, a header, a message of a peer."""

    def cut(value: object, most: int, depth: int = 0) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                # Text is redacted before it is cut: half of a secret is not recognised.
                return value if _fits(value, most) else cut_middle(redact(cut_middle(value, REDACTED_BYTES)), most)
            case dict() if depth < MAX_DEPTH:
                items = islice(value.items(), MAX_ITEMS)
                return {str(cut(str(key), most)): cut(item, most, depth + 1) for key, item in items}
            case list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
                return [cut(item, most, depth + 1) for item in islice(value, MAX_ITEMS)]
        return cut(repr(value), most)

    def cut_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            if not name.startswith("_"):  # structlog's own
                event[name] = cut(value, TRACEBACK_BYTES if name in TRACEBACKS else FIELD_BYTES)
        return event

    return cut_fields


def _fits(text: str, most: int) -> bool:
    return len(text) <= most and (text.isascii() or len(text.encode(errors="replace")) <= most)


def cut_middle(text: str, most: int) -> str:
    """At most so many bytes of UTF-8: the beginning, and a quarter for the end."""
    if _fits(text, most):
        return text
    data = text.encode(errors="replace")
    tail = most // 4
    head = most - tail - len(CUT.encode())
    return data[:head].decode(errors="ignore") + CUT + data[len(data) - tail :].decode(errors="ignore")


def _user_hasher(key: str) -> Processor:
    """Replaces the user id of a line in all of its fields."""

    def hash_users(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for user in {str(event[name]).removeprefix(AGENT) for name in USER_FIELDS if event.get(name)}:
            hashed, whole = hash_user(user, key), re.compile(rf"(?<![\w.@+-]){re.escape(user)}(?![\w@+-])")
            for name, value in event.items():
                if isinstance(value, str) and name not in PLAIN_FIELDS:
                    event[name] = whole.sub(hashed, value)
        return event

    return hash_users


def _mask_sensitive_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in event:
        if is_sensitive(key):
            event[key] = MASK
    return event


def _capture_stray_errors() -> None:
    """What Python would print to standard error by itself becomes log lines too."""

    def uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        log.error("the program failed", exc_info=error)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        log.error("a thread failed", thread=args.thread and args.thread.name, exc_info=args.exc_value)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        log.error("an error had nowhere to go", where=repr(args.object)[:200], exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
