"""Several clouds behind one address: requests of apps name their cloud, and the others pass them on."""

import base64
from collections.abc import AsyncIterator
from hashlib import sha256
from time import time

import aiohttp
import pytest

from glassbridge.cloud.apps.forwarding import address_of, name_of, without_name
from glassbridge.wire.app_keys import SIGNATURE_HEADER, signer, sound_claim, speech_claim
from tests.cloud.app_stage import KEY, PACKAGE, App, AppStage, app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.support.balancer import answer_at
from tests.support.scripted_voice import ScriptedVoice

Clouds = tuple[AppStage, AppStage]


@pytest.fixture
async def clouds() -> AsyncIterator[Clouds]:
    """Apps of both are told the address of the second one; Ann is with the first one."""
    async with app_stages() as begin:
        first, second = [await begin(voice=ScriptedVoice()) for _ in range(2)]
        for stage in (first, second):
            answer_at(stage.cloud, second.url)
        yield first, second


async def socket_by_other(clouds: Clouds) -> App:
    """The app of Ann at the first cloud, which came by the second one."""
    first, second = clouds
    await first.phone()
    await first.phones[-1].say(type="start_app", packageName=PACKAGE)
    asked = await first.apps.until("session_request")
    url = asked["mentraOSWebsocketUrl"]
    assert url.startswith(second.url.replace("http", "ws"))
    app = await second.app_socket(path=url.partition(f":{second.cloud.port}")[2])
    init = {"packageName": PACKAGE, "sessionId": asked["sessionId"], "apiKey": KEY}
    await app.socket.send_json({"type": "tpa_connection_init", **init})
    return app


async def test_a_socket_is_passed_on_to_the_cloud_that_has_the_user(clouds: Clouds) -> None:
    first, _ = clouds
    app = await socket_by_other(clouds)
    assert (await app.until("tpa_connection_ack"))["sessionId"] == f"{ANN}-{PACKAGE}"
    await app.subscribe("VAD")
    await first.phones[-1].say(type="VAD", status=True)
    assert (await app.until_heard("VAD"))["status"] is True


async def test_what_closes_it_is_told(clouds: Clouds) -> None:
    first, _ = clouds
    app = await socket_by_other(clouds)
    await app.until("tpa_connection_ack")
    await first.cloud.sessions.close()
    assert await app.closed_with() == 1008


async def test_a_socket_that_is_refused_there_is_refused_here(clouds: Clouds) -> None:
    first, second = clouds
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await second.app_socket(headers=first.jwt_headers(key="wrong"), path=f"{first.cloud._forwarding.base}/app-ws")
    assert refused.value.status == 401


async def test_a_cloud_that_dies_says_no_goodbye(clouds: Clouds) -> None:
    """The original's SDK takes a clean close for the end of the session."""
    first, _ = clouds
    app = await socket_by_other(clouds)
    await app.until("tpa_connection_ack")
    running = first.cloud.sessions.apps_of(ANN).find(PACKAGE)  # type: ignore[union-attr, arg-type]
    assert running is not None
    assert running.socket is not None
    transport = running.socket._transport
    assert transport is not None
    transport.abort()
    assert await app.closed_with() == 1006


async def test_what_an_app_asks_by_http_is_passed_on(clouds: Clouds) -> None:
    first, second = clouds
    base = second.url + first.cloud._forwarding.base
    data, at = b"RIFF" * 100, int(time())
    digest = sha256(data).hexdigest()
    signature = signer(KEY).sign(sound_claim(PACKAGE, len(data), digest), at)
    headers = {SIGNATURE_HEADER: signature, "X-Glassbridge-Content-SHA256": digest}
    async with second.http.post(f"{base}/api/sounds?app={PACKAGE}", data=data, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        path = (await answer.json())["data"]["path"]
    async with second.http.get(f"{base}{path}") as answer:
        assert (answer.status, await answer.read()) == (200, data)
    async with second.http.get(f"{second.url}{path}") as answer:
        assert answer.status == 404, "it is kept by the other one"
    said = signer(KEY).sign(speech_claim(PACKAGE, "hello", ""), at)
    async with second.http.get(
        f"{base}/api/tts", params={"text": "hello", "app": PACKAGE, "signature": said}
    ) as answer:
        assert (answer.status, await answer.read()) == (200, b"None: hello")


@pytest.mark.parametrize(
    "path", ["/metrics", "/api/admin/sessions", "/glasses-ws", "/health", "//evil.test/app-ws", ""]
)
async def test_nothing_else_is_passed_on(clouds: Clouds, path: str) -> None:
    first, second = clouds
    for stage in clouds:
        async with second.http.get(second.url + stage.cloud._forwarding.base + path) as answer:
            assert answer.status == 404
    assert not first.apps.webhooks


async def test_only_addresses_that_a_cloud_has_signed_are_connected_to(clouds: Clouds) -> None:
    _, second = clouds
    forged = name_of("127.0.0.1:22", "another secret")
    for name in (forged, "x", base64.urlsafe_b64encode(b"127.0.0.1:22").decode().rstrip("=")):
        async with second.http.get(f"{second.url}/at/{name}/app-ws") as answer:
            assert answer.status == 404


async def test_a_cloud_that_cannot_be_reached_is_told(clouds: Clouds) -> None:
    _, second = clouds
    name = name_of("127.0.0.1:1", SECRET)
    async with second.http.get(f"{second.url}/at/{name}/api/tts") as answer:
        assert answer.status == 502
        assert (await answer.json())["error"]["code"] == "CLOUD_UNREACHABLE"


async def test_a_request_is_passed_on_once(clouds: Clouds) -> None:
    """Two clouds that take each other for a third one do not send it round."""
    first, second = clouds
    second.cloud._forwarding.address = "127.0.0.1:1"
    name = name_of(f"127.0.0.1:{second.cloud.port}", SECRET)
    async with first.http.get(f"{first.url}/at/{name}/api/tts") as answer:
        assert answer.status == 401


def test_names_are_of_those_who_know_the_secret() -> None:
    name = name_of("10.0.0.1:8002", "new")
    assert address_of(name, ("newer", "new")) == "10.0.0.1:8002"
    assert address_of(name, ("newer",)) is None
    assert address_of(name[:-2], ("new",)) is None
    assert without_name(f"/base/at/{name}/api/tts") == "/base/api/tts"
