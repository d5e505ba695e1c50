"""Notices that the phone is on another network without being told: the kernel would give packets to the cloud
another address than before. It is only asked; nothing is sent."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

EVERY: Final = 0.5
"""Seconds. Most systems tell an app of a change; this is for those that do not."""


async def watch(cloud: Callable[[], str | None], changed: Callable[[], None]) -> None:
    """Calls `changed` for each change; `cloud` gives the address to which the socket is open. Until cancelled."""
    host: str | None = None
    known: str | None = None
    while True:
        await asyncio.sleep(EVERY)
        if (now_open := cloud()) not in (None, host):
            host, known = now_open, None
        if host is None or (ours := address_towards(host)) is None:
            continue
        former, known = known, ours
        if former not in (None, ours):
            changed()


def address_towards(host: str) -> str | None:
    """The address of ours that packets to it would have; None while there is no way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])
    return None
