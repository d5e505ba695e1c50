"""`glassbridge bench speaker`: how soon, how whole and how stoppable a phone hears what is played, beside its floor.

One run measures, with one phone (our participant) on one livekit-server: our bridge as a real process that fetches a
tone by HTTP and plays it; and the floor, a bare participant of the official SDK that publishes the same PCM.
"""

import asyncio
import tempfile
import wave
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any, Final

import grpc
import numpy as np
from aiohttp import web

from glassbridge.bridge.playback import PREPARED
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.lab.bench_path import JOIN_TIMEOUT, TOKEN_TTL, Spread
from glassbridge.lab.program import Program
from glassbridge.livekit.binary import provide_binary
from glassbridge.livekit.own import connect
from glassbridge.livekit.pace import Pace
from glassbridge.livekit.participant import FRAME_BYTES, AudioBlock, Closed, Packet, RemoteParticipant
from glassbridge.livekit.server import LiveKitServer
from glassbridge.livekit.tokens import LiveKitKeys, agent_token, phone_token
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

TONE_SECONDS: Final = 10.0
TONE_HZ, OTHER_HZ = 440.0, 1000.0
OTHER_SECONDS, OTHER_AFTER = 4.0, 3.0
LOUD: Final = 1_000
"""A sample above this is sound."""
LOOK: Final = 0.01
PAUSE: Final = 2.6
"""Seconds between two sounds: by then an idle track is taken out of the room."""
HEARD_WITHIN: Final = 10.0
CATCH_UP: Final = 0.1
STOP_TIMEOUT: Final = 3.0
MUST_FIRST, MUST_LENGTH, MUST_GAP_MS, MUST_STOP_MS = 1.5, 0.01, 40.0, 100.0


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """How to measure."""

    runs: int = 10
    """First sounds of each side."""
    participant: str = "own"
    livekit_bin: Path | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """How a tone of TONE_SECONDS arrived."""

    seconds: float
    """From its first sound to its last."""
    gap_ms: float
    """The longest hole in it: no sound arrived though this process looked for it, or silence did."""
    late_ms: float
    """The most that this process itself was late meanwhile."""


class Lateness:
    """How late this process itself is, because the machine is busy: what arrives meanwhile is heard late."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        """When (monotonic), and how many seconds."""

    async def watch(self) -> None:
        """Looks each LOOK seconds, for ever. Safe to cancel."""
        while True:
            due = monotonic() + LOOK
            await asyncio.sleep(LOOK)
            if (late := monotonic() - due) > LOOK:
                self._late.append((due + late, late))

    def between(self, begin: float, end: float) -> float:
        """The most between two moments, in seconds."""
        return max((late for at, late in self._late if begin <= at and at - late <= end), default=0.0)


class PhoneEars:
    """Hears the room (RoomEvents) and keeps what it hears."""

    def __init__(self) -> None:
        self.lateness = Lateness()
        self.blocks: list[tuple[float, str, bytes]] = []
        """Arrival (monotonic seconds), track, PCM."""
        self.sounded = asyncio.Event()
        self.first_at = self.last_at = 0.0
        """Arrival of the first and the last block with sound since forget()."""

    def forget(self) -> None:
        """What was heard so far."""
        self.blocks.clear()
        self.sounded.clear()

    def on_packet(self, packet: Packet) -> None: ...

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None: ...

    def on_closed(self, closed: Closed) -> None: ...

    def on_audio(self, block: AudioBlock) -> None:
        now = monotonic()
        self.blocks.append((now, block.track_sid, block.pcm))
        if np.abs(np.frombuffer(block.pcm, "<i2").astype(np.int32)).max(initial=0) > LOUD:
            if not self.sounded.is_set():
                self.first_at = now
                self.sounded.set()
            self.last_at = now

    async def first_sound(self) -> float:
        """When it arrived. Raises TimeoutError."""
        async with asyncio.timeout(HEARD_WITHIN):
            await self.sounded.wait()
        return self.first_at

    def whole(self, hertz: float) -> Whole:
        """The track on which this tone was heard. Raises RuntimeError where it was not."""
        for sid in dict.fromkeys(sid for _, sid, _ in self.blocks):
            arrivals = [(at, pcm) for at, of, pcm in self.blocks if of == sid]
            found = _whole(arrivals, hertz, self.lateness.between)
            if found is not None:
                return found
        raise RuntimeError(f"a tone of {hertz:g} Hz was not heard")


def _whole(arrivals: list[tuple[float, bytes]], hertz: float, late: Callable[[float, float], float]) -> Whole | None:
    """None: that is another tone. For what `late` says between two arrivals nobody but we is to blame."""
    samples = np.frombuffer(b"".join(pcm for _, pcm in arrivals), "<i2").astype(np.float64)
    window = SAMPLE_RATE // 200
    peaks = np.abs(samples[: len(samples) // window * window]).reshape(-1, window).max(axis=1)
    loud = np.flatnonzero(peaks > LOUD)
    if not len(loud) or abs(_pitch(samples[loud[0] * window : (loud[-1] + 1) * window]) - hertz) > 20:
        return None
    silent = int(np.diff(loud).max(initial=1)) - 1
    sounding = [at for at, pcm in arrivals if np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max() > LOUD]
    lengths = [len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE for at, pcm in arrivals if at in set(sounding)]
    holes = [
        later - at - length - late(at, later)
        for at, later, length in zip(sounding, sounding[1:], lengths[1:], strict=False)
    ]
    seconds = (loud[-1] - loud[0] + 1) * window / SAMPLE_RATE
    gap = max(silent * 5.0, 1000 * max(holes, default=0.0))
    return Whole(round(float(seconds), 3), round(gap, 1), round(1000 * late(sounding[0], sounding[-1])))


def _pitch(samples: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE / len(samples)


def tone(seconds: float, hertz: float) -> bytes:
    """PCM."""
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pcm: bytes = np.rint(12_000 * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes()
    return pcm


async def measure(config: SpeakerConfig, say: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
    """Runs it and returns the report as plain data. Raises UserError when no livekit-server can be had. Safe to
    cancel: every process ends."""
    user = UserId("bench@example.test")
    async with AsyncExitStack() as stack:
        keys = LiveKitKeys("benchkey", "bench-only-secret-of-at-least-32-chars")
        say("starting livekit-server, bridge and phone")
        server = await stack.enter_async_context(LiveKitServer(await provide_binary(config.livekit_bin, say), keys))
        phone = PhoneEars()
        ticket = phone_token(keys, user=user, room=user, ttl=TOKEN_TTL)
        watching = asyncio.create_task(phone.lateness.watch())
        stack.push_async_callback(cancelled, watching)
        place = await connect(server.url, ticket, phone)
        stack.push_async_callback(place.close)
        agent = agent_token(keys, user=user, room=user, ttl=TOKEN_TTL)
        ours = await stack.enter_async_context(_bridge(config, user, server.url, agent))
        say(f"measuring our bridge: {config.runs} first sounds, then three tones of {TONE_SECONDS:.0f} s")
        report = await _measure_ours(config, phone, ours)
        await ours.leave()
        say("measuring the floor: a bare participant of the official SDK")
        report["floor"] = await _measure_floor(config, phone, server.url, agent)
    first, floor = report["ours"]["first_sound_ms"], report["floor"]["first_sound_ms"]
    report["ratio"] = round(first["p50"] / floor["p50"], 2)
    report["config"] = {"runs": config.runs, "participant": config.participant}
    report["holds"] = holds(report)
    return report


# ---- ours


class Ours:
    """The bridge, and what it plays."""

    def __init__(self, stub: Any, user: UserId, urls: Mapping[float, str]) -> None:
        self._stub = stub
        self._user = user
        self._urls = urls

    def play(self, hertz: float, track: int = 0) -> Any:
        """The call, on which events come."""
        request = pb.PlayAudioRequest(
            request_id=f"tone-{hertz:g}", audio_url=self._urls[hertz], volume=1.0, user_id=self._user, track_id=track
        )
        return self._stub.PlayAudio(request)

    async def stop(self) -> None:
        """Everything."""
        await self._stub.StopAudio(pb.StopAudioRequest(user_id=self._user), timeout=STOP_TIMEOUT)

    async def leave(self) -> None:
        """The room."""
        await self._stub.LeaveRoom(pb.LeaveRoomRequest(user_id=self._user), timeout=STOP_TIMEOUT)


@asynccontextmanager
async def _bridge(config: SpeakerConfig, user: UserId, livekit: str, token: str) -> AsyncIterator[Ours]:
    """In the room, with a stream that holds the place."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-bench-")))
        urls = await stack.enter_async_context(_site())
        socket = folder / "bridge.sock"
        bridge = Program(
            "bridge",
            ("bridge", "--socket", str(socket), "--participant", config.participant, "--allow-host", "127.0.0.1"),
            {},
        )
        await bridge.start()
        stack.push_async_callback(bridge.stop, 3.0)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS))
        stub: Any = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        await stub.HealthCheck(pb.HealthCheckRequest(), timeout=JOIN_TIMEOUT, wait_for_ready=True)
        join = pb.JoinRoomRequest(user_id=user, room_name=user, token=token, livekit_url=livekit)
        answer = await stub.JoinRoom(join, timeout=JOIN_TIMEOUT)
        if not answer.success:
            raise RuntimeError(f"JoinRoom: {answer.error}")
        stream = stub.StreamAudio()
        await stream.write(pb.AudioChunk(user_id=user))
        stack.callback(stream.cancel)
        yield Ours(stub, user, urls)


@asynccontextmanager
async def _site() -> AsyncIterator[dict[float, str]]:
    """Serves the tones as WAV; gives their URLs by pitch."""
    files = {hertz: _wav(tone(seconds, hertz)) for hertz, seconds in _TONES.items()}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=files[float(request.match_info["hertz"])], content_type="audio/wav")

    app = web.Application()
    app.router.add_get("/{hertz}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield {hertz: f"http://127.0.0.1:{runner.addresses[0][1]}/{hertz}" for hertz in files}
    finally:
        await runner.cleanup()


def _wav(pcm: bytes) -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(BYTES_PER_SAMPLE)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm)
    return out.getvalue()


async def _measure_ours(config: SpeakerConfig, phone: PhoneEars, ours: Ours) -> dict[str, Any]:
    first, prepared, stops = [], [], []
    for _ in range(config.runs):
        phone.forget()
        asked = monotonic()
        call = ours.play(TONE_HZ)
        event = await call.read()
        heard = await phone.first_sound()
        prepared.append(float(event.metadata[PREPARED]))
        first.append(1000 * (heard - asked) - prepared[-1])
        stopped = monotonic()
        await ours.stop()
        await asyncio.sleep(PAUSE)
        stops.append(1000 * max(0.0, phone.last_at - stopped))
    tones = {
        "before": await _play_whole(phone, ours, beside=False),
        "during": await _play_whole(phone, ours, beside=True),
        "after": await _play_whole(phone, ours, beside=False),
    }
    return {
        "ours": {
            "first_sound_ms": _spread(first),
            "prepared_ms": _spread(prepared),
            "stop_to_silence_ms": _spread(stops),
            "tone": tones,
        }
    }


async def _play_whole(phone: PhoneEars, ours: Ours, *, beside: bool) -> dict[str, float]:
    """Plays the tone, with another on another track beside it or not."""
    phone.forget()
    call = ours.play(TONE_HZ)
    others: Any = None
    if beside:
        await phone.first_sound()
        await asyncio.sleep(OTHER_AFTER)
        others = ours.play(OTHER_HZ, track=1)
    event = None
    async for event in call:  # noqa: B007 - the last one counts
        pass
    if others is not None:
        async for _ in others:
            pass
        phone.whole(OTHER_HZ)
    if event is None or event.type != pb.PlayAudioEvent.COMPLETED:
        raise RuntimeError(f"the tone was not played: {event.error if event is not None else 'no word'}")
    return asdict(phone.whole(TONE_HZ))


# ---- the floor


async def _measure_floor(config: SpeakerConfig, phone: PhoneEars, livekit: str, token: str) -> dict[str, Any]:
    from livekit import rtc

    from glassbridge.livekit.sdk_native import quieten

    quieten()
    room = rtc.Room()
    await room.connect(livekit, token, rtc.RoomOptions(auto_subscribe=False))
    first = []
    pcm = tone(HEARD_WITHIN, TONE_HZ)
    try:
        for _ in range(config.runs):
            phone.forget()
            asked = monotonic()
            source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=0)
            track = rtc.LocalAudioTrack.create_audio_track("tone", source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            publication = await room.local_participant.publish_track(track, options)
            speaking = asyncio.create_task(_speak(source, pcm))
            first.append(1000 * (await phone.first_sound() - asked))
            speaking.cancel()
            await asyncio.wait([speaking])
            await room.local_participant.unpublish_track(publication.sid)
            await source.aclose()
            await asyncio.sleep(PAUSE)
    finally:
        await room.disconnect()
    return {"first_sound_ms": _spread(first)}


async def _speak(source: Any, pcm: bytes) -> None:
    """In real time: without a queue, which would be latency, the source takes 10 ms at a time."""
    from livekit import rtc

    size, pace = FRAME_BYTES // 2, Pace(CATCH_UP)
    for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
        pace.begin()
        for half in (at, at + size):
            await source.capture_frame(
                rtc.AudioFrame(pcm[half : half + size], SAMPLE_RATE, 1, size // BYTES_PER_SAMPLE)
            )
        await pace.due()


# ---- the report

_TONES: Final = {TONE_HZ: TONE_SECONDS, OTHER_HZ: OTHER_SECONDS}


def _spread(values: list[float]) -> dict[str, float]:
    found = Spread.of(values)
    assert found is not None, "at least one run was made"
    return asdict(found)


def holds(report: dict[str, Any]) -> dict[str, bool]:
    """What must hold, and whether it does."""
    tones = report["ours"]["tone"].values()
    return {
        "first sound within 1.5x of the floor": report["ratio"] <= MUST_FIRST,
        "10 s arrive within 1 %": all(
            abs(found["seconds"] - TONE_SECONDS) <= MUST_LENGTH * TONE_SECONDS for found in tones
        ),
        "no gap over 40 ms": all(found["gap_ms"] <= MUST_GAP_MS for found in tones),
        "silent within 100 ms of a stop": report["ours"]["stop_to_silence_ms"]["p50"] <= MUST_STOP_MS,
    }


def table(report: dict[str, Any]) -> str:
    """The report as people read it."""
    ours, floor = report["ours"], report["floor"]

    def spread(value: dict[str, float]) -> str:
        return f"{value['p50']:.0f} / {value['p95']:.0f} / {value['max']:.0f}"

    lines = [
        f"{'ms p50/p95/max':40} ours, floor (bare SDK)",
        f"{'request to decoded sound':40} {spread(ours['prepared_ms'])}",
        f"{'that to first sound at the phone':40} {spread(ours['first_sound_ms'])}, {spread(floor['first_sound_ms'])}"
        f"   ratio {report['ratio']:.2f}",
        f"{'stop to silence':40} {spread(ours['stop_to_silence_ms'])}",
    ]
    for when, found in ours["tone"].items():
        label = f"tone of {TONE_SECONDS:.0f} s, {when} another track"
        late = f" (and this machine kept the phone waiting {found['late_ms']:.0f} ms)" if found["late_ms"] else ""
        lines.append(f"{label:40} {found['seconds']:.3f} s, longest gap {found['gap_ms']:.0f} ms{late}")
    lines += [f"{'holds' if held else 'DOES NOT HOLD'}: {what}" for what, held in report["holds"].items()]
    return "\n".join(lines)
