"""F24: good audio in odd pieces, and frames that are no good audio in between."""

import asyncio
import random
from time import monotonic_ns

import aiohttp

from glassbridge.core.values import UserId
from glassbridge.lab.bare_cloud import BareCloud
from glassbridge.lab.crowd import User
from glassbridge.lab.judge import Run, fates
from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, never, scenario
from glassbridge.lab.stamps import speech
from glassbridge.lab.system import System
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.codec import TOO_BIG

PORTIONS = 30
"""Of 100 ms."""
GIANT = 65 << 10
"""Bytes; a binary frame holds at most 64 KiB."""
SHORT = Needs(env={"GLASSBRIDGE_GRACE": "3"})


@scenario(
    "F24a",
    "PCM in odd pieces, with empty and giant frames in between",
    story="5.1",
    needs=SHORT,
    must=(
        always("heard"),
        never("lost"),
        never("duplicated"),
        never("reordered"),
        never("strange"),
        always("told"),
        always("lives"),
    ),
    users=1,
    runs=10,
    intact=False,
)
async def odd_pieces(system: System) -> None:
    """A phone of the original that cuts its audio anywhere: no byte is lost, giants are refused with a reason."""
    await system.speaking()
    run = len(system.samples)
    chance = random.Random(system.seed + run)  # noqa: S311 - replayed by its seed
    user = User(UserId(f"odd-{run}@example.org"), 40_000 + run, system.crowd, system.a)
    begun, spoken, errors = monotonic_ns(), list[Run](), list[str]()
    headers = {"Authorization": f"Bearer {system.stack.core_token(user.id)}"}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{system.a.cloud_url}/glasses-ws", headers=headers) as socket,
    ):
        listening = asyncio.create_task(_complaints(socket, errors))
        rest = b""
        for portion in range(PORTIONS):
            now = monotonic_ns()
            spoken.append(Run(1, portion * 10, 10, now))
            rest += speech(user.index, 1, portion * 10, 10, now)
            await socket.send_bytes(b"")
            if portion % 10 == 5:
                await socket.send_bytes(bytes(GIANT))
            while len(rest) > 1000 or (rest and portion == PORTIONS - 1):
                size = chance.randrange(1, 1000)
                await socket.send_bytes(rest[:size])
                rest = rest[size:]
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        lives = not socket.closed
        listening.cancel()
        await asyncio.wait([listening])
    found = fates(user.index, spoken, system.taps.blocks(user.id, begun))
    system.note(
        user,
        "odd pieces",
        heard=float(found.delivered == PORTIONS * 10),
        lost=found.lost,
        duplicated=found.duplicated,
        reordered=found.reordered,
        strange=found.strange,
        told=float(errors == [TOO_BIG] * (PORTIONS // 10)),
        lives=float(lives),
    )


async def _complaints(socket: aiohttp.ClientWebSocketResponse, errors: list[str]) -> None:
    """What the cloud refuses."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT and (said := message.json())["type"] == "connection_error":
            errors.append(said["code"])


@scenario(
    "F24b",
    "live sound of a wrong rate, and more at once than fits",
    story="5.1",
    needs=SHORT,
    must=(always("refused"), always("lives"), most("hole_s", 0.5), always("says_live")),
    users=2,
    runs=5,
)
async def wrong_rate(system: System) -> None:
    """What a cloud sends into the room. The chunks are refused and the stream lives; who speaks notices nothing."""
    users = await system.speaking()
    name = UserId(f"rate-{len(system.samples)}@example.org")
    async with (
        BareCloud(str(system.a.sockets[0]), system.stack.livekit_url, system.keys) as cloud,
        system.episode(users, "chunks of 48 kHz") as episode,
    ):
        await cloud.join(name, 1)
        stream = await cloud.stream(name, 1)
        episode.gone()
        for chunk in (
            pb.AudioChunk(pcm_data=bytes(640), sample_rate=48_000, channels=1),
            pb.AudioChunk(pcm_data=bytes(640), sample_rate=16_000, channels=2),
            pb.AudioChunk(pcm_data=bytes(400_000), sample_rate=16_000, channels=1),
            pb.AudioChunk(pcm_data=bytes(641), sample_rate=16_000, channels=1),
        ):
            await stream.write(chunk)
        await episode.audio()
        lives = (await cloud.status(name)).connected and not stream.done()
        stream.cancel()
        await cloud.leave(name, 1)
        refused = system.logged("chunk refused; further ones are only counted", None, episode.gone_ns, user_id=name)
        for user in users:
            episode.note(user, refused=float(len(refused) == 1), lives=float(lives))
