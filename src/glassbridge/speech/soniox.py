"""Soniox, by its raw WebSocket: many languages, speakers, translation. Needs a key; speech leaves this machine."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import aiohttp
import msgspec
import structlog

from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.subscriptions import AUTO
from glassbridge.core.values import BYTES_PER_MS, SAMPLE_RATE
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech import soniox_protocol as wire
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.soniox_tokens import TokenUtterances

log = structlog.get_logger()

CONNECT_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
FINISH_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
KEEPALIVE_AFTER = 5.0
"""Seconds after the last audio or keep-alive. How long that goes on is decided by the age of audio, not here."""
MAX_PENDING_BYTES = 30_000 * BYTES_PER_MS
UNTOLD_MS = 600
"""Audio that the service may keep back until more comes, without being late."""
MOST_UNHEARD = 4_096
"""Pieces of audio."""
FRAME_BYTES = 250 * BYTES_PER_MS
"""Waiting audio is sent in frames of so many bytes: the service wants about the pace of speech."""

REASONS: Final = {
    400: Reason.BAD_REQUEST,
    401: Reason.UNAUTHORISED,
    402: Reason.UNPAID,
    403: Reason.UNAUTHORISED,
    404: Reason.BAD_REQUEST,
    408: Reason.SILENCE,
    429: Reason.TOO_MANY,
}
"""By HTTP status, of the handshake as of an error answer; every other one is UNAVAILABLE."""
SPARE: Final = 10
"""Streams a minute that are left to others who use the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SonioxConfig:
    """Where and how; times in seconds."""

    key: str = field(repr=False)
    url: str = wire.URL
    model: str = wire.MODEL
    streams: int = wire.CONCURRENT
    per_minute: int = wire.PER_MINUTE
    """Streams that the account may begin in a minute."""
    vocabulary: tuple[str, ...] = ()
    """Names and words that are likely to be said."""
    ping_every: float = 10.0
    """A server that answers no ping within half of that is gone: TCP alone would not say so."""


class SonioxRecogniser:
    """A Recogniser (speech/base.py)."""

    name = "soniox"
    times = StreamTimes(linger=15.0, proven=1.0, longest=wire.LONGEST - 600.0)
    stuck = 20.0

    def __init__(self, config: SonioxConfig) -> None:
        self.limits = Limits(streams=config.streams, opening=5, per_minute=config.per_minute - SPARE, of_account=True)
        self._config = config
        self._http: aiohttp.ClientSession | None = None
        self._streams: set[SonioxStream] = set()
        self._closed = False

    def serves(self, want: Want) -> Want:
        """Regions make no difference: en-US and en-GB share a stream. Raises RecogniserError."""
        language, target = _base(want.language), want.target and _base(want.target)
        if target is not None and target == language:
            raise RecogniserError("spoken and wanted language are the same", Reason.UNSUPPORTED)
        return Want(language, target)

    def warm_up(self) -> None:
        """Nothing: streams are billed by their time."""

    @property
    def fits(self) -> None:
        """As many as there are streams."""
        return None

    async def open(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> "SonioxStream":
        """A new stream. Raises RecogniserError. Safe to cancel."""
        if self._closed:
            raise RecogniserError("the recogniser is closed", Reason.CLOSED)
        if self._http is None:
            self._http = aiohttp.ClientSession(trust_env=True)
        config = self._config
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                socket = await self._http.ws_connect(
                    config.url,
                    headers={"Authorization": f"Bearer {config.key}"},
                    heartbeat=config.ping_every,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                    compress=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise _refusal(error.status) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RecogniserError(f"Soniox cannot be reached ({type(error).__name__})", Reason.NETWORK) from None
        stream = SonioxStream(socket, want, on_transcript, on_lost, self._streams.discard)
        self._streams.add(stream)
        try:
            await stream.start(_start(config, want))
        except BaseException:
            await stream.close()
            raise
        return stream

    async def close(self) -> None:
        """Ends all streams; idempotent; at most 3 s."""
        self._closed = True
        await asyncio.gather(*(stream.close() for stream in list(self._streams)))
        if self._http is not None:
            await self._http.close()


def _base(language: str) -> str:
    """en-US is en. Raises RecogniserError."""
    base = language.partition("-")[0].lower()
    if language != AUTO and base not in wire.LANGUAGES:
        raise RecogniserError(f"Soniox does not know {language}", Reason.UNSUPPORTED)
    return AUTO if language == AUTO else base


def _start(config: SonioxConfig, want: Want) -> wire.Start:
    named = want.language != AUTO
    return wire.Start(
        model=config.model,
        audio_format="pcm_s16le",
        sample_rate=SAMPLE_RATE,
        num_channels=1,
        language_hints=[want.language] if named else [],
        language_hints_strict=named,
        enable_language_identification=not named,
        enable_speaker_diarization=True,
        enable_endpoint_detection=True,
        context=wire.Context(list(config.vocabulary)) if config.vocabulary else None,
        translation=None if want.target is None else wire.Translation("one_way", target_language=want.target),
    )


def _refusal(status: int, *, worked: bool = False) -> RecogniserError:
    """What a status means. Texts of the service are not passed on: they may quote anything."""
    reason = REASONS.get(status, Reason.UNAVAILABLE)
    if status == 503 and worked:
        reason = Reason.RESTART
    hint = " (see SONIOX_API_KEY)" if reason is Reason.UNAUTHORISED else ""
    return RecogniserError(f"Soniox says {status}: {reason.text}{hint}", reason)


class SonioxStream:
    """A RecogniserStream (speech/base.py) on a socket of its own."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        want: Want,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
        on_ended: Callable[["SonioxStream"], None],
    ) -> None:
        self._socket = socket
        self._utterances = TokenUtterances(want)
        self._on_transcript = on_transcript
        self._on_lost = on_lost
        self._on_ended = on_ended
        self._pending: deque[bytes | None] = deque()
        """Audio; None asks for finalisation of what goes before."""
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._finishing: deque[asyncio.Future[None]] = deque()
        self._unfinished = False
        """Audio was given since the last finish()."""
        self._unanswered_since: float | None = None
        self._fed_ms = 0.0
        self._unheard: deque[tuple[float, float]] = deque(maxlen=MOST_UNHEARD)
        """Audio that the service has not told to have processed: milliseconds of the stream at its end, and when it
        was fed."""
        self._worked = False
        self._ended = False
        self._dropped_bytes = 0
        self._tasks = TaskGroup("soniox", self._failed)

    async def start(self, start: wire.Start) -> None:
        """Says what is wanted; a refusal comes later, by on_lost. Raises RecogniserError."""
        try:
            await self._send(self._socket.send_str(wire.text_of(start)))
        except (TimeoutError, ConnectionError):
            raise RecogniserError("Soniox hung up", Reason.NETWORK) from None
        self._tasks.spawn(self._receive(), "receive")
        self._tasks.spawn(self._write(), "write")

    @property
    def partials(self) -> float:
        """They come as they can."""
        return 0.0

    @property
    def dropped_bytes(self) -> int:
        """Bytes that were dropped because the service did not keep up."""
        return self._dropped_bytes

    @property
    def stalled(self) -> float:
        """Seconds for which audio has gone out and nothing at all has come back."""
        return 0.0 if self._unanswered_since is None else monotonic() - self._unanswered_since

    @property
    def behind(self) -> float:
        """Seconds since the oldest audio was fed that the service has not told to have processed."""
        if not self._unheard or self._fed_ms - self._unheard[0][0] < UNTOLD_MS:
            return 0.0
        return monotonic() - self._unheard[0][1]

    def feed(self, pcm: bytes) -> None:
        """Gives PCM16 LE, 16 kHz, mono, whole samples. Never waits; ignored once ended."""
        if self._ended:
            return
        self._unfinished = True
        self._fed_ms += len(pcm) / BYTES_PER_MS
        self._unheard.append((self._fed_ms, monotonic()))
        self._pending.append(pcm)
        self._pending_bytes += len(pcm)
        while self._pending_bytes > MAX_PENDING_BYTES:
            self._drop_oldest()
        self._wake.set()

    def _drop_oldest(self) -> None:
        index = next(i for i, pcm in enumerate(self._pending) if pcm is not None)
        size = len(self._pending[index] or b"")
        del self._pending[index]
        self._pending_bytes -= size
        self._dropped_bytes += size

    async def finish(self) -> None:
        """Finalises what is pending. Raises RecogniserError. Safe to cancel."""
        if self._ended:
            raise RecogniserError("the stream has ended", Reason.CLOSED)
        if not self._unfinished:
            return
        self._unfinished = False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._finishing.append(done)
        self._pending.append(None)
        self._wake.set()
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                await done
        except TimeoutError:
            raise RecogniserError(f"no answer from Soniox within {FINISH_TIMEOUT:.0f} s", Reason.STUCK) from None

    async def close(self) -> None:
        """Ends the stream politely; idempotent; at most 2 s."""
        was_open, self._ended = not self._ended, True
        await self._tasks.close(CLOSE_TIMEOUT)
        if was_open:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(CLOSE_TIMEOUT / 2):
                    await self._socket.send_bytes(b"")
        await self._socket.close()
        self._end(None)

    # ---- out

    async def _send(self, sending: Awaitable[None]) -> None:
        async with asyncio.timeout(SEND_TIMEOUT):
            await sending

    async def _write(self) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(KEEPALIVE_AFTER):
                        await self._wake.wait()
                except TimeoutError:
                    await self._send(self._socket.send_str(wire.text_of(wire.KEEPALIVE)))
                    continue
                self._wake.clear()
                while self._pending:
                    await self._write_next()
        except (TimeoutError, ConnectionError):
            self._end(RecogniserError("the connection to Soniox broke", Reason.NETWORK))

    async def _write_next(self) -> None:
        if self._pending[0] is None:
            self._pending.popleft()
            await self._send(self._socket.send_str(wire.text_of(wire.FINALIZE)))
            return
        frame = b""
        while self._pending and len(frame) < FRAME_BYTES and (pcm := self._pending[0]) is not None:
            frame += pcm
            self._pending.popleft()
        self._pending_bytes -= len(frame)
        if self._unanswered_since is None:
            self._unanswered_since = monotonic()
        await self._send(self._socket.send_bytes(frame))

    # ---- in

    async def _receive(self) -> None:
        while (message := await self._socket.receive()).type is aiohttp.WSMsgType.TEXT:
            self._unanswered_since = None
            try:
                answer = wire.read_answer(message.data)
            except msgspec.MsgspecError:
                self._end(RecogniserError("Soniox said something that nobody understands", Reason.NETWORK))
                return
            if answer.error_code is not None:
                log.warning("Soniox ends a stream", code=answer.error_code, type=(answer.error_type or "")[:64])
                self._end(_refusal(answer.error_code, worked=self._worked))
                return
            self._take(answer)
        # Only a close frame tells of an intended end: aiohttp calls a connection that merely broke "1000" as well.
        normal = message.type is aiohttp.WSMsgType.CLOSE and message.data == aiohttp.WSCloseCode.OK
        text = "Soniox closed the stream" if normal else "the connection to Soniox broke"
        self._end(RecogniserError(text, Reason.NORMAL if normal else Reason.NETWORK))

    def _take(self, answer: wire.Answer) -> None:
        if answer.total_audio_proc_ms:
            self._worked = True
        while self._unheard and self._unheard[0][0] <= answer.total_audio_proc_ms:
            self._unheard.popleft()
        for transcript in self._utterances.take(answer.tokens):
            if not self._ended:
                self._on_transcript(transcript)
        for token in answer.tokens:
            if token.text == wire.FIN and self._finishing and not (done := self._finishing.popleft()).done():
                done.set_result(None)

    # ---- its end

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("a Soniox stream failed", task=task, exc_info=error)
        self._end(RecogniserError("an error inside the recogniser"))

    def _end(self, error: RecogniserError | None) -> None:
        told, self._ended = not self._ended, True
        self._pending.clear()
        for done in self._finishing:
            if not done.done():
                done.set_exception(error or RecogniserError("the stream was closed", Reason.CLOSED))
        self._finishing.clear()
        self._on_ended(self)
        if told and error is not None:
            self._on_lost(error)
