"""The catalogue of rejections: each is met, here by what provokes it or in the test that is named for it, and says what
happened and what to do, in the words of the table."""

import ast
import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path
from time import time
from types import MappingProxyType
from typing import Any

import jwt
import pytest

from glassbridge.cloud import http, live, phone_rest
from glassbridge.cloud.apps import rest, settings_rest, user_apps
from glassbridge.cloud.apps.registry import RegistryError
from glassbridge.cloud.apps.streams import ID_LENGTH, MAX_STREAM, MAX_STREAMS, Streams
from glassbridge.cloud.apps.uploads import MAX_SOUND
from glassbridge.cloud.body import read_body
from glassbridge.cloud.lc3 import NoLc3
from glassbridge.core.app_session import AppState
from glassbridge.core.app_times import AppTimes
from glassbridge.core.moving import CloudStage
from glassbridge.core.values import user_id
from glassbridge.runtime.world import REAL
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, signer, sound_claim
from glassbridge.wire.rejections import Rejected, Rejection
from tests.cloud.app_stage import DEAF, KEY, PACKAGE, AppStage, app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.support.patience import soon
from tests.support.poll import eventually

ROOT = Path(__file__).parents[2]
ADMIN = "an-admin-token-of-the-tests"
R = Rejection


def says(rejection: Rejection, text: str) -> bool:
    """Whether this is its text, with whatever fills it."""
    template = f"{rejection.cause}: {rejection.remedy}".replace("{{", "{").replace("}}", "}")
    pieces = [re.escape(piece) for piece in re.split(r"\{\w+\}", template)]
    return re.fullmatch("(?s:.+)".join(pieces), text) is not None


def bearer(**claims: Any) -> dict[str, str]:
    token = jwt.encode({"sub": ANN, "email": ANN} | claims, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


def of_app(user: str = ANN, key: str = KEY, package: str = PACKAGE) -> dict[str, str]:
    token = jwt.encode({"packageName": package, "apiKey": key}, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}", "x-user-id": user, "x-session-id": f"{user}-{package}"}


def sound(data: bytes, signed_for: bytes | None = None) -> dict[str, Any]:
    digest = sha256(data if signed_for is None else signed_for).hexdigest()
    claim = sound_claim(PACKAGE, len(data), digest)
    return {"data": data, "headers": {SIGNATURE_HEADER: signer(KEY).sign(claim, int(time())), DIGEST_HEADER: digest}}


ME, OPERATOR = bearer(), {"Authorization": f"Bearer {ADMIN}"}
OWN = {"Authorization": f"Bearer {PACKAGE}:{KEY}"}
TOKEN, APPS, STORAGE = "/api/client/livekit/token", "/api/client/apps", "/api/sdk/simple-storage"
WEBSOCKET = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
Asked = tuple[Rejection, str, str, Mapping[str, Any]]


def by_http() -> tuple[Asked, ...]:
    """Made when it is asked: signatures and tokens end."""
    return (
        (R.TOKEN_MISSING, "GET", TOKEN, {}),
        (R.TOKEN_EXPIRED, "GET", TOKEN, {"headers": bearer(exp=1)}),
        (R.TOKEN_INVALID, "GET", TOKEN, {"headers": {"Authorization": "Bearer x.y.z"}}),
        (R.TOKEN_WITHOUT_USER, "GET", TOKEN, {"headers": bearer(sub="", email="")}),
        (R.TOKEN_TWICE, "GET", TOKEN, {"headers": [*ME.items(), *ME.items()]}),
        (R.EMAIL_NOT_VERIFIED, "GET", TOKEN, {"headers": bearer(email_verified=False)}),
        (R.EXCHANGE_DISABLED, "POST", "/auth/exchange-token", {"json": {"supabaseToken": "x"}}),
        (R.ORIGIN_NOT_ALLOWED, "GET", "/glasses-ws", {"headers": ME | WEBSOCKET | {"Origin": "https://evil.test"}}),
        (R.WEBSOCKET_ONLY, "GET", "/glasses-ws", {"headers": ME}),
        (R.APP_WEBSOCKET_ONLY, "GET", "/app-ws", {}),
        (R.APP_HEADERS_MISSING, "GET", "/app-ws", {"headers": WEBSOCKET | {"Authorization": "Bearer x"}}),
        (R.APP_TOKEN_INVALID, "GET", "/app-ws", {"headers": of_app() | {"Authorization": "Bearer x"}}),
        (R.APP_TOKEN_TWICE, "GET", "/app-ws", {"headers": [*of_app().items(), ("Authorization", "Bearer x")]}),
        (R.APP_UNKNOWN, "GET", "/app-ws", {"headers": of_app(package="com.example.nobody")}),
        (R.APP_KEY_WRONG, "GET", "/app-ws", {"headers": of_app(key="another")}),
        (R.APP_NOT_HERE, "GET", "/app-ws", {"headers": of_app()}),
        (R.APP_ABSENT, "POST", f"{APPS}/com.example.nobody/start", {"headers": ME}),
        (R.ADDRESS_UNKNOWN, "GET", "/nowhere", {}),
        (R.METHOD_WRONG, "DELETE", TOKEN, {"headers": ME}),
        (R.BODY_TOO_LARGE, "POST", "/api/client/device/state", {"headers": ME, "data": bytes(2 << 20)}),
        (R.BODY_WRONG, "POST", "/api/client/device/state", {"headers": ME, "data": b"["}),
        (R.QUERY_WRONG, "GET", f"/api/transcripts/{ANN}?duration=long", {"headers": ME}),
        (R.WORDS_OF_OTHERS, "GET", "/api/transcripts/bob@example.com", {"headers": ME}),
        (
            R.SESSION_NOT_FOUND,
            "GET",
            "/api/transcripts/bob@example.com",
            {"headers": bearer(sub="bob@example.com", email="bob@example.com")},
        ),
        (R.USER_WRONG, "GET", f"{STORAGE}/%00", {"headers": OWN}),
        (R.STORAGE_KEY_WRONG, "GET", f"{STORAGE}/{ANN}", {"headers": {"Authorization": f"Bearer {PACKAGE}:x"}}),
        (R.STORAGE_USER_UNKNOWN, "GET", f"{STORAGE}/bob@example.com", {"headers": OWN}),
        (R.SETTINGS_CLOSED, "GET", f"/appsettings/user/{PACKAGE}", {"headers": ME}),
        (R.SETTING_WRONG, "POST", f"/appsettings/{PACKAGE}", {"headers": ME, "json": {"key": "none", "value": 1}}),
        (R.SETTING_UNKNOWN, "GET", "/api/client/user/settings/key/none", {"headers": ME}),
        (R.SIGNATURE_WRONG, "GET", f"/api/tts?text=a&app={PACKAGE}&signature=x", {}),
        (R.VOICE_MISSING, "GET", "/api/tts?text=a", {"headers": ME}),
        (R.SOUND_EMPTY, "POST", f"/api/sounds?app={PACKAGE}", sound(b"")),
        (R.SOUND_TOO_LARGE, "POST", f"/api/sounds?app={PACKAGE}", sound(bytes(MAX_SOUND + 1))),
        (R.SOUND_DIGEST_WRONG, "POST", f"/api/sounds?app={PACKAGE}", sound(b"abc", b"xyz")),
        (R.SOUND_UNKNOWN, "GET", "/api/sounds/none", {}),
        (R.ADMIN_TOKEN_MISSING, "GET", "/api/admin/sessions", {}),
        (R.ADMIN_TOKEN_WRONG, "GET", "/api/admin/sessions", {"headers": {"Authorization": "Bearer x"}}),
        (R.SIGN_IN_UNKNOWN, "DELETE", "/api/admin/sign-ins/none", {"headers": OPERATOR}),
        (R.SESSION_UNKNOWN, "GET", "/api/admin/sessions/none/timeline", {"headers": OPERATOR}),
        (R.FILE_UNKNOWN, "GET", "/console/assets/none.js", {}),
    )


ELSEWHERE: Mapping[Rejection, str] = {
    R.TOKEN_OF_UNKNOWN_KEY: "tests/cloud/test_tokens.py::test_an_unknown_key_has_the_jwks_read_once",
    R.TOKEN_LIVES_TOO_LONG: "tests/cloud/test_tokens.py::test_a_life_can_be_capped",
    R.KEYS_UNAVAILABLE: "tests/cloud/test_tokens.py::test_before_the_keys_are_known_a_phone_is_asked_to_come_again",
    R.TOO_FAST: "tests/cloud/test_websocket.py::test_a_short_excess_is_told_and_loses_nothing",
    R.CONNECTIONS_FULL: "tests/telemetry/test_listener.py::test_a_full_server_serves_newcomers_and_says_it_once",
    R.ADDRESS_FULL: "tests/telemetry/test_listener.py::test_one_address_that_is_full_keeps_nobody_out_itself_included",
    R.DESCRIPTORS_FULL: "tests/telemetry/test_listener.py::test_a_process_without_descriptors_says_so_and_lives_on",
    R.HEADER_LATE: "tests/telemetry/test_listener.py::test_a_connection_without_a_request_is_told_and_closed",
    R.SOUNDS_TOO_MANY: "tests/cloud/test_app_uploads.py::test_half_a_sound",
    R.CLOUD_UNREACHABLE: "tests/cloud/test_app_forwarding.py::test_a_cloud_that_cannot_be_reached_is_told",
    R.VOICE_BUSY: "tests/cloud/test_limits.py::test_a_short_text_does_not_wait",
    R.APP_UNSIGNED: "tests/cloud/test_strangers.py::test_one_address_has_so_many_unsigned_app_sockets",
    R.TOO_OFTEN: "tests/cloud/test_storage.py::test_too_many_requests_are_refused",
    R.STORAGE_FULL: "tests/cloud/test_storage.py::test_more_than_the_quota_is_refused",
    R.STORE_UNAVAILABLE: "tests/cloud/test_storage.py::test_a_file_that_cannot_be_used_is_told",
    R.BODY_LATE: "tests/cloud/test_app_uploads.py::test_half_a_sound_of_an_app_ends_in_time",
    R.SPEECH_TOO_OFTEN: "tests/cloud/test_limits.py::test_texts_have_a_rate_and_a_refusal_says_when_to_come_back",
    R.SPEECH_FAILED: "tests/cloud/test_app_tts.py::test_an_app_signs_and_a_user_signs_in",
    R.APPS_TOO_OFTEN: "tests/cloud/test_limits.py::test_rest_says_when_a_start_may_be_tried_again",
    R.ADMIN_DISABLED: "tests/cloud/test_admin.py::test_without_an_admin_token_nobody_is_told_anything",
    R.ADMIN_TOO_MANY: "tests/cloud/test_admin.py::test_guesses_are_counted_by_peer",
    R.MISPLACED: "tests/cluster/test_wrong_node.py::test_clouds_say_to_each_other_why_they_refuse",
    R.NOT_LET_IN: "tests/cluster/test_wrong_node.py::test_clouds_say_to_each_other_why_they_refuse",
    R.DEVELOPMENT_SILENT: "tests/console/test_development.py::test_in_development_it_is_handed_on",
}
"""Met by a test of its own, which has the code in it."""


@pytest.fixture
async def built() -> Any:
    async with app_stages() as begin:
        yield await begin(admin_token=ADMIN)


async def answer(built: AppStage, method: str, path: str, **options: Any) -> tuple[int, str, str]:
    """Status, code and text of a rejection."""
    async with built.http.request(method, f"{built.url}{path}", **options) as found:
        body = json.loads(await found.text())
    error = body.get("error", body)
    return found.status, error["code"], error["message"]


def met(rejection: Rejection, found: tuple[int, str, str]) -> bool:
    return found[:2] == (rejection.status, rejection.code) and says(rejection, found[2])


async def test_by_http(built: AppStage) -> None:
    await built.phone()
    wrong = {
        rejection.name: found
        for rejection, method, path, options in by_http()
        if not met(rejection, found := await answer(built, method, path, **options))
    }
    assert wrong == {}


async def test_by_http_of_an_app_that_runs(built: AppStage, monkeypatch: pytest.MonkeyPatch) -> None:
    await built.phone()
    await built.running()
    assert met(R.STORAGE_KEY_UNKNOWN, await answer(built, "GET", f"{STORAGE}/{ANN}/none", headers=OWN))
    monkeypatch.setattr(settings_rest, "MAX_VALUES", 10)
    many = {"settings": {"key": "x" * 100}}
    path = "/api/client/user/settings"
    assert met(R.SETTINGS_FULL, await answer(built, "PUT", path, headers=ME, json=many))
    chunked = {"data": pieces(), "headers": {SIGNATURE_HEADER: "x"}}
    assert met(R.SOUND_LENGTH_MISSING, await answer(built, "POST", f"/api/sounds?app={PACKAGE}", **chunked))
    monkeypatch.setattr(user_apps, "MAX_APPS", 1)
    assert met(R.APPS_TOO_MANY, await answer(built, "POST", f"{APPS}/{DEAF}/start", headers=ME))
    monkeypatch.setattr(phone_rest, "Decoder", no_decoder)
    lc3 = {"format": "lc3"}
    assert met(R.LC3_MISSING, await answer(built, "POST", "/api/client/audio/configure", headers=ME, json=lc3))


async def pieces() -> AsyncIterator[bytes]:
    yield b"sound"


def no_decoder(_: int) -> Any:
    raise NoLc3


async def test_apps_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = AppTimes(grace=0.3, start=0.3, revival=6.0, connect=1.0, settled=30.0)
    async with app_stages() as begin:
        built = await begin(times=quick)
        await built.phone()
        assert met(R.APP_DID_NOT_START, await answer(built, "POST", f"{APPS}/{DEAF}/start", headers=ME))
        monkeypatch.setattr(rest, "SLACK", -0.2)
        assert met(R.APP_STARTING, await answer(built, "POST", f"{APPS}/{DEAF}/start", headers=ME))

        def away(*_: str) -> Any:
            raise RegistryError("away")

        monkeypatch.setattr(built.cloud._apps.registry, "find", away)
        assert met(R.REGISTRY_UNREADABLE, await answer(built, "GET", f"{STORAGE}/{ANN}", headers=OWN))
        headers = of_app() | WEBSOCKET
        assert met(R.APP_REGISTRY_UNREADABLE, await answer(built, "GET", "/app-ws", headers=headers))


async def test_while_it_stops(built: AppStage) -> None:
    built.cloud.sessions.stage = CloudStage.DRAINING
    try:
        for path, rejection in (
            ("/glasses-ws", R.PHONE_WHILE_STOPPING), ("/app-ws", R.APP_WHILE_STOPPING), ("/readyz", R.STOPPING),
        ):  # fmt: skip
            assert met(rejection, await answer(built, "GET", path, headers=ME | WEBSOCKET)), rejection
    finally:
        built.cloud.sessions.stage = CloudStage.SERVING


@pytest.mark.unheard
async def test_a_failure_of_ours(built: AppStage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(http, "phone_token", fail)
    assert met(R.SERVER_FAILED, await answer(built, "GET", TOKEN, headers=ME))


async def test_a_body_that_breaks_off() -> None:
    class Broken:
        content_length = None
        headers: Mapping[str, str] = MappingProxyType({})
        content = property(lambda self: self)

        def get(self, _: Any) -> None: ...

        async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
            yield b"half"
            raise ConnectionResetError

    with pytest.raises(Rejected) as refused:
        await read_body(Broken(), most=100, within=5.0)  # type: ignore[arg-type]
    assert says(R.BODY_BROKEN, str(refused.value))


async def test_what_is_no_http(built: AppStage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port)
    writer.write(b"hello\r\n\r\n")
    said = await soon(reader.read(), 5.0)
    writer.close()
    assert says(R.NO_HTTP, json.loads(said.partition(b"\r\n\r\n")[2])["error"]["message"])


async def test_streams_of_sound() -> None:
    streams = Streams(10 << 20, REAL)
    owner = object()
    name = f"{1:0{ID_LENGTH}}"
    with pytest.raises(Rejected) as wrong:
        streams.open(owner, "short")
    assert says(R.STREAM_ID_WRONG, str(wrong.value))
    for number in range(1, 1 + MAX_STREAMS):
        streams.open(owner, f"{number:0{ID_LENGTH}}")
    with pytest.raises(Rejected) as many:
        streams.open(owner, f"{99:0{ID_LENGTH}}")
    assert says(R.STREAMS_TOO_MANY, str(many.value))
    with pytest.raises(Rejected) as long:
        streams.write(owner, name.encode() + bytes(MAX_STREAM + 1))
    assert says(R.STREAM_TOO_LONG, str(long.value))


async def told(client: Any, rejection: Rejection) -> None:
    """The socket gets it."""
    kinds = ("connection_error", "tpa_connection_error")
    await eventually(
        lambda: (
            any(
                message["code"] == rejection.code and says(rejection, message["message"])
                for kind in kinds
                for message in client.of_type(kind)
            )
            or f"{rejection.name}; told {client.told}"
        )
    )


async def test_on_the_socket_of_a_phone(built: AppStage) -> None:
    phone = await built.phone(query="?audio=2")
    await phone.socket.send_str("no JSON")
    await told(phone, R.MESSAGE_MALFORMED)
    await phone.say(type="vad", status="x" * 100_000)
    await told(phone, R.MESSAGE_TOO_BIG)
    await phone.socket.send_bytes(bytes(70_000))
    await told(phone, R.FRAME_TOO_BIG)
    await phone.say(type="start_app", packageName=PACKAGE)
    await built.apps.until("session_request")


async def test_on_the_socket_of_an_app(built: AppStage) -> None:
    stranger = await built.app_socket()
    await stranger.say("subscription_update", subscriptions=[])
    await told(stranger, R.APP_INIT_FIRST)
    await built.phone()
    app = await built.running()
    await app.socket.send_bytes(bytes(100))
    await told(app, R.STREAM_NOT_BEGUN)
    known = built.cloud.sessions.apps_of(user_id(ANN))
    assert known is not None
    ended = known.find(PACKAGE)
    assert ended is not None
    ended._machine.state = AppState.STOPPED  # in the moment before it is forgotten
    await told(await built.app(), R.APP_NOT_STARTED)


async def test_a_cloud_that_is_full_or_stopping(built: AppStage) -> None:
    sessions = built.cloud.sessions
    object.__setattr__(sessions._config, "max_sessions", 0)
    for path, rejection in (("/glasses-ws", R.PHONE_WHILE_FULL), ("/readyz", R.FULL)):
        assert met(rejection, await answer(built, "GET", path, headers=ME | WEBSOCKET)), rejection


async def test_too_many_watch(built: AppStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_WATCHERS", 0)
    assert met(R.WATCHERS_TOO_MANY, await answer(built, "GET", "/api/admin/live", headers=OPERATOR))


def test_each_is_met() -> None:
    """In this file, or where it is said to be; nothing stands in the table for nothing."""
    source = Path(__file__).read_text()
    for rejection in Rejection:
        where = ELSEWHERE.get(rejection)
        if where is None:
            assert len(re.findall(rf"\bR\.{rejection.name}\b", source)) > 0, f"nothing meets {rejection.name}"
            continue
        path, _, name = where.partition("::")
        [test] = [
            ast.unparse(node)
            for node in ast.parse((ROOT / path).read_text()).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(name)
        ]
        assert rejection.code in test or rejection.remedy in test, where


def test_each_is_said_by_a_program() -> None:
    programs = "\n".join(path.read_text() for path in (ROOT / "src" / "glassbridge").rglob("*.py"))
    unused = [one.name for one in Rejection if f"Rejection.{one.name}" not in programs]
    assert set(unused) <= {R.MESSAGE_MALFORMED.name, R.MESSAGE_TOO_BIG.name}


def test_no_text_is_without_a_cause_and_a_remedy() -> None:
    for rejection in Rejection:
        assert rejection.cause, rejection.name
        assert len(rejection.remedy.split()) > 1, rejection.name
