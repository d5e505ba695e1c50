"""What every recogniser must do: run this against a new provider before anything else (docs/speech.md).

A provider is a row of PROVIDERS: how it is made, and how what stands behind a stream of it is killed.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest

from glassbridge.core.recogniser import Reason
from glassbridge.core.words import normalised
from glassbridge.lab import clips
from glassbridge.speech.base import Recogniser, RecogniserError, RecogniserStream, Want
from glassbridge.speech.moonshine import MoonshineRecogniser
from glassbridge.speech.pocketsphinx import PocketsphinxRecogniser
from glassbridge.speech.process import ProcessStream
from glassbridge.speech.soniox import SonioxConfig, SonioxRecogniser
from glassbridge.speech.soniox_double import SonioxDouble
from tests.speech.hearing import Owner, pcm, speak
from tests.support.patience import patient
from tests.support.poll import eventually

KEY = "the-soniox-key-of-the-tests"
SHERPA_MODEL = os.environ.get("GLASSBRIDGE_SHERPA_MODEL", "")


@dataclass
class Provider:
    """One under test."""

    recogniser: Recogniser
    kill: Callable[[RecogniserStream], None]
    """What is behind a stream dies."""


@asynccontextmanager
async def pocketsphinx() -> AsyncIterator[Provider]:
    recogniser = PocketsphinxRecogniser(2)
    try:
        yield Provider(recogniser, _kill_process)
    finally:
        await recogniser.close()


@asynccontextmanager
async def moonshine() -> AsyncIterator[Provider]:
    recogniser = MoonshineRecogniser(2)
    try:
        yield Provider(recogniser, _kill_process)
    finally:
        await recogniser.close()


@asynccontextmanager
async def soniox() -> AsyncIterator[Provider]:
    """Against the double, which understands by an offline recogniser."""
    async with AsyncExitStack() as stack:
        behind = MoonshineRecogniser(2)
        stack.push_async_callback(behind.close)
        double = await stack.enter_async_context(SonioxDouble(key=KEY, recogniser=behind))
        recogniser = SonioxRecogniser(SonioxConfig(key=KEY, url=double.url))
        stack.push_async_callback(recogniser.close)
        yield Provider(recogniser, lambda _: double.drop_all())


@asynccontextmanager
async def sherpa() -> AsyncIterator[Provider]:
    from pathlib import Path

    from glassbridge.speech.sherpa import SherpaRecogniser

    recogniser = SherpaRecogniser(Path(SHERPA_MODEL), ("en-US",), 2)
    try:
        yield Provider(recogniser, _kill_process)
    finally:
        await recogniser.close()


def _kill_process(stream: RecogniserStream) -> None:
    assert isinstance(stream, ProcessStream)
    os.kill(stream.pid, signal.SIGKILL)


NO_SHERPA = pytest.mark.skipif(
    not (find_spec("sherpa_onnx") and SHERPA_MODEL), reason="no sherpa-onnx, or no model in GLASSBRIDGE_SHERPA_MODEL"
)
PROVIDERS: list[Any] = [moonshine, pocketsphinx, soniox, pytest.param(sherpa, marks=NO_SHERPA)]


@pytest.fixture(params=PROVIDERS, ids=lambda made: made.__name__)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    async with request.param() as made:
        yield made


MOST_ROUNDS = 5


async def test_words_times_and_finishing_again_and_again(provider: Provider) -> None:
    """What is said comes as text with times; partials first; a finished stream can be fed on."""
    owner, sound = Owner(), pcm("short")
    stream = await owner.open(provider.recogniser)
    await stream.finish()
    assert owner.said == [], "something was understood of nothing"
    for round_, speed in ((1, 1.0), (2, None)):
        await speak(stream, sound, speed=speed)
        await stream.finish()
        assert normalised(" ".join(owner.words)) == clips.words("short") * round_
    rounds = 2
    while all(said.final for said in owner.said) and rounds < MOST_ROUNDS:  # too busy a machine has the end at once
        rounds += 1
        await speak(stream, sound, speed=1.0)
        await stream.finish()
    assert any(not said.final for said in owner.said), "no partial came"
    for said in owner.said:
        assert 0 <= said.start_ms <= said.end_ms <= rounds * len(sound) // 32 + 100
    assert all(a.end_ms <= b.start_ms + 20 for a, b in pairwise(owner.finals)), "utterances overlap"
    assert owner.finals[-1].end_ms > len(sound) // 32, "the clock was set back"
    assert stream.dropped_bytes == 0
    assert stream.stalled < patient(5.0)
    assert owner.lost == []


async def test_what_dies_is_told_once_and_the_next_stream_works(provider: Provider) -> None:
    owner = Owner()
    stream = await owner.open(provider.recogniser)
    stream.feed(bytes(3_200))
    await asyncio.sleep(0)
    provider.kill(stream)
    await eventually(lambda: bool(owner.lost) or "the owner was not told", 10.0)
    assert owner.lost[0].reason in (Reason.NETWORK, Reason.CRASHED)
    with pytest.raises(RecogniserError):
        await stream.finish()
    stream.feed(bytes(3_200))
    await stream.close()
    await stream.close()
    again = await owner.open(provider.recogniser)
    again.feed(bytes(3_200))
    await again.finish()
    assert len(owner.lost) == 1


async def test_closing_is_quick_and_nothing_comes_afterwards(provider: Provider) -> None:
    owner = Owner()
    stream = await owner.open(provider.recogniser)
    await speak(stream, pcm("short"))
    finishing = asyncio.create_task(stream.finish())
    await asyncio.sleep(0)
    begun = monotonic()
    await stream.close()
    assert monotonic() - begun < patient(10.0)
    heard = len(owner.said)
    with suppress(RecogniserError):
        await finishing
    await stream.close()
    await asyncio.sleep(0.1)
    assert len(owner.said) == heard
    assert owner.lost == [], "closing is no loss"


async def test_opening_can_be_given_up(provider: Provider) -> None:
    opening = asyncio.create_task(Owner().open(provider.recogniser))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await (await Owner().open(provider.recogniser)).close()


def _serve(provider: Provider, language: str, target: str | None = None) -> Want:
    return provider.recogniser.serves(Want(language, target))


async def test_what_it_cannot_do_is_said_clearly(provider: Provider) -> None:
    with pytest.raises(RecogniserError, match="xx-XX") as refused:
        _serve(provider, "xx-XX")
    assert refused.value.reason is Reason.UNSUPPORTED
    with pytest.raises(RecogniserError) as refused:
        _serve(provider, "en-US", "en-US")
    assert refused.value.reason is Reason.UNSUPPORTED
    assert _serve(provider, "en-US") == provider.recogniser.serves(_serve(provider, "en-US")), "not settled"
    assert _serve(provider, "auto")


async def test_it_has_limits_and_shows_no_secret(provider: Provider) -> None:
    recogniser = provider.recogniser
    assert recogniser.name
    assert recogniser.limits.streams >= 1
    assert recogniser.stuck > 0.0
    assert KEY not in f"{vars(recogniser)}"
