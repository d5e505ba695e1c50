"""The cloud as a process: signals, kills, ports in use."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import aiohttp
import psutil
import pytest
import structlog

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps.registry import StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.core.values import user_id
from glassbridge.livekit.server import free_port
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.conftest import ANN, KEYS, SECRET, Phone, ScriptedRecogniser
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.process import Program
from tests.support.scripted_bridge import ScriptedBridge

SCRIPT = """
import sys
from glassbridge.cloud.app import run
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.errors import UserError
from tests.cloud.conftest import KEYS, SECRET, ScriptedRecogniser

config = CloudConfig(keys=CloudKeys((SECRET,), KEYS), livekit_url="ws://x", bridges=(sys.argv[2],),
                     port=int(sys.argv[1]), bridge_poll=0.1)
try:
    sys.exit(run(config, ScriptedRecogniser()))
except UserError as error:
    sys.exit(f"{error}")
"""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Phone]:
    token = mint_core_token(user_id(ANN), SECRET, 60)
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{port}/glasses-ws?livekit=true"
        phone = Phone(await http.ws_connect(url, headers={"Authorization": f"Bearer {token}"}))
        phone.read()
        await phone.until("connection_ack")
        yield phone
        await phone.close()


async def test_sigterm_tells_the_phone_leaves_the_room_and_ends_within_five_seconds() -> None:
    port = free_port()
    async with ScriptedBridge() as bridge, Program.python(SCRIPT, str(port), bridge.target) as cloud:
        await cloud.says("cloud listens")
        async with connected(port) as phone:
            await phone.until_state("connecting", "awaiting_audio")
            begun = monotonic()
            cloud.signal(signal.SIGTERM)
            assert await phone.closed_with() == CloseCode.DRAINING
            assert await cloud.ends() == 0
            assert monotonic() - begun < patient(5.0)
        assert bridge.rooms == {}
        assert len(bridge.leaves) == 1


async def test_a_hangup_costs_no_phone() -> None:
    port = free_port()
    async with ScriptedBridge() as bridge, Program.python(SCRIPT, str(port), bridge.target) as cloud:
        await cloud.says("cloud listens")
        async with connected(port) as phone:
            await phone.until_state("connecting", "awaiting_audio")
            cloud.signal(signal.SIGHUP)
            await cloud.says("SIGHUP ignored")
            pongs = len(phone.of_type("pong"))
            await phone.say(type="ping")
            await eventually(lambda: len(phone.of_type("pong")) > pongs or f"closed: {phone.socket.close_code}")
            cloud.signal(signal.SIGTERM)
            cloud.signal(signal.SIGHUP)
            assert await phone.closed_with() == CloseCode.DRAINING
        assert await cloud.ends() == 0


async def test_after_kill_9_the_next_cloud_replaces_the_join() -> None:
    port = free_port()
    async with ScriptedBridge() as bridge:
        async with Program.python(SCRIPT, str(port), bridge.target) as cloud:
            await cloud.says("cloud listens")
            async with connected(port) as phone:
                await phone.until_state("connecting", "awaiting_audio")
                cloud.signal(signal.SIGKILL)
                await phone.closed_with()
            await eventually(lambda: not bridge.rooms or "the bridge did not notice")
        async with Program.python(SCRIPT, str(port), bridge.target) as cloud:
            await cloud.says("cloud listens")
            async with connected(port) as phone:
                await phone.until_state("connecting", "awaiting_audio")
                assert phone.of_type("connection_ack")[0].get("resumed") is None
            first, second = (join.generation for join in bridge.joins)
            assert second > first
            cloud.signal(signal.SIGINT)
            assert await cloud.ends() == 0


async def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Program.python(SCRIPT, str(port), "127.0.0.1:1") as cloud:
            assert await cloud.ends() == 1
            holder = f"{psutil.Process().name()} (pid {os.getpid()})"
            assert [line for line in cloud.err if line] == [
                f"port {port} is in use by {holder}: stop it, or choose another with --port"
            ]


@pytest.mark.parametrize(
    ("options", "bridge", "warns"),
    [
        (AppsConfig(), "10.0.0.2:9090", True),
        (AppsConfig(public_url="http://10.0.0.1:8002"), "10.0.0.2:9090", False),
        (AppsConfig(), "127.0.0.1:9090", False),
    ],
)
async def test_an_address_that_bridges_elsewhere_cannot_use_is_warned_of(
    options: AppsConfig, bridge: str, warns: bool
) -> None:
    config = CloudConfig(keys=CloudKeys((SECRET,), KEYS), livekit_url="ws://x", bridges=(bridge,), port=0, apps=options)
    with structlog.testing.capture_logs() as lines:
        async with Cloud(config, ScriptedRecogniser(), StaticRegistry()):
            pass
    found = [line for line in lines if line["event"] == "address of this machine told"]
    assert bool(found) is warns
    assert all("GLASSBRIDGE_PUBLIC_URL" in line["action"] for line in found)
