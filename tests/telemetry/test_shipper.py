"""Lines arrive at a sink that does what sinks do in the field; who logs never waits for it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from glassbridge.lab.ingest import TOKEN, Ingest
from glassbridge.telemetry.config import SinkConfig, better_stack_sink, otlp_sink
from glassbridge.telemetry.shipper import Shipper
from glassbridge.telemetry.sinks import Sink, SinkAnswer
from glassbridge.telemetry.spool import Spool
from tests.support.patience import patient
from tests.support.poll import eventually

WITHIN = 20.0


@pytest.fixture
async def ingest() -> AsyncIterator[Ingest]:
    async with Ingest() as double:
        yield double
        assert double.problems == []


def line(number: int, **fields: Any) -> str:
    fixed = {"event": "line", "level": "info", "service": "bridge", "timestamp": "2026-11-21T08:00:00.123456Z"}
    return json.dumps(fixed | {"n": number} | fields)


@contextmanager
def shipping(ingest: Ingest, folder: Path | None = None, **options: Any) -> Iterator[Shipper]:
    """Lines go at once, so that tests are quick."""
    shipper = Shipper(
        better_stack_sink(ingest.url, TOKEN, **{"batch": 10, "every": 0.05, "timeout": 5.0} | options), folder
    )
    try:
        yield shipper
    finally:
        shipper.end()
        shipper.wait(0.0)
        shipper._poster.join(10)


def numbers(ingest: Ingest) -> list[int]:
    return [arrived["n"] for arrived in ingest.lines if "n" in arrived]


async def arrived(ingest: Ingest, count: int) -> None:
    await eventually(lambda: len(numbers(ingest)) >= count or f"{len(numbers(ingest))} of {count} arrived", WITHIN)


async def test_lines_arrive_in_the_words_of_better_stack(ingest: Ingest) -> None:
    with shipping(ingest) as shipper:
        shipper.put(line(1, user_id="ada", level="warning", exception="Traceback\n  ...", nested={"a": [1, None, "ü"]}))
        await arrived(ingest, 1)
    [found] = ingest.lines
    assert found == {
        "dt": "2026-11-21T08:00:00.123456Z",
        "level": "warn",
        "message": "line",
        "service": "livekit-bridge",
        "n": 1,
        "user_id": "ada",
        "exception": "Traceback\n  ...",
        "nested": {"a": [1, None, "ü"]},
    }


async def test_batches_are_full_under_load(ingest: Ingest) -> None:
    with shipping(ingest, batch=50, every=60.0) as shipper:
        for number in range(500):
            shipper.put(line(number))
        await arrived(ingest, 500)
    assert numbers(ingest) == list(range(500))
    assert set(ingest.batches) == {50}


async def test_a_lone_line_waits_for_others_and_not_longer(ingest: Ingest) -> None:
    with shipping(ingest, every=0.3) as shipper:
        begun = monotonic()
        shipper.put(line(1))
        await arrived(ingest, 1)
        assert monotonic() - begun >= 0.3


async def test_the_end_sends_what_waits(ingest: Ingest) -> None:
    shipper = Shipper(better_stack_sink(ingest.url, TOKEN, every=60.0), None)
    for number in range(250):
        shipper.put(line(number))
    shipper.end()
    await asyncio.to_thread(shipper.wait, 10.0)
    assert numbers(ingest) == list(range(250))
    shipper._poster.join(10)


@pytest.mark.parametrize("trouble", ["frozen", "refused", "500", "429"])
async def test_an_outage_loses_nothing_and_nobody_waits(ingest: Ingest, trouble: str, tmp_path: Path) -> None:
    worst = 0.0
    with shipping(ingest, tmp_path, timeout=0.5) as shipper:
        match trouble:
            case "frozen":
                ingest.freeze()
            case "refused":
                await ingest.refuse()
            case status:
                ingest.status = int(status)
        for number in range(400):
            begun = monotonic()
            shipper.put(line(number))
            worst = max(worst, monotonic() - begun)
            if number % 40 == 0:
                await asyncio.sleep(0.02)
        await eventually(lambda: shipper._down or "the outage was not noticed", WITHIN)
        assert numbers(ingest) == []
        await eventually(lambda: shipper.counts.waiting == 400 or f"{shipper.counts}", WITHIN)
        ingest.status = 202
        ingest.thaw()
        await ingest.return_()
        await arrived(ingest, 400)
        await eventually(lambda: shipper.counts.shipped >= 400 or "not counted", WITHIN)
        assert sorted(set(numbers(ingest))) == list(range(400))
        assert (shipper.counts.dropped, shipper.counts.given_up) == (0, 0)
    assert worst < patient(1.0), "put() waited"


async def test_without_a_disk_memory_serves(ingest: Ingest) -> None:
    await ingest.refuse()
    with shipping(ingest) as shipper:
        for number in range(300):
            shipper.put(line(number))
        await eventually(lambda: shipper._down or "the outage was not noticed", WITHIN)
        await ingest.return_()
        await arrived(ingest, 300)
    assert numbers(ingest) == list(range(300))


async def test_too_large_batches_are_halved(ingest: Ingest) -> None:
    ingest.max_lines = 3
    with shipping(ingest, batch=16) as shipper:
        for number in range(64):
            shipper.put(line(number))
        await arrived(ingest, 64)
    assert sorted(numbers(ingest)) == list(range(64))
    assert max(ingest.batches) == 16


async def test_a_refused_token_is_said_once_and_lines_are_kept(
    ingest: Ingest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ingest.token = "another-source-token"
    said: list[str] = []
    import structlog

    with structlog.testing.capture_logs() as logged:
        with shipping(ingest, tmp_path) as shipper:
            for number in range(30):
                shipper.put(line(number))
            await eventually(lambda: ingest.requests >= 3 or f"{ingest.requests} requests", WITHIN)
            ingest.token = TOKEN
            await arrived(ingest, 30)
        said = [entry["event"] for entry in logged]
    assert said.count("log sink refuses our token") == 1
    assert numbers(ingest) == list(range(30))
    assert TOKEN not in str(logged)


async def test_what_the_disk_holds_is_sent_by_the_next_life(ingest: Ingest, tmp_path: Path) -> None:
    await ingest.refuse()
    with shipping(ingest, tmp_path) as shipper:
        for number in range(50):
            shipper.put(line(number))
        await eventually(lambda: shipper.counts.waiting == 50 or "not kept", WITHIN)
    assert list(tmp_path.iterdir()) != []
    await ingest.return_()
    with shipping(ingest, tmp_path):
        await arrived(ingest, 50)
    assert sorted(set(numbers(ingest))) == list(range(50))
    assert list(tmp_path.iterdir()) == []


async def test_lines_that_nobody_keeps_are_counted(ingest: Ingest) -> None:
    with shipping(ingest) as shipper:
        shipper._spool._max_memory = 1_000
        await ingest.refuse()
        for number in range(200):
            shipper.put(line(number))
        await eventually(lambda: shipper.counts.dropped > 100 or f"{shipper.counts} dropped", WITHIN)
        await ingest.return_()
        await eventually(lambda: shipper.counts.waiting == 0 or f"{shipper.counts.waiting} wait", WITHIN)
        assert len(numbers(ingest)) + shipper.counts.dropped == 200


async def test_otlp_carries_the_same(ingest: Ingest) -> None:
    shipper = Shipper(otlp_sink(f"{ingest.url}/v1/logs", f"Authorization=Bearer {TOKEN}", every=0.05), None)
    shipper.put(line(7, user_id="ada", region="eu", took=0.5, ok=True, many=[1, "b"]))
    await eventually(lambda: len(ingest.lines) == 1 or "nothing arrived", WITHIN)
    shipper.end()
    shipper.wait(5)
    shipper._poster.join(10)
    [found] = ingest.lines
    assert (found["message"], found["service.name"], found["cloud.region"]) == ("line", "bridge", "eu")
    assert (found["user_id"], found["n"], found["took"], found["ok"]) == ("ada", "7", 0.5, True)
    assert found["time_ns"] == 1_795_248_000_123_456_000


def test_credentials_never_go_in_the_clear() -> None:
    with pytest.raises(ValueError, match="https"):
        better_stack_sink("http://in.example.com", TOKEN)
    assert better_stack_sink("in.example.com", TOKEN).url == "https://in.example.com"
    assert TOKEN not in repr(better_stack_sink("in.example.com", TOKEN))
    assert better_stack_sink(" in.example.com\n", TOKEN + "\n") == better_stack_sink("in.example.com", TOKEN)
    with pytest.raises(ValueError, match="no token has"):
        better_stack_sink("in.example.com", "two\nlines")
    with pytest.raises(ValueError, match="https"):
        SinkConfig(kind="otlp", url="ftp://x")


async def test_what_a_process_leaves_that_dies_later_is_found_too(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbridge.telemetry.shipper.ADOPT_EVERY", 0.1)
    dying = Spool(tmp_path)
    dying.append([line(1).encode()])
    with shipping(ingest, tmp_path):
        dying.close()
        await arrived(ingest, 1)


async def test_a_defect_of_the_sink_is_an_outage_and_no_end(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = Sink.post, [ValueError("a header that cannot be"), KeyError("x")]

    def post(self: Sink, lines: Sequence[bytes]) -> SinkAnswer:
        if failures:
            raise failures.pop()
        return real(self, lines)

    monkeypatch.setattr(Sink, "post", post)
    with shipping(ingest) as shipper:
        shipper.put(line(1))
        await arrived(ingest, 1)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The first look for dead processes, on the thread that keeps: it has begun; it may end."""
    begun, may_end = threading.Event(), threading.Event()

    def adopt(_self: Spool) -> int:
        begun.set()
        assert may_end.wait(60)
        return 0

    monkeypatch.setattr(Spool, "adopt", adopt)
    return begun, may_end


async def test_the_end_sends_also_what_nobody_has_looked_at_yet(
    ingest: Ingest, look: tuple[threading.Event, threading.Event]
) -> None:
    """A short program logs and ends before the thread that keeps has its first turn."""
    begun, may_end = look
    with shipping(ingest) as shipper:
        assert begun.wait(60)
        shipper.put(line(1))
        shipper.end()
        may_end.set()
        await asyncio.to_thread(shipper.wait, patient(5.0))
    assert numbers(ingest) == [1]


async def test_what_nobody_had_time_to_send_is_kept_on_disk(
    ingest: Ingest, tmp_path: Path, look: tuple[threading.Event, threading.Event]
) -> None:
    """The time for flushing is over before the thread that keeps has its turn."""
    begun, may_end = look
    shipper = Shipper(better_stack_sink(ingest.url, TOKEN), tmp_path)
    assert begun.wait(60)
    for number in range(3_000):
        shipper.put(line(number))
    shipper.end()
    shipper._abandon.set()
    may_end.set()
    shipper._keeper.join(patient(10.0))
    [file] = tmp_path.glob("*.jsonl")
    assert [json.loads(text)["n"] for text in file.read_text().splitlines()[1:]] == list(range(3_000))
    assert numbers(ingest) == []
