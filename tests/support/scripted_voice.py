"""A voice that says what a test tells it, and a double of ElevenLabs' API on a real port."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from glassbridge.speech.voice import SpeechRequest, VoiceError

KEY = "the-elevenlabs-key"


class ScriptedVoice:
    """Says `pieces`, or the utterance itself; then `error`."""

    media_type = "audio/wav"

    def __init__(self) -> None:
        self.said: list[SpeechRequest] = []
        self.pieces: list[bytes] = []
        self.error = ""
        self.go_on = asyncio.Event()
        """Waited for before each piece but the first."""
        self.go_on.set()
        self.closed = False

    async def say(self, utterance: SpeechRequest) -> AsyncGenerator[bytes, None]:
        utterance.check()
        self.said.append(utterance)
        for number, piece in enumerate(self.pieces or [f"{utterance.voice}: {utterance.text}".encode()]):
            if number:
                await self.go_on.wait()
            yield piece
        if self.error:
            await self.go_on.wait()
            raise VoiceError(self.error)

    async def close(self) -> None:
        self.closed = True


class ElevenLabs:
    """What the API is told to do."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.pieces = [b"ID3", b"sound"]
        self.go_on = asyncio.Event()
        """Waited for before each piece but the first."""
        self.go_on.set()
        self.breaks = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append({"voice": request.match_info["voice"], **request.query, **body})
        if request.headers.get("xi-api-key") != KEY:
            return web.json_response({"detail": {"status": "invalid_api_key"}}, status=401)
        if self.status != 200:
            return web.json_response({"detail": {"message": f"secret {KEY}"}}, status=self.status)
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        await response.prepare(request)
        for number, piece in enumerate(self.pieces):
            if number:
                await self.go_on.wait()
            await response.write(piece)
        if self.breaks and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def elevenlabs() -> AsyncIterator[ElevenLabs]:
    double = ElevenLabs()
    app = web.Application()
    app.router.add_post("/v1/text-to-speech/{voice}/stream", double.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    double.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield double
    finally:
        double.go_on.set()
        await runner.cleanup()
