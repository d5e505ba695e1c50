"""An app whose machine goes without a word, while its user speaks: the cloud finds it within 6 s, and asks for it."""

import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.app_times import LOOK_EVERY, LOOKS
from glassbridge.core.values import UserId
from tests.support.machines import Machine, two_machines
from tests.support.poll import eventually
from tests.support.process import Program

SECRET = "a-core-token-secret-of-the-scenarios-0123"
PACKAGE = "com.example.unseen"
FOUND_WITHIN = (LOOKS + 1) * LOOK_EVERY
APP = """
import asyncio, json, sys
from aiohttp import ClientSession, WSMsgType, web

async def listen(asked):
    async with ClientSession() as http, http.ws_connect(asked["mentraOSWebsocketUrl"]) as socket:
        said = {"packageName": sys.argv[1], "sessionId": asked["sessionId"]}
        await socket.send_json({"type": "tpa_connection_init", "apiKey": sys.argv[2]} | said)
        await socket.send_json({"type": "subscription_update", "subscriptions": ["transcription:en-US"]} | said)
        async for message in socket:
            told = json.loads(message.data)
            if told["type"] == "data_stream":
                print(f"@heard {told['data'].get('text')}", flush=True)

async def asked(request):
    listening.add(asyncio.create_task(listen(await request.json())))
    return web.json_response({})

listening = set()
app = web.Application()
app.router.add_post("/webhook", asked)
web.run_app(app, host=sys.argv[3], port=7010, print=lambda _: print("@ready", flush=True))
"""
PHONE = """
import asyncio, itertools, sys
from aiohttp import ClientSession

async def main():
    async with ClientSession() as http, http.ws_connect(sys.argv[1]) as socket:
        await socket.send_json({"type": "start_app", "packageName": sys.argv[2]})
        for number in itertools.count(1):
            said = {"type": "local_transcription", "text": str(number), "isFinal": True, "transcribeLanguage": "en-US"}
            await socket.send_json(said)
            await asyncio.sleep(0.5)

asyncio.run(main())
"""

pytestmark = pytest.mark.slow


async def test_an_app_that_dies_unseen_is_found_and_comes_back(tmp_path: Path) -> None:
    async with two_machines() as (near, far), AsyncExitStack() as clean:
        env = {"AUGMENTOS_AUTH_JWT_SECRET": SECRET}

        def ours(machine: Machine, *argv: str) -> Program:
            return machine.runs(sys.executable, *argv, env=os.environ | env)

        registry, url = str(tmp_path / "apps.toml"), f"http://{far.address}:7010"
        add = ("-m", "glassbridge", "apps", "add", PACKAGE, "--url", url, "--permission", "microphone")
        async with ours(near, *add, "--registry", registry) as adding:
            assert await adding.ends() == 0
            key = adding.out[-1]
        app = await clean.enter_async_context(ours(far, "-c", APP, PACKAGE, key, far.address))
        await app.says("@ready")
        serve = ("-m", "glassbridge", "cloud", "--host", near.address, "--development", "--log-format", "json")
        cloud = await clean.enter_async_context(ours(near, *serve, "--apps", registry))
        await cloud.says("cloud listens")
        token = mint_core_token(UserId("me"), SECRET, 600)
        phone = ours(near, "-c", PHONE, f"http://{near.address}:8002/glasses-ws?token={token}", PACKAGE)
        await clean.enter_async_context(phone)
        await app.says("@heard")

        await near.cable("down")
        cut = monotonic()
        line = await cloud.says("app unreachable", within=3 * FOUND_WITHIN)
        found = monotonic() - cut
        print(f"found after {found:.1f} s: {json.loads(line)['reason']}")
        assert found < FOUND_WITHIN + 1.0
        await near.cable("up")
        heard, again = len(app.out), monotonic()
        await eventually(lambda: len(app.out) > heard or "deaf", 20.0)
        print(f"heard again {monotonic() - again:.1f} s after the network was back")
