"""How well, how soon and at which price each installed recogniser understands speech.

Recordings are the project's clips and any folder of sound files, each with a text of the same name. Words are compared
by the one rule of core/words.py. Each engine is asked through the interface that a cloud uses, processes and all.
"""

import asyncio
import os
import resource
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final

import psutil

from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE
from glassbridge.core.words import normalised, word_errors
from glassbridge.lab import clips
from glassbridge.lab.judge import percentile
from glassbridge.lab.sounds import babble, mixed, pink
from glassbridge.phone import wav
from glassbridge.runtime.errors import UserError
from glassbridge.speech.base import Recogniser, RecogniserError, RecogniserStream, Transcript, Want
from glassbridge.speech.providers import ProviderConfig, make_recogniser

CHUNK_MS: Final = 100
PAUSE: Final = bytes(1_000 * BYTES_PER_MS)
"""Before and after each recording, so that its first and last word are between silences."""
QUICK: Final = 4.0
"""How many times faster than speech recordings are played where only words are counted."""
SOUNDS: Final = ("wav", "flac", "mp3", "ogg")
LAG: Final = 2.0
"""Seconds after which a final transcript is too late."""
FEW: Final = 4
"""People who speak at once where delays are measured."""
CROWDS: Final = (1, 2, 4, 6, 8, 12, 16, 20, 24, 32)
CROWD_SECONDS: Final = 20.0
SETTLED: Final = 6.0
"""Seconds at the beginning of a crowd that do not count: processes start, and paces settle."""
CONDITIONS: Final = ("clean", "pink 10 dB", "pink 5 dB", "babble 10 dB", "babble 5 dB")
INSTALLED: Final = {"moonshine": "moonshine_voice", "pocketsphinx": "pocketsphinx"}
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """What is played."""

    name: str
    pcm: bytes
    words: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / BYTES_PER_MS / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechBench:
    """What is measured."""

    engines: tuple[str, ...] = ()
    """None: all that are installed."""
    folders: tuple[Path, ...] = ()
    conditions: tuple[str, ...] = CONDITIONS
    crowds: bool = True
    config: ProviderConfig = field(default_factory=ProviderConfig)


def installed(config: ProviderConfig) -> list[str]:
    """The offline engines that this machine has."""
    found = [name for name, module in INSTALLED.items() if find_spec(module) is not None]
    return found + (["sherpa"] if config.model is not None and find_spec("sherpa_onnx") is not None else [])


def recordings(folders: Iterable[Path]) -> list[Recording]:
    """The project's clips, and those of the folders. Raises UserError."""
    found = [Recording(name, wav.load(clips.wav(name)), tuple(clips.words(name))) for name in ("clip", "short")]
    for folder in folders:
        texts = sorted(folder.glob("*.txt"))
        pairs = [(text, sound) for text in texts for end in SOUNDS if (sound := text.with_suffix(f".{end}")).is_file()]
        if not pairs:
            raise UserError(f"{folder} holds no sound file with a text (.txt) of the same name: add one", 2)
        for text, sound in pairs:
            words = tuple(normalised(text.read_text(encoding="utf-8")))
            found.append(Recording(sound.stem, wav.load(sound), words))
    return found


def in_condition(recording: Recording, condition: str, voices: Sequence[bytes]) -> bytes:
    """Between pauses, with the noise that a condition names."""
    pcm = PAUSE + recording.pcm + PAUSE
    if condition == "clean":
        return pcm
    kind, ratio, _ = condition.split()
    samples = len(pcm) // BYTES_PER_SAMPLE
    return mixed(pcm, pink(samples) if kind == "pink" else babble(samples, voices), float(ratio))


@dataclass(slots=True)
class Reading:
    """The outcome of one playing."""

    begun: float = 0.0
    said: list[tuple[float, Transcript]] = field(default_factory=list)
    lost: list[RecogniserError] = field(default_factory=list)

    def take(self, said: Transcript) -> None:
        self.said.append((monotonic() - self.begun, said))

    @property
    def finals(self) -> list[tuple[float, Transcript]]:
        return [(at, said) for at, said in self.said if said.final]

    @property
    def words(self) -> list[str]:
        return normalised(" ".join(said.text for _, said in self.finals))

    @property
    def first_partials(self) -> list[float]:
        """Seconds from the first word of an utterance to the first text of it."""
        found, ended = [], 0
        for at, said in self.said:
            if said.start_ms >= ended and said.text:
                found.append(at - said.start_ms / 1000)
                ended = said.end_ms if said.final else 1 << 60
            if said.final:
                ended = said.end_ms
        return found

    @property
    def lags(self) -> list[float]:
        """Seconds from the end of an utterance to its final text."""
        return [at - said.end_ms / 1000 for at, said in self.finals if said.text]


async def _play(
    recogniser: Recogniser, pcm: bytes, speed: float = 1.0, heard: Reading | None = None
) -> tuple[Reading, RecogniserStream]:
    heard = heard or Reading()
    stream = await recogniser.open(recogniser.serves(Want("en-US")), heard.take, heard.lost.append)
    heard.begun = monotonic()
    size = CHUNK_MS * BYTES_PER_MS
    for at in range(0, len(pcm), size):
        stream.feed(pcm[at : at + size])
        due = heard.begun + (at + size) / BYTES_PER_MS / 1000 / speed
        await asyncio.sleep(max(0.0, due - monotonic()))
    return heard, stream


async def understand(recogniser: Recogniser, pcm: bytes, speed: float = 1.0) -> Reading:
    """Plays it, so many times faster than it was spoken. Raises RecogniserError."""
    heard, stream = await _play(recogniser, pcm, speed)
    await stream.finish()
    await stream.close()
    return heard


async def measure(bench: SpeechBench, say: Say) -> dict[str, Any]:
    """The report. Raises UserError."""
    heard = recordings(bench.folders)
    engines: dict[str, Any] = {}
    for name in bench.engines or installed(bench.config):
        recogniser = make_recogniser(name, bench.config)
        try:
            engines[name] = await _measure_engine(recogniser, heard, bench, partial(_say_of, say, name))
        finally:
            await recogniser.close()
    return {"recordings": [recording.name for recording in heard], "words": _words(heard), "engines": engines}


def _say_of(say: Say, name: str, text: str) -> None:
    say(f"{name}: {text}")


def _words(heard: Sequence[Recording]) -> int:
    return sum(len(recording.words) for recording in heard)


async def _measure_engine(
    recogniser: Recogniser, heard: Sequence[Recording], bench: SpeechBench, say: Say
) -> dict[str, Any]:
    recogniser.warm_up()
    await understand(recogniser, heard[-1].pcm, QUICK)
    found: dict[str, Any] = {"wer": {}}
    for condition in bench.conditions:
        say(condition)
        errors = [await _errors(recogniser, recording, condition, heard) for recording in heard]
        found["wer"][condition] = round(sum(errors) / _words(heard), 4)
    say("CPU and memory at the pace of speech")
    before, begun = _cpu(), monotonic()
    played = [await understand(recogniser, PAUSE + recording.pcm + PAUSE) for recording in heard]
    found["cpu"] = round((_cpu() - before) / (monotonic() - begun), 3)
    found["memory_mb"] = round(_memory_mb())
    say(f"delays with {FEW} people who speak at once")
    few = [one for one in await _crowd(recogniser, FEW, _text(heard)) if one is not None] or played
    found["first_partial_s"] = _p95([delay for one in few for delay in one.first_partials])
    found["final_s"] = _p95([delay for one in few for delay in one.lags])
    if bench.crowds:
        found["crowd"] = await _crowds(recogniser, heard, say)
    return found


async def _errors(recogniser: Recogniser, recording: Recording, condition: str, heard: Sequence[Recording]) -> int:
    others = [other.pcm for other in heard if other is not recording]
    understood = await understand(recogniser, in_condition(recording, condition, others), QUICK)
    return word_errors(recording.words, understood.words)


def _p95(values: Sequence[float]) -> float | None:
    return round(percentile(values, 0.95), 2) if values else None


# ---- how many at a time


async def _crowds(recogniser: Recogniser, heard: Sequence[Recording], say: Say) -> dict[str, Any]:
    """Ever more people who speak without a pause, until finals are late or somebody is refused."""
    held = {"streams": 0, "memory_mb": 0, "refused": False}
    for count in CROWDS:
        say(f"{count} people speak without a pause")
        crowd = await _crowd(recogniser, count, b"".join(recording.pcm for recording in heard))
        if None in crowd:
            return held | {"refused": True}
        lags = [lag for one in crowd if one is not None for lag in _settled_lags(one)]
        if not lags or percentile(lags, 0.95) > LAG:
            return held
        held = {"streams": count, "memory_mb": round(_memory_mb()), "refused": False}
        held["final_p95_s"] = _p95(lags)  # type: ignore[assignment]
    return held


def _text(heard: Sequence[Recording]) -> bytes:
    return b"".join(recording.pcm + PAUSE for recording in heard)


async def _crowd(recogniser: Recogniser, count: int, sound: bytes) -> list[Reading | None]:
    """The outcome of each; None: refused."""
    length = round(CROWD_SECONDS * 1000) * BYTES_PER_MS
    one = sound * (1 + (length + len(sound)) // len(sound))
    starts = [len(sound) * number // count // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE for number in range(count)]
    return await asyncio.gather(*(_in_crowd(recogniser, one[start : start + length]) for start in starts))


async def _in_crowd(recogniser: Recogniser, pcm: bytes) -> Reading | None:
    try:
        heard, stream = await _play(recogniser, pcm)
    except RecogniserError:
        return None
    with suppress(RecogniserError):
        await stream.finish()
    await stream.close()
    return heard


def _settled_lags(heard: Reading) -> list[float]:
    late = [] if heard.finals else [CROWD_SECONDS]
    return late + [at - said.end_ms / 1000 for at, said in heard.finals if said.text and at > SETTLED]


# ---- what it costs


def _processes() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children(recursive=True)


def _cpu() -> float:
    """Seconds of the processes that understand, those that have ended among them."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for process in _processes():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _memory_mb() -> float:
    """What they hold, with what they share counted once."""
    total = 0.0
    for process in _processes():
        with suppress(psutil.Error):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss) / 1e6
    return total


# ---- for people


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    engines = report["engines"]
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        *((f"word error rate, {name}", _rate_in(name)) for name in next(iter(engines.values()))["wer"]),
        (f"first partial after the first word, {FEW} speakers, p95", lambda one: _seconds(one["first_partial_s"])),
        (f"final after the end of speech, {FEW} speakers, p95", lambda one: _seconds(one["final_s"])),
        ("CPU for a second of speech", lambda one: f"{one['cpu']:.2f} s"),
        ("memory, one stream", lambda one: f"{one['memory_mb']} MB"),
    ]
    if all("crowd" in one for one in engines.values()):
        rows.append(("people who speak without a pause, finals within 2 s", lambda one: f"{one['crowd']['streams']}"))
        rows.append(("memory, that many", lambda one: f"{one['crowd']['memory_mb']} MB"))
    head = f"| {report['words']} words, {len(report['recordings'])} recordings | " + " | ".join(engines) + " |"
    lines = [f"| {name} | " + " | ".join(show(one) for one in engines.values()) + " |" for name, show in rows]
    return "\n".join([head, "|---|" + "---|" * len(engines), *lines])


def _rate_in(name: str) -> Callable[[dict[str, Any]], str]:
    """Shows the word error rate in a condition."""
    return lambda one: f"{100 * one['wer'][name]:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
