"""Users who are there and say nothing: a socket each, no place in a room. 200 of them cost the machine next to nothing:
what is measured is the system that serves them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import structlog

from glassbridge.core.values import UserId
from glassbridge.lab.needs import LabError
from glassbridge.lab.system import System
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

PATH = "/glasses-ws"


@asynccontextmanager
async def silent_users(system: System, users: Sequence[UserId]) -> AsyncIterator[None]:
    """They are at the first backend, and want LiveKit. Raises LabError when one is not let in."""
    tasks = TaskGroup("silent users", lambda user, error: log.error("a silent user failed", task=user, exc_info=error))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        try:
            for user in users:
                tasks.spawn(_listen(await _connect(http, system, user)), user)
            yield
        finally:
            await tasks.close()


async def _connect(http: aiohttp.ClientSession, system: System, user: UserId) -> aiohttp.ClientWebSocketResponse:
    headers = {"Authorization": f"Bearer {system.stack.core_token(user)}"}
    address = system.a.phone_url.replace("http", "ws", 1) + PATH
    try:
        return await http.ws_connect(address, params={"livekit": "true"}, headers=headers)
    except (aiohttp.ClientError, OSError) as error:
        raise LabError(f"the cloud does not let {user} in: {type(error).__name__}") from None


async def _listen(socket: aiohttp.ClientWebSocketResponse) -> None:
    """What is said is passed over; the cloud's pings are answered as long as somebody reads."""
    async with socket:
        async for _ in socket:
            pass
