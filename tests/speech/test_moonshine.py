"""The default offline recogniser with its real processes: words, many streams on one model, crashes, freezes, load."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from importlib.util import find_spec
from time import monotonic
from typing import cast

import pytest

from glassbridge.core.recogniser import Reason
from glassbridge.core.speech_load import USUAL_FITS
from glassbridge.core.spoken import Piece
from glassbridge.core.words import normalised, word_errors
from glassbridge.lab import clips
from glassbridge.runtime.errors import UserError
from glassbridge.speech.base import RecogniserError, RecogniserStream, Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.moonshine import MoonshineRecogniser
from glassbridge.speech.moonshine_model import tidy
from glassbridge.speech.process import ProcessStream
from glassbridge.speech.providers import ProviderConfig, make_recogniser
from glassbridge.speech.supervisor import Speech
from tests.speech.hearing import SECOND, Owner, pcm, speak
from tests.speech.test_pocketsphinx import alive
from tests.support.patience import patient
from tests.support.poll import Verdict, eventually, eventually_sync


@pytest.fixture
async def recogniser() -> AsyncIterator[MoonshineRecogniser]:
    made = MoonshineRecogniser(64, processes=2)
    yield made
    await made.close()


def without_pauses(sound: bytes) -> bytes:
    """No silence is longer than 0.06 s."""
    frames = [sound[at : at + 960] for at in range(0, len(sound) - 960, 960)]
    return b"".join(frame for n, frame in enumerate(frames) if any(map(any, frames[max(0, n - 2) : n + 1])))


def pid_of(stream: RecogniserStream) -> int:
    return cast(ProcessStream, stream).pid


async def test_every_word_of_the_clip_with_punctuation(recogniser: MoonshineRecogniser) -> None:
    owner = Owner()
    stream = await owner.open(recogniser)
    await speak(stream, pcm("clip"), 3_198)
    await stream.finish()
    assert normalised(" ".join(owner.words)) == clips.words()
    assert [said.text[-1] for said in owner.finals] == [".", "?", ".", "."]
    for before, after in zip(owner.finals, owner.finals[1:], strict=False):
        assert before.end_ms < after.start_ms


async def test_many_streams_share_few_processes_and_each_gets_its_own_words(recogniser: MoonshineRecogniser) -> None:
    owners = [Owner() for _ in range(4)]
    streams = [await owner.open(recogniser) for owner in owners]
    assert len({pid_of(stream) for stream in streams}) <= 2
    sounds = ["short", "clip", "short", "short"]
    await asyncio.gather(*(speak(stream, pcm(name), speed=4.0) for stream, name in zip(streams, sounds, strict=True)))
    await asyncio.gather(*(stream.finish() for stream in streams))
    for owner, name in zip(owners, sounds, strict=True):
        assert normalised(" ".join(owner.words)) == clips.words(name)


async def test_streams_that_begin_at_once_are_spread(recogniser: MoonshineRecogniser) -> None:
    streams = await asyncio.gather(*(Owner().open(recogniser) for _ in range(8)))
    pids = [pid_of(stream) for stream in streams]
    assert len(set(pids)) == 2
    assert max(pids.count(pid) for pid in set(pids)) <= 5, "each may be measured at another moment"


async def test_somebody_who_never_pauses_is_cut_between_words(recogniser: MoonshineRecogniser) -> None:
    """The clip's sentences with hardly a pause, again and again: longer than any utterance may be."""
    spoken = without_pauses(pcm("clip"))
    owner = Owner()
    stream = await owner.open(recogniser)
    await speak(stream, spoken * 3, speed=8.0)
    await stream.finish()
    assert len(owner.finals) > 2
    assert max(said.end_ms - said.start_ms for said in owner.finals) < 16_000
    words, heard = clips.words() * 3, normalised(" ".join(owner.words))
    assert word_errors(words, heard) <= len(words) // 20, heard


async def test_a_dead_process_costs_its_streams_a_new_one_and_no_other(recogniser: MoonshineRecogniser) -> None:
    crashed, other = Owner(), Owner()
    stream = await crashed.open(recogniser)
    await eventually(lambda: len(recogniser.processes) == 2 or "no process is kept ahead", 20.0)
    for _ in range(8):  # the process with most room gets it: on a busy machine that is now this one, now that
        bystander = await other.open(recogniser)
        if pid_of(stream) != pid_of(bystander):
            break
        await bystander.close()
    assert pid_of(stream) != pid_of(bystander), "streams are not spread"
    waiting = asyncio.create_task(stream.finish())
    os.kill(pid_of(stream), signal.SIGSTOP)
    await asyncio.sleep(0)
    os.kill(pid_of(stream), signal.SIGKILL)
    with pytest.raises(RecogniserError):
        await waiting
    await eventually(lambda: bool(crashed.lost) or "the owner was not told")
    assert crashed.lost[0].reason is Reason.CRASHED
    begun = monotonic()
    again = await crashed.open(recogniser)
    assert monotonic() - begun < patient(0.5), "no process was ready"
    for running in (again, bystander):
        await speak(running, pcm("short"))
    await asyncio.gather(again.finish(), bystander.finish())
    for owner in (crashed, other):
        assert normalised(" ".join(owner.words)) == clips.words("short")
    assert other.lost == []


@pytest.mark.parametrize(
    ("how", "all_of_them"),
    [
        (signal.SIGKILL, False),
        pytest.param(signal.SIGSTOP, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGSTOP, True, marks=pytest.mark.slow),
    ],
)
async def test_every_word_is_understood_once_whatever_becomes_of_the_process(
    recogniser: MoonshineRecogniser, how: signal.Signals, all_of_them: bool
) -> None:
    """Through an ear, which opens the next stream: killed, or frozen, in the middle of the second sentence; with the
    process that would take its place, or without."""
    heard: list[Transcript] = []
    speech = Speech(recogniser)
    ear = Ear(speech, Want("en-US"), heard.append, lambda _fault: None)
    sound, begun = pcm("short") * 3, monotonic()
    for at in range(0, len(sound), 3_200):
        ear.put(Piece(at // 2, sound[at : at + 3_200], monotonic()))
        if at == 144_000:
            await eventually(lambda: bool(recogniser.processes) or "no process runs", 20.0)
            for process in recogniser.processes:
                if process.streams or all_of_them:
                    os.kill(process.pid, how)
        await asyncio.sleep(max(0.0, begun + (at + 3_200) / SECOND - monotonic()))
    ear.ends()
    assert await ear.finish()
    await ear.close()
    finals = [said for said in heard if said.final]
    assert normalised(" ".join(said.text for said in finals)) == clips.words("short") * 3
    times = [(said.start_ms, said.end_ms) for said in finals]
    assert times == sorted(times)
    assert speech.ended == {"stuck" if how is signal.SIGSTOP else "crashed": 1}


async def test_a_frozen_process_is_replaced(recogniser: MoonshineRecogniser) -> None:
    owner = Owner()
    stream = await owner.open(recogniser)
    frozen = pid_of(stream)
    os.kill(frozen, signal.SIGSTOP)
    begun = monotonic()
    for _ in range(600):
        stream.feed(bytes(3_200))
        await asyncio.sleep(0)
    assert monotonic() - begun < patient(10.0), "feeding waited"
    assert stream.dropped_bytes > 20 * SECOND
    await eventually(lambda: bool(owner.lost) or "nobody noticed", 20.0)
    assert owner.lost[0].reason is Reason.STUCK
    await eventually(lambda: not alive(frozen) or "it is still there")


async def test_streams_of_silence_take_no_room(recogniser: MoonshineRecogniser) -> None:
    """More than two processes have room for if each speaks. How many may come at a time depends on what else runs here;
    who finds no room tries again."""
    owners = [Owner() for _ in range(40)]
    assert len(owners) > 2 * USUAL_FITS
    streams: list[RecogniserStream] = []

    async def all_open() -> Verdict:
        try:
            while len(streams) < len(owners):
                streams.append(await owners[len(streams)].open(recogniser))
        except RecogniserError as error:
            if error.reason is not Reason.BUSY:
                raise
        return len(streams) == len(owners) or f"{len(streams)} of {len(owners)} found room"

    await eventually(all_open, 60.0)
    assert not any(owner.lost for owner in owners)
    await eventually(lambda: recogniser.fits > 0 or "no room for one more", 10.0)
    await speak(streams[-1], pcm("short"))
    await streams[-1].finish()
    assert normalised(" ".join(owners[-1].words)) == clips.words("short")


async def test_other_languages_are_refused(recogniser: MoonshineRecogniser) -> None:
    with pytest.raises(RecogniserError, match="en-US only"):
        recogniser.serves(Want("de-DE"))


def test_a_program_that_dies_takes_its_processes_with_it() -> None:
    code = textwrap.dedent(
        """
        import asyncio
        from glassbridge.speech.base import Want
        from glassbridge.speech.moonshine import MoonshineRecogniser

        async def main():
            recogniser = MoonshineRecogniser(1)
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


def test_old_spelling_becomes_new_and_doubled_stops_one() -> None:
    assert tidy("To-day at five o'clock.. and to-night? ") == "Today at five o'clock. and tonight?"
    assert tidy("into-day") == "into-day"


def test_without_moonshine_pocketsphinx_understands_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = {"moonshine_voice"}
    monkeypatch.setattr(
        "glassbridge.speech.providers.find_spec", lambda name: None if name in absent else find_spec(name)
    )
    assert make_recogniser("offline", ProviderConfig()).name == "pocketsphinx"
    said = caplog.text + capsys.readouterr().out
    assert said.count("pocketsphinx in use") == said.count("Moonshine has no wheel for this machine") == 1
    with pytest.raises(UserError, match="glibc"):
        make_recogniser("moonshine", ProviderConfig())
    absent.add("pocketsphinx")
    with pytest.raises(UserError, match=r"glassbridge\[pocketsphinx\]"):
        make_recogniser("offline", ProviderConfig())


async def test_with_moonshine_it_is_the_default() -> None:
    assert make_recogniser("offline", ProviderConfig()).name == "moonshine"
