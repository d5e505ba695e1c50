"""What must hold of several clouds at any time: one session for each user, each request served whichever cloud it
reaches, a console that is complete."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import groupby
from time import monotonic, monotonic_ns, time
from typing import Any, Final, Self

import aiohttp

from glassbridge.cloud.relay import HEADER
from glassbridge.core.moving import surplus
from glassbridge.lab.backend import Backend
from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.scenario import Limit, always, most, never
from glassbridge.lab.system import System
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, signer, sound_claim

LOOK_EVERY: Final = 0.25
OWN_ROWS: Final = {HEADER: "the lab"}
"""A cloud that is asked so answers for itself alone."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=45.0)
LOOK_TIMEOUT: Final = aiohttp.ClientTimeout(total=0.5)
COMPLETE_WITHIN: Final = 8.0
"""Seconds in which clouds know of each other again: a lease, and a renewal."""
LAST_NS: Final = 1_000_000_000
SOUND: Final = (
    most("two_sessions_s", 1.0),
    most("owners", 1),
    never("rest_failed"),
    never("console_wrong"),
    never("lost"),
    always("says_live"),
)
"""What holds in each scenario of the family M."""
TITLES: Final = {
    "transcripts": ("GET", "/api/client/transcripts", None),
    "apps": ("GET", "/api/client/apps", None),
    "location": ("POST", "/api/client/location", {"lat": 1.0, "lng": 2.0}),
    "device state": ("POST", "/api/client/device/state", {"modelName": "Lab"}),
}
"""Requests of a user's own programs."""


class Watch:
    """Looks at all clouds, and notes for how long a user has sessions on two of them."""

    def __init__(self, system: System) -> None:
        self.longest: dict[str, float] = {}
        """By user, seconds."""
        self._system = system
        self._since: dict[str, float] = {}
        self._tasks = TaskGroup("watch")

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=LOOK_TIMEOUT, headers=self._system.admin | OWN_ROWS)
        self._tasks.spawn(self._run(), "look")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        await self._http.close()

    async def _run(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        backends = self._system.stack.backends
        answers = await asyncio.gather(*(_living(self._http, backend) for backend in backends))
        users = [user for answer in answers for user in answer]
        now = monotonic()
        twice = {user for user in users if users.count(user) > 1}
        for user in twice:
            since = self._since.setdefault(user, now)
            self.longest[user] = max(self.longest.get(user, 0.0), now - since)
        self._since = {user: since for user, since in self._since.items() if user in twice}


async def _living(http: aiohttp.ClientSession, backend: Backend) -> set[str]:
    """Users who have a session there."""
    rows = await _json(http, "GET", f"{backend.cloud_url}/api/admin/sessions?ended=false")
    return set() if rows is None else {row["user"] for row in rows["data"]["sessions"]}


async def are_shared_out(system: System, within: float) -> bool:
    """Whether, after `within` seconds at most, no cloud has so many users that it would send some to the others."""
    deadline = monotonic() + within
    async with aiohttp.ClientSession(timeout=LOOK_TIMEOUT, headers=system.admin | OWN_ROWS) as http:
        while True:
            counts = [len(await _living(http, backend)) for backend in system.stack.backends if backend.cloud.running]
            if not any(surplus(mine, [*counts[:at], *counts[at + 1 :]], mine) for at, mine in enumerate(counts)):
                system.say(f"users by cloud: {counts}")
                return True
            if monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_EVERY)


@asynccontextmanager
async def fault(system: System, label: str, within: float = 10.0, moves: int = 1) -> AsyncIterator[Episode]:
    """An episode of all users, with all checks of the family after it."""
    users = await system.speaking()
    async with system.episode(users, label) as episode, Watch(system) as watch:
        episode.moves = moves
        yield episode
        await episode.audio(within)
        failed, missing = await rest(system, users), await incomplete(system, users)
        now = monotonic_ns()
        for user in users:
            blocks = [block for block in system.taps.blocks(user.id, now - LAST_NS) if block.live]
            blocks.sort(key=lambda block: block.at_ns)
            episode.note(
                user,
                two_sessions_s=watch.longest.get(user.id, 0.0),
                owners=owners_of(block.backend for block in blocks),
                rest_failed=len(failed[user]),
                console_wrong=missing[user],
            )
            for name in failed[user]:
                system.say(f"{user.id}: {name}")


def owners_of(backends: Iterable[str]) -> int:
    """How many clouds spoke for one user, by the cloud of each block that was handed on, in order of time. One that
    follows another is a move, and the user has one owner all the time; by turns there are several."""
    turns = [backend for backend, _ in groupby(backends)]
    return 1 if 1 <= len(turns) <= 2 else len(set(turns))


async def rest(system: System, users: Iterable[User], rounds: int = 1) -> Mapping[User, list[str]]:
    """Asks for each user by the balancer; what failed, and how."""
    failed: dict[User, list[str]] = {user: [] for user in users}
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        for _ in range(rounds):
            for user, wrong in failed.items():
                for name, (method, path, body) in TITLES.items():
                    wrong += await _asked(http, system, user, method, path, body, name)
                wrong += await _sound(http, system)
    return failed


async def restart_apps(system: System, user: User) -> tuple[list[str], float]:
    """Stops each app of the user and starts it again, by the balancer: what failed, and the seconds of the longest
    start."""
    wrong: list[str] = []
    longest = 0.0
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        for package in system.witnesses.packages if system.witnesses else []:
            wrong += await _asked(http, system, user, "POST", f"/apps/{package}/stop", None, "stop")
            begun = monotonic()
            wrong += await _asked(http, system, user, "POST", f"/apps/{package}/start", None, "start")
            longest = max(longest, monotonic() - begun)
    return wrong, longest


async def incomplete(system: System, users: list[User], within: float = COMPLETE_WITHIN) -> Mapping[User, int]:
    """Asks the console of each cloud; by user, how many of them do not list exactly one living session."""
    deadline = monotonic() + within
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=system.admin) as http:
        while True:
            wrong = dict.fromkeys(users, 0)
            running = [backend for backend in system.stack.backends if backend.cloud.running]
            for backend in running:
                told = await _json(http, "GET", f"{backend.cloud_url}/api/admin/sessions?ended=false")
                data = {"sessions": [], "nodes": []} if told is None else told["data"]
                listed = [row["user"] for row in data["sessions"] if row["state"] != "moved"]
                complete = sum(node["answered"] for node in data["nodes"]) == len(running)
                for user in users:
                    wrong[user] += listed.count(user.id) != 1 or not complete
            if not any(wrong.values()) or monotonic() > deadline:
                return wrong
            await asyncio.sleep(0.2)


async def _asked(
    http: aiohttp.ClientSession, system: System, user: User, method: str, path: str, body: Any, name: str
) -> list[str]:
    headers = {"Authorization": f"Bearer {system.stack.core_token(user.id)}"}
    try:
        async with http.request(method, system.cluster.url + path, json=body, headers=headers) as answer:
            said = await answer.text()
            return [] if answer.status == 200 else [f"{name}: {answer.status} {said[:200]}"]
    except (aiohttp.ClientError, TimeoutError) as error:
        return [f"{name}: {type(error).__name__}"]


async def _sound(http: aiohttp.ClientSession, system: System) -> list[str]:
    """An app brings a sound, and a bridge fetches it: each by any cloud."""
    if system.witnesses is None:
        return []
    witness, data = system.witnesses.all[0], b"a sound of the lab"
    digest = sha256(data).hexdigest()
    claim = sound_claim(witness.package, len(data), digest)
    headers = {SIGNATURE_HEADER: signer(witness.api_key).sign(claim, int(time())), DIGEST_HEADER: digest}
    url = f"{system.cluster.url}/api/sounds?app={witness.package}"
    told = await _json(http, "POST", url, data=data, headers=headers)
    if told is None:
        return ["sound brought"]
    try:
        async with http.get(system.cluster.url + told["data"]["path"]) as answer:
            return [] if answer.status == 200 and await answer.read() == data else [f"sound fetched: {answer.status}"]
    except (aiohttp.ClientError, TimeoutError) as error:
        return [f"sound fetched: {type(error).__name__}"]


async def _json(http: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Any:
    """None: no answer, or an error."""
    try:
        async with http.request(method, url, **options) as answer:
            return await answer.json() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def with_apps(*more: Limit) -> tuple[Limit, ...]:
    """SOUND, and that no app is deaf for over a second, stopped, or begun anew."""
    kept = ("apps_missed", "apps_twice", "apps_stopped", "apps_begun_again")
    return (*more, *SOUND, *(never(name) for name in kept))
