"""Peers that send more than their share: a list of subscriptions, long texts, uploads that never end. And the checker
that what a cloud keeps of it has a bound."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Final

import aiohttp

from glassbridge.app.session import Session
from glassbridge.cloud.app import Cloud
from glassbridge.lab.weeks.process import Process
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, Signer, sound_claim
from glassbridge.wire.phone import LocalTranscription

LANGUAGES: Final = 200
"""That an app asks for, each by name."""
LONG_TEXTS: Final = (LocalTranscription(text="x" * 8_000, transcribe_language="fr-FR"),) * 8
"""Said at once, each as long as a phone may send; no app listens to this language."""
UPLOAD_EVERY: Final = 10.0
UPLOAD: Final = 1 << 20
"""Bytes of a sound, of which almost nothing comes."""

MOST_SUBSCRIPTIONS: Final = 64
"""Of one app."""
MOST_TEXT: Final = 1 << 20
"""Characters that a session keeps of what was said."""
MOST_COMING: Final = 8 * UPLOAD
"""Bytes on their way: as many uploads as begin within the deadline of one, and some."""


def subscribe_to_too_much(session: Session) -> None:
    """No user speaks these languages."""
    for number in range(LANGUAGES):
        session.on_transcription(f"xx-{number:04}")(lambda _said: None)


async def upload_for_ever(process: Process, package: str, signer: Signer, clouds: tuple[str, ...]) -> None:
    """Begins one upload after the other; none of them goes on. Safe to cancel."""
    async with process.world.http(timeout=aiohttp.ClientTimeout()) as http, asyncio.TaskGroup() as uploads:
        while True:
            await asyncio.sleep(UPLOAD_EVERY)
            uploads.create_task(_upload(http, process, package, signer, process.chance.choice(clouds)))


async def _upload(http: aiohttp.ClientSession, process: Process, package: str, signer: Signer, cloud: str) -> None:
    digest = "0" * 64
    headers = {
        SIGNATURE_HEADER: signer.sign(sound_claim(package, UPLOAD, digest), int(process.world.wall())),
        DIGEST_HEADER: digest,
        "Content-Length": str(UPLOAD),
    }
    with suppress(aiohttp.ClientError, OSError):
        await http.post(f"{cloud}/api/sounds", params={"app": package}, data=_beginning(), headers=headers)


async def _beginning() -> AsyncIterator[bytes]:
    yield b"RIFF"
    await asyncio.get_running_loop().create_future()


def unbounded(cloud: Cloud) -> Iterator[str]:
    """What a cloud keeps beyond its bound."""
    for session in cloud.sessions.living:
        for package, wanted in session.apps.handed_over().subscriptions.items():
            if len(wanted) > MOST_SUBSCRIPTIONS:
                yield f"{package} has {len(wanted)} subscriptions of {session.user}"
        said = sum(len(segment["text"]) for segment in session.audio.transcripts.handed_over())
        if said > MOST_TEXT:
            yield f"{said} characters of {session.user} are kept"
    if (coming := cloud.api.uploads.coming) > MOST_COMING:
        yield f"{coming} bytes of uploads are on their way"
