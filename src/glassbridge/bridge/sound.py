"""Any audio that PyAV decodes as PCM16 mono at 16 kHz, in a thread of its own, never far ahead of who listens."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from typing import Any, Final

from glassbridge.bridge.fetch import PlaybackError, Reader, Source
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

_AHEAD: Final = 10
"""Blocks that may be decoded ahead."""
_BLOCK_BYTES: Final = SAMPLE_RATE * BYTES_PER_SAMPLE // 10
_READ_BYTES: Final = 4_096
_QUICK: Final = {"probesize": "32768", "analyzeduration": "200000"}
"""Begin to speak as soon as the format is known, not when megabytes have come."""
_MAX_GAIN: Final = 4.0

Emit = Callable[[bytes | None], None]


class Sound:
    """One clip. `duration_ms` is what its header says (0: nothing), known from the first block on."""

    def __init__(self, source: Source, volume: float) -> None:
        if not 0.0 <= volume <= _MAX_GAIN:  # false for NaN, too
            raise PlaybackError("bad_volume", f"volume is 0 (mute) to {_MAX_GAIN:g}, 1 as recorded")
        self.duration_ms = 0
        self._source = source
        self._volume = volume
        self._credits = threading.Semaphore(_AHEAD)
        self._begun = False
        self._stopped = False

    async def blocks(self, executor: Executor) -> AsyncGenerator[bytes, None]:
        """PCM of at most 0.1 s a block. Raises PlaybackError. Close it (aclosing) and its thread ends soon after."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by the credits

        def emit(block: bytes | None) -> None:
            loop.call_soon_threadsafe(ready.put_nowait, block)

        decoding = loop.run_in_executor(executor, self._decode, emit)
        decoding.add_done_callback(lambda _: ready.put_nowait(None))
        try:
            while (block := await ready.get()) is not None:
                self._credits.release()
                yield block
            await decoding
        finally:
            self._stopped = True
            self._source.finish(PlaybackError("stopped", "stopped"))
            self._credits.release(_AHEAD)
            if not decoding.done():
                decoding.add_done_callback(lambda future: future.exception())

    def _decode(self, emit: Emit) -> None:
        """Runs in a thread. Raises PlaybackError."""
        import av

        undecodable = ""
        for seekable in (False, True):  # some containers can be read only from their end
            file = Reader(self._source, seekable)
            try:
                self._decode_file(file, {} if seekable else _QUICK, emit)
            except av.error.FFmpegError as error:
                undecodable = f"the audio cannot be decoded ({error.strerror})"
            else:
                undecodable = ""
            if file.failure is not None:
                raise file.failure
            if not undecodable or self._begun or self._stopped:
                break
        if undecodable:
            raise PlaybackError("undecodable", undecodable)

    def _decode_file(self, file: Reader, options: dict[str, str], emit: Emit) -> None:
        import av

        with av.open(file, mode="r", options=options, buffer_size=_READ_BYTES) as container:
            if not container.streams.audio:
                raise PlaybackError("no_audio", "there is no audio in what the URL gives")
            if container.duration:
                self.duration_ms = container.duration // 1000
            self._decode_stream(container, emit)

    def _decode_stream(self, container: Any, emit: Emit) -> None:
        import av

        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        pending = bytearray()
        for frame in container.decode(audio=0):
            frame.pts = None  # gaps and wrong stamps in a file must not become silence
            for piece in resampler.resample(frame):
                pending += bytes(piece.planes[0])[: piece.samples * BYTES_PER_SAMPLE]
            while len(pending) >= _BLOCK_BYTES:
                if not self._emit(emit, bytes(pending[:_BLOCK_BYTES])):
                    return
                del pending[:_BLOCK_BYTES]
        for piece in resampler.resample(None):
            pending += bytes(piece.planes[0])[: piece.samples * BYTES_PER_SAMPLE]
        if pending:
            self._emit(emit, bytes(pending))

    def _emit(self, emit: Emit, block: bytes) -> bool:
        self._credits.acquire()
        if self._stopped:
            return False
        self._begun = True
        emit(self._louder(block))
        return True

    def _louder(self, block: bytes) -> bytes:
        if self._volume == 1.0:
            return block
        import numpy as np

        samples = np.frombuffer(block, np.int16) * np.float32(self._volume)
        louder: bytes = np.clip(np.rint(samples), -32768, 32767).astype(np.int16).tobytes()
        return louder
