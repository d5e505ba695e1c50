"""The trace of a phone that is not heard: from the moment that it knows so until it is heard, one span and its parts.

It goes on with the trace of the cloud where the cloud was the first to know; else the cloud goes on with the phone's.
"""

from typing import Any

from glassbridge.core.machine import Record
from glassbridge.core.phone_socket import SocketState
from glassbridge.telemetry.traces import Origin, Span, SpanRole
from glassbridge.wire.phone import AudioStateNotice

MISSED = ("interrupted", "unavailable")


class Recovery:
    """Owned by one phone."""

    def __init__(self) -> None:
        self._span: Span | None = None
        self._parts: dict[str, Span] = {}

    @property
    def fields(self) -> dict[str, str]:
        """For the log: which trace it is, while there is one."""
        return {"trace_id": self._span.origin.trace_id} if self._span is not None else {}

    def changed(self, record: Record[Any]) -> None:
        """A machine of the phone changed its state: without a socket it cannot be sent."""
        if not isinstance(record.new, SocketState):
            return
        if record.new.final:
            for name in list(self._parts):
                self.came_of(name, "given up")
            self._end("the phone has ended")
        elif record.new is not SocketState.IDLE and not record.new.here and self._span is None:
            self._begin("phone connects" if record.old is SocketState.IDLE else "phone reconnects", None)

    def told(self, notice: AudioStateNotice, *, numbers: bool) -> None:
        """The cloud says what is true. A phone that does not number its audio may be silent once it can be heard."""
        if notice.state in MISSED and self._span is None:
            self._begin("phone is not heard", Origin.read(notice.traceparent))
        if self._span is not None:
            self._span.event("audio state", state=notice.state, code=notice.code, hop=notice.hop or "")
        if notice.state == "live" or notice.code == "muted" or (notice.code == "awaiting_audio" and not numbers):
            self._end("")

    def part(self, name: str) -> Span:
        """Something that is done about it; only the newest of a name goes on."""
        if (former := self._parts.get(name)) is not None:
            former.end("given up")
        part = self._parts[name] = Span(name, self._span.origin if self._span is not None else None, SpanRole.CLIENT)
        return part

    def came_of(self, name: str, error: str) -> None:
        """A part is over; empty: well."""
        if (part := self._parts.pop(name, None)) is not None:
            part.end(error)

    def _begin(self, name: str, parent: Origin | None) -> None:
        self._span = Span(name, parent)

    def _end(self, error: str) -> None:
        if self._span is not None:
            self._span.end(error)
            self._span = None
