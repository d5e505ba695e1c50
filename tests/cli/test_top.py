"""`glassbridge top`: what is drawn of which rows. The command on a running cloud: test_running_dev.py."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from glassbridge.cli.top_view import view

NOW = 1_789_976_400_123
HEALTH = {"status": "ok", "bridges": {"live": 2, "total": 3}}


def row(user: str, light: str = "ok", **fields: Any) -> dict[str, Any]:
    """As docs/recorder.md describes it."""
    fixed = {
        "id": "3f9c0a11d2e4", "user": user, "light": light, "state": "live", "text": "", "code": "", "hop": None,
        "transport": "livekit", "since_ms": NOW - 75_000, "started_ms": NOW - 90_000, "ended_ms": None, "link": "live",
        "generation": 1, "bridge": "unix:/run/glassbridge/bridge.sock.0", "numbered": True,
        "apps": {"com.example.notes": "running"}, "last": [10, 0, 10, 10, 10, 1, 1000, 2, 11], "gaps": 1,
    }  # fmt: skip
    return fixed | fields


def drawn(
    *rows: dict[str, Any], width: int = 160, height: int | None = None, trouble: str = "", **more: Any
) -> list[str]:
    out = StringIO()
    console = Console(file=out, width=width, highlight=False)
    told = {"now_ms": NOW, "sessions": list(rows)} | more
    console.print(view(told, HEALTH, "http://cloud:8002", width, height, trouble))
    return out.getvalue().splitlines()


def test_the_head_counts() -> None:
    head = drawn(row("ada"), row("bob"), row("eve", "bad"))[0]
    assert "bridges 2/3" in head
    assert "sessions 3" in head
    assert "1 dead" in head
    assert "2 live" in head


def test_the_head_counts_those_who_get_no_captions() -> None:
    crowded_out = {"hop": "recogniser", "code": "recogniser_overloaded", "text": "it is not captioned: no room"}
    assert (
        "2 without captions"
        in drawn(row("ada"), row("bob", "part", **crowded_out), row("eve", "part", **crowded_out))[0]
    )
    assert "without captions" not in drawn(row("ada"))[0]


def test_clouds_that_did_not_answer_are_named() -> None:
    nodes = [{"node": "10.0.0.7:8010", "answered": True}, {"node": "10.0.0.8:8010", "answered": False}]
    assert drawn(row("ada"), nodes=nodes)[1].startswith("no answer from 10.0.0.8:8010: sessions there are missing")
    assert "no answer" not in "".join(drawn(row("ada"), nodes=nodes[:1]))


def test_who_is_in_trouble_comes_first_and_is_told_why() -> None:
    dead = row("zoe", "bad", state="interrupted", hop="bridge", text="the bridge is gone", code="bridge_died")
    lines = [line for line in drawn(row("ada"), row("bob", "off"), dead) if "●" in line]
    assert [line.split()[1] for line in lines] == ["zoe", "ada", "bob"]
    assert "bridge: the bridge is gone" in lines[0]
    assert "1m15s" in lines[0]


def test_numbers_of_the_last_second_and_unknown_ones() -> None:
    known, unknown = drawn(row("ada"), row("bob", last=[], bridge=None))[-2:]
    assert " 11 " in known
    assert " 1000 " in known
    assert "bridge.sock.0" in known
    assert " - " in unknown


@pytest.mark.parametrize("width", [60, 100, 160])
def test_rows_fit(width: int) -> None:
    lines = drawn(*(row(f"user-{number}@example.org") for number in range(50)), width=width, height=24)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert "more" in lines[-1]


def test_a_cloud_that_went_away_is_told_above_what_was_known() -> None:
    lines = drawn(row("ada"), trouble="cloud:8002 does not answer")
    assert "does not answer" in lines[1]
    assert "ada" in lines[-1]
