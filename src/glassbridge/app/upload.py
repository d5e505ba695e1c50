"""Brings a sound of the app's own to the cloud, where the bridge can fetch it."""

import asyncio
from hashlib import sha256
from typing import Final

import aiohttp

from glassbridge.app.errors import PlaybackFailed
from glassbridge.runtime.world import World
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, Signer, sound_claim

PATH: Final = "/api/sounds"
TIMEOUT: Final = 30.0


async def upload(base: str, package: str, signer: Signer, sound: bytes, world: World) -> str:
    """The URL of a sound file, for 15 minutes. `base` is that of the cloud. Raises PlaybackFailed. Safe to cancel."""
    digest = sha256(sound).hexdigest()
    headers = {
        SIGNATURE_HEADER: signer.sign(sound_claim(package, len(sound), digest), int(world.wall())),
        DIGEST_HEADER: digest,
        "Content-Type": "application/octet-stream",
    }
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            world.http(trust_env=True) as http,
            http.post(base + PATH, params={"app": package}, data=sound, headers=headers) as answer,
        ):
            told = await answer.json()
            if answer.status != 200:
                raise PlaybackFailed(f"the cloud does not take the sound: {told['error']['message']}")
            return base + str(told["data"]["path"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        raise PlaybackFailed(f"the sound cannot be brought to the cloud ({type(error).__name__})") from None
