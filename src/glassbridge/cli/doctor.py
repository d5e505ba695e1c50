"""`glassbridge doctor`: looks at everything that goes wrong in the field, and says what to do about it."""

import asyncio
import json as json_module
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.admin_client import LOCAL_CLOUD, CloudOption, base_url
from glassbridge.cli.common import load_settings, start_logging

if TYPE_CHECKING:
    from glassbridge.cli.checks.findings import Finding
    from glassbridge.settings import Settings
    from glassbridge.telemetry.redaction import Redactor

DEPLOYMENT = ("LIVEKIT_URL", "LIVEKIT_GRPC_SOCKET", "LIVEKIT_GRPC_BRIDGE_URL")
"""Variables that say where the parts of a deployment are."""
LOOKS = {"well": ("ok", "green"), "warning": ("warn", "yellow"), "failed": ("FAIL", "red"), "skipped": ("skip", "cyan")}


def doctor(
    cloud: CloudOption = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a check.")] = False,
) -> None:
    """Check a deployment: addresses, secrets, LiveKit, media, keys, clocks, bridges, the recogniser, logs, disk.

    Exit status 1 if something fails. Beside a `glassbridge dev` of this user it examines that one, unless --cloud or
    the environment name other addresses.
    """
    start_logging("doctor", "error", "auto")
    raise typer.Exit(asyncio.run(_examine(base_url(cloud, "--cloud") if cloud else "", json)))


def whose_settings(cloud: str) -> "tuple[Settings, str, str]":
    """What is to be examined: the settings, the cloud, and a word about both for people. Raises UserError."""
    from glassbridge.cli.running_dev import find_dev
    from glassbridge.settings import FILE_SUFFIX, read_settings

    named = [name for name in DEPLOYMENT if os.environ.get(name)]
    dev = find_dev(cloud)
    if dev is None or (named and not cloud):
        here = "the settings of this environment"
        beside = f"; {named[0]} is set, so not the `glassbridge dev` at {dev.cloud}" if dev else ""
        return load_settings(), cloud or LOCAL_CLOUD, here + beside
    load_settings()  # for what is wrong with it
    files = {f"{name}{FILE_SUFFIX}" for name in dev.environment}
    kept = {name: value for name, value in os.environ.items() if name not in files}
    settings, _ = read_settings({**kept, **dev.environment})
    return settings, dev.cloud, f"the running `glassbridge dev` (pid {dev.pid}) at {dev.cloud}"


async def _examine(cloud: str, json: bool) -> int:
    from glassbridge.cli.checks import CHECKS
    from glassbridge.cli.checks.findings import FindingState, Patient, new_session
    from glassbridge.telemetry.redaction import Redactor

    settings, cloud, subject = whose_settings(cloud)
    redact = Redactor(settings.secrets)
    states = []
    async with new_session() as http:
        patient = Patient(settings, cloud, http, subject)
        for name, check in CHECKS:
            finding = await check(patient)
            states.append(finding.state)
            if json:
                told = {"check": name, "state": finding.state, "code": finding.code, "text": finding.text,
                        "advice": finding.advice}  # fmt: skip
                print(redact(json_module.dumps(told)), flush=True)
            else:
                _show(name, finding, redact)
    failed = states.count(FindingState.FAILED)
    if not json:
        print(f"{len(states)} checks, {failed} failed, {states.count(FindingState.WARNING)} warnings")
    return 1 if failed else 0


def _show(name: str, finding: "Finding", redact: "Redactor") -> None:
    word, colour = LOOKS[finding.state]
    sign = typer.style(f"{word:4}", fg=colour) if sys.stdout.isatty() else f"{word:4}"
    print(f"{sign}  {name:14}  {redact(finding.text)}", flush=True)
    if finding.advice:
        print(f"{'':22}-> {redact(finding.advice)}", flush=True)
