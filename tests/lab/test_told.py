"""What the sink's lines tell of a fault, and when that is called a disagreement."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from glassbridge.lab.catalogue import catalogue
from glassbridge.lab.judge import Span
from glassbridge.lab.system import Sample
from glassbridge.lab.told import EXPECTED, PLACES, Stories, by_time, disagreements, expected, judge_all, read

USER = "lab-1@example.org"
CAUSE, GONE, END = 100_000_000_000, 106_000_000_000, 110_000_000_000
HOLE = (100_100_000_000, 106_400_000_000)


def span(**options: Any) -> Span:
    return Span(**{"cause_ns": CAUSE, "gone_ns": GONE, "end_ns": END, "region": None, "hole_ns": HOLE} | options)


def line(seconds: float, message: str, **fields: Any) -> Mapping[str, Any]:
    """So many seconds after the cause."""
    moment = datetime.fromtimestamp(CAUSE / 1e9 + seconds, UTC).isoformat()
    return {"dt": moment, "message": message, "user_id": USER, "service": "cloud"} | fields


STORY = [
    line(-9.0, "place lost", hop="phone", cause="of another fault"),
    line(0.1, "place lost", hop="bridge", cause="bridge_died"),
    line(0.2, "place lost", hop="livekit", cause="network", user_id="somebody-else"),
    line(0.3, "worker died", cause="SIGKILL", action="start another", user_id=None),
    line(0.4, "audio state", state="interrupted", hop="bridge", code="bridge_died"),
    line(6.3, "recovery", action="join", result="joined", cause="bridge_died"),
    line(6.4, "audio resumed", silent_ms=6300, cause="bridge_died", action=["join:joined"]),
]


def wrong(lines: list[Mapping[str, Any]], tta: float = 0.4, hops: str = "bridge", **options: Any) -> list[str]:
    of = span(**options)
    told = read(by_time(lines, 0), USER, of)
    return disagreements(told, of, tta, frozenset(hops.split()), 0.0)


def test_a_whole_story() -> None:
    told = read(by_time(STORY, 0), USER, span())
    assert told.hops == ("bridge",)
    assert told.causes == ("bridge_died", "SIGKILL")
    assert told.actions == ("start another", "join: joined")
    assert told.audio_s == pytest.approx(0.4, abs=0.001)
    assert wrong(STORY) == []


def test_the_hop_of_somebody_else_is_not_ours() -> None:
    assert "dead hop is livekit" in wrong(STORY, hops="livekit")[0]


@pytest.mark.parametrize("tta", [1.5, 3.0])
def test_another_time_to_audio_than_was_measured(tta: float) -> None:
    assert any("told: 0.40 s" in what for what in wrong(STORY, tta))


def test_a_hole_that_nobody_tells() -> None:
    assert any("not told" in what for what in wrong(STORY[:-1], 0.0))


def test_of_another_backend_no_audio_is_told() -> None:
    other = [*STORY[:-1], line(6.4, "audio resumed", silent_ms=6300, region="B")]
    assert wrong(other, region="B") == []
    assert wrong(other, region="A") != []


def test_nothing_told_at_all() -> None:
    found = wrong([], 2.0)
    assert {text.split()[0] for text in found} >= {"the", "no", "audio"}


def test_bystanders_need_no_dead_hop() -> None:
    assert wrong([], 0.0, bystander=True, hole_ns=(CAUSE, CAUSE)) == []


def test_a_dead_hop_where_nothing_died() -> None:
    assert wrong(STORY, hops="") == ["nothing died, told: bridge"]


@pytest.mark.parametrize(
    ("lines", "hole_s", "tta_s", "agree"),
    [
        (STORY, 3.0, 0.4, 1),
        (STORY, 3.0, 2.4, 0),  # what it tells is wrong
        ([], 3.0, 2.4, 1),  # it need not tell
        (STORY, 6.3, 0.4, 0),  # another hop
        ([], 6.3, 0.4, 0),
    ],
)
def test_a_random_fault_that_nobody_felt_needs_no_story(
    lines: list[Mapping[str, Any]], hole_s: float, tta_s: float, agree: int
) -> None:
    felt = {"tta_s": tta_s, "stalled_s": 0.0, "hole_s": hole_s}
    short = span(hole_ns=(CAUSE, CAUSE + round(hole_s * 1e9)))
    assert judge_all(lines, "R200", [Sample("3: restart_cloud", USER, felt, short)], 0).agree == agree


def test_stories_are_counted_by_sample() -> None:
    figures = {"tta_s": 0.4, "stalled_s": 0.0}
    samples = [Sample("kill", USER, figures, span()), Sample("kill", "x", figures, span()), Sample("note", USER)]
    stories: Stories = judge_all(STORY, "F18b", samples, 0)
    assert (str(stories), len(stories.told)) == ("1 of 2", 2)
    assert all(text.startswith("kill, x: ") for text in stories.wrong)


MUTED_PHONE = [
    line(0.1, "JoinRoom received", service="livekit-bridge"),
    line(0.5, "audio state", state="live", hop=None, code=""),
    line(1.0, "audio state", state="connecting", hop=None, code="muted"),
    line(10.1, "phone socket closed", code=1000),  # the phone goes when all is over
]


@pytest.mark.parametrize(
    ("scenario", "lines", "found"),
    [
        ("P3", MUTED_PHONE, []),
        ("P3", MUTED_PHONE[:2], ["the cause is muted, told: none"]),
        ("P3", [*MUTED_PHONE, line(2.0, "place lost", hop="livekit")], ["the dead hop is none, told: livekit"]),
        ("P3", MUTED_PHONE[:1] + MUTED_PHONE, ["the bridge joined 2 times, 1 at most is right"]),
        ("P2", [line(1.0, "audio state", state="interrupted", hop="phone", code="encrypted")], []),
        (
            "P2",
            [line(1.0, "audio state", state="interrupted", code="encrypted")],
            ["the dead hop is phone, told: none"],
        ),
    ],
)
def test_a_place_that_is_sound_has_its_cause_told_and_no_dead_hop(
    scenario: str, lines: list[Mapping[str, Any]], found: list[str]
) -> None:
    stories = judge_all(lines, scenario, [Sample("odd", USER, {}, span())], 0)
    assert stories.wrong == [f"odd, {USER}: {what}" for what in found]


def test_every_entry_means_a_scenario() -> None:
    ids = [scenario.id for scenario in catalogue()]
    assert {id for id in ids if id.startswith("P")} == PLACES.keys()
    assert all(any(id.startswith(part) for id in ids) for part, _, _ in EXPECTED)
    assert expected("F18a", "kill -9 worker 0") == frozenset({"bridge"})
    assert expected("F12a", "two sockets") is None
    assert expected("F19d", "phone-LiveKit, down, 5 s") is None
    assert expected("F19d", "phone-LiveKit, down, 30 s") == frozenset({"phone", "livekit"})
    assert expected("F13", "leave of an older join") == frozenset()
    assert expected("R200", "7: break_a_way: cloud to bridge refused, 3.0 s") == frozenset({"bridge", "stream"})
    assert expected("R200", "8: switch_there_and_back") is None
    assert expected("F2a", "back to A") == frozenset({"phone"})
    assert expected("F21", "the bridge is stopped") == frozenset({"bridge"})
