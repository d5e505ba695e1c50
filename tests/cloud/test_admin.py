"""`/api/admin` over real sockets: who may ask, what a session's recorder says, what is pushed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from glassbridge.wire.audio_frames import FrameNumber, encode_numbered
from tests.cloud.conftest import ANN, Stage
from tests.support.poll import eventually

TOKEN = "an-admin-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def ask(stage: Stage, path: str, status: int = 200, headers: dict[str, str] = BEARER) -> Any:
    async with stage.http.get(f"{stage.url}/api/admin/{path}", headers=headers) as answer:
        body = await answer.json()
        assert answer.status == status, body
        return body["data"] if status == 200 else body["error"]["code"]


async def session_of(stage: Stage, user: str = ANN) -> Any:
    found = (await ask(stage, f"sessions?user={user}"))["sessions"]
    return found[0]


async def shows(stage: Stage, **values: Any) -> None:
    """Until the list of sessions says so."""

    async def shown() -> bool | str:
        row = await session_of(stage)
        return all(row[name] == value for name, value in values.items()) or f"{values}, but {row}"

    await eventually(shown)


async def timeline_of(stage: Stage, query: str = "") -> Any:
    session = await session_of(stage)
    return await ask(stage, f"sessions/{session['id']}/timeline{query}")


class Pushed:
    """What a stream has told, one message at a time."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.rows: dict[str, Any] = {}

    async def next(self, within: float = 5.0) -> Any:
        async with asyncio.timeout(within):
            while True:
                line = await self.response.content.readline()
                assert line, "the stream has ended"
                if line.startswith(b"data: "):
                    message = json.loads(line[6:])
                    if message["full"]:
                        self.rows.clear()
                    self.rows.update({row["id"]: row for row in message["sessions"]})
                    for id_ in message["gone"]:
                        del self.rows[id_]
                    return message


@asynccontextmanager
async def pushed(stage: Stage, query: str = "") -> AsyncIterator[Pushed]:
    async with stage.http.get(f"{stage.url}/api/admin/live{query}", headers=BEARER) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Pushed(response)


def frame(position: int, epoch: int = 1) -> bytes:
    """A tenth of a second, numbered."""
    return encode_numbered(FrameNumber(epoch, position, position * 1_000_000 // 16_000, 0, 0), b"\x00\x10" * 1600)


# ---- who may


async def test_without_an_admin_token_nobody_is_told_anything_but_what_to_do(stage: Callable[..., Any]) -> None:
    built: Stage = await stage()
    for path in ("sessions", "sessions/x/timeline", "live"):
        assert await ask(built, path, 403, {"Authorization": "Bearer "}) == "ADMIN_DISABLED"


async def test_the_token_and_the_cookie_open_it_and_nothing_else_does(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    for path in ("sessions", "sessions/x/timeline", "live"):
        assert await ask(built, path, 401, {}) == "UNAUTHORIZED"
        assert await ask(built, path, 401, {"Authorization": f"Bearer {TOKEN}x"}) == "UNAUTHORIZED"
        assert await ask(built, f"{path}?token={TOKEN}", 401, {}) == "UNAUTHORIZED"
    login = f"{built.url}/api/admin/login"
    async with built.http.post(login, json={"token": "another-token"}) as answer:
        assert (answer.status, answer.cookies.output()) == (401, "")
    async with built.http.post(login, data=b"no json") as answer:
        assert answer.status == 400
    async with built.http.post(login, json={"token": TOKEN}) as answer:
        cookie = answer.cookies["glassbridge_admin"]
        assert answer.status == 200
        assert cookie["httponly"]
        assert cookie["samesite"] == "Strict"
        assert TOKEN not in cookie.value
    headers = {"Cookie": f"glassbridge_admin={cookie.value}"}
    assert await ask(built, "sessions", headers=headers) is not None
    assert await ask(built, "sessions", 401, headers | {"Sec-Fetch-Site": "cross-site"}) == "UNAUTHORIZED"
    assert await ask(built, "sessions", 401, {"Cookie": f"glassbridge_admin=9{cookie.value}"}) == "UNAUTHORIZED"


async def test_who_tries_out_tokens_is_stopped_and_those_who_know_theirs_are_not(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    for number in range(10):
        assert await ask(built, "sessions", 401, {"Authorization": f"Bearer wrong-{number}"}) == "UNAUTHORIZED"
    assert await ask(built, "sessions", 429, {"Authorization": "Bearer wrong-again"}) == "TOO_MANY_ATTEMPTS"
    async with built.http.post(f"{built.url}/api/admin/login", json={"token": TOKEN}) as answer:
        assert answer.status == 429
    assert await ask(built, "sessions") is not None


# ---- what is told


async def test_a_session_is_listed_with_the_truth_about_its_audio(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    assert (await ask(built, "sessions"))["sessions"] == []
    phone = await built.phone(query="?livekit=true&audio=2")

    await shows(built, light="wait")
    await eventually(lambda: ANN in built.bridge.rooms or "no join", 5.0)
    built.bridge.send(ANN, b"", number={"epoch": 1})
    await phone.until_state("live")
    await shows(built, light="ok")
    row = await session_of(built)
    assert (row["user"], row["state"], row["transport"], row["link"]) == (ANN, "live", "livekit", "live")
    assert row["bridge"] == built.bridge.target
    assert row["numbered"] is True
    await phone.close()
    await shows(built, light="off")
    row = await session_of(built)
    assert (row["state"], row["code"], row["ended_ms"]) == ("away", "phone_away", None)
