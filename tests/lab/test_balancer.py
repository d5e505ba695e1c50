"""The balancer of the lab: any cloud that takes a connection gets some."""

import shutil
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from glassbridge.lab import balancer
from glassbridge.lab.balancer import Balancer
from glassbridge.livekit.server import free_port
from tests.support.poll import eventually


async def cloud(stack: AsyncExitStack, name: str) -> int:
    app = web.Application()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=name)

    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


@pytest.mark.parametrize("kind", ["haproxy", "plain"])
async def test_each_cloud_that_is_there_gets_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "plain":
        monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    elif shutil.which("haproxy", path=balancer.PLACES) is None and shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    said: list[str] = []
    async with AsyncExitStack() as stack:
        ports = [await cloud(stack, name) for name in ("A", "B")] + [free_port()]
        front = await stack.enter_async_context(Balancer(tmp_path, ports, said.append))
        heard: Counter[str] = Counter()

        async def both() -> bool | str:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://127.0.0.1:{front.port}/", headers={"Connection": "close"}) as answer,
            ):
                if answer.status == 200:
                    heard[await answer.text()] += 1
            return heard.keys() == {"A", "B"} or str(heard)

        await eventually(both, 20)
    assert [line for line in said if "NO HAPROXY HERE" in line] == (said if kind == "plain" else [])
    assert bool(said) == (kind == "plain")
