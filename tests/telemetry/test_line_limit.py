"""How many log lines one peer may cause."""

import logging
from collections.abc import Mapping
from typing import Any

from glassbridge.telemetry.line_limit import RATES, STORY, STORY_RATE, LineLimit


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def line(name: str = "glassbridge", *, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, fields or "text", (), None)


def test_a_flood_is_held_to_its_rate() -> None:
    """573a53e wrote 103,617 lines for 184,490 messages in 5 s."""
    time = Time()
    limit = LineLimit(time)
    written = []
    for n in range(184_490):
        time.now = n * 5 / 184_490
        if limit.admits(line(event=f"event {n % 7}", user_id="ann")):
            written.append(time.now)
    assert len(written) == RATES["user"].burst + 5 * RATES["user"].per_second - 1
    assert limit.due() == {"ann": 184_490 - len(written)}
    assert limit.due() == {}, "told once"


def test_chatter_leaves_room_for_what_matters() -> None:
    limit = LineLimit(Time())
    assert sum(limit.admits(line(event="glasses", user_id="ann")) for _ in range(1_000)) == RATES["user"].burst / 2
    assert limit.admits(line(event="place lost", user_id="ann"))


def test_the_story_is_told_though_a_session_begins_with_many_lines() -> None:
    """A phone that was muted, or lost its socket, in its first second: the log had lines of other events, not that."""
    limit = LineLimit(Time())
    beginning = [line(event=f"event {n}", user_id="ann") for n in range(100)]
    assert sum(map(limit.admits, beginning)) == RATES["user"].burst
    told = [line(event=event, user_id="ann") for event in sorted(STORY) for _ in range(100)]
    assert sum(map(limit.admits, told)) == STORY_RATE.burst


def test_a_session_that_begins_breaks_and_comes_back_is_told_whole() -> None:
    """F7a: the second that lost its first lines told no cause, five runs of ten."""
    time = Time()
    limit = LineLimit(time)
    beginning = [*(f"event {n}" for n in range(14)), "session", *["audio link"] * 4, *["audio state"] * 3]
    breaking = ["phone socket closed", "session", "audio link", *["phone socket"] * 4, *["recovery"] * 3]
    for at, events in ((0.0, beginning), (1.0, breaking), (3.0, beginning)):
        time.now = at
        for event in events:
            assert limit.admits(line(event=event, user_id="ann")), (at, event)


def test_user_and_story_stay_below_what_an_attack_may_cause() -> None:
    """20 lines a second over five seconds (docs/lab.md)."""
    both = RATES["user"], STORY_RATE
    assert sum(rate.burst + 5 * rate.per_second for rate in both) <= 5 * 20


def test_peers_are_limited_apart() -> None:
    limit = LineLimit(Time())
    names: list[tuple[Mapping[str, Any], int]] = [
        ({"user_id": "ann"}, 15), ({"user_id": "bob"}, 15), ({"user_id": "ann", "package": "app"}, 5),
        ({"peer": "10.0.0.1"}, 7), ({"package": "app"}, 7),
    ]  # fmt: skip
    for fields, lines in names:
        assert sum(limit.admits(line(event="x", **fields)) for _ in range(100)) == lines


def test_what_nobody_outside_causes_is_not_limited_and_libraries_are() -> None:
    limit = LineLimit(Time())
    assert all(limit.admits(line(event="worker ready")) for _ in range(100))
    assert all(limit.admits(line(event="x", user_id="ann", level=logging.DEBUG)) for _ in range(100))
    assert sum(limit.admits(line("aiohttp.server")) for _ in range(100)) == 7


def test_many_peers_take_a_bounded_room() -> None:
    limit = LineLimit(Time())
    for n in range(10_000):
        for _ in range(20):
            limit.admits(line(event="x", peer=f"10.0.{n // 256}.{n % 256}"))
    assert len(limit._peers) <= 2_000
    assert len(limit._suppressed) <= 2_001


def test_refused_requests_of_one_network_are_one_peer() -> None:
    """Whoever has an IPv6 address has 2 ** 64 of them."""
    limit = LineLimit(Time())
    lines = [line(event="HTTP request", status=404, peer=f"2001:db8::{n:x}") for n in range(1, 1_000)]
    assert sum(map(limit.admits, lines)) == RATES["address"].burst // 2
    assert limit.admits(line(event="HTTP request", status=404, peer="2001:db8:0:1::1"))
    assert limit.admits(line(event="phone refused", peer="2001:db8::1"))
