"""The clip through phone, LiveKit, bridge and cloud: the recogniser is fed the very bytes of the file. By track, which
is Opus, every sample once and in its place (docs/track-audio.md)."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from glassbridge.core.values import BYTES_PER_MS, UserId
from glassbridge.lab import clips
from glassbridge.lab.answer import ALIKE, alike
from glassbridge.lab.stack import Stack
from tests.scenarios.systems import config, recording, said, samples
from tests.support.programs import why
from tests.support.sound import left_out

WAYS = [
    ("data", "pcm", 100),
    ("data", "pcm", 33),
    ("data", "plain", 100),
    ("data", "plain", 33),
    ("websocket", "pcm", 100),
    ("websocket", "plain", 33),
]
"""Transport, form, milliseconds in a frame: 33 do not divide the clip."""
BY_TRACK = UserId("track")


BOTH = [pytest.param("real", marks=pytest.mark.real), pytest.param("embedded", marks=pytest.mark.slow)]
"""The stand-in is held to the same in test_sound_streams.py."""


@pytest.mark.parametrize("livekit", BOTH)
async def test_every_way_is_bit_exact_and_a_track_brings_the_words(livekit: str, tmp_path: Path) -> None:
    """All phones speak at the same time, each as a user of its own."""
    clip = samples(clips.wav("short"))
    users = {way: UserId("-".join(map(str, way))) for way in WAYS}
    async with Stack(config(livekit=livekit, record=tmp_path)) as stack:
        spoken = ("--wav", str(clips.wav("short")))
        options = {way: ("--transport", way[0], "--audio", way[1], "--frame-ms", str(way[2]), *spoken) for way in WAYS}
        phones = {way: await stack.start_phone(users[way], *options[way]) for way in WAYS}
        by_track = await stack.start_phone(BY_TRACK, "--transport", "track", *spoken)
        everyone = [*phones.values(), by_track]
        statuses = await asyncio.gather(*(phone.wait() for phone in everyone))
    assert statuses == [0] * len(everyone), why(stack, *everyone)

    expected: dict[str, tuple[int, int]] = {}
    for way, phone in phones.items():
        [summary] = phone.events("summary")
        heard = recording(tmp_path, users[way])
        assert summary["samples"] * 2 == len(clip), way
        if way[1] == "pcm":
            assert summary["acknowledged"] == summary["samples"], way
            assert summary["frames_dropped"] == 0, way
        dropped = summary["frames_dropped"] + late_in_the_bridge(stack, users[way])
        assert left_out(heard, clip, way[2] * BYTES_PER_MS) == dropped, way
        if not dropped:
            assert heard == clip, way
            assert said(phone.events("caption")) == clips.words("short"), way
        expected[users[way]] = (len(heard) // 2, 0)

    assert said(by_track.events("caption")) == clips.words("short")
    heard = recording(tmp_path, BY_TRACK)
    assert alike(*(np.frombuffer(pcm, "<i2").astype(np.float64) for pcm in (clip, heard))) > ALIKE
    if livekit == "embedded":  # slow tests run on a quiet machine; else pauses may come into what is sent in real time
        assert likeness(heard, clip) > 10.0

    accounts = {event["user_id"]: (event["heard"], event["lost"]) for event in stack.cloud.events("session gone")}
    assert accounts.pop(BY_TRACK)
    assert accounts == expected, "the ledger counts something else"


def late_in_the_bridge(stack: Stack, user: UserId) -> int:
    """Frames that it gave up for being late."""
    rooms = [room for room in stack.bridge.events("Disconnected from LiveKit room") if room["user_id"] == user]
    return sum(room["dropped"] + room["stale"] for room in rooms)


def likeness(heard: bytes, spoken: bytes) -> float:
    """Decibels by which the sound is louder than its difference from what was heard, at the one shift that fits best:
    22 for the codec alone, below 1 when 20 ms are missing in the middle or were put in there."""
    ours, theirs = (np.frombuffer(pcm, "<i2").astype(np.float64) for pcm in (heard, spoken))
    size = 2 * (len(ours) + len(theirs))
    fits = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(theirs, size)))
    shift = int(np.argmax(fits[: len(ours)]))
    same = ours[shift : shift + len(theirs)]
    off = theirs - np.pad(same, (0, len(theirs) - len(same)))
    return float(10 * np.log10(np.mean(theirs**2) / np.mean(off**2)))
