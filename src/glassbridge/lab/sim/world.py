"""The time of a schedule with the history of what happened in it, and its processes, which write into that."""

from dataclasses import dataclass
from random import Random
from typing import Any

from glassbridge.lab.virtual import process
from glassbridge.lab.virtual.time import Time

UNIX_EPOCH_S = 1_700_000_000.0
"""Wall clock at the beginning of every world."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened."""

    at: float
    """Seconds of the world's clock, which no process sees."""
    where: str
    """Name of a process, or of a link."""
    what: str
    user: str
    more: tuple[Any, ...]

    def __str__(self) -> str:
        about = " ".join(str(item) for item in self.more)
        return f"{self.at:9.3f}  {self.where:<10} {self.user:<4} {self.what:<18} {about}".rstrip()


class World(Time):
    """Two runs with one seed are the same to the last fact."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = Random(seed)  # noqa: S311 - not for secrets
        self.history: list[Fact] = []
        self.processes: dict[str, Process] = {}
        """By name."""

    def note(self, where: str, what: str, user: str = "", *more: Any) -> None:
        """Writes a fact into the history."""
        self.history.append(Fact(self.now, where, what, user, more))


class Process(process.Process):
    """One program of a World, by clocks that are not those of others."""

    def __init__(self, world: World, name: str, user: str = "", skew: float = 0.0) -> None:
        chance = world.chance
        super().__init__(
            world,
            name,
            chance,
            offset=chance.uniform(10.0, 10_000.0),
            rate=1.0 + chance.uniform(-1e-4, 1e-4),
            wall=UNIX_EPOCH_S + chance.uniform(-skew, skew),
            user=user,
        )
        self._facts = world
        world.processes[name] = self

    def note(self, what: str, user: str = "", *more: Any) -> None:
        """Writes a fact into the history."""
        self._facts.note(self.name, what, user, *more)
