"""A sound that an app makes while it is heard: through a real cloud, bridge and phone, as fast as the app makes it.

What the phone says meanwhile comes bit for bit by the stand-in for LiveKit (by the real one: test_bit_exact.py).
"""

import asyncio
import json
import wave
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import av
import numpy as np
from aiohttp import web

from glassbridge.cloud.apps.registry import new_app, open_registry
from glassbridge.core.values import user_id
from glassbridge.lab.clips import wav
from glassbridge.lab.stack import Stack
from tests.scenarios.systems import config, recording, samples
from tests.support.patience import patient

SECONDS, PIECES = 4, 40
RATE = 24_000
ID = "a" * 36
PACKAGE = "com.example.sings"


def tone() -> bytes:
    """An MP3 file."""
    samples = (8_000 * np.sin(2 * np.pi * 440 * np.arange(RATE * SECONDS) / RATE)).astype(np.int16)
    file = BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


def loud_seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        rate = file.getframerate() // 10
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(float)
    blocks = samples[: len(samples) // rate * rate].reshape(-1, rate)
    return float((np.sqrt((blocks**2).mean(axis=1)) > 1_000).sum()) / 10


async def until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(patient(20.0)):
        async for message in socket:
            said: dict[str, Any] = json.loads(message.data)
            if said["type"] == kind:
                return said
    raise AssertionError(f"closed before {kind}")


async def test_it_is_heard_as_it_is_made(tmp_path: Path) -> None:
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def webhook(request: web.Request) -> web.Response:
        asked.put_nowait(await request.json())
        return web.json_response({"status": "success"})

    server = web.Application()
    server.router.add_post("/webhook", webhook)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    record, key = new_app(PACKAGE, f"http://127.0.0.1:{runner.addresses[0][1]}", "", ["all"])
    open_registry(tmp_path / "apps.toml").add(record)
    heard, data, options = tmp_path / "heard.wav", tone(), ("--app", PACKAGE, "--wav", str(wav()), "--audio", "pcm")
    try:
        async with (
            Stack(config(livekit="embedded", apps=tmp_path / "apps.toml", record=tmp_path / "recorded")) as stack,
            aiohttp.ClientSession() as http,
        ):
            phone = await stack.start_phone(user_id("me"), *options, "--hear", str(heard))
            async with asyncio.timeout(patient(30.0)):
                request = await asked.get()
            async with http.ws_connect(request["mentraOSWebsocketUrl"]) as socket:
                init = {"packageName": PACKAGE, "sessionId": request["sessionId"], "apiKey": key}
                await socket.send_json({"type": "tpa_connection_init", **init})
                await until(socket, "tpa_connection_ack")
                await socket.send_json({"type": "audio_stream_start", "packageName": PACKAGE, "streamId": ID})
                url = (await until(socket, "audio_stream_ready"))["streamUrl"]
                play = {"type": "audio_play_request", "packageName": PACKAGE, "requestId": "r", "audioUrl": url}
                await socket.send_json(play)
                step = len(data) // PIECES + 1
                for at in range(0, len(data), step):
                    await socket.send_bytes(ID.encode() + data[at : at + step])
                    await asyncio.sleep(SECONDS / PIECES)  # as fast as it is heard
                made = monotonic()
                await socket.send_json({"type": "audio_stream_end", "packageName": PACKAGE, "streamId": ID})
                result = await until(socket, "audio_play_response")
                behind = monotonic() - made
            async with asyncio.timeout(patient(40.0)):
                await phone.wait()
    finally:
        await runner.cleanup()
    assert result["success"] is True
    assert abs(result["duration"] - SECONDS * 1000) < 200
    assert behind < patient(SECONDS / 2), f"it was played {behind:.1f} s after it was made, not while"
    # what comes too late on a busy machine is concealed by more of the same
    assert SECONDS - 0.5 < loud_seconds(heard) < SECONDS + patient(0.5)
    assert recording(tmp_path / "recorded", user_id("me")) == samples(wav())
