"""Sounds that apps bring: who may, how much, how long."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from time import monotonic, time

import pytest

from glassbridge.cloud.apps import uploads
from glassbridge.telemetry.metrics import resident_bytes
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, signer, sound_claim
from tests.cloud.app_stage import DEAF, KEY, PACKAGE, AppStage, Begin, app_stages
from tests.support.patience import patient, soon
from tests.support.poll import eventually


@pytest.fixture
async def built() -> AsyncIterator[AppStage]:
    async with app_stages() as begin:
        begun: Begin = begin
        yield await begun()


async def bring(
    built: AppStage, data: bytes, package: str = PACKAGE, key: str = KEY, **changes: str
) -> tuple[int, str]:
    """Status, and the path of the sound or the code of the error."""
    digest = sha256(data).hexdigest()
    headers = {SIGNATURE_HEADER: signer(key).sign(sound_claim(package, len(data), digest), int(time()))}
    headers |= {DIGEST_HEADER: digest} | {name.replace("_", "-"): value for name, value in changes.items()}
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


async def test_the_oldest_of_an_app_go_when_it_has_too_many_and_those_of_others_stay() -> None:
    async with app_stages() as begin:
        built: AppStage = await begin(sounds_of_app=1000)
        _, other = await bring(built, b"x" * 400, DEAF)
        await check_oldest(built)
        assert await fetched(built, other) is not None


async def test_the_app_that_has_most_loses_its_oldest_when_all_have_too_many() -> None:
    async with app_stages() as begin:
        built: AppStage = await begin(sounds_of_all=1400)
        _, other = await bring(built, b"x" * 400, DEAF)
        await check_oldest(built)
        assert await fetched(built, other) is not None


async def check_oldest(built: AppStage) -> None:
    paths = [(await bring(built, bytes([number]) * 400))[1] for number in range(3)]
    assert [await fetched(built, path) is not None for path in paths] == [False, True, True]


async def test_what_was_not_signed_for_is_not_kept(built: AppStage) -> None:
    wrong = {DIGEST_HEADER.replace("-", "_"): "0" * 64}
    assert await bring(built, b"sound", **wrong) == (401, "INVALID_SIGNATURE")
    head = f"POST /api/sounds?app={PACKAGE} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    digest = sha256(b"sound").hexdigest()
    signature = signer(KEY).sign(sound_claim(PACKAGE, 5, digest), int(time()))
    head += f"{DIGEST_HEADER}: {digest}\r\n{SIGNATURE_HEADER}: {signature}\r\nConnection: close\r\n\r\n"
    _, told = await raw(built, head.encode() + b"SOUND")
    assert b"WRONG_DIGEST" in told


async def raw(built: AppStage, sent: bytes) -> tuple[float, bytes]:
    """Seconds until the server had answered and closed, and what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port)
    begun = monotonic()
    writer.write(sent)
    told = await soon(reader.read(), 10)
    writer.close()
    return monotonic() - begun, told


@pytest.mark.parametrize("more", ["Expect: 100-continue\r\n", ""])
async def test_a_stranger_is_refused_before_a_byte_of_its_sound_is_read(built: AppStage, more: str) -> None:
    head = f"POST /api/sounds?app={PACKAGE} HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n{more}\r\n".encode()
    before = resident_bytes()
    answers = await asyncio.gather(*(raw(built, head + b"x" * 300_000) for _ in range(20)))
    assert all(told.startswith(b"HTTP/1.1 401") and b"INVALID_SIGNATURE" in told for _, told in answers)
    assert max(took for took, _ in answers) < patient(5.0)
    assert resident_bytes() - before < 50 << 20
    if more:
        assert not any(b"100 Continue" in told for _, told in answers)


async def test_an_app_that_asks_first_may_send(built: AppStage) -> None:
    assert (await bring(built, b"sound", Expect="100-continue"))[0] == 200


async def test_half_a_sound_of_an_app_ends_in_time_and_keeps_nobody_else_out() -> None:
    async with app_stages() as begin:
        built: AppStage = await begin(sounds_of_app=1000, body_time=0.5)
        digest = "0" * 64
        head = f"POST /api/sounds?app={PACKAGE} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n"
        signature = signer(KEY).sign(sound_claim(PACKAGE, 900, digest), int(time()))
        head += f"{DIGEST_HEADER}: {digest}\r\n{SIGNATURE_HEADER}: {signature}\r\n\r\n"
        half = asyncio.ensure_future(raw(built, head.encode() + b"x"))
        await eventually(lambda: built.cloud.api.uploads.coming == 900 or "not begun")
        assert await bring(built, b"x" * 400) == (429, "TOO_MANY_UPLOADS")
        assert (await bring(built, b"x" * 400, DEAF))[0] == 200
        _, told = await half
        assert told.startswith(b"HTTP/1.1 408")
        assert b"REQUEST_TIMEOUT" in told
        assert (await bring(built, b"x" * 400))[0] == 200


async def test_what_was_kept_long_enough_is_gone(built: AppStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "KEPT", 0.0)
    status, path = await bring(built, b"sound")
    assert status == 200
    assert await fetched(built, path) is None
