"""W: recognisers that die or stand still while somebody reads to a phone. Each word of the recording must be captioned
once and in order: by the real recogniser, through phone, room, bridge and cloud."""

import asyncio
import random
import secrets
import signal
import tempfile
import wave
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from glassbridge.app.events import Transcription
from glassbridge.app.transcript import Transcript
from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.core.words import normalised, word_errors
from glassbridge.lab import clips
from glassbridge.lab.faults import frozen
from glassbridge.lab.needs import LabError
from glassbridge.lab.program import Line
from glassbridge.lab.scenario import Alone, most, scenario_alone
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.lab.system import Sample
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.phone import wav

PAUSE = bytes(1_500 * BYTES_PER_MS)
READ = ("clip", "short")
EARLIEST, LATEST = 1.0, 15.0
"""Seconds of the reading after which the fault comes."""
STANDS_STILL = 20.0
"""Longer than a recogniser may give no sign of life (speech/process.py)."""
ENDS_WITHIN = 90.0
GRACE = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to all processes that recognise speech."""

    id: str
    title: str
    do: Callable[[list[int], ExitStack], None]
    """Undone when the stack is closed, STANDS_STILL seconds later."""


def kill(pids: list[int]) -> None:
    """At once."""
    for pid in pids:
        psutil.Process(pid).send_signal(signal.SIGKILL)


def _kill(pids: list[int], _undone: ExitStack) -> None:
    kill(pids)


def _freeze(pids: list[int], undone: ExitStack) -> None:
    undone.enter_context(frozen(*pids))


FAULTS = (
    Fault("W1", "all recognisers are killed while somebody reads", _kill),
    Fault("W2", f"all recognisers stand still for {STANDS_STILL:.0f} s while somebody reads", _freeze),
)


def in_order(captions: Iterable[Mapping[str, Any]]) -> list[str]:
    """The words of captions as a phone shows them: those that came late in their place."""
    shown = Transcript()
    for said in captions:
        start, end = said["start_ms"] or 0, said["end_ms"] or 0
        about = {"id": said["id"], "replaces": tuple(said["replaces"]), "inserts": said["inserts"]}
        shown.note(Transcription(said["text"], said["final"], "en-US", start, end, **about))
    return normalised(shown.text)


async def measure(fault: Fault, how: Alone) -> list[Sample]:
    """One sample for each run. Raises UserError and LabError. When cancelled, everything ends first."""
    chance = random.Random(how.seed)  # noqa: S311 - no secret
    keys = LiveKitKeys("lab", secrets.token_hex(16))
    config = StackConfig(keys=keys, jwt_secret=secrets.token_hex(16), participant=how.participant)  # type: ignore[arg-type]
    spoken = [word for name in READ for word in clips.words(name)]
    samples = []
    with tempfile.TemporaryDirectory(prefix="glassbridge-words-") as folder:
        text = Path(folder, "read.wav")
        with wave.open(str(text), "wb") as file:
            file.setparams((1, BYTES_PER_SAMPLE, SAMPLE_RATE, 0, "NONE", ""))
            for name in READ:
                file.writeframes(wav.load(clips.wav(name)) + PAUSE)
        async with Stack(config, _ignore, _ignore) as stack:
            for run in range(how.runs):
                at = chance.uniform(EARLIEST, LATEST)
                begun = monotonic()
                heard = await _read(stack, UserId(f"reader-{run}-{chance.randrange(16**6):06x}"), text, fault, at)
                figures = {
                    "wrong_words": float(word_errors(spoken, heard)),
                    "words": float(len(heard)),
                    "fault_at_s": round(at, 1),
                    "took_s": round(monotonic() - begun, 1),
                }
                samples.append(Sample(f"{fault.title}, after {at:.1f} s", f"run {run}", figures))
    return samples


async def _read(stack: Stack, user: UserId, text: Path, fault: Fault, at: float) -> list[str]:
    """The words that the phone was shown."""
    phone = await stack.start_phone(user, "--wav", str(text), "--audio", "pcm", "--control")
    ended = asyncio.create_task(phone.wait())
    try:
        async with asyncio.timeout(ENDS_WITHIN):
            while not phone.events("caption") and not ended.done():
                await asyncio.wait((ended,), timeout=0.05)
            await asyncio.wait((ended,), timeout=at)
            with ExitStack() as undone:
                fault.do(recognisers(stack), undone)
                await asyncio.wait((ended,), timeout=STANDS_STILL)
            while not phone.events("speech_end") and not ended.done():
                await asyncio.wait((ended,), timeout=0.1)
    except TimeoutError:
        raise LabError(f"the phone did not end within {ENDS_WITHIN:.0f} s") from None
    finally:
        await phone.stop(GRACE)
    return in_order(phone.events("caption"))


def recognisers(stack: Stack) -> list[int]:
    """The processes that recognise speech. Raises LabError."""
    children = psutil.Process(stack.cloud.pid).children(recursive=True)
    found = [child.pid for child in children if "glassbridge.speech" in " ".join(child.cmdline())]
    if not found:
        raise LabError("the cloud has no recogniser")
    return found


def _ignore(_: Line | str) -> None: ...


for each in FAULTS:
    scenario_alone(
        each.id, each.title, story="5.1", must=(most("wrong_words", 0),), measure=partial(measure, each), runs=5
    )
