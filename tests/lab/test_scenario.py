"""Limits, the catalogue, and what the lab says of an outcome."""

import json
import re
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from glassbridge.lab import report
from glassbridge.lab.catalogue import catalogue, find
from glassbridge.lab.leaks import Holdings
from glassbridge.lab.logbook import Logbook
from glassbridge.lab.networks import CELLS
from glassbridge.lab.program import Line
from glassbridge.lab.runner import Judged, Outcome
from glassbridge.lab.scenario import Limit, always, least, most, never, p95
from glassbridge.lab.system import Sample
from glassbridge.runtime.errors import UserError


@pytest.mark.parametrize(
    ("limit", "values", "holds"),
    [
        (p95("x", 2.0), [0.1] * 19 + [9.0], True),
        (p95("x", 2.0), [0.1] * 18 + [9.0, 9.0], False),
        (p95("x", 2.0), [0.1, inf], False),
        (most("x", 1), [0, 1], True),
        (most("x", 1), [0, 2], False),
        (least("x", 3), [3, 4], True),
        (least("x", 3), [2, 4], False),
        (always("x"), [1.0, 1.0], True),
        (always("x"), [1.0, 0.0], False),
        (never("x"), [0.0], True),
        (never("x"), [1.0], False),
    ],
)
def test_limits(limit: Limit, values: list[float], holds: bool) -> None:
    assert limit.holds([{"x": value} for value in values]) is holds


def test_a_limit_on_what_was_not_measured_does_not_hold() -> None:
    assert not never("x").holds([])
    assert not never("x").holds([{"y": 0.0}])
    assert never("x").holds([{"y": 9.0}, {"x": 0.0}])


def test_every_scenario_is_found_by_its_name_and_its_family() -> None:
    known = [scenario.id for scenario in catalogue()]
    assert known == sorted(known, key=lambda id: (id[0], int(re.sub(r"\D", "", id) or 0), id))
    networks = [id for id in known if id.startswith("N-")]
    assert [scenario.id for scenario in find(["n"])] == networks
    assert {f"N-{cell.name}" for cell in CELLS} == set(networks)
    assert [scenario.id for scenario in find(["N-loss1"])] == ["N-loss1"]
    clusters = [f"M{number}" for number in range(1, 18)]
    assert [scenario.id for scenario in find(["m"])] == clusters
    versions = [f"V{number}" for number in range(1, 6)]
    special = [*networks, *clusters, *versions, *(f"W{number}" for number in range(3, 11))]
    assert [scenario.id for scenario in find(["all"])] == [id for id in known if id not in special]
    assert [scenario.id for scenario in find(["f2"])] == ["F2a", "F2b", "F2c"]
    assert [scenario.id for scenario in find(["F7a", "F2b"])] == ["F7a", "F2b"]
    assert [scenario.id for scenario in find(["a"])] == [f"A{number}" for number in range(1, 18)]
    assert [scenario.id for scenario in find(["A1"])] == ["A1"]
    with pytest.raises(UserError, match="lab list"):
        find(["F99"])


def outcome(tta: float, leaks: list[str]) -> Outcome:
    [scenario] = find(["F7a"])
    samples = [Sample("down", "ada", {"tta_s": 0.1}), Sample("down", "bob", {"tta_s": tta})]
    figures = [sample.figures for sample in samples]
    limit = p95("tta_s", 1.0)
    judged = [Judged(limit, limit.value(figures), limit.holds(figures))]
    held = Holdings({"cloud": {"threads": 4.0}}, rooms=2, participants=4)
    return Outcome(scenario, "own", 7, "real", samples, judged, 0.1, held, held, leaks, logs=Path("kept"))


def logged(folder: Path, **fields: str) -> list[str]:
    with Logbook(folder) as book:
        book.write(Line("cloud", json.dumps({"timestamp": "2026-11-30T05:00:00Z", **fields}), log=True))
        return book.defects


def test_an_exception_that_nobody_expected_fails_a_scenario_whose_numbers_hold(tmp_path: Path) -> None:
    """A /livez went unanswered once in 1,500: the numbers alone did not say why."""
    trace = "Traceback (most recent call last):\n  File ...\nAttributeError: no attribute 'when'\n"
    unhandled = {"logger": "glassbridge.http", "level": "error", "event": "Unhandled exception", "exception": trace}
    found = logged(tmp_path / "1", **unhandled)
    assert found == ["cloud: Unhandled exception: AttributeError: no attribute 'when'"]
    bad = replace(outcome(0.2, []), defects=found)
    assert not bad.passed
    assert "nobody expected: cloud: Unhandled exception" in report.line(bad)
    lost = {"logger": "asyncio", "level": "error", "event": "Task exception was never retrieved\nfuture: <Task>"}
    assert logged(tmp_path / "2", **lost) == ["cloud: Task exception was never retrieved: "]
    ours = {"logger": "glassbridge.bridge", "level": "error", "event": "worker died"}
    assert logged(tmp_path / "3", **ours) == []


def test_a_good_outcome() -> None:
    good = outcome(0.2, [])
    assert good.passed
    assert good.tta_ratio == pytest.approx(2.0)
    assert report.line(good).startswith("PASSED; F7a ")
    assert json.loads(json.dumps(report.as_json(good)))["limits"] == [
        {"limit": "p95 tta_s <= 1", "value": 0.2, "holds": True}
    ]


def test_audio_that_never_came_back_is_said_so() -> None:
    bad = outcome(inf, [])
    assert not bad.passed
    assert "measured: never" in report.line(bad)
    assert report.as_json(bad)["tta_s"]["max"] is None
    assert "**does not hold**" in report.markdown([bad])
    assert "logs: kept" in report.line(bad)


def test_what_was_left_behind_fails_a_scenario_whose_numbers_hold() -> None:
    assert not outcome(0.2, ["cloud: threads 4 -> 40"]).passed


def test_growth_is_what_is_more_than_the_slack() -> None:
    before = Holdings({"cloud": {"threads": 4.0, "memory_mb": 90.0}}, rooms=2, participants=4)
    same = Holdings({"cloud": {"threads": 8.0, "memory_mb": 109.0, "tasks": 99.0}}, rooms=1, participants=4)
    more = Holdings({"cloud": {"threads": 9.0, "memory_mb": 111.0}}, rooms=2, participants=5)
    assert same.grown_since(before) == []
    assert more.grown_since(before) == [
        "cloud: threads 4 -> 9",
        "cloud: memory_mb 90 -> 111",
        "LiveKit: participants 4 -> 5",
    ]
