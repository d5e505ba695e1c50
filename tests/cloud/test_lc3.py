"""Phones that send LC3: announced it is decoded, unannounced it is refused; nobody is live on noise."""

import asyncio
import math
import wave as wave_file
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassbridge.cloud import lc3 as ours
from glassbridge.cloud import unnumbered
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.coded_audio import SECONDS, CodingVerdict, verdict_of
from glassbridge.core.values import user_id
from glassbridge.lab import clips
from tests.cloud.conftest import ANN, SECRET, Phone, Stage
from tests.cloud.test_original_phones import SPEAKING
from tests.support.poll import eventually, stays

CLIPS = Path(clips.__file__).parent

lc3 = pytest.importorskip("lc3", reason="lc3py has no wheel for this machine")

Begin = Callable[..., Awaitable[Stage]]
SAMPLES = 160
"""Of a frame: 10 ms."""
CODED = ("interrupted", "coded_audio")


def voice(seconds: float = 1.0) -> bytes:
    """A tone that swells, with some noise: PCM16."""
    at = np.arange(round(seconds * 16_000)) / 16_000
    tone = 6_000 * np.sin(2 * math.pi * 300 * at) * (0.3 + np.sin(2 * math.pi * 2 * at) ** 2)
    return bytes(np.rint(tone + np.random.default_rng(1).normal(0, 40, len(at))).astype("<i2"))


def coded(pcm: bytes, size: int, at_once: int = 8) -> Iterator[bytes]:
    """Chunks of so many frames, as the original's phones send them."""
    encoder = lc3.Encoder(10_000, 16_000)
    step = 2 * SAMPLES
    frames = [encoder.encode(pcm[at : at + step], size, bit_depth=16) for at in range(0, len(pcm), step)]
    for at in range(0, len(frames), at_once):
        yield b"".join(frames[at : at + at_once])


def decoded(chunks: list[bytes], size: int) -> bytes:
    """What lc3py's own decoder makes of them."""
    decoder = lc3.Decoder(10_000, 16_000)
    frames = [chunk[at : at + size] for chunk in chunks for at in range(0, len(chunk), size)]
    return b"".join(decoder.decode(frame, bit_depth=16) for frame in frames)


async def configure(built: Stage, body: Any, user: str = ANN) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {mint_core_token(user_id(user), SECRET, 60)}"}
    async with built.http.post(f"{built.url}/api/client/audio/configure", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


def as_lc3(size: int) -> dict[str, Any]:
    return {"format": "lc3", "lc3Config": {"sampleRate": 16_000, "frameDurationMs": 10, "frameSizeBytes": size}}


@pytest.mark.parametrize("size", [20, 40, 60])
async def test_announced_lc3_is_heard_sample_by_sample(stage: Begin, size: int) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    status, answer = await configure(built, as_lc3(size))
    assert (status, answer["format"], answer["lc3Config"]["frameSizeBytes"]) == (200, "lc3", size)
    chunks = list(coded(voice(), size))
    for chunk in chunks:
        await phone.socket.send_bytes(chunk)
    await phone.until_state("live")
    wanted = decoded(chunks, size)
    await eventually(lambda: built.recogniser.fed == wanted or f"{len(built.recogniser.fed)} of {len(wanted)} bytes")
    assert CODED not in phone.audio_states()


async def test_announced_lc3_is_heard_through_the_room(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    await configure(built, as_lc3(40))
    chunks = list(coded(voice(), 40))
    for chunk in chunks:
        built.bridge.send(ANN, chunk)
    await phone.until_state("live")
    wanted = decoded(chunks, 40)
    await eventually(lambda: built.recogniser.fed == wanted or f"{len(built.recogniser.fed)} of {len(wanted)} bytes")


@pytest.mark.parametrize("by_room", [False, True])
@pytest.mark.parametrize(("size", "at_once"), [(20, 8), (40, 8), (60, 5), (20, 1)])
async def test_unannounced_lc3_is_never_live(stage: Begin, by_room: bool, size: int, at_once: int) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    for chunk in coded(voice(), size, at_once):
        if by_room:
            built.bridge.send(ANN, chunk)
        else:
            await phone.socket.send_bytes(chunk)
    await phone.until_state(*CODED)
    assert not [state for state, _ in phone.audio_states() if state == "live"]
    assert built.recogniser.fed == b""
    notice = phone.of_type("audio_state")[-1]
    assert notice["hop"] == "phone"
    assert "audio/configure" in notice["reason"]


async def test_lc3_in_large_chunks_is_refused_after_half_a_second(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()

    async def speak() -> None:
        for chunk in coded(voice(15.0), 20, at_once=64):
            await phone.socket.send_bytes(chunk)
            await asyncio.sleep(0.1)

    speaking = asyncio.create_task(speak())
    await phone.until_state(*CODED)
    speaking.cancel()
    await asyncio.wait([speaking])


async def test_audio_that_comes_before_its_announcement(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    chunks = list(coded(voice(), 20))
    await phone.socket.send_bytes(chunks[0])
    await phone.until_state(*CODED)
    await configure(built, as_lc3(20))
    await phone.until_state("connecting", "awaiting_audio")
    for chunk in chunks[1:]:
        await phone.socket.send_bytes(chunk)
    await phone.until_state("live")
    assert len(phone.of_type("connection_ack")) == 1


async def test_an_announcement_that_was_lost_is_asked_for(stage: Begin) -> None:
    """The original's phone announces its coding after each greeting, once, and does not look at the answer."""
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.socket.send_str(SPEAKING)

    async def speak() -> None:
        for chunk in coded(voice(30.0), 20):
            await phone.socket.send_bytes(chunk)
            await asyncio.sleep(0.08)

    speaking = asyncio.create_task(speak())
    await phone.until("connection_ack", 2, within=6.0)
    await configure(built, as_lc3(20))
    await phone.until_state("live")
    speaking.cancel()
    await asyncio.wait([speaking])


async def test_a_phone_of_ours_is_not_greeted_again(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?phone=p1")
    for chunk in coded(voice(), 20):
        await phone.socket.send_bytes(chunk)
    await phone.until_state(*CODED)
    await stays(lambda: len(phone.of_type("connection_ack")) == 1 or "greeted again", 3.0)


async def test_what_is_not_what_was_announced_is_not_live(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await configure(built, as_lc3(40))
    pcm = voice()
    for at in range(0, len(pcm), 3_200):
        await phone.socket.send_bytes(pcm[at : at + 3_200])
    await phone.until_state(*CODED)
    status, answer = await configure(built, {"format": "pcm"})
    assert (status, answer["format"]) == (200, "pcm")
    await phone.socket.send_bytes(pcm)
    await phone.until_state("live")


async def test_lc3_after_pcm(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.socket.send_bytes(voice())
    await phone.until_state("live")
    for chunk in coded(voice(), 20):
        await phone.socket.send_bytes(chunk)
    await phone.until_state(*CODED)
    for _ in range(5):
        await phone.socket.send_bytes(voice(0.1))
    await phone.until_state("live")


async def test_the_announcement_outlives_a_socket(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await configure(built, as_lc3(20))
    await phone.close()
    phone = await built.phone(query="?livekit=true")
    for chunk in coded(voice(), 20):
        await phone.socket.send_bytes(chunk)
    await phone.until_state("live")


async def test_pcm_of_every_kind_is_live(stage: Begin) -> None:
    at = np.arange(16_000) / 16_000
    loudest = 32_767 * np.sin(2 * math.pi * 4_000 * at)
    clipped = np.clip(40 * np.frombuffer(voice(), "<i2").astype(float), -32_768, 32_767)
    chirp = 30_000 * np.sin(2 * math.pi * 3_900 * at * at)
    for wave in (loudest, clipped, chirp, np.zeros(16_000), 8 * np.random.default_rng(2).normal(size=16_000)):
        built = await stage()
        phone = await built.phone()
        pcm = bytes(np.rint(wave).astype("<i2"))
        for start in range(0, len(pcm), 1_600):
            await phone.socket.send_bytes(pcm[start : start + 1_600])
        await phone.until_state("live")
        assert CODED not in phone.audio_states()


async def test_without_a_decoder_lc3_is_refused(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise ours.NoLc3

    monkeypatch.setattr(ours, "_library", none)
    built = await stage()
    phone: Phone = await built.phone(query="?livekit=true")
    status, answer = await configure(built, as_lc3(20))
    assert (status, answer["error"]["code"]) == (415, "NOT_SUPPORTED")
    assert "send PCM16" in answer["error"]["message"]
    for chunk in coded(voice(), 20):
        await phone.socket.send_bytes(chunk)
    await phone.until_state(*CODED)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"format": "opus"},
        as_lc3(19),
        as_lc3(401),
        {"format": "lc3", "lc3Config": {"sampleRate": 48_000}},
        {"format": "lc3", "lc3Config": {"frameDurationMs": 7.5}},
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(stage: Begin, body: Any) -> None:
    built = await stage()
    phone = await built.phone()
    status, answer = await configure(built, body)
    assert (status, answer["error"]["code"]) == (400, "BAD_REQUEST")
    await phone.socket.send_bytes(voice())
    await phone.until_state("live")


async def test_without_a_phone_there_is_nothing_to_configure(stage: Begin) -> None:
    built = await stage()
    assert (await configure(built, as_lc3(20)))[0] == 503


@pytest.mark.parametrize("gain", [1, 16, 64])
def test_loud_speech_and_cymbals_look_coded_for_a_moment_only(gain: int) -> None:
    """Of the chunks that are no sound by their shape, so few come in a row that they are far from SECONDS."""
    with wave_file.open(str(CLIPS / "clip.wav")) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    hits = np.exp(-np.linspace(0, 3, 8_000))
    cymbals = np.tile(hits, 10) * np.diff(np.random.default_rng(1).standard_normal(80_001)) * 20_000
    for sound in (speech * gain, cymbals):
        samples = np.clip(sound, -32_768, 32_767).astype("<i2")
        row = longest = 0
        for begin in range(0, len(samples) - 320, 320):
            verdict = verdict_of(unnumbered._shape(samples[begin : begin + 320].tobytes()))
            row = row + 1 if verdict is CodingVerdict.CODED else row if verdict is CodingVerdict.UNSURE else 0
            longest = max(longest, row)
        assert longest * 0.02 < SECONDS / 2
