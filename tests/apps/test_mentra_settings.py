"""Settings and storage, as the original's SDK uses them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.mentra import Scene, a_scene, peer_command
from tests.cloud.app_stage import PACKAGE
from tests.cloud.test_apps import rest_with
from tests.support.poll import eventually

__all__ = ["peer_command"]

SCHEMA = (
    {"type": "group", "title": "Look"},
    {"type": "slider", "key": "size", "label": "Size", "min": 1, "max": 9, "defaultValue": 5},
    {"type": "toggle", "key": "bold", "label": "Bold", "defaultValue": False},
)


@pytest.fixture
async def scene(peer_command: list[str], tmp_path: Path) -> AsyncIterator[Scene]:
    """Two clouds with one file."""
    async with a_scene(peer_command, clouds=2, settings=SCHEMA, store=tmp_path / "store.db") as built:
        await built.move_to(0)
        await built.is_heard(0)
        yield built


async def test_settings_have_defaults_change_while_it_runs_and_are_kept(scene: Scene) -> None:
    def values(told: list[dict[str, Any]]) -> dict[str, Any]:
        return {one["key"]: one["value"] for one in told if "key" in one}

    assert values(scene.peer.told("session")[-1]["settings"]) == {"size": 5, "bold": False}
    status, body = await rest_with(scene.clouds[0], "POST", f"/appsettings/{PACKAGE}", {"key": "size", "value": 7})
    assert (status, values(body["data"]["settings"])) == (200, {"size": 7, "bold": False})
    await eventually(lambda: bool(scene.peer.told("settings")) or "not told")
    assert values(scene.peer.told("settings")[-1]["settings"])["size"] == 7
    await scene.move_to(1)
    await eventually(lambda: len(scene.peer.told("session")) == 2 or "no second session")
    assert values(scene.peer.told("session")[-1]["settings"])["size"] == 7


async def test_what_cannot_be_chosen_is_refused(scene: Scene) -> None:
    for wrong in ({"key": "size", "value": 10}, {"key": "bold", "value": 1}, {"key": "other", "value": 1}):
        status, body = await rest_with(scene.clouds[0], "POST", f"/appsettings/{PACKAGE}", wrong)
        assert (status, body["error"]["code"]) == (422, "WRONG_VALUE")
    assert not scene.peer.told("settings")


async def test_the_settings_of_the_phone_are_told(scene: Scene) -> None:
    path, said = "/api/client/user/settings", {"settings": {"metricSystemEnabled": True, "core_token": "secret"}}
    status, body = await rest_with(scene.clouds[0], "POST", path, said)
    assert (status, body["data"]) == (200, said["settings"])

    async def metric() -> bool | str:
        told = await scene.peer.result("system_setting", "metricSystemEnabled")
        return told is True or str(told)

    await eventually(metric)
    assert await scene.peer.result("system_setting", "core_token") is None
    await rest_with(scene.clouds[0], "POST", f"/appsettings/{PACKAGE}", {"key": "size", "value": 2})
    await eventually(lambda: bool(scene.peer.told("settings")) or "not told")
    await eventually(metric)
    assert (await rest_with(scene.clouds[0], "GET", path))[1]["data"] == said["settings"]


async def test_what_it_stores_is_there_with_the_next_session_and_cloud(scene: Scene) -> None:
    async def storage(call: str, *args: Any) -> Any:
        return await scene.peer.result("storage", {"call": call, "args": args}, f"storage {call}")

    assert await storage("keys") == []
    await storage("set", "name", "Ann")
    await storage("setMultiple", {"a/b": "1", "ü": "2"})
    assert await storage("get", "name") == "Ann"
    await storage("flush")
    await scene.move_to(1)
    await eventually(lambda: len(scene.peer.told("session")) == 2 or "no second session")
    await asyncio.sleep(0)
    assert await storage("getAllData") == {"name": "Ann", "a/b": "1", "ü": "2"}
    assert await storage("delete", "a/b") is True
    assert await storage("hasKey", "a/b") is False
    await scene.move_to(0)
    await eventually(lambda: len(scene.peer.told("session")) == 3 or "no third session")
    assert await storage("size") == 2
    assert await storage("clear") is True
