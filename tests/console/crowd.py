"""Many phones for the console to show: each says once a second that it is there, some speak, some are gone."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.audio_frames import FLAG_PRESENCE, FrameNumber, encode_numbered
from tests.cloud.conftest import Phone, Stage
from tests.support.poll import eventually

SAMPLES = 1600
NAMES = ("ada", "bela", "chen", "dora", "emre", "fatima", "goran", "hana", "igor", "june", "kofi", "lena")


def user(number: int) -> str:
    return f"{NAMES[number % len(NAMES)]}{number}@example.com"


@asynccontextmanager
async def crowd(stage: Stage, size: int) -> AsyncIterator[list[Phone]]:
    """Phones whose audio goes by the socket."""
    phones = [await stage.phone(user(number), query="?audio=2") for number in range(size)]
    speaking = asyncio.create_task(_speak(phones))
    try:
        await eventually(
            lambda: all(phone.audio_states()[-1:] == [("live", "")] for phone in phones) or "not all are live", 20.0
        )
        yield phones
    finally:
        await cancelled(speaking)


async def _speak(phones: list[Phone]) -> None:
    """One in three speaks in each second, the others are only there."""
    rng = random.Random(6)
    positions = [0] * len(phones)
    for second in count():
        for number, phone in enumerate(phones):
            if phone.socket.closed:
                continue
            speaks = rng.random() < 0.3
            at = FrameNumber(number + 1, positions[number], second * 1_000_000, 0 if speaks else FLAG_PRESENCE)
            await phone.socket.send_bytes(encode_numbered(at, bytes(2 * SAMPLES) if speaks else b""))
            positions[number] += SAMPLES if speaks else 0
        await asyncio.sleep(1.0)
