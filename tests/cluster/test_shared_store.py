"""What is kept for users and which apps there are, each held to one contract: in memory, in a file, in the server of a
cluster. And what happens while that server is away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from time import monotonic

import pytest

from glassbridge.cloud.apps import store as store_of_cloud
from glassbridge.cloud.apps.registry import (
    AppRecord,
    Registry,
    RegistryError,
    SqliteRegistry,
    StaticRegistry,
    TomlRegistry,
    new_app,
)
from glassbridge.cloud.apps.shared_registry import RegistryCopy, RegistryOfCluster
from glassbridge.cloud.apps.shared_store import SharedStore
from glassbridge.cloud.apps.store import PHONE, Full, SqliteStore, Store, StoredKind, StoreError
from glassbridge.cluster.address import read_address
from glassbridge.cluster.kept import Kept
from glassbridge.core.values import UserId
from tests.cloud.app_stage import PACKAGE
from tests.cloud.conftest import ANN
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.valkey import Valkey

USER, BOB = UserId(ANN), UserId("bob ünïcode@example.com")
MOST = 1 << 20
Open = Callable[[], Store]
"""One more connection to the same store."""


def connected(server: Valkey, **options: float) -> Kept:
    return Kept(read_address(server.url), **options)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """None of these tests is about time: a busy machine may take as long as it likes."""
    for limit in ("LOCKED_FOR", "DEADLINE"):
        monkeypatch.setattr(store_of_cloud, limit, 60.0)
    async with AsyncExitStack() as stack:
        match request.param:
            case "memory":
                shared = await stack.enter_async_context(SqliteStore(None, MOST))
                yield lambda: shared
            case "sqlite":

                def open_file() -> Store:
                    store = SqliteStore(tmp_path / "store.db", MOST)
                    stack.push_async_exit(store)
                    return store

                yield open_file
            case _:
                server = await stack.enter_async_context(Valkey(tmp_path))

                def connect() -> Store:
                    store = SharedStore(connected(server, timeout=60.0), MOST)
                    stack.push_async_exit(store)
                    return store

                yield connect


async def test_what_one_cloud_writes_another_reads(open_store: Open) -> None:
    one, two = open_store(), open_store()
    assert await one.write(StoredKind.STORED, USER, PACKAGE, {"a": "1", "ü": "ö:\n"}, 100) == {"a": "1", "ü": "ö:\n"}
    assert await two.read(StoredKind.STORED, USER, PACKAGE) == {"a": "1", "ü": "ö:\n"}
    assert await two.write(StoredKind.STORED, USER, PACKAGE, {"a": "2"}, 100) == {"a": "2", "ü": "ö:\n"}
    assert await one.delete(StoredKind.STORED, USER, PACKAGE, "ü") == 1
    assert await one.delete(StoredKind.STORED, USER, PACKAGE, "ü") == 0
    assert await two.read(StoredKind.STORED, USER, PACKAGE) == {"a": "2"}
    assert await two.delete(StoredKind.STORED, USER, PACKAGE) == 1
    assert await one.read(StoredKind.STORED, USER, PACKAGE) == {}


async def test_users_apps_and_kinds_are_apart(open_store: Open) -> None:
    store = open_store()
    places = [(kind, user, app) for kind in StoredKind for user in (USER, BOB) for app in (PHONE, "a.b", "a")]
    for at, place in enumerate(places):
        await store.write(*place, {"k": str(at)}, 100)
    assert [(await store.read(*place))["k"] for place in places] == [str(at) for at in range(len(places))]


async def test_who_has_started_an_app_is_known_to_all(open_store: Open) -> None:
    one, two = open_store(), open_store()
    assert not await two.knows(USER, PACKAGE)
    await one.know(USER, PACKAGE)
    await one.know(USER, PACKAGE)
    assert await two.knows(USER, PACKAGE)
    assert not await two.knows(BOB, PACKAGE)
    assert not await two.knows(USER, "another")


async def test_the_quota_of_an_app_holds_over_all_clouds(open_store: Open) -> None:
    """Many write at once; bytes count, not characters."""
    stores = [open_store() for _ in range(3)]
    tries = [stores[at % 3].write(StoredKind.STORED, USER, PACKAGE, {f"k{at}": "ü" * 49}, 1_000) for at in range(30)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Full)]
    assert {type(result) for result in results} == {dict, Full}
    kept = await stores[0].read(StoredKind.STORED, USER, PACKAGE)
    assert len(kept) == 30 - len(refused)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in kept.items())
    assert 900 <= size <= 1_000
    with pytest.raises(Full):
        await stores[1].write(StoredKind.STORED, USER, PACKAGE, {"more": "x" * 200}, 1_000)
    assert await stores[2].read(StoredKind.STORED, USER, PACKAGE) == kept
    await stores[2].write(StoredKind.STORED, USER, PACKAGE, dict.fromkeys(kept, "y"), 1_000)  # smaller, so it fits


async def test_clouds_that_open_a_new_file_at_the_same_moment_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite refuses one of them at once."""
    path = tmp_path / "store.db"
    async with SqliteStore(path, MOST) as store:
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.1, other.rollback)
            await store.know(USER, PACKAGE)
            assert await store.knows(USER, PACKAGE)


async def test_the_size_of_all_is_bounded(tmp_path: Path) -> None:
    async with Valkey(tmp_path) as server, SharedStore(connected(server), 1_000) as store:
        await store.write(StoredKind.STORED, USER, PACKAGE, {"a": "x" * 600}, MOST)
        with pytest.raises(StoreError, match="GLASSBRIDGE_STORE_MB"):
            await store.write(StoredKind.STORED, BOB, PACKAGE, {"a": "x" * 600}, MOST)
        assert await store.read(StoredKind.STORED, BOB, PACKAGE) == {}
        await store.write(StoredKind.STORED, USER, PACKAGE, {"a": "x" * 100}, MOST)
        await store.write(StoredKind.STORED, BOB, PACKAGE, {"a": "x" * 600}, MOST)
        await store.delete(StoredKind.STORED, BOB, PACKAGE)
        await store.write(StoredKind.STORED, BOB, PACKAGE, {"a": "x" * 600}, MOST)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_server_that_is_away_is_told_of_at_once(tmp_path: Path, fault: str) -> None:
    async with Valkey(tmp_path) as server, SharedStore(connected(server, timeout=0.3), MOST) as store:
        await store.write(StoredKind.STORED, USER, PACKAGE, {"a": "1"}, 100)
        if fault == "killed":
            await server.kill()
        else:
            server.freeze()
        begun = monotonic()
        for _ in range(20):
            with pytest.raises(StoreError, match="try again later"):
                await store.read(StoredKind.STORED, USER, PACKAGE)
        assert monotonic() - begun < patient(1.0), "each request waited by itself"
        if fault == "killed":
            await server.start()
        else:
            server.thaw()

        async def back() -> bool | str:
            try:
                await store.read(StoredKind.STORED, USER, PACKAGE)
            except StoreError as error:
                return str(error)
            return True

        await eventually(back, 5)


@pytest.fixture(params=["memory", "toml", "sqlite", "valkey"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    match request.param:
        case "memory":
            yield StaticRegistry()
        case "toml":
            yield TomlRegistry(tmp_path / "apps.toml")
        case "sqlite":
            yield SqliteRegistry(tmp_path / "apps.db")
        case _:
            loop = asyncio.new_event_loop()
            server = Valkey(tmp_path)
            loop.run_until_complete(server.start())
            yield RegistryOfCluster(lambda: connected(server))
            loop.run_until_complete(server.kill())
            loop.close()


def app(package: str, name: str = "An app") -> AppRecord:
    settings = ({"type": "toggle", "key": "loud", "label": "Loud", "defaultValue": False},)
    record, _ = new_app(package, "https://app.example.com", name, ["MICROPHONE", "LOCATION"], settings)
    return record


def test_a_registry_keeps_apps(registry: Registry) -> None:
    assert (registry.find("b.app"), list(registry.all())) == (None, [])
    one, two = app("b.app", 'Quotes " and ünïcode'), app("a.app")
    registry.add(one)
    registry.add(two)
    assert list(registry.all()) == [two, one]
    assert registry.find("b.app") == one
    with pytest.raises(RegistryError, match="already"):
        registry.add(app("a.app"))
    changed = two.with_key("another key")
    registry.change_key(changed)
    assert registry.find("a.app") == changed
    with pytest.raises(RegistryError, match="no app"):
        registry.change_key(app("c.app"))
    if not isinstance(registry, TomlRegistry):  # people write that file themselves
        assert registry.remove("b.app")
        assert not registry.remove("b.app")
        assert list(registry.all()) == [changed]


async def test_a_cloud_follows_the_registry_of_the_cluster(tmp_path: Path) -> None:
    async with Valkey(tmp_path) as server:
        copy, command = RegistryCopy(connected(server, timeout=0.3)), RegistryOfCluster(lambda: connected(server))
        with pytest.raises(RegistryError, match="does not answer"):
            copy.find("a.app")
        await copy.look()
        assert list(copy.all()) == []
        one, two = app("a.app"), app("b.app")
        await asyncio.to_thread(command.add, one)
        await asyncio.to_thread(command.add, two)
        await copy.look()
        assert list(copy.all()) == [one, two]
        await server.kill()
        await copy.look()
        assert copy.find("a.app") == one, "a server that is away ends no app"
        await server.start()  # empty

        async def written_down_again() -> bool:
            await copy.look()
            return await asyncio.to_thread(lambda: list(command.all())) == [one, two]

        await eventually(written_down_again, 5)
        await asyncio.to_thread(command.remove, "a.app")
        await copy.look()
        assert list(copy.all()) == [two]
        await copy.close()


def test_a_command_without_a_server_says_what_to_do() -> None:
    command = RegistryOfCluster(lambda: Kept(read_address("valkey://127.0.0.1:1"), timeout=0.3))
    with pytest.raises(RegistryError, match="GLASSBRIDGE_CLUSTER"):
        command.all()
