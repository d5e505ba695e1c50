"""What a scenario is: a fault done to real processes, and the numbers that must hold. Registered by a decorator.

    @scenario(
        "F7", "a brief blip of the phone's socket", story="S-8",
        needs=Needs(breakable=True),
        must=(p95("tta_s", 1.0), most("joins", 0), always("same_session")),
    )
    async def blip(system: System) -> None:
        users = await system.speaking()
        async with system.episode(users, "2 s") as episode:
            episode.cause()
            system.a.from_phones.refuse()
            await asyncio.sleep(2)
            system.a.from_phones.heal()
            episode.gone()
            await episode.audio(within=5)

Each user of each episode is one sample with the figures of lab/episode.py and those that the scenario adds.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from glassbridge.lab.judge import percentile
from glassbridge.lab.needs import Figures, Needs
from glassbridge.lab.system import Sample, System


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that must hold over all samples that have the figure; at least one must."""

    figure: str
    kind: Literal["p95", "p99", "most", "least"]
    bound: float

    def value(self, samples: Sequence[Figures]) -> float | None:
        """What is compared with the bound; None: no sample has the figure."""
        values = [sample[self.figure] for sample in samples if self.figure in sample]
        if not values:
            return None
        return {
            "p95": lambda: percentile(values, 0.95),
            "p99": lambda: percentile(values, 0.99),
            "most": lambda: max(values),
            "least": lambda: min(values),
        }[self.kind]()

    def holds(self, samples: Sequence[Figures]) -> bool:
        """Whether it does; never without samples."""
        value = self.value(samples)
        if value is None:
            return False
        return value >= self.bound if self.kind == "least" else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.kind == "least" else "<="
        name = f"{self.kind} {self.figure}" if self.kind in ("p95", "p99") else self.figure
        return f"{name} {sign} {self.bound:g}"


def p95(figure: str, bound: float) -> Limit:
    """95 of 100 samples are at most that."""
    return Limit(figure, "p95", bound)


def p99(figure: str, bound: float) -> Limit:
    """99 of 100 samples are at most that."""
    return Limit(figure, "p99", bound)


def most(figure: str, bound: float) -> Limit:
    """No sample is over that."""
    return Limit(figure, "most", bound)


def least(figure: str, bound: float) -> Limit:
    """No sample is below that."""
    return Limit(figure, "least", bound)


def always(figure: str) -> Limit:
    """True in each sample."""
    return Limit(figure, "least", 1)


def never(figure: str) -> Limit:
    """False, or nothing, in each sample."""
    return Limit(figure, "most", 0)


INTACT = (never("foreign"), never("strange"), never("duplicated"), never("reordered"), never("lost_later"))
"""What holds in every scenario: nothing of another, nothing twice, all in order, nothing lost once audio is back."""
APPS = (never("apps_missed"), never("apps_twice"), never("apps_stopped"), never("apps_begun_again"))
"""What holds of the apps of each kind (lab/app_witnesses.py): every final transcript spoken 1 s after the move or later
arrives, once; nothing stops the app; it begins at most once a move."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One entry of the catalogue."""

    id: str
    title: str
    story: str
    """What it is of the original's catalogue."""
    needs: Needs
    must: tuple[Limit, ...]
    users: int
    """Who speak before the fault and after it."""
    runs: int
    """How often; with several users a run, 10 samples and more."""
    keeps: bool
    """What the system holds after the runs must be what it held before."""
    sdk: bool
    """Must hold with the SDK-backed participant too."""
    run: Callable[[System], Awaitable[None]] | None
    alone: "Callable[[Alone], Awaitable[list[Sample]]] | None" = None
    """In place of `run`: it measures by itself, without a system of the lab."""
    special: bool = False
    """It needs what not every machine has (namespaces, Valkey, this repository's history): `all` does not mean it."""

    @property
    def tells_stories(self) -> bool:
        """Whether the log sink must tell of each fault. Doubles of the original's cloud log nothing, other versions in
        their own words; and what is told of one user by several clouds is no single story."""
        return not (self.needs.original_clouds or self.needs.former or self.needs.cluster)


@dataclass(frozen=True, slots=True)
class Alone:
    """How a scenario that needs no system of the lab is to measure."""

    participant: str
    runs: int
    seed: int
    jobs: int = 1
    """Runs side by side, where it can do that."""


_found: dict[str, Scenario] = {}


def scenario(
    id: str,
    title: str,
    *,
    story: str,
    must: Sequence[Limit],
    needs: Needs | None = None,
    users: int = 5,
    runs: int = 2,
    keeps: bool = True,
    intact: bool = True,
    sdk: bool = False,
) -> Callable[[Callable[[System], Awaitable[None]]], Callable[[System], Awaitable[None]]]:
    """Registers a scenario; INTACT is added to what must hold, unless its samples come from no episode."""

    def register(run: Callable[[System], Awaitable[None]]) -> Callable[[System], Awaitable[None]]:
        if id in _found:
            raise ValueError(f"there are two scenarios {id}")
        limits, what = (*must, *(INTACT if intact else ())), needs or Needs()
        special = what.cluster or bool(what.former)
        _found[id] = Scenario(id, title, story, what, limits, users, runs, keeps, sdk, run, special=special)
        return run

    return register


def scenario_alone(
    id: str,
    title: str,
    *,
    story: str,
    must: Sequence[Limit],
    measure: Callable[[Alone], Awaitable[list[Sample]]],
    runs: int = 1,
    special: bool = False,
) -> None:
    """Registers a scenario that measures by itself."""
    if id in _found:
        raise ValueError(f"there are two scenarios {id}")
    _found[id] = Scenario(id, title, story, Needs(), tuple(must), 1, runs, False, False, None, measure, special)


def registered() -> list[Scenario]:
    """Those whose modules were imported."""
    return list(_found.values())


def in_family(id: str, name: str) -> bool:
    """Whether a scenario is this one or a variant of it (F4a and F4b are of F4, F41 is not), or of this letter."""
    id, name = id.casefold(), name.casefold()
    return id == name or (id.startswith(name) and (name.isalpha() or not id[len(name) :][0].isdigit()))


def spelled(value: float | None) -> str:
    """A figure as people read it."""
    if value is None:
        return "-"
    if not isfinite(value):
        return "never" if value == inf else str(value)
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"
