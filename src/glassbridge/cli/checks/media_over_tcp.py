"""Knocks at LiveKit's media port by TCP: joins by signalling, takes an address that the server offers for TCP, and has
it answer an ICE check there. Our own participant speaks UDP only; phones in strict networks need the other way."""

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Final

import aiohttp
from aioice import stun
from aiortc import RTCPeerConnection, RTCSessionDescription
from livekit.protocol import rtc

from glassbridge.livekit.signal import JoinQuery, SignalError, decode_response, encode_request
from glassbridge.livekit.upgrade import open_socket

OFFERED_WITHIN: Final = 3.0
"""Seconds in which the server names its addresses."""
ANSWER_WITHIN: Final = 3.0
PRIORITY: Final = 1_518_280_447
_TCP: Final = re.compile(r"candidate:[^\s:]+ 1 tcp \d+ (\S+) (\d+) typ host", re.IGNORECASE)
_UFRAG: Final = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)
_PASSWORD: Final = re.compile(r"^a=ice-pwd:(\S+)", re.MULTILINE)


class NoTcp(Exception):
    """Media cannot go by TCP; the text says why."""


async def knock(url: str, token: str) -> str:
    """The address that answered. Raises NoTcp, and ParticipantError when there is no joining at all."""
    http, socket = await open_socket(url, token, JoinQuery().params())
    async with AsyncExitStack() as clean:
        clean.push_async_callback(http.close)
        clean.push_async_callback(socket.close)
        peer = RTCPeerConnection()
        clean.push_async_callback(peer.close)
        found, offer = await _offered(socket, peer)
        answer = await peer.createAnswer()
        request = rtc.SessionDescription(type="answer", sdp=answer.sdp)
        await socket.send_bytes(encode_request(answer=request))
        theirs, password = _first(_UFRAG, offer), _first(_PASSWORD, offer)
        for host, port in found:
            if await _answers(host, port, f"{theirs}:{_first(_UFRAG, answer.sdp)}", password):
                return f"{host}:{port}"
    places = ", ".join(f"{host}:{port}" for host, port in found)
    raise NoTcp(f"LiveKit offers media by TCP at {places}, and nobody answers there")


async def _offered(
    socket: aiohttp.ClientWebSocketResponse, peer: RTCPeerConnection
) -> tuple[list[tuple[str, int]], str]:
    """Addresses for TCP, and the offer that they belong to."""
    found: list[tuple[str, int]] = []
    offer = ""
    try:
        async with asyncio.timeout(OFFERED_WITHIN):
            while not (found and offer):
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
                kind, body = decode_response(message.data)
                text = ""
                if kind == "offer":
                    text = offer = body.sdp
                    await peer.setRemoteDescription(RTCSessionDescription(body.sdp, "offer"))
                elif kind == "trickle":
                    text = body.candidateInit
                found += [(host, int(port)) for host, port in _TCP.findall(text)]
    except (TimeoutError, SignalError):
        pass
    if not (found and offer):
        raise NoTcp("LiveKit offers no media by TCP")
    return found, offer


async def _answers(host: str, port: int, username: str, password: str) -> bool:
    """Whether an ICE check by TCP (RFC 6544) is answered there."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes["USERNAME"] = username
    request.attributes["PRIORITY"] = PRIORITY
    request.attributes["ICE-CONTROLLED"] = 1
    request.add_message_integrity(password.encode())
    data = bytes(request)
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(len(data).to_bytes(2, "big") + data)
                while True:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    answer = stun.parse_message(await reader.readexactly(size))
                    if answer.transaction_id == request.transaction_id:
                        return answer.message_class is stun.Class.RESPONSE
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match is not None else ""
