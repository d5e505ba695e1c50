"""`glassbridge doctor` with real servers that are well, wrong, gone, cut off from media, or of another time."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path as FilePath
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from glassbridge.cli.checks import CHECKS, livekit, machine, programs, speech
from glassbridge.cli.checks.findings import Patient, State
from glassbridge.lab.ingest import TOKEN, Ingest
from glassbridge.lab.link_breaker import LinkBreaker, Path, behind_breaker
from glassbridge.lab.stack import Stack
from glassbridge.livekit.server import LiveKitServer, free_port
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.settings import Settings
from glassbridge.speech.soniox_double import Fault, Manner, SonioxDouble
from tests.scenarios.systems import KEYS, config
from tests.support.livekit import server_binary

WITHIN = 120.0


@asynccontextmanager
async def patient(url: str, keys: LiveKitKeys = KEYS, **settings: str) -> AsyncIterator[Patient]:
    """One whose keys are set; what the first checks find is known."""
    fields = {"livekit_url": url, "livekit_api_key": keys.api_key, "livekit_api_secret": keys.secret}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        found = Patient(Settings.model_validate(fields | settings), "http://127.0.0.1:1", http)
        found.keys = keys
        yield found


@asynccontextmanager
async def server(**rtc: object) -> AsyncIterator[LiveKitServer]:
    binary = server_binary()
    assert binary is not None
    async with LiveKitServer(binary, KEYS, rtc=rtc) as running:
        yield running


@pytest.mark.real
@pytest.mark.timeout(240)
async def test_all_is_well(tmp_path: FilePath) -> None:
    """The command, with everything that a deployment has. Public development secrets are what tests use."""
    async with (
        Ingest() as sink,
        server(tcp_port=free_port()) as running,
        Stack(config(livekit=running.url)) as stack,
    ):
        env = {
            "LIVEKIT_URL": running.url,
            "LIVEKIT_API_KEY": KEYS.api_key,
            "LIVEKIT_API_SECRET": KEYS.secret,
            "LIVEKIT_GRPC_SOCKET": str(stack.bridge_socket),
            "BETTERSTACK_INGESTING_HOST": sink.url,
            "BETTERSTACK_SOURCE_TOKEN": TOKEN,
            "GLASSBRIDGE_LOG_SPOOL": str(tmp_path),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "glassbridge", "doctor", "--json", "--cloud", stack.cloud_url,
            env=os.environ | env,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(WITHIN):
            out, _ = await process.communicate()
    found = {line["check"]: line for line in map(json.loads, out.splitlines())}
    assert list(found) == [name for name, _ in CHECKS]
    ill = {name: line for name, line in found.items() if line["state"] != "well"}
    assert set(ill) <= {"secrets", "open files", "disk"}, ill
    assert process.returncode == 0
    assert KEYS.secret not in out.decode()
    assert "log sink test" in sink.messages()


@pytest.mark.real
async def test_wrong_key() -> None:
    async with server() as running, patient(running.url, LiveKitKeys(KEYS.api_key, "z" * 40)) as ill:
        assert (await livekit.http(ill)).state is State.WELL
        found = await livekit.keys(ill)
        assert (found.state, "LIVEKIT_API_SECRET" in found.advice) == (State.FAILED, True)
        assert (await livekit.media_by_udp(ill)).state is State.SKIPPED


async def test_no_livekit() -> None:
    async with patient(f"ws://127.0.0.1:{free_port()}") as ill:
        found = await livekit.http(ill)
        assert (found.state, "glassbridge livekit start" in found.advice) == (State.FAILED, True)
        later = [
            await check(ill) for check in (livekit.clock, livekit.keys, livekit.media_by_udp, livekit.media_by_tcp)
        ]
        assert [finding.state for finding in later] == [State.SKIPPED] * 4


@pytest.mark.real
async def test_media_is_cut_off_while_signalling_works() -> None:
    async with server(**behind_breaker()) as running, LinkBreaker(running) as breaker:
        link = await breaker.link()
        async with patient(link.url) as ill:
            await livekit.http(ill)
            await livekit.keys(ill)
            assert (await livekit.media_by_udp(ill)).state is State.WELL
            link.drop(Path.MEDIA)
            found = await livekit.media_by_udp(ill)
            assert (found.state, "UDP" in found.advice) == (State.FAILED, True)
            assert (await livekit.media_by_tcp(ill)).state is State.WARNING, "this server offers none"


@pytest.mark.parametrize(("ahead", "state"), [(0, State.WELL), (12, State.WARNING), (-120, State.FAILED)])
async def test_clocks(ahead: int, state: State) -> None:
    async def answer(_request: web.Request) -> web.Response:
        moment = datetime.now(UTC) - timedelta(seconds=ahead)
        return web.Response(text="OK", headers={"Date": format_datetime(moment, usegmt=True)})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with patient(f"ws://127.0.0.1:{runner.addresses[0][1]}") as ill:
        await livekit.http(ill)
        found = await livekit.clock(ill)
    await runner.cleanup()
    assert found.state is state, found
    assert ("NTP" in found.advice) == (state is not State.WELL)


async def test_no_bridge_and_a_socket_that_others_may_open(tmp_path: FilePath) -> None:
    path = tmp_path / "bridge.sock"
    async with patient("ws://127.0.0.1:1", bridge_socket=str(path)) as ill:
        found = await programs.bridges(ill)
        assert (found.state, "glassbridge bridge" in found.advice) == (State.FAILED, True)
        path.write_text("")
        assert (await programs.sockets(ill)).state is State.FAILED
        path.unlink()
        listener = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), path)
        path.chmod(0o666)
        found = await programs.sockets(ill)
        listener.close()
        assert (found.state, "chmod 600" in found.advice) == (State.WARNING, True)


async def test_something_else_holds_the_port_of_the_cloud() -> None:
    listener = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with patient("ws://127.0.0.1:1") as ill:
        ill.cloud = f"http://127.0.0.1:{port}"
        assert (await programs.cloud(ill)).state is State.FAILED
        listener.close()
        await listener.wait_closed()
        found = await programs.cloud(ill)
    assert (found.state, "port is free" in found.text) == (State.WARNING, True)


@pytest.mark.parametrize(
    ("key", "code", "advice"),
    [("right", None, ""), ("wrong", None, "SONIOX_API_KEY"), ("right", 402, "credit"), ("right", 429, "streams")],
)
async def test_the_key_of_a_recogniser(key: str, code: int | None, advice: str) -> None:
    async with SonioxDouble(key="right") as double:
        if code is not None:
            double.misbehave(Fault(Manner.ERROR, code))
        where = "ws://127.0.0.1:1"
        async with patient(where, recogniser="soniox", soniox_api_key=key, soniox_endpoint=double.url) as ill:
            found = await speech.recogniser(ill)
    assert (found.state is State.WELL) == (not advice), found
    assert advice in found.advice
    assert "right" not in found.text


async def test_a_folder_that_cannot_be_had(tmp_path: FilePath) -> None:
    async with patient("ws://127.0.0.1:1", log_spool=str(tmp_path)) as ill:
        assert (await machine.disk(ill)).state in (State.WELL, State.WARNING)


@pytest.mark.parametrize(
    ("settings", "state", "told"),
    [
        ({}, State.WELL, ""),
        ({"livekit_url": "wss://livekit.example.com", "public_url": "https://cloud.example.com"}, State.WELL, ""),
        ({"livekit_url": "ws://livekit.example.com"}, State.WARNING, "LIVEKIT_URL"),
        ({"public_url": "http://cloud.example.com"}, State.WARNING, "GLASSBRIDGE_PUBLIC_URL"),
        ({"bridge_urls": "127.0.0.1:9090,bridge.example.com:9090"}, State.FAILED, "without TLS"),
        ({"bridge_urls": "bridge.example.com:9090", "bridge_ca": "/ca.pem"}, State.WELL, ""),
    ],
)
async def test_what_goes_out_in_the_clear_is_told(settings: dict[str, Any], state: State, told: str) -> None:
    async with patient(settings.pop("livekit_url", "ws://127.0.0.1:7880"), **settings) as found:
        finding = await machine.encryption(found)
    assert finding.state is state
    assert told in finding.text


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"jwt_secrets": "j" * 32}, State.WELL),
        ({}, State.WARNING),
        ({"jwt_secrets": "tiny"}, State.FAILED),
        ({"jwt_secrets": "j" * 32, "admin_tokens": "a" * 20}, State.FAILED),
    ],
)
async def test_weak_secrets_are_told(settings: dict[str, Any], state: State) -> None:
    async with patient("ws://127.0.0.1:7880", **settings) as found:
        finding = await machine.secrets(found)
    assert finding.state is state
    assert not any(value in finding.text for value in settings.values())
