"""The apps that this cloud knows, in a TOML file or in SQLite; clouds of a cluster may share a registry
(cloud/apps/shared_registry.py). An API key itself is not kept (wire/app_keys.py).

Its file is for its owner only (0600): it holds the secrets that apps and cloud sign with. Apps that were registered
before there were such secrets have none; the cloud learns one when such an app shows its key (`learn`), or `glassbridge
apps rekey` makes a new key.
"""

import json
import os
import re
import sqlite3
import stat
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import structlog

from glassbridge.core.app_settings import MAX_SCHEMA, Schema, check_schema
from glassbridge.core.subscriptions import Permission
from glassbridge.runtime.choices import require_known
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.wire.app_keys import Signer, hash_key, signing_secret

log = structlog.get_logger()

MAX_PACKAGE = 128
LOCKED_FOR = 1.0
"""Seconds to wait for another process that writes to the same SQLite file."""
_PACKAGE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_HASH = re.compile(r"[0-9a-f]{64}")
_COLUMNS = "package, name, url, key_hash, permissions, secret, settings"
_SELECT = f"SELECT {_COLUMNS} FROM apps"  # noqa: S608 - ours
_INSERT = f"INSERT INTO apps ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRecord:
    """One app. Raises ValueError (the operator's fault) for what cannot be one."""

    package: str
    """com.example.captions"""
    url: str
    """Of the app's server; its webhook is below it."""
    key_hash: str = field(repr=False)
    secret: str = field(default="", repr=False)
    """Signs webhooks, sounds and speech; empty: the app was registered before there were secrets."""
    name: str = ""
    permissions: frozenset[Permission] = frozenset()
    settings: Schema = field(default=(), hash=False)
    """What users can choose (core/app_settings.py)."""

    def __post_init__(self) -> None:
        if not _PACKAGE.fullmatch(self.package) or len(self.package) > MAX_PACKAGE:
            raise ValueError("a package name looks like com.example.captions")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ValueError("the URL of an app looks like https://captions.example.com")
        if not _HASH.fullmatch(self.key_hash):
            raise ValueError("key_hash is the SHA-256 of the API key, as 64 hex digits")
        if self.secret and not _HASH.fullmatch(self.secret):
            raise ValueError("secret is what `glassbridge apps` wrote, 64 hex digits")
        if self.secret == self.key_hash:
            raise ValueError("secret is not key_hash: leave it out, and the cloud learns it")
        if not self.name.isprintable():
            raise ValueError("a name is printable")
        object.__setattr__(self, "settings", check_schema(self.settings))
        if len(json.dumps(self.settings)) > MAX_SCHEMA:
            raise ValueError(f"the settings of an app have at most {MAX_SCHEMA >> 10} KiB")

    @property
    def signer(self) -> Signer:
        """Signs for the app, in the old form too: an SDK from before knows no other."""
        return Signer(self.secret, self.key_hash)

    def with_key(self, api_key: str) -> "AppRecord":
        """The same app with this key."""
        return replace(self, key_hash=hash_key(api_key), secret=signing_secret(api_key))


class Registry(Protocol):
    """Answers from this machine within milliseconds. Raises RegistryError where its file cannot be used."""

    def find(self, package: str) -> AppRecord | None: ...

    def all(self) -> Sequence[AppRecord]:
        """In order of their packages."""

    def add(self, record: AppRecord) -> None:
        """Raises RegistryError for a package that is there already."""

    def remove(self, package: str) -> bool:
        """Whether it was there."""

    def change_key(self, record: AppRecord) -> None:
        """The app of this package has the key of `record` from now on. Raises RegistryError where there is none."""


@runtime_checkable
class Followed(Protocol):
    """A registry that others change."""

    async def look(self) -> None:
        """Compares once. Never raises."""

    async def keep(self) -> None:
        """Compares again and again, until cancelled."""

    async def close(self) -> None:
        """Releases everything. Never raises."""


class RegistryError(UserError):
    """The registry's file is missing, broken, or says what is no app: the operator's to put right."""


def open_registry(path: Path) -> Registry:
    """By the ending: .toml, or SQLite's .db and .sqlite. A file that is missing is an empty registry."""
    if path.suffix == ".toml":
        return TomlRegistry(path)
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        return SqliteRegistry(path)
    raise RegistryError(Complaint.REGISTRY_SUFFIX.text(path=path), 2)


def new_app(
    package: str, url: str, name: str, permissions: Sequence[str], settings: Schema = ()
) -> tuple[AppRecord, str]:
    """A record and the API key that fits it, which is nowhere else. Raises UserError."""
    key = token_urlsafe(32)
    known = {permission.value: permission for permission in Permission}
    words = [word.upper() for word in permissions]
    require_known("--permission", words, known)
    granted = frozenset(known[word] for word in words)
    try:
        unkeyed = AppRecord(
            package=package, url=url, name=name, key_hash="0" * 64, permissions=granted, settings=settings
        )
        return unkeyed.with_key(key), key
    except ValueError as error:
        raise RegistryError(str(error), 2) from None


class StaticRegistry:
    """In memory: for tests, and for a cloud without apps."""

    def __init__(self, *records: AppRecord) -> None:
        self._records = {record.package: record for record in records}

    def find(self, package: str) -> AppRecord | None:
        return self._records.get(package)

    def all(self) -> Sequence[AppRecord]:
        return [self._records[package] for package in sorted(self._records)]

    def add(self, record: AppRecord) -> None:
        if record.package in self._records:
            raise there_already(record.package)
        self._records[record.package] = record

    def remove(self, package: str) -> bool:
        return self._records.pop(package, None) is not None

    def change_key(self, record: AppRecord) -> None:
        if record.package not in self._records:
            raise no_such_app(record.package)
        self._records[record.package] = record


class TomlRegistry:
    """A file for people: one table `[apps."com.example.captions"]` for each app. Read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        """Time of change and size of what was read."""
        self._read = StaticRegistry()

    def find(self, package: str) -> AppRecord | None:
        return self._current().find(package)

    def all(self) -> Sequence[AppRecord]:
        return self._current().all()

    def add(self, record: AppRecord) -> None:
        if self.find(record.package) is not None:
            raise there_already(record.package)
        lines = [
            f"\n[apps.{_quoted(record.package)}]",
            f"name = {_quoted(record.name)}",
            f"url = {_quoted(record.url)}",
            f"key_hash = {_quoted(record.key_hash)}",
            f"secret = {_quoted(record.secret)}",
            f"permissions = [{', '.join(_quoted(word) for word in _words(record.permissions))}]",
        ]
        if record.settings:
            lines += ["settings = ["] + [f"  {_inline(setting)}," for setting in record.settings] + ["]"]
        try:
            with open(self._path, "a", encoding="utf-8", opener=private) as file:
                file.write("\n".join(lines) + "\n")
        except OSError as error:
            raise RegistryError(Complaint.REGISTRY_UNWRITABLE.text(path=self._path, why=error.strerror)) from None
        make_private(self._path)

    def change_key(self, record: AppRecord) -> None:
        """The rest of the file stays as it is: only the line of the hash is replaced."""
        former = self.find(record.package)
        if former is None:
            raise no_such_app(record.package)
        text = self._path.read_text(encoding="utf-8")
        line = re.compile(rf"""^(\s*)key_hash(\s*)=(\s*)["']{former.key_hash}["'].*$""", re.MULTILINE)
        text, found = line.subn(
            rf'\1key_hash\2=\3"{record.key_hash}"\n\1secret = "{record.secret}"', _without_secret(text, former.secret)
        )
        if found != 1:
            raise RegistryError(Complaint.KEY_HASH_LOST.text(package=record.package, path=self._path))
        try:
            part = self._path.with_name(f".{self._path.name}.part")
            with open(part, "w", encoding="utf-8", opener=private) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        except OSError as error:
            raise RegistryError(Complaint.REGISTRY_UNWRITABLE.text(path=self._path, why=error.strerror)) from None

    def remove(self, package: str) -> bool:
        if self.find(package) is None:
            return False
        raise RegistryError(Complaint.REGISTRY_BY_HAND.text(package=package, path=self._path))

    def _current(self) -> StaticRegistry:
        try:
            status = self._path.stat()
            now = status.st_mtime_ns, status.st_size
            if now != self._seen:
                make_private(self._path)
                self._read, self._seen = StaticRegistry(*self._parse(self._path.read_bytes())), now
        except FileNotFoundError:
            return StaticRegistry()
        except OSError as error:
            raise RegistryError(Complaint.REGISTRY_UNREADABLE.text(path=self._path, why=error.strerror)) from None
        return self._read

    def _parse(self, text: bytes) -> Iterator[AppRecord]:
        try:
            tables = tomllib.loads(text.decode()).get("apps", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RegistryError(Complaint.REGISTRY_TOML.text(path=self._path, why=error)) from None
        if not isinstance(tables, dict):
            raise RegistryError(Complaint.REGISTRY_SHAPE.text(path=self._path))
        for package, fields in tables.items():
            yield read_record(f"{self._path}, {package}", package, fields)


class SqliteRegistry:
    """A table `apps`, made when it is missing. Each call opens the file anew: other processes may write to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, package: str) -> AppRecord | None:
        found = self._select("WHERE package = ?", package) if _PACKAGE.fullmatch(package) else None
        return found[0] if found else None

    def all(self) -> Sequence[AppRecord]:
        return self._select("ORDER BY package")

    def add(self, record: AppRecord) -> None:
        words = ",".join(_words(record.permissions))
        settings = json.dumps(record.settings)
        row = record.package, record.name, record.url, record.key_hash, words, record.secret, settings
        try:
            with self._database() as database:
                database.execute(_INSERT, row)
        except sqlite3.IntegrityError:
            raise there_already(record.package) from None

    def remove(self, package: str) -> bool:
        with self._database() as database:
            return database.execute("DELETE FROM apps WHERE package = ?", (package,)).rowcount > 0

    def change_key(self, record: AppRecord) -> None:
        with self._database() as database:
            row = record.key_hash, record.secret, record.package
            if not database.execute("UPDATE apps SET key_hash = ?, secret = ? WHERE package = ?", row).rowcount:
                raise no_such_app(record.package)

    def _select(self, how: str, *values: str) -> list[AppRecord]:
        if not self._path.exists():
            return []
        with self._database() as database:
            rows = database.execute(f"{_SELECT} {how}", values).fetchall()
        return [
            read_record(
                f"{self._path}, {package}",
                package,
                {
                    "name": name,
                    "url": url,
                    "key_hash": key_hash,
                    "secret": secret,
                    "permissions": list(filter(None, words.split(","))),
                    "settings": json.loads(settings),
                },
            )
            for package, name, url, key_hash, words, secret, settings in rows
        ]

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            os.close(private(self._path, os.O_RDWR | os.O_CREAT))
            make_private(self._path)
            with closing(sqlite3.connect(self._path, timeout=LOCKED_FOR)) as database, database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS apps (package TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL,"
                    " key_hash TEXT NOT NULL, permissions TEXT NOT NULL, secret TEXT NOT NULL DEFAULT '',"
                    " settings TEXT NOT NULL DEFAULT '[]')"
                )
                there = {row[1] for row in database.execute("PRAGMA table_info(apps)")}
                for column, default in (("secret", ""), ("settings", "[]")):
                    if column not in there:
                        database.execute(f"ALTER TABLE apps ADD COLUMN {column} TEXT NOT NULL DEFAULT '{default}'")
                        log.info("registry of apps migrated", file=str(self._path), column=column)
                yield database
        except sqlite3.IntegrityError:
            raise
        except OSError as error:
            raise RegistryError(Complaint.REGISTRY_UNUSABLE.text(path=self._path, why=error.strerror)) from None
        except sqlite3.Error as error:
            raise RegistryError(Complaint.REGISTRY_UNUSABLE.text(path=self._path, why=error)) from None


def read_record(where: str, package: str, fields: Any) -> AppRecord:
    """What a file says of an app. Raises RegistryError."""
    try:
        known = {"name": "", **fields}
        permissions = frozenset(Permission(word) for word in known.pop("permissions", []))
        return AppRecord(package=package, permissions=permissions, **known)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"{where}: {error}") from None


def read_settings(path: Path) -> Schema:
    """The settings in an app's configuration file of the original (JSON with `settings`), or a bare list of them.
    Raises RegistryError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return check_schema(found.get("settings", []) if isinstance(found, dict) else found)
    except OSError as error:
        raise RegistryError(Complaint.REGISTRY_UNREADABLE.text(path=path, why=error.strerror), 2) from None
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{path}: {error}", 2) from None


def make_private(path: Path) -> None:
    """Takes a file that holds secrets away from everybody but its owner, and says so. Nothing happens to the file of
    somebody else."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(0o600)
            log.warning("registry of apps made private", file=str(path), was=f"{mode:04o}")
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("registry of apps is not private", file=str(path), error=error.strerror)


def private(path: Any, flags: int) -> int:
    """An opener: what it makes is for the owner only."""
    return os.open(path, flags, 0o600)


def _without_secret(text: str, secret: str) -> str:
    return re.sub(rf"""^\s*secret\s*=\s*["']{secret}["'].*\n?""", "", text, flags=re.MULTILINE) if secret else text


def no_such_app(package: str) -> RegistryError:
    return RegistryError(Complaint.APP_UNKNOWN.text(package=package))


def there_already(package: str) -> RegistryError:
    return RegistryError(Complaint.APP_KNOWN.text(package=package))


def _words(permissions: frozenset[Permission]) -> list[str]:
    return sorted(permission.value for permission in permissions)


def _inline(value: object) -> str:
    """A value of JSON as TOML, on one line; null, which TOML has not, is left out of tables."""
    match value:
        case dict():
            return (
                f"{{{', '.join(f'{_quoted(key)} = {_inline(one)}' for key, one in value.items() if one is not None)}}}"
            )
        case list() | tuple():
            return f"[{', '.join(_inline(one) for one in value)}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)
