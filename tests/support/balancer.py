"""A plain balancer: one address before several clouds, which knows nothing of sessions."""

import asyncio
import random
from dataclasses import replace

from glassbridge.cloud.app import Cloud


class Balancer:
    """One address before several clouds: each connection goes to any of them."""

    def __init__(self, *ports: int) -> None:
        self._ports = ports
        self._chance = random.Random(7)
        self._server: asyncio.Server | None = None
        self.taken = 0

    async def __aenter__(self) -> "Balancer":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._chance.choice(self._ports))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))


def answer_at(cloud: Cloud, url: str, *, shares: bool = True) -> None:
    """Apps are told this address from now on; unless it is shared, without the name of the cloud."""
    host = cloud.sessions._apps
    host.config = replace(host.config, public_url=url)
    if not shares:
        host._base = lambda: ""
