"""The ledger: each sample in exactly one interval, delivered at most once, and the account is what really happened."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbridge.core import uplink
from glassbridge.core.capture_clock import STEP
from glassbridge.core.intervals import Runs
from glassbridge.core.uplink import Delivery, Fate, FateKind, Ledger, LossPoint, UnnumberedLedger
from glassbridge.core.values import SAMPLE_RATE

EPOCH = 7
PHONE_START = 5_000.0
"""What the phone's clock shows when ours shows 0."""


def pcm(position: int, samples: int) -> bytes:
    """Samples that tell their own position."""
    return struct.pack(f"<{samples}H", *((position + i) % 65536 for i in range(samples)))


def captured(position: int, pause: float = 0.0) -> int:
    return round((PHONE_START + position / SAMPLE_RATE + pause) * 1e6)


class Line:
    """A ledger with a straight way to it: frames arrive when their last sample is captured, plus `delay`."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def frame(
        self,
        position: int,
        samples: int,
        *,
        delay: float = 0.0,
        pause: float = 0.0,
        epoch: int = EPOCH,
        replayed: bool = False,
        last: bool = False,
    ) -> list[Delivery]:
        now = (position + samples) / SAMPLE_RATE + pause + delay
        return self.ledger.receive(
            epoch,
            position,
            captured(position, pause),
            pcm(position, samples),
            now=now,
            replayed=replayed,
            last=last,
        )

    def wait(self) -> list[Delivery]:
        """Ticks at each deadline, in time, until nothing waits."""
        got: list[Delivery] = []
        while (deadline := self.ledger.next_deadline()) is not None:
            got += self.ledger.tick(deadline)
        return got

    def fates(self) -> list[tuple[int, int, FateKind]]:
        return [(run.start, run.stop, run.label.kind) for run in self.ledger.account().epochs[-1].runs]


def spans(deliveries: Sequence[Delivery]) -> list[tuple[int, int, bool]]:
    return [(d.position, d.position + len(d.pcm) // 2, d.live) for d in deliveries]


def test_in_order_frames_of_any_length_are_delivered_at_once() -> None:
    line = Line()
    assert spans(line.frame(0, 1600)) == [(0, 1600, True)]
    assert spans(line.frame(1600, 33)) == [(1600, 1633, True)]
    assert line.ledger.acknowledged == (EPOCH, 1633)
    assert line.ledger.next_deadline() is None


def test_overlap_delivers_each_sample_once() -> None:
    line = Line()
    line.frame(0, 1000)
    assert spans(line.frame(400, 1000)) == [(1000, 1400, True)]
    assert line.frame(0, 1400) == []
    assert line.ledger.account().repeated == 600 + 1400


def test_what_comes_too_early_waits_and_keeps_order() -> None:
    line = Line()
    line.frame(0, 1600)
    assert line.frame(3200, 1600) == []
    assert line.ledger.account().epochs[0].waiting == 1600
    assert spans(line.frame(1600, 1600, delay=0.15)) == [(1600, 3200, True), (3200, 4800, True)]


def test_a_hole_is_lost_after_the_wait_and_not_before() -> None:
    line = Line()
    line.frame(0, 1600)
    line.frame(3200, 1600)  # arrives at 0.3
    deadline = line.ledger.next_deadline() or 0.0
    assert deadline == pytest.approx(0.3 + uplink.REORDER_WAIT)
    assert line.ledger.tick(deadline - 1e-6) == []
    assert spans(line.ledger.tick(deadline)) == [(3200, 4800, True)]
    assert line.fates() == [(0, 1600, FateKind.LIVE), (1600, 3200, FateKind.LOST), (3200, 4800, FateKind.LIVE)]


def test_a_hole_filled_later_is_late_and_counted_once() -> None:
    line = Line()
    line.frame(0, 1600)
    line.frame(3200, 1600)
    line.wait()
    assert spans(line.frame(1600, 1600, delay=1.0, replayed=True)) == [(1600, 3200, False)]
    assert line.frame(1600, 1600, delay=1.1, replayed=True) == []
    account = line.ledger.account()
    assert (account.live, account.late, account.lost) == (3200, 1600, 0)


def test_a_presence_frame_makes_a_hole_at_the_end_known() -> None:
    line = Line()
    line.frame(0, 1600)
    line.frame(4800, 0)  # the stream stands at 4800, so 3200 samples have not come
    line.wait()
    assert line.fates() == [(0, 1600, FateKind.LIVE), (1600, 4800, FateKind.LOST)]
    assert line.ledger.acknowledged == (EPOCH, 4800)


def test_a_presence_frame_of_a_silent_phone_loses_nothing() -> None:
    line = Line()
    line.frame(0, 1600, last=True)
    for second in range(1, 5):
        assert line.frame(1600, 0, pause=second, last=True) == []
    account = line.ledger.account().epochs[0]
    assert (account.lost, account.skipped, account.microphone_off) == (0, 0, True)
    assert account.paused == pytest.approx(4.0)
    assert spans(line.frame(1600, 1600, pause=4.2)) == [(1600, 3200, True)]
    assert line.ledger.account().epochs[0].microphone_off is False


def test_positions_without_time_to_capture_them_are_skipped() -> None:
    line = Line()
    line.frame(0, 1600)
    # 0.2 s pass on the capture clock, the position jumps by 10 s.
    line.ledger.receive(EPOCH, 161_600, captured(1600) + 200_000, pcm(161_600, 1600), now=0.4)
    line.wait()
    account = line.ledger.account().epochs[0]
    assert account.lost == pytest.approx((0.2 + STEP) * SAMPLE_RATE, abs=2)
    assert account.lost + account.skipped == 160_000
    assert account.live == 3200


def test_a_frame_that_a_busy_phone_stamps_late_makes_no_skipped_samples_of_a_hole_after_it() -> None:
    """What is skipped is not asked for, and not waited for."""
    line = Line()
    line.frame(0, 1600, pause=STEP - 0.1)
    line.frame(11_200, 1600)
    line.wait()
    assert line.fates()[1] == (1600, 11_200, FateKind.LOST)
    assert line.ledger.missing == ((1600, 11_200),)
    assert line.ledger.lacks(EPOCH, 8_000, 11_200) == 3_200


def test_what_is_too_old_is_late_but_delivered() -> None:
    line = Line()
    line.frame(0, 1600, delay=0.010)
    assert spans(line.frame(1600, 1600, delay=0.010 + uplink.AGE_LIMIT - 0.001)) == [(1600, 3200, True)]
    drifted = 0.01  # more than two clocks may have run apart since
    assert spans(line.frame(3200, 1600, delay=0.010 + uplink.AGE_LIMIT + drifted)) == [(3200, 4800, False)]


def test_a_burst_after_a_freeze_is_late_up_to_the_limit_and_then_live() -> None:
    line = Line()
    line.frame(0, 1600)
    thaw = 5.0
    got = [
        line.ledger.receive(EPOCH, position, captured(position), pcm(position, 1600), now=thaw)
        for position in range(1600, round(thaw * SAMPLE_RATE), 1600)
    ]
    live = [d for deliveries in got for d in deliveries if d.live]
    assert min(d.position for d in live) / SAMPLE_RATE + 0.1 == pytest.approx(thaw - uplink.AGE_LIMIT)
    assert line.ledger.account().lost == 0


def test_clocks_that_run_apart_do_not_make_live_audio_old() -> None:
    ledger = Ledger()
    drift = 1.0001  # the phone's clock is 100 ppm slow: after 3 h it is 1.08 s behind
    for second in range(0, 3 * 3600, 10):
        got = ledger.receive(EPOCH, second * 16, second * 1_000_000, pcm(0, 160), now=second * drift)
        assert [d.live for d in got] == [True], f"at {second} s"


def test_the_first_position_moves_back_when_older_audio_is_replayed() -> None:
    line = Line()
    line.frame(16_000, 1600)
    assert spans(line.frame(0, 8000, delay=2.0, replayed=True)) == [(0, 8000, False)]
    assert line.fates() == [(0, 8000, FateKind.LATE), (8000, 16_000, FateKind.LOST), (16_000, 17_600, FateKind.LIVE)]
    line.frame(8000, 8000, delay=2.0, replayed=True)
    assert line.fates() == [(0, 16_000, FateKind.LATE), (16_000, 17_600, FateKind.LIVE)]


def test_a_hole_is_booked_on_the_hop_that_is_known_to_be_broken() -> None:
    line = Line()
    line.frame(0, 1600)
    line.frame(3200, 1600)
    line.ledger.lost_as = broken = Fate(FateKind.LOST, "link_down", LossPoint.ROOM)
    line.wait()
    assert [run.label for run in line.ledger.account().epochs[0].runs][1] == broken


def test_a_new_epoch_takes_over_and_the_old_one_is_never_live_again() -> None:
    line = Line()
    line.frame(0, 1600, epoch=1)
    line.frame(0, 1600, epoch=2)
    assert line.ledger.acknowledged == (2, 1600)
    assert spans(line.frame(1600, 1600, epoch=1)) == [(1600, 3200, False)]


def test_epochs_are_bounded_and_their_totals_stay() -> None:
    line = Line()
    for epoch in range(100):
        line.frame(0, 1600, epoch=epoch)
        line.frame(3200, 1600, epoch=epoch)  # waits for its hole until the epoch goes
    line.ledger.finish(10.0)
    account = line.ledger.account()
    assert len(account.epochs) == uplink.EPOCHS
    assert (account.delivered, account.lost) == (100 * 3200, 100 * 1600)


def test_what_waits_is_bounded() -> None:
    line = Line()
    line.frame(0, 1)
    for index in range(2 * uplink.WAITING_FRAMES):
        line.ledger.receive(EPOCH, 10 + 2 * index, captured(10), pcm(0, 1), now=0.1)
    epoch = line.ledger.account().epochs[0]
    assert epoch.waiting <= uplink.WAITING_FRAMES
    for index in range(20):
        line.ledger.receive(EPOCH, 100_000 + 40_000 * index, captured(100_000), pcm(0, 32_000), now=0.1)
        assert line.ledger.account().epochs[0].waiting <= uplink.WAITING_SAMPLES


def test_what_never_came_is_known_by_its_place_until_it_comes() -> None:
    line = Line()
    for position in (0, 4800, 9600):
        line.frame(position, 1600)
        line.wait()
    assert list(line.ledger.missing) == [(1600, 4800), (6400, 9600)]
    assert line.ledger.lost == 2 * 3200
    assert line.ledger.lacks(EPOCH, 0, 1700)
    assert not line.ledger.lacks(EPOCH, 0, 1600)
    line.frame(1600, 3200, replayed=True)
    assert list(line.ledger.missing) == [(6400, 9600)]
    line.frame(6400, 3200, replayed=True)
    assert (list(line.ledger.missing), line.ledger.lost) == ([], 0)


def test_what_is_missing_is_asked_for_as_long_as_the_phone_may_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "REPLAYABLE", 16_000)
    monkeypatch.setattr(uplink, "MISSING_RUNS", 2)
    line = Line()
    for position in (0, 3200, 6400, 9600, 25_600):
        line.frame(position, 1600)
        line.wait()
    assert list(line.ledger.missing) == [(11_200, 25_600)]
    line.frame(11_200, 14_400, replayed=True)
    for position in (28_800, 32_000, 35_200):
        line.frame(position, 1600)
        line.wait()
    assert list(line.ledger.missing) == [(30_400, 32_000), (33_600, 35_200)], "the newest two"


def test_what_another_backend_has_is_neither_lost_nor_missing() -> None:
    line = Line()
    line.frame(0, 1600)
    line.frame(48_000, 0, replayed=True)
    line.frame(49_600, 1600)
    line.wait()
    account = line.ledger.account()
    assert (account.skipped, account.lost) == (48_000 - 1600, 1600)
    assert list(line.ledger.missing) == [(48_000, 49_600)]
    line.frame(1600, 0, replayed=True)
    assert line.ledger.account() == replace(account, frames=4), "what it knows better stays"


def test_history_is_bounded_and_the_totals_stay() -> None:
    line = Line()
    for position in range(0, 2 * uplink.HISTORY, 3200):
        line.frame(position, 1600)
        line.ledger.tick((position + 1600) / SAMPLE_RATE + 0.25)
    epoch = line.ledger.account().epochs[0]
    assert epoch.live + epoch.lost == epoch.end - epoch.first
    assert epoch.runs[-1].stop - epoch.runs[0].start <= uplink.HISTORY
    assert line.frame(1600, 1600, delay=500.0, replayed=True) == [], "older than the ledger remembers: dropped"


def test_unnumbered_audio_is_counted_and_the_rest_is_unknown() -> None:
    ledger = UnnumberedLedger()
    ledger.receive(1600)
    account = ledger.account()
    assert (account.delivered, account.lost, account.skipped, account.missing_frames) == (1600, None, None, None)
    for counter in (254, 255, 0, 3, 2, 4):  # 1 and 2 are missing, 2 comes out of order
        ledger.receive(800, counter)
    account = ledger.account()
    assert (account.delivered, account.lost, account.missing_frames) == (1600 + 6 * 800, None, 1)


# ---- what must hold whatever the network does


@dataclass(frozen=True)
class Sent:
    """One frame on the way: when it arrives, and what is in it."""

    arrives: float
    position: int
    samples: int
    replayed: bool


@st.composite
def journeys(draw: st.DrawFn, *, loss: bool = True) -> tuple[list[Sent], int]:
    """Frames of any length, some lost, doubled, late, or sent again with other borders; and where the stream ends."""
    lengths = draw(st.lists(st.integers(1, 500), min_size=1, max_size=30))
    delay = st.one_of(st.floats(0, 0.19), st.floats(0, 2.0))
    sent: list[Sent] = []
    position = 0
    for length in lengths:
        for _ in range(draw(st.integers(0 if loss else 1, 2))):
            sent.append(Sent((position + length) / SAMPLE_RATE + draw(delay), position, length, False))
        position += length
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, position - 1))
        samples = draw(st.integers(1, min(1000, position - start)))
        sent.append(Sent(draw(st.floats(0, 4.0)) + (start + samples) / SAMPLE_RATE, start, samples, True))
    return sorted(sent, key=lambda frame: frame.arrives), position


def run(sent: list[Sent], end: int) -> tuple[Ledger, list[Delivery]]:
    """Plays a journey with a presence frame at its start and end, ticking exactly at each deadline."""
    ledger = Ledger()
    got = ledger.receive(EPOCH, 0, captured(0), b"", now=0.0)

    def advance(now: float) -> None:
        while (deadline := ledger.next_deadline()) is not None and deadline <= now:
            got.extend(ledger.tick(deadline))

    for frame in sent:
        advance(frame.arrives)
        got += ledger.receive(
            EPOCH,
            frame.position,
            captured(frame.position),
            pcm(frame.position, frame.samples),
            now=frame.arrives,
            replayed=frame.replayed,
        )
        check_partition(ledger)
    advance(100.0)
    got += ledger.receive(EPOCH, end, captured(end), b"", now=100.0)
    advance(101.0)
    return ledger, got


def check_partition(ledger: Ledger) -> None:
    for epoch in ledger.account().epochs:
        at = epoch.first
        for run in epoch.runs:
            assert run.start == at < run.stop
            at = run.stop
        assert at == epoch.end
        assert epoch.live + epoch.late + epoch.lost + epoch.skipped == epoch.end - epoch.first


@given(journeys())
@settings(max_examples=300, deadline=None)
def test_the_account_is_what_happened(journey: tuple[list[Sent], int]) -> None:
    sent, end = journey
    ledger, got = run(sent, end)
    came = {at for frame in sent for at in range(frame.position, frame.position + frame.samples)}
    delivered = [at for d in got for at in range(d.position, d.position + len(d.pcm) // 2)]
    assert len(delivered) == len(set(delivered)), "a sample was delivered twice"
    assert set(delivered) == came, "what came is delivered, and nothing else"
    assert all(d.pcm == pcm(d.position, len(d.pcm) // 2) for d in got), "samples moved"
    account = ledger.account()
    assert account.lost == end - len(came)
    assert account.skipped == 0
    assert account.delivered == len(came)
    assert account.repeated == sum(frame.samples for frame in sent) - len(came)
    live = [d.position for d in got if d.live]
    assert live == sorted(live), "live audio is in order"
    assert all(d.age <= uplink.AGE_LIMIT for d in got if d.live)
    assert ledger.acknowledged == (EPOCH, end)


@given(journeys(loss=False))
@settings(max_examples=100, deadline=None)
def test_nothing_lost_and_little_delay_gives_the_same_bytes(journey: tuple[list[Sent], int]) -> None:
    sent, end = journey
    quick = sorted(
        (
            Sent(f.position / SAMPLE_RATE + min(f.arrives % 1, 0.19), f.position, f.samples, False)
            for f in sent
            if not f.replayed
        ),
        key=lambda frame: frame.arrives,
    )
    ledger, got = run(quick, end)
    assert b"".join(d.pcm for d in got) == pcm(0, end)
    assert ledger.account().lost == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 2**64 - 1) | st.integers(0, 9000),
            st.integers(0, 2**64 - 1) | st.integers(0, 10**6),
            st.integers(0, 300),
            st.floats(0, 0.5),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_nonsense_keeps_the_partition(
    frames: list[tuple[int, int, int, int, float, bool, bool]],
) -> None:
    ledger, now = Ledger(), 0.0
    delivered: set[tuple[int, int]] = set()
    for epoch, position, capture, samples, step, replayed, last in frames:
        now += step
        out = ledger.tick(now)
        out += ledger.receive(epoch, position, capture, bytes(2 * samples), now=now, replayed=replayed, last=last)
        for delivery in out:
            mine = {(delivery.epoch, delivery.position + i) for i in range(len(delivery.pcm) // 2)}
            assert not mine & delivered
            delivered |= mine
        check_partition_totals(ledger)


def check_partition_totals(ledger: Ledger) -> None:
    for epoch in ledger.account().epochs:
        assert epoch.live + epoch.late + epoch.lost + epoch.skipped == epoch.end - epoch.first


@given(st.integers(0, 50), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 2)), max_size=30))
def test_runs_agree_with_an_array(start: int, steps: list[tuple[int, int, int]]) -> None:
    runs: Runs[int] = Runs(start)
    array: dict[int, int] = {}
    for a, b, label in steps:
        if b % 3 == 0:
            array.update(dict.fromkeys(range(runs.stop, max(runs.stop, a)), label))
            runs.append(a, label)
        elif b % 3 == 1:
            array.update(dict.fromkeys(range(min(a, runs.start), runs.start), label))
            runs.prepend(a, label)
        else:
            for run in runs.within(a, b):
                runs.relabel(run.start, run.stop, label)
                array.update(dict.fromkeys(range(run.start, run.stop), label))
        listed = list(runs)
        assert {at: run.label for run in listed for at in range(run.start, run.stop)} == array
        assert all(one.label != two.label and one.stop == two.start for one, two in pairwise(listed))
        assert sum(runs.totals.values()) == len(array)
