"""Traces: ids that travel, spans that arrive, and nothing of it where nobody wants it."""

import asyncio
import sys
from pathlib import Path

import pytest
import structlog

from glassbridge.runtime.errors import UserError
from glassbridge.telemetry import traces
from glassbridge.telemetry.traces import HEADER, Origin, Span, SpanRole, within
from glassbridge.telemetry.tracing import tracing
from tests.support.otlp import Collector
from tests.support.patience import patient
from tests.support.poll import eventually

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_traceparent_is_read_as_w3c_writes_it() -> None:
    origin = Origin.read(TRACEPARENT)
    assert origin == Origin("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert origin.traceparent == TRACEPARENT
    assert Origin.read(TRACEPARENT.replace("00-4", "cc-4") + "-what-comes-later") == origin


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        b"\xff\xfe",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        TRACEPARENT.replace("00f067aa0ba902b7", "0" * 16),
        "ff" + TRACEPARENT[2:],
        TRACEPARENT[:-3],
        TRACEPARENT + "\n",
    ],
)
def test_what_is_no_traceparent_begins_no_trace(text: str | bytes | None) -> None:
    assert Origin.read(text) is None


async def test_what_happens_within_a_span_knows_it_also_in_tasks_and_in_the_log() -> None:
    async def below() -> tuple[tuple[str, str], ...]:
        assert structlog.contextvars.get_contextvars()["trace_id"] == span.origin.trace_id
        return traces.outgoing()

    assert traces.outgoing() == ()
    with Span("outer", Origin.read(TRACEPARENT)) as span:
        told = await asyncio.get_running_loop().create_task(below())
        assert told == ((HEADER, span.origin.traceparent),)
        assert traces.incoming([("other", "x"), *told]) == span.origin
        with within(Span("inner", traces.current())):
            assert traces.current() != span.origin
        assert traces.current() == span.origin
    assert traces.current() is None
    assert "trace_id" not in structlog.contextvars.get_contextvars()
    assert span.origin.trace_id in TRACEPARENT
    assert span.ended_ns is not None
    assert span.ended_ns >= span.began_ns


def _two_spans() -> None:
    """One within the other, which fails."""
    with (
        Span("outer", Origin.read(TRACEPARENT), SpanRole.SERVER, session_id="s1", tries=3, left_out=None) as outer,
        Span("inner", traces.current(), SpanRole.CLIENT) as inner,
    ):
        inner.event("halfway", code="bridge_died")
        outer.end("bridge_died")
        outer.end("not heard any more")
        _ = 1 / 0


async def test_spans_arrive_with_their_parents_and_their_errors() -> None:
    async with Collector() as collector:
        with tracing("test", collector.url):
            with pytest.raises(ZeroDivisionError):
                _two_spans()
            await eventually(lambda: len(collector.spans) == 2 or f"2 spans; there are {collector.spans}", within=20)
        found = {span.name: span for span in collector.spans}
        assert found["outer"].service == "glassbridge-test"
        assert found["outer"].parent_id in TRACEPARENT
        assert found["outer"].attributes == {"session_id": "s1", "tries": "3"}
        assert found["outer"].error == "bridge_died"
        assert (found["inner"].parent_id, found["inner"].error) == (found["outer"].span_id, "ZeroDivisionError")
        assert {span.trace_id for span in collector.spans} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
        Span("after the end").end()
    assert len(collector.spans) == 2


async def test_a_collector_that_is_not_there_holds_nobody_up() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with tracing("test", "http://127.0.0.1:9/v1/traces"):
        for number in range(3_000):
            Span(f"number {number}").end()
    assert loop.time() - begun < patient(15.0), "the end of a program waits for nobody for long"


def test_where_nobody_collects_nothing_of_opentelemetry_is_loaded(tmp_path: Path) -> None:
    import subprocess

    script = """
import sys
import glassbridge.cloud.app, glassbridge.bridge.worker, glassbridge.phone.client
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"


def test_who_names_a_collector_without_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "glassbridge.telemetry.collector"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    with pytest.raises(UserError, match=r"glassbridge\[otel\]"), tracing("test", "http://127.0.0.1:9/v1/traces"):
        pass
