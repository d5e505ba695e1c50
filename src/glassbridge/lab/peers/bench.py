"""Runs the systems of subjects.py beside each other on one LiveKit server, breaks something, and measures each.

Phones are on the far side of a wire (lab/impaired.py), everything else on the near one. Whoever dies is started again
after RESTART seconds, as a service manager does.
"""

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from glassbridge.core.values import UserId
from glassbridge.lab import tone_code
from glassbridge.lab.impaired import CLEAR, SERVER, Impairment, Wire
from glassbridge.lab.overheard import Overheard
from glassbridge.lab.peers import venvs
from glassbridge.lab.peers.judge import FaultTimes, Figures, cell, judge, units_heard
from glassbridge.lab.peers.subjects import FAULTS, SUBJECTS, FaultKind, Subject
from glassbridge.lab.program import Program
from glassbridge.lab.readiness import until
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import cancelled

EARS = Path(__file__).with_name("ears")
UNITS = 250
"""Tenths of a second that each phone says."""
BEFORE = 4.0
"""Seconds of speech of the last phone before the fault."""
RESTART = 0.1
SPOKEN_WITHIN = 60.0
_CUT = Impairment(loss=1.0)


@dataclass(frozen=True, kw_only=True)
class PeersConfig:
    """What is measured."""

    subjects: Sequence[Subject] = SUBJECTS
    faults: Sequence[FaultKind] = FAULTS
    runs: int = 1
    livekit_bin: Path | None = None


Results = dict[tuple[str, str], list[Figures]]
"""By fault and key of a subject."""


async def measure(config: PeersConfig, say: Callable[[str], None]) -> Results:
    """One episode for each fault and run. Raises UserError. Call it in a network namespace of our own."""
    results: Results = {}
    for run in range(config.runs):
        for fault in config.faults:
            for key, figures in (await _episode(config, fault, run)).items():
                results.setdefault((fault.name, key), []).append(figures)
                say(f"{fault.name:8} {key:22} {cell([figures])}, heard before {100 * figures.before:.0f} %")
    return results


async def _episode(config: PeersConfig, fault: FaultKind, run: int) -> dict[str, Figures]:
    keys = LiveKitKeys("labkey", "a-livekit-secret-of-the-lab-0123456789abcdef")
    async with AsyncExitStack() as clean:
        folder = Path(clean.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-peers-")))
        clip = folder / "clip.pcm"
        clip.write_bytes(tone_code.speech(UNITS))
        stack_config = StackConfig(
            livekit="real",
            keys=keys,
            jwt_secret="a-core-token-secret-of-the-lab-0123456789",  # noqa: S106 - of this run alone
            livekit_bin=config.livekit_bin,
            host=SERVER,
            env={"GLASSBRIDGE_RECOGNISERS": str(len(config.subjects))},
            taps={"A": folder / "tap"},
        )
        wire = await clean.enter_async_context(Wire(random.Random(run)))  # noqa: S311 - repeatable on purpose
        hearing = clean.enter_context(Overheard(folder / "tap"))
        stack = await clean.enter_async_context(Stack(stack_config))
        systems = [_System(subject, stack, wire, folder, clip) for subject in config.subjects]
        for system in systems:
            clean.push_async_callback(system.stop)
        await asyncio.gather(*(system.start_ear() for system in systems))
        await asyncio.gather(*(system.start_phone() for system in systems))
        await asyncio.sleep(BEFORE)
        broken = await _break(
            fault, stack, wire, [(system, hearing.session_of(system.subject.key)) for system in systems]
        )
        await asyncio.gather(*(system.spoken() for system in systems))
        return {
            system.subject.key: judge(broken, system.begun, UNITS, units_heard(hearing.of(system.subject.key)))
            for system in systems
        }


async def _break(kind: FaultKind, stack: Stack, wire: Wire, systems: "Sequence[tuple[_System, str]]") -> FaultTimes:
    begun = monotonic()
    match kind.name:
        case "kill":
            for system, session in systems:
                os.kill(system.hearing_pid(session), signal.SIGKILL)
        case "livekit":
            assert stack.livekit is not None
            await stack.livekit.kill()
            await asyncio.sleep(kind.seconds)
            await stack.livekit.start()
        case _:
            wire.begin(_CUT, _CUT)
            await asyncio.sleep(kind.seconds)
            wire.begin(CLEAR, CLEAR)
    return FaultTimes(begun, monotonic() if kind.seconds else begun)


@dataclass
class _System:
    subject: Subject
    stack: Stack
    wire: Wire
    folder: Path
    clip: Path
    ear: Program | None = field(default=None, init=False)
    phone: Program | None = field(default=None, init=False)
    keeping: asyncio.Task[None] | None = field(default=None, init=False)

    def _foreign(self, module: str, args: tuple[str, ...], python: str, prefix: tuple[str, ...] = ()) -> Program:
        """A program of the folder ears, run by the interpreter of its packages."""
        interpreter = venvs.python_of(python)
        if interpreter is None:
            raise UserError(venvs.missing(python))
        env = self.stack.environment | {
            "TAP": str(self.folder / "tap"), "ROOM": self.subject.key, "PYTHONPATH": str(EARS), "PYTHONUNBUFFERED": "1"
        }  # fmt: skip
        return Program(f"{module} {self.subject.key}", args, env, module=module, prefix=prefix, python=interpreter)

    async def start_ear(self) -> None:
        """Returns when it can hear."""
        subject = self.subject
        if not subject.ear:
            return  # the stack has it
        args = ("start",) if subject.ear == "ear_agents" else (subject.key,)
        self.ear = ear = self._foreign(subject.ear, args, subject.python)
        await ear.start()

        async def is_ready() -> bool:
            return any(subject.ready in line.text for line in ear.lines)

        await until(is_ready, ear)
        self.keeping = asyncio.ensure_future(self._keep(ear))

    async def _keep(self, ear: Program) -> None:
        while True:
            await ear.wait()
            await asyncio.sleep(RESTART)
            await ear.start()

    async def start_phone(self) -> None:
        """Returns when it has begun to speak."""
        subject, prefix = self.subject, self.wire.prefix
        if subject.ear:
            self.phone = phone = self._foreign("sdk_phone", (subject.key, subject.way, str(self.clip)), "sdk", prefix)
        else:
            token = self.stack.core_token(UserId(subject.key))
            self.phone = phone = Program(
                f"phone {subject.key}",
                (self.stack.cloud_url, subject.way, "own", str(self.clip), "100"),
                {"GLASSBRIDGE_TOKEN": token},
                module="glassbridge.lab.network_phone",
                prefix=prefix,
            )
        await phone.start()

        async def has_begun() -> bool:
            return bool(phone.events("begun"))

        await until(has_begun, phone)

    @property
    def begun(self) -> float:
        """When the first sample was said, CLOCK_MONOTONIC seconds."""
        assert self.phone is not None
        return float(self.phone.events("begun")[0]["t_ns"]) / 1e9

    def hearing_pid(self, session: str) -> int:
        """The process that hears now. `session`: what the newest datagram says."""
        if self.subject.ear:
            return int(session)
        return int(self.stack.bridge.events("worker listening")[-1]["pid"])

    async def spoken(self) -> None:
        """Returns when all is said and what comes late has had its time."""
        assert self.phone is not None
        try:
            async with asyncio.timeout(SPOKEN_WITHIN):
                await self.phone.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Ends both programs."""
        if self.keeping is not None:
            await cancelled(self.keeping)
        for program in (self.phone, self.ear):
            if program is not None:
                await program.stop(1.0)


def table(results: Results) -> str:
    """Markdown: a row for each fault, a column for each system."""
    keys = list(dict.fromkeys(key for _, key in results))
    titles = {subject.key: f"{subject.name}, {subject.way}" for subject in SUBJECTS}
    rows = [f"| fault | {' | '.join(titles[key] for key in keys)} |", "|---" * (len(keys) + 1) + "|"]
    for fault in FAULTS:
        if any(name == fault.name for name, _ in results):
            cells = [cell(results[fault.name, key]) for key in keys]
            rows.append(f"| {fault.words} | {' | '.join(cells)} |")
    return "\n".join(rows)
