"""Numbers: what is counted, what is read, and what becomes of it on its way to Prometheus."""

import json
import re
from itertools import pairwise

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from glassbridge.runtime.listen import CannotListen
from glassbridge.telemetry import exposition, metrics
from glassbridge.telemetry.exposition import MetricsServer
from glassbridge.telemetry.numbers import ALL, Counter, Gauge, Histogram, Part, Program, Snapshot, added

LABELS_OF_PEOPLE = {"user", "user_id", "session", "session_id", "identity", "room", "room_name", "package", "app"}


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """Every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_table_follows_the_rules() -> None:
    for metric in metrics.TABLE:
        assert re.fullmatch(r"(glassbridge|process)_[a-z_]+", metric.name), metric.name
        assert metric.name.endswith("_total") == isinstance(metric, Counter), metric.name
        assert not LABELS_OF_PEOPLE & set(metric.labels), f"{metric.name} has a label with no end of values"
        assert metric.text.endswith("."), metric.name
        assert metric.programs, metric.name
        if isinstance(metric, Histogram):
            assert metric.name.endswith("_seconds")
            assert all(a < b for a, b in pairwise(metric.bounds)), metric.name
    assert len(metrics.BY_NAME) == len(metrics.TABLE), "two metrics have the same name"


def test_a_snapshot_survives_its_way_as_json_and_is_read_by_prometheus() -> None:
    metrics.AUDIO_AGE.observe(0.03, "cloud")
    metrics.AUDIO_AGE.observe(70.0, "cloud")
    taken = metrics.snapshot(Program.CLOUD)
    body, content_type = exposition.text([((), taken)])
    assert content_type.startswith("text/plain")
    found = read(body.decode())
    of_cloud = frozenset({("hop", "cloud")})
    beyond = found["glassbridge_audio_age_seconds_bucket", of_cloud | {("le", "60.0")}]
    assert found["glassbridge_audio_age_seconds_bucket", of_cloud | {("le", "+Inf")}] == beyond + 1
    assert found["glassbridge_audio_age_seconds_count", of_cloud] == beyond + 1
    assert found["glassbridge_audio_age_seconds_sum", of_cloud] >= 70.03
    assert found["process_resident_memory_bytes", frozenset()] > 1e6
    again: Snapshot = {
        name: [(tuple(labels), value) for labels, value in values]
        for name, values in json.loads(json.dumps(taken)).items()
    }
    assert exposition.text([((), again)])[0] == body


def test_programs_tell_only_what_is_theirs() -> None:
    for program in Program:
        told = metrics.snapshot(program)
        assert set(told) == {metric.name for metric in metrics.TABLE if program in metric.programs}


def test_counters_of_a_former_life_stay_counted() -> None:
    counter = Counter("glassbridge_tries_total", "Tries.", ALL, ("result",))
    histogram = Histogram("glassbridge_trying_seconds", "Trying.", ALL, (1.0, 2.0))
    counter.add("good", by=3)
    histogram.observe(1.5)
    before = {metric.name: metric.values() for metric in (counter, histogram)}
    counter.add("good")
    counter.add("bad")
    after = {metric.name: metric.values() for metric in (counter, histogram)}
    assert added(before, after) == {
        "glassbridge_tries_total": [(("good",), 7), (("bad",), 1)],
        "glassbridge_trying_seconds": [((), [0, 2, 0, 3.0])],
    }


def test_gauges_ask_their_owners_while_they_live() -> None:
    total = Gauge("glassbridge_things", "Things.", ALL)
    worst = Gauge("glassbridge_worst_seconds", "The worst.", ALL, together=max)
    assert total.values() == []
    stops = [gauge.read_by(lambda: 2.0) for gauge in (total, worst)]
    for gauge in (total, worst):
        gauge.read_by(lambda: 3)
    assert (total.values(), worst.values()) == ([((), 5.0)], [((), 3.0)])
    for stop in stops:
        stop()
    assert total.values() == [((), 3.0)]


async def test_metrics_are_served_in_both_forms_on_an_address_of_their_own() -> None:
    def source() -> list[Part]:
        return [(("7",), metrics.snapshot(Program.WORKER))]

    async with MetricsServer(source, "127.0.0.1", 0, ("worker",)) as server, ClientSession() as http:
        async with http.get(f"http://{server.address}/metrics") as answer:
            assert answer.status == 200
            found = read(await answer.text())
        assert found["glassbridge_replacements_total", frozenset({("worker", "7")})] >= 0
        wants = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with http.get(f"http://{server.address}/metrics", headers=wants) as answer:
            assert answer.content_type == "application/openmetrics-text"
            assert (await answer.text()).endswith("# EOF\n")
        with pytest.raises(CannotListen, match="in use"):
            await MetricsServer(source, "127.0.0.1", server.port).__aenter__()
