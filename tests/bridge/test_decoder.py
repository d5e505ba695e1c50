"""The decoder of a worker: each sound in a process of its own, which can hurt nobody else."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from time import monotonic

import psutil
import pytest

from glassbridge.bridge import decoders as shell
from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.decoders import Decoders
from glassbridge.bridge.fetch import PlaybackError, Source
from glassbridge.bridge.sound import SoundClip
from tests.bridge.sounds import Growth, decoded, lying_wav, seconds_of
from tests.support import forked
from tests.support.patience import deadline, patient
from tests.support.poll import eventually

LONG = PlaybackLimits(max_seconds=60)


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    found = Decoders()
    yield found
    await found.close()


@pytest.fixture
async def hostile() -> AsyncIterator[Decoders]:
    """Sounds do what they say (tests/support/hostile_decoder.py)."""
    found = Decoders("tests.support.hostile_decoder")
    yield found
    await found.close()


def below() -> list[psutil.Process]:
    """All processes that these tests have started; the one that lasts for all tests of this process is another's."""
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in forked.lasting()]


async def failure(decoders: Decoders, data: bytes, limits: PlaybackLimits | None = None) -> PlaybackError:
    with pytest.raises(PlaybackError) as met:
        await decoded(decoders, data, limits)
    return met.value


def playing(data: bytes = b"plays", limits: PlaybackLimits = LONG) -> tuple[Source, SoundClip]:
    source = Source(limits)
    return source, SoundClip(source, 1.0, limits)


async def test_a_process_for_each_sound_and_none_when_it_is_over(decoders: Decoders) -> None:
    assert seconds_of(await decoded(decoders, lying_wav())) == 1.5
    await eventually(lambda: [process.pid for process in below()] == [decoders.pid] or f"left: {below()}")
    sounds = [decoded(decoders, lying_wav()) for _ in range(12)]
    assert {seconds_of(pcm) for pcm in await asyncio.gather(*sounds)} == {1.5}
    await eventually(lambda: len(below()) == 1 or f"left: {below()}")
    await decoders.close()
    assert not below()


@pytest.mark.parametrize(
    ("what", "codes"),
    [
        (b"spin", {"too_costly", "decoder_died"}),  # the second on a machine so busy that it gets no 2 s of processor
        (b"fill", {"too_large"}),
        (b"crash", {"decoder_died"}),
        (b"raise", {"decoder_died"}),
    ],
)
async def test_a_hostile_sound_hurts_only_itself(hostile: Decoders, what: bytes, codes: set[str]) -> None:
    """While it spins, fills its memory or crashes, the sounds of others play."""
    await decoded(hostile, b"plays")
    pid = hostile.pid
    async with Growth() as growth:
        bad = asyncio.create_task(failure(hostile, what, PlaybackLimits(stall_timeout=20)))
        for _ in range(5):
            assert seconds_of(await decoded(hostile, b"plays")) == 2.0
        assert (await bad).code in codes
    assert hostile.pid == pid, "the decoder itself lives on"
    assert growth.mb < 50
    await eventually(lambda: len(below()) == 1 or f"left: {below()}")


async def test_a_stalled_process_is_given_up_and_killed(hostile: Decoders) -> None:
    begun = monotonic()
    error = await failure(hostile, b"sleep", PlaybackLimits(stall_timeout=0.5))
    assert error.code == "decoder_died"
    assert monotonic() - begun < patient(5.0)
    await eventually(lambda: len(below()) == 1 or f"left: {below()}")


async def test_a_stopped_process_is_killed_when_its_listener_leaves(decoders: Decoders) -> None:
    source, sound = playing()
    await source.feed(lying_wav(data=0) * 10)
    blocks = sound.blocks(decoders)
    await anext(blocks)
    (process,) = [process for process in below() if process.pid != decoders.pid]
    process.suspend()
    async with deadline(2):
        await blocks.aclose()
    await eventually(lambda: not process.is_running() or "it is still there")


async def test_a_listener_who_leaves_at_any_time_leaves_nothing(decoders: Decoders) -> None:
    await decoded(decoders, lying_wav())
    for wait in (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05):
        task = asyncio.create_task(decoded(decoders, lying_wav() * 20))
        await asyncio.wait([task], timeout=wait)
        task.cancel()
        await asyncio.wait([task])
    await eventually(lambda: len(below()) == 1 or f"left: {below()}")
    assert seconds_of(await decoded(decoders, lying_wav())) == 1.5


async def test_a_dead_decoder_is_replaced_and_its_sounds_go_on(decoders: Decoders) -> None:
    source, sound = playing()
    await source.feed(lying_wav(data=0) * 10)
    source.finish()
    blocks = sound.blocks(decoders)
    heard = [await anext(blocks)]
    first = decoders.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    begun = monotonic()
    assert seconds_of(await decoded(decoders, lying_wav())) == 1.5
    assert monotonic() - begun < patient(3.0)
    assert decoders.pid != first
    heard += [block async for block in blocks]
    assert seconds_of(b"".join(heard)) == pytest.approx(15, abs=0.1)
    await eventually(lambda: len(below()) == 1 or f"left: {below()}")


async def test_a_frozen_decoder_is_replaced(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "ANSWER_TIMEOUT", 0.5)
    await decoded(decoders, lying_wav())
    first = decoders.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    begun = monotonic()
    pieces = await asyncio.gather(*(decoded(decoders, lying_wav()) for _ in range(5)))
    assert monotonic() - begun < patient(4.0)
    assert {seconds_of(pcm) for pcm in pieces} == {1.5}
    assert decoders.pid != first
    assert not psutil.pid_exists(first)


async def test_a_decoder_that_cannot_start_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "START_TIMEOUT", 0.5)
    broken = Decoders("tests.support.no_such_decoder")
    try:
        assert (await failure(broken, lying_wav())).code == "no_decoder"
    finally:
        await broken.close()
    assert not below()


async def test_the_decoder_ends_with_its_worker(decoders: Decoders) -> None:
    """However the worker goes: the other end of the socket is all that keeps it."""
    source, sound = playing()
    await source.feed(lying_wav(data=0) * 10)
    blocks = sound.blocks(decoders)
    await anext(blocks)
    gone = below()
    assert len(gone) == 2
    await decoders.close()
    await eventually(lambda: not any(process.is_running() for process in gone) or "left behind")
    with pytest.raises(PlaybackError):
        async for _ in blocks:
            pass


async def test_a_decoder_knows_no_secret(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_API_SECRET", "not-for-ffmpeg")
    await decoded(decoders, lying_wav())
    decoder = psutil.Process(decoders.pid)
    assert "LIVEKIT_API_SECRET" not in decoder.environ()
