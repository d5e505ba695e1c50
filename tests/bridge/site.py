"""Sounds, a site that serves them over HTTP, and what is asked of a bridge about them."""

import asyncio
import math
import wave
from collections.abc import AsyncIterator
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import grpc
import numpy as np
import pytest
from aiohttp import web

from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.bridge.conftest import USER

Event = pb.PlayAudioEvent


def tone(seconds: float, rate: int, channels: int = 1, hz: float = 440.0) -> "np.ndarray[Any, np.dtype[np.int16]]":
    at = np.arange(int(seconds * rate)) / rate
    one = np.rint(12000 * np.sin(2 * math.pi * hz * at)).astype(np.int16)
    return np.repeat(one[:, None], channels, axis=1)


def wav(seconds: float, rate: int = 16000, channels: int = 1) -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone(seconds, rate, channels).tobytes())
    return out.getvalue()


def encoded(kind: str, codec: str, seconds: float, rate: int, channels: int, silent: bool = False) -> bytes:
    out = BytesIO()
    layout = "stereo" if channels == 2 else "mono"
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        samples = np.zeros((int(seconds * rate), channels), np.int16) if silent else tone(seconds, rate, channels)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = 0
        for packet in stream.encode(frame):
            container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return out.getvalue()


class Site:
    """Serves what a test puts into it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.port = 0
        self.closing = asyncio.Event()

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{name}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name == "loop":
            raise web.HTTPFound("/loop")
        if name == "inward":
            raise web.HTTPFound(self.url("clip", host="localhost"))
        if name == "silent":
            await self.closing.wait()
        if name == "slow":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(self.files["clip"][:32000])
            await self.closing.wait()
            return response
        if name not in self.files:
            raise web.HTTPNotFound
        return web.Response(body=self.files[name])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/{name}", site.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0)
    await tcp.start()
    site.port = runner.addresses[0][1]
    yield site
    site.closing.set()
    await runner.cleanup()


def request(url: str, request_id: str = "r1", **fields: Any) -> pb.PlayAudioRequest:
    made = pb.PlayAudioRequest(request_id=request_id, audio_url=url, user_id=USER, volume=1.0)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


async def events_of(call: Any) -> list[Any]:
    found = []
    while (event := await call.read()) is not grpc.aio.EOF:
        found.append(event)
    return found


def kinds(events: list[Any]) -> list[str]:
    return [Event.EventType.Name(event.type) for event in events]


def pitch(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, np.int16).astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * 16000 / len(samples)
