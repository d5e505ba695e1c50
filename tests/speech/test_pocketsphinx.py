"""The offline recogniser with its real processes: words, times, limits, crashes, nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

from glassbridge.core.recogniser import Reason
from glassbridge.lab import clips
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.pocketsphinx import PocketsphinxRecogniser
from glassbridge.speech.process import ProcessStream
from tests.support.patience import patient
from tests.support.poll import eventually, eventually_sync


def pcm(name: str) -> bytes:
    with wave.open(str(clips.wav(name))) as file:
        assert file.getparams()[:3] == (1, 2, 16_000)
        frames: bytes = file.readframes(file.getnframes())
        return frames


class Owner:
    """Keeps what a stream says."""

    def __init__(self) -> None:
        self.said: list[Transcript] = []
        self.errors: list[RecogniserError] = []

    @property
    def words(self) -> list[str]:
        return " ".join(said.text for said in self.said if said.final).split()

    async def open(self, recogniser: PocketsphinxRecogniser) -> ProcessStream:
        return await recogniser.open(Want("en-US"), self.said.append, self.errors.append)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    return False


@pytest.fixture
async def recogniser() -> AsyncIterator[PocketsphinxRecogniser]:
    made = PocketsphinxRecogniser(2)
    yield made
    await made.close()


@pytest.mark.parametrize(("name", "chunk"), [("clip", 3_200), ("short", 1_154)])
async def test_reads_our_clips_without_error(recogniser: PocketsphinxRecogniser, name: str, chunk: int) -> None:
    owner = Owner()
    stream = await owner.open(recogniser)
    sound = pcm(name)
    for at in range(0, len(sound), chunk):
        stream.feed(sound[at : at + chunk])
        await eventually(lambda: stream._pending_bytes < 32_000 or "the process does not keep up", 60.0)
    await stream.finish()
    assert owner.words == clips.words(name)
    assert stream.dropped_bytes == 0
    assert any(not said.final for said in owner.said), "no partial came"
    for said in owner.said:
        assert 0 <= said.start_ms < said.end_ms <= len(sound) // 32
    finals = [said for said in owner.said if said.final]
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(finals)), "utterances overlap"


async def test_a_finished_stream_can_be_fed_on(recogniser: PocketsphinxRecogniser) -> None:
    owner = Owner()
    stream = await owner.open(recogniser)
    for _ in range(2):
        stream.feed(pcm("short"))
        await stream.finish()
    assert owner.words == clips.words("short") * 2
    assert owner.said[-1].start_ms > 3_000


async def test_the_next_stream_was_started_ahead(recogniser: PocketsphinxRecogniser) -> None:
    recogniser.warm_up()
    await eventually(lambda: len(recogniser.processes) == 1 or "no process was started ahead", 30.0)
    running = set(_pids())
    stream = await Owner().open(recogniser)
    assert stream.pid in running


def _pids() -> Iterator[int]:
    """Of our child processes."""
    for task in Path("/proc/self/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


async def test_the_cap_is_stated_and_frees_again(recogniser: PocketsphinxRecogniser) -> None:
    first, _ = await asyncio.gather(Owner().open(recogniser), Owner().open(recogniser))
    with pytest.raises(RecogniserError, match=r"all 2 recognisers are busy.*GLASSBRIDGE_RECOGNISERS"):
        await Owner().open(recogniser)
    await first.close()
    await Owner().open(recogniser)


async def test_other_languages_are_refused(recogniser: PocketsphinxRecogniser) -> None:
    with pytest.raises(RecogniserError, match="en-US only") as refused:
        await recogniser.open(Want("de-DE"), print, print)
    assert refused.value.reason is Reason.UNSUPPORTED


async def test_a_crash_ends_its_stream_alone_and_the_process_is_replaced(recogniser: PocketsphinxRecogniser) -> None:
    crashed, other = Owner(), Owner()
    stream, bystander = await crashed.open(recogniser), await other.open(recogniser)
    waiting = asyncio.create_task(stream.finish())
    os.kill(stream.pid, signal.SIGSTOP)
    await asyncio.sleep(0)
    os.kill(stream.pid, signal.SIGKILL)
    with pytest.raises(RecogniserError):
        await waiting
    await eventually(lambda: bool(crashed.errors) or "the owner was not told")
    assert crashed.errors[0].reason is Reason.CRASHED
    with pytest.raises(RecogniserError):
        await stream.finish()
    stream.feed(b"\0\0")

    again = await crashed.open(recogniser)
    for running in (again, bystander):
        running.feed(pcm("short"))
    await asyncio.gather(again.finish(), bystander.finish())
    assert crashed.words == other.words == clips.words("short")
    assert len(crashed.errors) == 1
    assert other.errors == []


async def test_a_stuck_process_costs_the_oldest_audio_and_nothing_else(recogniser: PocketsphinxRecogniser) -> None:
    owner = Owner()
    stream = await owner.open(recogniser)
    os.kill(stream.pid, signal.SIGSTOP)
    begun = monotonic()
    for _ in range(600):
        stream.feed(bytes(3_200))
        await asyncio.sleep(0)
    assert monotonic() - begun < patient(10.0), "feeding waited"
    assert stream.dropped_bytes > 20 * 32_000
    os.kill(stream.pid, signal.SIGCONT)
    stream.feed(pcm("short"))
    await stream.finish()
    assert owner.words == clips.words("short")
    assert owner.said[-1].start_ms > 60_000, "the clock forgot what was dropped"
    assert owner.errors == []


async def test_close_is_quick_even_where_the_process_is_stuck(recogniser: PocketsphinxRecogniser) -> None:
    stream = await Owner().open(recogniser)
    os.kill(stream.pid, signal.SIGSTOP)
    begun = monotonic()
    await stream.close()
    await stream.close()
    assert monotonic() - begun < patient(10.0)
    assert not alive(stream.pid)


async def test_close_ends_all_and_refuses_afterwards(recogniser: PocketsphinxRecogniser) -> None:
    owner = Owner()
    stream = await owner.open(recogniser)
    waiting = asyncio.create_task(stream.finish())
    await asyncio.sleep(0)
    await recogniser.close()
    await recogniser.close()
    with suppress(RecogniserError):
        await waiting
    assert owner.errors == [], "closing is no error"
    with pytest.raises(RecogniserError, match="closed"):
        await owner.open(recogniser)


async def test_a_cancelled_open_leaves_the_process_to_the_next(recogniser: PocketsphinxRecogniser) -> None:
    opening = asyncio.create_task(Owner().open(recogniser))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    owner = Owner()
    stream = await owner.open(recogniser)
    stream.feed(pcm("short"))
    await stream.finish()
    assert owner.words == clips.words("short")


@pytest.mark.parametrize(
    ("command", "why"),
    [((sys.executable, "-c", "raise SystemExit(3)"), "status 3"), (("/nonexistent/program",), "can be started")],
)
async def test_a_process_that_cannot_start_is_an_error(
    recogniser: PocketsphinxRecogniser, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], why: str
) -> None:
    monkeypatch.setattr(recogniser, "_command", command)
    with pytest.raises(RecogniserError, match=why):
        await Owner().open(recogniser)


def test_processes_die_with_their_parent() -> None:
    code = textwrap.dedent(
        """
        import asyncio
        from glassbridge.speech.base import Want
        from glassbridge.speech.pocketsphinx import PocketsphinxRecogniser

        async def main():
            recogniser = PocketsphinxRecogniser(1)
            stream = await recogniser.open(Want("en-US"), print, print)
            print(stream.pid, flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
        """
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    eventually_sync(lambda: not alive(pid) or "the recogniser outlives its parent", 2.0)
