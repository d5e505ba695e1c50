"""The fate of a phone's speech on a bad network, and whether the limits of the network hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import inf
from typing import Any

from glassbridge.core.values import BYTES_PER_SAMPLE
from glassbridge.lab import tone_code
from glassbridge.lab.judge import percentile
from glassbridge.lab.networks import LIVE, Cell
from glassbridge.lab.program import Program
from glassbridge.lab.scenario import Limit

UNIT_S = 0.1
FINE = ("heard", "connected", "connecting")
"""Situations of a phone that are no trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One phone that spoke once on one network. `figures` are those of Cell.must."""

    cell: Cell
    transport: str
    figures: Mapping[str, float]
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def broken(self) -> list[Limit]:
        """The limits that do not hold; a figure that this transport does not have breaks none."""
        return [limit for limit in self.cell.must if limit.figure in self.figures and not limit.holds([self.figures])]

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        names = {"event": "measured", "cell": self.cell.name, "transport": self.transport}
        return names | dict(self.figures) | {"detail": self.detail}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], cells: Mapping[str, Cell]) -> "Result":
        """What to_json made of it; `cells` by name."""
        figures = {name: value for name, value in found.items() if isinstance(value, int | float)}
        return cls(
            cell=cells[found["cell"]], transport=found["transport"], figures=figures, detail=found.get("detail", {})
        )


def judge(
    cell: Cell,
    transport: str,
    phone: Program,
    heard: Sequence[tuple[int, bytes]],
    units: int,
    since_ns: int,
    lab: Mapping[str, int],
) -> Result:
    """`heard`: what the recogniser got, and when; `since_ns`: when the network became bad. `lab`: faults of the lab
    itself, in which a run says nothing: blocks that were heard `unseen`, packets that were `dropped` though the network
    lost none of them."""
    done = phone.events("done")
    told = [(said["t_ns"], f"{said['situation']}: {said['text']}") for said in phone.events("told")]
    detail: dict[str, Any] = dict(done[-1]) if done else {"error": phone.last_words}
    detail["levels"] = [said["level"] for said in phone.events("level")]
    detail["states"] = [":".join(filter(None, (said["state"], said["code"]))) for said in phone.events("state")]
    detail["told"] = [(round((at - since_ns) / 1e9, 2), text) for at, text in told]
    figures = _told(cell, transport, phone, told, since_ns) | _heard(cell, phone, heard, units, detail)
    return Result(cell=cell, transport=transport, figures={**figures, **lab}, detail=detail)


def _told(
    cell: Cell, transport: str, phone: Program, told: Sequence[tuple[int, str]], since_ns: int
) -> dict[str, float]:
    """The figures of what a person at the phone is told, and of its connections."""
    end = min((said["t_ns"] for said in phone.events("done")), default=inf)
    begun = [said["t_ns"] for said in phone.events("begun")]
    changes = [*phone.events("socket"), *phone.events("room")]
    start = min(begun, default=inf)
    found: dict[str, float] = {
        "breaks": sum(said["state"] in ("closed", "lost", "left") and start < said["t_ns"] < end for said in changes),
        "speech_ends": len(phone.events("speech_end")),
        "codes": cell.told in [said["code"] for said in phone.events("state")],
        "says": any(cell.says in text for _, text in told),
    }
    if cell.ready < inf:
        found["ready_s"] = (start - since_ns) / 1e9
    if transport != "websocket":
        found["in_room"] = any(said["state"] == "joined" for said in phone.events("room"))
    if cell.troubled_at is not None:
        trouble = since_ns + cell.troubled_at * 1e9
        known = [at for at, text in told if at >= trouble and not text.startswith(FINE)]
        found["untold_s"] = (min(known, default=inf) - trouble) / 1e9
    return found


def _heard(
    cell: Cell, phone: Program, heard: Sequence[tuple[int, bytes]], units: int, detail: dict[str, Any]
) -> dict[str, float]:
    """The figures of what reached the recogniser."""
    if not (begun := phone.events("begun")):
        return {"lost": 1.0, "live": 0.0, "late": 0.0, "age_s": inf, "hole_s": inf}
    start = begun[0]["t_ns"]
    ends: list[tuple[int, int]] = []
    total = 0
    for at, pcm in heard:
        total += len(pcm) // BYTES_PER_SAMPLE
        ends.append((total, at))
    ages: dict[int, float] = {}
    for found in tone_code.hear(b"".join(pcm for _, pcm in heard)):
        if found.unit < units:
            at = next((at for stop, at in ends if stop >= found.stop - 80), ends[-1][1])
            ages[found.unit] = (at - start) / 1e9 - (found.unit + 1) * UNIT_S - cell.delay
    counted = [ages.get(unit, inf) for unit in range(units) if unit * UNIT_S >= cell.settle]
    moments = [start, *(at for at, _ in heard if at > start)]
    detail["missing"] = [unit for unit in range(units) if unit not in ages]
    detail["ages"] = [round(ages.get(unit, -9.999) * 1000) for unit in range(units)]
    detail["changes"] = [
        (round((said["t_ns"] - start) / 1e9, 2), said.get("level") or said.get("code") or said.get("state"))
        for said in sorted(
            (said for kind in ("level", "state", "room", "socket") for said in phone.events(kind)),
            key=lambda said: said["t_ns"],
        )
    ]
    return {
        "lost": len(detail["missing"]) / units,
        "live": sum(age <= LIVE for age in counted) / len(counted),
        "late": sum(LIVE < age < inf for age in counted) / len(counted),
        "age_s": percentile([age for age in counted if age < inf], 0.99) if min(counted) < inf else inf,
        "hole_s": max((later - earlier for earlier, later in pairwise(moments)), default=0) / 1e9,
    }


def line(result: Result) -> str:
    """One row for people, while it is measured."""
    figures, detail = result.figures, result.detail
    live, late, lost = (f"{name} {100 * figures[name]:5.1f}" for name in ("live", "late", "lost"))
    return (
        f"{result.cell.name:12} {result.transport:10} {live} {late} {lost} %  p99 {figures['age_s'] * 1000:6.0f} ms  "
        f"hole {figures['hole_s']:4.1f} s  {verdict(result)}  "
        f"{','.join(detail['levels'])}  {','.join(detail['states'])}  "
        f"sent {detail.get('sent')} again {detail.get('replayed')}"
        f"{' missing ' + str(detail['missing']) if detail.get('missing') else ''}"
        f"{' ' + detail['error'] if 'error' in detail else ''}"
    )


def verdict(result: Result) -> str:
    """Whether it held, or what did not."""
    broken = [f"{limit.figure} {result.figures[limit.figure]:.3g}, not {limit}" for limit in result.broken]
    return f"FAILED ({'; '.join(broken)})" if broken else "held"


def table(results: Sequence[Result]) -> str:
    """All rows as Markdown; of several runs of one kind the worst of each figure."""
    rows = [
        "| network | by | live | lost | p99 | longest hole | limits |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, transport), group in groupby(results, key=lambda result: (result.cell.name, result.transport)):
        runs = list(group)
        held = sum(not run.broken for run in runs)
        worst = {figure: max(run.figures[figure] for run in runs) for figure in ("lost", "age_s", "hole_s")}
        live = min(run.figures["live"] for run in runs)
        broken = sorted({str(limit) for run in runs for limit in run.broken})
        rows.append(
            f"| {name} | {transport} | {100 * live:.1f} % | {100 * worst['lost']:.1f} % | {worst['age_s']:.2f} s | "
            f"{worst['hole_s']:.1f} s | {held} of {len(runs)} held{': ' + ', '.join(broken) if broken else ''} |"
        )
    return "\n".join(rows)
