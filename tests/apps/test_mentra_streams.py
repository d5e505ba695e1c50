"""Sounds that an app makes while they are heard, with SDK 3, which alone has them."""

import pytest

from tests.apps.mentra import Scene, a_scene, peer_command
from tests.support.poll import eventually

__all__ = ["peer_command"]


@pytest.mark.parametrize("peer_command", ["3.0.0-hono.8"], indirect=True)
async def test_what_the_app_writes_is_what_the_bridge_fetches_while_it_comes(peer_command: list[str]) -> None:
    async with a_scene(peer_command) as scene:
        await scene.move_to(0)
        await scene.is_heard(0)
        built, peer = scene.clouds[0], scene.peer
        await peer.does("open_stream")
        url = (await peer.done("open_stream", within=2.0))["result"]
        await eventually(lambda: len(built.player.requests) == 1 or "not asked to play")
        asked = built.player.requests[0]
        assert asked.audio_url == url
        assert asked.own_address, "the bridge may fetch it wherever it runs"
        async with built.http.get(url) as answer:
            assert answer.status == 200
            for piece in ("one", "two"):
                await peer.does("write_stream", piece)
                assert await answer.content.readexactly(3) == piece.encode()
            await peer.does("write_stream", "three")
            await peer.does("end_stream")
            assert await answer.content.read() == b"three"
        async with built.http.get(url) as again:
            assert await again.read() == b"onetwothree", "a bridge that begins anew finds the beginning"
        await _stops_with_its_app(scene)


async def _stops_with_its_app(scene: Scene) -> None:
    await scene.peer.does("open_stream")
    await eventually(lambda: len(scene.peer.told("done")) == 2 or "not opened")
    url = scene.peer.told("done")[-1]["result"]
    async with scene.clouds[0].http.get(url) as answer:
        assert scene.phone is not None
        await scene.phone.say(type="stop_app", packageName="com.example.test-app")
        assert await answer.read() == b""
