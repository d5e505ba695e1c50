"""docs/observability.md has every name that a program logs, and no other."""

import ast
import re

import pytest

from tools import describe_events


def test_the_table_of_events_is_that_of_the_source() -> None:
    text = describe_events.TARGET.read_text()
    assert describe_events.described(text) == text, "run make events"
    assert describe_events.without_meaning(text) == []


def test_an_event_without_a_meaning_is_found() -> None:
    text = f"{describe_events.BEGIN}\n| `told` | x | x | x | why |\n| `new` | x | x | - |  |\n{describe_events.END}"
    assert describe_events.without_meaning(text) == ["new"]


def test_a_name_that_is_not_written_where_it_is_logged_is_an_error() -> None:
    call = ast.parse("log.info(name, user=1)").body[0].value  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="the name of an event is not written there"):
        list(describe_events._logged(call, tells=False))


def test_every_package_of_a_deployment_is_read() -> None:
    rooms = {room for event in describe_events.events().values() for room in event.rooms}
    assert {"bridge", "cli", "cloud", "cluster", "livekit", "runtime", "speech", "telemetry"} <= rooms


def test_the_names_that_operators_search_for_are_the_original_s() -> None:
    logged = describe_events.events()
    for name in (
        "JoinRoom received",
        "Replacing existing session",
        "Disconnected from LiveKit room",
        "LeaveRoom received",
    ):
        assert "bridge" in logged[name].rooms


def test_an_event_says_one_thing() -> None:
    """Names hold no numbers and end without punctuation, so that they can be searched for."""
    for name in describe_events.events():
        assert not re.search(r"[%{}]|[.:!]$", name), name


def test_a_new_event_shows() -> None:
    fresh = describe_events.described(
        f"head {describe_events.BEGIN}\n| `JoinRoom received` | x | x | x | kept |\n{describe_events.END} tail"
    )
    assert re.search(r"^\| `JoinRoom received` \| bridge \| info \|.*\| kept \|$", fresh, re.MULTILINE)
    assert fresh.startswith("head ")
    assert fresh.endswith(" tail")
