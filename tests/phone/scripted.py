"""The other side of a phone, scripted: a cloud that speaks the contract on a real socket, and rooms in memory."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Self

from aiohttp import WSMsgType, web

from glassbridge.core.in_order import InOrder
from glassbridge.core.uplink import Ledger
from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.livekit.participant import (
    FRAME_MS,
    AudioBlock,
    Closed,
    ConnectOptions,
    InFlight,
    LocalTrack,
    ParticipantError,
    RemoteParticipant,
    RoomEvents,
)
from glassbridge.wire import phone as wire
from glassbridge.wire.audio_frames import HEADER_BYTES, TOPIC_NUMBERED, decode_numbered, decode_unnumbered

TOKEN = "core-token"
AGENT = "cloud-agent:me"


class Track:
    """A published track: counts what is written, paces as a real one does."""

    sid = "TR_1"

    def __init__(self, place: "Place") -> None:
        self._place = place
        self._due = 0.0
        self.published = True

    async def write(self, frame: bytes) -> None:
        self._place.check()
        assert len(frame) == FRAME_MS * 32
        self._due = max(self._due, monotonic()) + FRAME_MS / 1000
        self._place.rooms.audio += frame
        for cloud in self._place.rooms.clouds:
            cloud.hear_track()
        await asyncio.sleep(max(0.0, self._due - monotonic()))

    async def drain(self) -> None:
        return None

    async def unpublish(self) -> None:
        self.published = False


class Place:
    """A participant in a scripted room."""

    sid = "PA_1"
    identity = "me"

    def __init__(self, rooms: "Rooms", url: str, token: str, events: RoomEvents) -> None:
        self.rooms, self.url, self.token, self.events = rooms, url, token, events
        self.room = "me"
        self.closed: Closed | None = None
        self.vanished = False
        self.tracks: list[Track] = []
        self.waiting = 0
        self.flight: InFlight | None = None
        self.remote: Mapping[str, RemoteParticipant] = {}

    @property
    def silent(self) -> float:
        """Seconds since something was swallowed first: nothing is acknowledged then."""
        since = self.rooms.swallowed_since
        return 0.0 if since is None else monotonic() - since

    def check(self) -> None:
        if self.closed is not None:
            raise ParticipantError(self.closed.reason)

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> LocalTrack:
        self.check()
        self.tracks.append(Track(self))
        return self.tracks[-1]

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        self.check()
        assert not reliable
        assert len(payload) <= 15_000
        self.rooms.packets.append((topic, payload))
        if self.rooms.swallow:
            self.rooms.swallowed += 1
            if self.rooms.unacknowledged and self.rooms.swallowed_since is None:
                self.rooms.swallowed_since = monotonic()
            return
        for cloud in self.rooms.clouds:
            cloud.hear_room(topic, payload)

    async def close(self) -> None:
        self.end(LossReason.CLOSED)
        await asyncio.sleep(0)

    async def vanish(self) -> None:
        self.vanished = True
        self.end(LossReason.NETWORK)

    def end(self, reason: LossReason) -> None:
        if self.closed is None:
            self.closed = Closed(reason)
            self.rooms.log.append(f"leave {self.url}")
            self.events.on_closed(self.closed)

    def meet(self, *identities: str) -> None:
        self.remote = {name: RemoteParticipant(name, f"PA_{name}") for name in identities}
        self.events.on_participants(self.remote)

    def sound(self, pcm: bytes) -> None:
        self.events.on_audio(AudioBlock(pcm, AGENT, "TR_2"))


@dataclass
class Rooms:
    """A Connector; notes joins and leaves in their order."""

    log: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    packets: list[tuple[str, bytes]] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    """Of tracks."""
    clouds: list["ScriptedCloud"] = field(default_factory=list)
    refusals: int = 0
    """So many joins are refused."""
    swallow: bool = False
    """What is sent into a room is heard by nobody."""
    swallowed: int = 0
    """Packets."""
    unacknowledged: bool = False
    """What is swallowed is not acknowledged: the server has died, not a listener."""
    swallowed_since: float | None = None

    async def __call__(
        self,
        url: str,
        token: str,
        events: RoomEvents,
        options: ConnectOptions = ConnectOptions(),  # noqa: B008
    ) -> Place:
        if self.refusals:
            self.refusals -= 1
            raise ParticipantError(LossReason.UNREACHABLE)
        self.log.append(f"join {url}")
        place = Place(self, url, token, events)
        self.places.append(place)
        for cloud in self.clouds:
            cloud.on_phone_in_room(place)
        return place

    @property
    def here(self) -> Place:
        """The one place that is held now."""
        held = [place for place in self.places if place.closed is None]
        assert len(held) == 1, f"{len(held)} places are held"
        return held[0]


class ScriptedCloud:
    """Speaks the contract. By itself it acks, answers pings, tells `live` on the first audio, captions on VAD false."""

    def __init__(
        self, rooms: Rooms, *, name: str = "A", understands_numbers: bool = True, original: bool = False
    ) -> None:
        self.rooms, self.name = rooms, name
        self.understands_numbers = understands_numbers and not original
        self.original = original
        """Knows nothing of what is ours: audio_state, speech_end, pings."""
        self.answers_pings = not original
        self.pings = 0
        """Answered ones."""
        self.captions = ["hello", "hello world"]
        self.ends_speech = not original
        self.captioned = True
        self.lost = 0
        """Samples that it says it has given up."""
        self.path = "livekit"
        self.agent_in_room = True
        self.heard: list[wire.FromPhone | wire.UnknownMessage] = []
        self.queries: list[dict[str, str]] = []
        self.ledger = Ledger()
        self.delivered = bytearray()
        """Numbered audio, put in order."""
        self.fresh = bytearray()
        """What of it was live."""
        self.asks = True
        """For what never came."""
        self.replayed_at: list[tuple[float, int]] = []
        """When something came again, and how many milliseconds."""
        self._in_order = InOrder(self.ledger.lacks)
        self._asked: tuple[tuple[int, int], ...] = ()
        self.plain = bytearray()
        """Audio without numbers."""
        self.track_at: float | None = None
        """When something was heard of a track last."""
        self.binary = 0
        """Binary frames with samples on the socket."""
        self.tokens = 0
        self.ticket: Callable[[], tuple[str, str]] = lambda: (f"ws://{self.name}", f"room-token-{self.tokens}")
        """Where it sends the phone: address and token of a LiveKit server."""
        self.sockets: list[web.WebSocketResponse] = []
        self._transports: list[asyncio.WriteTransport] = []
        self.known = False
        self.live = False
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        self.rooms.clouds.append(self)
        return self

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/glasses-ws", self._socket)
        app.router.add_get("/api/client/livekit/token", self._token)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def abort(self) -> None:
        """Cuts all connections, without a close frame."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()

    async def say(self, message: wire.Message) -> None:
        await self.say_raw(wire.encode(message))

    async def say_raw(self, text: str) -> None:
        await self.sockets[-1].send_str(text)

    async def acknowledge(self) -> None:
        """Says what it has, and what it misses."""
        self._asked = self.ledger.missing if self.asks else ()
        epoch, position = self.ledger.acknowledged or (0, 0)
        await self.say(wire.AudioAck(epoch=epoch, position=position, missing=self._asked, lost=self.lost))

    async def state(self, state: str, **fields: object) -> None:
        self.live = state == "live"
        await self.say_raw(json.dumps({"type": "audio_state", "state": state, "since": 0} | fields))

    def messages(self, kind: type) -> list[wire.FromPhone | wire.UnknownMessage]:
        return [message for message in self.heard if type(message) is kind]

    def on_phone_in_room(self, place: Place) -> None:
        if self.agent_in_room and place.url == f"ws://{self.name}":
            place.meet(AGENT)

    # ---- what it hears

    def hear_room(self, topic: str, payload: bytes) -> None:
        if not self.sockets or self.sockets[-1].closed:
            return
        if topic == TOPIC_NUMBERED:
            self._hear_numbered(payload)
        else:
            self.plain += decode_unnumbered(payload)[1]
            self._prove()

    def hear_track(self) -> None:
        self.track_at = monotonic()
        if self.sockets and not self.sockets[-1].closed:
            self._prove()

    def _hear_numbered(self, frame: bytes) -> None:
        number, pcm = decode_numbered(frame)
        deliveries = self.ledger.receive(
            number.epoch,
            number.position,
            number.capture_time_us,
            pcm,
            now=monotonic(),
            replayed=number.replayed,
            last=number.last,
        )
        begins = number.replayed and number.presence
        found = self._in_order.begin(number.epoch, number.position, monotonic(), told=begins)
        self.delivered += b"".join(whole.pcm for whole in found)
        for delivery in deliveries:
            self.fresh += delivery.pcm if delivery.live else b""
            self.delivered += b"".join(whole.pcm for whole in self._in_order.take(delivery, monotonic()))
        if number.replayed and pcm:
            self.replayed_at.append((monotonic(), len(pcm) // 32))
        known, missing = self.ledger.acknowledged, self.ledger.missing if self.asks else ()
        if known is not None and (number.last or missing != self._asked):
            asyncio.get_running_loop().create_task(self.acknowledge())
        if not number.replayed:
            self._prove()

    def _prove(self) -> None:
        if not self.live and not self.original:
            self.live = True
            asyncio.get_running_loop().create_task(self.state("live", transport=self.path))

    async def _token(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"success": False}, status=401)
        self.tokens += 1
        url, token = self.ticket()
        data = {"url": url, "token": token, "room": "me", "identity": "me"}
        return web.json_response({"success": True, "data": data, "timestamp": 0})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"type": "connection_error", "message": "bad token"}, status=401)
        self.queries.append(dict(request.query))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        assert isinstance(request.transport, asyncio.WriteTransport)
        self._transports.append(request.transport)
        self.live = False
        numbers = self.understands_numbers and request.query.get("audio") in ("2", "track")
        position = self.ledger.acknowledged
        await self.say(
            wire.ConnectionAck(
                session_id="me",
                audio=2 if numbers else 1,
                known=wire.AudioPosition(*position) if position is not None else None,
                resumed=self.known,
                pings=not self.original,
            )
        )
        self.known = not self.original
        if not self.original:
            await self.state("connecting", code="awaiting_audio", reason="ready", transport=self.path)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                self.binary += len(message.data) > HEADER_BYTES
                if numbers:
                    self._hear_numbered(message.data)
                else:
                    self.plain += message.data
                    self._prove()
            elif message.type is WSMsgType.TEXT:
                await self._hear(wire.decode_from_phone(message.data))
        return socket

    async def _hear(self, message: wire.FromPhone | wire.UnknownMessage) -> None:
        if isinstance(message, wire.Ping):
            if self.answers_pings:
                self.pings += 1
                ago = None if self.track_at is None else round((monotonic() - self.track_at) * 1000)
                await self.say(wire.Pong(timestamp=message.timestamp, room_age_ms=ago))
            return
        self.heard.append(message)
        if isinstance(message, wire.Vad) and not message.speaking:
            for index, text in enumerate(self.captions):
                final = None if self.original else index == len(self.captions) - 1
                await self.say(
                    wire.DisplayEvent(
                        view="main", layout=wire.TextWall(text=text), package_name="captions", is_final=final
                    )
                )
            if self.ends_speech:
                await self.say(wire.SpeechEndNotice(captioned=self.captioned))
