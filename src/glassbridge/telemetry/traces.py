"""Traces: all parts of one recovery, in whichever program, have one trace id.

The ids are those of W3C Trace Context. They are in the log lines and travel with calls and messages in any case; spans
go to a collector only where start_tracing() names one (telemetry/collector.py). A span is made for a fault or a join,
never for a frame.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from secrets import token_hex
from time import monotonic_ns, time_ns
from types import TracebackType
from typing import Final, Self

import structlog

from glassbridge.core.newest import Newest

FIRST_EVENTS, LAST_EVENTS = 32, 96
"""Of one span: later ones in between are dropped, and counted."""
MAX_VALUE: Final = 300
"""Characters of an attribute."""
HEADER: Final = "traceparent"
"""Of HTTP requests, and key in the metadata of gRPC calls."""
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class SpanRole(Enum):
    """Where a span stands to its parent."""

    INTERNAL = "internal"
    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Origin:
    """A span as it is known to programs that continue its trace."""

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"

    @classmethod
    def read(cls, traceparent: str | bytes | None) -> "Origin | None":
        """None if it is no traceparent: the receiver begins a trace of its own."""
        text = traceparent.decode(errors="replace") if isinstance(traceparent, bytes) else traceparent or ""
        found = _TRACEPARENT.fullmatch(text[:256])
        if found is None or not int(found[1], 16) or not int(found[2], 16):
            return None
        return cls(found[1], found[2])


Attribute = str | bool | int | float
Moment = tuple[int, str, Mapping[str, Attribute]]
"""(unix nanoseconds, name, attributes)"""


def _cut(value: Attribute) -> Attribute:
    return value[:MAX_VALUE] if isinstance(value, str) else value


class Span:
    """Something that takes time; begins when it is made. Single use; `with` makes it current and ends it."""

    __slots__ = (
        "_began", "_first", "_last", "_leave", "attributes", "began_ns", "ended_ns", "error", "events_dropped",
        "kind", "name", "origin", "parent",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        parent: Origin | None = None,
        kind: SpanRole = SpanRole.INTERNAL,
        **attributes: Attribute | None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.parent = parent
        self.origin = Origin(parent.trace_id if parent is not None else token_hex(16), token_hex(8))
        self.attributes: dict[str, Attribute] = {}
        self.set(**attributes)
        self._first: list[Moment] = []
        self._last: Newest[Moment] = Newest(LAST_EVENTS)
        self.events_dropped = 0
        self.error = ""
        """What went wrong; empty when nothing did."""
        self.began_ns = time_ns()
        self._began = monotonic_ns()
        self.ended_ns: int | None = None

    def set(self, **attributes: Attribute | None) -> None:
        """More about it; None is left out."""
        self.attributes.update({name: _cut(value) for name, value in attributes.items() if value is not None})

    def event(self, name: str, **attributes: Attribute) -> None:
        """A moment within it; kept where spans are exported."""
        if _export is None:
            return
        moment = (self._now(), name, {key: _cut(value) for key, value in attributes.items()})
        if len(self._first) < FIRST_EVENTS:
            self._first.append(moment)
            return
        self.events_dropped += len(self._last) == LAST_EVENTS
        self._last.append(moment)

    @property
    def events(self) -> list[Moment]:
        """The first and the last ones."""
        return [*self._first, *self._last]

    def end(self, error: str = "") -> None:
        """It is over; idempotent."""
        if self.ended_ns is None:
            self.error = error
            self.ended_ns = self._now()
            if _export is not None:
                _export(self)

    def _now(self) -> int:
        """Unix nanoseconds, by the clock of its beginning."""
        return self.began_ns + monotonic_ns() - self._began

    def __enter__(self) -> Self:
        self._leave = within(self)
        self._leave.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leave.__exit__(None, None, None)
        self.end(kind.__name__ if kind is not None else "")


_current: ContextVar[Origin | None] = ContextVar("glassbridge-trace", default=None)
_export: Callable[[Span], None] | None = None


@contextmanager
def within(span: Span) -> Iterator[None]:
    """Meanwhile the span is the parent of what begins here, and in tasks started here, and its trace is in the log."""
    token = _current.set(span.origin)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=span.origin.trace_id):
            yield
    finally:
        _current.reset(token)


def current() -> Origin | None:
    """What surrounds us; None: nothing that is traced."""
    return _current.get()


def outgoing() -> tuple[tuple[str, str], ...]:
    """Metadata for a gRPC call, headers for an HTTP request."""
    origin = _current.get()
    return () if origin is None else ((HEADER, origin.traceparent),)


def incoming(metadata: Iterable[tuple[str, str | bytes]] | None) -> Origin | None:
    """The caller's span, from the metadata of a gRPC call; None if the caller does not trace."""
    return next((Origin.read(value) for key, value in metadata or () if key == HEADER), None)


def export_to(export: Callable[[Span], None] | None) -> None:
    """From now on `export` gets each span that ends; None: none does. It must not block or raise."""
    global _export
    _export = export
