"""A standstill of the process, and what tells a backlog from live audio."""

import pytest
import structlog

from glassbridge.bridge.microphone import Microphone
from glassbridge.core.values import Generation
from glassbridge.core.voices import RemoteTrack
from glassbridge.livekit.participant import AudioBlock, Packet, RemoteParticipant
from glassbridge.runtime.pulse import BACKLOG, EVERY, STALL, Pace, Pulse
from glassbridge.wire.audio_frames import TOPIC_NUMBERED, FrameNumber, encode_numbered

FRAME = bytes(3_200)  # 100 ms


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_standstill_is_noticed_before_and_after_the_beat(clock: Clock) -> None:
    woken: list[float] = []
    pulse = Pulse(lambda: woken.append(clock.now), clock)
    for _ in range(20):
        clock.now += EVERY + 0.05
        pulse.beat()
    assert not pulse.backlog_may_come()
    clock.now += EVERY + STALL + 0.01
    assert pulse.backlog_may_come(), "packets are handled before the timer"
    pulse.beat()
    assert woken == [clock.now]
    doubted = 0.0
    while pulse.backlog_may_come():
        clock.now += EVERY
        doubted += EVERY
        pulse.beat()
    assert BACKLOG - 0.01 < doubted < BACKLOG + 2 * EVERY


def test_pace() -> None:
    pace = Pace()
    assert not pace.is_live(10.0, 0.1), "the first may be the head of a burst"
    assert [pace.is_live(at, 0.1) for at in (10.001, 10.002, 10.003)] == [False] * 3
    assert [pace.is_live(at, 0.1) for at in (10.1, 10.2, 10.26, 10.5)] == [True] * 4
    assert not pace.is_live(15.0, 0.1)


def test_a_backlog_without_numbers_is_dropped_and_counted_and_live_audio_goes_on(clock: Clock) -> None:
    pulse = Pulse(clock=clock)
    microphone = Microphone("", Generation(1), 1_000, 1e9, pulse, structlog.get_logger(), clock)

    def speak(frames: int, every: float) -> int:
        before = microphone.received
        for _ in range(frames):
            clock.now += every
            pulse.beat()
            microphone.on_packet(Packet(FRAME, "", "phone", reliable=False))
        return microphone.received - before

    assert speak(20, 0.1) == 20
    clock.now += 4.0  # SIGSTOP
    assert speak(40, 0.0001) == 0, "all of it is old"
    assert microphone.stale == 40
    assert speak(100, 0.1) >= 99
    assert speak(20, 0.0001) == 20, "long after waking a burst is somebody's way of sending"


def test_numbered_audio_is_never_dropped_for_its_pace(clock: Clock) -> None:
    pulse = Pulse(clock=clock)
    microphone = Microphone("", Generation(1), 1_000, 1e9, pulse, structlog.get_logger(), clock)
    clock.now += 5.0
    for number in range(10):
        frame = encode_numbered(FrameNumber(1, number * 1600, 0), FRAME)
        microphone.on_packet(Packet(frame, TOPIC_NUMBERED, "phone", reliable=False))
    assert (microphone.received, microphone.stale) == (10, 0)


def test_a_tracks_backlog_is_dropped_too(clock: Clock) -> None:
    pulse = Pulse(clock=clock)
    microphone = Microphone("", Generation(1), 1_000, 1e9, pulse, structlog.get_logger(), clock)
    microphone.on_people([RemoteParticipant("phone", "PA_1", (RemoteTrack("TR_1"),))])
    clock.now += 5.0
    for _ in range(50):
        clock.now += 0.0001
        microphone.on_audio(AudioBlock(bytes(640), "phone", "TR_1"))
    assert (microphone.received, microphone.stale) == (0, 50)
    for _ in range(50):
        clock.now += 0.02
        microphone.on_audio(AudioBlock(bytes(640), "phone", "TR_1"))
    assert microphone.received >= 48
