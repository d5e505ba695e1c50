"""Gaps as told by events and counts: whose they are, how long, what healed them."""

from typing import Any

import pytest

from glassbridge.core.flight import COLUMNS, LANES, Counts, Gap, NamedBy, dead_hop, find_gaps

T = 1_000_000_000
"""Unix milliseconds of the tests' beginning."""


def told(at: int, state: str, hop: str | None = None, code: str = "", **fields: Any) -> dict[str, Any]:
    about = {"text": f"{code} for people", "transport": "livekit", "room_age_ms": 100, "socket_age_ms": None}
    return {"at_ms": T + at, "kind": "audio state", "state": state, "hop": hop, "code": code, **about, **fields}


def did(at: int, action: str, result: str) -> dict[str, Any]:
    return {"at_ms": T + at, "kind": "recovery", "action": action, "result": result}


def socket(at: int, here: bool, **fields: Any) -> dict[str, Any]:
    return {"at_ms": T + at, "kind": "phone socket", "here": here, **fields}


def counts(seconds: int, known: dict[str, list[int]] | None = None) -> Counts:
    """Those columns; of the others nothing is known."""
    return Counts(T // 1000, [(known or {}).get(name, [None] * seconds) for name in COLUMNS])


def gaps(*events: dict[str, Any], now: int = 60_000, known: dict[str, list[int]] | None = None) -> list[Gap]:
    seconds = len(next(iter(known.values()))) if known else 0
    return find_gaps(events, T + now, counts(seconds, known), numbered=True)


def test_each_column_has_a_lane() -> None:
    assert [column for lane in LANES.values() for column in lane] == list(COLUMNS)


def test_a_healthy_session_has_no_gap() -> None:
    assert gaps(told(0, "connecting", code="joining"), did(50, "join", "joined"), told(100, "live")) == []


def test_a_dead_bridge_is_dead_from_the_last_frame_and_healed_by_the_join() -> None:
    [gap] = gaps(
        told(0, "live"),
        told(5_000, "interrupted", "bridge", "bridge_died", room_age_ms=80),
        did(5_400, "join", "bridge_died"),
        did(5_900, "join", "joined"),
        told(6_000, "live", room_age_ms=0),
    )
    assert (gap.hop, gap.lane, gap.code, gap.text) == ("bridge", "bridge", "bridge_died", "bridge_died for people")
    assert (gap.from_ms, gap.to_ms, gap.silent_ms) == (T + 4_920, T + 6_000, 1_080)
    assert (gap.actions, gap.healed_by) == (["join:bridge_died", "join:joined"], "join:joined")
    assert (gap.named_by, gap.around) == (NamedBy.DECISION, None)


def test_audio_that_goes_around_a_dead_hop_makes_it_no_less_dead() -> None:
    [gap] = gaps(
        told(0, "live"),
        told(5_000, "interrupted", "bridge", "bridge_died", room_age_ms=80),
        told(5_200, "live", "bridge", "bridge_died", transport="websocket", room_age_ms=280, socket_age_ms=0),
        did(9_000, "join", "joined"),
        told(9_010, "live", transport="websocket"),
        told(9_100, "live", room_age_ms=0, socket_age_ms=30),
    )
    assert (gap.from_ms, gap.to_ms, gap.silent_ms) == (T + 4_920, T + 9_100, 280)
    assert gap.around == "websocket"


def test_a_hop_that_is_named_later_is_dead_since_the_first_suspicion() -> None:
    [gap] = gaps(
        told(0, "live"),
        told(5_000, "interrupted", None, "no_audio", room_age_ms=2_300),
        told(6_000, "interrupted", "stream", "stream_silent", room_age_ms=3_300),
        told(7_000, "live"),
    )
    assert (gap.hop, gap.lane, gap.code) == ("stream", "bridge", "stream_silent")
    assert (gap.from_ms, gap.to_ms, gap.healed_by) == (T + 2_700, T + 7_000, "by itself")


def test_audio_on_the_socket_does_not_heal_a_room_of_which_nobody_knows_yet_why_it_is_silent() -> None:
    events = (
        told(0, "live"),
        told(5_000, "interrupted", None, "no_audio", room_age_ms=2_300),
        told(5_100, "live", transport="websocket", room_age_ms=2_400, socket_age_ms=0),
        told(5_300, "live", "bridge", "bridge_silent", transport="websocket", room_age_ms=2_600, socket_age_ms=0),
        told(7_000, "live", room_age_ms=0),
    )
    [gap] = gaps(*events)
    assert (gap.hop, gap.code, gap.around) == ("bridge", "bridge_silent", "websocket")
    assert (gap.from_ms, gap.to_ms, gap.silent_ms) == (T + 2_700, T + 7_000, 2_400)


def test_a_phone_that_wants_no_room_is_healed_by_its_socket() -> None:
    [gap] = gaps(
        socket(0, here=True, livekit=False),
        told(0, "live", transport="websocket", room_age_ms=9_000, socket_age_ms=0),
        told(5_000, "interrupted", "phone", "no_audio", room_age_ms=9_000, socket_age_ms=2_300),
        told(6_000, "live", transport="websocket", room_age_ms=9_000, socket_age_ms=0),
    )
    assert (gap.hop, gap.from_ms, gap.to_ms) == ("phone", T + 2_700, T + 6_000)


def test_another_hop_is_another_gap() -> None:
    first, second = gaps(
        told(0, "live"),
        told(5_000, "interrupted", "bridge", "bridge_died"),
        told(8_000, "unavailable", "livekit", "unreachable"),
        did(9_000, "join", "joined"),
        told(9_100, "live"),
    )
    assert (first.hop, first.to_ms, first.healed_by) == ("bridge", T + 8_000, "then unreachable")
    assert (second.hop, second.from_ms, second.to_ms) == ("livekit", T + 8_000, T + 9_100)
    assert (first.silent_ms, second.silent_ms) == (3_100, 1_100)
    assert second.healed_by == "join:joined"


def test_a_gap_that_goes_on_is_open() -> None:
    [gap] = gaps(told(0, "live"), told(5_000, "interrupted", "livekit", "network"), now=8_000)
    assert (gap.to_ms, gap.healed_by, gap.silent_ms) == (None, None, 3_100)


def test_a_phone_that_is_away_is_dead_until_it_is_heard_again() -> None:
    [gap] = gaps(
        told(0, "live"),
        socket(5_000, here=False, room_age_ms=400, socket_age_ms=None),
        socket(9_000, here=True),
        told(9_010, "connecting", code="awaiting_audio"),
        did(9_050, "ask_status", "in_room"),
        told(9_200, "live"),
    )
    assert (gap.hop, gap.code, gap.healed_by) == ("phone", "phone_away", "phone:back")
    assert (gap.from_ms, gap.to_ms, gap.silent_ms) == (T + 4_600, T + 9_200, 4_600)


def test_the_end_of_the_session_ends_its_gaps() -> None:
    ended = {"at_ms": T + 9_000, "kind": "session gone"}
    [gap] = gaps(told(0, "live"), socket(5_000, here=False, room_age_ms=400), ended)
    assert (gap.to_ms, gap.healed_by) == (T + 9_000, "ended")


def test_a_recogniser_has_gaps_of_its_own() -> None:
    [gap] = gaps(
        told(0, "live"),
        told(5_000, "live", "recogniser", "recogniser_failed"),
        did(5_000, "restart_recogniser", "under way"),
        did(6_000, "restart_recogniser", "recognises"),
        told(6_000, "live"),
    )
    assert (gap.hop, gap.lane, gap.from_ms, gap.to_ms) == ("recogniser", "recogniser", T + 5_000, T + 6_000)
    assert (gap.silent_ms, gap.healed_by) == (0, "restart_recogniser:recognises")


def test_our_own_standstill_is_a_gap_of_the_cloud() -> None:
    [gap] = gaps(told(0, "live"), {"at_ms": T + 9_000, "kind": "standstill", "ms": 4_000})
    assert (gap.hop, gap.lane, gap.from_ms, gap.to_ms) == ("cloud", "cloud", T + 5_000, T + 9_000)


@pytest.mark.parametrize("noticed_after", [-5, 5])
def test_what_is_found_on_waking_is_dead_from_then_on(noticed_after: int) -> None:
    found = told(9_010 + noticed_after, "interrupted", "stream", "stream_broken", room_age_ms=6_000)
    woke = {"at_ms": T + 9_010, "kind": "standstill", "ms": 5_000}
    order = (found, woke) if noticed_after < 0 else (woke, found)
    cloud, stream = gaps(told(0, "live"), *order, told(9_500, "live"))
    assert (cloud.hop, cloud.from_ms, cloud.to_ms) == ("cloud", T + 4_010, T + 9_010)
    assert abs(stream.from_ms - T - 9_010) <= 5
    assert (stream.to_ms, stream.silent_ms) == (T + 9_500, T + 9_500 - stream.from_ms)


def test_what_was_dead_before_we_stood_still_stays_so() -> None:
    livekit, cloud = gaps(
        told(0, "live"),
        told(3_000, "interrupted", "livekit", "network", room_age_ms=100),
        {"at_ms": T + 9_010, "kind": "standstill", "ms": 5_000},
        told(9_500, "live"),
    )
    assert (livekit.hop, livekit.from_ms, cloud.hop) == ("livekit", T + 2_900, "cloud")


def test_counts_name_the_hop_that_nobody_named() -> None:
    passing = [10] * 5
    way = {
        "phone": ("phone_sent",),
        "livekit": ("livekit_in", "bridge_out", "cloud_in"),
        "bridge": ("bridge_out", "cloud_in"),
        "stream": ("cloud_in",),
    }
    for hop, silent in way.items():
        known = {name: [0] * 5 if name in silent else passing for name in ("livekit_in", "bridge_out", "cloud_in")}
        known["phone_sent"] = [0] * 5 if hop == "phone" else passing
        assert dead_hop(counts(5, known), T, T + 5_000) == hop
    assert dead_hop(counts(5), T, T + 5_000) is None
    assert dead_hop(counts(5, {"cloud_in": [0] * 5}), T, T + 5_000) is None, "the bridge may have got nothing, too"
    assert dead_hop(counts(5, {"cloud_in": passing}), T, T + 5_000) is None


def test_a_gap_without_a_name_is_named_by_the_counts() -> None:
    [gap] = gaps(
        told(0, "live"),
        told(4_000, "interrupted", None, "no_audio", room_age_ms=3_000),
        told(6_000, "live"),
        known={
            "phone_sent": [10] * 6,
            "livekit_in": [10, 0, 0, 0, 0, 0],
            "bridge_out": [10, 0, 0, 0, 0, 0],
            "cloud_in": [10, 0, 0, 0, 0, 0],
            "socket_in": [0] * 6,
        },
    )
    assert (gap.hop, gap.named_by, gap.code) == ("livekit", NamedBy.COUNTERS, "no_audio")


def test_silence_that_nobody_told_is_found_by_the_counts() -> None:
    known = {"cloud_in": [9, 10, 0, 0, 0, 10, 10], "socket_in": [0] * 7, "bridge_out": [10] * 7}
    [gap] = gaps(told(0, "live"), known=known)
    assert (gap.hop, gap.code, gap.named_by) == ("stream", "unnoticed", NamedBy.COUNTERS)
    assert (gap.from_ms, gap.to_ms, gap.silent_ms) == (T + 2_000, T + 5_000, 3_000)
    quiet = find_gaps([told(0, "live")], T + 60_000, counts(7, known), numbered=False)
    assert quiet == [], "an old phone may be silent"


def test_silence_that_was_told_is_not_found_twice() -> None:
    known = {"cloud_in": [9, 0, 0, 0, 0, 10, 10], "socket_in": [0] * 7}
    events = told(0, "live"), told(3_300, "interrupted", "livekit", "network", room_age_ms=2_300), told(5_000, "live")
    [gap] = gaps(*events, known=known)
    assert gap.code == "network"
