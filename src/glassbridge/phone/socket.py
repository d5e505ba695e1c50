"""The phone's socket to its cloud (`/glasses-ws`)."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import structlog

from glassbridge.phone.pacing import Paced
from glassbridge.runtime.addresses import check_url
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tcp import RoundTrip, renew_bbr, round_trip, unacknowledged
from glassbridge.runtime.unreachable import SIGN_IN, is_web_page, stay, why
from glassbridge.runtime.world import World, close_http, is_sent
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

_ENDS = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_VANISH = struct.pack("ii", 1, 0)
"""Linger of zero seconds: the connection is reset instead of closed."""
_LINGER = struct.pack("ii", 0, 0)
"""The usual: sent data is still delivered."""


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
        raise UserError(Complaint.CLOUD_URL_WRONG.text(why=error), 2) from None
    scheme, _, rest = text.strip().partition("://")
    return f"{'https' if scheme in ('https', 'wss') else 'http'}://{rest.rstrip('/')}"


class CloudSocket(Paced):
    """One connection, used once. Owns its HTTP session, so that cutting it cuts nothing else.

    Deadlines for opening it and for its silence are the machine's (core/phone_socket.py).
    """

    def __init__(
        self, http: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse, clock: Callable[[], float]
    ) -> None:
        super().__init__(clock)
        self._http = http
        self._ws = ws
        self._no_goodbye = asyncio.Event()
        """Cleared while a goodbye is being said: aiohttp ends `listen` first and says it then."""
        self._no_goodbye.set()

    @classmethod
    async def open(
        cls,
        world: World,
        base: str,
        core_token: str,
        *,
        livekit: bool,
        numbered: bool,
        phone: str,
        attempt: int,
        track: bool = False,
        beside: bool = False,
    ) -> "CloudSocket":
        """Connects. Raises Refused or Unreachable. When cancelled, nothing is left behind.

        `phone` names this run of this phone, `attempt` grows: so a cloud knows an attempt that comes late. `track`:
        what is numbered is only what a track does not carry. `beside`: it is the second socket, for audio only.
        """
        query = {"phone": phone, "attempt": str(attempt)}
        if livekit:
            query["livekit"] = "true"
        if numbered:
            query["audio"] = "track" if track else "2"
        if beside:
            query["beside"] = "true"
        http = world.http(tune=_abrupt, trust_env=True, middlewares=(stay,))
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
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            await http.close()
            raise Unreachable(f"no cloud answers at {base} ({why(error)})", why(error)) from None
        except BaseException:
            await http.close()
            raise
        if (raw := ws.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        return cls(http, ws, world.monotonic)

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
                await close_http(self._http, self._ws)
        # aiohttp forgets what was said where its own answer cannot be written any more.
        return said or self._ws.close_code or CloseCode.ABNORMAL

    async def say(self, message: wire.Message) -> bool:
        """Sends a message; False when the socket is gone or blocked. Safe to cancel."""
        return await is_sent(self._ws.send_str(wire.encode(message)), SEND_TIMEOUT)

    async def send_audio(self, frame: bytes) -> bool:
        """Sends a binary frame; False when the socket is gone or blocked. Safe to cancel."""
        self.note_audio(frame)
        return await is_sent(self._ws.send_bytes(frame), SEND_TIMEOUT)

    @property
    def measured(self) -> RoundTrip | None:
        raw = self._ws.get_extra_info("socket")
        return round_trip(raw) if raw is not None else None

    def _renew(self) -> bool:
        raw = self._ws.get_extra_info("socket")
        return raw is not None and renew_bbr(raw)

    def pending(self) -> int | None:
        # aiohttp itself waits only beyond 64 KiB: 2 s of PCM, 20 s of Opus.
        connection = self._ws._response.connection
        transport = connection.transport if connection is not None else None
        raw = self._ws.get_extra_info("socket")
        if transport is None or raw is None:
            return 0
        return None if transport.is_closing() else transport.get_write_buffer_size() + unacknowledged(raw)

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
        """Cuts the connection silently, as a network that goes away: TCP reset, no close frame."""
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


def _abrupt(raw: socket.socket) -> None:
    """For an attempt: given up, it is forgotten by the kernel too, which else delivers it when the network is back."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _VANISH)
