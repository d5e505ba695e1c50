"""`/api/tts`: text as sound, for apps that sign for it and for users who are signed in."""

import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from time import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import structlog
from aiohttp import web

from glassbridge.cloud.answers import failure
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import AppRecord, RegistryError
from glassbridge.core.values import UserId
from glassbridge.speech.voice import Utterance, Voice, VoiceError
from glassbridge.wire.app_keys import sign, signed_by, speech_claim

log = structlog.get_logger()

PATH = "/api/tts"


def vouched(url: str, record: AppRecord, cloud: str) -> str:
    """The same URL; where it asks this cloud (by the address that apps are given) to say something and is not signed,
    signed for the app: the original's SDK, which has proven its key on its socket, knows no signatures. It also says
    https whatever it was given."""
    parts, ours = urlsplit(url), urlsplit(cloud)
    if parts.netloc != ours.netloc or not parts.path.endswith(PATH):
        return url
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if "signature" in query:
        return url
    claim = speech_claim(record.package, query.get("text", ""), query.get("voice_id", ""))
    query |= {"app": record.package, "signature": sign(record.key_hash, claim, int(time()))}
    scheme = "https" if ours.scheme in ("wss", "https") else "http"
    return parts._replace(scheme=scheme, query=urlencode(query)).geturl()


class Tts:
    """The handler. Without a voice it says so. `user_of` raises what the server answers 401 to."""

    def __init__(self, host: AppHost, voice: Voice | None, user_of: Callable[[web.Request], Awaitable[UserId]]) -> None:
        self._host = host
        self._voice = voice
        self._user_of = user_of

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The sound of `text` as it is made, in the voice `voice_id` where one is named."""
        query = request.query
        text, voice, package = query.get("text", ""), query.get("voice_id"), query.get("app")
        if package is None:
            await self._user_of(request)
        elif not self._signed(package, text, voice or "", query.get("signature", "")):
            return failure(401, "INVALID_SIGNATURE", "sign with the app's API key, as the SDK does")
        if self._voice is None:
            return failure(501, "NO_VOICE", "this cloud has no voice: install espeak-ng, or set ELEVENLABS_API_KEY")
        try:
            utterance = Utterance(text, voice, query.get("model_id"), _settings(query.get("voice_settings", "{}")))
            async with aclosing(self._voice.say(utterance)) as pieces:
                first = await anext(pieces, b"")
                response = web.StreamResponse(headers={"Cache-Control": "no-store"})
                response.content_type = self._voice.media_type
                await response.prepare(request)
                try:
                    await response.write(first)
                    async for piece in pieces:
                        await response.write(piece)
                    await response.write_eof()
                except VoiceError as error:
                    log.warning("speech broke off", package=package, error=str(error))
                    _break_off(request)
        except VoiceError as error:
            return failure(422, "CANNOT_SAY", str(error))
        log.info("said", package=package, characters=len(text))
        return response

    def _signed(self, package: str, text: str, voice: str, signature: str) -> bool:
        try:
            record = self._host.registry.find(package)
        except RegistryError:
            return False
        claim = speech_claim(package, text, voice)
        return record is not None and signed_by(record.key_hash, claim, signature, time())


def _settings(text: str) -> dict[str, Any]:
    """Raises VoiceError."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise VoiceError("voice_settings is a JSON object")
    return found


def _break_off(request: web.Request) -> None:
    """Too late for a status: an end without the last chunk is the only way to say that this is not all."""
    if request.transport is not None:
        request.transport.abort()
