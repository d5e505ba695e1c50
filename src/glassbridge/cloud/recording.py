"""What the recogniser was fed, as a WAV file for each session: for debugging (`--record`)."""

import asyncio
import os
import re
import struct
from datetime import datetime
from math import inf
from pathlib import Path

import structlog

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.runtime.queues import AgedQueue, QueueClosed
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

QUEUE_CHUNKS = 10_000
"""Chunks that may wait for a slow disk (8 minutes and more); beyond that a recording has holes."""
WRITE_EVERY = 0.25
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MAX_DATA = 0xFFFFFFFF - _HEADER.size


def wav_header(data_bytes: int) -> bytes:
    """Header of a WAV file: PCM16 LE, 16 kHz, mono. A size over 4 GiB, which WAV cannot say, reads as 4 GiB."""
    size = min(data_bytes, _MAX_DATA)
    rate = SAMPLE_RATE * BYTES_PER_SAMPLE
    fmt = (b"fmt ", 16, 1, 1, SAMPLE_RATE, rate, BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE)
    return _HEADER.pack(b"RIFF", size + _HEADER.size - 8, b"WAVE", *fmt, b"data", size)


def file_name(user: UserId, started: datetime) -> str:
    """A name that is safe in any folder: the user and when the session began (UTC)."""
    safe = re.sub(r"[^a-z0-9@+_.-]", "_", user)[:80].lstrip(".-") or "user"
    return f"{safe}-{started:%Y%m%dT%H%M%S}.{started.microsecond // 1000:03}Z.wav"


class Recorder:
    """A listener that writes. The header is right after every write, so that the file can be read after a kill."""

    wants_late = True

    def __init__(self, folder: Path, user: UserId, started: datetime) -> None:
        self.path = folder / file_name(user, started)
        self._queue: AgedQueue[bytes] = AgedQueue(QUEUE_CHUNKS, inf)
        self._writing: asyncio.Task[None] | None = None

    def put(self, pcm: bytes) -> None:
        """Takes samples; never waits."""
        self._queue.put(pcm)

    def start(self, tasks: TaskGroup) -> None:
        """Begins to write."""
        self._writing = tasks.spawn(self._run(), "recording")

    async def close(self, timeout: float) -> None:
        """No more samples; returns when all are written, after `timeout` seconds at most."""
        self._queue.close()
        if self._writing is not None:
            await asyncio.wait((self._writing,), timeout=timeout)

    async def _run(self) -> None:
        """A disk that fails ends the recording, not the session."""
        written = 0
        try:
            while True:
                batch = await self._batch()
                await asyncio.to_thread(_append, self.path, written, batch)
                written += len(batch)
                await asyncio.sleep(WRITE_EVERY)
        except QueueClosed:
            pass
        except OSError as error:
            self._queue.close()
            log.warning("recording stopped", path=str(self.path), error=error.strerror)
        finally:
            if self._queue.dropped:
                log.warning("recording has holes", path=str(self.path), dropped_chunks=self._queue.dropped)

    async def _batch(self) -> bytes:
        _, first = await self._queue.get()
        chunks = [first]
        while len(self._queue):
            _, chunk = await self._queue.get()
            chunks.append(chunk)
        return b"".join(chunks)


def _append(path: Path, written: int, data: bytes) -> None:
    """Runs in a thread that cannot be cancelled: it opens and closes the file itself."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    if not written:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags |= os.O_CREAT | os.O_EXCL
    fd = os.open(path, flags, 0o600)
    try:
        os.pwrite(fd, data, _HEADER.size + written)
        os.pwrite(fd, wav_header(written + len(data)), 0)
    finally:
        os.close(fd)
