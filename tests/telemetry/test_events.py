"""docs/observability.md has every name that a program logs, and no other."""

import re

from tools import describe_events


def test_the_table_of_events_is_that_of_the_source() -> None:
    text = describe_events.TARGET.read_text()
    table = text.split(describe_events.BEGIN)[1].split(describe_events.END)[0]
    told = set(re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE))
    logged = set(describe_events.events())
    advice = "run python -m tools.describe_events"
    assert logged - told == set(), f"not in the table: {advice}"
    assert told - logged == set(), f"logged by nobody: {advice}"


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
