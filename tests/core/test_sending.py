"""The sender's machine against links of its own making, in virtual time."""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import pytest

from glassbridge.core.link_events import AudioRoute
from glassbridge.core.route_reports import Arrived
from glassbridge.core.sending import CALM, CHANGE_EVERY, REMEMBER, Sending
from glassbridge.core.sending_levels import LEVELS, STATIC, Coding

RATE = 16_000


@dataclass
class Link:
    """One route: takes frames, loses each `every`-th one, carries `rate` bit/s with a delay."""

    every: int = 0
    rate: float = 0.0
    delay: float = 0.03
    longer: float = 0.0
    """Seconds that the way takes beyond that, from now on."""
    free_at: float = 0.0
    count: int = 0
    frames: int = 0
    stop: int = 0
    late: float = 0.0
    _on_the_way: deque[tuple[float, int, float]] = field(default_factory=deque)

    def put(self, stop: int, size: int, now: float) -> None:
        self.count += 1
        if self.every and self.count % self.every == 0:
            return
        at = now + self.delay + self.longer
        if self.rate:
            self.free_at = max(self.free_at, now) + 8 * size / self.rate
            at = self.free_at + self.delay + self.longer
        self._on_the_way.append((at, stop, at - now - self.delay))

    def report(self, now: float) -> Arrived:
        least = 60.0
        while self._on_the_way and self._on_the_way[0][0] <= now:
            _, stop, late = self._on_the_way.popleft()
            self.frames, self.stop, least = self.frames + 1, max(self.stop, stop), min(least, late)
        return Arrived(self.frames, self.stop, least)


class Speaker:
    """Speaks without a pause; `run` returns the names of the levels that were used, in order."""

    def __init__(self, room: Link, socket: Link) -> None:
        self.links = {AudioRoute.ROOM: room, AudioRoute.SOCKET: socket}
        self.sending = Sending()
        self.sending.begin(reports=True, now=0.0)
        self.now = 0.0
        self.carries: float | None = None
        """What a probe tells of the link."""
        self.probes = 0
        self.changes: list[tuple[float, str]] = [(0.0, self.sending.level.name)]

    def run(self, seconds: float) -> list[str]:
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + 0.02, 6)
            level = self.sending.level
            size = 320 * 2 if level.coding is Coding.PCM else level.bit_rate // 400
            both = (AudioRoute.ROOM, AudioRoute.SOCKET)
            for route in both if level.both else both[1:] if level.reliable else both[:1]:
                stop = round(self.now * RATE)
                self.links[route].put(stop, size + 100, self.now)
                self.sending.sent(route, stop, size, self.now)
            if round(self.now * 100) % 10 == 0:
                said = {route: link.report(self.now) for route, link in self.links.items()}
                self.sending.reported({route: arrived for route, arrived in said.items() if arrived.frames}, self.now)
            self.sending.judge(self.now)
            if self.sending.wants_probe:
                self.probes += 1
                self.sending.probed(self.carries, self.now)
            if self.sending.level.name != self.changes[-1][1]:
                self.changes.append((self.now, self.sending.level.name))
        return [name for _, name in self.changes]


def test_a_cloud_that_reports_nothing_gets_audio_as_it_was_captured() -> None:
    sending = Sending()
    sending.begin(reports=False, now=0.0)
    sending.sent(AudioRoute.ROOM, 1600, 3200, 0.1)
    sending.reported({AudioRoute.ROOM: Arrived(0, 0, 60.0)}, 9.0)
    sending.judge(9.0, backlog=9.0)
    assert sending.level is STATIC


def test_a_good_link_keeps_pcm_and_gets_long_frames_after_some_calm() -> None:
    speaker = Speaker(Link(), Link())
    assert speaker.run(CALM - 0.5) == ["guarded"]
    assert speaker.run(10.0) == ["guarded", "clear"]


@pytest.mark.parametrize("every", [5, 10, 20])
def test_loss_is_answered_by_copies_on_both_routes_within_two_seconds(every: int) -> None:
    speaker = Speaker(Link(every=every), Link())
    speaker.run(2.0)
    assert speaker.sending.level.name == "lossy"
    assert speaker.sending.level.both


def test_a_little_loss_is_repaired_and_needs_no_coding() -> None:
    assert Speaker(Link(every=100), Link()).run(30.0) == ["guarded"]


@pytest.mark.parametrize(
    ("rate", "names"),
    [
        (400_000, ["guarded"]),
        (200_000, ["guarded", "narrow"]),
        (64_000, ["guarded", "thin"]),
        (30_000, ["guarded", "thin"]),
    ],
)
def test_a_full_link_gets_the_level_that_fits_in_one_change(rate: float, names: list[str]) -> None:
    wire = Link(rate=rate)
    assert Speaker(wire, wire).run(2.5) == names


def test_no_two_changes_in_a_short_time() -> None:
    room, socket = Link(), Link()
    speaker = Speaker(room, socket)
    for round_ in range(12):
        room.every = 3 if round_ % 2 else 0
        room.rate = socket.rate = 50_000.0 if round_ % 3 == 2 else 0.0
        speaker.run(2.3)
    moments = [at for at, _ in speaker.changes[1:]]
    assert len(moments) >= 2
    assert all(later - earlier >= CHANGE_EVERY for earlier, later in pairwise(moments))


def test_a_link_that_was_full_is_not_filled_again_at_once() -> None:
    wire = Link(rate=64_000)
    speaker = Speaker(wire, wire)
    speaker.run(50.0)
    assert [name for _, name in speaker.changes] == ["guarded", "thin"]


def test_a_link_that_is_well_again_gets_better_levels_one_by_one() -> None:
    room = Link(every=5)
    speaker = Speaker(room, Link())
    speaker.run(5.0)
    room.every = 0
    speaker.run(40.0)
    assert [name for _, name in speaker.changes] == ["guarded", "lossy", "guarded", "clear"]


def test_no_better_level_is_tried_on_a_link_that_a_probe_finds_too_narrow() -> None:
    room = Link(every=5)
    speaker = Speaker(room, Link())
    speaker.run(5.0)
    room.every, speaker.carries = 0, 150_000.0
    speaker.run(40.0)
    assert [name for _, name in speaker.changes] == ["guarded", "lossy"]
    assert speaker.probes == 1, "it is remembered"
    speaker.carries = None
    speaker.run(REMEMBER)
    assert [name for _, name in speaker.changes] == ["guarded", "lossy", "guarded", "clear"]


@pytest.mark.parametrize(
    ("carries", "backlog", "repeated", "name"),
    [
        (64_000.0, 0.0, 0, "thin"),
        (150_000.0, 0.2, 0, "narrow"),
        (200_000.0, 0.05, 0, "guarded"),  # it may be all that there was to send
        (64_000.0, 0.2, 5, "lossy"),  # what was lost has to be repeated: that is slow on any link
        (inf, 0.2, 0, "guarded"),
    ],
)
def test_what_the_socket_carries_tells_at_once_that_it_is_too_little_for_pcm(
    carries: float, backlog: float, repeated: int, name: str
) -> None:
    found = Sending()
    found.begin(reports=True, now=0.0, trip=0.05)
    found.probed(None, 0.1)
    found.judge(9.8, 0.0, 0.1)
    found.repeated(repeated, 9.9)
    found.judge(10.0, backlog, 0.1, carries)
    assert found.level.name == name


@pytest.mark.parametrize(
    ("held", "carries", "name"), [(0.2, 64_000.0, "thin"), (0.2, inf, "guarded"), (0.0, 200_000.0, "guarded")]
)
def test_pcm_that_the_room_does_not_take_goes_as_what_it_carries_allows(held: float, carries: float, name: str) -> None:
    """Not before that is known: what the cloud reported until then is of another rate."""
    found = Sending()
    found.begin(reports=True, now=0.0, trip=0.05)
    found.probed(None, 0.1)
    for now in (9.9, 10.0):
        found.judge(now, carries=carries, held=held)
    assert found.level.name == name


def test_while_the_room_takes_pcm_late_no_better_level_is_tried() -> None:
    found = Sending()
    found.begin(reports=True, now=0.0, trip=0.05)
    found.probed(None, 0.1)
    found.judge(CALM - 1.0, held=0.2)
    found.judge(CALM + 1.0)
    assert found.level.name == "guarded"


def test_a_probe_that_was_disturbed_leads_nowhere() -> None:
    """What was repeated or late while it passed ends the calm that a better level needs."""
    found = Sending()
    found.begin(reports=True, now=0.0, trip=0.1)
    found.probed(None, 0.1, repeated=True)
    assert found.level.name == "lossy"
    found.judge(CALM + 0.2)
    assert found.wants_probe
    found.repeated(1, CALM + 0.3)
    found.probed(None, CALM + 0.4)
    assert (found.level.name, found.wants_probe) == ("lossy", False)


def test_late_audio_on_a_socket_alone_is_loss_unless_its_round_trip_says_otherwise() -> None:
    for queued, name in ((0.0, "lossy"), (1.0, "thin")):
        sending = Sending()
        sending.begin(reports=True, now=0.0)
        frames = 0
        for step in range(1, 60):
            now = step * 0.025
            sending.sent(AudioRoute.SOCKET, step * 400, 800, now)
            if step % 4 == 0:
                frames += 4
                sending.reported({AudioRoute.SOCKET: Arrived(frames, step * 400, 0.4)}, now)
            sending.judge(now, queued=queued)
        if name == "lossy":
            assert sending.level.name == "lossy"
        else:
            assert sending.level in LEVELS[2:]


def test_a_way_that_becomes_long_is_not_taken_for_a_narrow_one() -> None:
    """By the socket alone, as on the thinnest level, little would be in flight there."""
    room, socket = Link(), Link()
    speaker = Speaker(room, socket)
    speaker.run(5.0)
    room.longer = socket.longer = 2.0
    speaker.run(15.0)
    assert "thin" not in [name for _, name in speaker.changes]
    room.longer = socket.longer = 0.0
    speaker.run(120.0)
    assert speaker.changes[-1][1] == "clear"


@pytest.mark.parametrize(("silence", "levels"), [(3.0, ["lossy"]), (5.0, ["lossy", "thin", "lossy"])])
def test_a_long_way_whose_reports_are_late_is_not_narrow(silence: float, levels: list[str]) -> None:
    """What was lost comes a round trip later, and its report, too. Longer silence is guessed at, until a report."""
    sending = Sending()
    sending.begin(reports=True, now=0.0, trip=0.8)
    names = [sending.level.name]
    for tenth in range(1, 200):
        now = tenth / 10
        sending.sent(AudioRoute.SOCKET, tenth * 1_600, 300, now)
        if tenth % 10 == 0 and not 3.0 < now < 3.0 + silence:
            sending.reported({AudioRoute.SOCKET: Arrived(tenth - 8, (tenth - 8) * 1_600, 0.0)}, now)
        sending.repeated(1, now)  # it loses packets all the time: no calm leads up
        sending.judge(now, queued=0.0)
        names += [sending.level.name] if sending.level.name != names[-1] else []
    assert names == levels


def test_a_new_epoch_is_measured_anew() -> None:
    sending = Sending()
    sending.begin(reports=True, now=0.0)
    sending.sent(AudioRoute.ROOM, 1_000_000, 800, 0.1)
    sending.forget(0.2)
    for step in range(1, 200):
        sending.sent(AudioRoute.ROOM, step * 400, 800, 0.2 + step * 0.025)
        if step % 10 == 0:
            sending.reported({AudioRoute.ROOM: Arrived(step // 2, step * 400, 0.0)}, 0.2 + step * 0.025)
            sending.judge(0.2 + step * 0.025)
    assert sending.level.name == "lossy", "half of it is lost, and known"


@pytest.mark.parametrize(
    ("rate", "name"), [(1e6, "guarded"), (310_000, "lossy"), (150_000, "narrow"), (20_000, "thin")]
)
def test_a_probe_tells_of_a_narrow_link_before_the_first_word(rate: float, name: str) -> None:
    sending = Sending()
    sending.begin(reports=True, now=0.0)
    sending.probed(rate, 0.5)
    assert sending.level.name == name


def test_a_probe_says_nothing_new_once_the_link_is_known() -> None:
    speaker = Speaker(Link(every=5), Link())
    speaker.run(5.0)
    assert not speaker.sending.is_new
    speaker.sending.probed(20_000, 5.0)
    assert speaker.sending.level.name == "lossy"


def test_a_room_that_takes_no_more_gets_coded_audio_at_once() -> None:
    """All is lost for a second: nothing is reported, and nothing need be waited for."""
    speaker = Speaker(Link(), Link())
    speaker.run(4.0)
    speaker.sending.refused(4.1)
    assert speaker.sending.level.name == "narrow"
    speaker.sending.refused(4.2)
    assert speaker.sending.level.name == "narrow"


def test_a_route_of_which_nothing_is_reported_any_more_is_late() -> None:
    """A socket that is stuck behind a full queue: what it said last was well."""
    sending = Sending()
    sending.begin(reports=True, now=0.0)
    sending.doubted(150_000, 0.0)
    for tick in range(1, 24):
        now, stop = tick / 5, tick * 3_200
        for route in (AudioRoute.ROOM, AudioRoute.SOCKET):
            sending.sent(route, stop, 300, now)
        room = Arrived(tick, stop, 0.5 if tick > 2 else 0.0)
        sending.reported(
            {AudioRoute.ROOM: room} | ({AudioRoute.SOCKET: Arrived(1, 3_200, 0.0)} if tick == 1 else {}), now
        )
    assert sending.level.name not in ("guarded", "lossy")


def test_a_cloud_that_reports_nothing_gets_pcm_whatever_the_room_takes() -> None:
    sending = Sending()
    sending.begin(reports=False, now=0.0)
    sending.refused(9.0)
    assert sending.level is STATIC


@pytest.mark.parametrize(("rate", "name"), [(310_000, "lossy"), (150_000, "narrow"), (20_000, "thin"), (None, "lossy")])
def test_while_a_probe_is_late_audio_is_sent_as_suits_both_and_its_result_counts_at_once(
    rate: float | None, name: str
) -> None:
    sending = Sending()
    sending.begin(reports=True, now=0.0)
    sending.doubted(200_000, 0.3)
    assert sending.level.name == "narrow"
    sending.doubted(60_000, 0.6)
    assert sending.level.name == "thin"
    sending.probed(rate, 0.9)
    assert sending.level.name == name
    sending.doubted(60_000, 1.0)
    assert sending.level.name == name


def test_a_guess_is_corrected_as_soon_as_more_is_known() -> None:
    """A room that takes no more may be full, or lose everything: the first report decides, not CHANGE_EVERY."""
    for rate, name in ((0.0, "narrow"), (30_000.0, "thin")):
        speaker = Speaker(Link(rate=rate), Link(rate=rate))
        speaker.sending.refused(0.0)
        speaker.run(2.5)
        assert speaker.sending.level.name == name


def test_a_better_level_that_was_too_good_is_left_at_once() -> None:
    room = Link()
    speaker = Speaker(room, Link())
    speaker.run(9.0)
    while speaker.sending.level.name != "clear":
        speaker.run(0.1)
    room.rate = 64_000.0
    speaker.run(1.5)
    assert speaker.sending.level.name in ("narrow", "thin")


def test_a_late_probe_of_a_link_that_is_known_says_nothing() -> None:
    speaker = Speaker(Link(every=5), Link())
    speaker.run(20.0)
    level = speaker.sending.level
    speaker.sending.doubted(20_000, 20.0)
    speaker.sending.probed(20_000.0, 20.5)
    assert speaker.sending.level is level


# ---- sockets that repeat


def looked_at(queued: float = 0.0) -> Sending:
    sending = Sending()
    sending.begin(reports=True, now=0.0)
    sending.judge(0.0, queued=queued)
    return sending


def test_a_socket_that_repeats_much_means_coded_audio_twice() -> None:
    sending = looked_at()
    for at in range(4):
        sending.repeated(1, at * 0.5)
    assert (sending.level.name, sending.doubles(2.0)) == ("guarded", False)
    sending.repeated(1, 2.1)
    assert (sending.level.name, sending.doubles(2.2)) == ("lossy", True)
    assert sending.doubles(2.1 + CALM - 0.1)
    assert not sending.doubles(2.1 + CALM + 0.1)


def test_a_second_socket_stands_by_on_a_link_that_is_measured_and_carries_enough() -> None:
    sending, narrow, full = looked_at(), looked_at(), looked_at(queued=0.6)
    assert not sending.spares  # the first probe has not told yet
    for each, rate in ((sending, None), (narrow, 100_000), (full, None)):
        each.probed(rate, 0.5)
    assert (sending.spares, narrow.spares, full.spares) == (True, False, False)


def test_rare_repetitions_and_those_of_a_full_link_change_nothing() -> None:
    rare, full = looked_at(), looked_at(queued=0.6)
    for at in range(20):
        rare.repeated(1, at * 1.0)
        full.repeated(3, at * 1.0)
    assert (rare.level.name, full.level.name) == ("guarded", "guarded")


def test_what_is_repeated_is_no_calm() -> None:
    sending = looked_at()
    for at in range(1, 60):
        sending.repeated(1, at / 2)
        sending.judge(at / 2, queued=0.0)
    assert sending.level.name == "lossy"


def test_a_long_way_begins_coded_and_a_narrow_link_is_not_filled_twice() -> None:
    sending = Sending()
    sending.begin(reports=True, now=0.0, trip=0.5)
    assert (sending.level.name, sending.is_new, sending.doubles(0.0)) == ("lossy", True, False)
    sending.judge(0.0, queued=0.0)
    sending.doubted(150_000, 0.1)
    sending.repeated(1, 0.2)
    assert not sending.doubles(0.3)  # the probe is late: it may be narrow
    sending.probed(None, 0.4)
    assert sending.doubles(0.5)
    sending.judge(0.6, queued=0.5)
    assert not sending.doubles(0.6)
    sending.judge(20.0, queued=0.0)
    assert sending.doubles(20.0)  # nothing was repeated for long, but what is costs a second


def test_a_long_way_never_gets_pcm() -> None:
    long, short = Sending(), Sending()
    long.begin(reports=True, now=0.0, trip=0.8)
    short.begin(reports=True, now=0.0, trip=0.3)
    for at in range(60):
        for sending in (long, short):
            sending.judge(float(at), queued=0.0)
    assert (long.level.name, short.level.name) == ("lossy", "clear")


def test_a_probe_of_which_something_was_repeated_begins_with_coded_audio() -> None:
    for repeated, name in ((False, "guarded"), (True, "lossy")):
        sending = Sending()
        sending.begin(reports=True, now=0.0)
        sending.probed(None, 0.1, repeated=repeated)
        assert sending.level.name == name


def test_reports_that_come_together_are_no_delay_of_the_way_up() -> None:
    """The way down holds reports up, as TCP does when it loses one: the last of them says that all has arrived."""
    sending = Sending()
    sending.begin(reports=True, now=0.0)
    held: list[Arrived] = []
    for step in range(1, 200):
        now, stop = step * 0.1, step * 1_600
        sending.sent(AudioRoute.ROOM, stop, 3_200, now)
        held.append(Arrived(step, stop, 0.0))
        if step % 18 == 0:
            for arrived in held:
                sending.reported({AudioRoute.ROOM: arrived}, now)
            held.clear()
        sending.judge(now)
        assert sending.level.coding is Coding.PCM


def test_less_than_is_sent_arrives_on_a_full_link_alone() -> None:
    """Late audio on the socket alone, of which all arrives, waits for repetitions: its level is not the room's."""
    sending = Sending()
    sending.begin(reports=True, now=0.0, trip=0.5)
    for step in range(1, 100):
        now, stop = step * 0.1, step * 1_600
        sending.sent(AudioRoute.SOCKET, stop, 300, now)
        sending.reported({AudioRoute.SOCKET: Arrived(step, stop, 0.6)}, now)
        sending.judge(now, queued=0.0)
    assert sending.level.name == "lossy"
