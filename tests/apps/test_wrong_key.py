"""A wrong API key is told to the app, to the phone and in the log, with what to do; nobody else can end an app so."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from structlog.testing import capture_logs

from glassbridge.app import AppServer
from glassbridge.core.app_session import StopReason
from glassbridge.lab.original_sdk import steady_port
from glassbridge.wire.app_keys import SIGNATURE_HEADER
from tests.apps.mentra import a_scene, peer_command
from tests.cloud.app_stage import KEY, PACKAGE, app_stages
from tests.cloud.conftest import Phone
from tests.support.poll import eventually, stays
from tests.support.process import Program

__all__ = ["peer_command"]

WRONG = "the-key-of-somebody-else"
APP = """
import sys
from glassbridge.app import AppServer
server = AppServer(sys.argv[1], port=int(sys.argv[2]))
server.on_session(lambda session: None)
server.run()
"""


@pytest.fixture
def unused_port() -> int:
    return steady_port()


@asynccontextmanager
async def an_app(key: str, port: int) -> AsyncIterator[Program]:
    program = Program(sys.executable, "-c", APP, PACKAGE, str(port), env={"APP_KEY": key})
    async with program:
        await program.says("app listens")
        yield program


async def stopped(phone: Phone) -> str:
    """Why, as the phone is told."""
    found = await phone.until("app_stopped", within=10.0)
    return str(found["error"])


async def test_it_is_told_to_app_phone_and_log_and_the_app_ends(unused_port: int) -> None:
    async with app_stages() as begin, an_app(WRONG, unused_port) as app:
        with capture_logs() as lines:
            built = await begin(url=f"http://127.0.0.1:{unused_port}")
            phone = await built.phone()
            await phone.say(type="start_app", packageName=PACKAGE)
            assert await stopped(phone) == StopReason.WRONG_KEY.text
        assert await app.ends() == 1
        assert "apps rekey" in app.err[-1]
        assert "APP_KEY" in app.err[-1]
        [told] = [line for line in lines if line["event"] == "webhook refused"]
        assert "API key" in told["reason"]
        assert not any(WRONG in str(line) or KEY in str(line) for line in (*lines, *app.err, *app.out))


async def test_an_app_whose_key_was_right_once_is_not_ended_by_a_wrong_signature(unused_port: int) -> None:
    async with app_stages() as begin, an_app(KEY, unused_port) as app:
        built = await begin(url=f"http://127.0.0.1:{unused_port}")
        phone = await built.phone()
        await phone.say(type="start_app", packageName=PACKAGE)
        await phone.until("app_started")
        await _forged(unused_port, {SIGNATURE_HEADER: "t=1,v2=00"})
        await stays(lambda: app.child.returncode is None or "it has ended", 0.5)


@pytest.mark.parametrize(
    "headers", [{}, {SIGNATURE_HEADER: "t=1,v2=00", "X-Forwarded-For": "192.0.2.1"}], ids=["unsigned", "by a proxy"]
)
async def test_a_stranger_ends_no_app(unused_port: int, headers: dict[str, str]) -> None:
    async with an_app(KEY, unused_port) as app:
        await _forged(unused_port, headers)
        await stays(lambda: app.child.returncode is None or "it has ended", 0.5)


async def _forged(port: int, headers: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://127.0.0.1:{port}/webhook", json={"type": "session_request"}, headers=headers) as answer,
    ):
        assert answer.status == 401


async def test_a_server_of_ours_within_another_program_does_not_end_it() -> None:
    server = AppServer(PACKAGE, WRONG, port=0)
    async with server, app_stages() as begin:
        built = await begin(url=f"http://127.0.0.1:{server.port}")
        phone = await built.phone()
        await phone.say(type="start_app", packageName=PACKAGE)
        assert await stopped(phone) == StopReason.WRONG_KEY.text


async def test_the_originals_sdk_is_told_and_so_is_the_phone(peer_command: list[str]) -> None:
    """It asks for no signature, and shows its wrong key itself; the phone learns it when the start is given up."""
    async with a_scene(peer_command, key=WRONG) as scene:
        await scene.move_to(0)
        assert scene.phone is not None
        assert await stopped(scene.phone) == StopReason.WRONG_KEY.text
        await eventually(lambda: not scene.peer.told("session") or "it has begun")
