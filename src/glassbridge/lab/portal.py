"""A sign-in page of a network (captive portal): it answers in place of every server that the phone asks by TCP.

Packets are IPv4. Connections that are begun while the page is shown lead to it, by another port of the same address;
all others get nothing meanwhile, and its own get nothing afterwards.
"""

import asyncio
import struct
from typing import Self

_TCP, _SYN, _ACK = 6, 0x02, 0x10
_ANSWER = (
    b"HTTP/1.1 302 Found\r\nLocation: http://sign-in.example/\r\nContent-Type: text/html\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_HEAD_WITHIN = 5.0


def ports(packet: bytes) -> tuple[int, int]:
    """Source and destination of a packet of TCP or UDP."""
    at = (packet[0] & 0x0F) * 4
    return int.from_bytes(packet[at : at + 2], "big"), int.from_bytes(packet[at + 2 : at + 4], "big")


class Portal:
    """The page at one port, and the packets that lead to it."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        self._asked: dict[int, int] = {}
        """By the port of the phone, the one that it asked for."""

    @classmethod
    async def start(cls, host: str) -> Self:
        """Listens on any free port."""
        return cls(await asyncio.start_server(_answer, host, 0))

    def close(self) -> None:
        self._server.close()

    def towards(self, packet: bytes) -> bytes | None:
        """What becomes of a packet of the phone."""
        if packet[9] != _TCP:
            return None
        phone, asked = ports(packet)
        flags = packet[(packet[0] & 0x0F) * 4 + 13]
        if flags & _SYN and not flags & _ACK:
            self._asked[phone] = asked
        return _with_port(packet, 2, self.port) if phone in self._asked else None

    def back(self, packet: bytes, *, others: bool) -> bytes | None:
        """What becomes of a packet to the phone; `others`: it is the time of the other servers."""
        page, phone = ports(packet)
        if packet[9] != _TCP or page != self.port:
            return packet if others else None
        return None if others or phone not in self._asked else _with_port(packet, 0, self._asked[phone])


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_HEAD_WITHIN):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


def _with_port(packet: bytes, offset: int, port: int) -> bytes:
    """With another port at this place of the TCP header, and the checksum that follows from it (RFC 1624)."""
    at = (packet[0] & 0x0F) * 4
    changed = bytearray(packet)
    former, checksum = (struct.unpack_from("!H", packet, at + place)[0] for place in (offset, 16))
    total = (~checksum & 0xFFFF) + (~former & 0xFFFF) + port
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", changed, at + offset, port)
    struct.pack_into("!H", changed, at + 16, ~total & 0xFFFF)
    return bytes(changed)
