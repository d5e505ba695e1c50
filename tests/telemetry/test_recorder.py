"""What a flight recorder keeps, and that it keeps no more."""

import gc
import json
import random
import tracemalloc

from glassbridge.core.flight import COLUMNS
from glassbridge.telemetry.recorder import EVENT_BYTES, KEPT, PAGE, Events, Rising, Seconds, SteadyClock, redaction

NOW = 1_000_000
"""A unix second."""
OWN = 0, 1
"""Columns."""


def plain_events(limit: int = EVENT_BYTES) -> Events:
    return Events(redaction(), limit)


# ---- counts


def test_what_nobody_counted_is_unknown() -> None:
    seconds = Seconds(2, NOW)
    seconds.add(NOW, 0, 5)
    seconds.add(NOW + 2, 1, 0)
    assert seconds.rows(0, NOW + 99) == (NOW, [[5, None, None], [None, None, 0]])
    assert seconds.rows(NOW + 2, NOW + 3) == (NOW + 2, [[None], [0]])
    assert seconds.rows(NOW + 7, NOW + 9) == (NOW + 7, [[], []])


def test_seconds_in_which_nothing_was_counted_are_the_same_whenever_they_are_written_down() -> None:
    """Those that were told in between too, and none where nobody looked."""
    chance = random.Random(7)
    for _ in range(200):
        plain, quiet = Seconds(3, NOW), Seconds(3, NOW)
        second = NOW
        for _ in range(chance.randrange(80)):
            second += chance.choice([1, 1, 1, 1, 1, 2, 40, KEPT])
            match chance.randrange(4):
                case 0:
                    for one in (plain, quiet):
                        one.add_all(second, ((0, 5), (1, 0)))
                case 1:
                    for one in (plain, quiet):
                        one.add(second - 3 * (second % 2), 2, 9)
                case _:
                    plain.add_all(second, ((0, 0), (1, 0)))
                    quiet.add_none(second, OWN)
            if chance.random() < 0.1:
                assert plain.rows(0, second + 1) == quiet.rows(0, second + 1)
        assert plain.rows(0, second + 1) == quiet.rows(0, second + 1)


def test_counts_add_up_and_stop_at_the_most_that_fits() -> None:
    seconds = Seconds(1, NOW)
    for _ in range(3):
        seconds.add(NOW, 0, 30_000)
    assert seconds.rows(0, NOW + 1)[1] == [[0xFFFE]]


def test_only_the_last_quarter_of_an_hour_is_kept() -> None:
    seconds = Seconds(1, NOW)
    for second in range(KEPT + 50):
        seconds.add(NOW + second, 0, second)
    start, [column] = seconds.rows(0, NOW + 9_999)
    assert (start, column) == (NOW + 50, list(range(50, KEPT + 50)))
    seconds.add(NOW + 49, 0, 1)  # too old
    assert seconds.rows(0, NOW + 9_999)[1][0][0] == 50


def test_a_long_standstill_forgets_what_is_too_old_and_invents_nothing() -> None:
    for full in (3, KEPT + 3):
        for sleep in (KEPT - 1, KEPT, KEPT + 1, 5 * KEPT + 7):
            seconds = Seconds(2, NOW)
            for second in range(full):
                seconds.add(NOW + second, 0, 7)
            end = NOW + full - 1 + sleep
            seconds.add(end, 1, 9)
            seconds.add(end + 1, 1, 8)
            start, columns = seconds.rows(0, end + 2)
            assert len(columns[1]) == end + 2 - start <= KEPT
            assert columns[1][-2:] == [9, 8]
            known = dict(enumerate(columns[0], start))
            assert known == {at: 7 if at < NOW + full else None for at in range(start, end + 2)}


def test_a_phone_that_says_nothing_fills_no_recorder() -> None:
    """Its totals are told each second, a second late; and what it says afterwards is kept as ever."""
    seconds = Seconds(2, NOW)
    rising = Rising(seconds, 1)
    for second in range(NOW, NOW + 2 * KEPT):
        seconds.add(second, 0, 0)
        rising.told(second * 1000 + 100, 0)
    assert seconds.nbytes <= 3 * PAGE * 2 * 2
    now = NOW + 2 * KEPT
    seconds.add(now - 300, 0, 5)
    assert seconds.rows(now - 302, now - 298) == (now - 302, [[0, 0, 5, 0], [0, 0, 0, 0]])
    other = Seconds(2, NOW)
    other.add(now, 0, 0)
    assert other.rows(now - 300, now - 299) == (now - 300, [[None], [None]]), "what is shared is never written"


def test_seconds_that_are_alike_share_a_page_from_the_first_one_on() -> None:
    seconds, model = Seconds(2, NOW + 7), list[int | None]()
    for second in range(NOW + 7, NOW + 3 * PAGE):
        seconds.add_all(second, ((0, 0), (1, 3)))
        assert seconds.nbytes == 0
        model.append(3)
    seconds.add_all(NOW + 3 * PAGE, ((0, 0), (1, 3)))
    seconds.add_all(NOW + 3 * PAGE + 4, ((0, 0), (1, 3)))  # a gap: nobody counted
    seconds.add_all(NOW + 3 * PAGE + 5, ((0, 0), (1, 9)))
    model += [3, None, None, None, 3, 9]
    assert seconds.rows(0, NOW + 9_999) == (NOW + 7, [[None if one is None else 0 for one in model], model])


def test_recorders_of_silent_phones_share_a_page_also_where_this_process_was_late() -> None:
    phones = [Seconds(2, NOW) for _ in range(2)]
    for second in (0, 1, 4, 5, 6):
        for seconds in phones:
            seconds.add_all(NOW + second, ((0, 0),))
    assert phones[0].nbytes == 0
    phones[0].add(NOW + 5, 0, 7)
    phones[0].add_all(NOW + 7, ((0, 0),))
    silent = [0, 0, None, None, 0, 0, 0]
    assert phones[1].rows(0, NOW + 9) == (NOW, [silent, [None] * 7])
    assert phones[0].rows(0, NOW + 9) == (NOW, [[0, 0, None, None, 0, 7, 0, 0], [None] * 8])


def test_whatever_is_counted_late_or_after_a_pause_is_kept() -> None:
    chance = random.Random(11)
    seconds, now = Seconds(1, NOW), NOW
    model: dict[int, int] = {}
    for _ in range(4_000):
        now += chance.choice((0, 0, 1, 1, 1, 2, 40, 400 if chance.random() < 0.05 else 0))
        at, count = now - chance.choice((0, 0, 0, 1, 3, 70, 500)), chance.choice((0, 0, 0, 4))
        if at >= max(NOW, seconds.stop - KEPT):
            model[at] = model.get(at, 0) + count
        seconds.add(at, 0, count)
        if chance.random() < 0.02:
            start, [column] = seconds.rows(0, now + 9)
            assert start == max(NOW, seconds.stop - KEPT)
            assert column == [model.get(second) for second in range(start, seconds.stop)]


def test_a_total_that_is_told_now_and_then_is_spread_over_the_time_since() -> None:
    chance = random.Random(7)
    seconds = Seconds(1, NOW)
    rising = Rising(seconds, 0)
    at, total = NOW * 1000 + 300, 40
    rising.told(at, total)
    begun = total
    for _ in range(200):
        at += chance.choice((0, 10, 900, 1_000, 1_100, 4_000))
        total += chance.randrange(30)
        rising.told(at, total)
    [column] = seconds.rows(0, NOW + 9_999)[1]
    assert sum(count for count in column if count is not None) == total - begun, "nothing is lost or counted twice"


def test_a_steady_total_gives_steady_seconds_whenever_it_is_told() -> None:
    seconds = Seconds(1, NOW)
    rising = Rising(seconds, 0)
    rising.begin(NOW * 1000)
    for at in (700, 1_650, 2_900, 7_000):
        rising.told(NOW * 1000 + at, at // 100)
    [column] = seconds.rows(0, NOW + 9)[1]
    assert len(column) == 7
    assert all(count in (9, 10, 11) for count in column), column


def test_a_total_that_falls_begins_anew() -> None:
    seconds = Seconds(1, NOW)
    rising = Rising(seconds, 0)
    rising.told(NOW * 1000, 500)
    rising.told(NOW * 1000 + 1_000, 4)
    rising.told(NOW * 1000 + 2_000, 9)
    assert seconds.rows(0, NOW + 9)[1][0][:2] == [None, 5]


def test_totals_that_cannot_be_true_do_no_harm() -> None:
    seconds = Seconds(1, NOW)
    rising = Rising(seconds, 0)
    for at, total in ((0, -5), (1_000, 1 << 62), (2_000, -(1 << 62)), (3_000, 0), (10_000_000, 1 << 62)):
        rising.told(NOW * 1000 + at, total)
    [column] = seconds.rows(0, NOW + 99_999)[1]
    assert all(count is None or 0 <= count < 0xFFFF for count in column)


def test_a_clock_follows_a_sleep_of_the_machine_and_no_small_step() -> None:
    wall, mono = [1_000.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: mono[0])
    assert clock() == 1_000_000
    wall[0], mono[0] = 1_002.6, 7.0
    clock.follow()
    assert clock() == 1_002_000
    wall[0], mono[0] = 1_500.0, 8.0
    clock.follow()
    assert clock() == 1_500_000
    wall[0], mono[0] = 100.0, 9.0
    clock.follow()
    assert clock() == 1_501_000


# ---- events


def test_events_are_found_by_number_and_by_time() -> None:
    events = plain_events()
    for number in range(5):
        events.note(NOW + number, "voice", {"speaking": bool(number % 2)})
    assert events.since(3) == [
        {"seq": 4, "at_ms": NOW + 3, "kind": "voice", "speaking": True},
        {"seq": 5, "at_ms": NOW + 4, "kind": "voice", "speaking": False},
    ]
    assert [event["seq"] for event in events.since(0, NOW + 2)] == [3, 4, 5]
    assert events.since(5) == []


def test_a_thousand_events_a_second_stay_within_the_bound() -> None:
    events = plain_events()
    text = "x" * 10_000
    gc.collect()
    tracemalloc.start()
    for number in range(2_000):
        events.note(NOW + number, "audio link", {"old": "live", "cause": text, "number": number})
        assert events.size <= EVENT_BYTES
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1.2 * EVENT_BYTES, "what Python holds beside is counted too"
    kept = events.since(0)
    assert (kept[-1]["seq"], kept[-1]["number"]) == (2_000, 1_999)
    assert events.dropped + len(kept) == 2_000
    assert events.lost_since(1_000) == 1_000 - len(kept)
    assert len(kept[0]["cause"]) == 300


def test_chatter_pushes_out_no_decision() -> None:
    events = Events(redaction(), chatter=frozenset({"voice"}), little=2_000)
    events.note(NOW, "place lost", {"cause": "network"})
    for number in range(5_000):
        events.note(NOW + number, "voice", {"speaking": bool(number % 2)})
        if number % 1_000 == 0:
            events.note(NOW + number, "recovery", {"action": "join"})
    kept = events.since(0)
    assert [event["kind"] for event in kept if event["kind"] != "voice"] == ["place lost", *["recovery"] * 5]
    assert [event["seq"] for event in kept] == sorted(event["seq"] for event in kept)
    assert kept[-1]["seq"] == events.seq == 5_006
    assert 5 < len(kept) < 40
    assert events.dropped == 5_006 - len(kept)
    assert events.lost_since(5_005) == 0
    assert [event["seq"] for event in events.since(5_004)] == [5_005, 5_006]


def test_events_go_when_they_are_too_old() -> None:
    events = plain_events()
    events.note(NOW, "voice", {})
    events.note(NOW + KEPT * 1_000, "voice", {})
    assert len(events.since(0)) == 2
    events.note(NOW + KEPT * 1_000 + 1, "voice", {})
    assert [event["seq"] for event in events.since(0)] == [2, 3]
    assert events.dropped == 0, "age is no loss"


def test_no_secret_gets_in() -> None:
    secret = 'a "secret" of \\ tests'
    events = Events(redaction([secret]))
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2ln"
    events.note(NOW, "place lost", {"error": f"no {secret}, {token}", "access_token": "abcdefgh", "list": [secret]})
    [event] = events.since(0)
    said = json.dumps(event)
    assert "secret" not in said
    assert "eyJ" not in said
    assert "abcdefgh" not in said
    assert event["error"].startswith("no ")


def test_a_full_recorder_is_small() -> None:
    """What docs/recorder.md says of a session's memory."""
    gc.collect()
    tracemalloc.start()
    seconds, events = Seconds(len(COLUMNS), NOW), plain_events()
    for second in range(2 * KEPT):
        for column in range(len(COLUMNS)):
            seconds.add(NOW + second, column, second % 10)
        events.note(second * 1_000, "recovery", {"action": "join", "result": "joined", "generation": 1_790_000_000_000})
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"a full recorder: {grown / 1000:.1f} kB, of which counts {seconds.nbytes / 1000:.1f} kB")
    assert seconds.nbytes <= 2 * len(COLUMNS) * (KEPT + PAGE)
    assert grown < 1.2 * (seconds.nbytes + EVENT_BYTES)
