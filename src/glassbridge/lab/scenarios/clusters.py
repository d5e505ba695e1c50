"""M: several clouds as one. Three clouds, three bridges, a real Valkey server, a balancer that sends each connection to
any cloud; each user speaks, and has two apps."""

import asyncio
from itertools import pairwise
from math import inf
from time import monotonic, monotonic_ns
from typing import Final

import aiohttp

from glassbridge.core.values import UserId
from glassbridge.lab.cluster_checks import fault, incomplete, rest, restart_apps, with_apps
from glassbridge.lab.faults import family, frozen
from glassbridge.lab.judge import seconds
from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.scenario import always, most, never, scenario
from glassbridge.lab.system import Sample, System
from glassbridge.wire.close_codes import CloseCode

NEEDS: Final = Needs(backends=3, cluster=True, own_apps=2)
USERS: Final = 30
BLIP: Final = 0.5
BLIPS: Final = 3
ROUNDS: Final = 5
RESTART_WITHIN: Final = 15.0


async def blip(system: System) -> None:
    """All phones lose their sockets at once, and come back to any cloud."""
    system.cluster.from_phones.refuse()
    await asyncio.sleep(BLIP)
    system.cluster.from_phones.heal()


@scenario(
    "M1",
    "several clouds: all phones lose their sockets for 0.5 s",
    story="16",
    needs=NEEDS,
    must=with_apps(most("hole_s", 2.0), most("joins", 1), always("same_session")),
    users=USERS,
    runs=1,
)
async def blips(system: System) -> None:
    """Each user is on another cloud afterwards, or not: it is the same session, with the same apps."""
    for number in range(1, BLIPS + 1):
        async with fault(system, f"blip {number}") as episode:
            episode.cause()
            await blip(system)
            episode.gone()


@scenario(
    "M2",
    "several clouds: apps are stopped and started by REST",
    story="16",
    needs=NEEDS,
    must=(never("rest_failed"), most("start_s", 3.0), never("deaf")),
    users=USERS,
    runs=1,
    keeps=False,
    intact=False,
)
async def starts(system: System) -> None:
    """The request reaches any cloud, and so does the app's socket."""
    for user in await system.speaking():
        failed, longest = await restart_apps(system, user)
        for name in failed:
            system.say(f"{user.id}: {name}")
        system.note(user, "stopped and started", rest_failed=len(failed), start_s=longest, deaf=0)
    try:
        await system.speaking()  # which waits until all apps hear
    except LabError:
        for user in await system.speaking():
            system.note(user, "deaf", deaf=1)


@scenario(
    "M3",
    "several clouds: two sockets of one phone on two of them",
    story="16",
    needs=NEEDS,
    must=(most("open", 1), most("superseded_s", 1.0), never("wrong_code"), most("two_sessions", 1)),
    users=2,
    runs=1,
    keeps=False,
    intact=False,
)
async def two_sockets(system: System) -> None:
    """The newest attempt wins, whichever cloud has which."""
    await system.speaking()
    async with aiohttp.ClientSession() as http:
        for number in range(USERS // 2):
            await _supersede(system, http, UserId(f"pair-{number}@example.org"), number)


async def _supersede(system: System, http: aiohttp.ClientSession, user: UserId, number: int) -> None:
    backends = system.stack.backends
    sockets: list[aiohttp.ClientWebSocketResponse] = []
    slowest, wrong = 0.0, 0
    for attempt in range(1, 4):
        url = backends[(number + attempt) % len(backends)].cloud_url.replace("http", "ws", 1)
        query = {"livekit": "true", "audio": "2", "phone": f"phone-{number}", "attempt": str(attempt)}
        headers = {"Authorization": f"Bearer {system.stack.core_token(user)}"}
        begun = monotonic()
        sockets.append(await http.ws_connect(f"{url}/glasses-ws", params=query, headers=headers))
        if attempt == 1:
            await sockets[0].receive(timeout=5)
            continue
        code = await _closed_with(sockets[-2])
        slowest = max(slowest, monotonic() - begun if code is not None else inf)
        wrong += code != CloseCode.SUPERSEDED
    living = await _living_sessions(system, user)
    figures = {"open": sum(not socket.closed for socket in sockets), "superseded_s": slowest, "wrong_code": wrong}
    system.samples.append(Sample("three sockets", user, figures | {"two_sessions": living}))
    await sockets[-1].close()


async def _closed_with(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """None: it stays open for 5 s."""
    try:
        async with asyncio.timeout(5):
            while not socket.closed:
                await socket.receive()
    except TimeoutError:
        return None
    return socket.close_code


async def _living_sessions(system: System, user: UserId) -> int:
    async with aiohttp.ClientSession(headers=system.admin) as http:
        url = f"{system.a.cloud_url}/api/admin/sessions?ended=false&user={user}"
        async with http.get(url) as answer:
            return len((await answer.json())["data"]["sessions"])


@scenario(
    "M4",
    "several clouds: REST of users and sounds of apps by any of them",
    story="16",
    needs=NEEDS,
    must=(never("rest_failed"),),
    users=USERS,
    runs=1,
    keeps=False,
    intact=False,
)
async def by_rest(system: System) -> None:
    """Each request reaches any cloud."""
    users = await system.speaking()
    for user, failed in (await rest(system, users, ROUNDS)).items():
        for name in failed:
            system.say(f"{user.id}: {name}")
        system.note(user, f"{ROUNDS} rounds", rest_failed=len(failed))


@scenario(
    "M5",
    "several clouds: the console is complete, and names a cloud that does not answer",
    story="16",
    needs=NEEDS,
    must=(never("console_wrong"), always("silent_named"), never("others_named"), most("answer_s", 0.75)),
    users=USERS,
    runs=1,
    keeps=False,
    intact=False,
)
async def console(system: System) -> None:
    """One cloud is frozen for a moment."""
    users = await system.speaking()
    last = system.stack.backends[-1]
    before = await incomplete(system, users)
    with frozen(*family(last.cloud)):
        begun = monotonic()
        async with (
            aiohttp.ClientSession(headers=system.admin) as http,
            http.get(f"{system.a.cloud_url}/api/admin/sessions?ended=false") as answer,
        ):
            told = (await answer.json())["data"]
        took = monotonic() - begun
    silent = [node for node in told["nodes"] if not node["answered"]]
    after = await incomplete(system, await system.speaking())
    for user in users:
        system.note(
            user,
            "one cloud frozen",
            console_wrong=before[user] + after[user],
            silent_named=len(silent) == 1,
            others_named=max(0, len(silent) - 1),
            answer_s=took,
        )


@scenario(
    "M6",
    "several clouds: a rolling restart",
    story="16",
    needs=NEEDS,
    must=with_apps(most("hole_s", 1.5), always("same_session")),
    users=USERS,
    runs=1,
)
async def rolling(system: System) -> None:
    """One cloud after the other is stopped and started."""
    for backend in system.stack.backends:
        async with fault(system, f"{backend.name} restarts", moves=2) as episode:
            episode.cause()
            await backend.cloud.end(RESTART_WITHIN)
            episode.gone()
            await backend.start_cloud()
            await backend.ready()


@scenario(
    "M12",
    "several clouds: one is frozen for 20 s, and comes back",
    story="16",
    needs=NEEDS,
    must=(*with_apps(most("hole_s", 8.0)), most("taken_back", 0)),
    users=USERS,
    runs=1,
)
async def frozen_cloud(system: System) -> None:
    """Its users are elsewhere when it wakes: it has lost them, and takes none back."""
    for backend in system.stack.backends[:1]:
        async with fault(system, f"{backend.name} frozen for 20 s", within=20, moves=2) as episode:
            episode.cause()
            with frozen(*family(backend.cloud)):
                await asyncio.sleep(20)
            episode.gone()
            woken = monotonic_ns()
            await asyncio.sleep(3)
            for user in episode.users:
                blocks = [block for block in system.taps.blocks(user.id, woken) if block.live]
                switches = sum(one.backend != other.backend for one, other in pairwise(blocks))
                episode.note(user, taken_back=switches, woken_s=seconds(episode.cause_ns, woken))


@scenario(
    "M13",
    "several clouds: a rolling restart of the bridges, which the directory lists",
    story="16",
    needs=NEEDS,
    must=with_apps(most("hole_s", 1.5), most("joins", 1), always("same_session")),
    users=USERS,
    runs=1,
)
async def rolling_bridges(system: System) -> None:
    """One bridge after the other is stopped and started; no cloud is told."""
    for backend in system.stack.backends:
        async with fault(system, f"the bridge of {backend.name} restarts") as episode:
            episode.cause()
            await backend.bridge.end(RESTART_WITHIN)
            episode.gone()
            await backend.start_bridge()
            await backend.ready()
