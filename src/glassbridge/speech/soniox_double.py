"""A local double of Soniox: a real WebSocket server that speaks the documented protocol (soniox_protocol.py), for tests
and for development without a key. It can be told to misbehave in every way that the real one has been seen to.

What it "understands" is a script, revealed as audio comes, or what an offline recogniser makes of the audio. Its
translations only mark the words.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic

import msgspec
import structlog
from aiohttp import WSMsgType, web

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech import soniox_protocol as wire
from glassbridge.speech.base import Recogniser, Want
from glassbridge.speech.soniox_words import (
    SCRIPT,
    Offline,
    Say,
    Script,
    TokenSource,
    by_speaker,
    in_language,
    translated,
)

log = structlog.get_logger()

PATH = "/transcribe-websocket"
START_TIMEOUT = 10.0
MESSAGES = {
    400: ("invalid_request", "Invalid model specified."),
    401: ("unauthenticated", "Invalid API key."),
    402: ("payment_required", "Organization balance exhausted."),
    408: ("request_timeout", "Request timeout."),
    429: ("rate_limit_exceeded", "Your organization has exceeded max number of concurrent requests."),
    503: ("service_unavailable", "Cannot continue request (code 1). Please restart the request."),
}


class Manner(Enum):
    """How a stream goes wrong."""

    ERROR = "error"
    """An error answer, then a close."""
    DROP = "drop"
    """The connection breaks without a word: 1006."""
    NORMAL = "normal"
    """Closed with 1000, unasked."""
    MUTE = "mute"
    """Takes everything, pings included, and answers nothing any more."""
    HALF_OPEN = "half-open"
    """Neither reads nor writes any more, pongs included; the connection stays."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a stream once it has got `after` seconds of audio."""

    manner: Manner
    code: int = 0
    """Of an ERROR."""
    after: float = 0.0
    times: float = math.inf
    """For how many streams."""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """`429`, `drop@3` (after 3 s of audio), `503@2x1` (once). Raises ValueError."""
        what, _, rest = text.partition("@")
        after, _, times = rest.partition("x")
        if not rest and "x" in what:
            what, _, times = what.partition("x")
        manner = Manner.ERROR if what.isdigit() else Manner(what)
        code = int(what) if what.isdigit() else 0
        return cls(manner, code, float(after or 0.0), float(times or math.inf))


@dataclass(slots=True)
class Seen:
    """What a stream was told."""

    start: wire.Start
    fed: bytearray = field(default_factory=bytearray)
    keepalives: int = 0
    finalised: int = 0
    ended: bool = False
    open: bool = True


class SonioxDouble:
    """`async with` starts and stops it. Faults may be changed at any time, for the streams that begin later; lag is
    that of all. With a recogniser (borrowed) it understands what is said; `hears` makes what understands a stream."""

    def __init__(
        self,
        *,
        key: str = "",
        script: str = SCRIPT,
        recogniser: Recogniser | None = None,
        hears: Callable[[Say], TokenSource] | None = None,
        port: int = 0,
        on_tokens: Callable[[list[wire.Token]], None] = lambda _: None,
    ) -> None:
        self.port = port
        self._on_tokens = on_tokens
        """Hears what is understood, at the moment at which it is."""
        self.lag = 0.0
        """Seconds by which every answer is late."""
        self.idle_limit = wire.IDLE_LIMIT
        self.longest = wire.LONGEST
        """Seconds of audio after which a stream is told that it is too long."""
        self.door: int | None = None
        """HTTP status with which connections are refused before they are WebSockets."""
        self.streams: list[Seen] = []
        self.refused = 0
        """Connections with a wrong key."""
        self._key = key
        self._hears = hears or (lambda say: Script(script, say))
        self._recogniser = recogniser
        self._fault: Fault | None = None
        self._left = math.inf
        self._runner: web.AppRunner | None = None
        self._live: set[_Serving] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{PATH}"

    @property
    def open(self) -> int:
        """Streams now."""
        return len(self._live)

    def misbehave(self, fault: Fault | None) -> None:
        """From the next stream on; None: it behaves."""
        self._fault, self._left = fault, math.inf if fault is None else fault.times

    def drop_all(self) -> None:
        """Breaks every connection without a word."""
        for serving in list(self._live):
            serving.drop()

    async def __aenter__(self) -> "SonioxDouble":
        app = web.Application()
        app.router.add_get(PATH, self._serve)
        app.router.add_post("/faults", self._obey)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.drop_all()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _obey(self, request: web.Request) -> web.Response:
        """`POST /faults` with a fault, `lag=2`, or nothing for good manners."""
        text = (await request.text()).strip()
        try:
            if text.startswith("lag="):
                self.lag = float(text.removeprefix("lag="))
            else:
                self.misbehave(Fault.parse(text) if text else None)
        except ValueError:
            return web.Response(
                status=400, text="say 408, 429@3, drop@2x1, normal, mute, half-open, lag=2, or nothing\n"
            )
        return web.Response(text="ok\n")

    def _take_fault(self) -> Fault | None:
        if self._left < 1:
            return None
        self._left -= 1
        return self._fault

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.door is not None:
            self.refused += 1
            return web.Response(status=self.door, text="no")
        socket = web.WebSocketResponse(compress=False, timeout=0.5)
        await socket.prepare(request)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        serving = _Serving(socket, request.transport)
        self._live.add(serving)
        try:
            await self._run(serving, given)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._live.discard(serving)
            await serving.close()
        return socket

    async def _run(self, serving: "_Serving", given: str) -> None:
        async with asyncio.timeout(START_TIMEOUT):
            first = await serving.socket.receive()
        if first.type is not WSMsgType.TEXT:
            return
        try:
            start = wire.read_start(first.data)
        except msgspec.MsgspecError:
            await serving.refuse(400)
            return
        key = given or start.api_key
        if not key or (self._key and key != self._key):
            self.refused += 1
            await serving.refuse(401)
            return
        seen = Seen(start)
        self.streams.append(seen)
        fault = self._take_fault()
        try:
            if fault is not None and fault.after <= 0.0:
                await serving.suffer(fault)
            else:
                hears = await self._understand(start, lambda tokens: self._answer(serving, start, tokens))
                serving.owns(hears)
                await self._listen(serving, seen, hears, fault)
        finally:
            seen.open = False

    def _answer(self, serving: "_Serving", start: wire.Start, tokens: list[wire.Token]) -> None:
        self._on_tokens(tokens)
        serving.say(tokens, start, self.lag)

    async def _understand(self, start: wire.Start, say: Say) -> TokenSource:
        if self._recogniser is None:
            return self._hears(say)
        offline = Offline(say)
        want = self._recogniser.serves(Want("auto"))
        offline.stream = await self._recogniser.open(want, offline.heard, lambda _: None)
        return offline

    async def _listen(self, serving: "_Serving", seen: Seen, hears: TokenSource, fault: Fault | None) -> None:
        while True:
            try:
                async with asyncio.timeout(self.idle_limit):
                    message = await serving.socket.receive()
            except TimeoutError:
                await serving.refuse(408)
                return
            if message.type is WSMsgType.BINARY and message.data:
                seen.fed += message.data
                serving.ms += len(message.data) / BYTES_PER_MS
                await hears.feed(message.data)
                serving.say([], seen.start, self.lag)
                if fault is not None and serving.ms >= fault.after * 1000:
                    await serving.suffer(fault)
                    return
                if serving.ms > self.longest * 1000:
                    await serving.refuse(400)
                    return
            elif message.type is WSMsgType.TEXT and message.data:
                if wire.read_control(message.data) == wire.FINALIZE:
                    seen.finalised += 1
                    await hears.finish()
                else:
                    seen.keepalives += 1
            else:
                if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                    seen.ended = True
                    await serving.finish()
                return


class _Serving:
    """One connection: answers go out in order, each after its lag."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self.ms = 0.0
        """Of audio."""
        self._transport = transport
        self._answers: deque[tuple[float, wire.Answer]] = deque()
        self._wake = asyncio.Event()
        self._said_all = asyncio.Event()
        self._said_all.set()
        self._tasks = TaskGroup("soniox-double", lambda _task, _error: self.drop())
        self._tasks.spawn(self._write(), "write")
        self._gone = asyncio.Event()
        self._hears: TokenSource | None = None

    def owns(self, hears: TokenSource) -> None:
        """Closed with the connection."""
        self._hears = hears

    def say(self, tokens: list[wire.Token], start: wire.Start, lag: float) -> None:
        """Answers with these tokens and what becomes of them."""
        target = start.translation.target_language if start.translation is not None else None
        if any(token.translation_status is not None for token in tokens):  # words to be translated come translated
            untold = "none" if target else "translation"
            tokens = [
                one
                for one in tokens
                if one.translation_status != untold
                and (one.translation_status != "translation" or one.language == target)
            ]
        elif target:
            tokens = list(translated(tokens, target))
        language = start.language_hints[0] if start.language_hints else "en"
        if start.enable_language_identification:
            tokens = [in_language(token, language) for token in tokens]
        if start.enable_speaker_diarization:
            tokens = [by_speaker(token, "1") for token in tokens]
        finals = [token.end_ms for token in tokens if token.is_final and token.end_ms is not None]
        answer = wire.Answer(tokens, final_audio_proc_ms=max(finals, default=0), total_audio_proc_ms=self.ms)
        self._answers.append((monotonic() + lag, answer))
        self._said_all.clear()
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._answers:
                due, answer = self._answers.popleft()
                await asyncio.sleep(max(0.0, due - monotonic()))
                with suppress(ConnectionError):
                    await self.socket.send_str(wire.text_of(answer))
            self._said_all.set()

    async def refuse(self, code: int) -> None:
        """An error after the answers, then the end."""
        await self._said_all.wait()
        kind, message = MESSAGES.get(code, ("internal_error", "The server had an error processing your request."))
        await self.socket.send_str(wire.text_of(wire.Answer(error_code=code, error_type=kind, error_message=message)))
        await self.socket.close()

    async def suffer(self, fault: Fault) -> None:
        """The fault happens."""
        match fault.manner:
            case Manner.ERROR:
                await self.refuse(fault.code)
            case Manner.DROP:
                self.drop()
            case Manner.NORMAL:
                await self.socket.close()
            case Manner.MUTE:
                await self._tasks.close()
                while (await self.socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    pass
            case Manner.HALF_OPEN:
                await self._tasks.close()
                await self._gone.wait()

    async def finish(self) -> None:
        """The client has ended the stream."""
        await self._said_all.wait()
        await self.socket.send_str(
            wire.text_of(wire.Answer(finished=True, final_audio_proc_ms=self.ms, total_audio_proc_ms=self.ms))
        )
        await self.socket.close()

    def drop(self) -> None:
        """The connection breaks."""
        self._gone.set()
        self._said_all.set()
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Releases everything."""
        await self._tasks.close()
        if self._hears is not None:
            await self._hears.close()
