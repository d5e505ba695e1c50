"""A TLS front for a local server, with a certificate of its own that only those trust who are told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


@asynccontextmanager
async def tls_front(port: int, certificate: Path, key: Path, heads: list[bytes] | None) -> AsyncIterator[str]:
    """Gives the wss:// URL in front of `port`; collects the header of each HTTP request into `heads` (None: what is
    carried is no HTTP)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"" if heads is None else await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        answers, server = await asyncio.open_connection("127.0.0.1", port)
        server.write(head)
        pumps = [asyncio.create_task(pump(reader, server)), asyncio.create_task(pump(answers, writer))]
        try:
            await asyncio.wait(pumps)
        finally:
            for end in (writer, server):
                end.transport.abort()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(carry(reader, writer))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    front = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    try:
        yield f"wss://127.0.0.1:{front.sockets[0].getsockname()[1]}"
    finally:
        front.close()
        for task in carrying:
            task.cancel()
        if carrying:
            await asyncio.wait(carrying, timeout=2)
