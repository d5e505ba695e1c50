"""Bad input gets one line that says what to do and a status that is not 0, and disturbs nobody else."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import aiohttp
import grpc
import jwt
import pytest

from glassbridge.core.values import UserId
from glassbridge.lab import clips
from glassbridge.lab.stack import Stack
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import ConnectOptions
from glassbridge.livekit.tokens import phone_token
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.scenarios.systems import ENVIRONMENT, JWT_SECRET, KEYS, config, said
from tests.support import forked
from tests.support.livekit import LiveKit
from tests.support.participants import Recorder
from tests.support.patience import deadline, patient
from tests.support.poll import eventually
from tests.support.programs import why

SHORT = str(clips.wav("short"))
MIB = 1 << 20


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with Stack(config(livekit="embedded")) as running:
        yield running


async def refused(*argv: str, says: str, env: dict[str, str] | None = None) -> None:
    """The program ends by itself, not with 0, with one line of its own on standard error that holds `says`."""
    done = await ended(*argv, env=env or {})
    own = [line for line in done.stderr.splitlines() if line.startswith("glassbridge: ")]
    assert done.returncode != 0, done.stderr
    assert len(own) == 1, done.stderr
    assert says in own[0]
    assert "Traceback" not in done.stderr + done.stdout


async def ended(*argv: str, env: dict[str, str]) -> "CompletedProcess[str]":
    """The program, which ends by itself."""
    env = os.environ | ENVIRONMENT | env
    return await asyncio.to_thread(forked.glassbridge, *argv, env=env, within=patient(40))


def core_token(**claims: Any) -> str:
    return jwt.encode({"sub": "ada", **claims}, JWT_SECRET, algorithm="HS256")


# ---- without a cloud


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.wav", None, "No such file"),
        ("text.wav", b"this is no sound", "not a sound file"),
        ("cut.wav", b"RIFF\x24\x08\0\0WAVEfmt ", "not a sound file"),
        ("empty.wav", b"", "not a sound file"),
        (".", None, "is a directory"),
    ],
)
async def test_a_file_that_cannot_be_spoken(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    phone = await ended("phone", "--token", core_token(), "--wav", str(path), env={})
    assert phone.returncode == 2
    assert says in phone.stderr
    assert "Traceback" not in phone.stderr


async def test_no_cloud() -> None:
    url = "http://127.0.0.1:9"
    await refused("phone", "--cloud", url, "--token", core_token(), "--wav", SHORT, says="see that the cloud runs")


async def test_no_livekit_for_the_demo() -> None:
    await refused("demo", "--livekit", "ws://127.0.0.1:9", says="no LiveKit server answers at ws://127.0.0.1:9")


@pytest.mark.parametrize(
    "argv",
    [
        ("cloud", "--port", "{port}"),
        ("bridge", "--port", "{port}"),
        ("livekit", "start", "--embedded", "--port", "{port}"),
        pytest.param(("livekit", "start", "--port", "{port}"), marks=pytest.mark.real),
        ("dev", "--livekit", "embedded", "--livekit-port", "0", "--port", "{port}"),
    ],
    ids=" ".join,
)
async def test_a_port_in_use(argv: tuple[str, ...], taken: int) -> None:
    words = [word.format(port=taken) for word in argv]
    await refused(*words, says=f"port {taken} is in use", env={"LIVEKIT_GRPC_SOCKET": ""})


async def test_a_bridge_socket_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "bridge.sock"
    path.write_text("a file")
    await refused("bridge", "--socket", str(path), says="is no socket")


async def test_a_weak_livekit_secret() -> None:
    await refused("demo", "--livekit", "embedded", says="LIVEKIT_API_SECRET", env={"LIVEKIT_API_SECRET": "short"})


async def test_a_livekit_binary_that_is_none(tmp_path: Path) -> None:
    env = {"LIVEKIT_SERVER_BIN": str(tmp_path / "nothing")}
    await refused("livekit", "start", "--port", "0", says="LIVEKIT_SERVER_BIN", env=env)


# ---- with one


async def test_tokens_that_are_not_good_and_junk_on_every_socket(stack: Stack) -> None:
    """One after the other on one system."""
    await tokens_that_are_not_good(stack)
    await junk_on_every_socket_disturbs_nobody(stack)


async def tokens_that_are_not_good(stack: Stack) -> None:
    phone = ("phone", "--cloud", stack.cloud_url, "--wav", SHORT)
    forged = jwt.encode({"sub": "ada"}, JWT_SECRET[::-1], algorithm="HS256")
    says = "get a fresh one with `glassbridge token`"
    await asyncio.gather(
        *(
            refused(*phone, says=says, env={"GLASSBRIDGE_TOKEN": token})
            for token in ("nonsense", forged, core_token(exp=1))
        ),
        a_token_of_another_room(stack),
    )


async def a_token_of_another_room(stack: Stack) -> None:
    token = phone_token(KEYS, user=UserId("cloud-agent:ada"), room="other", ttl=60)
    request = pb.JoinRoomRequest(user_id="ada", room_name="ada", token=token, livekit_url=stack.livekit_url)
    async with grpc.aio.insecure_channel(f"unix:{stack.bridge_socket}") as channel:
        bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        answer = await bridge.JoinRoom(request, timeout=10)
    assert not answer.success
    assert answer.reason == pb.REASON_WRONG_ROOM
    assert "another room" in answer.error


async def test_without_a_room_the_phone_is_told_why_and_captions_come(embedded_livekit: LiveKit) -> None:
    """Keys that LiveKit refuses, no LiveKit, no bridge: audio travels on the phone's socket meanwhile."""
    from tests.support.livekit import KEYS as RIGHT

    where = embedded_livekit.url
    async with Stack(config(livekit=where, keys=KEYS)) as stack:
        await tells_why(stack, "token_refused")
    async with Stack(config(livekit=where, keys=RIGHT)) as stack:
        await embedded_livekit.kill()
        await tells_why(stack, "unreachable")
        await stack.bridge.stop(5)
        await tells_why(stack, "no_bridge")


async def tells_why(stack: Stack, code: str) -> None:
    phone = await stack.start_phone(UserId(f"ada-{code}"), "--wav", SHORT)
    assert await phone.wait() == 0, why(stack, phone)
    told = [event for event in phone.events("audio_state") if event["code"] == code]
    assert told, phone.events("audio_state")
    assert told[0]["reason"]
    assert told[0]["transport"] == "websocket"
    assert said(phone.events("caption")) == clips.words("short")
    everything = "\n".join(line.text for program in (stack.bridge, stack.cloud, phone) for line in program.lines)
    assert "Traceback" not in everything


async def junk_on_every_socket_disturbs_nobody(stack: Stack) -> None:
    """1 MiB of noise at each door while a phone speaks."""
    phone = await stack.start_phone(UserId("ada"), "--wav", SHORT)
    await eventually(lambda: bool(phone.events("ack")) or "the phone did not connect", 20)
    noise = os.urandom(MIB)
    await asyncio.gather(
        *(raw(stack, target, noise) for target in ("cloud", "livekit", "bridge")),
        phone_socket(stack, noise),
        room(stack, noise),
    )
    assert await phone.wait() == 0, why(stack, phone)
    [summary] = phone.events("summary")
    assert summary["samples"] == summary["acknowledged"]
    assert said(phone.events("caption")) == clips.words("short")
    assert stack.bridge.running
    assert stack.cloud.running
    for program in (stack.bridge, stack.cloud):
        for line in program.lines:
            assert "Traceback" not in line.text, line.text.replace("\\n", "\n")


async def raw(stack: Stack, target: str, noise: bytes) -> None:
    """Bytes that are no protocol at all."""
    if target == "bridge":
        reader, writer = await asyncio.open_unix_connection(stack.bridge_socket)
    else:
        url = stack.cloud_url if target == "cloud" else stack.livekit_url
        host, _, port = url.rpartition("/")[2].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with deadline(10):
            writer.write(noise)
            await writer.drain()
            writer.write_eof()
            while await reader.read(65536):
                continue
    except (OSError, TimeoutError):
        pass  # it is cut off, maybe before we have said all
    finally:
        writer.close()


async def phone_socket(stack: Stack, noise: bytes) -> None:
    """Noise from somebody who has signed in: as text, as binary, as JSON of the wrong shape; the socket lives."""
    token = stack.core_token(UserId("eve"))
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{stack.cloud_url}/glasses-ws", params={"token": token}, max_msg_size=0) as ws,
    ):
        await ws.send_str(noise[: MIB // 2].hex()[: MIB - 16])
        await ws.send_str('{"type": "VAD", "status": 7}')
        await ws.send_str('{"type":' + "[" * 100_000)
        await ws.send_bytes(noise[:63_001])
        answers: list[str] = []
        async with deadline(10):
            await ws.send_str('{"type": "ping", "timestamp": 42}')
            while not any('"pong"' in answer for answer in answers):
                answers.append(await ws.receive_str())
        assert sum("MALFORMED_MESSAGE" in answer for answer in answers) == 3


async def room(stack: Stack, noise: bytes) -> None:
    """Noise as data packets into the speaking phone's own room, under its topic and without one."""
    token = phone_token(KEYS, user=UserId("eve"), room="ada", ttl=60)
    eve = await connector("own")(stack.livekit_url, token, Recorder(), ConnectOptions(room="ada"))
    try:
        for at in range(0, 200_000, 10_001):
            for topic in ("gb.audio.2", "", "other"):
                await eve.send(noise[at : at + 10_001], topic=topic, reliable=False)
            await asyncio.sleep(0.02)
    finally:
        await eve.close()
