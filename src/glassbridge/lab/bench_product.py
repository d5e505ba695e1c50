"""How well speech is understood through phone, room, bridge and cloud, beside the recogniser alone."""

import asyncio
import secrets
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.core.words import word_errors
from glassbridge.lab.bench_speech import QUICK, Recording, Say, in_condition, recordings, understand
from glassbridge.lab.needs import LabError
from glassbridge.lab.program import Line
from glassbridge.lab.scenarios.spoken_words import in_order
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.speech.base import Recogniser
from glassbridge.speech.providers import ProviderConfig, make_recogniser

AT_ONCE: Final = 3
"""Phones."""
SLACK: Final = 60.0
"""Seconds that a phone may take beside the recording."""
GRACE: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductBench:
    """What is measured."""

    folders: tuple[Path, ...] = ()
    conditions: tuple[str, ...] = ("clean", "pink 10 dB")
    env: dict[str, str] | None = None


async def measure(bench: ProductBench, say: Say) -> dict[str, Any]:
    """Words that were wrong by the engine and by the product, and words in which the two differ, for each condition.
    Raises UserError and LabError."""
    heard = recordings(bench.folders)
    config = StackConfig(
        keys=LiveKitKeys("bench", secrets.token_hex(16)), jwt_secret=secrets.token_hex(16), env=bench.env or {}
    )
    recogniser = make_recogniser("moonshine", ProviderConfig())
    found: dict[str, Any] = {"words": sum(len(one.words) for one in heard), "conditions": {}}
    try:
        with tempfile.TemporaryDirectory(prefix="glassbridge-speech-") as folder:
            async with Stack(config, _ignore, _ignore) as stack:
                for number, condition in enumerate(bench.conditions):
                    say(condition)
                    turns = asyncio.Semaphore(AT_ONCE)
                    users = [UserId(f"reader-{number}-{at}") for at in range(len(heard))]
                    each = await asyncio.gather(
                        *(
                            _compare(stack, recogniser, user, one, condition, heard, Path(folder), turns)
                            for user, one in zip(users, heard, strict=True)
                        )
                    )
                    names = ("engine_wrong", "product_wrong", "differ")
                    found["conditions"][condition] = dict(zip(names, map(sum, zip(*each, strict=True)), strict=True))
    finally:
        await recogniser.close()
    return found


async def _compare(
    stack: Stack,
    recogniser: Recogniser,
    user: UserId,
    one: Recording,
    condition: str,
    heard: Sequence[Recording],
    folder: Path,
    turns: asyncio.Semaphore,
) -> tuple[int, int, int]:
    pcm = in_condition(one, condition, [other.pcm for other in heard if other is not one])
    async with turns:
        by_engine = (await understand(recogniser, pcm, QUICK)).words
        by_product = await _through(stack, user, pcm, folder / f"{user}.wav")
    return word_errors(one.words, by_engine), word_errors(one.words, by_product), word_errors(by_engine, by_product)


async def _through(stack: Stack, user: UserId, pcm: bytes, file: Path) -> list[str]:
    """The words that the phone was shown."""
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, BYTES_PER_SAMPLE, SAMPLE_RATE, 0, "NONE", ""))
        sound.writeframes(pcm)
    seconds = len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE
    phone = await stack.start_phone(user, "--wav", str(file), "--audio", "pcm")
    try:
        async with asyncio.timeout(seconds + SLACK):
            await phone.wait()
    except TimeoutError:
        raise LabError(f"a phone did not end {SLACK:.0f} s after its {seconds:.0f} s of speech") from None
    finally:
        await phone.stop(GRACE)
    return in_order(phone.events("caption"))


def _ignore(_: Line | str) -> None: ...


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    head = f"| {report['words']} words | wrong by the engine | wrong through the product | words that differ |"
    rows = [
        f"| {name} | {one['engine_wrong']} | {one['product_wrong']} | {one['differ']} |"
        for name, one in report["conditions"].items()
    ]
    return "\n".join([head, "|---|---|---|---|", *rows])
