"""The cloud that an examined phone meets: one for each act, with rules that the act changes while it runs."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic, time
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

from glassbridge.core.values import UserId
from glassbridge.lab.phone_check.ears import Ears
from glassbridge.lab.phone_check.ledger import Ledger
from glassbridge.lab.phone_check.seen import (
    Acknowledged,
    Asked,
    Attempt,
    Did,
    Ended,
    Placed,
    Route,
    Said,
    Seen,
    Sound,
    Ticket,
    Unplaced,
)
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire import phone as wire
from glassbridge.wire.audio_frames import TOPIC_NUMBERED, FrameError, decode_numbered

HOST: Final = "127.0.0.1"
USER: Final = UserId("phone-check@example.org")
ACK_EVERY: Final = 0.25
MAX_MESSAGE: Final = 1 << 20
MOST_EPOCHS: Final = 64
ANY_ORIGIN: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization",
    "Access-Control-Allow-Private-Network": "true",
}
"""Pages of phones are served elsewhere."""


@dataclass(frozen=True, slots=True)
class Server:
    """A LiveKit server that the examiner may use."""

    url: str
    keys: LiveKitKeys


@dataclass
class Rules:
    """How the cloud behaves now."""

    refuse: int | None = None
    """Status with which sockets are refused; 0: the connection is cut."""
    greet_after: float = 0.0
    """Seconds until the acknowledgement."""
    numbers: bool = True
    """False: numbered audio is not agreed on, and nothing of ours is said: a cloud of the original."""
    codings: tuple[int, ...] = ()
    room: bool = True
    """False: there is no room to be had."""
    acknowledges: bool = True
    withholds: bool = False
    """Fresh audio is taken for lost."""
    deaf_to: int = 0
    """Sockets up to this number get no answer of any kind."""


class Stage:
    """`async with`: listens at `url`, and in the room where `server` is given. Notes all in `seen`."""

    def __init__(self, act: str, token: str, server: Server | None) -> None:
        self.seen = Seen(act)
        self.rules = Rules()
        self.url = ""
        self.place: str | None = None
        """Sid of the phone's place in the room."""
        self.numbered = False
        """Agreed on with the newest socket."""
        self._token = token
        self._server = server
        self._clean = AsyncExitStack()
        self._tasks = TaskGroup("phone-check")
        self._sockets: dict[int, web.WebSocketResponse] = {}
        self._transports: dict[int, asyncio.BaseTransport] = {}
        self._count = 0
        self._ledgers: dict[int, Ledger] = {}
        self._epoch: int | None = None
        self._ears: Ears | None = None
        self._state = "connecting"
        self._microphone_on = True

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as clean:
            if self._server is not None:
                room = f"phone-check-{self.seen.act}-{token_hex(3)}"
                ears = Ears(self._server.url, self._server.keys, USER, room, self._on_packet, self._on_place)
                self._ears = await clean.enter_async_context(ears)
            app = web.Application()
            app.router.add_get("/glasses-ws", self._glasses)
            app.router.add_get("/api/client/livekit/token", self._ticket)
            app.router.add_options("/api/client/livekit/token", self._allow)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            clean.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, HOST, 0)
            await site.start()
            clean.push_async_callback(self._close)
            self.url = f"http://{HOST}:{runner.addresses[0][1]}"
            self._tasks.spawn(self._acknowledge(), "acknowledge")
            self._clean = clean.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clean.aclose()

    async def _close(self) -> None:
        for number in list(self._sockets):
            self._abort(number)
        await self._tasks.close()

    @property
    def has_room(self) -> bool:
        return self._ears is not None and self.rules.room

    @property
    def socket(self) -> int:
        """The newest one that is open; 0: none."""
        return max(self._sockets, default=0)

    # ---- what an act does

    def did(self, what: str) -> None:
        """Notes that the examiner does this now."""
        self.seen.note(Did(monotonic(), what))

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Whether it came true."""
        deadline = monotonic() + within
        while not condition():
            if monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def cut(self) -> None:
        """All sockets break without a word."""
        for number in list(self._sockets):
            self._abort(number)

    async def close(self, code: int) -> None:
        """The newest socket is closed with this code."""
        socket = self._sockets.get(self.socket)
        if socket is not None:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(2.0):
                    await socket.close(code=code)

    async def put_out(self) -> None:
        """The phone is removed from its room."""
        assert self._ears is not None
        await self._ears.put_out()

    async def say(self, message: wire.Message) -> None:
        """Says it on the newest socket."""
        await self._say(self.socket, message)

    async def switch_microphone(self, on: bool) -> None:
        """Tells the phone now, and on each socket from now on."""
        self.did(f"microphone {'on' if on else 'off'}")
        self._microphone_on = on
        await self.say(self._microphone())

    def _microphone(self) -> wire.MicrophoneStateChange:
        data = ["pcm"] if self._microphone_on else []
        return wire.MicrophoneStateChange(is_microphone_enabled=self._microphone_on, required_data=data)

    async def tell(self, state: str, code: str = "", hop: str | None = None, reason: str = "") -> None:
        """Audio is so now."""
        self._state = state
        if self.rules.numbers:
            await self.say(self._notice(state, code, hop, reason))

    def _notice(self, state: Any, code: str = "", hop: Any = None, reason: str = "") -> wire.AudioStateNotice:
        welcome: Any = "livekit" if self.has_room and self.place is not None else "websocket"
        return wire.AudioStateNotice(
            state=state, code=code, hop=hop, reason=reason, since=round(time() * 1000), transport=welcome
        )

    # ---- sockets

    async def _glasses(self, request: web.Request) -> web.StreamResponse:
        query = {key: value for key, value in request.query.items() if key != "token"}
        signed_in = self._signed_in(request)
        refused = self.rules.refuse if self.rules.refuse is not None else (None if signed_in else 401)
        if "beside" in query:
            refused = 404  # was never offered
        number = None
        if refused is None:
            self._count += 1
            number = self._count
        self.seen.note(Attempt(monotonic(), query, signed_in, number))
        if number is None:
            if refused == 0 and request.transport is not None:
                request.transport.abort()
            return web.Response(status=refused or 503, text="phone-check refuses this attempt on purpose")
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, autoping=False, timeout=1.0)
        await socket.prepare(request)
        assert request.transport is not None
        self._sockets[number], self._transports[number] = socket, request.transport
        try:
            await self._serve(number, socket, query)
        finally:
            self._sockets.pop(number, None)
            self._transports.pop(number, None)
            self.seen.note(Ended(monotonic(), number))
        return socket

    def _signed_in(self, request: web.Request) -> bool:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("token", "")
        return shown.strip() == self._token

    def _abort(self, number: int) -> None:
        transport = self._transports.get(number)
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    async def _serve(self, number: int, socket: web.WebSocketResponse, query: dict[str, str]) -> None:
        numbered = self.rules.numbers and query.get("audio") == "2"
        greeting = self._tasks.spawn(self._greet(number, numbered, query.get("livekit") == "true"), f"greet-{number}")
        try:
            async for frame in socket:
                if number > self.rules.deaf_to:
                    await self._take(number, socket, frame, numbered)
        finally:
            greeting.cancel()

    async def _greet(self, number: int, numbered: bool, wants_room: bool) -> None:
        await asyncio.sleep(self.rules.greet_after)
        room = None
        if wants_room and self.has_room and self._ears is not None:
            room = wire.LiveKitInfo(url=self._ears.url, room_name=self._ears.room, token=self._ears.ticket())
        codings = self.rules.codings if numbered else ()
        self.numbered = numbered
        ours = {"audio": 2, "codings": codings, "pings": True} if numbered else {}
        self.seen.note(Acknowledged(monotonic(), number, numbered, codings))
        await self._say(
            number,
            wire.ConnectionAck(session_id="phone-check", livekit=room, resumed=number > 1, **ours),  # type: ignore[arg-type]
        )
        if self.rules.numbers:
            await self._say(number, self._notice(self._state, "awaiting_audio" if self._state == "connecting" else ""))
        await self._say(number, self._microphone())

    async def _take(self, number: int, socket: web.WebSocketResponse, frame: aiohttp.WSMessage, numbered: bool) -> None:
        match frame.type:
            case aiohttp.WSMsgType.PING:
                await self._quietly(socket.pong(frame.data))
            case aiohttp.WSMsgType.BINARY:
                self._hear("socket", number, numbered, frame.data)
            case aiohttp.WSMsgType.TEXT:
                await self._understand(number, frame.data)

    async def _understand(self, number: int, text: str) -> None:
        problem, fields = "", {}
        try:
            message: Any = wire.decode_from_phone(text)
            fields = json.loads(text)
        except wire.MalformedMessage as error:
            message, problem = None, str(error)
        self.seen.note(Said(monotonic(), number, str(fields.get("type", "?"))[:64], fields, problem))
        if isinstance(message, wire.Ping):
            await self._say(number, wire.Pong(timestamp=message.timestamp))

    async def _say(self, number: int, message: wire.Message) -> None:
        socket = self._sockets.get(number)
        if socket is not None and number > self.rules.deaf_to:
            await self._quietly(socket.send_str(wire.encode(message)))

    @staticmethod
    async def _quietly(sending: Any) -> None:
        """A phone that is gone, or does not read, hears nothing."""
        with suppress(ConnectionError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(2.0):
                await sending

    # ---- the room

    async def _ticket(self, request: web.Request) -> web.Response:
        signed_in = self._signed_in(request) and self.rules.refuse != 401  # a token is refused everywhere
        granted = signed_in and self.has_room
        self.seen.note(Ticket(monotonic(), granted))
        if not signed_in:
            return web.json_response({"success": False, "error": "not signed in"}, status=401, headers=ANY_ORIGIN)
        if not granted or self._ears is None:
            return web.json_response({"success": False, "error": "no LiveKit"}, status=503, headers=ANY_ORIGIN)
        ears = self._ears
        data = {"url": ears.url, "token": ears.ticket(), "room": ears.room, "identity": USER}
        return web.json_response({"success": True, "data": data}, headers=ANY_ORIGIN)

    async def _allow(self, _request: web.Request) -> web.Response:
        return web.Response(headers=ANY_ORIGIN)

    def _on_place(self, sid: str | None) -> None:
        if sid == self.place:
            return
        if self.place is not None:
            self.seen.note(Unplaced(monotonic(), self.place))
        if sid is not None:
            self.seen.note(Placed(monotonic(), sid))
        self.place = sid
        if sid is not None and self._state == "live":
            self._tasks.spawn(self.tell("live"), "tell")

    def _on_packet(self, topic: str, payload: bytes) -> None:
        problem = ""
        if self.numbered and topic != TOPIC_NUMBERED:
            problem = f"a data packet of topic {topic[:40]!r}, expected {TOPIC_NUMBERED!r}"
        self._hear("room", None, self.numbered, payload, problem)

    # ---- audio

    def _hear(self, route: Route, socket: int | None, numbered: bool, frame: bytes, problem: str = "") -> None:
        number, payload = None, frame
        try:
            number, payload = decode_numbered(frame)
        except FrameError as error:
            problem = problem or (str(error) if numbered else "")
        fresh = number is not None and not (number.replayed or number.repair or number.presence)
        withheld = self.rules.withholds and fresh
        sound = Sound(monotonic(), route, socket, numbered, number, payload, problem, withheld)
        self.seen.note(sound)
        if number is not None and not problem and numbered and not withheld:
            self._count_in(sound)
        if self._state == "connecting" and not problem:
            self._state = "live"
            self._tasks.spawn(self.tell("live"), "tell")

    def _count_in(self, sound: Sound) -> None:
        number = sound.number
        assert number is not None
        ledger = self._ledgers.get(number.epoch)
        if ledger is None:
            if len(self._ledgers) >= MOST_EPOCHS:
                return
            ledger = self._ledgers[number.epoch] = Ledger(number.position)
        if not number.replayed:
            self._epoch = number.epoch
        if sound.has_samples:
            ledger.take(number.position, sound.stop)
        elif not number.replayed:
            ledger.reach(number.position)

    @property
    def owes(self) -> bool:
        """The phone has not sent all that the cloud knows of."""
        ledger = self._ledgers.get(self._epoch) if self._epoch is not None else None
        return ledger is not None and bool(ledger.missing)

    async def _acknowledge(self) -> None:
        told: tuple[Any, ...] = ()
        while True:
            await asyncio.sleep(ACK_EVERY)
            ledger = self._ledgers.get(self._epoch) if self._epoch is not None else None
            if ledger is None or self._epoch is None or not (self.rules.acknowledges and self.numbered and self.socket):
                continue
            missing = ledger.missing
            now = (self.socket, self._epoch, ledger.position, missing)
            if now == told and not missing:
                continue
            told = now
            if missing:
                self.seen.note(Asked(monotonic(), self._epoch, missing))
            await self.say(wire.AudioAck(epoch=self._epoch, position=ledger.position, missing=missing))
