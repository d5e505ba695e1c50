"""The complete view: in order while what is missing can still come."""

import random

import pytest

from glassbridge.core import in_order
from glassbridge.core.in_order import END_PATIENCE, HELD, LATE, MOST_HELD, PATIENCE, Fill, Hole, InOrder
from glassbridge.core.uplink import Delivery, Ledger
from glassbridge.core.values import SAMPLE_RATE

MS = SAMPLE_RATE // 1000


def block(start_ms: int, ms: int = 100, epoch: int = 1, *, live: bool = True, age: float = 0.0) -> Delivery:
    """Samples that say where they belong."""
    pcm = b"".join((start_ms + at).to_bytes(4, "little") * (MS // 2) for at in range(ms))
    return Delivery(epoch, start_ms * MS, pcm, live, age)


class Line:
    """A view whose holes are all lost, unless `skipped` names them."""

    def __init__(self) -> None:
        self.skipped: set[int] = set()
        self.view = InOrder(lambda _epoch, start, stop: 0 if start // MS in self.skipped else stop - start)
        self.out: list[int] = []
        """Starts of what was handed on, in milliseconds."""
        self.holes: list[tuple[int, int, int | None, int]] = []
        """Given up: epoch, start, stop, how much of it was captured."""
        self.fills = dict[int, int]()
        """Of what filled a hole that was given up, where that begins."""

    def take(self, start_ms: int, now: float, epoch: int = 1) -> None:
        self.note(self.view.take(block(start_ms, epoch=epoch), now))

    def told(self, start_ms: int, now: float, epoch: int = 1) -> None:
        self.note(self.view.begin(epoch, start_ms * MS, now, told=True))

    def tick(self, now: float) -> None:
        self.note(self.view.tick(now))

    def note(self, found: list[Delivery | Hole | Fill]) -> None:
        for one in found:
            if isinstance(one, Hole):
                self.holes.append((one.epoch, one.start // MS, one.stop and one.stop // MS, one.samples // MS))
            else:
                delivery = one.delivery if isinstance(one, Fill) else one
                self.out.append(delivery.position // MS)
                if isinstance(one, Fill) and one.hole is not None:
                    self.fills[delivery.position // MS] = one.hole.start // MS


def test_what_is_in_order_does_not_wait() -> None:
    line = Line()
    for start in (0, 100, 200):
        line.take(start, 0.0)
        assert not line.view.holding
    assert line.out == [0, 100, 200]
    assert line.view.next_deadline() is None


def test_what_comes_after_a_hole_waits_until_it_is_filled() -> None:
    line = Line()
    for start in (0, 300, 400, 100):
        line.take(start, 0.1)
    assert line.out == [0, 100]
    assert line.view.holding
    line.take(200, 1.0)
    assert line.out == [0, 100, 200, 300, 400]


@pytest.mark.parametrize(("age", "patience"), [(0.0, PATIENCE), (2.0, 2.0), (60.0, LATE)])
def test_a_hole_is_waited_for_longer_where_all_audio_is_late(age: float, patience: float) -> None:
    view = InOrder(lambda _epoch, start, stop: stop - start)
    view.take(block(0), 0.0)
    view.take(block(300, age=age), 1.0)
    assert view.next_deadline() == 1.0 + patience
    view.take(block(100, age=70.0), 2.0)
    assert view.next_deadline() == 2.0 + patience, "what was sent again says nothing of the way"


def test_a_hole_that_makes_no_progress_is_given_up() -> None:
    line = Line()
    for start, now in ((0, 0.0), (400, 1.0), (100, 2.0)):
        line.take(start, now)
    assert line.view.next_deadline() == 2.0 + PATIENCE, "progress counts"
    line.tick(2.0 + PATIENCE - 0.01)
    assert line.out == [0, 100]
    line.tick(2.0 + PATIENCE)
    assert line.out == [0, 100, 400]
    line.take(200, 4.0)
    assert line.out == [0, 100, 400, 200], "better late than never"
    assert (line.holes, line.fills) == ([(1, 200, 400, 200)], {200: 200}), "it is told where it belongs"


def test_a_phone_that_sends_nothing_again_is_waited_for_once() -> None:
    line = Line()
    for start, now in ((0, 0.0), (200, 1.0)):
        line.take(start, now)
    line.tick(1.0 + PATIENCE)
    line.take(400, 3.0)
    assert line.out == [0, 200, 400]
    line.view.replayed()
    line.take(600, 4.0)
    assert line.view.holding


def test_words_that_end_again_and_again_do_not_wait_longer_and_longer() -> None:
    """Short sentences, each of them ended: nothing was understood until half a minute of them waited."""
    line = Line()
    line.take(0, 0.0)
    for number, now in enumerate((1.0, 3.0, 5.0, 7.0)):
        line.take(200 + number * 100, now)
        line.note(line.view.end(1, (300 + number * 100) * MS, now))
    assert line.view.next_deadline() == 1.0 + END_PATIENCE
    line.tick(1.0 + END_PATIENCE)
    assert not line.view.holding


def test_what_was_never_captured_is_not_waited_for() -> None:
    line = Line()
    line.skipped.add(100)
    for start in (0, 5000):
        line.take(start, 0.0)
    assert line.out == [0, 5000]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HELD == 30 * SAMPLE_RATE
    monkeypatch.setattr(in_order, "HELD", 250 * MS)
    line = Line()
    for start in (0, 200, 300, 400):
        line.take(start, 0.0)
    assert line.out == [0, 200, 300, 400]


def test_the_pieces_that_wait_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute in pieces of one sample: to hand them on took the whole cloud a minute."""
    assert MOST_HELD == 4_000
    monkeypatch.setattr(in_order, "MOST_HELD", 2)
    line = Line()
    for start in (0, 200, 300):
        line.take(start, 0.0)
    assert line.out == [0]
    line.take(400, 0.0)
    assert line.out == [0, 200, 300, 400]


def test_a_new_epoch_ends_the_wait_and_an_old_one_is_not_waited_for() -> None:
    line = Line()
    for start, epoch in ((0, 1), (200, 1)):
        line.take(start, 0.0, epoch)
    line.told(7000, 0.0, epoch=2)
    for start, epoch in ((7000, 2), (100, 1), (7100, 2)):
        line.take(start, 0.0, epoch)
    assert line.out == [0, 200, 7000, 100, 7100]
    assert line.holes == [(1, 100, 200, 100), (1, 300, None, 0), (2, 0, 7000, 0)]
    assert line.fills == {100: 100}
    line.take(6900, 1.0, 2)
    line.take(300, 1.0, 1)
    assert line.fills == {100: 100, 6900: 0, 300: 300}, "what lies at the edges of an epoch has its place there"


def test_the_first_frame_to_arrive_need_not_be_the_first() -> None:
    line = Line()
    line.take(200, 0.0)
    line.take(300, 0.1)
    assert line.out == []
    line.take(100, 0.2)
    line.take(0, 0.3)
    assert (line.out, line.holes) == ([0, 100, 200, 300], [])
    line.take(500, 0.4)
    assert line.view.holding, "a hole is waited for as ever"


def test_the_beginning_is_waited_for_as_long_as_any_hole() -> None:
    line = Line()
    line.take(200, 1.0)
    assert line.view.next_deadline() == 1.0 + PATIENCE
    line.take(100, 1.5)
    assert line.view.next_deadline() == 1.5 + PATIENCE, "progress counts"
    line.tick(1.5 + PATIENCE)
    assert (line.out, line.holes) == ([100, 200], [(1, 0, 100, 0)])
    line.take(0, 4.0)
    assert (line.out[-1], line.fills) == (0, {0: 0}), "better late than never"
    line.take(400, 5.0)
    assert line.view.holding, "the phone was not asked for the beginning: that it did not come says nothing"


@pytest.mark.parametrize("told_at", [0.0, 0.4])
def test_a_phone_that_says_where_its_audio_begins_is_not_waited_for(told_at: float) -> None:
    """It comes from another cloud, that has what was before."""
    line = Line()
    if told_at:
        line.take(7_000, 0.0)
        assert line.out == []
    line.told(7_000, told_at)
    line.take(7_000 if not told_at else 7_100, 0.5)
    assert (line.out[0], line.holes, line.view.holding) == (7_000, [(1, 0, 7_000, 0)], False)


def test_what_a_phone_says_that_it_still_has_is_waited_for() -> None:
    line = Line()
    line.take(7_000, 0.0)
    line.told(6_800, 0.1)
    assert (line.out, line.holes) == ([], [(1, 0, 6_800, 0)])
    line.take(6_800, 0.2)
    line.take(6_900, 0.3)
    assert line.out == [6_800, 6_900, 7_000]


def test_a_phone_that_cannot_send_again_is_not_waited_for() -> None:
    line = Line()
    line.view.fills = False
    line.take(200, 0.0)
    assert line.out == [200]


@pytest.mark.parametrize("seed", range(20))
def test_frames_that_two_ways_carry_come_out_in_order_from_the_first_on(seed: int) -> None:
    """Each way is up to a second late, and loses what the other carries."""
    chance = random.Random(seed)
    arrivals = sorted((index / 10 + chance.choice([0.05, chance.uniform(0.1, 1.0)]), index) for index in range(50))
    line = Line()
    for now, index in arrivals:
        if (due := line.view.next_deadline()) is not None and due <= now:
            line.tick(due)
        line.take(index * 100, now)
    assert (line.out, line.holes) == ([index * 100 for index in range(50)], [])


def test_everything_comes_out_in_the_end() -> None:
    line = Line()
    for start in (0, 200, 300):
        line.take(start, 0.0)
    assert [found.position // MS for found in line.view.flush() if isinstance(found, Delivery)] == [200, 300]
    assert not line.view.holding


@pytest.mark.parametrize("seed", range(10))
def test_with_a_ledger_before_it_everything_that_is_sent_again_in_time_comes_in_order(seed: int) -> None:
    """Frames are lost at random, live audio goes on, each hole is sent again within a second."""
    chance = random.Random(seed)
    ledger = Ledger()
    view = InOrder(ledger.lacks)
    out, again = b"", dict[float, int]()
    for index in range(200):
        now = index / 10
        for due in [at for at in sorted(again) if at <= now]:
            start = again.pop(due)
            for found in ledger.receive(1, start * MS, start * 1000, block(start).pcm, now=now, replayed=True):
                out += b"".join(whole.pcm for whole in view.take(found, now))
        if 0 < index < 150 and chance.random() < 0.3:
            again[now + chance.uniform(0.25, 1.0)] = index * 100
            continue
        for found in ledger.receive(1, index * 1600, index * 100_000, block(index * 100).pcm, now=now):
            out += b"".join(whole.pcm for whole in view.take(found, now))
        for found in ledger.tick(now):
            out += b"".join(whole.pcm for whole in view.take(found, now))
        out += b"".join(whole.pcm for whole in view.tick(now))
    assert out == b"".join(block(index * 100).pcm for index in range(200)), f"seed {seed}"
    assert ledger.missing == ()
