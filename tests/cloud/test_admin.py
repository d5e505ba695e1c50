"""`/api/admin` over real sockets: who may ask, what a session's recorder says, what is pushed."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import structlog

from glassbridge.cloud import live
from glassbridge.core.connections import ConnectionLimits
from glassbridge.telemetry.line_limit import LineLimit
from glassbridge.wire.audio_frames import FrameNumber, encode_numbered
from tests.cloud.app_stage import PACKAGE, app_stages
from tests.cloud.conftest import ANN, KEYS, SECRET, Stage
from tests.support.patience import deadline, soon
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
        self.overview: Any = None

    async def next(self) -> Any:
        async with deadline(5):
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
                    self.overview = message["overview"] or self.overview
                    return message

    async def until(self, holds: Callable[[Any], bool]) -> Any:
        """The overview, once this is true of it."""
        while self.overview is None or not holds(self.overview):
            await self.next()
        return self.overview

    async def until_quiet(self, seconds: float) -> AsyncIterator[Any]:
        """What comes before a pause of so many seconds; of an endless stream the first 20."""
        with suppress(TimeoutError):
            for _ in range(20):
                async with asyncio.timeout(seconds):
                    message = await self.next()
                yield message


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


@asynccontextmanager
async def caller(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        yield http


async def test_guesses_are_counted_by_peer_and_one_rule_holds_for_header_and_form(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    sessions, login = f"{built.url}/api/admin/sessions", f"{built.url}/api/admin/login"
    async with caller("127.0.0.9") as guesser:
        for number in range(5):
            async with guesser.get(sessions, headers={"Authorization": f"Bearer wrong-{number}"}) as answer:
                assert answer.status == 401
            async with guesser.post(login, json={"token": f"wrong-{number}"}) as answer:
                assert answer.status == 401
        for headers in ({"Authorization": "Bearer wrong"}, BEARER):  # the right one is not looked at, too
            async with guesser.get(sessions, headers=headers) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (429, "TOO_MANY_ATTEMPTS")
                assert 1 <= int(answer.headers["Retry-After"]) <= 35
        async with guesser.post(login, json={"token": TOKEN}) as answer:
            assert answer.status == 429
        async with guesser.get(f"{built.url}/metrics", headers=BEARER) as answer:
            assert answer.status == 429
    assert await ask(built, "sessions") is not None  # an operator elsewhere notices nothing
    async with built.http.post(login, json={"token": TOKEN}) as answer:
        assert answer.status == 200


async def test_a_flood_of_guesses_is_a_few_log_lines(stage: Callable[..., Any]) -> None:
    """Each line names its peer, so the limit of log lines, which stands behind what a test captures, applies to it."""
    built: Stage = await stage(admin_token=TOKEN)
    with structlog.testing.capture_logs() as lines:
        async with caller("127.0.0.8") as guesser:
            for number in range(200):
                headers = {"Authorization": f"Bearer wrong-{number}"}
                async with guesser.get(f"{built.url}/api/admin/sessions", headers=headers) as answer:
                    assert answer.status in (401, 429)
    limit = LineLimit()
    caused = [
        line for line in lines if line["event"] in ("admin refused", "HTTP request") and line["log_level"] != "debug"
    ]
    written = [line for line in caused if limit.admits(logging.LogRecord("", logging.WARNING, "", 0, line, None, None))]
    assert len(caused) >= 10
    assert 0 < len(written) <= 60


async def test_a_sign_in_is_listed_and_ended_and_what_operators_do_is_told(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    await built.phone()
    login = f"{built.url}/api/admin/login"
    cookies = []
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            async with built.http.post(login, json={"token": TOKEN}) as answer:
                cookies.append({"Cookie": f"glassbridge_admin={answer.cookies['glassbridge_admin'].value}"})
            built.http.cookie_jar.clear()
        rows = (await ask(built, "sign-ins", headers=cookies[0]))["signIns"]
        assert [row["own"] for row in rows] == [True, False]
        assert rows[0]["peer"] == "127.0.0.1"
        async with built.http.delete(f"{built.url}/api/admin/sign-ins/{rows[1]['id']}", headers=cookies[0]) as answer:
            assert answer.status == 200
        async with built.http.delete(f"{built.url}/api/admin/sign-ins/{rows[1]['id']}", headers=cookies[0]) as answer:
            assert answer.status == 404
        assert await ask(built, "sessions", 401, cookies[1]) == "UNAUTHORIZED"
        found = (await ask(built, "sessions", headers=cookies[0]))["sessions"]
        await ask(built, f"sessions/{found[0]['id']}/timeline?captions=true", headers=cookies[0])
        async with built.http.post(f"{built.url}/api/admin/logout", headers=cookies[0]) as answer:
            assert answer.status == 200
        assert await ask(built, "sessions", 401, cookies[0]) == "UNAUTHORIZED"
        assert await ask(built, "sessions", 401, {"Authorization": "Bearer wrong"}) == "UNAUTHORIZED"
    told = [(line["event"], line.get("by") or line.get("sign_in")) for line in lines if line.get("audit")]
    own, other = rows[0]["id"], rows[1]["id"]
    assert told == [
        ("admin signed in", own),
        ("admin signed in", other),
        ("admin sign-in ended", own),
        ("captions viewed", own),
        ("admin signed out", own),
        ("admin refused", None),
    ]
    assert not [line for line in lines if TOKEN in str(line)]


async def test_a_form_that_is_half_sent_or_too_large_is_refused(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN, connections=ConnectionLimits(sign_in_time=0.3))
    login = f"{built.url}/api/admin/login"
    async with built.http.post(login, data=b"[" * 3000) as answer:
        assert answer.status == 400
    async with built.http.post(login, data=b"x" * 5000) as answer:
        assert answer.status == 413
    reader, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port)
    writer.write(b"POST /api/admin/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    assert b"408" in await soon(reader.readline(), 5)
    writer.close()


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


async def test_a_timeline_counts_what_passed_each_hop(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    phone = await built.phone(query="?livekit=true&audio=2")
    await eventually(lambda: ANN in built.bridge.rooms or "no join", 5.0)
    await phone.say(type="ping", timestamp=1, sent=[0, 0])
    for number in range(5):
        built.bridge.send(ANN, b"\x00\x10" * 1600, number={"epoch": 1, "position": 1600 * number})
    built.bridge.send(ANN, b"", heartbeat=True, hops={"livekit_in": 7, "bridge_out": 5})
    await eventually(  # else the socket's may be the first: the room's would be late sound
        lambda: any(ack["position"] == 5 * 1600 for ack in phone.of_type("audio_ack")) or "not acknowledged"
    )
    for number in range(5, 8):
        await phone.socket.send_bytes(frame(1600 * number))
    await phone.say(type="ping", timestamp=2, sent=[6, 3])
    expected = {
        "phone_sent": 6,
        "socket_sent": 3,
        "livekit_in": 7,
        "bridge_out": 5,
        "cloud_in": 5,
        "socket_in": 3,
        "recogniser_fed": 800,
        "apps_out": 0,
    }

    async def counted() -> bool | str:
        timeline = await timeline_of(built)
        columns = dict(zip(timeline["columns"], timeline["seconds"], strict=True))
        assert len({len(column) for column in columns.values()}) == 1
        sums = {name: sum(count or 0 for count in columns[name]) for name in expected}
        return sums == expected or f"{expected}, but {sums}"

    await eventually(counted)
    kinds = [event["kind"] for event in (await timeline_of(built))["events"]]
    assert {"session", "phone socket", "audio link", "recovery", "audio state"} <= set(kinds)
    assert "voice" not in kinds


async def test_a_lost_place_is_a_gap_with_its_reason_and_its_cure(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    phone = await built.phone(query="?livekit=true&audio=2")
    await eventually(lambda: ANN in built.bridge.rooms or "no join", 5.0)
    built.bridge.send(ANN, b"", number={"epoch": 1})
    await phone.until_state("live")
    built.bridge.end(ANN, reason="network")
    await eventually(lambda: len(built.bridge.joins) == 2 or "no second join", 5.0)
    await eventually(lambda: ANN in built.bridge.rooms or "no room", 5.0)
    built.bridge.send(ANN, b"", number={"epoch": 1})
    await phone.until_state("live")
    [gap] = (await timeline_of(built))["gaps"]
    assert (gap["hop"], gap["lane"], gap["code"]) == ("livekit", "livekit", "network")
    assert (gap["named_by"], gap["healed_by"], gap["around"]) == ("decision", "join:joined", None)
    assert gap["to_ms"] - gap["from_ms"] >= gap["silent_ms"] > 0
    assert (await session_of(built))["gaps"] == 1


async def test_a_session_that_ended_is_kept_for_a_while(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN, grace=0.05)
    phone = await built.phone(query="?livekit=true&audio=2")
    session = await session_of(built)
    await phone.close()
    await shows(built, light="off", state="ended")
    row = await session_of(built)
    assert row["ended_ms"] >= row["started_ms"]
    assert (await ask(built, f"sessions?user={ANN}&ended=false"))["sessions"] == []
    timeline = await ask(built, f"sessions/{session['id']}/timeline")
    assert timeline["gaps"][-1]["healed_by"] == "ended"
    await built.phone(query="?livekit=true&audio=2")
    both = (await ask(built, "sessions"))["sessions"]
    assert [row["ended_ms"] is None for row in both] == [True, False], "the newest comes first"


async def test_captions_are_told_only_to_who_asks_for_them(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    phone = await built.phone(query="?audio=2")
    await phone.socket.send_bytes(frame(0))
    await eventually(lambda: bool(built.recogniser.streams) or "no recogniser", 5.0)
    stream = built.recogniser.streams[0]
    for text, final in (("hello", False), ("hello world", True), ("good", False)):
        stream.say(text, final)
    assert "hello" not in json.dumps(await timeline_of(built))
    said = [(c["text"], c["final"]) for c in (await timeline_of(built, "?captions=true"))["captions"]]
    assert said == [("hello world", True), ("good", False)]


async def test_bad_questions_are_answered_with_what_is_wrong(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    await built.phone()
    id_ = (await session_of(built))["id"]
    assert await ask(built, "sessions/none/timeline", 404) == "NO_SUCH_SESSION"
    for seconds in ("0", "901", "-1", "x", "9" * 50, ""):
        assert await ask(built, f"sessions/{id_}/timeline?seconds={seconds}", 400) == "BAD_REQUEST"


async def test_nothing_that_is_told_holds_a_secret(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    phone = await built.phone(query="?livekit=true&audio=2")
    await eventually(lambda: ANN in built.bridge.rooms or "no join", 5.0)
    built.bridge.end(ANN, reason=f"{TOKEN} eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2ln")
    await phone.say(type="glasses_connection_state", status=TOKEN, modelName=SECRET)
    await eventually(lambda: len(built.bridge.joins) == 2 or "no second join", 5.0)
    for said in (await ask(built, "sessions"), await timeline_of(built, "?captions=true")):
        text = json.dumps(said)
        for secret in (TOKEN, SECRET, KEYS.secret, "eyJ"):
            assert secret not in text


# ---- what is pushed


async def test_a_stream_begins_with_everything_and_goes_on_with_what_changes(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN, grace=0.05)
    phone = await built.phone("bob@example.com")
    async with pushed(built) as stream:
        first = await stream.next()
        assert (first["full"], first["watched"], first["gone"]) == (True, None, [])
        assert [row["user"] for row in stream.rows.values()] == ["bob@example.com"]
        await built.phone(ANN)
        while len(stream.rows) < 2:
            later = await stream.next()
            assert not later["full"]
        await phone.close()
        while all(row["ended_ms"] is None for row in stream.rows.values()):
            await stream.next()


async def test_a_watched_session_is_told_in_full_and_then_as_it_goes_on(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    phone = await built.phone(query="?audio=2")
    id_ = (await session_of(built))["id"]
    microphone = built.cloud.sessions.flights.find(id_)
    assert microphone is not None
    assert microphone.meter is None, "nothing is measured while nobody watches"
    async with pushed(built, f"?watch={id_}&sessions=false") as stream:
        first = await stream.next()
        assert first["sessions"] == []
        watched = first["watched"]
        assert (watched["full"], watched["levels"], watched["captions"]) == (True, None, None)
        known = [event["seq"] for event in watched["events"]]
        assert known[0] == 1
        for number in range(10):
            await phone.socket.send_bytes(frame(1600 * number))
        await phone.say(type="VAD", status=True)
        levels: list[int] = []
        while len(levels) < 10 or not any(e["kind"] == "voice" for e in watched["events"]):
            watched = (await stream.next())["watched"]
            assert not watched["full"]
            known += [event["seq"] for event in watched["events"]]
            levels += [level for level in (watched["levels"] or {"dbfs": []})["dbfs"] if level is not None]
        assert known == list(range(1, len(known) + 1)), "each event once, in order"
        assert set(levels) == {-18}, "0x1000 of 0x8000"
        built.recogniser.streams[0].say("hello", final=True)
        while not watched["captions"]:
            watched = (await stream.next())["watched"]
        assert [caption["text"] for caption in watched["captions"]] == ["hello"]
    await eventually(lambda: microphone.meter is None or "still measured")


async def test_how_many_have_no_captions_or_late_ones_is_pushed_when_it_changes(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    speech = built.cloud.sessions.speech
    async with pushed(built) as stream:
        first = (await stream.next())["overview"]["recogniser"]
        assert (first["crowded_out"], first["slow"]) == (0, 0)
        speech.crowded_out, speech.slow = 2, 1
        await stream.until(lambda told: (told["recogniser"]["crowded_out"], told["recogniser"]["slow"]) == (2, 1))
        speech.crowded_out = speech.slow = 0
        await stream.until(lambda told: told["recogniser"] == first)


async def test_the_parts_of_the_system_are_told_as_they_are(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN)
    async with pushed(built) as stream:
        await stream.until(lambda told: told["livekit"] == {"answers": True, "why": ""})
        told = await stream.until(lambda told: told["bridges"][0]["answers"])
        assert (told["nodes"], told["recogniser"]["name"]) == ([], "scripted")
        assert all(0.0 <= left <= 1.0 for left in told["capacity_left"].values())
        built.rooms.silent = True
        built.cloud.sessions.livekit.complain()
        told = await stream.until(lambda told: told["livekit"]["answers"] is False)
        assert told["livekit"]["why"]
        built.rooms.silent = False
        await stream.until(lambda told: told["livekit"] == {"answers": True, "why": ""})


async def test_streams_are_bounded_and_end_with_the_cloud(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_WATCHERS", 2)
    built: Stage = await stage(admin_token=TOKEN)
    async with pushed(built) as one:
        await one.next()
        async with pushed(built) as other:
            await other.next()
            assert await ask(built, "live", 503) == "TOO_MANY_WATCHERS"
        await eventually_served(built)
        built.cloud.sessions.flights.stop()
        async with deadline(5):
            while await one.response.content.readline():
                pass


async def eventually_served(stage: Stage) -> None:
    """Until there is room for one more stream."""

    async def served() -> bool | str:
        async with stage.http.get(f"{stage.url}/api/admin/live", headers=BEARER) as response:
            return response.status == 200 or f"{response.status}"

    await eventually(served, 20.0)


async def test_a_reader_that_takes_nothing_is_sent_away(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WRITE_TIMEOUT", 0.2)
    monkeypatch.setattr(live, "MAX_WATCHERS", 1)
    built: Stage = await stage(admin_token=TOKEN)
    flights, asked = built.cloud.sessions.flights, asyncio.Event()

    def much(_second: int) -> list[Any]:
        asked.set()
        return [{"id": "x", "text": "y" * 30_000_000}]

    with monkeypatch.context() as patch:
        patch.setattr(flights, "rows_of", much)
        reader, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port, limit=1024)
        writer.write(f"GET /api/admin/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        async with deadline(20):
            await asked.wait()
    await eventually_served(built)  # the only place is free again
    with suppress(ConnectionError):
        async with deadline(20):
            while await reader.read(1 << 20):
                pass
    writer.close()


async def test_a_session_that_has_ended_is_watched_without_being_told_again(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=TOKEN, grace=0.05)
    phone = await built.phone()
    id_ = (await session_of(built))["id"]
    async with pushed(built, f"?watch={id_}&sessions=false") as stream:
        await phone.close()
        while (await stream.next())["watched"]["session"]["ended_ms"] is None:
            pass
        told = [message async for message in stream.until_quiet(2.5)]
        assert len(told) < 5, told


# ---- apps


async def test_apps_that_come_and_go_are_part_of_the_story() -> None:
    async with app_stages() as begin:
        built = await begin()
        phone = await built.phone()
        await built.running("audio_state")
        flights = built.cloud.sessions.flights
        [row] = flights.rows()
        assert row["apps"] == {PACKAGE: "running"}
        await phone.say(type="stop_app", packageName=PACKAGE)
        await phone.until("app_stopped")
        events = flights.find(row["id"]).events.since(0)
        states = [(event["package"], event["state"]) for event in events if event["kind"] == "app"]
        assert states == [(PACKAGE, "starting"), (PACKAGE, "running"), (PACKAGE, "stopped")]
        assert flights.rows()[0]["apps"] == {}
