"""Apps of three kinds beside each other, each under all clouds of the lab: what became of every word that was spoken?

Ours runs in this process, those of the original's SDK as processes of their own. A kind that is not installed is told
of, and is missing in the figures.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Final, Self

from glassbridge.app import AppServer, Session, Transcription
from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.lab.crowd import User
from glassbridge.lab.judge import seconds
from glassbridge.lab.original_sdk import VERSIONS, provide_sdk, steady_port
from glassbridge.lab.stamp_words import Word, read_words, words_of
from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import TaskGroup

AFTER_NS: Final = 1_000_000_000
"""From so long after a move on, everything must reach the app."""
ON_ITS_WAY_NS: Final = 1_500_000_000
"""A word that was spoken so shortly before the end may still be on its way."""
READY_WITHIN: Final = 20.0
_SCRIPT: Final = Path(__file__).with_name("witness_app.mjs")


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word that came to the app."""

    word: Word
    at_ns: int
    id: str | None = None
    """Of its transcript, which a later one may replace."""


@dataclass(eq=False)
class Witness:
    """One app. `key` begins the names of its figures."""

    key: str
    name: str
    package: str
    api_key: str = field(default="", repr=False)
    heard: defaultdict[str, list[HeardWord]] = field(default_factory=lambda: defaultdict(list))
    """By user."""
    begun: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    stopped: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def hear(self, user: str, text: str, id: str | None = None, replaces: Sequence[str] = ()) -> None:
        """The text of a final transcript, which stands in place of others."""
        now, stands = monotonic_ns(), self.heard[user]
        if replaces:
            stands = [heard for heard in stands if heard.id not in replaces]
        self.heard[user] = [*stands, *(HeardWord(word, now, id) for word in read_words(text))]

    def hears(self, user: str, since_ns: int) -> bool:
        return any(heard.at_ns >= since_ns for heard in self.heard[user])


@dataclass(frozen=True, slots=True)
class Move:
    """The user's phone went to another cloud, or its cloud came back."""

    label: str
    users: Sequence[User]
    cause_ns: int
    gone_ns: int
    count: int = 1
    """So many of them at once."""


def judge_apps(witnesses: Iterable[Witness], user: User, move: Move, end_ns: int) -> dict[str, float]:
    """What each app had of this user from that move to the next, or to the end."""
    acknowledged = [event["t_ns"] for event in user.events if event["event"] == "ack"]
    moved = max([at for at in acknowledged if move.cause_ns <= at < end_ns], default=move.gone_ns)
    moved = max(moved, move.gone_ns)
    spoken = words_of(user.spoken, moved, end_ns)
    expected = words_of(user.spoken, moved + AFTER_NS, end_ns - ON_ITS_WAY_NS)
    found: dict[str, float] = {}
    worst: dict[str, float] = {}
    for witness in witnesses:
        heard = Counter(heard.word for heard in witness.heard[user.id])
        first = min((heard.at_ns for heard in witness.heard[user.id] if heard.word in spoken), default=None)
        begun = sum(move.cause_ns <= at < end_ns for at in witness.begun[user.id])
        figures = {
            "missed": float(len(expected - heard.keys())),
            "twice": float(sum(heard[word] > 1 for word in expected)),
            "stopped": float(sum(move.cause_ns <= at < end_ns for at in witness.stopped[user.id])),
            "begun_again": float(max(0, begun - move.count)),
            "back_s": seconds(moved, first),
        }
        found |= {f"{witness.key}_{name}": value for name, value in figures.items()}
        for name, value in figures.items():
            worst[name] = max(worst.get(name, 0.0), value)
    return found | {f"apps_{name}": value for name, value in worst.items()} | {"words": float(len(expected))}


class Witnesses:
    """`async with`; clouds that are given `registry` know them."""

    def __init__(self, registry: Path, ours: int = 1, versions: Sequence[str] = VERSIONS) -> None:
        """`ours`: so many of our own SDK; `versions` of the original's."""
        self.registry = registry
        self._count, self._versions = ours, versions
        self.all: list[Witness] = []
        self.untried: list[str] = []
        """Why a kind is missing."""
        self._tasks = TaskGroup("witnesses")
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._cleanup.push_async_callback(self._tasks.close)
        try:
            for number in range(1, self._count + 1):
                await self._ours("ours" if number == 1 else f"ours{number}")
            for version in self._versions:
                await self._originals(version)
        except BaseException:
            await self._cleanup.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    @property
    def packages(self) -> list[str]:
        return [witness.package for witness in self.all]

    def missing(self, users: Iterable[User], since_ns: int) -> list[str]:
        """Apps that hear nothing of a user."""
        return [f"{one.name} of {user.id}" for one in self.all for user in users if not one.hears(user.id, since_ns)]

    def _register(self, key: str, name: str) -> tuple[Witness, str, int]:
        package, port = f"org.example.{key}", steady_port()
        record, api_key = new_app(package, f"http://127.0.0.1:{port}", name, ["MICROPHONE"])
        witness = Witness(key, name, package, api_key)
        TomlRegistry(self.registry).add(record)
        self.all.append(witness)
        return witness, api_key, port

    async def _ours(self, name: str) -> None:
        witness, key, port = self._register(name, "glassbridge.app")
        server = AppServer(witness.package, key, port=port)

        @server.on_session
        def begin(session: Session) -> None:
            witness.begun[session.user_id].append(monotonic_ns())

            @session.on_transcription("en-US")
            def heard(said: Transcription) -> None:
                if said.final:
                    witness.hear(session.user_id, said.text, said.id, said.replaces)

        server.on_stop(lambda session, _why: witness.stopped[session.user_id].append(monotonic_ns()))
        await self._cleanup.enter_async_context(server)

    async def _originals(self, version: str) -> None:
        try:
            command = await asyncio.to_thread(provide_sdk, version, _SCRIPT)
        except UserError as error:
            self.untried.append(str(error))
            return
        witness, key, port = self._register(f"sdk{version[0]}", f"@mentra/sdk {version}")
        pipe, quiet = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        child = await Child.start([*command, witness.package, key, str(port)], stdout=pipe, stderr=quiet)
        self._cleanup.push_async_callback(child.stop, 1.0)
        ready = asyncio.Event()
        assert child.stdout is not None
        self._tasks.spawn(_read(child.stdout, witness, ready), witness.key)
        try:
            async with asyncio.timeout(READY_WITHIN):
                await ready.wait()
        except TimeoutError:
            raise UserError(f"the app on {witness.name} does not start: run {_SCRIPT.name} by hand") from None


async def _read(stream: asyncio.StreamReader, witness: Witness, ready: asyncio.Event) -> None:
    async for line in lines(stream):
        said = json.loads(line) if line.startswith('{"event"') else {"event": ""}  # version 2 talks to its console, too
        match said["event"]:
            case "ready":
                ready.set()
            case "begun":
                witness.begun[said["user"]].append(monotonic_ns())
            case "stopped":
                witness.stopped[said["user"]].append(monotonic_ns())
            case "heard":
                witness.hear(said["user"], said["text"])
