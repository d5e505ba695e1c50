"""Spans on their way to an OpenTelemetry collector, by the SDK's own batches and its OTLP exporter (HTTP).

Imported only where a collector is named: the SDK is the extra `glassbridge[otel]`. The exporter reads the headers that
a collector asks for from OTEL_EXPORTER_OTLP_HEADERS by itself.
"""

import logging
import threading
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from glassbridge import __version__
from glassbridge.telemetry import traces
from glassbridge.telemetry.traces import Origin, Span, SpanRole

TIMEOUT: Final = 5.0
"""Seconds for which one batch is tried."""
EVERY: Final = 1.0
"""Seconds for which a span waits for others."""
WAITING: Final = 2_048
"""Spans that wait for a collector that does not answer; further ones are lost."""
FLUSH: Final = 1.0
"""Seconds that the end of the process waits for spans that are still to be sent."""

_KINDS: Final = {
    SpanRole.INTERNAL: SpanKind.INTERNAL,
    SpanRole.CLIENT: SpanKind.CLIENT,
    SpanRole.SERVER: SpanKind.SERVER,
}
_SCOPE: Final = InstrumentationScope("glassbridge", __version__)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class Collector:
    """From now on the spans of this process go to `url`; close() sends what waits. One for each process."""

    def __init__(self, service: str, url: str) -> None:
        self._resource = Resource.create({"service.name": f"glassbridge-{service}", "service.version": __version__})
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # each try of its exporter is a warning
        self._exporter = OTLPSpanExporter(url, timeout=TIMEOUT)
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=WAITING, schedule_delay_millis=EVERY * 1_000)
        traces.export_to(self._take)

    def _take(self, span: Span) -> None:
        """Called where the span ends: queues it for the SDK's thread."""
        self._batches.on_end(readable(span, self._resource))

    def close(self) -> None:
        """Sends what waits, for 2 x FLUSH seconds at most."""
        traces.export_to(None)
        # The SDK gives its own end half a minute, and takes no deadline.
        ending = threading.Thread(target=self._batches.shutdown, name="spans-end", daemon=True)
        ending.start()
        ending.join(FLUSH)
        if ending.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # tries no more
            ending.join(FLUSH)


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """A span of ours as the SDK knows them."""
    return ReadableSpan(
        span.name,
        context=_context(span.origin, remote=False),
        parent=None if span.parent is None else _context(span.parent, remote=span.kind is SpanRole.SERVER),
        resource=resource,
        attributes=span.attributes,
        events=[Event(name, attributes, at) for at, name, attributes in span.events],
        kind=_KINDS[span.kind],
        instrumentation_scope=_SCOPE,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK),
        start_time=span.began_ns,
        end_time=span.ended_ns,
    )


def _context(origin: Origin, *, remote: bool) -> SpanContext:
    return SpanContext(int(origin.trace_id, 16), int(origin.span_id, 16), remote, _SAMPLED)
