"""How a speech process paces itself, second by second."""

import pytest

from glassbridge.core.speech_load import (
    BUSY,
    DRAINS,
    HOLD,
    KNOWN,
    LATE,
    OVERDUE,
    RAMP,
    SILENT,
    USUAL_FITS,
    Partials,
    SpeechLoad,
    Work,
)


class Machine:
    """Speakers who cost `cost` for each second of speech, and `partial` for each partial transcript."""

    def __init__(self, speakers: int, cost: float = 0.05, partial: float = 0.08, share: float = 1.0) -> None:
        self.now = 0.0
        self.load = SpeechLoad(0.0)
        self.cost, self.partial, self.share = cost, partial, share
        self.speakers = speakers
        self.speed = self.idle = 1.0
        for stream in range(speakers):
            self.load.opened(stream)

    def second(self, late: float = 0.0) -> Partials:
        for stream in range(self.speakers):
            self.load.spoken(stream, self.share)
            self.load.transcribed(5.0, 5.0 * self.cost * 0.5)
            self.work(Work.FINAL, self.cost * self.share * 0.6, self.share)
            self.work(Work.LISTENING, self.cost * self.share * 0.4)
            if (interval := self.load.pace.interval) is not None:
                for _ in range(round(self.share / interval)):
                    self.work(Work.PARTIAL, self.partial)
        self.load.waited(late)
        self.now += 1.0
        return self.load.look(self.now, self.idle)

    def work(self, work: Work, cpu: float, speech: float = 0.0) -> None:
        self.load.worked(work, cpu / self.speed, cpu, speech)

    def seconds(self, count: int, late: float = 0.0) -> list[Partials]:
        return [self.second(late) for _ in range(count)]


@pytest.mark.parametrize(
    ("speakers", "pace"),
    [
        (0, Partials.FAST),
        (3, Partials.FAST),
        (5, Partials.SLOWER),
        (8, Partials.SLOW),
        (12, Partials.FINALS),
        (30, Partials.FINALS),
    ],
)
def test_partials_are_as_frequent_as_the_load_allows(speakers: int, pace: Partials) -> None:
    paces = Machine(speakers).seconds(30)
    assert set(paces[10:]) == {pace}, "the pace swings"


@pytest.mark.parametrize(("cost", "fits"), [(0.05, 15), (0.1, 7), (0.3, 2)])
def test_what_fits_is_what_was_measured(cost: float, fits: int) -> None:
    machine = Machine(2, cost)
    machine.seconds(120)
    assert machine.load.room in (max(0, fits - 3), fits - 2)


def test_nobody_fits_where_all_finals_would_not_come_in_time() -> None:
    machine = Machine(16)
    machine.seconds(60)
    assert machine.load.room == 0


def test_those_who_speak_a_third_of_the_time_count_a_third() -> None:
    machine = Machine(18, share=1 / 3)
    machine.seconds(60)
    assert machine.load.speakers == pytest.approx(6.0, abs=0.1)
    assert machine.load.room >= 8


def test_a_new_stream_counts_as_a_speaker_until_it_is_known() -> None:
    load = SpeechLoad(0.0)
    assert load.room == USUAL_FITS
    for stream in range(5):
        load.opened(stream)
    assert load.room == USUAL_FITS - 5
    for now in range(1, 60):
        load.look(float(now))
    assert load.room == USUAL_FITS
    load.closed(0)
    assert load.speakers == pytest.approx(0.0, abs=0.01)


def test_new_speakers_come_in_steps_so_that_what_they_cost_is_known() -> None:
    machine = Machine(0)
    steps = []
    while (fits := machine.load.fits) > 0:
        steps.append(fits)
        for stream in range(machine.speakers, machine.speakers + fits):
            machine.load.opened(stream)
        machine.speakers += fits
        assert machine.load.fits == 0, "they are not known yet"
        machine.seconds(round(KNOWN) + 1)
    assert steps == [RAMP, RAMP, 2 * RAMP]


def test_nobody_comes_while_answers_are_late() -> None:
    machine = Machine(2)
    machine.second(late=LATE + 0.1)
    assert (machine.load.fits, machine.load.room > 0) == (0, True)


def test_late_answers_slow_the_pace_whatever_was_expected() -> None:
    machine = Machine(1)
    assert machine.seconds(3) == [Partials.FAST] * 3
    assert machine.seconds(4, late=LATE + 0.1) == [
        Partials.SLOWER,
        Partials.SLOW,
        Partials.FINALS,
        Partials.FINALS,
    ]
    assert machine.seconds(round(HOLD) - 1) == [Partials.FINALS] * (round(HOLD) - 1), "it is faster again too early"
    assert machine.seconds(12)[-1] is Partials.FAST


def test_nobody_fits_while_finals_are_overdue() -> None:
    machine = Machine(1)
    machine.second(late=OVERDUE + 0.1)
    assert machine.load.fits == 0
    machine.second()
    assert machine.load.fits > 0


def test_when_those_who_paused_all_speak_the_newest_are_sent_away_until_the_rest_fits() -> None:
    machine = Machine(24, share=1 / 3)
    machine.seconds(30)
    assert machine.load.shed() == []
    machine.share = 1.0
    gone: list[int] = []
    late, latest = 0.0, 0.0
    for _ in range(40):
        late = max(0.1, late + (24 - len(gone)) * machine.cost - 1.0)
        latest = max(latest, late)
        machine.second(late)
        for stream in machine.load.shed():
            machine.load.closed(stream)
            gone.append(stream)
    assert latest <= OVERDUE
    assert gone == sorted(gone, reverse=True)
    assert set(range(24)) - set(gone) == set(range(24 - len(gone))), "others than the newest went"
    assert DRAINS - 2 * machine.cost <= (24 - len(gone)) * machine.cost <= BUSY


def test_a_machine_that_has_become_slow_is_known_to_be_within_seconds() -> None:
    machine = Machine(15)
    machine.seconds(10)
    machine.cost, left, late = 0.2, 15, 0.1
    for _ in range(12):
        late = max(0.1, late + left * machine.cost - 1.0)
        machine.second(late)
        for stream in machine.load.shed():
            machine.load.closed(stream)
            left -= 1
        machine.speakers = left
    assert left * machine.cost <= BUSY
    assert late < OVERDUE


def test_those_who_are_silent_stay_and_so_does_the_oldest() -> None:
    machine = Machine(2, share=0.0)
    for quiet in (2, 3):
        machine.load.opened(quiet)
    machine.seconds(60)
    machine.cost, machine.share = 3.0, 1.0
    for _ in range(30):
        machine.second(late=5.0)
        for stream in machine.load.shed():
            machine.load.closed(stream)
    assert set(machine.load._streams) == {0, 2, 3}


def test_a_machine_that_stood_still_sends_nobody_away() -> None:
    machine = Machine(4)
    machine.seconds(10)
    for late in (20.0, 10.0, 4.0, 2.0, 0.5):
        machine.second(late)
        assert machine.load.shed() == []


def test_the_load_is_never_over_one() -> None:
    machine = Machine(40)
    machine.seconds(5)
    assert BUSY < machine.load.busy <= 1.0


def test_whoever_is_silent_from_the_beginning_takes_no_room() -> None:
    load = SpeechLoad(0.0)
    room = load.room
    for stream in range(room):
        load.opened(stream)
    assert load.room == 0, "each may speak"
    load.look(SILENT)
    assert load.room == room
    assert load.fits == room
