"""What the lab found, for people (Markdown, lines) and for programs (JSON)."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glassbridge.lab.judge import percentile
from glassbridge.lab.runner import Outcome
from glassbridge.lab.scenario import spelled

SHOWN = 5
"""Disagreements that are listed."""
WORTH_TELLING = 0.2
"""Seconds; a machine that stands still for so long shows in the figures."""


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One object; what never came is null."""
    scenario = outcome.scenario
    found: dict[str, Any] = _finite(
        {
            "id": scenario.id,
            "title": scenario.title,
            "story": scenario.story,
            "participant": outcome.participant,
            "seed": outcome.seed,
            "livekit": outcome.livekit,
            "passed": outcome.passed,
            "error": outcome.error,
            "limits": [
                {"limit": str(judged.limit), "value": judged.value, "holds": judged.holds} for judged in outcome.judged
            ],
            "tta_s": _spread(outcome, "tta_s"),
            "tta_ratio_to_floor": outcome.tta_ratio,
            "floor_s": outcome.floor_s,
            "log_tells": {
                "agree": outcome.stories.agree,
                "of": len(outcome.stories.told),
                "wrong": outcome.stories.wrong,
                "told": outcome.stories.told,
            },
            "leaks": outcome.leaks,
            "defects": outcome.defects,
            "before": asdict(outcome.before) if outcome.before else None,
            "after": asdict(outcome.after) if outcome.after else None,
            "samples": [asdict(sample) for sample in outcome.samples],
            "took_s": round(outcome.took_s, 1),
            "untried": outcome.untried,
            "logs": str(outcome.logs) if outcome.logs else None,
        }
    )
    return found


def save(outcomes: Sequence[Outcome], folder: Path) -> None:
    """report.md and report.json."""
    folder.joinpath("report.md").write_text(markdown(outcomes))
    folder.joinpath("report.json").write_text(json.dumps([as_json(outcome) for outcome in outcomes], indent=1))


def line(outcome: Outcome) -> str:
    """The verdict in one line, and what failed below it."""
    tta = _spread(outcome, "tta_s")
    parts = [
        "PASSED" if outcome.passed else "FAILED",
        f"{outcome.scenario.id} {outcome.scenario.title} ({outcome.participant}, {outcome.livekit})",
        f"{len(outcome.samples)} samples",
    ]
    if tta:
        ratio = "" if outcome.tta_ratio is None else f" = {spelled(outcome.tta_ratio)} x floor"
        parts.append(f"TTA p50 {spelled(tta['p50'])} s, p95 {spelled(tta['p95'])} s{ratio}")
    if (stalled := _spread(outcome, "stalled_s")) and stalled["max"] > WORTH_TELLING:
        parts.append(f"the machine stood still for {spelled(stalled['max'])} s")
    if outcome.stories.told:
        parts.append(f"told by the log in {outcome.stories}")
    if apps := apps_line(outcome):
        parts.append(apps)
    parts.append(f"{outcome.took_s:.0f} s")
    return "\n".join(["; ".join(parts), *(f"    {text}" for text in (*outcome.untried, *_failures(outcome)))])


def apps_line(outcome: Outcome) -> str:
    """Of so many final transcripts how many each app missed; empty where there are no apps."""
    words = _total(outcome, "words")
    kinds = {name.removesuffix("_missed"): None for sample in outcome.samples for name in sample.figures
             if name.endswith("_missed") and not name.startswith("apps_")}  # fmt: skip
    told = [
        f"{kind} {_total(outcome, f'{kind}_missed')} (back p95 {spelled(_spread(outcome, f'{kind}_back_s')['p95'])} s)"
        for kind in kinds
    ]
    return f"of {words} transcripts apps missed: {', '.join(told)}" if told else ""


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The whole report."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    text = [
        "# Lab report",
        "",
        f"{len(outcomes) - len(failed)} of {len(outcomes)} passed. Times in seconds. TTA: from the moment the cause is "
        "gone (for a kill: happens) to the first new frame at a subscriber. Floor: a bare participant's connect() to "
        "its first packet in the same run. Log: of so many samples the log sink alone tells the dead hop, the cause, "
        "what was done and the time to audio, in agreement with what was measured; else the scenario fails.",
        "",
        "| # | scenario | with | verdict | n | TTA p50 / p95 | x floor | told p95 | lost | joins | tokens | log |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        tta = _spread(outcome, "tta_s")
        told = _spread(outcome, "told_s")
        cells = [
            outcome.scenario.id,
            outcome.scenario.title,
            f"{outcome.participant}, {outcome.livekit}",
            "passed" if outcome.passed else "**FAILED**",
            str(len(outcome.samples)),
            f"{spelled(tta['p50'])} / {spelled(tta['p95'])}" if tta else "-",
            spelled(outcome.tta_ratio),
            spelled(told["p95"]) if told else "-",
            _total(outcome, "lost"),
            _total(outcome, "joins"),
            _total(outcome, "tokens"),
            str(outcome.stories) if outcome.stories.told else "-",
        ]
        text.append("| " + " | ".join(cells) + " |")
    for outcome in outcomes:
        text += ["", *_section(outcome)]
    return "\n".join(text) + "\n"


def _section(outcome: Outcome) -> list[str]:
    scenario = outcome.scenario
    text = [f"## {scenario.id}: {scenario.title} ({outcome.participant})", "", f"Story: {scenario.story}.", ""]
    text += [f"- {text}" for text in (*outcome.untried, *_failures(outcome))]
    text += [f"- {apps}"] if (apps := apps_line(outcome)) else []
    text += ["", "| must hold | measured | |", "|---|---|---|"]
    text += [
        f"| {judged.limit} | {spelled(judged.value)} | {'holds' if judged.holds else '**does not hold**'} |"
        for judged in outcome.judged
    ]
    if outcome.stories.told:
        text += [
            "",
            f"The story in the log agrees in {outcome.stories} samples; one of them: {outcome.stories.told[0]}.",
        ]
    names = sorted({name for sample in outcome.samples for name in sample.figures})
    text += ["", "| figure | p50 | p95 | max |", "|---|---|---|---|"]
    for name in names:
        if found := _spread(outcome, name):
            text.append(f"| {name} | {spelled(found['p50'])} | {spelled(found['p95'])} | {spelled(found['max'])} |")
    if outcome.before is not None and outcome.after is not None:
        text += ["", "| held | before | after |", "|---|---|---|"]
        pairs = [
            (f"{name} {kind}", amount, outcome.after.programs.get(name, {}).get(kind))
            for name, holds in outcome.before.programs.items()
            for kind, amount in holds.items()
        ]
        pairs += [("LiveKit rooms", outcome.before.rooms, outcome.after.rooms)]
        pairs += [("LiveKit participants", outcome.before.participants, outcome.after.participants)]
        text += [f"| {name} | {old:.0f} | {'-' if new is None else f'{new:.0f}'} |" for name, old, new in pairs]
    return text


def _failures(outcome: Outcome) -> list[str]:
    text = [outcome.error] if outcome.error else []
    text += [f"{judged.limit}, measured: {spelled(judged.value)}" for judged in outcome.judged if not judged.holds]
    text += [f"left behind: {leak}" for leak in outcome.leaks]
    text += [f"an exception that nobody expected: {defect}" for defect in outcome.defects[:SHOWN]]
    text += [f"the log tells it otherwise: {wrong}" for wrong in outcome.stories.wrong[:SHOWN]]
    return text + ([f"logs: {outcome.logs}"] if outcome.logs else [])


def _spread(outcome: Outcome, figure: str) -> dict[str, float]:
    """Empty when no sample has it."""
    values = [sample.figures[figure] for sample in outcome.samples if figure in sample.figures]
    if not values:
        return {}
    return {"p50": percentile(values, 0.5), "p95": percentile(values, 0.95), "max": max(values)}


def _total(outcome: Outcome, figure: str) -> str:
    return str(round(sum(sample.figures.get(figure, 0) for sample in outcome.samples)))


def _finite(value: Any) -> Any:
    """JSON knows no infinity."""
    match value:
        case dict():
            return {key: _finite(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
        case float() if value in (float("inf"), float("-inf")):
            return None
        case float():
            return round(value, 4)
    return value
