"""Where logs go, and what this machine has to give."""

import asyncio
import os
import resource
import shutil
from typing import Final

from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import Finding, Patient, well
from glassbridge.cli.common import log_sinks
from glassbridge.runtime.errors import UserError
from glassbridge.telemetry.config import default_spool

DISK_WARN, DISK_FAIL = 1 << 30, 100 << 20
"""Bytes that should be free."""
DESCRIPTORS: Final = 4_096


async def subject(patient: Patient) -> Finding:
    """Whose settings are these?"""
    return well(patient.subject)


async def log_sink(_patient: Patient) -> Finding:
    """Do logs arrive where people search them?"""
    from glassbridge.telemetry.sink_probe import probe

    try:
        sinks = log_sinks()
    except UserError as error:
        return Trouble.SINK_SETTINGS.found(why=error)
    if not sinks:
        return Trouble.SINK_NONE.found()
    for sink in sinks:
        probed = await asyncio.to_thread(lambda sink=sink: next(probe(sink)))  # type: ignore[misc]
        if not probed.arrived:
            status = probed.answer.status or "nothing"
            return Trouble.SINK.found(kind=sink.kind, place=sink.place, status=status, advice=probed.advice)
    return well(f"a line arrived at {', '.join(sink.place for sink in sinks)}")


async def disk(patient: Patient) -> Finding:
    """Room for log lines that wait for their sink."""
    folder = patient.settings.log_spool or default_spool()
    if folder is None:
        return Trouble.SPOOL_NONE.found()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Trouble.SPOOL_CLOSED.found(folder=there)
    free = shutil.disk_usage(there).free
    if free < DISK_WARN:
        trouble = Trouble.DISK_FULL if free < DISK_FAIL else Trouble.DISK_LOW
        return trouble.found(free=free >> 20, folder=there)
    return well(f"{free >> 20} MB free for log lines that wait, at {there}")


async def descriptors(_patient: Patient) -> Finding:
    """Each phone, app and room takes some."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        return Trouble.FEW_FILES.found(hard=hard, wanted=DESCRIPTORS)
    return well("open files: enough are allowed")
