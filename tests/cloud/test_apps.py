"""Apps on real sockets: who is let in, what they hear, what survives."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from glassbridge.cloud.apps import connection
from glassbridge.cloud.apps.registry import RegistryError, StaticRegistry
from glassbridge.cloud.apps.running import RunningApp
from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.websocket import WebSocket
from glassbridge.core.app_session import StopReason
from glassbridge.core.app_times import AppTimes
from glassbridge.core.moving import CloudStage
from glassbridge.core.values import user_id
from tests.cloud.app_stage import DEAF, KEY, PACKAGE, QUICK, AppStage, Begin, app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.support.patience import patient
from tests.support.poll import eventually, stays

TONE = bytes(range(256)) * 25  # 200 ms


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


def core_headers(user: str = ANN) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_core_token(user_id(user), SECRET, 60)}"}


async def rest(built: AppStage, method: str, path: str) -> tuple[int, Any]:
    return await rest_with(built, method, path)


async def rest_with(built: AppStage, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with built.http.request(method, f"{built.url}{path}", headers=core_headers(), json=body) as answer:
        return answer.status, await answer.json()


# ---- started and stopped


async def test_an_app_is_asked_by_webhook_and_runs_when_its_socket_is_here(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.say(type="start_app", packageName=PACKAGE)
    asked = await built.apps.until("session_request")
    assert asked["userId"] == ANN
    assert asked["sessionId"] == f"{ANN}-{PACKAGE}"
    assert (
        asked["mentraOSWebsocketUrl"] == asked["augmentOSWebsocketUrl"] == f"{built.url}/app-ws".replace("http", "ws")
    )
    assert isinstance(asked["timestamp"], int)
    assert built.apps.signed == [True]
    assert not phone.of_type("app_started")

    app = await built.app()
    ack = await app.until("tpa_connection_ack")
    assert (ack["sessionId"], ack["subscriptions"], ack["resumed"]) == (f"{ANN}-{PACKAGE}", [], False)
    assert (await phone.until("app_started"))["packageName"] == PACKAGE
    assert [m["state"] for m in phone.of_type("app_state_change")] == ["starting", "running"]

    await phone.say(type="stop_app", packageName=PACKAGE)
    assert (await app.until("app_stopped"))["reason"] == "user_disabled"
    assert await app.closed_with() == 1000
    stopped = await phone.until("app_stopped")
    assert (stopped["reason"], "error" in stopped) == ("user_disabled", False)
    assert (await built.apps.until("stop_request"))["reason"] == "user_disabled"


@pytest.mark.parametrize("base", ["/apps", "/api/client/apps"])
async def test_an_app_is_started_and_stopped_by_rest(stage: Begin, base: str) -> None:
    built = await stage()
    assert (await rest(built, "POST", f"{base}/{PACKAGE}/start"))[0] == 503
    await built.phone()
    starting = asyncio.get_running_loop().create_task(rest(built, "POST", f"{base}/{PACKAGE}/start"))
    await built.apps.until("session_request")
    app = await built.app()
    status, body = await starting
    assert (status, body["data"]) == (200, {"packageName": PACKAGE, "state": "running"})
    _, listed = await rest(built, "GET", "/api/client/apps")
    assert [(entry["packageName"], entry["running"], entry["name"]) for entry in listed["data"]] == [
        (DEAF, False, DEAF),
        (PACKAGE, True, "Test"),
    ]
    assert (await rest(built, "POST", f"{base}/{PACKAGE}/stop"))[0] == 200
    await app.until("app_stopped")
    assert (await rest(built, "POST", f"{base}/{PACKAGE}/stop"))[0] == 200
    status, body = await rest(built, "POST", f"{base}/nobody/start")
    assert (status, body["error"]["code"]) == (404, "PACKAGE_NOT_FOUND")
    async with built.http.post(f"{built.url}{base}/{PACKAGE}/start") as answer:
        assert answer.status == 401


async def test_an_app_that_does_not_come_is_told_to_the_user(stage: Begin) -> None:
    built = await stage(AppTimes(grace=0.1, start=0.5, revival=1.0, connect=0.1))
    built.apps.status = 500
    phone = await built.phone()
    status, body = await rest(built, "POST", f"/apps/{PACKAGE}/start")
    assert (status, body["error"]["code"]) == (502, "APP_NOT_STARTED")
    stopped = await phone.until("app_stopped")
    assert (stopped["reason"], bool(stopped["error"])) == ("error", True)
    await phone.say(type="start_app", packageName="com.example.unknown")
    unknown = await phone.until("app_stopped", 2)
    assert (unknown["packageName"], bool(unknown["error"])) == ("com.example.unknown", True)


async def test_asked_for_many_times_it_is_started_once(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    for _ in range(5):
        await phone.say(type="start_app", packageName=PACKAGE)
    apps = built.cloud.sessions.apps_of(user_id(ANN))
    for _ in range(5):
        apps.start(PACKAGE)
    await built.apps.until("session_request")
    app = await built.app()
    await app.until("tpa_connection_ack")
    await stays(lambda: len(built.apps.webhooks) == 1 or str(built.apps.webhooks), 0.3)
    assert len(phone.of_type("app_started")) == 1


async def test_what_nobody_expected_ends_one_app(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor boundary: the user and the other apps go on."""
    built = await stage()
    phone = await built.phone()
    await built.running()

    def fails(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(RunningApp, "_adopt", fails)
    app = await built.app()
    assert (await app.until("app_stopped"))["reason"] == "error"
    assert (await phone.until("app_stopped"))["error"]
    monkeypatch.undo()
    await built.running("VAD")
    assert len(phone.of_type("app_stopped")) == 1


async def test_stopped_and_started_at_once_it_runs(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    former = await built.running("VAD")
    await phone.say(type="stop_app", packageName=PACKAGE)
    await phone.say(type="start_app", packageName=PACKAGE)
    assert await former.closed_with() == 1000
    await built.apps.until("session_request", 2)
    ack = await (await built.app()).until("tpa_connection_ack")
    assert (ack["resumed"], ack["subscriptions"]) == (False, [])


# ---- who is let in


@pytest.mark.parametrize("path", ["/app-ws", "/ws/miniapp"])
async def test_an_app_signs_in_by_headers(stage: Begin, path: str) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.say(type="start_app", packageName=PACKAGE)
    await built.apps.until("session_request")
    app = await built.app_socket(built.jwt_headers(user="Ann@Example.com"), path)
    await app.until("tpa_connection_ack")
    await app.say("tpa_connection_init", sessionId="x", apiKey="whatever")  # as the original's newer SDK does
    await app.subscribe("VAD")
    assert not app.of_type("tpa_connection_error")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Authorization": "Bearer junk"}, "JWT_INVALID"),
        ({"x-user-id": ""}, "MISSING_HEADERS"),
        ({"x-session-id": ""}, "MISSING_HEADERS"),
        ({"Authorization": "Basic x"}, "MISSING_HEADERS"),
    ],
)
async def test_bad_headers_are_refused_before_the_upgrade(stage: Begin, change: dict[str, str], code: str) -> None:
    built = await stage()
    await built.phone()
    async with built.http.get(f"{built.url}/app-ws", headers=built.jwt_headers() | change) as answer:
        body = await answer.json()
    assert (answer.status, body["type"], body["code"]) == (401, "tpa_connection_error", code)


async def test_a_token_of_another_secret_or_with_another_key_is_refused(stage: Begin) -> None:
    built = await stage()
    await built.phone()
    for headers, code in (
        (built.jwt_headers(secret="x" * 40), "JWT_INVALID"),
        (built.jwt_headers(key="wrong"), "INVALID_API_KEY"),
        (built.jwt_headers(package="nobody"), "PACKAGE_NOT_FOUND"),
        (built.jwt_headers(user="bob@example.com"), "SESSION_NOT_FOUND"),
        (built.jwt_headers(), "SESSION_NOT_FOUND"),
    ):
        async with built.http.get(f"{built.url}/app-ws", headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, code)


@pytest.mark.parametrize(
    ("user", "package", "key", "code"),
    [
        (ANN, PACKAGE, "wrong", "INVALID_API_KEY"),
        (ANN, "com.example.unknown", KEY, "PACKAGE_NOT_FOUND"),
        ("bob@example.com", PACKAGE, KEY, "SESSION_NOT_FOUND"),
        (ANN, PACKAGE, KEY, "SESSION_NOT_FOUND"),
    ],
)
async def test_a_first_message_that_may_not_is_told_why_and_closed(
    stage: Begin, user: str, package: str, key: str, code: str
) -> None:
    built = await stage()
    await built.phone()
    app = await built.app(user, package, key)
    error = await app.until("tpa_connection_error")
    assert (error["code"], key in json.dumps(error)) == (code, False)
    assert await app.closed_with() == 1008


async def test_a_malformed_first_message_may_be_said_again(stage: Begin) -> None:
    """Hazard L-9."""
    built = await stage()
    phone = await built.phone()
    await phone.say(type="start_app", packageName=PACKAGE)
    await built.apps.until("session_request")
    app = await built.app_socket()
    await app.socket.send_str("{")
    await app.say("subscription_update", subscriptions=[])
    assert [(await app.until("tpa_connection_error", n))["code"] for n in (1, 2)] == ["MALFORMED_MESSAGE"] * 2
    await app.say("tpa_connection_init", sessionId=f"{ANN}-{PACKAGE}", apiKey=KEY)
    await app.until("tpa_connection_ack")


async def test_an_app_that_another_cloud_has_asked_for_replaces_no_socket(stage: Begin) -> None:
    """Two servers of one app behind one address: each was asked by another cloud, and one of these has the user now."""
    built = await stage()
    await built.phone()
    first = await built.running()
    said = {"packageName": PACKAGE, "sessionId": f"{ANN}-{PACKAGE}", "apiKey": KEY}
    other = await built.app_socket()
    await other.say("tpa_connection_init", cloud="another", **said)
    assert (await other.until("tpa_connection_error"))["code"] == "SESSION_NOT_FOUND"
    assert await other.closed_with() == 1008
    await first.say("ping")
    await first.until("pong")
    asked = built.apps.of_type("session_request")[-1]["cloud"]
    newer = await built.app_socket()
    await newer.say("tpa_connection_init", cloud=asked, **said)
    await newer.until("tpa_connection_ack")
    assert await first.closed_with() == 1000


async def test_recoverable_errors_never_close_the_socket(stage: Begin) -> None:
    built = await stage()
    await built.phone()
    app = await built.running()
    broken: list[Any] = ["", "[]", '{"type":7}', '{"type":"display_event"}', '{"type":"new_thing"}', b"\0\0"]
    for said in broken:
        await (app.socket.send_str(said) if isinstance(said, str) else app.socket.send_bytes(said))
    await app.until("tpa_connection_error", 5)
    assert {error["code"] for error in app.of_type("tpa_connection_error")} == {"MALFORMED_MESSAGE"}
    await app.say("ping", timestamp=7)
    assert (await app.until("pong"))["timestamp"] == 7


# ---- what they hear


async def test_subscriptions_are_acknowledged_with_what_is_in_force(stage: Begin) -> None:
    built = await stage()
    await built.phone()
    app = await built.running()
    ack = await app.subscribe("transcription", "transcription:fr-FR", "translation:es-ES-to-en-US", "nonsense", "VAD")
    assert ack["subscriptions"] == ["VAD", "transcription:en-US"]
    assert {refused["stream"] for refused in ack["refused"]} == {
        "transcription:fr-FR",
        "translation:es-ES-to-en-US",
        "nonsense",
    }
    assert all(refused["message"] for refused in ack["refused"])
    assert (await app.subscribe())["subscriptions"] == []
    # the original's SDK asks for no acknowledgement and gets none; what is refused it hears in its own words
    await app.say("subscription_update", subscriptions=["nonsense"])
    assert (await app.until("permission_error"))["details"][0]["stream"] == "nonsense"
    assert len(app.of_type("subscription_ack")) == 2


async def test_permissions_gate_what_an_app_hears(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.say(type="start_app", packageName=DEAF)
    await built.apps.until("session_request")
    deaf = await built.app(package=DEAF)
    await deaf.until("tpa_connection_ack")
    ack = await deaf.subscribe("audio_chunk", "*")
    assert ack["subscriptions"] == ["*"]
    assert ack["refused"][0]["requiredPermission"] == "MICROPHONE"
    await phone.socket.send_bytes(TONE)
    await phone.say(type="VAD", status=True)
    await deaf.until_heard("audio_state", 2)
    assert not deaf.pcm
    assert not deaf.heard("VAD")


async def test_an_app_hears_what_was_said_bit_for_bit(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    app = await built.running("transcription:en-US", "audio_chunk", "VAD", "audio_state")
    newer = await built.app()
    assert await app.closed_with() == 1000
    app = newer
    assert (await app.until("tpa_connection_ack"))["subscriptions"] == [
        "VAD", "audio_chunk", "audio_state", "transcription:en-US",
    ]  # fmt: skip
    await phone.say(type="VAD", status="true")
    assert (await app.until_heard("VAD"))["status"] is True
    for at in range(0, len(TONE), 320):
        await phone.socket.send_bytes(TONE[at : at + 320])
    await eventually(lambda: bytes(app.pcm) == TONE or f"{len(app.pcm)} of {len(TONE)} bytes")
    await eventually(lambda: len(built.recogniser.streams) == 1 or "no stream")
    built.recogniser.streams[0].say("hello wor", final=False)
    built.recogniser.streams[0].say("hello world", final=True)
    said = await app.until_heard("transcription", 2)
    assert said == {
        "type": "transcription", "id": "u1", "text": "hello world", "isFinal": True, "startTime": 0, "endTime": 200,
        "transcribeLanguage": "en-US",
        "provider": "scripted",
    }  # fmt: skip
    assert app.heard("audio_state")[-1]["state"] == "live"
    stream = app.of_type("data_stream")[0]
    assert (stream["sessionId"], bool(stream["timestamp"])) == (f"{ANN}-{PACKAGE}", True)


async def test_who_asks_for_the_state_of_audio_is_told_at_once_and_when_the_phone_goes(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.socket.send_bytes(TONE)
    await phone.until_state("live")
    app = await built.running()
    await app.subscribe("audio_state")
    assert (await app.until_heard("audio_state"))["state"] == "live"
    await phone.vanish()
    await eventually(lambda: app.heard("audio_state")[-1].get("code") == "phone_away" or str(app.heard("audio_state")))


async def test_raw_audio_is_not_for_a_voice_detector_to_judge(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()

    def asked() -> list[tuple[bool, bool]]:
        return [(m["isMicrophoneEnabled"], m["bypassVad"]) for m in phone.of_type("microphone_state_change")]

    app = await built.running("VAD")
    await app.subscribe("audio_chunk")
    await app.subscribe("audio_chunk", "VAD")
    await eventually(lambda: asked() == [(True, False), (True, True)] or str(asked()))
    again = await built.phone()
    assert (await again.until("microphone_state_change"))["bypassVad"] is True
    await again.say(type="stop_app", packageName=PACKAGE)
    assert (await again.until("microphone_state_change", 2))["bypassVad"] is False


async def test_what_an_app_shows_reaches_the_phone_under_its_own_name(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    app = await built.running()
    layout = {"layoutType": "reference_card", "title": "a", "text": "b"}
    await app.socket.send_json(
        {"type": "display_event", "packageName": "com.example.other", "view": "main", "layout": layout, "durationMs": 9}
    )
    shown = await phone.until("display_event")
    assert (shown["packageName"], shown["layout"], shown["durationMs"]) == (PACKAGE, layout, 9)


# ---- what survives


async def test_an_app_that_comes_back_finds_its_subscriptions(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    app = await built.running("VAD", "transcription")
    await app.vanish()
    await eventually(lambda: phone.of_type("app_state_change")[-1]["state"] == "reconnecting" or str(phone.told))
    back = await built.app()
    ack = await back.until("tpa_connection_ack")
    assert (ack["subscriptions"], ack["resumed"]) == (["VAD", "transcription:en-US"], True)
    await phone.say(type="VAD", status=False)
    assert (await back.until_heard("VAD"))["status"] is False
    assert len(built.apps.of_type("session_request")) == 1
    assert len(phone.of_type("app_started")) == 1


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_a_lost_app_is_asked_again_until_its_server_is_back(stage: Begin, code: int) -> None:
    """Hazard L-11: whatever code it closed with, the user did not stop it."""
    built = await stage()
    phone = await built.phone()
    app = await built.running("VAD")
    await built.apps.stop()
    await app.socket.close(code=code)
    await eventually(lambda: phone.of_type("app_state_change")[-1]["state"] == "reconnecting" or str(phone.told))
    await stays(lambda: not phone.of_type("app_stopped") or "given up", 2 * QUICK.grace)
    await built.apps.start()
    await built.apps.until("session_request", 2)
    assert (await (await built.app()).until("tpa_connection_ack"))["subscriptions"] == ["VAD"]
    await eventually(lambda: phone.of_type("app_state_change")[-1]["state"] == "running" or str(phone.told))


async def test_an_app_stays_while_the_phone_comes_back(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    app = await built.running("VAD")
    await phone.vanish()
    again = await built.phone()
    await again.say(type="VAD", status=True)
    assert (await app.until_heard("VAD"))["status"] is True
    assert len(built.apps.webhooks) == 1


async def test_the_end_of_the_session_ends_its_apps(stage: Begin) -> None:
    built = await stage()
    await built.phone()
    app = await built.running()
    await built.cloud.sessions.apps_of(user_id(ANN)).close(StopReason.SYSTEM)
    assert (await app.until("app_stopped"))["message"] == "User session ended"
    assert await app.closed_with() == 1000


async def test_a_slow_app_costs_only_itself_and_is_told(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.say(type="start_app", packageName=PACKAGE)
    await built.apps.until("session_request")
    slow = await built.app(read=False)
    await slow.socket.receive()  # the ack
    await slow.say("subscription_update", subscriptions=["audio_chunk"])
    await phone.say(type="start_app", packageName=DEAF)
    await built.apps.until("session_request", 2)
    quick = await built.app(package=DEAF)
    await quick.until("tpa_connection_ack")
    await quick.subscribe("audio_state")
    before = asyncio.get_running_loop().time()
    sent = 0
    while sent < 12 << 20:  # more than any buffer on the way takes
        await phone.socket.send_bytes(TONE * 8)
        sent += len(TONE * 8)
    await phone.socket.send_bytes(TONE)
    await eventually(lambda: len(built.recogniser.fed) == sent + len(TONE) or "not all was heard", 20.0)
    assert quick.heard("audio_state")
    assert asyncio.get_running_loop().time() - before < patient(20)
    slow.read()
    gap = await slow.until_heard("delivery_gap", within=10.0)
    assert gap["audioChunks"] > 0
    assert len(slow.pcm) < sent
    assert not slow.socket.closed


async def test_a_draining_cloud_takes_no_apps(stage: Begin) -> None:
    built = await stage()
    built.cloud.sessions.stage = CloudStage.DRAINING
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await built.app_socket()


async def test_an_app_that_falls_silent_is_missed(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that has answered before: what swallows pongs on the way must not cost a healthy socket (L-7)."""
    monkeypatch.setattr(connection, "PING_AGAIN", 0.1)
    monkeypatch.setattr(connection, "PING_EVERY", 0.1)
    built = await stage()
    phone = await built.phone()
    app = await built.running()
    await stays(lambda: not app.socket.closed or "closed although it answers", 0.6)
    assert app.reader is not None
    app.reader.cancel()  # from now on it reads nothing, so it answers nothing
    await eventually(lambda: phone.of_type("app_state_change")[-1]["state"] == "reconnecting" or "not missed")


async def test_a_new_socket_is_pinged_twice_soon(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that dies while it takes its socket has subscribed to nothing: nothing else would be sent to it for 10 s,
    and what is sent to nobody fails nowhere."""
    pinged: list[WebSocket] = []
    ping = WebSocket.ping

    async def note(socket: WebSocket, *data: bytes) -> None:
        pinged.append(socket)
        await ping(socket, *data)

    monkeypatch.setattr(WebSocket, "ping", note)
    monkeypatch.setattr(connection, "PING_AGAIN", 0.1)
    monkeypatch.setattr(connection, "PING_EVERY", 60.0)
    built = await stage()
    await built.phone()
    await built.running()
    await eventually(lambda: max(map(pinged.count, pinged), default=0) == 2 or "pinged once")


async def test_a_socket_that_died_unseen_is_found_when_the_phone_is_back(
    stage: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the third ping, half a minute later: the app may be with the cloud that the phone comes from."""
    monkeypatch.setattr(connection, "PROOF", 0.4)
    built = await stage()
    phone = await built.phone()
    app = await built.running()
    await app.socket.ping()  # from now on its silence means something
    await phone.socket.close()
    phone = await built.phone()
    await stays(lambda: not app.socket.closed or "closed although it answers", 0.6)
    assert app.reader is not None
    app.reader.cancel()  # from now on it reads nothing, so it answers nothing
    await phone.socket.close()
    phone = await built.phone()
    await eventually(
        lambda: any(told["state"] == "reconnecting" for told in phone.of_type("app_state_change")) or "not missed"
    )


async def test_a_registry_that_breaks_while_the_cloud_runs_is_told(
    stage: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = await stage()
    phone = await built.phone()

    def broken(*_: object) -> None:
        raise RegistryError("cannot read /secret/path")

    for name in ("find", "all"):
        monkeypatch.setattr(StaticRegistry, name, broken)
    for method, path in (("POST", f"/apps/{PACKAGE}/start"), ("GET", "/api/client/apps")):
        status, body = await rest(built, method, path)
        assert (status, body["error"]["code"]) == (500, "INTERNAL_ERROR")
        assert "secret" not in json.dumps(body)
    await phone.say(type="start_app", packageName=PACKAGE)
    assert "registry" in (await phone.until("app_stopped"))["error"]
    app = await built.app()
    assert (await app.until("tpa_connection_error"))["code"] == "INTERNAL_ERROR"
