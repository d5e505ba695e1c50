"""The phone's socket: who is let in, what it is told, what it may say."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import monotonic, time
from types import SimpleNamespace
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import WSServerHandshakeError

from glassbridge.cloud import connection
from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.connection import ConnectParams, PhoneConnection
from glassbridge.core.session import SessionState, SocketNumber
from glassbridge.core.values import user_id
from glassbridge.wire.audio_frames import FrameNumber, encode_numbered
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.conftest import ANN, KEYS, SECRET, Stage, cloud_config
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.scripted_bridge import ScriptedBridge

Begin = Callable[..., Awaitable[Stage]]


def token(**claims: Any) -> str:
    return jwt.encode({"sub": ANN, "exp": time() + 86_400} | claims, SECRET, algorithm="HS256")


# ---- who is let in


@pytest.mark.parametrize(
    ("bearer", "code"),
    [
        ("", "MISSING_TOKEN"),
        ("junk", "INVALID_TOKEN"),
        ("a.b.c", "INVALID_TOKEN"),
        (token(exp=time() - 60), "TOKEN_EXPIRED"),
        (token(sub=""), "INVALID_TOKEN"),
        (token(sub=7), "INVALID_TOKEN"),
        (jwt.encode({"sub": ANN}, "x" * 40, algorithm="HS256"), "INVALID_TOKEN"),
        (jwt.encode({"sub": ANN}, "", algorithm="none"), "INVALID_TOKEN"),
    ],
)
@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_bad_token_is_refused_in_json_before_the_upgrade(stage: Begin, bearer: str, code: str, by: str) -> None:
    built = await stage()
    headers = {"Authorization": f"Bearer {bearer}"} if by == "header" else {}
    params = {"token": bearer} if by == "query" else {}
    for path, expected in (("/glasses-ws", "type"), ("/api/client/livekit/token", "success")):
        async with built.http.get(f"{built.url}{path}", headers=headers, params=params) as answer:
            body = await answer.json()
            assert answer.status == 401
            assert expected in body
            assert code in (body.get("code"), body.get("error", {}).get("code"))
            assert not bearer or bearer not in json.dumps(body)
    assert built.cloud.sessions.active == 0


@pytest.mark.parametrize("path", ["/glasses-ws", "/ws/client"])
async def test_the_ack_names_the_session_and_the_room_only_when_wished(stage: Begin, path: str) -> None:
    built = await stage()
    plain = await (await built.phone("Bob@Example.com", path=path)).until("connection_ack")
    assert "livekit" not in plain
    wished = await (await built.phone(path=path, query="?livekit=true")).until("connection_ack")
    assert wished["livekit"]["roomName"] == ANN
    assert wished["livekit"]["url"] == "ws://livekit.test"
    claims = jwt.decode(wished["livekit"]["token"], KEYS.secret, algorithms=["HS256"])
    assert (claims["sub"], claims["video"]["room"]) == (ANN, ANN)
    by_header = await (await built.phone("c@example.com", headers={"livekit": "true"})).until("connection_ack")
    assert "livekit" in by_header
    assert "resumed" not in wished


async def test_the_token_call_gives_the_room_of_the_user(stage: Begin) -> None:
    built = await stage()
    core = mint_core_token(user_id("Ann@Example.com"), SECRET, 60)
    async with built.http.get(
        f"{built.url}/api/client/livekit/token", headers={"Authorization": f"Bearer {core}"}
    ) as answer:
        body = await answer.json()
    assert body["success"] is True
    assert body["data"]["room"] == body["data"]["identity"] == ANN
    assert jwt.decode(body["data"]["token"], KEYS.secret, algorithms=["HS256"])["sub"] == ANN


async def test_rest_errors_are_json(stage: Begin) -> None:
    built = await stage()
    for method, path, status in (("GET", "/nowhere", 404), ("POST", "/health", 405), ("GET", "/glasses-ws", 426)):
        headers = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), SECRET, 60)}"}
        async with built.http.request(method, f"{built.url}{path}", headers=headers) as answer:
            body = await answer.json()
            assert answer.status == status
            assert body.get("error", body)["message"]
            assert body["timestamp"]


async def test_health_says_what_is_true_and_counts_to_operators_only(stage: Begin) -> None:
    token = "an-admin-token-of-the-tests"
    built = await stage(admin_token=token)
    await built.phone()
    await eventually(lambda: built.cloud.sessions.pool.live == 1 or "no bridge is live")
    async with built.http.get(f"{built.url}/health", headers={"Authorization": f"Bearer {token}"}) as answer:
        body = await answer.json()
    assert (body["status"], body["sessions"], body["bridges"]) == ("ok", {"activeCount": 1}, {"live": 1, "total": 1})
    async with built.http.get(f"{built.url}/health") as answer:
        assert set(await answer.json()) == {"status", "timestamp"}
    await built.bridge.stop()
    await eventually(lambda: built.cloud.sessions.pool.live == 0 or "the bridge counts as live")
    for path, status in (("/health", 200), ("/livez", 200), ("/readyz", 200)):
        async with built.http.get(f"{built.url}{path}") as answer:
            assert answer.status == status


@pytest.mark.parametrize("path", ["/livez", "/health", "/nowhere", "/console", "/glasses-ws", "/api/admin/sessions"])
async def test_no_answer_tells_a_version_and_none_is_guessed_about(stage: Begin, path: str) -> None:
    built = await stage()
    async with built.http.get(f"{built.url}{path}") as answer:
        assert answer.headers["Server"] == "glassbridge"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/glasses-ws", "/ws/client"])
async def test_pages_of_other_hosts_open_no_socket(stage: Begin, path: str) -> None:
    built = await stage(allowed_origins=("https://app.example.com",))
    own = f"127.0.0.1:{built.cloud.port}"
    for origin in (f"http://{own}", f"HTTP://{own}", "https://app.example.com", "https://APP.example.com:443"):
        phone = await built.phone(path=path, headers={"Origin": origin})
        await phone.close()
    for origin in (
        "https://evil.example",
        "null",
        "",
        f"http://{own}.evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        f"http://evil@{own}",
        f"file://{own}",
        "http://127.0.0.1",
        "https://app.example.com/x",
        "http://[",
    ):
        with pytest.raises(WSServerHandshakeError) as caught:
            await built.phone(path=path, headers={"Origin": origin})
        assert caught.value.status == 403, origin


async def test_pages_of_allowed_origins_read_what_phones_ask_for(stage: Begin) -> None:
    page = "https://app.example.com"
    built = await stage(allowed_origins=(page,))
    url = f"{built.url}/api/client/livekit/token"
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with built.http.options(url, headers={"Origin": page, **asks}) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == page
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    signed_in = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), SECRET, 60)}"}
    for headers, status in ((signed_in, 200), ({}, 401)):
        async with built.http.get(url, headers={"Origin": page, **headers}) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, page)
            assert answer.headers["Vary"] == "Origin"
    for other, path in (("https://evil.example", url), (page, f"{built.url}/api/admin/sessions"), (page, built.url)):
        async with built.http.get(path, headers={"Origin": other, **signed_in}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers, (other, path)
        async with built.http.options(path, headers={"Origin": other, **asks}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers, (other, path)


async def test_a_full_cloud_refuses_new_users_and_serves_known_ones(stage: Begin) -> None:
    built = await stage(max_sessions=1)
    await built.phone()
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await built.socket("bob@example.com")
    assert (await (await built.phone()).until("connection_ack"))["resumed"] is True


# ---- what it may say


async def test_nonsense_is_answered_and_the_socket_lives(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for text in ("", "{", "[]", "7", '{"type": 7}', '{"type": "VAD"}', '{"type": "VAD", "status": 9}', "[" * 100_000):
        count = len(phone.of_type("connection_error"))
        await phone.socket.send_str(text)
        error = await phone.until("connection_error", count + 1)
        assert error["code"] == "MALFORMED_MESSAGE"
    for frame in (b"", b"x", bytes(24), bytes(70_000)):
        count = len(phone.of_type("connection_error"))
        await phone.socket.send_bytes(frame)
        await phone.until("connection_error", count + 1)
    await phone.say(type="from_the_future", deep={"a": [1]})
    await phone.say(type="connection_init", userId="mallory@example.com", coreToken="x")
    await phone.say(type="ping", timestamp=7)
    assert (await phone.until("pong"))["timestamp"] == 7
    assert built.cloud.sessions.active == 1
    assert len(phone.of_type("connection_ack")) == 1


async def test_a_megabyte_of_junk_disturbs_nobody_else(stage: Begin) -> None:
    built = await stage()
    victim = await built.phone("bob@example.com")
    for path in ("/glasses-ws", "/ws/client"):
        for junk in (b"\xff" * (1 << 20), b"{" * (1 << 20), b"\0" * (3 << 20)):
            for kind in ("send_bytes", "send_str"):
                phone = await built.phone(path=path)
                await getattr(phone.socket, kind)(junk if kind == "send_bytes" else junk.decode("latin-1"))
                await eventually(
                    lambda phone=phone: bool(phone.of_type("connection_error")) or phone.socket.closed or "no answer"  # type: ignore[misc]
                )
    await victim.say(type="ping", timestamp=1)
    await victim.until("pong")
    assert not victim.of_type("connection_error")
    assert not victim.socket.closed


async def test_raw_junk_on_the_port_disturbs_nobody(stage: Begin) -> None:
    built = await stage()
    victim = await built.phone("bob@example.com")
    for junk in (b"\0" * (1 << 20), b"GET /" + b"a" * (1 << 20), b"\x16\x03\x01" + b"x" * 1000):
        _, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port)
        writer.write(junk)
        writer.close()
    await victim.say(type="ping", timestamp=1)
    await victim.until("pong")


async def test_a_flood_of_messages_is_taken_in_turns(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    for index in range(5000):
        await phone.say(type="VAD", status=index % 2 == 0)
    await phone.say(type="ping", timestamp=1)
    await phone.until("pong")
    assert not phone.socket.closed


async def test_a_failure_of_ours_ends_one_session_and_the_phone_may_come_back(stage: Begin) -> None:
    built = await stage()
    other = await built.phone("bob@example.com")
    phone = await built.phone()
    await phone.socket.send_bytes(bytes(640))
    await eventually(lambda: bool(built.recogniser.streams) or "no stream")
    built.recogniser.streams[0].finish = None  # type: ignore[assignment, method-assign]
    await phone.say(type="VAD", status=False)
    assert await phone.closed_with() == CloseCode.INTERNAL
    again = await built.phone()
    assert "resumed" not in again.of_type("connection_ack")[0]
    await other.say(type="ping", timestamp=1)
    await other.until("pong")


# ---- one user, many sockets


async def test_the_newer_socket_takes_over_and_the_older_is_told(stage: Begin) -> None:
    built = await stage()
    older = await built.phone()
    newer = await built.phone()
    assert await older.closed_with() == CloseCode.SUPERSEDED
    first, second = older.of_type("connection_ack")[0], newer.of_type("connection_ack")[0]
    assert first["sessionId"] == second["sessionId"]
    assert second["resumed"] is True
    await newer.say(type="ping", timestamp=1)
    await newer.until("pong")


async def test_fifty_sockets_at_once_end_with_one_session_and_one_join(stage: Begin) -> None:
    built = await stage()
    phones = await asyncio.gather(*(built.socket(query="?livekit=true") for _ in range(50)))
    await eventually(lambda: sum(not phone.socket.closed for phone in phones) == 1 or "several sockets are open")
    (survivor,) = [phone for phone in phones if not phone.socket.closed]
    await survivor.until("connection_ack")
    assert built.cloud.sessions.active == 1
    assert {phone.socket.close_code for phone in phones if phone is not survivor} == {CloseCode.SUPERSEDED}
    await survivor.until_state("connecting", "awaiting_audio")
    assert (len(built.bridge.joins), built.bridge.most_concurrent, len(built.bridge.rooms)) == (1, 1, 1)


async def test_a_session_outlives_its_socket_by_its_grace(stage: Begin) -> None:
    built = await stage(grace=0.5)
    phone = await built.phone()
    await phone.vanish()
    again = await built.phone()
    assert (await again.until("connection_ack"))["resumed"] is True
    await again.vanish()
    took = await eventually(lambda: built.cloud.sessions.active == 0 or "the session lives on", 3.0)
    assert took >= 0.4
    new = await (await built.phone()).until("connection_ack")
    assert "resumed" not in new
    assert new["sessionId"] != phone.of_type("connection_ack")[0]["sessionId"]


# ---- signs of life


async def test_a_phone_of_which_nothing_is_heard_is_closed(stage: Begin) -> None:
    built = await stage(ping_every=0.1)
    phone = await built.phone(autoping=False)
    assert await phone.closed_with() == CloseCode.SILENT
    assert phone.of_type("ping")


@pytest.mark.parametrize("pings", [[{}] * 3, [{"every": 1.0}]], ids=["by what it does", "by what it promises"])
async def test_a_phone_that_pings_by_itself_is_missed_soon(stage: Begin, pings: list[dict[str, Any]]) -> None:
    """Long before a phone that only answers would be: with these settings that takes 15 s."""
    built = await stage()
    phone = await built.phone(autoping=False)
    for number, ping in enumerate(pings):
        await phone.say(type="ping", timestamp=number, **ping)
        await phone.until("pong", number + 1)
    spoke_at = monotonic()
    assert await phone.closed_with() == CloseCode.SILENT
    assert 2.5 < monotonic() - spoke_at < patient(6.0)
    session = built.cloud.sessions._by_user[user_id(ANN)]
    await eventually(lambda: session._shell.machine.state is SessionState.GRACE or "the socket counts as open", 3.0)  # type: ignore[attr-defined]


async def test_a_phone_that_is_missed_counts_again_on_its_socket_when_it_is_heard(stage: Begin) -> None:
    """Its way has become long. Nothing that it says then is passed over."""
    built = await stage()
    phone = await built.phone(query="?audio=2&phone=abc&attempt=1")
    await phone.say(type="ping", timestamp=1, every=1.0)
    await phone.until("pong", 1)
    session = built.cloud.sessions._by_user[user_id(ANN)]

    def state() -> SessionState:
        return session._shell.machine.state  # type: ignore[attr-defined, no-any-return]

    await eventually(lambda: state() is SessionState.GRACE or "it is not missed", 6.0)
    assert phone.socket.close_code is None
    await phone.socket.send_bytes(encode_numbered(FrameNumber(7, 0, 0), bytes(640)))
    await phone.until("connection_ack", 2)
    assert state() is SessionState.ACTIVE
    await eventually(lambda: session.audio.microphone.position == (7, 320) or "what it said is not heard")


async def test_a_phone_that_is_missed_for_long_is_closed(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEPT_LOOKS", 1)
    built = await stage()
    phone = await built.phone(query="?audio=2&phone=abc&attempt=1", autoping=False)
    await phone.say(type="ping", timestamp=1, every=1.0)
    await phone.until("pong", 1)
    assert await phone.closed_with() == CloseCode.SILENT


async def test_a_phone_that_pings_seldom_is_not_missed_soon(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(autoping=False)
    await phone.say(type="ping", timestamp=0, every=30.0)
    await phone.until("pong")
    await stays(lambda: not phone.socket.closed or "it was missed", 4.0)


async def test_answers_to_protocol_pings_are_signs_of_life(stage: Begin) -> None:
    built = await stage(ping_every=0.05)
    phone = await built.phone()
    await phone.until("ping", 10)
    assert not phone.socket.closed


async def test_a_phone_that_does_not_read_is_closed_and_its_queue_is_bounded(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    session = built.cloud.sessions._by_user[user_id(ANN)]
    assert session.sockets.phone is not None
    connection = session.sockets.phone
    assert phone.reader
    phone.reader.cancel()
    phone.socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
    stream = "x" * 10_000
    for _ in range(5000):
        session.audio.transcription.say(stream)
        if not connection.open:
            break
        await asyncio.sleep(0)
    assert not connection.open
    await eventually(lambda: session._shell.machine.state is SessionState.GRACE or "the socket is kept", 10.0)  # type: ignore[attr-defined]


# ---- the end of the program


async def test_draining_tells_every_phone_and_leaves_every_room(stage: Begin) -> None:
    built = await stage()
    phones = [await built.phone(f"{name}@example.com", query="?livekit=true") for name in "abc"]
    for phone in phones:
        await phone.until_state("connecting", "awaiting_audio")
    took = asyncio.get_running_loop().time()
    await built.cloud.sessions.close()
    took = asyncio.get_running_loop().time() - took
    assert [await phone.closed_with() for phone in phones] == [CloseCode.DRAINING] * 3
    assert len(built.bridge.leaves) == 3
    assert built.bridge.rooms == {}
    assert took < patient(2.0)
    async with built.http.get(f"{built.url}/readyz") as answer:
        assert answer.status == 503


async def test_an_attempt_that_the_phone_gave_up_and_that_comes_late_supersedes_nothing(stage: Begin) -> None:
    built = await stage()
    late = "?phone=abc&attempt=6"
    phone = await built.phone(query="?phone=abc&attempt=7")
    await phone.until("connection_ack")
    assert await (await built.socket(query=late)).closed_with() == CloseCode.SUPERSEDED
    assert not phone.socket.closed, "the late one has no part in the session"
    assert built.cloud.sessions.active == 1
    for newer in ("?phone=abc&attempt=8", "?phone=other&attempt=1", ""):
        following = await built.phone(query=newer)
        assert await phone.closed_with() == CloseCode.SUPERSEDED
        phone = following


@pytest.mark.unheard
async def test_a_phone_whose_writer_fails_is_cut_off_and_comes_back(
    stage: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.until("connection_ack")

    def encode(_message: object) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr("glassbridge.cloud.connection.encode", encode)
    await phone.say(type="ping")
    assert await phone.closed_with() == CloseCode.INTERNAL, "it is read for ever, and never told anything"
    monkeypatch.undo()
    await (await built.phone()).until("connection_ack")


class Gone:
    """A transport whose descriptor is closed."""

    def __init__(self) -> None:
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str) -> None:
        if self.closed:
            raise ValueError("negative file descriptor")


async def test_a_connection_that_has_just_closed_is_not_asked_how_long_its_round_trip_takes() -> None:
    """Its descriptor is gone before its reader hears of it."""
    transport: Any = Gone()
    socket: Any = SimpleNamespace(closed=False, held=False)
    config = cloud_config(ScriptedBridge())
    phone = PhoneConnection(socket, transport, user_id(ANN), SocketNumber(1), ConnectParams(phone="hers"), config)
    phone._steady = True
    transport.closed = True
    phone._look_after()
    assert phone._unanswered == 1
