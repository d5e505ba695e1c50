"""What an app plays goes on where it was when the worker that plays it dies."""

import asyncio
import os
import signal
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from aiohttp import web

from glassbridge.app import AppServer, Session
from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.core.values import UserId
from glassbridge.lab import clips
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.livekit.binary import find_binary
from glassbridge.livekit.server import free_port
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.support.livekit import KEYS
from tests.support.patience import soon
from tests.support.poll import eventually
from tests.support.sound import tone

PACKAGE = "org.example.player"
USER = UserId("listener@example.test")
SECONDS = 6.0


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A tone of SECONDS."""
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone(SECONDS))
    app = web.Application()
    app.router.add_static("/", tmp_path)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/tone.wav"
    await runner.cleanup()


class Player:
    """The app: one session, which plays when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "apps.toml"
        port = free_port()
        record, key = new_app(PACKAGE, f"http://127.0.0.1:{port}", "Player", ["MICROPHONE"])
        TomlRegistry(self.registry).add(record)
        self.server = AppServer(PACKAGE, key, port=port)
        self.server.on_session(self._begin)
        self.session: asyncio.Future[Session] = asyncio.get_running_loop().create_future()

    def _begin(self, session: Session) -> None:
        if not self.session.done():
            self.session.set_result(session)


async def worker_of(socket: Path) -> tuple[int, int]:
    """Process id, and how many playbacks it has."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stub = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        health = await stub.HealthCheck(pb.HealthCheckRequest(), timeout=10, wait_for_ready=True)
        return int(health.metadata["pid"]), int(health.metadata["playbacks"])


def heard_seconds(path: Path) -> float:
    """How much sound is in it."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    windows = samples[: len(samples) // 80 * 80].reshape(-1, 80)
    return float((np.sqrt((windows**2).mean(axis=1)) > 1000).sum() * 80 / 16_000)


@pytest.mark.slow
async def test_a_worker_that_dies_costs_a_sound_nothing_but_a_pause(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_binary(None) is None:
        pytest.skip("no livekit-server here: python -m tools.livekit_server")
    heard = tmp_path / "heard.wav"
    player = Player(tmp_path)
    host = url.removeprefix("http://").partition("/")[0]
    config = StackConfig(livekit="real", keys=KEYS, jwt_secret="s" * 32, apps=player.registry)
    monkeypatch.setenv("GLASSBRIDGE_ALLOW_HOST", host)
    async with player.server, Stack(config) as stack:
        options = ("--wav", str(clips.wav()), "--loop", "--app", PACKAGE, "--hear", str(heard), "--control")
        phone = await stack.start_phone(USER, *options)
        session = await soon(player.session, 60)
        await eventually(
            lambda: any(e["state"] == "live" for e in phone.events("audio_state")) or "no audio", within=60
        )
        playing = asyncio.create_task(session.play(url))
        await eventually(lambda: bool(phone.events("heard")) or "the phone hears nothing", within=30)
        pid, playbacks = await worker_of(stack.bridge_socket)
        assert playbacks == 1
        os.kill(pid, signal.SIGKILL)
        played = await soon(playing, 60)
        assert played.duration_ms == SECONDS * 1000
        successor, _ = await worker_of(stack.bridge_socket)
        assert successor != pid
        phone.tell("quit")
        await phone.wait()
    seconds = heard_seconds(heard)
    assert SECONDS - 1.0 <= seconds <= SECONDS + 1.0, f"{seconds:.2f} s of {SECONDS:g} were heard"
    print(f"{seconds:.2f} s of {SECONDS:g} s were heard")
