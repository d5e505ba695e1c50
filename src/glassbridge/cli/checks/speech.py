"""Can captions be made?"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import Finding, Patient, skipped, well
from glassbridge.cli.speech import chosen_recogniser
from glassbridge.core.recogniser import Reason
from glassbridge.core.speech_load import USUAL_FITS
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.processors import usable_processors
from glassbridge.runtime.tasks import cancelled
from glassbridge.speech.base import Recogniser, RecogniserError, Want

WITHIN: Final = 20.0
"""Seconds: an offline recogniser loads its model first."""
SPEAKERS_OF_A_PROCESSOR: Final[Mapping[str, int]] = {"moonshine": USUAL_FITS, "pocketsphinx": 4}
"""People who may speak at once for each processor, by the recogniser that runs here; the cloud measures it anew."""
FEW_SPEAKERS: Final = 10
SILENCE: Final = bytes(300 * BYTES_PER_MS)
ADVICE: Final[Mapping[Reason, str]] = {
    Reason.UNAUTHORISED: "set the provider's key anew (SONIOX_API_KEY)",
    Reason.UNPAID: "the account of the provider has no credit left",
    Reason.TOO_MANY: "the provider allows no more streams: ask it for more, or lower GLASSBRIDGE_RECOGNISERS",
    Reason.NETWORK: "see that this machine may reach the provider by HTTPS and WebSocket (SONIOX_ENDPOINT)",
    Reason.UNSUPPORTED: "choose another language (GLASSBRIDGE_CAPTIONS) or recogniser (GLASSBRIDGE_RECOGNISER)",
}
OTHERWISE: Final = "see docs/speech.md; phones are told that audio arrives and is not captioned"


async def recogniser(patient: Patient) -> Finding:
    """Opens a stream of the recogniser that a cloud would use, and has it hear 0.3 s of silence to the end."""
    settings = patient.settings
    if not settings.captions:
        return skipped("captions are switched off (GLASSBRIDGE_CAPTIONS is empty)")
    try:
        chosen = chosen_recogniser(settings, alone=True)
    except UserError as error:
        return Trouble.RECOGNISER_SETTINGS.found(why=error)
    patient.recogniser = chosen.name, chosen.limits.streams
    try:
        async with asyncio.timeout(WITHIN):
            await _hear(chosen, Want(settings.captions))
    except RecogniserError as error:
        return Trouble.RECOGNISER.found(name=chosen.name, why=error, advice=ADVICE.get(error.reason, OTHERWISE))
    except TimeoutError:
        return Trouble.RECOGNISER_SILENT.found(name=chosen.name, seconds=WITHIN)
    finally:
        await chosen.close()
    return well(f"{chosen.name} listens to {settings.captions}")


async def speakers(patient: Patient) -> Finding:
    """How many people may speak at once, by the processors of this machine and by the settings?"""
    if patient.recogniser is None:
        return skipped("told with the recogniser")
    name, allowed = patient.recogniser
    if name not in SPEAKERS_OF_A_PROCESSOR:
        return skipped(f"{name} says itself how many")
    processors = usable_processors()
    bears = processors * SPEAKERS_OF_A_PROCESSOR[name]
    if bears < FEW_SPEAKERS:
        return Trouble.SPEAKERS_FEW.found(count=min(bears, allowed), processors=processors)
    if patient.settings.recognisers is not None and allowed < bears:
        return Trouble.SPEAKERS_LIMITED.found(allowed=allowed, bears=bears)
    return well(f"about {min(bears, allowed)} people may speak at once, on {processors} processors")


async def _hear(chosen: Recogniser, want: Want) -> None:
    """Raises RecogniserError, also where the stream is opened and then refused."""
    lost: asyncio.Future[RecogniserError] = asyncio.get_running_loop().create_future()
    stream = await chosen.open(
        chosen.serves(want), lambda _: None, lambda error: None if lost.done() else lost.set_result(error)
    )
    stream.feed(SILENCE)
    heard = asyncio.get_running_loop().create_task(stream.finish())
    both: list[asyncio.Future[Any]] = [lost, heard]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            raise lost.result()
        await heard
    finally:
        await cancelled(heard)
        await stream.close()
