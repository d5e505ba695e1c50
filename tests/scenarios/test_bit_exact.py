"""The clip through phone, LiveKit, bridge and cloud: the recogniser is fed the very bytes of the file."""

import asyncio
from pathlib import Path

import pytest

from glassbridge.core.values import UserId
from glassbridge.lab import clips
from glassbridge.lab.stack import Stack
from tests.scenarios.systems import config, recording, said, samples

WAYS = [
    ("data", "numbered", 100),
    ("data", "numbered", 33),
    ("data", "plain", 100),
    ("data", "plain", 33),
    ("websocket", "numbered", 100),
    ("websocket", "plain", 33),
]
"""Transport, form, milliseconds in a frame: 33 do not divide the clip."""


@pytest.mark.parametrize("livekit", [pytest.param("real", marks=pytest.mark.real), "embedded"])
async def test_every_way_but_the_track_is_bit_exact(livekit: str, tmp_path: Path) -> None:
    """All phones speak at the same time, each as a user of its own."""
    clip = samples(clips.wav("short"))
    users = {way: UserId("-".join(map(str, way))) for way in WAYS}
    async with Stack(config(livekit=livekit, record=tmp_path)) as stack:
        options = {
            way: ("--transport", way[0], "--audio", way[1], "--frame-ms", str(way[2]), "--wav", str(clips.wav("short")))
            for way in WAYS
        }
        phones = {way: await stack.start_phone(users[way], *options[way]) for way in WAYS}
        statuses = await asyncio.gather(*(phone.wait() for phone in phones.values()))
    assert dict(zip(WAYS, statuses, strict=True)) == dict.fromkeys(WAYS, 0), [p.last_words for p in phones.values()]

    for way, phone in phones.items():
        [summary] = phone.events("summary")
        heard = recording(tmp_path, users[way])
        assert summary["samples"] * 2 == len(clip), way
        assert summary["frames_dropped"] == 0, way
        assert len(heard) == len(clip), f"{way}: {len(clip) - len(heard)} bytes are missing"
        assert heard == clip, f"{way}: same length, other bytes"
        assert said(phone.events("caption")) == clips.words("short"), way
        if way[1] == "numbered":
            assert summary["acknowledged"] == summary["samples"], way

    accounts = {event["user_id"]: (event["heard"], event["lost"]) for event in stack.cloud.events("session gone")}
    assert accounts == {user: (len(clip) // 2, 0) for user in users.values()}, "the ledger counts something else"


@pytest.mark.parametrize("livekit", [pytest.param("real", marks=pytest.mark.real), "embedded"])
async def test_a_track_brings_the_words(livekit: str, tmp_path: Path) -> None:
    async with Stack(config(livekit=livekit, record=tmp_path)) as stack:
        phone = await stack.start_phone(UserId("ada"), "--transport", "track", "--wav", str(clips.wav("short")))
        assert await phone.wait() == 0, phone.last_words
    assert said(phone.events("caption")) == clips.words("short")
    heard, spoken = len(recording(tmp_path, UserId("ada"))), len(samples(clips.wav("short")))
    assert heard >= 0.98 * spoken, f"{(spoken - heard) / 32_000:.2f} s of the track are missing"
