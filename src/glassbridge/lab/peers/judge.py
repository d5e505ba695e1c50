"""How soon a system hears again after a fault, and what of the speech it never heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from glassbridge.core.values import BYTES_PER_SAMPLE
from glassbridge.lab import tone_code

UNIT_S = 0.1
_EDGE = 0.1
"""Seconds at the end of the clip that are not counted: the phone leaves then."""


@dataclass(frozen=True, slots=True)
class FaultTimes:
    """Moments of CLOCK_MONOTONIC, seconds."""

    begun: float
    over: float
    """From then on nothing stands in the way."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one system in one episode."""

    time_to_audio: float | None
    """Seconds from the end of the fault until something was heard that was said after it; None: never."""
    never_heard: float
    """Seconds of speech, of what was said during the fault or after it."""
    before: float
    """Share of the speech before the fault that was heard: less than 1 means that the machine was too busy."""


def units_heard(heard: Sequence[tuple[int, bytes]]) -> dict[int, float]:
    """When each tenth of a second was first heard, CLOCK_MONOTONIC seconds. `heard`: (nanoseconds, samples)."""
    total, ends = 0, []
    for at, pcm in heard:
        total += len(pcm) // BYTES_PER_SAMPLE
        ends.append((total, at / 1e9))
    return {
        found.unit: next((at for stop, at in ends if stop >= found.stop - 80), ends[-1][1])
        for found in tone_code.hear(b"".join(pcm for _, pcm in heard))
    }


def judge(fault: FaultTimes, spoken_at: float, units: int, heard: dict[int, float]) -> Figures:
    """`spoken_at`: when the first of so many units was said."""

    def said(unit: int) -> float:
        return spoken_at + unit * UNIT_S

    counted = [unit for unit in range(units) if said(unit) < spoken_at + units * UNIT_S - _EDGE]
    before = [unit for unit in counted if said(unit + 1) <= fault.begun]
    since = [unit for unit in counted if said(unit + 1) > fault.begun]
    after = [heard[unit] for unit in since if said(unit) >= fault.over and unit in heard]
    return Figures(
        min(after) - fault.over if after else None,
        UNIT_S * sum(unit not in heard for unit in since),
        sum(unit in heard for unit in before) / len(before) if before else 0.0,
    )


def cell(runs: Sequence[Figures]) -> str:
    """Several runs of one kind: median and worst time to audio, median of what was never heard."""
    times = [run.time_to_audio for run in runs]
    known = sorted(time for time in times if time is not None)
    silent = times.count(None)
    if not known:
        told = "never"
    else:
        worst = "never" if silent else f"{known[-1]:.1f}"
        told = f"{median(known):.1f}" if len(runs) == 1 else f"{median(known):.1f} / {worst}"
    return f"{told}; {median(run.never_heard for run in runs):.1f}"
