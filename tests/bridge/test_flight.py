"""What the supervisor remembers of its workers' rooms, the dead workers' too."""

import gc
import json
import tracemalloc
from typing import Any

import aiohttp

from glassbridge.bridge.flight import EVENT_BYTES, MAX_PLACES, WORD, FlightCopy, Reporter
from glassbridge.bridge.recorder_route import recorder_route
from glassbridge.core.values import Generation, UserId
from glassbridge.telemetry import metrics
from glassbridge.telemetry.exposition import MetricsServer
from glassbridge.telemetry.recorder import KEPT, SteadyClock

NOW = 1_000_000_000
"""Unix milliseconds at which these tests begin."""


class Wire:
    """A reporter and a copy, without the socket between them."""

    def __init__(self) -> None:
        self.now = NOW
        self.copy = FlightCopy(lambda: self.now)
        self.lines: list[str] = []

    def hear(self, pid: int = 7, worker: int = 0) -> None:
        for line in self.lines:
            word, _, rest = line.partition(" ")
            assert word == WORD
            self.copy.hear(worker, pid, rest)
        self.lines.clear()

    def reporter(self) -> Reporter:
        return Reporter(self.lines.append, SteadyClock(lambda: self.now / 1000, lambda: self.now / 1000))


def passed(user: str, generation: int, received: int, sent: int) -> tuple[UserId, Generation, int, int]:
    return UserId(user), Generation(generation), received, sent


def test_what_a_worker_told_is_known_after_its_death() -> None:
    wire = Wire()
    reporter = wire.reporter()
    reporter.decided(user_id="ann", generation=5, cause="join", action="connect", result="joining")
    reporter.tell_counts([passed("ann", 5, 0, 0), passed("bob", 9, 0, 0)])
    for second in range(1, 4):
        wire.now = NOW + second * 1000
        reporter.tell_counts([passed("ann", 5, 10 * second, 9 * second), passed("bob", 9, 0, 0)])
    wire.hear(pid=7, worker=2)
    wire.copy.ended(7)
    [room] = wire.copy.find("ann")["rooms"]
    assert (room["worker"], room["pid"], room["alive"], room["generation"]) == (2, 7, False, 5)
    assert dict(zip(room["columns"], room["seconds"], strict=True)) == {
        "livekit_in": [10, 10, 10],
        "bridge_out": [9, 9, 9],
    }
    assert room["start_ms"] == NOW
    assert [(event["kind"], event["cause"]) for event in room["events"]] == [("room decision", "join")]
    assert wire.copy.find("carol")["rooms"] == []
    json.dumps(wire.copy.find("ann"))


def test_places_of_different_joins_and_workers_are_told_apart() -> None:
    wire = Wire()
    for pid, generation in ((7, 5), (8, 6), (8, 7)):
        wire.reporter().tell_counts([passed("ann", generation, 1, 1)])
        wire.hear(pid)
    wire.copy.ended(7)
    rooms = wire.copy.find("ann")["rooms"]
    assert [(room["pid"], room["generation"], room["alive"]) for room in rooms] == [
        (7, 5, False),
        (8, 6, True),
        (8, 7, True),
    ]


def test_what_is_old_is_forgotten_and_too_many_places_too() -> None:
    wire = Wire()
    reporter = wire.reporter()
    reporter.tell_counts([passed("ann", 1, 0, 0)])
    wire.hear()
    wire.now += KEPT * 1000 + 1
    assert wire.copy.find("ann")["rooms"] == []
    reporter.tell_counts([passed(f"user{number}", 1, 0, 0) for number in range(MAX_PLACES + 10)])
    assert all(len(line) < 60_000 for line in wire.lines)
    wire.hear()
    assert len(wire.copy) == MAX_PLACES
    assert wire.copy.find("user0")["rooms"] == []


def test_a_place_that_decides_a_thousand_times_a_second_stays_small() -> None:
    wire = Wire()
    reporter = wire.reporter()
    gc.collect()
    tracemalloc.start()
    for _ in range(2_000):
        wire.now += 1
        reporter.decided(user_id="ann", generation=1, cause="x" * 1_000, action="y", result="z")
        wire.hear()
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 4 * EVENT_BYTES + 20_000


def test_what_cannot_be_read_is_counted_and_harms_nothing() -> None:
    wire = Wire()
    for line in (
        "",
        "[]",
        '{"at_ms": "x"}',
        '{"at_ms": 1, "passed": [["ann"]]}',
        '{"at_ms": 1, "passed": [["a", 1, 2]]}',
    ):
        wire.copy.hear(0, 7, line)
    assert (wire.copy.malformed, len(wire.copy)) == (5, 0)


async def test_it_is_told_to_who_shows_the_admin_token() -> None:
    wire = Wire()
    wire.reporter().decided(user_id="ann", generation=5, cause="join", action="connect", result="joining")
    wire.hear()

    async def ask(admin_token: str, **headers: str) -> tuple[int, Any]:
        routes = [recorder_route(wire.copy, admin_token)]
        async with (
            MetricsServer(dict, "127.0.0.1", 0, routes=routes) as server,
            aiohttp.ClientSession() as http,
            http.get(f"http://{server.address}/recorder?user=Ann", headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    status, said = await ask("", Authorization="Bearer ")
    assert (status, said["error"]["code"]) == (403, "ADMIN_DISABLED")
    for shown in ("Bearer another-token", "Basic an-admin-token", "Bearer", ""):
        status, said = await ask("an-admin-token", Authorization=shown)
        assert (status, said["error"]["code"]) == (401, "UNAUTHORIZED")
    status, said = await ask("an-admin-token", Authorization="Bearer an-admin-token")
    assert (status, [room["user"] for room in said["rooms"]]) == (200, ["ann"])


async def test_its_token_cannot_be_guessed_at_leisure() -> None:
    """Ten wrong tokens of a peer; then none of its tokens is looked at, not even the right one."""
    wire = Wire()
    async with (
        MetricsServer(dict, "127.0.0.1", 0, routes=[recorder_route(wire.copy, "an-admin-token", "a-former-one")]) as at,
        aiohttp.ClientSession() as http,
    ):

        async def ask(token: str) -> tuple[int, str | None]:
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"http://{at.address}/recorder?user=ann", headers=headers) as answer:
                return answer.status, answer.headers.get("Retry-After")

        cells = [metrics.ADMIN_REFUSED.cell(reason) for reason in ("wrong_token", "too_many")]
        before = [cell.count for cell in cells]
        assert (await ask("a-former-one"), await ask("an-admin-token")) == ((200, None), (200, None))
        assert {await ask(f"guess {number}") for number in range(10)} == {(401, None)}
        assert await ask("an-admin-token") == (429, "6")
        assert [cell.count - was for cell, was in zip(cells, before, strict=True)] == [10, 1]


def test_a_user_id_of_any_length_fits_the_line() -> None:
    wire = Wire()
    wire.reporter().tell_counts([passed("ü" * 255 + str(number), 1 << 60, 1 << 60, 1 << 60) for number in range(60)])
    assert all(len(line.encode()) < 60_000 for line in wire.lines)
