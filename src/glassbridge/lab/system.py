"""What a scenario works with: the running system, its phones, its logs, and what its subscribers heard."""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from secrets import token_urlsafe
from string import ascii_uppercase
from time import monotonic, monotonic_ns, time_ns
from typing import Any

from glassbridge.core.values import UserId
from glassbridge.lab.app_process import AppProcess
from glassbridge.lab.app_witnesses import Move, Witnesses, judge_apps
from glassbridge.lab.backend import LOOPBACK, Backend, breakable
from glassbridge.lab.cluster import Cluster
from glassbridge.lab.crowd import Crowd, Entrance, User
from glassbridge.lab.episode import Episode
from glassbridge.lab.floor import join_to_first_packet
from glassbridge.lab.former import legacy_registry, provide
from glassbridge.lab.hostile_app import HostileApp
from glassbridge.lab.ingest import Ingest
from glassbridge.lab.judge import Block, Span, first_new, says_live
from glassbridge.lab.leaks import Holdings, held_by, on_livekit
from glassbridge.lab.listening_app import PACKAGE, ListeningApp
from glassbridge.lab.logbook import Logbook
from glassbridge.lab.needs import Figures, LabError, Needs
from glassbridge.lab.original_sdk import VERSIONS
from glassbridge.lab.phone_reports import in_room, joined_rooms
from glassbridge.lab.pulse import Pulse
from glassbridge.lab.readiness import Http
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.lab.stamp_words import StampRecogniser
from glassbridge.lab.taps import Taps
from glassbridge.livekit.rooms import RoomService
from glassbridge.livekit.tokens import LiveKitKeys

LIVE_WITHIN = 60.0
LISTENED = 6.0
"""Seconds after a run in which apps must go on hearing their users."""
SETTLED, SETTLED_WITHIN = 3.0, 25.0
FLOOR_SAMPLES = 5
SHIPPED_EVERY, ARRIVES_WITHIN = 1.0, 10.0
ENVIRONMENT = {"GLASSBRIDGE_RECOGNISERS": "1"}
"""Nobody says a word here, and recognisers take memory."""


def operator() -> dict[str, str]:
    """Clouds tell their numbers to who shows this token; it is ours, also where this process got one from a file."""
    return {"GLASSBRIDGE_ADMIN_TOKEN": token_urlsafe(24), "GLASSBRIDGE_ADMIN_TOKEN_FILE": ""}


@dataclass
class Sample:
    """One user in one episode."""

    episode: str
    user: str
    figures: Figures = field(default_factory=dict)
    span: Span | None = None
    """When it was; None: where no audio was waited for."""


class System:
    """`async with`: started as `needs` says, in `stack`'s manner; logs go to `folder`. Raises UserError."""

    def __init__(
        self, config: StackConfig, needs: Needs, users: int, folder: Path, say: Callable[[str], None], seed: int = 0
    ) -> None:
        self.say = say
        """For a line about what is going on."""
        self.logbook = Logbook(folder)
        self.seed = seed
        """Of all that is random in a scenario."""
        self.samples: list[Sample] = []
        """What was measured so far."""
        self.baseline: Holdings | None = None
        """What all programs held before the faults that count."""
        self.stack: Stack
        self.taps: Taps
        self.app: ListeningApp
        """Where the scenario needs it."""
        self.app_blocks: Mapping[UserId, list[Block]]
        """What it, or the app of another version in its place, has heard."""
        self.witnesses: Witnesses | None = None
        """Where the scenario needs them."""
        self.hostile_app: HostileApp
        """Where the scenario needs it."""
        self.pulse: Pulse
        self.ingest: Ingest
        """Where all programs ship their logs; what arrived there stays when the system is no more."""
        self.crowd: Crowd
        """The phones of the scenario's users."""
        self.crowds: dict[str, Crowd] = {}
        """All processes of phones, by name."""
        self.rooms: RoomService
        self.wall_ahead_ns = time_ns() - monotonic_ns()
        """Of the wall clock before CLOCK_MONOTONIC."""
        self._moves: list[Move] = []
        """Of this run."""
        self._config = config
        self._needs = needs
        self._users = users
        self._cleanup = AsyncExitStack()
        self._indexes = count(1)
        self._http = Http()
        self._admin_token = ""
        self._pythons: dict[str, str] = {}
        """Of programs that run another version."""

    async def __aenter__(self) -> "System":
        async with AsyncExitStack() as clean:
            folder = Path(clean.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-lab-")))
            clean.enter_context(self.logbook)
            self.pulse = clean.enter_context(Pulse())
            self.ingest = await clean.enter_async_context(Ingest())
            needs, config = self._needs, self._config
            env = ENVIRONMENT | self._to_sink(folder) | operator() | dict(needs.env)
            self._admin_token = env["GLASSBRIDGE_ADMIN_TOKEN"]
            if needs.app or needs.witnesses or needs.own_apps:
                env["GLASSBRIDGE_APPS"] = str(folder / "apps.toml")
            if needs.former:
                former = await asyncio.to_thread(provide, self.say)
                self._pythons = dict.fromkeys(needs.former, str(former))
            registries = await self._open_app(folder / "apps.toml", clean) if needs.app else {}
            if needs.witnesses or needs.own_apps:
                env |= (await clean.enter_async_context(StampRecogniser())).environment
                kinds = (needs.own_apps, ()) if needs.own_apps else (1, VERSIONS)
                self.witnesses = await clean.enter_async_context(Witnesses(folder / "apps.toml", *kinds))
                for missing in self.witnesses.untried:
                    self.say(missing)
            if needs.hostile_app:
                self.hostile_app = await clean.enter_async_context(HostileApp(folder))
                env["GLASSBRIDGE_APPS"] = str(self.hostile_app.registry)
                env["GLASSBRIDGE_ALLOW_HOST"] = f"127.0.0.1:{self.hostile_app.sounds_port}"
            self.taps = clean.enter_context(Taps(folder, ascii_uppercase[: needs.backends]))
            config = replace(
                config,
                livekit="real" if needs.real or needs.breakable or needs.cluster else config.livekit,
                backends=needs.backends,
                workers=needs.workers,
                breakable=needs.breakable,
                cluster=needs.cluster,
                livekit_nodes=needs.livekit_nodes,
                original_clouds=needs.original_clouds,
                env=env,
                pythons=self._pythons,
                backend_env=registries,
                taps=self.taps.paths,
            )
            stack = Stack(config, self.logbook.write, self.say)
            self.stack = await clean.enter_async_context(stack)
            self.rooms = await clean.enter_async_context(RoomService(stack.livekit_url, config.keys))
            await clean.enter_async_context(self._http)
            self.crowd = await self.another_crowd("phones", clean)
            self._cleanup = clean.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    async def _open_app(self, registry: Path, clean: AsyncExitStack) -> dict[str, dict[str, str]]:
        """The app that listens; what backends need for it beside the others, by name. A cloud of version 0.1 reads no
        registry of today's, and signs in a form that today's apps do not take."""
        former_clouds = [name for name in self._pythons if name.startswith("cloud-")]
        if "app" in self._pythons:
            app = await clean.enter_async_context(AppProcess(registry, Path(self._pythons["app"])))
            self.app_blocks = app.blocks
        else:
            unsigned_from = (LOOPBACK,) if former_clouds else ()
            self.app = await clean.enter_async_context(ListeningApp(registry, unsigned_from))
            self.app_blocks = self.app.blocks
        if not former_clouds:
            return {}
        legacy = {"GLASSBRIDGE_APPS": str(legacy_registry(registry))}
        return {name.removeprefix("cloud-"): legacy for name in former_clouds}

    def _to_sink(self, folder: Path) -> dict[str, str]:
        """Has all programs ship their logs to `ingest`."""
        return {
            "BETTERSTACK_INGESTING_HOST": self.ingest.url,
            "BETTERSTACK_SOURCE_TOKEN": self.ingest.token,
            "GLASSBRIDGE_LOG_SPOOL": str(folder / "spool"),
            "GLASSBRIDGE_LOG_EVERY": str(SHIPPED_EVERY),
        }

    # ---- parts

    @property
    def a(self) -> Backend:
        """The first backend."""
        return self.stack.backends[0]

    @property
    def b(self) -> Backend:
        """The second one, where the scenario needs two."""
        return self.stack.backends[1]

    @property
    def cluster(self) -> Cluster:
        """Where the scenario needs one. Raises RuntimeError elsewhere."""
        return breakable(self.stack.cluster)

    @property
    def entrance(self) -> Entrance:
        """Where phones go that are not sent anywhere else."""
        return self.a if self.stack.cluster is None else self.stack.cluster.front

    @property
    def users(self) -> int:
        """So many speak."""
        return self._users

    @property
    def admin(self) -> dict[str, str]:
        """Headers of an operator."""
        return {"Authorization": f"Bearer {self._admin_token}"}

    async def another_crowd(self, name: str, clean: AsyncExitStack | None = None) -> Crowd:
        """One more process of phones, stopped with the system."""
        python = self._pythons.get(name, sys.executable)
        crowd = Crowd(name, dict(ENVIRONMENT), self.stack.core_token, self._indexes, self.logbook.write, python)
        self.crowds[name] = crowd
        (clean or self._cleanup).push_async_callback(crowd.stop)
        await crowd.start()
        return crowd

    @property
    def keys(self) -> LiveKitKeys:
        """Sign tokens for its LiveKit."""
        return self._config.keys

    def worker_of(self, user: User) -> int:
        """Which worker of the user's bridge joined the room last."""
        backend = next(one for one in self.stack.backends if one.name == user.backend.name)
        program = backend.bridge.name
        return int(self.logged("JoinRoom received", user, program=program)[-1]["worker"])

    def worker_pid(self, worker: int = 0, backend: Backend | None = None) -> int:
        """Of the newest process of this number."""
        program = (backend or self.a).bridge.name
        return int(self.logged("worker listening", program=program, worker=worker)[-1]["pid"])

    # ---- phones

    async def speaking(self, backend: Entrance | None = None, **options: Any) -> list[User]:
        """The scenario's users, their audio flowing at the backend (the first one if left out).

        Always the same ones: they are added at first (`options` as of lab/phones.py) and switched over later. Raises
        LabError when their audio does not flow within LIVE_WITHIN.
        """
        backend = backend or self.entrance
        names = [UserId(f"lab-{number}@example.org") for number in range(1, self._users + 1)]
        users = []
        for name in names:
            user = self.crowd.users.get(name)
            if user is None or not user.here:
                user = self.add(name, backend, **options)
            elif user.backend is not backend:
                user.switch(backend)
            users.append(user)
        await self.live(users, backend)
        if self.witnesses is not None:
            await self._apps_hear(users, self.witnesses)
        return users

    async def _apps_hear(self, users: list[User], witnesses: Witnesses) -> None:
        """Raises LabError."""
        since, deadline = monotonic_ns(), monotonic() + LIVE_WITHIN
        while missing := witnesses.missing(users, since):
            if monotonic() > deadline:
                raise LabError(f"deaf after {LIVE_WITHIN:.0f} s: {', '.join(missing)}")
            await asyncio.sleep(0.05)

    def add(self, name: UserId, backend: Entrance, crowd: Crowd | None = None, **options: Any) -> User:
        """A phone of the kind of this run; again, with the same name, after its process was killed."""
        usual = {
            "participant": self._config.participant,
            "apps": [*([PACKAGE] if self._needs.app else []), *(self.witnesses.packages if self.witnesses else [])],
            "frame_ms": self._needs.frame_ms,
            "original": self._needs.original_phones,
        }
        return (crowd or self.crowd).add(name, backend, **usual | options)

    async def live(self, users: list[User], backend: Entrance, within: float = LIVE_WITHIN) -> None:
        """Waits until new frames of all come out at the backend and the phones know. Raises LabError."""
        begun = monotonic_ns()

        def flows(user: User) -> bool:
            blocks = self.taps.blocks(user.id, begun)
            return first_new(user.index, blocks, begun, backend.name) is not None and self._knows(user)

        deadline = monotonic() + within
        waiting = users
        while waiting := [user for user in waiting if not flows(user)]:
            for crowd in {user.crowd for user in waiting}:
                if crowd.failure:
                    raise LabError(f"the phones failed: {crowd.failure}")
            for user in waiting:
                if user.events and user.events[-1]["event"] == "ended":
                    raise LabError(f"the phone of {user.id} has ended: {user.events[-1]['message']}")
            if monotonic() > deadline:
                names = ", ".join(user.id for user in waiting)
                raise LabError(f"audio of {names} does not flow at {backend.name or 'any cloud'} after {within:.0f} s")
            await asyncio.sleep(0.05)

    def _knows(self, user: User) -> bool:
        """The phone was told that its audio is live. Clouds of the original tell no phone anything of audio."""
        return self._needs.original_clouds or says_live(user.events)

    # ---- measuring

    def episode(self, users: list[User], label: str, prefix: str = "") -> Episode:
        """One fault that concerns these users; a prefix tells their figures from those of others (`others_tta_s`)."""
        return Episode(self, users, label, prefix)

    def note(self, user: User, label: str, **figures: float) -> None:
        """A sample without an episode: where no audio is waited for."""
        self.samples.append(Sample(label, user.id, figures))

    def note_phone(self, name: UserId, label: str, begun_ns: int, figures: Figures) -> None:
        """A sample of a phone that is not ours, until now: its story is judged too."""
        now = monotonic_ns()
        self.samples.append(Sample(label, name, figures, Span(begun_ns, now, now, None, (now, now))))

    def take(self, episode: Episode) -> None:
        """Called by an episode that is over."""
        self.samples += [
            Sample(episode.label, user.id, figures, episode.span(user)) for user, figures in episode.figures.items()
        ]
        self._moves.append(Move(episode.label, episode.users, episode.cause_ns, episode.gone_ns, episode.moves))

    async def judge_apps(self) -> None:
        """Called when a run is over: a sample for each user and move of it."""
        moves, self._moves = self._moves, []
        if self.witnesses is None or not moves:
            return
        await asyncio.sleep(LISTENED)
        ends = [*(move.cause_ns for move in moves[1:]), monotonic_ns()]
        self.samples += [
            Sample(f"apps: {move.label}", user.id, judge_apps(self.witnesses.all, user, move, end))
            for move, end in zip(moves, ends, strict=True)
            for user in move.users
        ]

    def logged(self, event: str, user: User | None = None, since_ns: int = 0, **fields: Any) -> list[Mapping[str, Any]]:
        """Log lines of all programs with this event, of this user, that were read since."""
        wanted = {"event": event, **fields} | ({"user_id": user.id} if user is not None else {})
        return self.logbook.find(wanted, since_ns)

    async def until_logged(self, event: str, since_ns: int, within: float, **fields: Any) -> Mapping[str, Any]:
        """The first such line since then. Raises LabError when none comes within so many seconds."""
        deadline = monotonic() + within
        while not (found := self.logged(event, None, since_ns, **fields)):
            if monotonic() > deadline:
                raise LabError(f"nobody logged {event!r} within {within:g} s")
            await asyncio.sleep(0.01)
        return found[0]

    async def log_arrives(self) -> None:
        """Returns when what was logged so far has come to the sink, as far as a pause there tells."""
        await asyncio.sleep(2 * SHIPPED_EVERY)
        deadline = monotonic() + ARRIVES_WITHIN
        while monotonic() < deadline and self.ingest.idle < 2 * SHIPPED_EVERY:  # noqa: ASYNC110 - a pause is no event
            await asyncio.sleep(0.1)

    async def mark_baseline(self) -> None:
        """Notes what is held when audio flows, once it has not grown for SETTLED seconds: participants open some of
        their ways late, the SDK's above all."""
        self.baseline = await self.holdings()
        since, deadline = monotonic(), monotonic() + SETTLED_WITHIN
        while monotonic() - since < SETTLED and monotonic() < deadline:
            await asyncio.sleep(1.0)
            now = await self.holdings()
            if now.descriptors > self.baseline.descriptors:
                self.baseline, since = now, monotonic()

    async def holdings(self) -> Holdings:
        """What all programs hold now."""
        programs = {}
        for backend in self.stack.backends:
            for program in backend.programs:
                programs[program.name] = held_by(program)
            said = await self._http.json(f"{backend.cloud_url}/health", self._admin_token)
            if "tasks" in said:
                programs[backend.cloud.name]["tasks"] = float(said["tasks"])
        programs[self.crowd.program.name] = held_by(self.crowd.program)
        return Holdings(programs, *await on_livekit(self.rooms))

    async def floor(self) -> list[float]:
        """Seconds that a bare participant takes from connect() to its first packet, here and now."""
        users = await self.speaking()
        # Until then only presence comes there, once a second; or nothing.
        await (joined_rooms if self._needs.original_phones else in_room)(users)
        return [
            await join_to_first_packet(self.stack.livekit_url, self.keys, users[0].id) for _ in range(FLOOR_SAMPLES)
        ]
