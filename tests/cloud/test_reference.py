"""What the reference of the REST interface promises is what the server answers."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.reference import NOT_TOLD, OPERATIONS, Failure, Operation
from glassbridge.core.values import user_id
from tests.cloud.app_stage import PACKAGE, AppStage, Begin, app_stages
from tests.cloud.conftest import ANN, SECRET

NOT_THERE = ("start", "{name}", "{key}", "/appsettings/user/{package}")
"""Paths that are answered with an error here."""


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


async def ask(built: AppStage, method: str, path: str, signed_in: bool = True) -> tuple[int, str, bytes]:
    """Status, media type and body."""
    token = mint_core_token(user_id(ANN), SECRET, 60)
    headers = {"Authorization": f"Bearer {token}"} if signed_in else {}
    url = built.url + path.format(package=PACKAGE, session=ANN, id="none", name="none", key="none", user=ANN)
    async with built.http.request(method, url, headers=headers) as answer:
        return answer.status, answer.content_type, await answer.read()


def check(operation: Operation, body: bytes) -> None:
    """Raises ValidationError where the body is not what is promised."""
    found: dict[str, Any] = msgspec.json.decode(body)
    if not operation.bare:
        assert found.keys() >= {"success", "data", "timestamp"}
        found = found["data"]
    kept = msgspec.to_builtins(msgspec.convert(found, operation.data))
    if isinstance(found, dict):
        assert kept.keys() == found.keys(), "the reference leaves something out"


async def test_answers_are_as_promised(stage: Begin) -> None:
    built = await stage()
    await built.phone()
    await built.running()
    seen = set()
    for (method, path), operation in OPERATIONS.items():
        if operation.auth not in ("none", "user") or operation.body is not None or path.endswith(NOT_THERE):
            continue
        status, media, body = await ask(built, method, path)
        assert status == 200, (path, body)
        if operation.data is not None:
            check(operation, body)
        else:
            assert media == operation.media
        seen.add(path)
    assert len(seen) >= 9


async def test_errors_are_as_promised(stage: Begin) -> None:
    built = await stage()
    for (method, path), operation in OPERATIONS.items():
        if operation.auth == "none":
            continue
        status, _, body = await ask(built, method, path, signed_in=False)
        assert status in {401, *(operation.errors or {})}, path
        msgspec.json.decode(body, type=Failure)


async def test_every_route_is_told(stage: Begin) -> None:
    built = await stage()
    served = {
        (route.method, route.resource.canonical)
        for route in built.cloud.routes
        if route.resource is not None and route.method != "HEAD"
    }
    assert {one for one in served if not one[1].startswith(NOT_TOLD)} == OPERATIONS.keys()
