"""`glassbridge bench apps`: what apps get of a user's speech, and what apps that do not read cost those that do.

A real cloud in a process of its own, a phone that speaks on its WebSocket, apps on theirs; no bridge. Its recogniser is
the double of Soniox in this process, which understands by the offline one: so the moment is known at which the
recogniser knew, in the same run and of the same audio.
"""

import asyncio
import json
import struct
import tempfile
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, monotonic_ns
from typing import Any

import aiohttp
from aiohttp import web

from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import BYTES_PER_MS, user_id
from glassbridge.lab import clips
from glassbridge.lab.program import Program
from glassbridge.livekit.server import free_port
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.providers import ProviderConfig, make_recogniser
from glassbridge.speech.soniox_double import SonioxDouble
from glassbridge.speech.soniox_protocol import Token
from glassbridge.speech.soniox_tokens import TokenUtterances

USER = user_id("bench@example.com")
SECRET = "a-secret-of-the-benchmark-0123456789"  # noqa: S105 - of a cloud that lives for a minute
FRAME_MS = 100
TAIL_MS = 1_200
"""Silence after each clip, so that its last sentence ends."""
START_TIMEOUT = 20.0
_STAMP = struct.Struct("<8sQ")
_MARK = b"glassben"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppsBench:
    """How much is measured."""

    recogniser: str = "offline"
    """Or `script`, which needs no CPU; for machines that are busy with other things."""
    clip: str = "clip"
    rounds: int = 3
    apps: int = 50
    deaf: int = 10
    seconds: float = 10.0


@dataclass
class AppSocket:
    """An app; one that is deaf never reads."""

    socket: aiohttp.ClientWebSocketResponse
    pcm: bytearray = field(default_factory=bytearray)
    finals: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    partials: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)

    async def next(self) -> dict[str, Any]:
        """The next text; pings between are left unanswered. Raises TypeError when the cloud closes instead."""
        while (message := await self.socket.receive(START_TIMEOUT)).type is aiohttp.WSMsgType.PING:
            pass
        return dict(json.loads(message.data))

    async def read(self) -> None:
        """Until the socket is closed."""
        async for message in self.socket:
            now = monotonic()
            if message.type is aiohttp.WSMsgType.BINARY:
                self.pcm += message.data
                if len(message.data) >= _STAMP.size:
                    mark, sent_ns = _STAMP.unpack_from(message.data)
                    if mark == _MARK:
                        self.delays_ms.append((monotonic_ns() - sent_ns) / 1e6)
            elif message.type is aiohttp.WSMsgType.TEXT:
                told = json.loads(message.data)
                if str(told.get("streamType")).startswith("transcription"):
                    (self.finals if told["data"]["isFinal"] else self.partials).append((now, told["data"]))

    async def say(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json({"type": kind, **fields})


class Bench:
    """A cloud, a phone and their apps; use `benches()`."""

    def __init__(self, url: str, http: aiohttp.ClientSession, keys: dict[str, str], tasks: TaskGroup) -> None:
        self._url = url
        self._http = http
        self._keys = keys
        self._tasks = tasks
        self.phone: aiohttp.ClientWebSocketResponse | None = None

    async def connect_phone(self) -> None:
        """The user is there."""
        headers = {"Authorization": f"Bearer {mint_core_token(USER, SECRET, 3600.0)}"}
        self.phone = await self._http.ws_connect(f"{self._url}/glasses-ws", headers=headers, max_msg_size=0)
        self._tasks.spawn(self._drain(self.phone), "phone")

    async def _drain(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "ping":
                await socket.send_json({"type": "pong"})

    async def send(self, frame: bytes) -> None:
        """A frame of microphone audio."""
        assert self.phone is not None
        await self.phone.send_bytes(frame)

    async def app(self, package: str, subscriptions: list[str], *, reads: bool = True) -> AppSocket:
        """An app that runs and is subscribed."""
        assert self.phone is not None
        await self.phone.send_json({"type": "start_app", "packageName": package})
        socket = await self._http.ws_connect(f"{self._url}/app-ws", max_msg_size=0, autoping=reads)
        app = AppSocket(socket)
        session = f"{USER}-{package}"
        await app.say("tpa_connection_init", packageName=package, sessionId=session, apiKey=self._keys[package])
        first = await app.next()
        if first["type"] != "tpa_connection_ack":
            raise UserError(f"an app was not let in: {first}", 1)
        await app.say("subscription_update", packageName=package, subscriptions=subscriptions, requestId="1")
        while (await app.next())["type"] != "subscription_ack":
            pass
        if reads:
            self._tasks.spawn(app.read(), package)
        return app


@asynccontextmanager
async def benches(packages: list[str], say: Callable[[str], None], soniox: str | None = None) -> AsyncIterator[Bench]:
    """Starts a cloud that knows these apps; `soniox` is where its recogniser is. Raises
    UserError."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-bench-")))
        server = web.AppRunner(_webhooks(), access_log=None)
        await server.setup()
        stack.push_async_callback(server.cleanup)
        await web.TCPSite(server, "127.0.0.1", 0).start()
        registry, keys = TomlRegistry(folder / "apps.toml"), {}
        for package in packages:
            record, keys[package] = new_app(package, f"http://127.0.0.1:{server.addresses[0][1]}", "", ["MICROPHONE"])
            registry.add(record)
        port = free_port()
        env = {
            "AUGMENTOS_AUTH_JWT_SECRET": SECRET,
            "GLASSBRIDGE_LOG_LEVEL": "warning",
            "GLASSBRIDGE_RECOGNISER": "soniox" if soniox else "offline",
            "SONIOX_API_KEY": "of-the-double",
            "SONIOX_ENDPOINT": soniox or "",
            "GLASSBRIDGE_STANDBY": "none",
            "LIVEKIT_GRPC_BRIDGE_URL": f"127.0.0.1:{free_port()}",
            "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}",
        }
        cloud = Program("cloud", ("cloud", "--port", str(port), "--apps", str(folder / "apps.toml")), env)
        stack.push_async_callback(cloud.stop, 5.0)
        say("starting a cloud")
        await cloud.start()
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await _until_up(http, f"http://127.0.0.1:{port}/livez", cloud)
        tasks = TaskGroup("bench")
        stack.push_async_callback(tasks.close)
        bench = Bench(f"http://127.0.0.1:{port}", http, keys, tasks)
        await bench.connect_phone()
        yield bench


def _webhooks() -> web.Application:
    async def accept(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhook", accept)
    return app


async def _until_up(http: aiohttp.ClientSession, url: str, cloud: Program) -> None:
    deadline = monotonic() + START_TIMEOUT
    while monotonic() < deadline and cloud.running:
        try:
            async with http.get(url, timeout=aiohttp.ClientTimeout(total=1.0)) as answer:
                if answer.status == 200:
                    return
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.1)
    raise UserError(f"the cloud does not start: {cloud.last_words}", 1)


# ---- transcripts, beside the recogniser that gives them


@dataclass
class Own:
    """What the recogniser understands, when it does."""

    finals: list[tuple[float, Transcript]] = field(default_factory=list)
    partials: list[tuple[float, Transcript]] = field(default_factory=list)
    _utterances: TokenUtterances = field(default_factory=lambda: TokenUtterances(Want("en")))

    def heard(self, tokens: list[Token]) -> None:
        """Of the double, at the moment at which it knows."""
        for said in self._utterances.take(tokens):
            (self.finals if said.final else self.partials).append((monotonic(), said))


async def transcripts(config: AppsBench, say: Callable[[str], None]) -> dict[str, Any]:
    """Delay of finals, at the recogniser itself and at an app."""
    with wave.open(str(clips.wav(config.clip))) as file:
        sound = file.readframes(file.getnframes()) + bytes(TAIL_MS * BYTES_PER_MS)
    package, own = "org.example.bench", Own()
    async with AsyncExitStack() as stack:
        behind = None
        if config.recogniser == "offline":
            behind = make_recogniser("offline", ProviderConfig(streams=1))
            stack.push_async_callback(behind.close)
            behind.warm_up()
        double = await stack.enter_async_context(SonioxDouble(recogniser=behind, on_tokens=own.heard))
        bench = await stack.enter_async_context(benches([package], say, double.url))
        app = await bench.app(package, ["transcription:en-US", "audio_chunk"])
        sent_at: list[float] = []
        frames = list(_frames(sound)) * config.rounds
        begun = asyncio.get_running_loop().time()
        for number, frame in enumerate(frames):
            if number % 50 == 0:
                say(f"speaking: {number * FRAME_MS // 1000} of {len(frames) * FRAME_MS // 1000} s")
            await asyncio.sleep(max(0.0, begun + number * FRAME_MS / 1000 - asyncio.get_running_loop().time()))
            sent_at.append(monotonic())
            await bench.send(frame)
        spoken = b"".join(frames)
        await _settled(
            lambda: (
                len(app.finals) >= len(own.finals) > 0
                and len(app.partials) >= len(own.partials)
                and len(app.pcm) >= len(spoken)
            )
        )
        finals, partials = list(own.finals), list(own.partials)  # more may come while all this ends

    def sent(ms: int) -> float:
        return sent_at[min(max(0, ms - 1) // FRAME_MS, len(sent_at) - 1)]

    pairs = [
        (at - sent(known.end_ms), own_at - sent(known.end_ms), at - sent(known.start_ms), own_at - sent(known.start_ms))
        for (at, told), (own_at, known) in zip(app.finals, finals, strict=False)
        if told["text"] == known.text
    ]
    if not pairs:
        raise UserError("the app got no transcript that the recogniser gave: see the log of the cloud", 1)
    first = [(at, own_at) for (at, _), (own_at, _) in zip(app.partials, partials, strict=False)]
    return {
        "finals": len(pairs),
        "missing": len(finals) - len(pairs),
        "after_the_last_sample_ms": _both([(told, known) for told, known, _, _ in pairs]),
        "from_the_first_sample_ms": _both([(told, known) for _, _, told, known in pairs]),
        "partials": {"app": len(app.partials), "recogniser": len(partials),
                     "later_ms_p50": round(1000 * median(at - known for at, known in first), 1) if first else None},
        "raw_pcm_bit_exact": bytes(app.pcm) == spoken,
        "raw_pcm_bytes": len(app.pcm),
    }  # fmt: skip


def _frames(sound: bytes) -> list[bytes]:
    size = FRAME_MS * BYTES_PER_MS
    return [sound[at : at + size] for at in range(0, len(sound) - size + 1, size)]


def _both(pairs: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "app_p50": round(1000 * median(ours for ours, _ in pairs), 1),
        "recogniser_p50": round(1000 * median(own for _, own in pairs), 1),
        "ratio_p50": round(median(ours / own for ours, own in pairs), 3),
        "ratio_worst": round(max(ours / own for ours, own in pairs), 3),
        "later_p50": round(1000 * median(ours - own for ours, own in pairs), 1),
        "later_worst": round(1000 * max(ours - own for ours, own in pairs), 1),
    }


async def _settled(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 10.0
    while not condition() and monotonic() < deadline:  # noqa: ASYNC110 - lists do not tell that they have grown
        await asyncio.sleep(0.05)


# ---- a crowd


async def crowd(config: AppsBench, say: Callable[[str], None]) -> dict[str, Any]:
    """Delay of microphone audio at the apps that read: first among themselves, then with those that do not."""
    packages = [f"org.example.bench-{number}" for number in range(config.apps)]
    readers = config.apps - config.deaf
    async with benches(packages, say) as bench:
        apps = [await bench.app(package, ["audio_chunk"]) for package in packages[:readers]]
        say(f"{readers} apps that read")
        alone = await _delays(bench, apps, config.seconds)
        for package in packages[readers:]:
            await bench.app(package, ["audio_chunk"], reads=False)
        say(f"and {config.deaf} that do not")
        together = await _delays(bench, apps, config.seconds)
    return {"readers": readers, "deaf": config.deaf, "alone_ms": alone, "with_deaf_ms": together}


async def _delays(bench: Bench, apps: list[AppSocket], seconds: float) -> dict[str, float]:
    """Frames are large, so that those who do not read have full buffers soon."""
    for app in apps:
        app.delays_ms.clear()
    frames = round(seconds * 1000 / FRAME_MS)
    begun = asyncio.get_running_loop().time()
    for number in range(frames):
        await asyncio.sleep(max(0.0, begun + number * FRAME_MS / 1000 - asyncio.get_running_loop().time()))
        await bench.send(_STAMP.pack(_MARK, monotonic_ns()) + bytes(12 * 3_200 - _STAMP.size))
    await _settled(lambda: all(len(app.delays_ms) >= frames for app in apps))
    delays = [delay for app in apps for delay in app.delays_ms]
    cut = quantiles(delays, n=100)
    return {
        "p50": round(median(delays), 2), "p99": round(cut[98], 2), "max": round(max(delays), 2),
        "lost": frames * len(apps) - len(delays),
    }  # fmt: skip


async def measure(config: AppsBench, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole report. Takes a minute and a half. Raises UserError."""
    return {"transcripts": await transcripts(config, say), "crowd": await crowd(config, say)}


def table(report: dict[str, Any]) -> str:
    """For people."""
    said, crowd_ = report["transcripts"], report["crowd"]
    after, whole = said["after_the_last_sample_ms"], said["from_the_first_sample_ms"]
    alone, together, readers = crowd_["alone_ms"], crowd_["with_deaf_ms"], crowd_["readers"]
    rows = [
        f"final transcripts at an app, beside the recogniser itself on the same audio ({said['finals']} finals)",
        f"  from the utterance's first sample   app {whole['app_p50']} ms, recogniser {whole['recogniser_p50']} ms: "
        f"ratio {whole['ratio_p50']} (worst {whole['ratio_worst']}; must be <= 1.2)",
        f"  after its last sample               app {after['app_p50']} ms, recogniser {after['recogniser_p50']} ms: "
        f"{after['later_p50']} ms later (worst {after['later_worst']})",
        f"  partials                            app {said['partials']['app']}, "
        f"recogniser {said['partials']['recogniser']}; {said['partials']['later_ms_p50']} ms later",
        f"  raw PCM bit-exact                   {'yes' if said['raw_pcm_bit_exact'] else 'NO'} "
        f"({said['raw_pcm_bytes']} bytes)",
        f"microphone audio at {readers} apps of one user that read (p50 / p99 / max ms)",
        f"  among themselves                    {alone['p50']} / {alone['p99']} / {alone['max']}",
        f"  with {crowd_['deaf']} more that do not read       "
        f"{together['p50']} / {together['p99']} / {together['max']}; "
        f"lost {together['lost']}",
    ]
    return "\n".join(rows)
