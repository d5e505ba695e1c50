"""The phone's socket to its cloud (`/glasses-ws`)."""

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any

import aiohttp
import structlog

from glassbridge.runtime.addresses import check_url
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tcp import Connector, RoundTrip, round_trip, unacknowledged
from glassbridge.runtime.unreachable import SIGN_IN, is_web_page, stay, why
from glassbridge.telemetry import traces
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode

log = structlog.get_logger()

OnMessage = Callable[[wire.FromCloud | wire.UnknownMessage], Awaitable[None]]
"""Must return within about a second: meanwhile nothing else is heard."""
PATH = "/glasses-ws"
SEND_TIMEOUT = 2.0
CLOSE_TIMEOUT = 1.0
MAX_MESSAGE = 1 << 20
DRAIN_POLL = 0.005
PROBE = 4_096
PROBE_WITHIN = 3.0
PROBE_TELLS = 0.15
"""Seconds beyond the round trip under which a probe may have waited for a processor as well as for the link."""
PROBE_QUEUED = 0.15
"""Share of its time by which the smoothed round trip has grown where a probe waited in a queue."""
AHEAD = 0.15
"""Seconds of audio that may be on their way beyond what the round trip holds."""
LEAST_AHEAD, LEAST_QUEUED = 6_000, 1_500
"""Bytes that may always be on their way: some packets, so that TCP notices a lost one by those after it; where
packets wait in a queue, one."""
WAY = 1.0
"""Seconds after which a round trip that stays long is the way's, not our queue's: little was on its way in them."""
MOST_GROWN = 9_000
"""Bytes that may be on their way because it has become long."""

_ENDS = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_VANISH = struct.pack("ii", 1, 0)
"""Linger of zero seconds: the connection is reset instead of closed."""
_LINGER = struct.pack("ii", 0, 0)
"""The usual: what was sent is still delivered."""


class Refused(Exception):
    """The cloud does not accept this phone; trying again does not help. The text says what to do."""


class Unreachable(Exception):
    """No cloud answers at the address; it may later."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why
        """In a few words, with what to do."""


def base_url(text: str) -> str:
    """The base URL in one spelling (http or https, no slash at the end). Raises UserError (exit status 2)."""
    try:
        check_url(text.strip() or "-", schemes=tuple(_SCHEMES))
    except ValueError as error:
        raise UserError(f"not a cloud's URL: {error} (it looks like http://127.0.0.1:8002)", 2) from None
    scheme, _, rest = text.strip().partition("://")
    return f"{'https' if scheme in ('https', 'wss') else 'http'}://{rest.rstrip('/')}"


class CloudSocket:
    """One connection, used once. Owns its HTTP session, so that cutting it cuts nothing else.

    Deadlines for opening it and for its silence are the machine's (core/phone_socket.py).
    """

    def __init__(self, http: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._http = http
        self._ws = ws
        self._no_goodbye = asyncio.Event()
        """Cleared while a goodbye is being said: aiohttp ends `listen` first and says it then."""
        self._no_goodbye.set()
        self._trips: deque[tuple[float, float]] = deque()
        """(at, round trip) of the last WAY seconds."""

    @classmethod
    async def open(
        cls,
        base: str,
        core_token: str,
        *,
        livekit: bool,
        numbered: bool,
        phone: str,
        attempt: int,
        beside: bool = False,
    ) -> "CloudSocket":
        """Connects. Raises Refused or Unreachable. When cancelled, nothing is left behind.

        `phone` names this run of this phone, `attempt` grows: so a cloud knows an attempt that comes late. `beside`: it
        is the second socket, for audio only.
        """
        query = {"phone": phone, "attempt": str(attempt)}
        if livekit:
            query["livekit"] = "true"
        if numbered:
            query["audio"] = "2"
        if beside:
            query["beside"] = "true"
        http = aiohttp.ClientSession(connector=Connector(_abrupt), trust_env=True, middlewares=(stay,))
        try:
            ws = await http.ws_connect(
                base + PATH,  # as http: for ws aiohttp looks for WS_PROXY
                params=query,
                headers={"Authorization": f"Bearer {core_token}", **dict(traces.outgoing())},
                max_msg_size=MAX_MESSAGE,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
            )
        except aiohttp.WSServerHandshakeError as error:
            await http.close()
            if is_web_page(error.status, error.headers):
                raise Unreachable(f"no cloud answers at {base} ({SIGN_IN})", SIGN_IN) from None
            if error.status in (401, 403):
                message = f"the cloud refuses the token ({error.status}): get a fresh one with `glassbridge token`"
                raise Refused(message) from None
            if error.status == 404:
                raise Refused(f"no cloud is at {base}: it knows no {PATH}") from None
            raise Unreachable(f"the cloud at {base} answers {error.status}", f"status {error.status}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await http.close()
            raise Unreachable(f"no cloud answers at {base} ({why(error)})", why(error)) from None
        except BaseException:
            await http.close()
            raise
        if (raw := ws.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        return cls(http, ws)

    @property
    def peer(self) -> str | None:
        """The address to which it is connected; None where it is gone."""
        peer = self._ws.get_extra_info("peername")
        return peer[0] if peer else None

    async def listen(self, on_message: OnMessage) -> int:
        """Hands on what the cloud says until the socket ends, and returns the close code. Answers pings.

        Releases everything, also when cancelled.
        """
        said: int | None = None
        try:
            # aiohttp answers pings while it reads, also those before an end that it has not read yet.
            with suppress(aiohttp.ClientError, ConnectionError):
                while (message := await self._ws.receive()).type not in _ENDS:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        await self._hear(message.data, on_message)
                if message.type is aiohttp.WSMsgType.CLOSE:
                    said = message.data
        finally:
            try:
                await self._no_goodbye.wait()
            finally:
                await self._http.close()
        # aiohttp forgets what was said where its own answer cannot be written any more.
        return said or self._ws.close_code or CloseCode.ABNORMAL

    async def say(self, message: wire.Message) -> bool:
        """Sends a message; False when the socket is gone or blocked. Safe to cancel."""
        return await self._sent(self._ws.send_str(wire.encode(message)))

    async def send_audio(self, frame: bytes) -> bool:
        """Sends a binary frame; False when the socket is gone or blocked. Safe to cancel."""
        return await self._sent(self._ws.send_bytes(frame))

    async def room_for(self, rate: int, timeout: float) -> bool:
        """Returns True when what is on its way is no more than a stream of `rate` bytes a second has in flight, and
        AHEAD seconds of it beside; False after `timeout` seconds. So a pong never waits behind much audio."""
        connection = self._ws._response.connection  # aiohttp itself waits only beyond 64 KiB: 2 s of PCM, 20 s of Opus
        transport = connection.transport if connection is not None else None
        raw = self._ws.get_extra_info("socket")
        if transport is None or raw is None:
            return True
        deadline = monotonic() + timeout
        while not transport.is_closing():
            trip = round_trip(raw) or RoundTrip(0.0, 0.0)
            allowed = in_flight(trip, self._lasting(trip.now), rate)
            if transport.get_write_buffer_size() + unacknowledged(raw) <= allowed:
                return True
            if monotonic() > deadline:
                return False
            await asyncio.sleep(DRAIN_POLL)
        return False

    def _lasting(self, trip: float) -> float:
        """The least round trip of the last WAY seconds."""
        now = monotonic()
        self._trips.append((now, trip))
        while self._trips[0][0] < now - WAY:
            self._trips.popleft()
        return min(known for _, known in self._trips)

    async def probe(self, late: Callable[[], None] = lambda: None) -> float | None:
        """Sends PROBE bytes and returns the bit/s at which they passed; None where it cannot be measured, they passed
        too quickly to tell, or waited for repetitions of what was lost, not in a queue. Calls `late` once they take
        longer than PROBE_TELLS. Safe to cancel."""
        raw = self._ws.get_extra_info("socket")
        before = round_trip(raw) if raw is not None else None
        if raw is None or before is None or not await self.say(wire.LinkProbe(padding="." * PROBE)):
            return None
        begun, told = monotonic(), False
        while unacknowledged(raw):
            waited = monotonic() - begun
            if not told and waited > before.least + PROBE_TELLS:
                told = True
                late()
            if waited > PROBE_WITHIN:
                break
            await asyncio.sleep(DRAIN_POLL)
        took = monotonic() - begun - before.least
        after = round_trip(raw) or before
        waited_in_queue = after.repeated == before.repeated or after.queued > PROBE_QUEUED * took
        return PROBE * 8 / took if took > PROBE_TELLS and waited_in_queue else None

    @property
    def queued(self) -> float:
        """Seconds by which the round trip is longer than it need be; infinite where the kernel does not say."""
        raw = self._ws.get_extra_info("socket")
        trip = round_trip(raw) if raw is not None else None
        return math.inf if trip is None else trip.queued

    @property
    def trip(self) -> RoundTrip:
        """Zeros where the kernel does not say."""
        raw = self._ws.get_extra_info("socket")
        return (round_trip(raw) if raw is not None else None) or RoundTrip(0.0, 0.0)

    async def close(self, code: int = CloseCode.NORMAL) -> None:
        """Says goodbye and waits CLOSE_TIMEOUT for the answer; `listen` returns then."""
        self._no_goodbye.clear()
        try:
            async with asyncio.timeout(2 * CLOSE_TIMEOUT):
                await self._ws.close(code=code)
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            log.debug("the cloud does not hear our goodbye")
        finally:
            self._no_goodbye.set()

    async def vanish(self) -> None:
        """Cuts the connection without a word, as a network that goes away: TCP reset, no close frame."""
        raw = self._ws.get_extra_info("socket")
        if raw is not None:
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _VANISH)
        await self._http.close()

    async def _hear(self, text: str, on_message: OnMessage) -> None:
        try:
            said = wire.decode_from_cloud(text)
        except wire.MalformedMessage as error:
            log.warning("the cloud sent a malformed message", error=str(error))
            return
        if isinstance(said, wire.Ping):
            await self.say(wire.Pong(timestamp=said.timestamp))
        else:
            await on_message(said)

    @staticmethod
    async def _sent(sending: Coroutine[Any, Any, None]) -> bool:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await sending
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            return False
        return True


def in_flight(trip: RoundTrip, lasting: float, rate: int) -> int:
    """Bytes that may be on their way for a stream of `rate` bytes a second. `lasting`: the least round trip lately."""
    least = LEAST_QUEUED if trip.queued > AHEAD else LEAST_AHEAD
    needed = rate * (min(trip.now, trip.least + AHEAD / 2) + AHEAD)
    grown = min(MOST_GROWN, rate * (min(trip.now, lasting) + AHEAD))
    return round(max(least, needed, grown))


def _abrupt(raw: socket.socket) -> None:
    """For an attempt: given up, it is forgotten by the kernel too, which else delivers it when the network is back."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _VANISH)
