"""Sounds that apps bring: who may, how much, how long."""

from collections.abc import AsyncIterator
from time import time

import pytest

from glassbridge.cloud.apps import uploads
from glassbridge.wire.app_keys import SIGNATURE_HEADER, hash_key, sign
from tests.cloud.app_stage import KEY, PACKAGE, AppStage, Begin, app_stages


@pytest.fixture
async def built() -> AsyncIterator[AppStage]:
    async with app_stages() as begin:
        begun: Begin = begin
        yield await begun()


async def bring(built: AppStage, data: bytes, package: str = PACKAGE, key: str = KEY) -> tuple[int, str]:
    """Status, and the path of the sound or the code of the error."""
    headers = {SIGNATURE_HEADER: sign(hash_key(key), data, int(time()))}
    url = f"{built.url}/api/sounds?app={package}"
    async with built.http.post(url, data=data, headers=headers) as answer:
        told = await answer.json()
        return answer.status, told["data"]["path"] if answer.status == 200 else told["error"]["code"]


async def fetched(built: AppStage, path: str) -> bytes | None:
    async with built.http.get(built.url + path) as answer:
        return await answer.read() if answer.status == 200 else None


async def test_an_app_brings_a_sound_and_others_do_not(built: AppStage) -> None:
    status, path = await bring(built, b"sound")
    assert status == 200
    assert await fetched(built, path) == b"sound"
    assert await bring(built, b"sound", key="another") == (401, "INVALID_SIGNATURE")
    assert await bring(built, b"sound", package="com.example.unknown") == (401, "INVALID_SIGNATURE")
    assert await bring(built, b"") == (400, "BAD_REQUEST")
    assert await bring(built, bytes(uploads.MAX_SOUND + 1)) == (413, "TOO_LARGE")
    assert await fetched(built, "/api/sounds/guessed") is None


async def test_the_oldest_go_when_there_are_too_many(built: AppStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_ALL", 1000)
    paths = [(await bring(built, bytes([number]) * 400))[1] for number in range(3)]
    assert [await fetched(built, path) is not None for path in paths] == [False, True, True]


async def test_what_was_kept_long_enough_is_gone(built: AppStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "KEPT", 0.0)
    status, path = await bring(built, b"sound")
    assert status == 200
    assert await fetched(built, path) is None
