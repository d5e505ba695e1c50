"""A sound as PCM16 mono at the wanted rate, decoded by a process of its own, never far ahead of the listener."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import structlog

from glassbridge.bridge import decoder
from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.decoder import NUMBER, WANTED, SoundRequest
from glassbridge.bridge.decoders import Decoders, SoundLine, death_of_sound
from glassbridge.bridge.fetch import PlaybackError, Source
from glassbridge.core.values import SAMPLE_RATE
from glassbridge.runtime.tasks import cancelled
from glassbridge.telemetry import metrics

log = structlog.get_logger()

_AHEAD: Final = 10
"""Blocks of 0.1 s that may be decoded ahead, beside those on the socket."""
_MAX_GAIN: Final = 4.0


class SoundClip:
    """One clip, from `start_ms` on. `duration_ms` is what its header says (0: nothing, or more than may be played,
    which is what headers of streams say), known from the first block on."""

    def __init__(
        self,
        source: Source,
        volume: float,
        limits: PlaybackLimits,
        rate: int = SAMPLE_RATE,
        start_ms: int = 0,
    ) -> None:
        if not 0.0 <= volume <= _MAX_GAIN:  # false for NaN, too
            raise PlaybackError("bad_volume", f"volume is 0 (mute) to {_MAX_GAIN:g}, 1 as recorded")
        self.duration_ms = 0
        self._source = source
        self._longest = limits.max_seconds
        self._request = SoundRequest(rate, volume, start_ms, limits.memory_mb)
        self._patience = limits.stall_timeout
        self._credits = asyncio.Semaphore(_AHEAD)
        self._failure: PlaybackError | None = None
        """Why the file cannot be read on."""

    async def blocks(self, decoders: Decoders) -> AsyncGenerator[bytes, None]:
        """PCM of at most 0.1 s a block. Raises PlaybackError. Close it (aclosing) and its process is killed."""
        ready: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by the credits
        decoding = asyncio.create_task(self._decode(decoders, ready))
        decoding.add_done_callback(lambda _: ready.put_nowait(None))
        try:
            while (block := await ready.get()) is not None:
                self._credits.release()
                yield block
            await decoding
        finally:
            self._source.finish(PlaybackError("stopped", "stopped"))
            await cancelled(decoding)
            if not decoding.cancelled():
                decoding.exception()  # told above, or there is no listener any more

    async def _decode(self, decoders: Decoders, ready: "asyncio.Queue[bytes | None]") -> None:
        """Raises PlaybackError."""
        line = await decoders.open(self._request)
        try:
            while (message := await self._receive(line))[:1] != decoder.DONE:
                await self._handle(message[:1], message[1:], line, ready)
        finally:
            line.close()
        if self._failure is not None:
            raise self._failure

    async def _receive(self, line: SoundLine) -> bytes:
        """The next message. Raises PlaybackError."""
        try:
            message = await line.receive(self._patience)
        except TimeoutError:
            raise _died(line, "stalled", PlaybackError("decoder_died", "the decoder does not answer")) from None
        if not message:
            raise _died(line, "killed", PlaybackError("decoder_died", "the decoder of this sound was killed"))
        return message

    async def _handle(self, kind: bytes, content: bytes, line: SoundLine, ready: "asyncio.Queue[bytes | None]") -> None:
        match kind:
            case decoder.PCM:
                await self._credits.acquire()
                ready.put_nowait(content)
            case decoder.READ:
                await self._answer(line, *WANTED.unpack(content))
            case decoder.LET_GO:
                self._source.let_go()
            case decoder.DURATION:
                (duration,) = NUMBER.unpack(content)
                self.duration_ms = duration if 0 < duration <= self._longest * 1000 else 0
            case decoder.REFUSED:
                raise self._failure or PlaybackError(*json.loads(content))
            case decoder.DIED:
                death = death_of_sound(*NUMBER.unpack(content))
                raise _died(line, death.code, death)

    async def _answer(self, line: SoundLine, position: int, size: int) -> None:
        """Bytes of the file. Where they cannot be had FFmpeg meets the end: it has no way to carry our errors."""
        data = b""
        if size and self._failure is None:
            try:
                data = await self._source.read_at(position, min(size, decoder.READ_BYTES))
            except PlaybackError as error:
                self._failure = error
        known = self._source.size
        with suppress(TimeoutError):  # it is stopped: receive() says so
            await line.send(NUMBER.pack(-1 if known is None else known) + data, self._patience)


def _died(line: SoundLine, cause: str, error: PlaybackError) -> PlaybackError:
    log.warning("sound process died", pid=line.pid, cause=cause, error=str(error))
    metrics.SOUND_DEATHS.add(cause)
    return error
