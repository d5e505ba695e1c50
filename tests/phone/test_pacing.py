"""What a place in a room gets: PCM as quickly as it arrives, and what that tells of the link."""

from math import inf
from typing import cast

import pytest

from glassbridge.core.sending import Sending
from glassbridge.livekit.participant import InFlight
from glassbridge.phone.beside import Beside
from glassbridge.phone.link_meter import LinkMeter
from glassbridge.phone.pacing import DATAGRAM, RoomPace
from glassbridge.runtime.tcp import RoundTrip

PCM = 32_000
"""Bytes a second."""
FRAME = 3_200
"""Bytes of 0.1 s: three packets."""


class Place:
    """`flight` is that of a room; `pass_time` lets bytes arrive."""

    def __init__(self, trip: float, least: float, pending: int = 0, oldest: float = 0.0) -> None:
        self.now = 10.0
        self.given, self.waiting, self.oldest = 100_000, pending, oldest
        self.trip = RoundTrip(trip, least)
        self.pace = RoomPace(lambda: InFlight(self.given, self.waiting, self.oldest, self.trip), lambda: self.now)

    def pass_time(self, seconds: float, arrived: int) -> None:
        for _ in range(round(seconds / 0.01)):
            assert self.pace.carries
            self.now += 0.01
            self.waiting -= round(arrived / (seconds / 0.01))


@pytest.mark.parametrize(
    ("trip", "pending"),
    [
        (0.0, DATAGRAM),  # a single packet is acknowledged with the next one, or after 0.2 s
        (0.05, 1_900),
        (0.3, 11_000),
        (0.8, 27_000),
    ],
)
def test_a_link_that_carries_pcm_is_not_kept_waiting(trip: float, pending: int) -> None:
    assert Place(trip, trip, pending, oldest=trip + 0.2).pace.takes(FRAME, PCM)


@pytest.mark.parametrize(
    ("trip", "least", "pending", "oldest"),
    [
        (0.05, 0.05, 4_100, 0.1),  # more than half a second of a link of 64 kbit/s
        (0.05, 0.05, 900, 0.4),  # nothing comes back
        (0.3, 0.05, 3_500, 0.2),  # what is on its way waits in a queue
        (0.6, 0.3, 12_000, 0.5),
    ],
)
def test_pcm_waits_where_what_is_on_its_way_waits(trip: float, least: float, pending: int, oldest: float) -> None:
    assert not Place(trip, least, pending, oldest).pace.takes(900, PCM)


def test_a_participant_that_does_not_tell_gets_everything() -> None:
    pace = RoomPace(lambda: None, lambda: 0.0)
    assert pace.takes(FRAME, PCM)
    assert pace.carries == inf
    assert pace.together == 0.0


def test_what_arrives_of_a_queue_tells_the_rate() -> None:
    place = Place(trip=0.3, least=0.05, pending=6_000)
    place.pass_time(0.3, 2_400)
    assert place.pace.carries == pytest.approx(64_000, rel=0.1)


@pytest.mark.parametrize(("trip", "arrived"), [(0.06, 2_400), (0.3, 0)])
def test_without_a_queue_or_an_acknowledgement_nothing_is_known(trip: float, arrived: int) -> None:
    place = Place(trip=trip, least=0.05, pending=6_000)
    place.pass_time(0.3, arrived)
    assert place.pace.carries == inf


def test_large_packets_are_acknowledged_later_on_a_narrow_link_than_small_ones() -> None:
    """The first two of PCM take 0.4 s at 48 kbit/s: then the room has not lost its way, and gets nothing twice."""
    assert Place(0.05, 0.05, pending=4_000).pace.together > 0.15
    assert Place(0.05, 0.05, pending=700).pace.together == 0.0


@pytest.mark.parametrize(("held", "name"), [(0.05, "thin"), (0.0, "guarded")])
def test_what_the_room_carries_counts_only_while_pcm_waits_for_it(held: float, name: str) -> None:
    """Presence alone is acknowledged late, too, and arrives at little more than nothing a second."""
    sending = Sending()
    sending.begin(reports=True, now=9.0, trip=0.05)
    sending.probed(None, 9.1)
    place = Place(trip=0.3, least=0.05, pending=6_000)
    place.pass_time(0.3, 2_400)
    LinkMeter(sending, cast(Beside, None), place.pace, lambda: place.now).judge(0.0, held)
    assert sending.level.name == name
