"""Any audio that PyAV decodes as PCM16 mono at the rate that is wanted, in a thread of its own, never far ahead of who
listens."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Final

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from glassbridge.bridge.fetch import PlaybackError, Reader, Source
from glassbridge.core.values import SAMPLE_RATE

Samples = NDArray[np.float32]
_NOTHING: Final[Samples] = np.zeros(0, np.float32)

_AHEAD: Final = 10
"""Blocks that may be decoded ahead."""
_BLOCKS_A_SECOND: Final = 10
_READ_BYTES: Final = 4_096
_FORMATS: Final = (
    "aac,ac3,aiff,alaw,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mulaw,ogg,oma,shn,tak,tta,voc,w64,wav,webm,wv,xwma"
)
_SEALED: Final = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
"""What FFmpeg would open by itself because a file says so (playlists, references) would pass by every check of ours."""
_QUICK: Final = {"probesize": "32768", "analyzeduration": "200000"}
"""Begin to speak as soon as the format is known, not when megabytes have come."""
_MAX_GAIN: Final = 4.0

Emit = Callable[[bytes | None], None]


class Sound:
    """One clip, from `start_ms` on. `duration_ms` is what its header says (0: nothing, or more than `longest` seconds,
    which is what headers of streams say), known from the first block on."""

    def __init__(
        self, source: Source, volume: float, longest: float, rate: int = SAMPLE_RATE, start_ms: int = 0
    ) -> None:
        if not 0.0 <= volume <= _MAX_GAIN:  # false for NaN, too
            raise PlaybackError("bad_volume", f"volume is 0 (mute) to {_MAX_GAIN:g}, 1 as recorded")
        self.duration_ms = 0
        self._source = source
        self._volume = volume
        self._longest = longest
        self._rate = rate
        self._skip = start_ms * rate // 1000
        """Samples that are still to be left out."""
        self._credits = threading.Semaphore(_AHEAD)
        self._reads_anywhere = False
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
        undecodable = ""
        for seekable in (False, True):  # some containers can be read only from their end
            file, self._reads_anywhere = Reader(self._source, seekable), seekable
            try:
                self._decode_file(file, _SEALED if seekable else _SEALED | _QUICK, emit)
            except (av.error.FFmpegError, ValueError) as error:
                what = error.strerror if isinstance(error, av.error.FFmpegError) else "its format is not one for sound"
                undecodable = f"the audio cannot be decoded ({what})"
            else:
                undecodable = ""
            if file.failure is not None:
                raise file.failure
            if not undecodable or self._begun or self._stopped:
                break
        if undecodable:
            raise PlaybackError("undecodable", undecodable)

    def _decode_file(self, file: Reader, options: dict[str, str], emit: Emit) -> None:
        with av.open(file, mode="r", options=options, buffer_size=_READ_BYTES) as container:
            if not container.streams.audio:
                raise PlaybackError("no_audio", "there is no audio in what the URL gives")
            if container.duration and container.duration <= self._longest * 1_000_000:
                self.duration_ms = container.duration // 1000
            self._decode_stream(container, emit)

    def _decode_stream(self, container: Any, emit: Emit) -> None:
        block = self._rate // _BLOCKS_A_SECOND
        pending = _NOTHING
        for piece in self._resampled(container):
            left_out = min(self._skip, len(piece))
            self._skip -= left_out
            pending = np.concatenate((pending, piece[left_out:]))
            while len(pending) >= block:
                if not self._emit(emit, pending[:block]):
                    return
                pending = pending[block:]
        if len(pending):
            self._emit(emit, pending)

    def _resampled(self, container: Any) -> Iterator[Samples]:
        """Mono samples at our rate, -1 to 1."""
        shape: tuple[Any, ...] = ()
        mix = resample = None
        for frame in container.decode(audio=0):
            frame.pts = None  # gaps and wrong stamps in a file must not become silence
            if (frame.format.name, frame.layout.name, frame.sample_rate) != shape:
                shape = frame.format.name, frame.layout.name, frame.sample_rate
                if resample is not None:
                    yield resample.resample_chunk(_NOTHING, last=True)
                # As integers: mixed as floats two equal channels become louder.
                mix = av.AudioResampler(format="s32", layout="mono", rate=frame.sample_rate)
                same = frame.sample_rate == self._rate
                resample = None if same else soxr.ResampleStream(frame.sample_rate, self._rate, 1, dtype="float32")
            assert mix is not None
            for mono in mix.resample(frame):
                samples = mono.to_ndarray().reshape(-1).astype(np.float32) / np.float32(1 << 31)
                yield samples if resample is None else resample.resample_chunk(samples)
        if resample is not None:
            yield resample.resample_chunk(_NOTHING, last=True)

    def _emit(self, emit: Emit, block: Samples) -> bool:
        self._credits.acquire()
        if self._stopped:
            return False
        if not self._begun:
            self._begun = True
            if not self._reads_anywhere:
                self._source.let_go()
        emit(self._pcm(block))
        return True

    def _pcm(self, block: Samples) -> bytes:
        scaled = np.rint(block * np.float32(32768.0 * self._volume))
        pcm: bytes = np.clip(scaled, -32768, 32767).astype("<i2").tobytes()
        return pcm
