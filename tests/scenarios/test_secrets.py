"""Canary secrets go the whole way at the most talkative level; no line of any program holds one."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc
import jwt
import pytest

from glassbridge.core.values import UserId
from glassbridge.lab import clips
from glassbridge.lab.program import Line
from glassbridge.lab.stack import Stack
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.scenarios.systems import config
from tests.support.patience import deadline
from tests.support.poll import eventually
from tests.support.programs import why

LIVEKIT_SECRET = "canary-livekit-secret-%2B+/ 0123456789abcdef"
JWT_SECRET = "canary-core-token-secret-&=\"'0123456789abcdef"
OPAQUE = "canaryOpaqueToken0123456789"
"""A token that looks like nothing, in the places where tokens are put."""
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}")


def leaks(lines: list[Line]) -> Iterator[str]:
    """Lines with a secret, told by its name so that this test does not print it either."""
    for line in lines:
        for name, found in (
            ("the LiveKit secret", LIVEKIT_SECRET in line.text or LIVEKIT_SECRET[:30] in line.text),
            ("the core-token secret", JWT_SECRET[:30] in line.text),
            ("an opaque token", OPAQUE in line.text),
            ("a JWT", JWT.search(line.text) is not None),
        ):
            if found:
                yield f"{line.program}: {name} in a line about {line.fields.get('event', line.text[:20])!r}"


@pytest.mark.parametrize("participant", ["own", pytest.param("sdk", marks=[pytest.mark.sdk, pytest.mark.slow])])
@pytest.mark.parametrize("livekit", [pytest.param("real", marks=[pytest.mark.real, pytest.mark.slow]), "embedded"])
async def test_no_output_holds_a_secret(livekit: str, participant: str) -> None:
    lines: list[Line] = []
    options = {
        "livekit": livekit,
        "participant": participant,
        "keys": LiveKitKeys("canarykey", LIVEKIT_SECRET),
        "jwt_secret": JWT_SECRET,
        "log_level": "debug",
    }
    async with Stack(config(**options), lines.append) as stack:
        await speak(stack)
        await knock(stack)
        await join_with_tokens(stack)
        await lose_the_bridge(stack)
    talkative = {line.program for line in lines if line.fields.get("level") == "debug"}
    assert talkative >= {"bridge", "cloud", "phone"}, "not at debug: this test would prove nothing"
    assert list(leaks(lines)) == []


async def speak(stack: Stack) -> None:
    phones = [
        await stack.start_phone(UserId(way), "--transport", way, "--wav", str(clips.wav("short")))
        for way in ("data", "track", "websocket")
    ]
    assert [await phone.wait() for phone in phones] == [0, 0, 0], why(stack, *phones)


async def knock(stack: Stack) -> None:
    """Tokens good, bad, expired and opaque, in the header and in the query, on every door of the cloud."""
    token = stack.core_token(UserId("ada"))
    expired = jwt.encode({"sub": "ada", "exp": 1}, JWT_SECRET, algorithm="HS256")
    async with aiohttp.ClientSession() as http:
        for path in ("/api/client/livekit/token", "/glasses-ws", "/no/such/path"):
            for value in (token, token[:-4], expired, OPAQUE):
                await ask(http, f"{stack.cloud_url}{path}", {"token": value}, {})
                await ask(http, f"{stack.cloud_url}{path}", {}, {"Authorization": f"Bearer {value}"})
        async with http.ws_connect(f"{stack.cloud_url}/glasses-ws", params={"token": token}) as socket:
            await socket.send_str(f'{{"type": "connection_init", "coreToken": "{token}"}}')
            await socket.send_str(f'{{"type": "{token}"}}')
            await socket.send_str(f'{{"type": "VAD", "status": "{token}"}}')
            await socket.send_str(f"{token} is no JSON")
            await socket.send_str('{"type": "ping"}')
            async with deadline(5):
                while '"pong"' not in (await socket.receive_str()):
                    continue
        for path in ("/rtc", "/rtc/validate", "/twirp/livekit.RoomService/ListRooms"):
            url = stack.livekit_url.replace("ws://", "http://") + path
            await ask(http, url, {"access_token": OPAQUE}, {})
            await ask(http, url, {}, {"Authorization": f"Bearer {token}"})


async def ask(http: aiohttp.ClientSession, url: str, params: dict[str, str], headers: dict[str, str]) -> None:
    async with http.get(url, params=params, headers=headers) as response:
        await response.read()


async def join_with_tokens(stack: Stack) -> None:
    """Joins that fail in every way, and a playback whose URL carries a token."""
    async with grpc.aio.insecure_channel(f"unix:{stack.bridge_socket}") as channel:
        bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        good = jwt.encode({"sub": "x", "video": {"room": "y"}}, LIVEKIT_SECRET, algorithm="HS256")
        for token in (OPAQUE, good, ""):
            for url in (stack.livekit_url, f"ws://127.0.0.1:9/?access_token={OPAQUE}", f"nonsense://{OPAQUE}@host"):
                request = pb.JoinRoomRequest(user_id="eve", room_name="eve", token=token, livekit_url=url)
                answer = await bridge.JoinRoom(request, timeout=15)
                assert not answer.success
                assert OPAQUE not in answer.error
        play = pb.PlayAudioRequest(user_id="eve", request_id="1", audio_url=f"http://127.0.0.1:9/a?token={OPAQUE}")
        events = [event async for event in bridge.PlayAudio(play, timeout=15)]
        assert OPAQUE not in str(events)


async def lose_the_bridge(stack: Stack) -> None:
    """Errors in the middle of a session are lines too."""
    phone = await stack.start_phone(UserId("bob"), "--wav", str(clips.wav("short")), "--loop")

    def told(*states: str) -> bool | str:
        return any(event["state"] in states for event in phone.events("audio_state")) or f"audio was never {states}"

    await eventually(lambda: told("live"), 30)
    stack.bridge.signal(signal.SIGKILL)
    await eventually(lambda: told("interrupted", "unavailable"), 30)


def test_the_source_prints_no_environment() -> None:
    """Nothing hands a whole environment, or a settings object, to a log."""
    for path in Path(__file__).parents[2].joinpath("src").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = re.sub(r'(?<!f)"[^"]*"', "", line)  # an event may be named after them
            assert not re.search(r"log\.\w+\(.*(os\.environ|settings\b)", code), f"{path.name}:{number}"
