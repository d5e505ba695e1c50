"""Voices of ElevenLabs, streamed as they are made (`POST /v1/text-to-speech/{voice}/stream`)."""

from collections.abc import AsyncGenerator
from typing import Final

import aiohttp
import structlog
from yarl import URL

from glassbridge.runtime.turns import FairTurns
from glassbridge.speech.voice import WAITING, SpeechRequest, VoiceError, turn

log = structlog.get_logger()

MODEL: Final = "eleven_flash_v2_5"
"""What the original asks for: the quickest."""
FORMAT: Final = "mp3_44100_64"
AT_ONCE: Final = 4
CONNECT_TIMEOUT: Final = 5.0
STALL_TIMEOUT: Final = 10.0
"""Seconds without a byte."""
_PIECE: Final = 16 << 10
_REFUSED: Final = {
    400: "ElevenLabs does not understand what is asked: check voice and model",
    401: "ElevenLabs refuses the key: check ELEVENLABS_API_KEY",
    402: "the ElevenLabs account has no credit left",
    403: "the ElevenLabs key may not do this",
    404: "ElevenLabs knows no such voice",
    422: "ElevenLabs does not understand what is asked: check voice and model",
    429: "ElevenLabs is asked for too much at once",
}


class ElevenLabsVoice:
    """One for a cloud; a Voice."""

    media_type = "audio/mpeg"

    def __init__(self, key: str, voice: str, url: str) -> None:
        self._key = key
        self._voice = voice
        self._url = URL(url)
        self._turns = FairTurns(AT_ONCE, WAITING)
        self._http: aiohttp.ClientSession | None = None

    async def say(self, utterance: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """As of Voice."""
        utterance.check()
        url = self._url / "v1/text-to-speech" / (utterance.voice or self._voice) / "stream"
        wish = {"text": utterance.text, "model_id": utterance.model or MODEL}
        body = wish | ({"voice_settings": dict(utterance.settings)} if utterance.settings else {})
        try:
            async with (
                turn(self._turns, utterance),
                self._session().post(url.with_query(output_format=FORMAT), json=body, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    log.warning("ElevenLabs refuses", status=answer.status)
                    text = _REFUSED.get(answer.status, f"ElevenLabs answers with status {answer.status}")
                    raise VoiceError(text)
                async for piece in answer.content.iter_chunked(_PIECE):
                    yield piece
        except TimeoutError:
            raise VoiceError("ElevenLabs does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            log.warning("ElevenLabs cannot be reached", error=type(error).__name__)
            raise VoiceError("ElevenLabs cannot be reached") from None

    async def close(self) -> None:
        """As of Voice."""
        if self._http is not None:
            await self._http.close()

    def _session(self) -> aiohttp.ClientSession:
        """Kept for the next sentence: a new connection would cost it 0.1 s."""
        if self._http is None:
            self._http = aiohttp.ClientSession(
                headers={"xi-api-key": self._key},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=STALL_TIMEOUT),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        return self._http

    def __repr__(self) -> str:
        return f"ElevenLabsVoice({self._voice!r})"
