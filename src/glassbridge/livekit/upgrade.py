"""Opens the socket of the signalling, and says in our words why it does not open."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from http import HTTPStatus
from ipaddress import ip_address
from time import time
from typing import Any

import aiohttp
import jwt
from yarl import URL

from glassbridge.core.values import LossReason
from glassbridge.livekit.clock_skew import explain
from glassbridge.livekit.participant import ParticipantError
from glassbridge.livekit.signal import JOIN_PATH, MAX_MESSAGE, auth_headers, is_jwt
from glassbridge.runtime.tcp import CONNECT_WITHIN, TunedConnector
from glassbridge.runtime.unreachable import stay, why

VALIDATE_WITHIN = 1.5
"""Seconds in which a server that refuses us may say why."""
MAX_WHY = 512
"""Bytes of that which are read; they are compared with _WHY and go nowhere."""
MAX_ATTRIBUTES = 64_000
"""Bytes of a token's attributes: LiveKit's default (`limit.max_attributes_size`). A join with more gets HTTP 500."""
_WHY: Mapping[str, tuple[LossReason, str]] = {
    "identity length": (LossReason.LIMIT_EXCEEDED, "the identity is longer than LiveKit allows"),
    "room name length": (LossReason.LIMIT_EXCEEDED, "the room's name is longer than LiveKit allows"),
    "max participants": (LossReason.LIMIT_EXCEEDED, "the room is full"),
    "identity cannot be empty": (LossReason.TOKEN_REFUSED, "the token names no identity"),
    "no room name": (LossReason.TOKEN_REFUSED, "the token names no room"),
    "permissions denied": (LossReason.TOKEN_REFUSED, "it does not allow to join this room"),
}
"""What is looked for in a refusal, and our own words for it."""

_OF_LIFE = (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG)
_SCHEMES = ("ws", "wss", "http", "https")
_REFUSALS: Mapping[int, tuple[LossReason, str]] = {
    HTTPStatus.BAD_REQUEST: (LossReason.TOKEN_REFUSED, "the token names no room, or a room that cannot be"),
    HTTPStatus.UNAUTHORIZED: (LossReason.TOKEN_REFUSED, ""),
    HTTPStatus.FORBIDDEN: (LossReason.TOKEN_REFUSED, "it does not allow to join this room"),
    HTTPStatus.NOT_FOUND: (LossReason.UNREACHABLE, "it answers 404: no LiveKit at this path, or no such room"),
    HTTPStatus.INTERNAL_SERVER_ERROR: (LossReason.UNREACHABLE, "it answers HTTP 500: its own log says why"),
}


class SignalSocket(aiohttp.ClientWebSocketResponse):
    """A socket to a server that may send without end: others get their turn between any two of its messages.

    aiohttp reads and answers queued pings without a pause, and reads the whole queue when it closes: 0.42 s for 30,000
    pings (measured).
    """

    async def receive(self, timeout: float | None = None) -> Any:
        """The next message. Pings are answered here; a server that has gone gets no answer, and its close is next."""
        while (message := await super().receive(timeout)).type in _OF_LIFE:
            if message.type is aiohttp.WSMsgType.PING:
                with suppress(ConnectionError):
                    await self.pong(message.data)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return message

    async def close(self, *, code: int = aiohttp.WSCloseCode.OK, message: bytes = b"") -> bool:
        """Says goodbye, and waits for no answer: with a close code aiohttp takes it that there was one."""
        self._close_code = self._close_code or code
        return await super().close(code=code, message=message)


async def open_socket(url: str, token: str, params: Mapping[str, str]) -> tuple[aiohttp.ClientSession, SignalSocket]:
    """The session is to be closed after its socket. Raises ParticipantError.

    Attempts to connect overlap (runtime/tcp.py), the request is sent once: so no place is taken twice. Not safe to
    cancel once the request is out: the server may have let us in, and would keep us (traps A4).
    """
    require_jwt(token)
    address = parse_url(url)
    address = address.with_path(address.path.rstrip("/") + JOIN_PATH)
    async with AsyncExitStack() as unless_open:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN)
        session = aiohttp.ClientSession(
            timeout=timeout,
            connector=TunedConnector(),
            trust_env=True,
            middlewares=(stay,),
            ws_response_class=SignalSocket,
        )
        http = await unless_open.enter_async_context(session)
        with suppress(aiohttp.ConnectionTimeoutError):
            try:
                socket = await _upgrade(http, address, token, params)
            except ParticipantError as refusal:
                raise await _reason_of(refusal, http, address, token) from None
            unless_open.pop_all()
            return http, socket
    raise ParticipantError(LossReason.UNREACHABLE, f"{address.host}:{address.port}: nobody answers")


async def _upgrade(http: aiohttp.ClientSession, address: URL, token: str, params: Mapping[str, str]) -> SignalSocket:
    """Raises ParticipantError, without a trace of the foreign error: aiohttp's can hold the token (traps A6).

    ConnectionTimeoutError, which holds none, tells that nothing was sent.
    """
    try:
        return await http.ws_connect(  # type: ignore[return-value]  # its ws_response_class
            address,
            params=params,
            headers=auth_headers(token),
            autoping=False,
            compress=0,
            max_msg_size=MAX_MESSAGE,
        )
    except aiohttp.ConnectionTimeoutError:
        raise
    except aiohttp.WSServerHandshakeError as error:
        date = error.headers.get("Date") if error.headers is not None else None
        raise explain(_refusal(error.status, token), token, date) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ParticipantError(LossReason.UNREACHABLE, f"{address.host}:{address.port}: {why(error)}") from None


async def _reason_of(
    refusal: ParticipantError, http: aiohttp.ClientSession, address: URL, token: str
) -> ParticipantError:
    """The refusal of a token, more exactly: a refused upgrade does not say why, LiveKit's own check of it does."""
    if refusal.reason is not LossReason.TOKEN_REFUSED:
        return refusal
    text = b""
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(VALIDATE_WITHIN):
            async with http.get(address / "validate", headers=auth_headers(token)) as answer:
                text = await answer.content.read(MAX_WHY)
    said = text.decode(errors="replace").lower()
    return next((ParticipantError(*why) for mark, why in _WHY.items() if mark in said), refusal)


def is_loopback(opened: SignalSocket) -> bool:
    """Whether the server is on this machine."""
    peer = opened.get_extra_info("peername")
    return peer is not None and ip_address(peer[0].split("%")[0]).is_loopback


def require_jwt(token: str) -> None:
    """Raises ParticipantError for what cannot be a token, before it travels anywhere."""
    if not is_jwt(token):
        raise ParticipantError(LossReason.TOKEN_REFUSED, "it is no JWT")


def parse_url(url: str) -> URL:
    """The address of a LiveKit server, without what has no place in it. Raises ParticipantError."""
    wrong = ParticipantError(LossReason.UNREACHABLE, "the LiveKit URL has to look like wss://host or ws://host:7880")
    try:
        address = URL(url.strip())
    except ValueError:
        raise wrong from None
    if address.scheme not in _SCHEMES or not address.host:
        raise wrong
    # As http: for ws aiohttp looks for WS_PROXY and WSS_PROXY.
    return (
        address.with_scheme("https" if address.scheme in ("https", "wss") else "http").with_query(None).with_user(None)
    )


def _refusal(status: int, token: str) -> ParticipantError:
    reason, detail = _REFUSALS.get(status, (LossReason.UNREACHABLE, f"it answers HTTP {status}"))
    if status == HTTPStatus.UNAUTHORIZED and _has_expired(token):
        reason = LossReason.TOKEN_EXPIRED
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and _attributes_of(token) > MAX_ATTRIBUTES:
        reason, detail = LossReason.LIMIT_EXCEEDED, "the token's attributes are larger than LiveKit allows"
    return ParticipantError(reason, detail)


def _has_expired(token: str) -> bool:
    expiry = _claims(token).get("exp")
    return isinstance(expiry, int | float) and expiry < time()


def _attributes_of(token: str) -> int:
    """Their size in bytes, as LiveKit counts it."""
    attributes = _claims(token).get("attributes")
    items = attributes.items() if isinstance(attributes, dict) else ()
    return sum(len(f"{key}{value}".encode(errors="replace")) for key, value in items)


def _claims(token: str) -> Mapping[str, Any]:
    """By the token's own word, unverified."""
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
