"""The recorders of a cloud with a clock of the test's: what is booked to which second, and what is forgotten when."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from glassbridge.cloud import flights as flights_module
from glassbridge.cloud.audio import Listener
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.flights import ENDED_FOR, Flights
from glassbridge.cloud.meter import EVERY_MS, KEPT, SILENCE, LevelMeter, dbfs
from glassbridge.core.gaps import Gap, GapState
from glassbridge.core.values import UserId
from glassbridge.speech.base import Transcript
from glassbridge.telemetry.recorder import SteadyClock

START = 1_000_000
"""A unix second."""


class Session:
    """A source that a test counts for."""

    def __init__(self) -> None:
        self.counted = [0, 0, 0, 0, 0]
        self.numbered = True
        self.listeners: list[Listener] = []

    def totals(self) -> tuple[int, ...]:
        return tuple(self.counted)

    def facts(self) -> dict[str, Any]:
        return {"link": "live", "generation": 1, "bridge": None, "numbered": self.numbered, "apps": {"app": "running"}}


class Hours:
    """Flights whose time a test moves."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.now = float(START)
        self.flights = Flights(["a-secret-of-tests"], SteadyClock(lambda: self.now, lambda: self.now), keeps=keeps)

    def begin(self, number: int = 0) -> tuple[Flight, Session]:
        flight, session = self.flights.open(UserId(f"user{number}"), f"session{number}"), Session()
        flight.attach(session)
        return flight, session

    def tick(self, late: float = 0.0) -> None:
        """The second is over, and we notice `late` seconds later."""
        due = int(self.now) + 1
        self.now = due + late
        self.flights._tick(due * 1000)


@pytest.fixture
def hours() -> Hours:
    return Hours()


def column(flight: Flight, name: str) -> list[int | None]:
    timeline = flight.timeline()
    counts: list[int | None] = timeline["seconds"][timeline["columns"].index(name)]
    return counts


def levels(flight: Flight) -> list[int] | None:
    return None if flight.meter is None else [level for _, level in flight.meter.levels]


def test_counts_belong_to_the_second_in_which_they_came(hours: Hours) -> None:
    flight, session = hours.begin()
    for count in (3, 0, 10):
        session.counted[0] += count
        hours.tick()
    assert column(flight, "cloud_in") == [3, 0, 10]
    assert column(flight, "phone_sent") == [None] * 3
    assert flight.timeline()["start_ms"] == START * 1000


def test_a_total_that_falls_has_begun_anew(hours: Hours) -> None:
    flight, session = hours.begin()
    for total in (5, 9, 2):
        session.counted[2] = total
        hours.tick()
    assert column(flight, "recogniser_fed") == [5, 4, 2]


def test_a_standstill_of_ours_is_unknown_and_told(hours: Hours) -> None:
    flight, session = hours.begin()
    hours.tick()
    session.counted[0] = 20
    hours.tick(late=5.0)
    assert column(flight, "cloud_in") == [0, None, None, None, None, None, 20]
    [gap] = flight.gaps()
    assert (gap.hop, gap.from_ms, gap.to_ms) == ("cloud", (START + 2) * 1000, (START + 7) * 1000)


def said(text: str, start_ms: int = 0, *, final: bool = True, **about: Any) -> Transcript:
    return Transcript(text, final, start_ms, start_ms + 500, **about)


def test_a_recorder_that_is_off_knows_only_how_it_is_now() -> None:
    hours = Hours(keeps=False)
    flight, session = hours.begin()
    session.counted[0] = 5
    flight.note("audio state", state="interrupted", code="no_audio", hop=None, text="", transport=None)
    flight.told(phone_sent=9)
    hours.tick()
    timeline = flight.timeline()
    assert (flight.row()["light"], timeline["events"], timeline["gaps"]) == ("bad", [], [])
    assert timeline["seconds"] == [[]] * len(timeline["columns"])
    flight.understood(said("hello", final=True))
    assert flight.captions.all() == []
    with flight.listened_to():
        flight.understood(said("hello", final=True))
        assert len(flight.captions.all()) == 1


def test_missing_words_stand_among_the_captions_and_go_when_they_were_filled(hours: Hours) -> None:
    flight, _ = hours.begin()
    flight.understood(said("one", final=True))
    flight.understood(said("tw", final=False))
    gap = Gap("9-1f", 1_000, 30.0)
    flight.words_missing(gap)
    flight.understood(said("two", final=True))
    rows = flight.captions.all()
    assert [row.get("state") or row["text"] for row in rows] == ["one", "open", "two"]
    assert (rows[1]["gap"], rows[1]["seconds"], rows[1]["text"]) == ("9-1f", 30.0, "")
    flight.understood(said("three", final=True))
    flight.words_missing(replace(gap, state=GapState.KEPT))
    rows = flight.captions.all()
    assert [row.get("state") or row["text"] for row in rows] == ["one", "kept", "two", "three"], "it stays in its place"
    assert flight.captions.since(flight.captions.said - 1)[0]["state"] == "kept", "who watches hears of each change"
    flight.words_missing(replace(gap, state=GapState.FILLED))
    assert [row["text"] for row in flight.captions.all()] == ["one", "two", "three"]


def test_what_came_late_stands_in_its_place(hours: Hours) -> None:
    flight, _ = hours.begin()
    for number, start_ms in enumerate((0, 2_000, 9_000)):
        flight.understood(said(f"text {number}", start_ms, id=f"u{number}"))
    flight.words_missing(Gap("9-1f", 3_000, 3.0))
    flight.understood(said("thr", 12_000, final=False))
    flight.understood(said("anew", 2_000, id="u3", inserts="9-1f", replaces=("u1",)))
    flight.understood(said("and more", 4_000, id="u4", inserts="9-1f"))
    assert [row["text"] for row in flight.captions.all()] == ["text 0", "anew", "", "and more", "text 2", "thr"]
    flight.words_missing(Gap("9-1f", 3_000, 3.0, GapState.FILLED))
    assert [row["text"] for row in flight.captions.all()] == ["text 0", "anew", "and more", "text 2", "thr"]


def test_the_lights_say_what_is_true(hours: Hours) -> None:
    flight, _ = hours.begin()
    told: Callable[..., None] = lambda state, code="", hop=None: flight.note(  # noqa: E731
        "audio state", state=state, code=code, hop=hop, text="", transport="livekit"
    )
    seen = [flight.row()["light"]]
    for state, code in (
        ("live", ""),
        ("live", "bridge_died"),
        ("interrupted", "no_audio"),
        ("unavailable", "no_bridge"),
    ):
        told(state, code)
        seen.append(flight.row()["light"])
    flight.note("phone socket", here=False)
    seen.append(flight.row()["light"])
    assert seen == ["wait", "ok", "part", "bad", "bad", "off"]


def test_since_is_that_of_the_state_and_not_of_its_reason(hours: Hours) -> None:
    flight, _ = hours.begin()
    flight.note("audio state", state="interrupted", code="no_audio", hop=None, text="", transport=None)
    hours.now += 2
    flight.note("audio state", state="interrupted", code="stream_silent", hop="stream", text="", transport=None)
    row = flight.row()
    assert (row["since_ms"], row["code"], row["hop"]) == (START * 1000, "stream_silent", "stream")


def test_ended_sessions_are_forgotten_by_age_and_by_number(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights_module, "MAX_ENDED", 3)
    living, _ = hours.begin(99)
    for number in range(5):
        flight, session = hours.begin(number)
        session.counted[0] = number
        hours.flights.close(flight)
        hours.flights.close(flight)
        hours.tick()
    assert [row["id"] for row in hours.flights.rows()] == ["session4", "session3", "session2", "session99"]
    assert (flight.row()["state"], flight.row()["apps"]) == ("ended", {})
    session.counted[0] = 50
    hours.tick()
    assert column(flight, "cloud_in") == [4], "nothing is counted after the end"
    hours.now += ENDED_FOR / 1000 + 1
    hours.tick()
    assert [row["id"] for row in hours.flights.rows()] == ["session99"]
    assert hours.flights.find("session4") is None
    assert hours.flights.find("session99") is living


def test_the_level_is_measured_while_somebody_watches(hours: Hours) -> None:
    flight, session = hours.begin()
    with flight.listened_to(), flight.listened_to():
        assert len(session.listeners) == 1
        session.listeners[0].put(b"\x00\x40" * 1600)
        assert levels(flight) == [-6]
    assert levels(flight) is None
    assert session.listeners == []
    with flight.listened_to():
        hours.flights.close(flight)
    assert levels(flight) is None
    with flight.listened_to():
        assert levels(flight) is None, "an ended session has no microphone"


def test_a_meter_measures_tenths_of_seconds_of_any_blocks() -> None:
    now = [START * 1000]
    meter = LevelMeter(lambda: now[0])
    for _ in range(25):
        now[0] += 20
        meter.put(b"\x00\x10" * 320)
    assert [level for _, level in meter.levels] == [-18] * 5
    assert [at - START * 1000 for at, _ in meter.levels] == [100, 200, 300, 400, 500]
    meter.put(b"\x00\x10" * 16_000)
    times = [at for at, _ in meter.levels]
    assert len(times) == 15
    assert times[5:] == [now[0] - EVERY_MS * (9 - number) for number in range(10)]
    meter.put(b"\x00\x10" * 1600 * 2 * KEPT)
    assert len(meter.levels) == KEPT


def test_levels_are_decibels_below_full_scale() -> None:
    assert dbfs(bytes(3200)) == SILENCE
    assert dbfs(b"\x00\x80" * 1600) == 0
    assert dbfs(b"\x01\x00" * 1600) == -90
