"""What a session keeps after an hour of a phone, apps, a bridge and a recogniser that mean harm.

How the list of what can grow was found, and why it is complete:
- The test does not list anything. It walks all objects that a session reaches (tests/support/object_graph.py asks the
  garbage collector), with its connections, apps, playbacks, subscriptions, transcripts, recorder, spans, microphone
  ledgers, ears, tasks and what their coroutines hold. Whatever somebody adds to a session is walked too.
- What the peers say is made from the structs of the protocol (tests/support/hostile.py): a message or a field that
  somebody adds is said too. The test fails if a type of either socket was never said.
- Sound that waits for what may come late (core/late_sound.py) is walked by itself: it has a bound in bytes that is
  larger than all the rest, and how much of it is used just now is chance.
- Shared objects (the configuration, the pool of bridges, the recogniser, the registry) are left out, and only they:
  `beyond` names them.
- It finds what it should: with cloud/transcripts.py of the audited version it fails, and it found one more list that
  grew for ever (the stretches of live audio in core/flight.py).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from aiohttp import WSMessage, WSMsgType

from glassbridge.cloud.apps.connection import AppConnection
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.cloud.bridge_answers import BridgeError, SeatStatus
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.connection import ConnectParams, PhoneConnection
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.session import UserSession
from glassbridge.core.late_sound import MOST_BYTES
from glassbridge.core.session import SocketNumber
from glassbridge.core.subscriptions import Permission
from glassbridge.core.values import LossReason, user_id
from glassbridge.livekit.rooms import RoomServiceError
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.world import REAL
from glassbridge.speech.base import Transcript
from glassbridge.speech.supervisor import Speech
from glassbridge.wire import apps, phone
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.audio_frames import FLAG_REPLAYED, FrameNumber, encode_numbered
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.conftest import ANN, ScriptedRecogniser, ScriptedStream
from tests.support.hostile import Hostile
from tests.support.object_graph import Graph, walk
from tests.support.virtual_time import virtual_time

SEED = 20261129
PACKAGES = ("com.example.one", "com.example.two", "com.example.three")
HALF_HOUR = 1_800
KEPT = 3 << 20
"""Bytes that a session may keep in all."""
BY_SIZE = ("Transcripts>", "Events>", "_sound_watch")
"""What has a bound in bytes may hold more and smaller things than before, or be nearer to it."""
MOST_LATE = MOST_BYTES + (256 << 10)
"""What waits to be understood late may take, and what is being understood late."""
SLACK = 1 << 20
"""Bytes by which two halves of the hour may differ: what happens to wait just now, 30 s of speech among it."""


class Socket:
    """Where a WebSocket would be. `stuck`: it takes nothing."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[WSMessage] = asyncio.Queue(100)
        self.closed = self.held = False
        self.close_code: int | None = None
        self.allowance: Any = None
        self.on_excess: Any = None
        self.taking = asyncio.Event()
        self.taking.set()

    async def receive(self) -> WSMessage:
        return await self.said.get()

    async def send_str(self, text: str) -> None:
        await self.taking.wait()

    async def send_bytes(self, data: bytes) -> None:
        await self.taking.wait()

    async def ping(self) -> None:
        pass

    async def pong(self, data: bytes) -> None:
        pass

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed, self.close_code = True, code
        self.say(WSMsgType.CLOSED, None)

    def say(self, kind: WSMsgType, data: Any) -> None:
        if not self.said.full():
            self.said.put_nowait(WSMessage(kind, data, None))


class NoRooms:
    """All that an examiner calls."""

    async def participants(self, *_where: str) -> Any:
        raise RoomServiceError("away", retry=True)

    remove = participants


class Bridge:
    target = "bridge"

    class Stub:
        def PlayAudio(self, request: Any) -> Any:
            return Events()

        async def StopAudio(self, request: Any, timeout: float) -> Any:
            await asyncio.sleep(timeout)
            return pb.StopAudioResponse(success=False)

    stub = Stub()


class Events:
    """Of a playback that never ends."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(5.0)
        return pb.PlayAudioEvent(type=pb.PlayAudioEvent.PROGRESS, position_ms=1, error="x" * 10_000)

    def cancel(self) -> None:
        pass


class Seat:
    """A place that goes again after some seconds, and brings nonsense meanwhile."""

    bridge = Bridge()
    joined = True
    stream_age = 0.5

    def __init__(self, generation: Any, chance: random.Random) -> None:
        self.generation = generation
        self._random = chance

    async def listen(self, on_chunk: Callable[[Any], None]) -> Any:
        for _ in range(self._random.randrange(40)):
            await asyncio.sleep(0.05)
            on_chunk(hostile_chunk(self._random))
        return self._random.choice([LossReason.STREAM_BROKEN, LossReason.SUPERSEDED, LossReason.NETWORK])

    async def status(self) -> Any:
        await asyncio.sleep(0.1)
        return SeatStatus(self._random.choice([None, LossReason.SUPERSEDED]), None)

    async def leave(self, reason: str) -> bool:
        return True

    def release(self) -> None:
        pass


class Pool:
    """Most joins fail."""

    live = 1

    def __init__(self, chance: random.Random) -> None:
        self._random = chance

    async def join(self, user: Any, session: str, generation: Any, trying: Callable[[Any], None], not_on: Any) -> Any:
        seat = Seat(generation, self._random)
        trying(seat)
        await asyncio.sleep(self._random.choice([0.01, 0.1, 2.0]))
        if self._random.random() < 0.7:
            raise BridgeError(self._random.choice([LossReason.NETWORK, LossReason.MEDIA_FAILED]))
        return seat


def hostile_chunk(chance: random.Random) -> Any:
    chunk = pb.AudioChunk(generation=1, heartbeat=chance.random() < 0.2, age_us=chance.randrange(1 << 31))
    if chance.random() < 0.3:
        chunk.news.phone_here = chance.random() < 0.5
    else:
        chunk.pcm_data = bytes(chance.randrange(0, 6_400, 2))
    return chunk


def hostile_audio(chance: random.Random, number: int) -> bytes:
    """Numbered frames: holes, jumps, epochs that change, repetitions; and some that are none."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(100))
    epoch = chance.choice([1, 1, 1, 1, 2, 3, number])
    position = number * 640 + chance.choice([0, 0, 320, -32_000, 1 << 40])
    return encode_numbered(
        FrameNumber(epoch, max(0, position), number * 20_000, FLAG_REPLAYED if chance.random() < 0.1 else 0),
        bytes(chance.choice([0, 640, 640, 3_200])),
    )


class Recogniser(ScriptedRecogniser):
    """Keeps nothing of what its streams are fed."""

    async def open(self, *asked: Any) -> ScriptedStream:
        stream = await super().open(*asked)
        setattr(stream, "feed", lambda _pcm: None)  # noqa: B010
        return stream


class Owner:
    def take(self, connection: Any) -> None:
        raise AssertionError("no session begins here")

    def drop(self, session: Any) -> None:
        raise AssertionError("the session has failed")

    def release(self, claim: Any) -> None:
        raise AssertionError("the session has failed")


class Hour:
    """One session and those who mean it harm."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)
        self.hostile = Hostile(SEED, *PACKAGES)
        config = CloudConfig(
            keys=CloudKeys((), LiveKitKeys("key", "secret" * 8)), livekit_url="", bridges=(), captions="en-US"
        )
        self.config = config
        self.recogniser = Recogniser("en-US", "de-DE", translates=True)
        microphone = frozenset({Permission.MICROPHONE})
        records = [
            AppRecord(package=name, url="http://x", key_hash="0" * 64, permissions=microphone) for name in PACKAGES
        ]
        self.host = AppHost(
            AppsConfig(), StaticRegistry(*records), world=replace(REAL, monotonic=asyncio.get_running_loop().time)
        )
        self.host._call = self._webhook  # type: ignore[method-assign, assignment]
        self.pool: Any = Pool(self.random)
        self.flights = Flights()
        self.owner = Owner()
        self.speech = Speech(self.recogniser)
        self.examiner = Examiner(NoRooms())  # type: ignore[arg-type]
        pool: Any = self.pool
        self.session = UserSession(
            user_id(ANN), self.owner, config, pool, self.speech, self.examiner, self.host, self.flights, Pulse(), None
        )
        self.numbers = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.phone: PhoneConnection | None = None
        self.apps: dict[str, AppConnection] = {}
        self.sockets: dict[Any, Socket] = {}
        self.frames = 0

    async def _webhook(self, *_asked: Any) -> bool:
        await asyncio.sleep(self.random.choice([0.1, 10.0]))
        return self.random.random() < 0.8

    def _connect(self, connection: Any, socket: Socket, gone: Callable[[Any], None]) -> None:
        self.sockets[connection] = socket

        async def serve() -> None:
            try:
                await connection.run()
            finally:
                gone(connection)

        self.tasks = [task for task in self.tasks if not task.done()]
        self.tasks.append(asyncio.get_running_loop().create_task(serve()))

    def second(self) -> None:
        """Everybody does harm for a second."""
        self.numbers += 1
        if self.phone is None or not self.phone.open or self.random.random() < 0.01:
            socket: Any = Socket()
            params = ConnectParams(livekit=True, numbered=True)
            self.phone = PhoneConnection(socket, None, user_id(ANN), SocketNumber(self.numbers), params, self.config)
            self._connect(self.phone, socket, self.session.sockets.closed)
            self.session.sockets.opened(self.phone)
        for package in PACKAGES:
            app = self.session.apps.find(package)
            known = self.apps.get(package)
            if app is not None and (known is None or not known.open or self.random.random() < 0.01):
                socket = Socket()
                connection = AppConnection(
                    socket, None, SocketNumber(self.numbers), user=ANN, package=package, clock=self.host.world.monotonic
                )
                self.apps[package] = connection
                self._connect(connection, socket, app.closed)
                app.opened(connection)
        self.sockets = {one: socket for one, socket in self.sockets.items() if not socket.closed}
        for one, socket in self.sockets.items():
            if self.random.random() < 0.05:
                socket.taking.clear() if socket.taking.is_set() else socket.taking.set()
            for _ in range(self.random.choice([0, 1, 3])):
                if one is self.phone:
                    self.frames += 1
                    socket.say(WSMsgType.TEXT, self.hostile.text(phone.FromPhone))
                    socket.say(WSMsgType.BINARY, hostile_audio(self.random, self.frames))
                else:
                    socket.say(WSMsgType.TEXT, self.hostile.text(apps.FromApp))
        for stream in self.recogniser.streams[-4:]:
            text, final = "word " * self.random.choice([1, 20, 5_000]), self.random.random() < 0.5
            stream._on_transcript(Transcript(text, final, 0, 1, language="en-US"))
        del self.recogniser.streams[:-20]

    async def half(self) -> Graph:
        for _ in range(HALF_HOUR):
            self.second()
            await asyncio.sleep(1.0)
        beyond = [
            self, self.config, self.pool, self.host, self.recogniser, self.speech, self.examiner, self.owner,
            self.flights, self.flights._redact, self.random, self.hostile, *self.sockets.values(),
        ]  # fmt: skip
        hearing = self.session.audio.hearing
        mendings = [seat.mending for seat in hearing._seats.values()]
        sound: list[Any] = []
        assert walk(hearing._sound, [*beyond, hearing, *mendings], sound).size < MOST_LATE
        for late in mendings:  # one that is at work holds the session's sound by its pieces
            others = [one for one in mendings if one is not late]
            assert walk(late, [*beyond, hearing, *others, *sound]).size < MOST_LATE
        beyond += [hearing._sound, *mendings, *(one._task for one in mendings if one._task is not None)]
        return walk(self.session, beyond)


@pytest.fixture
def quiet() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet")
def test_an_hour_of_harm_leaves_a_session_as_large_as_half_an_hour() -> None:
    with virtual_time() as loop:

        async def run() -> None:
            hour = Hour()
            hour.session.start()
            flights = asyncio.create_task(hour.flights.run())
            first = await hour.half()
            second = await hour.half()
            print(f"seed {SEED}: {first.size} bytes after half an hour, {second.size} after an hour")
            said = hour.hostile.said
            for union in (phone.FromPhone, apps.FromApp):
                assert {kind.__struct_config__.tag for kind in union.__args__} <= said
            grown = [way for way in second.grown(first, factor=1.3, least=150) if not any(x in way for x in BY_SIZE)]
            assert not grown, "\n".join(grown)
            assert second.size < first.size + SLACK
            assert max(first.size, second.size) < KEPT
            flights.cancel()
            for connection in list(hour.sockets):
                connection.close(CloseCode.NORMAL)
            await hour.session.close()
            for task in hour.tasks:
                task.cancel()
            await asyncio.gather(*hour.tasks, flights, return_exceptions=True)

        loop.run_until_complete(run())
