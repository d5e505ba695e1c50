"""`/api/tts`: text as sound, for apps that sign for it and for users who are signed in."""

from collections.abc import Callable
from time import time

import structlog
from aiohttp import web

from glassbridge.cloud.answers import failure
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import RegistryError
from glassbridge.core.values import UserId
from glassbridge.speech.voice import Voice, VoiceError
from glassbridge.wire.app_keys import signed_by, speech_claim

log = structlog.get_logger()


class Tts:
    """The handler. Without a voice it says so. `user_of` raises what the server answers 401 to."""

    def __init__(self, host: AppHost, voice: Voice | None, user_of: Callable[[web.Request], UserId]) -> None:
        self._host = host
        self._voice = voice
        self._user_of = user_of

    async def get(self, request: web.Request) -> web.Response:
        """The sound of `text`, in the voice `voice_id` where one is named."""
        text, voice = request.query.get("text", ""), request.query.get("voice_id")
        package = request.query.get("app")
        if package is None:
            self._user_of(request)
        elif not self._signed(package, text, voice or "", request.query.get("signature", "")):
            return failure(401, "INVALID_SIGNATURE", "sign with the app's API key, as the SDK does")
        if self._voice is None:
            return failure(501, "NO_VOICE", "this cloud has no voice: install espeak-ng or flite")
        try:
            sound = await self._voice.say(text, voice)
        except VoiceError as error:
            return failure(422, "CANNOT_SAY", str(error))
        log.info("said", package=package, characters=len(text))
        return web.Response(body=sound, content_type="audio/wav", headers={"Cache-Control": "no-store"})

    def _signed(self, package: str, text: str, voice: str, signature: str) -> bool:
        try:
            record = self._host.registry.find(package)
        except RegistryError:
            return False
        claim = speech_claim(package, text, voice)
        return record is not None and signed_by(record.key_hash, claim, signature, time())
