"""One fault and what became of it, for each user that it concerned.

Figures of each sample:
    tta_s        from the moment the cause was gone to the first new frame at a subscriber; infinite: never
    hole_s       the longest time without a frame at a subscriber
    silent_s     all the time without a frame there, in holes of half a second and more
    told_s       from the cause to the phone's first knowledge of it (absent when it never knew of any)
    untold_s     how long audio was away without the phone knowing
    says_live    at the end the phone has been told `live`
    same_session the session at the end is the one of the beginning
    joins        JoinRoom calls that bridges got; tokens: LiveKit tokens that clouds minted for bridges
    sent, delivered, late, lost, duplicated, reordered, foreign, strange, oldest_s    see judge.Fates
    stalled_s    the longest time in which the machine gave the lab no processor: a measure of the other figures
    lost_later   frames lost of those that were spoken a second after audio was back, or later
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import monotonic, monotonic_ns
from typing import Any, Protocol

from glassbridge.lab import judge
from glassbridge.lab.backend import Backend
from glassbridge.lab.crowd import User
from glassbridge.lab.logbook import Logbook
from glassbridge.lab.needs import LabError
from glassbridge.lab.pulse import Pulse
from glassbridge.lab.taps import Taps

BEFORE = 1_000_000_000
"""Nanoseconds before the cause from which frames are accounted for."""
SETTLE = 0.7
"""Seconds after the last frame in question in which it may still come: reports of phones are that late."""
STEADY = 1_000_000_000


class Observed(Protocol):
    """The system in which an episode happens."""

    logbook: Logbook
    taps: Taps
    pulse: Pulse

    @property
    def say(self) -> Callable[[str], None]:
        """Hears what goes on."""

    def logged(self, event: str, user: User | None = None, since_ns: int = 0, **fields: Any) -> list[Mapping[str, Any]]:
        """Log lines of all programs."""

    def take(self, episode: "Episode") -> None:
        """It is over."""


class Episode:
    """Use as `async with`; one cause and one end of it. Figures are there when the block is left."""

    def __init__(self, system: Observed, users: list[User], label: str, prefix: str) -> None:
        self.users = users
        self.label = label
        self.figures: dict[User, dict[str, float]] = {user: {} for user in users}
        self.cause_ns = 0
        self.gone_ns = 0
        self.moves = 1
        """How often the phones went to another cloud in it."""
        self._end_ns = 0
        self._holes: dict[User, tuple[int, int]] = {}
        self._system = system
        self._prefix = prefix
        self._begun_with = {user: user.session for user in users}
        self._at: dict[User, str | None] = dict.fromkeys(users)

    async def __aenter__(self) -> "Episode":
        self._system.say(self.label)
        self._system.logbook.note(self.label)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        if not self.gone_ns:
            raise LabError("an episode without cause() and gone()")
        end = self._end_ns = monotonic_ns()
        await asyncio.sleep(SETTLE)
        for user in self.users:
            self._judge(user, end)
        self._system.take(self)

    # ---- what the scenario says

    def cause(self) -> None:
        """Now it breaks."""
        self.cause_ns = monotonic_ns()
        self._system.logbook.note(f"{self.label}: broken")

    def gone(self) -> None:
        """Now the cause is gone; from here on audio is waited for. For a kill: right after cause()."""
        self.gone_ns = monotonic_ns()
        self._system.logbook.note(f"{self.label}: the cause is gone")
        if not self.cause_ns:
            self.cause_ns = self.gone_ns

    def note(self, user: User, **figures: float) -> None:
        """A figure of the scenario's own."""
        self.figures[user] |= figures

    async def audio(self, within: float = 10.0, at: Backend | None = None) -> None:
        """Waits until audio is back for all (at that backend), and a little on. Does not judge: the limits do."""
        for user in self.users:
            self._at[user] = at.name if at is not None else None
        deadline = monotonic() + within
        waiting = set(self.users)
        while waiting and monotonic() < deadline:
            waiting -= {user for user in waiting if self.back_at(user) is not None}
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0 + STEADY / 1e9)

    def back_at(self, user: User) -> int | None:
        """When the first new frame came out; None: not yet."""
        blocks = self._system.taps.blocks(user.id, self.gone_ns)
        return judge.first_new(user.index, blocks, self.gone_ns, self._at[user])

    # ---- what came of it

    def span(self, user: User) -> judge.Span:
        """When it was."""
        bystander = self._prefix.startswith("others")
        return judge.Span(self.cause_ns, self.gone_ns, self._end_ns, self._at[user], self._holes[user], bystander)

    def _judge(self, user: User, end: int) -> None:
        begin = self.cause_ns - BEFORE
        blocks = self._system.taps.blocks(user.id, begin)
        events = list(user.events)
        back = self.back_at(user)
        told = judge.bad_news(events, self.cause_ns)
        hole = self._holes[user] = judge.longest_hole(user.index, blocks, self.cause_ns, end)
        spoken = [run for run in user.spoken if begin <= run.at_ns < end]
        later = [run for run in spoken if back is not None and run.at_ns >= back + STEADY]
        logged = self._system.logged
        found = {
            "tta_s": judge.seconds(self.gone_ns, back),
            "hole_s": judge.seconds(*hole),
            "silent_s": judge.silence(user.index, blocks, self.cause_ns, end),
            "untold_s": judge.untold(hole, told),
            "says_live": float(judge.says_live(events)),
            "same_session": float(user.session == self._begun_with[user]),
            "joins": len(logged("JoinRoom received", user, self.cause_ns)),
            "tokens": len(logged("LiveKit token minted", user, self.cause_ns, holder="bridge")),
            "stalled_s": self._system.pulse.stalled(self.cause_ns, end),
            "lost_later": judge.fates(user.index, later, blocks).lost,
            **asdict(judge.fates(user.index, spoken, blocks)),
        }
        if told is not None:
            found["told_s"] = judge.seconds(self.cause_ns, told)
        named = {self._prefix + name: value for name, value in found.items()}
        self.figures[user] = named | self.figures[user]
