"""F12: sockets of one phone, and joins of one user, that come at the same time."""

import asyncio
from contextlib import AsyncExitStack
from time import monotonic_ns
from typing import Any

import aiohttp
import grpc

from glassbridge.core.values import UserId, agent_identity
from glassbridge.lab.crowd import User
from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, never, p95, scenario
from glassbridge.lab.stamps import speech
from glassbridge.lab.system import System
from glassbridge.livekit.tokens import agent_token
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

SHORT = Needs(env={"GLASSBRIDGE_GRACE": "3"})
"""Each run has a user of its own, of whom nothing is left when the next one comes."""
SETTLED = 2.0
SPEAKS = 1.0
FRAMES = 10


@scenario(
    "F12a",
    "two sockets of one phone 34 ms apart",
    story="S-23",
    needs=SHORT,
    must=(always("one_survives"), always("own_code"), most("joins", 1), always("one_agent"), p95("tta_s", 2.0)),
    users=1,
    runs=10,
    intact=False,
)
async def two_sockets(system: System) -> None:
    """The newer one stays and its audio is heard, the older one is closed with the code that says why."""
    await system.speaking()
    await sockets(system, 2, 0.034)


@scenario(
    "F12b",
    "50 sockets of one phone at once",
    story="S-23",
    needs=SHORT,
    must=(always("one_survives"), always("own_code"), most("joins", 1), always("one_agent"), p95("tta_s", 2.0)),
    users=1,
    runs=10,
    intact=False,
)
async def fifty_sockets(system: System) -> None:
    """As two."""
    await system.speaking()
    await sockets(system, 50, 0.0)


async def sockets(system: System, number: int, apart: float) -> None:
    """A user whose phone does nothing but open sockets, then speaks on each one that is open."""
    run = len(system.samples)
    user = User(UserId(f"twice-{run}@example.org"), 10_000 + run, system.crowd, system.a)
    begun = monotonic_ns()
    headers = {"Authorization": f"Bearer {system.stack.core_token(user.id)}"}
    url = f"{system.a.cloud_url}/glasses-ws?livekit=true"
    async with AsyncExitStack() as clean:
        http = await clean.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))

        async def connect(at: int) -> aiohttp.ClientWebSocketResponse:
            await asyncio.sleep(at * apart)
            return await clean.enter_async_context(http.ws_connect(url, headers=headers))

        opened = await asyncio.gather(*(connect(at) for at in range(number)))
        heard = {socket: asyncio.create_task(close_code(socket)) for socket in opened}
        await asyncio.sleep(SETTLED)
        alive = [socket for socket in opened if not heard[socket].done()]
        speaks = monotonic_ns()
        for first in range(0, int(SPEAKS * 100), FRAMES):
            pcm = speech(user.index, 1, first, FRAMES, monotonic_ns())
            await asyncio.gather(*(socket.send_bytes(pcm) for socket in alive))
            await asyncio.sleep(0.1)
        blocks = [block.at_ns for block in system.taps.blocks(user.id, speaks) if block.live and block.stamps]
        agents = [who for who in await system.rooms.participants(user.id) if who.identity == agent_identity(user.id)]
        system.note(
            user,
            f"{number} sockets",
            one_survives=float(len(alive) == 1),
            own_code=float(
                all(heard[socket].result() == CloseCode.SUPERSEDED for socket in opened if socket not in alive)
            ),
            joins=len(system.logged("JoinRoom received", user, begun)),
            one_agent=float(len(agents) == 1),
            tta_s=(min(blocks) - speaks) / 1e9 if blocks else float("inf"),
        )
        for task in heard.values():
            task.cancel()


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Waits for it. Taken from the message: aiohttp forgets it when the answer finds no connection any more."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.CLOSE:
            return int(message.data)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return CloseCode.ABNORMAL


@scenario(
    "F12c",
    "50 JoinRoom of one user at once",
    story="S-23",
    needs=SHORT,
    must=(always("one_agent"), always("newest_wins"), never("lost_answers")),
    users=1,
    runs=10,
    intact=False,
)
async def fifty_joins(system: System) -> None:
    """Without a cloud in between. The newest generation has the room; all the others are told that it was replaced."""
    run = len(system.samples)
    user = User(UserId(f"fifty-{run}@example.org"), 20_000 + run, system.crowd, system.a)
    target = f"unix:{system.a.sockets[0]}"
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        stub: Any = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        calls = [stub.JoinRoom(request(system, user, number), timeout=10) for number in range(1, 51)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        status = await stub.GetStatus(pb.BridgeStatusRequest(user_id=user.id), timeout=2)
        agents = [who for who in await system.rooms.participants(user.id) if who.identity == agent_identity(user.id)]
        await stub.LeaveRoom(pb.LeaveRoomRequest(user_id=user.id, reason="lab"), timeout=2)
    system.note(
        user,
        "50 joins",
        one_agent=float(len(agents) == 1),
        newest_wins=float(status.connected and status.generation == 50),
        lost_answers=sum(isinstance(answer, BaseException) for answer in answers),
    )


def request(system: System, user: User, generation: int) -> pb.JoinRoomRequest:
    """A join as a cloud asks for it."""
    token = agent_token(system.keys, user=user.id, room=user.id, ttl=600)
    return pb.JoinRoomRequest(
        user_id=user.id,
        room_name=user.id,
        token=token,
        livekit_url=system.stack.livekit_url,
        target_identity=user.id,
        generation=generation,
    )
