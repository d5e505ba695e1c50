"""Runs scenarios: each on a fresh system, all its runs on the same; judges by the numbers, keeps logs of failures."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

import structlog

from glassbridge.lab.judge import percentile
from glassbridge.lab.leaks import SDK_SLACK, SLACK, Holdings
from glassbridge.lab.needs import LabError
from glassbridge.lab.scenario import Alone, Limit, Scenario
from glassbridge.lab.stack import StackConfig
from glassbridge.lab.system import Sample, System
from glassbridge.lab.told import Stories, judge_all
from glassbridge.livekit.participant import ParticipantKind
from glassbridge.runtime.errors import UserError

log = structlog.get_logger()

AT_BASELINE = 25.0
"""Seconds in which what a fault left behind must be gone (numbers.md)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One limit and what was measured."""

    limit: Limit
    value: float | None
    holds: bool


@dataclass
class Outcome:
    """The outcome of one scenario with one kind of participant."""

    scenario: Scenario
    participant: ParticipantKind
    seed: int = 0
    livekit: str = ""
    samples: list[Sample] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    floor_s: float | None = None
    """Median of the bare participant's join to first packet."""
    before: Holdings | None = None
    after: Holdings | None = None
    leaks: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    """Exceptions in our programs that nobody expected."""
    stories: Stories = field(default_factory=Stories)
    """What the log sink alone tells of the samples."""
    error: str = ""
    """Why nothing, or not all, was measured."""
    untried: list[str] = field(default_factory=list)
    """What was left out because this machine lacks something, and why."""
    logs: Path | None = None
    """Kept after a failure."""
    took_s: float = 0.0

    @property
    def passed(self) -> bool:
        holds = all(judged.holds for judged in self.judged)
        return holds and not (self.error or self.leaks or self.defects or self.stories.wrong)

    @property
    def tta_ratio(self) -> float | None:
        """Our p95 over the floor."""
        values = [sample.figures["tta_s"] for sample in self.samples if "tta_s" in sample.figures]
        return percentile(values, 0.95) / self.floor_s if values and self.floor_s else None


class Runner:
    """`say` gets a line for each thing that goes on."""

    def __init__(
        self,
        config: StackConfig,
        out: Path,
        say: Callable[[str], None],
        *,
        seed: int,
        keep_logs: bool = False,
        users: int | None = None,
        jobs: int = 1,
    ) -> None:
        self._config = config
        self._out = out
        self._say = say
        self._seed = seed
        self._keep_logs = keep_logs
        self._users = users
        """In place of those of each scenario."""
        self._jobs = jobs

    async def run_all(
        self, scenarios: Sequence[Scenario], participants: Sequence[ParticipantKind], runs: int | None
    ) -> AsyncIterator[Outcome]:
        """One outcome after the other; with the SDK-backed participant only where a scenario must hold with it."""
        for scenario in scenarios:
            for participant in participants:
                if participant == "own" or scenario.sdk or len(participants) == 1:
                    yield await self.run(scenario, participant, runs)

    async def run(self, scenario: Scenario, participant: ParticipantKind, runs: int | None = None) -> Outcome:
        """A system that does not start is a failure like any other. When cancelled, everything is stopped."""
        outcome = Outcome(scenario, participant, self._seed)
        begun = monotonic()
        folder = self._out / f"{scenario.id}-{participant}" / "logs"
        shutil.rmtree(folder, ignore_errors=True)
        config = replace(self._config, participant=participant)
        runs = scenario.runs if runs is None else runs
        if scenario.alone is not None:
            how = Alone(participant, runs, self._seed, self._jobs)
            try:
                outcome.samples = await scenario.alone(how)
            except (LabError, UserError) as error:
                outcome.error = str(error)
            outcome.livekit = "real"
            return self._judged(outcome, begun)

        def say(text: str) -> None:
            self._say(f"{scenario.id} {participant}: {text}")

        system = System(config, scenario.needs, self._users or scenario.users, folder, say, self._seed)
        try:
            async with system:
                outcome.livekit = system.stack.livekit_kind
                await self._measure(scenario, system, outcome, runs)
        except (LabError, UserError) as error:
            outcome.error = str(error)
        except Exception as error:  # boundary: one scenario fails, the others run
            log.exception("the lab failed", scenario=scenario.id)
            outcome.error = f"the lab failed: {type(error).__name__}: {error}"
        outcome.samples = system.samples
        outcome.defects = system.logbook.defects
        outcome.untried = system.witnesses.untried if system.witnesses else []
        if outcome.samples and scenario.tells_stories:
            outcome.stories = judge_all(system.ingest.lines, scenario.id, outcome.samples, system.wall_ahead_ns)
            outcome.stories.wrong += [f"the sink would refuse: {problem}" for problem in system.ingest.problems]
        self._judged(outcome, begun)
        if not outcome.passed or self._keep_logs:
            outcome.logs = folder
        else:
            shutil.rmtree(folder.parent, ignore_errors=True)
        return outcome

    @staticmethod
    def _judged(outcome: Outcome, begun: float) -> Outcome:
        figures = [sample.figures for sample in outcome.samples]
        outcome.judged = [Judged(limit, limit.value(figures), limit.holds(figures)) for limit in outcome.scenario.must]
        outcome.took_s = monotonic() - begun
        return outcome

    async def _measure(self, scenario: Scenario, system: System, outcome: Outcome, runs: int) -> None:
        floor = await system.floor()
        outcome.floor_s = percentile(floor, 0.5)
        for run in range(runs):
            system.say(f"run {run + 1} of {runs}")
            if run == 1 and system.baseline is None:
                # In the first one pools fill, and sessions that the phones left behind begin their grace.
                await system.mark_baseline()
            assert scenario.run is not None
            await scenario.run(system)
            await system.judge_apps()
            await system.speaking()  # which may move them once more
        await system.log_arrives()
        if system.baseline is not None and scenario.keeps:
            await self._wait_for_baseline(system, outcome, system.baseline)

    @staticmethod
    async def _wait_for_baseline(system: System, outcome: Outcome, before: Holdings) -> None:
        outcome.before = before
        deadline = monotonic() + AT_BASELINE
        while True:
            outcome.after = await system.holdings()
            outcome.leaks = outcome.after.grown_since(before, SDK_SLACK if outcome.participant == "sdk" else SLACK)
            if not outcome.leaks or monotonic() > deadline:
                return
            await asyncio.sleep(0.5)
