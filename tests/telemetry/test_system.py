"""A running system loses its bridge: one trace tells it from phone to bridge, and what operators ask for exists."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from glassbridge.lab import clips
from glassbridge.lab.stack import Stack
from glassbridge.telemetry import metrics
from glassbridge.telemetry.numbers import Counter
from tests.scenarios.systems import ADA, config
from tests.support.otlp import Collector, Seen
from tests.support.poll import eventually
from tests.telemetry import queries
from tests.telemetry.queries import OF_PROMETHEUS

WITHIN = 60.0
FORGOTTEN = 40
"""Frames by the room, a tenth of a second each, after which the socket is not listened to any more."""
RECOVERED = {
    ("glassbridge-cloud", "audio fault"),
    ("glassbridge-cloud", "join"),
    ("glassbridge-bridge", "JoinRoom"),
    ("glassbridge-bridge", "connect to LiveKit"),
    ("glassbridge-phone", "phone is not heard"),
}
"""What must have gone well."""


def lines(stack: Stack) -> list[Mapping[str, Any]]:
    """What cloud, bridge and phones logged so far."""
    programs = (stack.cloud, stack.bridge, *stack.phones)
    return [line.fields for program in programs for line in list(program.lines) if line.log]


async def test_one_trace_tells_a_recovery_across_phone_cloud_and_bridge() -> None:
    async with Collector() as collector:
        env = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url,
            "GLASSBRIDGE_CLOUD_METRICS_PORT": "0",
            "GLASSBRIDGE_BRIDGE_METRICS_PORT": "0",
            "GLASSBRIDGE_RECOGNISERS": "1",
        }
        async with Stack(config(livekit="embedded", env=env, spare=True)) as stack:
            phone = await stack.start_phone(ADA, "--wav", str(clips.wav("short")), "--loop", "--control")

            async def told(*wanted: str) -> None:
                """Waits until the phone was told these states, one after the other."""

                def found() -> bool | str:
                    said = [str(event["state"]) for event in phone.events("audio_state")]
                    rest = iter(said)
                    return all(state in rest for state in wanted) or f"{wanted}; told {said}; {phone.last_words}"

                await eventually(found, WITHIN)

            await told("live")
            await _starts_are_one_trace(collector)
            await _only_the_room_is_heard(stack)
            before = len(collector.spans)
            [worker] = [line for line in lines(stack) if line.get("event") == "worker listening"]
            os.kill(worker["pid"], signal.SIGKILL)
            fault = await _recovery(collector, before)
            await _the_logs_tell_the_same(stack, fault)
            await _operators_find_what_they_ask_for(stack)


async def _starts_are_one_trace(collector: Collector) -> None:
    """The phone's connection begins the trace, the cloud's and the bridge's work go on with it."""
    wanted = {"phone connects", "open_socket", "join_room", "audio start", "join", "JoinRoom", "connect to LiveKit"}

    def found() -> bool | str:
        names = [{span.name for span in trace} for trace in collector.traces().values()]
        return any(wanted <= each for each in names) or f"one trace with {wanted}; there are {names}"

    await eventually(found, WITHIN)


async def _only_the_room_is_heard(stack: Stack) -> None:
    """Audio that went by the socket at first is forgotten: nothing else is heard for the next fault to be hidden by."""
    [address] = _addresses(stack, "cloud")
    since: dict[str, float] = {}

    async def found() -> bool | str:
        [frames] = [family for family in await _scrape(address) if family.name == "glassbridge_frames_received"]
        now = {sample.labels["hop"]: sample.value for sample in frames.samples}
        if now["socket"] != since.get("socket"):
            since.update(now)
        return now["stream"] - since["stream"] > FORGOTTEN or f"{FORGOTTEN} frames by the room; since {since} {now}"

    await eventually(found, WITHIN, every=0.1)


def _addresses(stack: Stack, service: str) -> list[str]:
    served = [line for line in lines(stack) if line.get("event") == "metrics are served"]
    return [str(line["address"]) for line in served if line["service"] == service]


async def _recovery(collector: Collector, before: int) -> list[Seen]:
    """The one trace of what came after so many spans that all three programs are part of."""

    def whole() -> list[list[Seen]]:
        later = {span.trace_id for span in collector.spans[before:] if span.name == "audio fault"}
        return [
            trace
            for trace_id, trace in collector.traces().items()
            if trace_id in later and {(span.service, span.name) for span in trace if not span.error} >= RECOVERED
        ]

    def described() -> str:
        return "\n".join(f"{s.trace_id[:6]} {s.service} {s.name} {s.error}" for s in collector.spans[before:])

    await eventually(lambda: bool(whole()) or f"one trace of all programs; there are\n{described()}", WITHIN)
    trace = whole()[0]
    by_id = {span.span_id: span for span in trace}
    [root] = [span for span in trace if span.parent_id not in by_id]
    assert (root.name, root.service) == ("audio fault", "glassbridge-cloud")
    assert root.attributes["live"] == "True", root
    for span in trace:
        assert root.began_ns <= span.began_ns, f"{span} began before {root}"
    joins = [span for span in trace if span.name == "JoinRoom"]
    assert {by_id[span.parent_id].name for span in joins} == {"join"}
    [phone] = [span for span in trace if span.name == "phone is not heard"]
    assert (phone.parent_id, phone.error) == (root.span_id, "")
    return trace


async def _the_logs_tell_the_same(stack: Stack, trace: list[Seen]) -> None:
    """By the trace id alone: what was lost, what was done, that it is back."""
    wanted = {"place lost", "audio state", "recovery", "JoinRoom received", "Joined LiveKit room", "audio back"}

    def found() -> bool | str:
        events = {line["event"] for line in lines(stack) if line.get("trace_id") == trace[0].trace_id}
        return wanted <= events or f"{wanted - events} with the trace id {trace[0].trace_id}; there are {events}"

    await eventually(found, WITHIN)


async def _scrape(address: str) -> list[Metric]:
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/metrics") as answer:
        return list(text_string_to_metric_families(await answer.text()))


async def _operators_find_what_they_ask_for(stack: Stack) -> None:
    """Every query of the alerts and the dashboard reads series that cloud and supervisor really expose."""
    [cloud] = _addresses(stack, "cloud")
    supervisor = next(str(line["metrics"]) for line in lines(stack) if line.get("event") == "bridge ready")
    families = [family for address in (cloud, supervisor) for family in await _scrape(address)]
    exposed: dict[str, list[Mapping[str, str]]] = {}
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed.setdefault(name, []).extend(sample.labels for sample in family.samples)
    for where, query in queries.asked():
        for selector in queries.selectors(query):
            assert selector.name in exposed, f"{where} reads {selector.name}, which nobody exposes"
            series = exposed[selector.name]
            for label, relation, value in selector.matchers:
                if label in OF_PROMETHEUS or not series or relation != "=":
                    continue
                assert any(each.get(label, "") == value for each in series) or _may_come(selector.name), (
                    f"{where}: no series of {selector.name} has {label}={value!r}, but {series}"
                )
    totals = {name for name, series in exposed.items() if not series}
    assert len(totals) < len(exposed) / 3, f"too much has never been counted: {totals}"


def _may_come(name: str) -> bool:
    """A counter gets a series with what it first counts."""
    return isinstance(metrics.BY_NAME[name], Counter)
