"""Whether a LiveKit server responds: an answer or a refusal does, silence and a name that nobody knows do not."""

import asyncio

import pytest

from glassbridge.lab.links import ByteLink
from glassbridge.livekit.responds import responds
from tests.support.patience import patient


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def test_an_answer_a_refusal_and_silence(unused_tcp_port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, ByteLink() as link:
        front = await link.to(port)
        assert await responds(f"ws://127.0.0.1:{front}", patient(2))
        link.hold()
        assert not await responds(f"ws://127.0.0.1:{front}", 0.3)
        link.heal()
        link.refuse()
        assert await responds(f"ws://127.0.0.1:{front}", patient(2))
    assert await responds(f"ws://127.0.0.1:{unused_tcp_port}", patient(2))


@pytest.mark.parametrize("url", ["ws://nowhere.invalid:7880", "ws://", "nonsense"])
async def test_what_leads_nowhere_is_silence(url: str) -> None:
    assert not await responds(url, patient(2))
