"""What the console can do in development, and nowhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassbridge.lab.break_it import BreakIt
from glassbridge.lab.dev_control import DevControl
from tests.cloud.conftest import Stage
from tests.console.conftest import ADMIN

BEARER = {"Authorization": f"Bearer {ADMIN}"}


async def ask(stage: Stage, method: str, path: str, headers: dict[str, str] = BEARER) -> tuple[int, Any]:
    async with stage.http.request(method, f"{stage.url}/api/dev{path}", headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_cloud_in_production_knows_nothing_of_it(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    for method, path in (("GET", ""), ("POST", "/faults/k")):
        status, body = await ask(built, method, path)
        assert (status, body["error"]["code"]) == (404, "NOT_FOUND")
    async with built.http.get(f"{built.url}/api/admin/sessions", headers=BEARER) as answer:
        assert (await answer.json())["data"]["development"] is False


async def test_in_development_it_is_handed_on_for_who_may(stage: Callable[..., Any]) -> None:
    said: list[str] = []
    async with BreakIt(said.append) as breaking, DevControl(ADMIN, breaking) as control:
        control.phone_page = "http://127.0.0.1/console/phone#token=x"
        built: Stage = await stage(admin_token=ADMIN, dev_control=Path(control.environment["GLASSBRIDGE_DEV_CONTROL"]))
        for method, path in (("GET", ""), ("POST", "/faults/k")):
            assert (await ask(built, method, path, {}))[0] == 401
        status, told = await ask(built, "GET", "")
        assert (status, told["phone_page"], told["broken"]) == (200, control.phone_page, False)
        assert (await ask(built, "POST", "/faults/k"))[0] == 409  # nothing runs yet that could be broken
        assert (await ask(built, "POST", "/faults/%2e%2e"))[0] == 404
        assert control.environment["GLASSBRIDGE_ADMIN_TOKEN"] == ADMIN
    status, body = await ask(built, "GET", "")
    assert (status, body["error"]["code"]) == (502, "NO_DEVELOPMENT")
    assert said == []
