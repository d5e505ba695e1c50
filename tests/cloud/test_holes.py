"""Holes of a microphone: told when they are over, with whether only time was missing."""

from glassbridge.cloud.holes import HOLE, LATE, Holes


class Played:
    """Holes of a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[float | None, bool]] = []
        self.live, self.complete = Holes(lambda: self.now, lambda last, late: self.told.append((last, late))).ears

    def hear(self, blocks: int, *, live: bool = True, every: float = 0.1) -> None:
        for _ in range(blocks):
            self.now += every
            if live:
                self.live.put(b"")
            self.complete.put(b"")


def test_the_first_samples_are_told_and_those_after_them_are_not() -> None:
    played = Played()
    played.hear(50)
    assert played.told == [(None, False)]


def test_the_views_are_those_of_the_microphone() -> None:
    played = Played()
    assert (played.live.wants_late, played.complete.wants_late) == (False, True)


def test_silence_is_told_when_it_is_over() -> None:
    played = Played()
    played.hear(5)
    last = played.now
    played.now += HOLE
    played.hear(5)
    assert played.told[1:] == [(last, False)]


def test_audio_that_came_too_old_to_be_live_is_late() -> None:
    played = Played()
    played.hear(5)
    last = played.now
    played.hear(20, live=False)
    played.hear(5)
    assert played.told[1:] == [(last, True)]


def test_a_few_late_blocks_are_no_cause() -> None:
    played = Played()
    played.hear(5)
    played.hear(LATE - 1, live=False)
    played.now += HOLE
    played.hear(1)
    assert [late for _, late in played.told] == [False, False]
