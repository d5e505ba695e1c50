"""`glassbridge doctor`: looks at everything that goes wrong in the field, and says what to do about it."""

import asyncio
import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.common import load_settings, redactor, start_logging

if TYPE_CHECKING:
    from glassbridge.cli.checks.findings import Finding
    from glassbridge.telemetry.redaction import Redactor

LOOKS = {"well": ("ok", "green"), "warning": ("warn", "yellow"), "failed": ("FAIL", "red"), "skipped": ("skip", "cyan")}


def doctor(
    cloud: Annotated[str, typer.Option(help="Base URL of the cloud.")] = "http://127.0.0.1:8002",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a check.")] = False,
) -> None:
    """Check LiveKit, media, keys, clocks, bridges, the recogniser, logs, disk. Exit status 1 if something fails."""
    start_logging("doctor", "error", "auto")
    raise typer.Exit(asyncio.run(_examine(cloud.rstrip("/"), json)))


async def _examine(cloud: str, json: bool) -> int:
    import aiohttp

    from glassbridge.cli.checks import CHECKS
    from glassbridge.cli.checks.findings import TIMEOUT, Patient, State

    redact = redactor()
    states = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as http:
        patient = Patient(load_settings(), cloud, http)
        for name, check in CHECKS:
            finding = await check(patient)
            states.append(finding.state)
            if json:
                fields = {"check": name, "state": finding.state, "text": finding.text, "advice": finding.advice}
                print(redact(json_module.dumps(fields)), flush=True)
            else:
                _show(name, finding, redact)
    failed = states.count(State.FAILED)
    if not json:
        print(f"{len(states)} checks, {failed} failed, {states.count(State.WARNING)} warnings")
    return 1 if failed else 0


def _show(name: str, finding: "Finding", redact: "Redactor") -> None:
    word, colour = LOOKS[finding.state]
    sign = typer.style(f"{word:4}", fg=colour) if sys.stdout.isatty() else f"{word:4}"
    print(f"{sign}  {name:14}  {redact(finding.text)}", flush=True)
    if finding.advice:
        print(f"{'':22}-> {redact(finding.advice)}", flush=True)
