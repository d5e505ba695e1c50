"""Questions to programs of ours that may not listen yet."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

import aiohttp

from glassbridge.lab.program import Program
from glassbridge.runtime.errors import UserError

READY_WITHIN = 120.0


class Http:
    """GETs with a deadline."""

    async def __aenter__(self) -> "Http":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def answers(self, url: str) -> bool:
        """Whether an HTTP (or ws) server answers there, with anything but a 5xx."""
        try:
            async with self._session.get(_as_http(url)) as response:
                return response.status < 500
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    async def json(self, url: str, token: str = "") -> Mapping[str, Any]:
        """The object that a GET (with this token) answers; empty when it does not."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._session.get(url, headers=headers) as response:
                found = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _as_http(url: str) -> str:
    return "http" + url.removeprefix("ws") if url.startswith("ws") else url


async def until(ready: Callable[[], Awaitable[bool]], *programs: Program) -> None:
    """Returns when it is ready. Raises UserError: a program has ended, or READY_WITHIN is over."""
    deadline = monotonic() + READY_WITHIN
    while not await ready():
        for program in programs:
            if not program.running:
                await program.wait()
                raise UserError(f"the {program.name} does not start: {program.last_words}")
        if monotonic() > deadline:
            names = " and ".join(program.name for program in programs)
            raise UserError(
                f"the {names} did not become ready within {READY_WITHIN:.0f} s: see the lines above, and try again"
            )
        await asyncio.sleep(0.02)
