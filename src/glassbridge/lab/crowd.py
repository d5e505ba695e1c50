"""The lab's side of a process full of phones (lab/phones.py)."""

import asyncio
import json
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from glassbridge.core.values import UserId
from glassbridge.lab.judge import Run
from glassbridge.lab.program import Line, Program
from glassbridge.runtime.errors import UserError

START_TIMEOUT = 20.0
STOP_GRACE = 5.0


class Entrance(Protocol):
    """Where a phone is sent: a backend, or what stands before several."""

    @property
    def name(self) -> str | None: ...

    @property
    def phone_url(self) -> str: ...


@dataclass(eq=False)
class User:
    """One phone and its owner. Commands take effect soon; watch `events` or the audio."""

    id: UserId
    index: int
    """As its stamps say it."""
    crowd: "Crowd"
    backend: Entrance
    """To which it was sent last."""
    here: bool = True
    """Its phone exists: it was neither removed nor killed."""
    events: list[Mapping[str, Any]] = field(default_factory=list)
    """What its phone told, the oldest first (lab/phones.py)."""
    spoken: list[Run] = field(default_factory=list)

    @property
    def session(self) -> str | None:
        """The id of the session that it was last accepted into."""
        return next((event["session_id"] for event in reversed(self.events) if event["event"] == "ack"), None)

    def switch(self, backend: Entrance) -> None:
        """Moves to another backend."""
        self.backend = backend
        self._do("switch", cloud=backend.phone_url)

    def drop(self, seconds: float) -> None:
        """Loses its network, without a word."""
        self._do("drop", seconds=seconds)

    def microphone(self, on: bool) -> None:
        """Switches it."""
        self._do("microphone", on=on)

    def voice(self, on: bool) -> None:
        """The voice detector's word."""
        self._do("voice", on=on)

    def deafen(self) -> None:
        """Loses what it says in its present place, unnoticed: a phone of the original only."""
        self._do("deafen")

    def remove(self) -> None:
        """Says goodbye, for good."""
        self._do("remove")
        self.here = False

    def _do(self, command: str, **fields: Any) -> None:
        self.crowd.tell(do=command, user=self.id, **fields)


class Crowd:
    """One process of phones. Frozen or killed, all its phones are."""

    def __init__(
        self,
        name: str,
        env: dict[str, str],
        core_token: Callable[[UserId], str],
        indexes: Iterator[int],
        on_line: Callable[[Line], None],
        python: str = sys.executable,
    ) -> None:
        self.program = Program(name, (), env, self._hear, "glassbridge.lab.phones", python=python)
        self.users: dict[UserId, User] = {}
        self.failure = ""
        """What went wrong inside of it, if anything did."""
        self._core_token = core_token
        self._indexes = indexes
        self._on_line = on_line
        self._by_index: dict[int, User] = {}
        self._generation: defaultdict[UserId, int] = defaultdict(int)
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Without phones, for the first time or again after a kill. Raises UserError."""
        self._ready.clear()
        for user in self.users.values():
            user.here = False
        await self.program.start()
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._ready.wait()
        except TimeoutError:
            raise UserError(f"the phones do not start: {self.program.last_words}") from None

    async def stop(self) -> None:
        """All say goodbye; idempotent."""
        self.program.signal(signal.SIGCONT)
        if self.program.running:
            self.tell(do="quit")
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_GRACE):
                    await self.program.wait()
        await self.program.stop(0.1)

    def add(self, user: UserId, backend: Entrance, **options: Any) -> User:
        """A phone that connects to this backend and speaks; `options` as of lab/phones.py. Again after a restart."""
        found = self.users.get(user)
        if found is None:
            found = self.users[user] = User(user, next(self._indexes), self, backend)
            self._by_index[found.index] = found
        found.backend, found.here = backend, True
        self._generation[user] += 1
        self.tell(
            do="add",
            user=user,
            index=found.index,
            generation=self._generation[user],
            cloud=backend.phone_url,
            token=self._core_token(user),
            **options,
        )
        return found

    def tell(self, **command: Any) -> None:
        """Sends a command."""
        self.program.tell(json.dumps(command))

    def _hear(self, line: Line) -> None:
        said = line.fields
        if line.log or not said:
            self._on_line(line)
        elif said["event"] == "ready":
            self._ready.set()
        elif said["event"] == "failed":
            self.failure = said["error"]
            self._on_line(line)
        elif said["event"] == "spoken":
            for index, *run in said["runs"]:
                self._by_index[index].spoken.append(Run(*run))
        else:
            self._on_line(line)
            if (user := self.users.get(said.get("user", ""))) is not None:
                user.events.append(said)
