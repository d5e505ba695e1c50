"""Settings, where logs go, and what this machine has to give."""

import asyncio
import os
import resource
import shutil
from typing import Final
from urllib.parse import urlsplit

from glassbridge.cli.checks.findings import Finding, Patient, failed, warning, well
from glassbridge.cli.common import livekit_keys, log_sinks
from glassbridge.runtime.addresses import is_on_this_machine
from glassbridge.runtime.errors import UserError
from glassbridge.telemetry.config import default_spool

DISK_WARN, DISK_FAIL = 1 << 30, 100 << 20
"""Bytes that should be free."""
DESCRIPTORS: Final = 4_096


async def secrets(patient: Patient) -> Finding:
    """Weak secrets must not reach production: programs refuse to start with them where others can reach them."""
    patient.keys = livekit_keys()
    weak = patient.settings.weak_secrets()
    text = "; ".join(f"{secret.place} {secret.why}" for secret in weak)
    advice = "set 32 random bytes or more (openssl rand -hex 32) before any other machine can reach this one"
    if any(not secret.public for secret in weak):
        return failed(text, advice)
    return warning(text, advice) if weak else well("LiveKit's keys and the core secret are set")


async def encryption(patient: Patient) -> Finding:
    """What leaves this machine in the clear?"""
    settings = patient.settings
    urls = {
        "LIVEKIT_URL": settings.livekit_url,
        "GLASSBRIDGE_LIVEKIT_PUBLIC_URL": settings.livekit_public_url or "",
        "GLASSBRIDGE_PUBLIC_URL": settings.public_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings.otlp_endpoint,
        "SONIOX_ENDPOINT": settings.soniox_endpoint or "",
        "GLASSBRIDGE_ELEVENLABS_URL": settings.elevenlabs_url,
    }
    clear = [
        name
        for name, url in urls.items()
        if url.startswith(("ws://", "http://")) and not is_on_this_machine(urlsplit(url).netloc)
    ]
    if settings.bridge_ca is None and not all(map(is_on_this_machine, settings.bridge_targets())):
        return failed(
            "bridges on other machines are called without TLS", "set GLASSBRIDGE_BRIDGE_CA (docs/production.md)"
        )
    if clear:
        return warning(f"plaintext to another machine: {', '.join(clear)}", "use wss:// and https:// there")
    return well("nothing leaves this machine in the clear")


async def log_sink(_patient: Patient) -> Finding:
    """Do logs arrive where people search them?"""
    from glassbridge.telemetry.sink_probe import probe

    try:
        sinks = log_sinks()
    except UserError as error:
        return failed(str(error), "set both, or none")
    if not sinks:
        return warning(
            "none is set: logs are on standard error only", "set BETTERSTACK_SOURCE_TOKEN and its host, or OTLP"
        )
    for sink in sinks:
        probed = await asyncio.to_thread(lambda sink=sink: next(probe(sink)))  # type: ignore[misc]
        if not probed.arrived:
            return failed(f"{sink.kind} at {sink.place} answers {probed.answer.status or 'nothing'}", probed.advice)
    return well(f"a line arrived at {', '.join(sink.place for sink in sinks)}")


async def disk(patient: Patient) -> Finding:
    """Room for log lines that wait for their sink."""
    folder = patient.settings.log_spool or default_spool()
    if folder is None:
        return warning("no folder for log lines that wait: a crash loses them", "set GLASSBRIDGE_LOG_SPOOL to one")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(f"{there} cannot be written", "set GLASSBRIDGE_LOG_SPOOL to a folder of this user's")
    free = shutil.disk_usage(there).free
    text = f"{free >> 20} MB free for log lines that wait, at {there}"
    if free < DISK_FAIL:
        return failed(text, "make room: log lines are lost when their sink is down")
    return warning(text, "make room before it runs out") if free < DISK_WARN else well(text)


async def descriptors(_patient: Patient) -> Finding:
    """Each phone, app and room takes some."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        return warning(
            f"{hard} open files are allowed", f"raise the limit (ulimit -Hn, LimitNOFILE) to {DESCRIPTORS} or more"
        )
    return well("open files: enough are allowed")
