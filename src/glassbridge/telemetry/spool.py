"""Lines that have not arrived at a sink yet: on disk as far as it goes, else in memory; every line lost is counted.

Each process writes segments of its own and holds a lock on them. The segments of a dead process belong to the process
that asks first (`adopt`). A segment begins with the offset up to which its lines have arrived. Lines are sent twice
only if a process dies between their arrival and the writing of that offset.
"""

import errno
import fcntl
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Final

MAX_DISK: Final = 64 << 20
MAX_MEMORY: Final = 4 << 20
MAX_BATCH: Final = 2 << 20
"""Bytes, as all of these."""
SEGMENTS: Final = 16
"""A disk that is full loses the oldest segment: so many make up MAX_DISK."""
SUFFIX: Final = ".jsonl"
_HEAD: Final = 16


class SpoolSegment:
    """Lines in memory, the oldest first."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self.count = 0
        """Lines that have not arrived."""
        self.size = 0
        """Bytes that it takes."""
        self.begin = 0
        """As many have left it."""

    def append(self, lines: Sequence[bytes]) -> None:
        self._lines.extend(lines)
        self.count += len(lines)
        self.size += _size(lines)

    def first(self, most: int) -> list[bytes]:
        return [self._lines[at] for at in range(min(most, self.count))]

    def forget(self, lines: Sequence[bytes]) -> None:
        """Drops them; they are the first ones."""
        for _ in lines:
            self._lines.popleft()
        self.begin += len(lines)
        self.count -= len(lines)
        self.size -= _size(lines)


class FileSegment(SpoolSegment):
    """Lines in a file that is ours as long as we hold its lock; gone with its last line."""

    def __init__(self, path: Path, fd: int) -> None:
        super().__init__()
        self._path = path
        self._fd = fd
        self._at = self.size = _HEAD

    @classmethod
    def create(cls, folder: Path) -> "FileSegment":
        """Raises OSError."""
        path = folder / f"{time_ns()}-{os.getpid()}{SUFFIX}"
        unborn = path.with_suffix(".new")  # it must not be found before it is locked
        segment = cls(path, _locked(unborn, os.O_CREAT | os.O_EXCL))
        segment._mark()
        unborn.rename(path)
        return segment

    @classmethod
    def adopt(cls, path: Path) -> "FileSegment | None":
        """A dead process's; None: its owner lives, or it is no segment. Raises OSError."""
        try:
            fd = _locked(path, 0)
        except (BlockingIOError, FileNotFoundError):
            return None
        segment = cls(path, fd)
        try:
            segment._at = int(os.pread(fd, _HEAD, 0))
        except ValueError:
            os.close(fd)
            return None
        text = os.pread(fd, os.fstat(fd).st_size, segment._at)
        text = text[: text.rfind(b"\n") + 1]  # its owner may have died within a line
        segment.count = text.count(b"\n")
        segment.size = segment._at + len(text)
        return segment

    def append(self, lines: Sequence[bytes]) -> None:
        """Raises OSError; then none of them is here."""
        data = b"".join(line + b"\n" for line in lines)
        if os.pwrite(self._fd, data, self.size) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(data)
        self.count += len(lines)

    def first(self, most: int) -> list[bytes]:
        """Raises OSError, also if the file was cut."""
        text = os.pread(self._fd, min(MAX_BATCH, self.size - self._at), self._at)
        if b"\n" not in text:  # one line that is larger than a batch
            text = os.pread(self._fd, self.size - self._at, self._at)
            most = 1
        if b"\n" not in text:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return text[: text.rfind(b"\n")].split(b"\n")[:most]

    def forget(self, lines: Sequence[bytes]) -> None:
        self.begin += len(lines)
        self.count -= len(lines)
        self._at += _size(lines)
        if self.count == 0:
            with suppress(OSError):
                os.ftruncate(self._fd, _HEAD)
                self._at = self.size = _HEAD
        self._mark()

    def close(self) -> None:
        """Lines that are left stay on disk."""
        if self.count == 0:
            with suppress(OSError):  # a disk that is read-only now: an empty segment does no harm
                self._path.unlink()
        os.close(self._fd)

    def _mark(self) -> None:
        with suppress(OSError):  # a full disk: lines may go twice
            os.pwrite(self._fd, b"%015d\n" % self._at, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The first lines that wait."""

    segment: SpoolSegment
    begin: int
    lines: list[bytes]


class Spool:
    """Owned by one thread. `folder` None: in memory only."""

    def __init__(self, folder: Path | None, max_disk: int = MAX_DISK, max_memory: int = MAX_MEMORY) -> None:
        self.dropped = 0
        """Lines for which there was no room."""
        self.trouble = ""
        """Why the disk was not used last; empty: it was."""
        self._folder = folder
        self._max_disk = max_disk
        self._max_memory = max_memory
        self._files: list[FileSegment] = []
        """The last one is written to."""
        self._memory = SpoolSegment()

    @property
    def lines(self) -> int:
        """As many wait."""
        return self._memory.count + sum(file.count for file in self._files)

    def append(self, lines: Sequence[bytes]) -> None:
        """Keeps them. They may not hold line feeds."""
        if self._folder is not None:
            try:
                self._file_with_room(self._folder).append(lines)
            except OSError as error:
                self.trouble = error.strerror or str(error)
            else:
                self.trouble = ""
                self._shrink_disk()
                return
        self._memory.append(lines)
        while self._memory.size > self._max_memory:
            self._memory.forget(self._memory.first(1))
            self.dropped += 1

    def first(self, most: int) -> Batch | None:
        """The first lines; None: there are none. Lines that the disk does not give back are dropped."""
        for file in [file for file in self._files if file.count]:
            try:
                return Batch(file, file.begin, file.first(most))
            except OSError as error:
                self.trouble = error.strerror or str(error)
                self._lose(file)
        memory = self._memory
        return Batch(memory, memory.begin, memory.first(most)) if memory.count else None

    def forget(self, batch: Batch) -> None:
        """They have arrived, or never will; ignored when they were dropped meanwhile."""
        segment = batch.segment
        if segment is self._memory:
            segment.forget(batch.lines[segment.begin - batch.begin :])
        elif segment in self._files:
            segment.forget(batch.lines)
            if segment.count == 0 and segment is not self._files[-1]:
                self._drop(self._files.index(segment))

    def adopt(self) -> int:
        """Takes what dead processes left; returns how many lines."""
        found = 0
        if self._folder is None:
            return found
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                file = FileSegment.adopt(path)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                continue
            if file is not None and file.count:
                found += file.count
                self._files.insert(0, file)
            elif file is not None:
                file.close()
        return found

    def close(self) -> None:
        """Lines that have not arrived stay on disk; what is in memory is lost, and counted."""
        while self._files:
            self._drop(0)
        self.dropped += self._memory.count
        self._memory = SpoolSegment()

    def _file_with_room(self, folder: Path) -> FileSegment:
        if not self._files or self._files[-1].size > self._max_disk // SEGMENTS:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._files.append(FileSegment.create(folder))
            if len(self._files) > 1 and self._files[-2].count == 0:
                self._drop(-2)
        return self._files[-1]

    def _shrink_disk(self) -> None:
        while len(self._files) > 1 and sum(file.size for file in self._files) > self._max_disk:
            self._lose(self._files[0])

    def _lose(self, file: FileSegment) -> None:
        self.dropped += file.count
        file.count = 0
        self._drop(self._files.index(file))

    def _drop(self, at: int) -> None:
        self._files.pop(at).close()


def _locked(path: Path, flags: int) -> int:
    """The file, ours alone. Raises OSError, BlockingIOError if another process has it."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _size(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + len(lines)
