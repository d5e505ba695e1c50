"""A hole in a user's audio is told with what happened in it, and at debug where nothing did."""

import pytest
import structlog
from structlog.testing import capture_logs

from glassbridge.cloud.flights import Flights
from glassbridge.cloud.holes import HOLE
from glassbridge.cloud.story import Story
from glassbridge.core.audio_link import LinkState
from glassbridge.core.machine import Record
from glassbridge.core.values import Generation, user_id
from glassbridge.runtime.pulse import EVERY, STALL, Pulse

USER = user_id("ann@example.org")


class Told:
    """One story on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self._pulse = Pulse(clock=self._clock)
        self.story = Story(
            structlog.get_logger().bind(user_id=USER, session_id="s1"),
            self._clock,
            Flights().open(USER, "s1"),
            self._pulse,
        )

    def _clock(self) -> float:
        return self.now

    def hear(self) -> None:
        for ear in self.story.ears:
            ear.put(b"")

    def live(self, seconds: float, *, audio: bool = True) -> None:
        for _ in range(round(seconds / EVERY)):
            self.now += EVERY
            self._pulse.beat()
            if audio:
                self.hear()

    def wake(self) -> None:
        self._pulse.beat()


@pytest.fixture
def told() -> Told:
    made = Told()
    made.live(2.0)
    return made


@pytest.mark.parametrize("noticed", [False, True], ids=["before the pulse", "after it"])
def test_a_standstill_of_the_cloud_is_the_cause_of_its_hole(told: Told, noticed: bool) -> None:
    told.now += 10.0
    if noticed:
        told.wake()
    with capture_logs() as lines:
        told.hear()
    [line] = lines
    assert line["event"] == "audio resumed"
    assert (line["log_level"], line["cause"], line["silent_ms"]) == ("info", "cloud_stood_still", 10_000)


def test_silence_in_which_nothing_happened_is_told_at_debug(told: Told) -> None:
    told.live(10.0, audio=False)
    with capture_logs() as lines:
        told.hear()
    [line] = lines
    assert (line["event"], line["log_level"], line["cause"]) == ("audio resumed", "debug", "")


def test_a_standstill_before_the_hole_is_not_its_cause(told: Told) -> None:
    told.now += EVERY + STALL + 0.01
    told.wake()
    told.live(1.0)
    told.live(HOLE + 1.0, audio=False)
    with capture_logs() as lines:
        told.hear()
    [line] = lines
    assert (line["log_level"], line["cause"]) == ("debug", "")


def test_a_lost_place_stands_beside_the_standstill(told: Told) -> None:
    told.now += 10.0
    told.story.changed(
        Record("link", LinkState.LIVE, "StreamBroke", LinkState.JOINING, told.now, Generation(2), "stream_broken")
    )
    with capture_logs() as lines:
        told.hear()
    [line] = lines
    assert line["cause"] == "cloud_stood_still, stream_broken"
