"""`glassbridge dev` tells other commands of this user where it runs and how to sign in there.

It writes a private file (mode 0600) in the user's runtime folder, holds a lock on it while it runs, and removes it at
the end. A file without a lock is stale: its program was killed.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from glassbridge.runtime.errors import describe

MAX_RECORD: Final = 16 << 10
"""Bytes of a file that are read."""
_PATTERN: Final = "dev-*.json"


class RunningDev(NamedTuple):
    """One `glassbridge dev` that runs now."""

    pid: int
    cloud: str
    """Base URL of its cloud."""
    environment: Mapping[str, str]
    """The variables that make other programs part of it; holds secrets."""

    def __repr__(self) -> str:
        return f"RunningDev(pid={self.pid}, cloud={self.cloud!r})"

    @property
    def admin_token(self) -> str:
        return self.environment.get("GLASSBRIDGE_ADMIN_TOKEN", "")


class _Record(msgspec.Struct):
    pid: int
    cloud: str
    environment: dict[str, str]


def runtime_folder() -> Path | None:
    """Where this user's programs leave what lives as long as they do (XDG); None: this user has no home."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_STATE_HOME")
    try:
        return Path(base or Path.home() / ".local" / "state") / "glassbridge" / "run"
    except RuntimeError:
        return None


@contextmanager
def announced(cloud: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Meanwhile other commands of this user find this process. Gives the reason why they cannot; empty: they can."""
    folder = runtime_folder()
    if folder is None:
        yield "this user has no home folder"
        return
    try:
        path, lock = _write(folder, _Record(os.getpid(), cloud, dict(environment)))
    except OSError as error:
        yield describe(error)
        return
    try:
        yield ""
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _write(folder: Path, record: _Record) -> tuple[Path, int]:
    """The file, and the descriptor that holds its lock: it appears under its name once it is locked and complete."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_stale(folder)
    path, draft = folder / f"dev-{record.pid}.json", folder / f".dev-{record.pid}"
    draft.unlink(missing_ok=True)
    lock = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, msgspec.json.encode(record))
        draft.rename(path)
    except BaseException:
        os.close(lock)
        draft.unlink(missing_ok=True)
        raise
    return path, lock


def find_dev(cloud: str = "") -> RunningDev | None:
    """The `glassbridge dev` whose cloud has this URL; without one, that which was started last. None: there is none."""
    running = _running()
    if cloud:
        running = [dev for dev in running if _origin(dev.cloud) == _origin(cloud)]
    return running[-1] if running else None


def _running() -> list[RunningDev]:
    """The oldest first."""
    folder = runtime_folder()
    found = []
    for path in folder.glob(_PATTERN) if folder is not None else ():
        with suppress(OSError, msgspec.DecodeError):
            begun, record = _read(path)
            if record is not None:
                found.append((begun, RunningDev(record.pid, record.cloud.rstrip("/"), record.environment)))
    return [dev for _, dev in sorted(found, key=lambda one: one[0])]


def _read(path: Path) -> tuple[float, _Record | None]:
    """When it was written, and what it holds; None: it is stale, or others could have written or read it."""
    with _opened(path) as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o077 or not _is_locked(file):
            return 0.0, None
        return status.st_mtime, msgspec.json.decode(file.read(MAX_RECORD), type=_Record)


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(_PATTERN):
        with suppress(OSError), _opened(path) as file:
            if not _is_locked(file):
                path.unlink(missing_ok=True)


def _opened(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _is_locked(file: IO[bytes]) -> bool:
    """Whether a running program holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _origin(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(ValueError):
        return ("127.0.0.1" if host == "localhost" else host), parts.port
    return "", None
