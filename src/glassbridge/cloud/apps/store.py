"""What is kept for users beyond their sessions: their settings, and what apps store for them. Here in SQLite; clouds of
a cluster share another one (cloud/apps/shared_store.py).

One thread serves the file, so nothing waits for a disk on the event loop. Clouds of one machine may share the file.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from glassbridge.cloud.apps.registry import LOCKED_FOR, make_private, private
from glassbridge.core.values import UserId

DEADLINE: Final = 5.0
"""Seconds for one request."""
OPENING_AT_ONCE: Final = 64
"""Clouds that may open the same new file at the same moment."""
MAX_WAITING: Final = 256
"""Requests that wait for the file."""
PAGE: Final = 4096
PHONE: Final = ""
"""Stands for the package of the phone's own settings."""

T = TypeVar("T")


class StoredKind(StrEnum):
    """What is kept under a key."""

    SETTING = "setting"
    """As JSON."""
    STORED = "stored"
    """Text of an app."""


class StoreError(Exception):
    """The file cannot be used now; the text holds nothing of what is kept."""


class Full(Exception):
    """It would be more than is kept for this user and app."""


class Store(Protocol):
    """What is kept for users. Each call raises StoreError when it cannot be used now. Closed by leaving its context."""

    async def __aexit__(self, *_exc: object) -> None: ...

    async def know(self, user: UserId, package: str) -> None:
        """The user has started this app: it may store something for that user from now on."""

    async def knows(self, user: UserId, package: str) -> bool:
        """Whether the user has ever started this app."""

    async def read(self, kind: StoredKind, user: UserId, package: str) -> dict[str, str]:
        """All that is kept."""

    async def write(
        self, kind: StoredKind, user: UserId, package: str, values: Mapping[str, str], most: int
    ) -> dict[str, str]:
        """Keeps these too; returns all. Raises Full when keys and values would have over `most` bytes: then nothing is
        changed."""

    async def delete(self, kind: StoredKind, user: UserId, package: str, key: str | None = None) -> int:
        """Forgets one key, or all; how many there were."""


class SqliteStore:
    """`path` None: in memory, gone with the process. `most`: bytes of the file. Use as an async context; any number of
    tasks may ask at once."""

    def __init__(self, path: Path | None, most: int) -> None:
        self._path = path
        self._most = most
        self._thread = ThreadPoolExecutor(1, "store")
        self._database: sqlite3.Connection | None = None
        """Opened and used by the thread only."""
        self._waiting = 0

    async def __aenter__(self) -> "SqliteStore":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._database is not None and self._path is None:
            self._database.close()
        elif self._database is not None:
            self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)

    async def know(self, user: UserId, package: str) -> None:
        await self._run(lambda db: db.execute("INSERT OR IGNORE INTO started VALUES (?, ?)", (user, package)))

    async def knows(self, user: UserId, package: str) -> bool:
        found = "SELECT 1 FROM started WHERE user = ? AND package = ?"
        return await self._run(lambda db: db.execute(found, (user, package)).fetchone() is not None)

    async def read(self, kind: StoredKind, user: UserId, package: str) -> dict[str, str]:
        return await self._run(lambda db: _read(db, (kind, user, package)))

    async def write(
        self, kind: StoredKind, user: UserId, package: str, values: Mapping[str, str], most: int
    ) -> dict[str, str]:
        def write(db: sqlite3.Connection) -> dict[str, str]:
            of = kind, user, package
            # Other clouds of this machine write to the same file, but not between our reading and writing.
            db.execute("BEGIN IMMEDIATE")
            kept = _read(db, of) | dict(values)
            if sum(len(key.encode()) + len(value.encode()) for key, value in kept.items()) > most:
                raise Full
            db.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?)", [(*of, *item) for item in values.items()]
            )
            return kept

        return await self._run(write)

    async def delete(self, kind: StoredKind, user: UserId, package: str, key: str | None = None) -> int:
        where = "DELETE FROM kept WHERE kind = ? AND user = ? AND package = ? AND (? IS NULL OR key = ?)"
        return await self._run(lambda db: db.execute(where, (kind, user, package, key, key)).rowcount)

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """In one transaction; what is in memory only needs no thread. Raises StoreError."""
        if self._path is None:
            return self._transact_safely(job)
        if self._waiting >= MAX_WAITING:
            raise StoreError("too many requests wait for the store")
        self._waiting += 1
        try:
            async with asyncio.timeout(DEADLINE):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact_safely, job)
        except TimeoutError:
            raise StoreError("the store does not answer in time") from None
        finally:
            self._waiting -= 1

    def _transact_safely(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._transact(job)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the store cannot be used: {type(error).__name__}") from None

    def _transact(self, job: Callable[[sqlite3.Connection], T]) -> T:
        database = self._database or self._open()
        with database:
            return job(database)

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            with suppress(FileExistsError):  # to close a file that is there ends the locks that this process has on it
                os.close(private(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
            make_private(self._path)
        database = sqlite3.connect(self._path or ":memory:", timeout=LOCKED_FOR, check_same_thread=False)
        database.execute(f"PRAGMA max_page_count = {max(16, self._most // PAGE)}")
        _write_ahead(database)
        database.execute("PRAGMA synchronous = NORMAL")
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS kept (kind TEXT, user TEXT, package TEXT, key TEXT, value TEXT,"
                " PRIMARY KEY (kind, user, package, key)) WITHOUT ROWID"
            )
            database.execute(
                "CREATE TABLE IF NOT EXISTS started (user TEXT, package TEXT, PRIMARY KEY (user, package))"
                " WITHOUT ROWID"
            )
        self._database = database
        return database


def as_values(kept: Mapping[str, str]) -> dict[str, Any]:
    """What is kept as JSON."""
    return {key: msgspec.json.decode(value) for key, value in kept.items()}


def _write_ahead(database: sqlite3.Connection) -> None:
    """Clouds that open a new file at the same moment refuse each other: here alone SQLite does not wait LOCKED_FOR."""
    for _ in range(OPENING_AT_ONCE):
        with suppress(sqlite3.OperationalError):
            database.execute("PRAGMA journal_mode = WAL")
            return
        with database:  # waits until no other process has the file
            database.execute("BEGIN EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")


def _read(database: sqlite3.Connection, of: tuple[str, str, str]) -> dict[str, str]:
    rows = database.execute("SELECT key, value FROM kept WHERE kind = ? AND user = ? AND package = ?", of)
    return dict(rows.fetchall())
