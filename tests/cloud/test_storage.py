"""What apps store, what users choose, and what phones say by REST: who may, how much, and what is in the way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from glassbridge.cloud.apps import running
from glassbridge.cloud.apps.store import PHONE, Full, SqliteStore, StoredKind, StoreError
from glassbridge.core.allowance import Rate
from glassbridge.core.subscriptions import Permission
from glassbridge.core.values import UserId, user_id
from tests.cloud.app_stage import DEAF, KEY, PACKAGE, AppStage, app_stages
from tests.cloud.conftest import ANN
from tests.cloud.test_apps import rest_with
from tests.support.patience import patient

USER = user_id(ANN)
OWN = f"{PACKAGE}:{KEY}"


@pytest.fixture
async def built() -> AsyncIterator[AppStage]:
    async with app_stages() as begin:
        stage: AppStage = await begin(permissions=frozenset({Permission.ALL}))
        await stage.phone()
        yield stage


async def ask(built: AppStage, method: str, path: str, token: str = OWN, body: Any = None) -> tuple[int, Any]:
    url = f"{built.url}/api/sdk/simple-storage/{path}"
    async with built.http.request(method, url, headers={"Authorization": f"Bearer {token}"}, json=body) as answer:
        return answer.status, await answer.json()


async def test_an_app_stores_for_users_who_have_started_it_only(built: AppStage) -> None:
    assert (await ask(built, "PUT", ANN, body={"data": {"a": "1"}}))[0] == 404
    app = await built.running()
    assert (await ask(built, "PUT", ANN, body={"data": {"a": "1"}}))[0] == 200
    await app.close()
    assert (await ask(built, "GET", ANN))[1]["data"] == {"a": "1"}
    assert (await ask(built, "GET", "bob@example.com"))[0] == 404
    assert (await ask(built, "GET", ANN, token=f"{DEAF}:{KEY}"))[0] == 404
    for token in ("", PACKAGE, f"{PACKAGE}:wrong", f"nobody:{KEY}"):
        assert (await ask(built, "GET", ANN, token=token))[0] == 401, token


async def test_one_key_by_its_path(built: AppStage) -> None:
    await built.running()
    assert (await ask(built, "GET", f"{ANN}/a"))[0] == 404
    assert (await ask(built, "PUT", f"{ANN}/a", body={"value": "x"}))[0] == 200
    assert (await ask(built, "GET", f"{ANN}/a"))[1]["data"] == {"value": "x"}
    assert (await ask(built, "DELETE", f"{ANN}/a"))[1]["data"] == {"deleted": 1}
    assert (await ask(built, "DELETE", f"{ANN}/a"))[1]["data"] == {"deleted": 0}


@pytest.mark.parametrize("body", [None, [], {"data": {"a": 1}}, {"data": {"a": "x" * 100_001}}, {"data": {"": "x"}}])
async def test_what_is_no_text_is_refused_and_nothing_changes(built: AppStage, body: Any) -> None:
    await built.running()
    await ask(built, "PUT", ANN, body={"data": {"kept": "1"}})
    assert (await ask(built, "PUT", ANN, body=body))[0] == 400
    assert (await ask(built, "GET", ANN))[1]["data"] == {"kept": "1"}


async def test_more_than_the_quota_is_refused_and_nothing_changes(built: AppStage) -> None:
    await built.running()
    much = {f"key{n}": "x" * 100_000 for n in range(10)}
    assert (await ask(built, "PUT", ANN, body={"data": much}))[0] == 200
    status, body = await ask(built, "PUT", ANN, body={"data": {"one more": "x" * 100_000}})
    assert (status, body["error"]["code"]) == (413, "TOO_LARGE")
    assert set((await ask(built, "GET", ANN))[1]["data"]) == set(much)
    assert (await ask(built, "PUT", ANN, body={"data": {"key0": ""}}))[0] == 200, "room is made"


async def test_too_many_requests_are_refused() -> None:
    async with app_stages() as begin:
        built = await begin(storage_of_one=Rate(0.01, 3))
        await built.phone()
        await built.running()
        answers = [await ask(built, "GET", ANN) for _ in range(4)]
        assert [status for status, _ in answers] == [200, 200, 200, 429]
        assert answers[-1][1]["error"]["code"] == "RATE_LIMITED"


async def test_a_file_that_cannot_be_used_is_told_and_apps_run_all_the_same(tmp_path: Path) -> None:
    async with app_stages() as begin:
        built = await begin(store=tmp_path / "missing" / "store.db")
        await built.phone()
        await built.running()
        status, body = await ask(built, "GET", ANN)
        assert (status, body["error"]["code"]) == (503, "STORE_UNAVAILABLE")
        assert (await rest_with(built, "GET", "/api/client/user/settings"))[0] == 503


async def test_the_store_keeps_what_it_said_it_keeps(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with SqliteStore(path, 1 << 20) as store:
        assert not await store.knows(USER, "app")
        await store.know(USER, "app")
        await store.write(StoredKind.STORED, USER, "app", {"a": "1", "b": "2"}, 100)
        with pytest.raises(Full):
            await store.write(StoredKind.STORED, USER, "app", {"c": "x" * 100}, 100)
        assert await store.delete(StoredKind.STORED, USER, "app", "a") == 1
    async with SqliteStore(path, 1 << 20) as store:
        assert await store.knows(USER, "app")
        assert await store.read(StoredKind.STORED, USER, "app") == {"b": "2"}
        assert await store.read(StoredKind.SETTING, USER, "app") == {}
    assert path.stat().st_mode & 0o077 == 0


async def test_a_file_has_a_bound(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db", 128 << 10) as store:
        await store.write(StoredKind.STORED, USER, "app0", {"a": "x" * 50_000}, 1 << 20)
        with pytest.raises(StoreError):
            await store.write(StoredKind.STORED, USER, "app1", {"a": "x" * 100_000}, 1 << 20)
        assert len(await store.read(StoredKind.STORED, USER, "app0")) == 1


# ---- what phones say by REST


@pytest.mark.parametrize(
    ("path", "body", "stream", "heard"),
    [
        ("location", {"lat": 1.0, "lng": 2.0}, "location_update", {"lat": 1.0, "lng": 2.0}),
        ("location", {"location": {"lat": 1.0, "lng": 2.0, "accuracy": 3.0}}, "location_update", {"accuracy": 3.0}),
        ("location", {"coords": {"latitude": 1.0, "longitude": 2.0}, "timestamp": 1}, "location_update", {"lng": 2.0}),
        ("location/poll-response/p1", {"lat": 1.0, "lng": 2.0}, "location_update", {"correlationId": "p1"}),
        ("calendar", {"eventId": "e", "title": "t"}, "calendar_event", {"eventId": "e", "title": "t"}),
        ("calendar", {"events": [{"id": "e", "title": "t", "startDate": "s"}]}, "calendar_event", {"dtStart": "s"}),
        ("notifications", {"notificationId": "n", "title": "t"}, "phone_notification", {"title": "t"}),
        ("notifications/dismissed", {"notificationId": "n"}, "phone_notification_dismissed", {"notificationId": "n"}),
    ],
)
async def test_apps_hear_what_phones_say_by_rest(
    built: AppStage, path: str, body: Any, stream: str, heard: dict[str, Any]
) -> None:
    app = await built.running(stream)
    assert (await rest_with(built, "POST", f"/api/client/{path}", body))[0] == 200
    told = await app.until_heard(stream)
    assert heard.items() <= told.items()
    for wrong in ({}, [1], 1, {"lat": "x"}, {"events": [1]}):
        assert (await rest_with(built, "POST", f"/api/client/{path}", wrong))[0] == 400, wrong


async def test_the_state_of_the_glasses_by_rest(built: AppStage) -> None:
    app = await built.running()
    said = {"modelName": "Mentra Live", "batteryLevel": 40, "hotspotPassword": "secret"}
    status, body = await rest_with(built, "POST", "/api/client/device/state", said)
    assert (status, body["appliedState"]["isGlassesConnected"], body["appliedState"]["isPhoneConnected"]) == (
        200,
        True,
        True,
    )
    assert body["appliedState"]["capabilities"]["hasCamera"]
    told = await app.until("device_state_update")
    assert told["state"] == {"modelName": "Mentra Live", "batteryLevel": 40, "connected": True}
    assert (await app.until("capabilities_update"))["modelName"] == "Mentra Live"
    assert (await rest_with(built, "POST", "/api/client/device/state", {"batteryLevel": "full"}))[0] == 400


async def test_a_phone_that_is_not_connected_is_told_so() -> None:
    async with app_stages() as begin:
        built = await begin()
        for path in ("device/state", "location", "calendar", "notifications"):
            status, body = await rest_with(built, "POST", f"/api/client/{path}", {})
            assert (status, body["error"]["code"]) == (503, "SESSION_NOT_FOUND")
        assert (await rest_with(built, "GET", "/api/client/min-version"))[1]["data"]["required"] == "0.0.0"
        async with built.http.post(f"{built.url}/api/client/location", json={}) as answer:
            assert answer.status == 401


async def test_the_phones_settings_by_key(built: AppStage) -> None:
    path = "/api/client/user/settings"
    assert (await rest_with(built, "GET", f"{path}/key/a"))[0] == 404
    assert (await rest_with(built, "PUT", f"{path}/key/a", {"value": [1]}))[1]["data"] == {"a": [1]}
    assert (await rest_with(built, "GET", f"{path}/key/a"))[1]["data"] == {"key": "a", "value": [1]}
    assert (await rest_with(built, "DELETE", f"{path}/key/a"))[1]["data"] == {}
    assert (await rest_with(built, "POST", path, {"settings": []}))[0] == 400
    big = {"settings": {"a": "x" * 40_000}}
    assert (await rest_with(built, "POST", path, big))[0] == 413


async def test_an_app_does_not_wait_for_a_store_that_hangs_and_is_told_later(
    built: AppStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "READ_AGAIN", 0.05)
    store, answers = built.cloud.sessions._apps.store, asyncio.Event()
    await store.write(StoredKind.SETTING, USER, PHONE, {"metricSystemEnabled": "true"}, 1_000)
    read = store.read

    async def hang(kind: StoredKind, user: UserId, package: str) -> dict[str, str]:
        await answers.wait()
        return await read(kind, user, package)

    monkeypatch.setattr(store, "read", hang)
    begun = monotonic()
    app = await built.running()
    assert monotonic() - begun < patient(1.0)
    assert app.of_type("tpa_connection_ack")[0]["mentraosSettings"] == {}
    answers.set()
    assert (await app.until("augmentos_settings_update"))["settings"]["metricSystemEnabled"] is True
