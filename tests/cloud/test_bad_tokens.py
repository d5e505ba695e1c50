"""Tokens and paths that were made to break something, over real sockets: typed refusals, and nothing in the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random

import pytest
import structlog

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from tests.cloud.app_stage import AppStage, app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.cloud.test_auth import VECTORS
from tests.support.patience import soon

SEED = 20260929
PLACES = (
    "GET /glasses-ws",
    "GET /ws/client",
    "GET /app-ws",
    "GET /api/client/livekit/token",
    "GET /api/client/apps",
    "GET /api/client/transcripts",
    "GET /api/transcripts/x",
    "GET /api/tts?text=x",
    "POST /apps/com.example.x/start",
    "POST /api/client/apps/com.example.x/stop",
    "GET /api/admin/sessions",
    "GET /api/admin/live",
    "GET /metrics",
)
MORE = {
    "raw ff": b"Authorization: Bearer \xff",
    "raw bytes": b"Authorization: Bearer " + bytes(range(0x80, 0x100)),
    "empty": b"Authorization:",
    "no token": b"Authorization: Bearer",
    "blank": b"Authorization: Bearer    ",
    "basic": b"Authorization: Basic YTpi",
    "digest": b"Authorization: Digest a=b",
    "twice": b"Authorization: Bearer a\r\nAuthorization: Bearer b",
    "comma": b"Authorization: Bearer a, Bearer b",
    "tab": b"Authorization: Bearer\ta",
}


@pytest.fixture
async def built() -> AsyncIterator[AppStage]:
    async with app_stages() as begin:
        yield await begin()


async def exchange(built: AppStage, line: bytes, *headers: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port)
    try:
        writer.write(b"\r\n".join((line + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers, b"", b"")))
        told = await soon(reader.read(), 10)
    finally:
        writer.close()
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def typed(body: bytes) -> bool:
    found = json.loads(body)
    return bool(found.get("error", found)["message"])


def defects(lines: list[structlog.typing.EventDict]) -> list[structlog.typing.EventDict]:
    return [line for line in lines if line["log_level"] in ("error", "critical") or "exc_info" in line]


@pytest.mark.parametrize("place", PLACES)
async def test_a_bad_token_is_a_typed_401_everywhere(built: AppStage, place: str) -> None:
    sent = {name: b"Authorization: Bearer " + token.encode(errors="surrogateescape") for name, token in VECTORS.items()}
    with structlog.testing.capture_logs() as lines:
        for name, header in ({name: header[:8100] for name, header in sent.items()} | MORE).items():
            status, body = await exchange(built, place.encode(), header)
            wanted = (400, 401) if b"\0" in header or b"\x01" in header else (401,)
            if place.startswith(("GET /api/admin", "GET /metrics")):
                wanted = (*wanted, 403)
            assert status in wanted, (name, status, body)
            assert typed(body), (name, body)
    assert not defects(lines)


async def test_a_bad_token_in_the_query_is_a_typed_401(built: AppStage) -> None:
    with structlog.testing.capture_logs() as lines:
        for token in (b"%ff", b"%00", b"a%20b", b"%F0%9F%98%80", b"%ED%A0%80", b"", b"%", b"%zz", b"\xff", b"a.b.c"):
            status, body = await exchange(built, b"GET /glasses-ws?token=" + token)
            assert (status, typed(body)) in ((401, True), (400, True)), token
        two = mint_core_token(user_id(ANN), SECRET, 60).encode()
        status, _ = await exchange(built, b"GET /api/client/apps?token=" + two + b"&token=x")
        assert status in (200, 401)
    assert not defects(lines)


async def test_the_right_token_opens_in_each_usual_spelling(built: AppStage) -> None:
    token = mint_core_token(user_id(ANN), SECRET, 60).encode()
    for header in (
        b"Authorization: Bearer " + token,
        b"authorization: bearer  " + token,
        b"Authorization: BEARER " + token,
    ):
        assert (await exchange(built, b"GET /api/client/apps", header))[0] == 200
    twice = b"Authorization: Bearer " + token
    assert (await exchange(built, b"GET /api/client/apps", twice, twice))[0] == 401


async def test_no_path_and_no_query_breaks_anything(built: AppStage) -> None:
    random = Random(SEED)
    pieces = [b"api", b"client", b"apps", b"sounds", b"tts", b"admin", b"sessions", b"timeline", b"transcripts", b"..",
              b"%2e%2e", b"%ff", b"%00", b"%ED%A0%80", b"%", b"\\", b"start", b"console", b"assets", b"\xff", b"%0d%0a",
              b"x" * 300, b"[", b"*", b"live", b"{}", b"%F0%9F%98%80"]  # fmt: skip
    values = [b"", b"%ff", b"%00", b"9" * 5000, b"-1", b"NaN", b"1e400", b"0001-01-01T00:00:00%2B23:59", b"9999-12-31",
              b"%5b" * 1000, b"inf", b"\xff", b"0900" + b"1" * 5000, b"true"]  # fmt: skip
    names = [b"token", b"seconds", b"duration", b"startTime", b"endTime", b"text", b"app", b"signature", b"user",
             b"voice_settings", b"watch", b"audio", b"attempt", b"language"]  # fmt: skip
    token = b"Authorization: Bearer " + mint_core_token(user_id(ANN), SECRET, 60).encode()
    await built.phone()
    fixed = [b"/api/transcripts/ann@example.com", b"/api/client/transcripts", b"/api/tts", b"/apps/%00/start"]
    with structlog.testing.capture_logs() as lines:
        for number in range(250):
            path = (
                random.choice(fixed)
                if random.random() < 0.4
                else b"/" + b"/".join(random.choices(pieces, k=random.randint(1, 5)))
            )
            query = b"&".join(random.choice(names) + b"=" + random.choice(values) for _ in range(random.randint(0, 3)))
            line = random.choice((b"GET ", b"POST ", b"DELETE ", b"PUT ")) + path + (b"?" + query if query else b"")
            status, _ = await exchange(built, line, *((token,) if random.random() < 0.7 else ()))
            assert status < 500 or status in (501, 503), (SEED, number, line, status)
    assert not defects(lines)
