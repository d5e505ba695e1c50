"""Recognisers that are programs: what the system or the program does wrong costs one stream at most."""

import errno
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from glassbridge.core.recogniser import Reason
from glassbridge.core.subscriptions import AUTO
from glassbridge.runtime.child import Child
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.pool import ProcessRecogniser
from tests.support.patience import soon
from tests.support.poll import eventually

PROGRAM = r"""
import json, struct, sys
out = sys.stdout.buffer
def say(raw): out.write(raw + b"\n"); out.flush()
def tell(**answer): say(json.dumps(answer).encode())
tell(type="ready")
while head := sys.stdin.buffer.read(17):
    order, stream, position, size = struct.unpack("<BIQI", head)
    sys.stdin.buffer.read(size)
    if order == 2:
        tell(type="shed", stream=stream)
    if order == 3:
        say(b"\xff a native library says something")
        say(b"[" * 100_000)
        say(b"x" * 300_000)
        tell(type="finished", stream=stream)
        tell(type="finished", stream=stream)
        tell(type="finished", stream=stream + 1)
        said = {"text": "heard", "final": True, "start_ms": 0, "end_ms": 1}
        tell(type="said", stream=stream, transcript=said)
        tell(type="said", stream=stream + 1, transcript=said)
"""

FULL = r"""
import sys, time
print('{"type": "ready"}', flush=True)
print('{"type": "status", "pace": "FINALS", "late": 0.2, "busy": 0.7, "speakers": 12.0, "fits": 0}', flush=True)
sys.stdin.buffer.read()
"""


class Scripted(ProcessRecogniser):
    def serves(self, want: Want) -> Want:
        return want


@pytest.fixture
async def recogniser() -> AsyncIterator[Scripted]:
    made = Scripted([sys.executable, "-c", PROGRAM], limit=3, each=1)
    yield made
    await made.close()


async def test_how_many_fit_can_be_asked_before_the_first_process_runs(recogniser: Scripted) -> None:
    """The console asks in that moment, too: its stream broke off."""
    assert not recogniser.processes
    assert recogniser.fits >= 1


async def test_lines_that_cannot_be_read_cost_no_stream(recogniser: Scripted) -> None:
    said: list[Transcript] = []
    lost: list[RecogniserError] = []
    stream = await recogniser.open(Want(AUTO), said.append, lost.append)
    for _ in range(3):
        await soon(stream.finish(), 5)
    await eventually(lambda: len(said) == 3 or f"{said}, {lost}")
    assert not lost
    assert not stream.ended


async def test_a_stream_that_its_process_sends_away_is_lost_for_that_reason_and_no_other(recogniser: Scripted) -> None:
    lost: list[RecogniserError] = []
    spared: list[RecogniserError] = []
    stream = await recogniser.open(Want(AUTO), lambda _said: None, lost.append)
    other = await recogniser.open(Want(AUTO), lambda _said: None, spared.append)
    stream.feed(bytes(3_200))
    await eventually(lambda: bool(lost) or "it was not told")
    assert [error.reason for error in lost] == [Reason.OVERLOADED]
    await soon(other.finish(), 5)
    assert spared == []
    await stream.close()


async def test_where_nobody_fits_a_stream_is_refused_at_once_with_a_reason() -> None:
    full = Scripted([sys.executable, "-c", FULL], limit=9, processes=1)
    full.warm_up()
    await eventually(lambda: bool(full.processes and not full.processes[0].fits) or "it has not said so", 10.0)
    with pytest.raises(RecogniserError, match="no room for another") as caught:
        await soon(full.open(Want(AUTO), lambda _said: None, lambda _error: None), 2)
    assert caught.value.reason is Reason.BUSY
    await full.close()


@pytest.mark.parametrize(
    "error",
    [BlockingIOError(errno.EAGAIN, "no process"), OSError(errno.EMFILE, "no descriptor"), MemoryError()],
    ids=["EAGAIN", "EMFILE", "ENOMEM"],
)
async def test_a_failed_fork_costs_the_stream_that_is_wanted_and_no_other(
    recogniser: Scripted, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[RecogniserError] = []
    spoken: list[Transcript] = []
    first = await recogniser.open(Want(AUTO), spoken.append, lost.append)

    async def refuse(*_: Any, **__: Any) -> Child:
        raise error

    async def open_all() -> None:  # one may have been started ahead
        while True:
            await recogniser.open(Want(AUTO), spoken.append, lost.append)

    with monkeypatch.context() as patch:
        patch.setattr(Child, "start", refuse)
        with pytest.raises(RecogniserError) as caught:
            await open_all()
    assert caught.value.reason in (Reason.CRASHED, Reason.BUSY)
    await soon(first.finish(), 5)
    assert not lost
