"""The registry of apps: one contract for every kind of file, hashes only, errors that say what to do."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from glassbridge.cloud.apps.registry import (
    AppRecord,
    Registry,
    RegistryError,
    StaticRegistry,
    TomlRegistry,
    new_app,
    open_registry,
    read_settings,
)
from glassbridge.core.subscriptions import Permission
from glassbridge.runtime.errors import UserError
from glassbridge.wire.app_keys import hash_key, key_fits, signing_secret

FIRST, FIRST_KEY = new_app("com.example.first-app", "https://first.example.com/", 'a "name" é', ["microphone", "ALL"])
SECOND, _ = new_app("com.example.second", "http://127.0.0.1:7010", "", [])
KINDS: list[Callable[[Path], Registry]] = [
    lambda folder: open_registry(folder / "apps.toml"),
    lambda folder: open_registry(folder / "apps.db"),
    lambda _: StaticRegistry(),
]


@pytest.fixture(params=KINDS, ids=["toml", "sqlite", "static"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    made: Registry = request.param(tmp_path)
    return made


def test_what_is_added_is_found_as_it_was(registry: Registry) -> None:
    assert registry.all() == []
    assert registry.find(FIRST.package) is None
    registry.add(SECOND)
    registry.add(FIRST)
    assert registry.find(FIRST.package) == FIRST
    assert list(registry.all()) == [FIRST, SECOND]
    with pytest.raises(RegistryError, match="already"):
        registry.add(FIRST)


@pytest.mark.parametrize("name", ["apps.toml", "apps.sqlite"])
def test_no_key_is_in_the_file_and_each_process_sees_what_another_wrote(tmp_path: Path, name: str) -> None:
    reader, writer = open_registry(tmp_path / name), open_registry(tmp_path / name)
    assert reader.find(FIRST.package) is None
    writer.add(FIRST)
    assert reader.find(FIRST.package) == FIRST
    assert FIRST_KEY.encode() not in (tmp_path / name).read_bytes()
    assert key_fits(FIRST_KEY, FIRST.key_hash)
    assert FIRST.key_hash not in repr(FIRST)


def test_an_app_is_removed_where_the_file_is_ours(tmp_path: Path) -> None:
    ours = open_registry(tmp_path / "apps.db")
    ours.add(FIRST)
    assert ours.remove(FIRST.package)
    assert not ours.remove(FIRST.package)
    theirs = open_registry(tmp_path / "apps.toml")
    theirs.add(FIRST)
    with pytest.raises(RegistryError, match="by hand"):
        theirs.remove(FIRST.package)


def test_a_file_written_by_hand_is_read_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "apps.toml"
    path.write_text(
        f'[apps."com.example.x"]\nurl = "http://127.0.0.1:1"\nkey_hash = "{"0" * 64}"\npermissions = ["MICROPHONE"]\n'
    )
    registry = TomlRegistry(path)
    found = registry.find("com.example.x")
    assert found is not None
    assert (found.permissions, found.name) == (frozenset({Permission.MICROPHONE}), "")
    path.write_text("")
    assert registry.find("com.example.x") is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[", "TOML"),
        ("apps = 3", "tables"),
        ("[apps.x]\nurl = 'http://x'", "key_hash"),
        (f"[apps.x]\nurl = 'ftp://x'\nkey_hash = '{'0' * 64}'", "URL"),
        ("[apps.x]\nurl = 'http://x'\nkey_hash = 'secret'", "SHA-256"),
        (f"[apps.x]\nurl = 'http://x'\nkey_hash = '{'0' * 64}'\npermissions = ['X']", "X"),
        (f"[apps.x]\nurl = 'http://x'\nkey_hash = '{'0' * 64}'\napi_key = 'k'", "api_key"),
        ("[apps]\nx = 3", "x"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "apps.toml"
    path.write_text(text)
    with pytest.raises(RegistryError, match=word) as caught:
        TomlRegistry(path).all()
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "apps.db"
    path.write_text("this is no database, but long enough to be read as one" * 20)
    with pytest.raises(RegistryError, match="cannot use"):
        open_registry(path).find("x")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"\.toml"):
        open_registry(tmp_path / "apps.yaml")


@pytest.mark.parametrize(
    ("package", "url", "permissions"),
    [("a b", "http://x", []), ("", "http://x", []), ("x" * 200, "http://x", []), ("x", "x", []),
     ("x", "http://u:p@x", []), ("x", "http://x", ["FLY"])],
)  # fmt: skip
def test_what_is_no_app_is_refused(package: str, url: str, permissions: list[str]) -> None:
    with pytest.raises(UserError):
        new_app(package, url, "", permissions)


def test_a_record_holds_a_hash_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        AppRecord(package="x", url="http://x", key_hash="the-key-itself")


# ---- who may read the file, and what signs


@pytest.mark.parametrize("name", ["apps.toml", "apps.db"])
def test_the_file_is_its_owners_only_and_one_that_was_not_is_put_right(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    open_registry(path).add(FIRST)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with structlog.testing.capture_logs() as lines:
        assert open_registry(path).find(FIRST.package) == FIRST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [(line["event"], line["was"]) for line in lines] == [("registry of apps made private", "0644")]


def test_a_new_app_has_a_secret_that_its_key_makes_and_its_hash_does_not() -> None:
    assert FIRST.secret == signing_secret(FIRST_KEY)
    assert FIRST.secret not in (FIRST.key_hash, signing_secret(FIRST.key_hash), hash_key(FIRST.key_hash))
    assert FIRST.secret not in repr(FIRST)
    with pytest.raises(ValueError, match="secret is not key_hash"):
        AppRecord(package="x", url="http://x", key_hash="0" * 64, secret="0" * 64)


OLD_TOML = """# ours
[apps."com.example.first"]   # the first
url = "http://127.0.0.1:1"
key_hash = '{}'  # of the key
permissions = ["MICROPHONE"]

[apps."com.example.other"]
url = "http://127.0.0.1:2"
key_hash = "{}"
"""


def old_toml(path: Path) -> None:
    path.write_text(OLD_TOML.format(hash_key("first"), hash_key("other")))


def old_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE apps (package TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL, key_hash TEXT NOT"
            " NULL, permissions TEXT NOT NULL)"
        )
        for name in ("first", "other"):
            row = (f"com.example.{name}", "", "http://127.0.0.1:1", hash_key(name), "MICROPHONE")
            database.execute("INSERT INTO apps VALUES (?, ?, ?, ?, ?)", row)


@pytest.mark.parametrize(("name", "write"), [("apps.toml", old_toml), ("apps.db", old_sqlite)])
def test_a_registry_from_before_is_read_and_learns_a_secret(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    write(path)
    registry = open_registry(path)
    first, other = registry.find("com.example.first"), registry.find("com.example.other")
    assert first is not None
    assert first.secret == ""
    registry.change_key(first.with_key("first"))
    again = open_registry(path)
    assert again.find("com.example.first") == first.with_key("first")
    assert again.find("com.example.other") == other
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if name.endswith("toml"):
        assert "# ours" in path.read_text()
    again.change_key(first.with_key("second"))  # and another key later
    assert open_registry(path).find("com.example.first") == first.with_key("second")
    assert path.read_text(errors="replace").count(signing_secret("first")) == 0 or not name.endswith("toml")
    with pytest.raises(RegistryError, match="no app"):
        registry.change_key(FIRST)


@pytest.mark.parametrize("name", ["apps.toml", "apps.db"])
def test_settings_are_kept_with_the_app(tmp_path: Path, name: str) -> None:
    schema = (
        {"type": "group", "title": 'Look "and" feel'},
        {"type": "slider", "key": "size", "label": "Größe", "min": 1, "max": 9.5, "defaultValue": 5},
        {
            "type": "select",
            "key": "tone",
            "options": [{"label": "a", "value": "a"}, {"label": "b", "value": [1, True]}],
        },
    )
    record, _ = new_app("com.example.app", "http://x", "", [], schema)
    open_registry(tmp_path / name).add(record)
    found = open_registry(tmp_path / name).find("com.example.app")
    assert found is not None
    assert found.settings[:2] == schema[:2]


def test_an_app_whose_settings_are_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"settings": [{"type": "text"}]}')
    with pytest.raises(RegistryError, match="key"):
        read_settings(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"name": "x", "settings": [{"type": "text", "key": "a"}]}')
    assert read_settings(tmp_path / "config.json") == ({"type": "text", "key": "a"},)
