"""Breaks a running system at the press of a key, one fault at a time, and watches the audio die and come back."""

import asyncio
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Self

from glassbridge.cloud import tap
from glassbridge.lab.breakages import Breakage, Target, breakages
from glassbridge.lab.keys import keys
from glassbridge.lab.outage import Outage
from glassbridge.lab.program import Line
from glassbridge.lab.stack import Stack
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import TaskGroup

POLL = 0.1
GIVE_UP = 60.0
"""Seconds after its cause is gone in which audio must be back."""
QUIT = "q"


class BreakIt:
    """`async with`; give `taps` to the StackConfig, every line of the programs to `on_line`, and call `run`.

    `say` gets a line for each thing that happens.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.current: Outage | None = None
        self.former: list[str] = []
        """Verdicts, oldest first."""
        self.failed = False
        """Audio did not come back once."""
        self.sounds = asyncio.Event()
        """A subscriber has got sound."""
        self.heard_at = 0.0
        """When it last did, monotonic seconds."""
        self.seconds = 0.0
        """Of sound that subscribers got so far."""
        self._say = say
        self._breakages: dict[str, Breakage] = {}
        self._target: Target | None = None
        self._foreign_phone = False
        self._folder = tempfile.TemporaryDirectory(prefix="glassbridge-tap-")
        self._socket = Path(self._folder.name, "tap")
        self._tasks = TaskGroup("break it")
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Ears(self._heard), local_addr=str(self._socket), family=socket.AF_UNIX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        if self._transport is not None:
            self._transport.close()
        self._folder.cleanup()

    @property
    def taps(self) -> Mapping[str, Path]:
        """For the StackConfig: both backends are heard."""
        return {"A": self._socket, "B": self._socket}

    @property
    def legend(self) -> str:
        """The keys, for people; known once it runs."""
        return "   ".join(f"[{found.key}] {found.label}" for found in self._breakages.values()) + f"   [{QUIT}] quit"

    async def run(self, stack: Stack) -> None:
        """Obeys keys until `q`, or until standard input ends and the last fault is over."""
        self._foreign_phone = not stack.phones
        self._breakages = breakages(own_phone=not self._foreign_phone)
        self._target = Target(stack)
        self._say(f"keys: {self.legend}")
        async for key in keys():
            if key == QUIT:
                return
            self.press(key)
        await self._tasks.settle(GIVE_UP)

    @property
    def faults(self) -> Mapping[str, str]:
        """What each key breaks; known once it runs."""
        return {found.key: found.label for found in self._breakages.values()}

    def press(self, key: str) -> bool:
        """Breaks what the key stands for; False: it stands for nothing, or something is broken already."""
        found, target = self._breakages.get(key), self._target
        if found is None or target is None:
            return False
        if self.current is not None:
            self._say(f"one at a time: {self.current.label}")
            return False
        self.current = Outage(found.label, monotonic())
        self._tasks.spawn(self._break(found, target, self.current), found.label)
        return True

    async def _break(self, found: Breakage, target: Target, outage: Outage) -> None:
        self._say(f"FAULT: {found.label}")
        try:
            await found.do(target)
        except UserError as error:
            self._conclude(f"{outage.label}: {error}")
            return
        gone_at = monotonic()
        outage.gone(gone_at)
        while not outage.over(monotonic()):
            if monotonic() - gone_at > GIVE_UP:
                self.failed = True
                self._conclude(f"{outage.label}: audio is not back after {GIVE_UP:.0f} s")
                return
            await asyncio.sleep(POLL)
        self._conclude(outage.verdict())

    def _conclude(self, verdict: str) -> None:
        self.current = None
        self.former.append(verdict)
        self._say(verdict)

    # ---- what is seen and heard

    def _heard(self, pcm: bytes) -> None:
        self.heard_at = monotonic()
        self.sounds.set()
        self.seconds += len(pcm) / 32_000
        if self.current is not None:
            self.current.heard(self.heard_at)

    def on_line(self, line: Line) -> None:
        """A line of a program: what the phone is told, and what the cloud does about it, belongs to the fault."""
        if self.current is None:
            return
        said = line.fields
        match line.program, said.get("event"):
            case "phone", "audio_state" | "socket" | "room":
                text, bad = _news(said["event"], said)
                self.current.told(f"phone: {text}", bad, monotonic())
            case _, "audio state" if line.log and self._foreign_phone:  # the phone is not ours to read
                text, bad = _news("audio_state", said)
                self.current.told(f"phone was told: {text}", bad, monotonic())
            case _, "audio link" if line.log:
                text = f"cloud: audio link {said.get('old')} -> {said.get('new')} {said.get('cause', '')}".rstrip()
                self.current.told(text, False, monotonic())

    def trouble(self, now: float) -> list[str]:
        """What to show: the fault that is on and what is known of it, and what became of the last ones."""
        if self.current is None:
            return self.former[-5:]
        away = self.current.away(now)
        silent = f"no audio for {away:.1f} s" if away else "audio flows"
        gone = "" if self.current.gone_at is None else f", cause gone {now - self.current.gone_at:.1f} s ago"
        return [f"{self.current.label}: {silent}{gone}", *self.current.story[-6:]]


class _Ears(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        block = tap.read(data)
        if block.live:
            self._heard(block.pcm)


def _news(event: str, said: Mapping[str, Any]) -> tuple[str, bool]:
    """What the phone learned, for people, and whether it is bad news."""
    state, reason = str(said.get("state", "")), str(said.get("reason") or "")
    hop = f" [dead hop: {said['hop']}]" if said.get("hop") else ""
    what = {"audio_state": "audio", "socket": "cloud", "room": "room"}[event]
    bad = state in ("interrupted", "unavailable", "closed", "unreachable", "lost", "failed")
    return f"{what} {state}{hop} {reason}".rstrip(), bad
