"""Keeps nodes in the directory that claim nothing: the workers of a bridge. They need the directory for nothing else.
One that is away changes nothing here: they are listed again once it answers."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from glassbridge.cluster.directory import Directory, DirectoryAway, Node
from glassbridge.core.lease import LEASE, RENEW_EVERY, RENEW_TIME

log = structlog.get_logger()

CLOSE_TIME: Final = 0.5
"""Seconds in which nodes that go are taken off the list."""


class Registrar:
    """`nodes` tells how they are now. The directory is closed with this."""

    def __init__(self, directory: Directory, nodes: Callable[[], Collection[Node]]) -> None:
        self._directory = directory
        self._nodes = nodes
        self._answers = True

    async def run(self) -> None:
        """Renews the leases, for ever. Safe to cancel."""
        while True:
            await self.tell()
            await asyncio.sleep(RENEW_EVERY)

    async def tell(self) -> None:
        """Tells the directory how they are. Never raises; safe to cancel."""
        try:
            for node in self._nodes():
                await self._directory.renew(node, LEASE, (), RENEW_TIME)
        except DirectoryAway as away:
            self._note(False, str(away))
        else:
            self._note(True)

    def _note(self, answers: bool, error: str = "") -> None:
        if answers != self._answers:
            self._answers = answers
            if answers:
                log.info("bridge listed again")
            else:
                log.warning("bridge not listed", error=error, action="try again each second")

    async def close(self) -> None:
        """Takes them off the list. Never raises."""
        try:
            async with asyncio.timeout(CLOSE_TIME):
                for node in self._nodes():
                    await self._directory.withdraw(node.owner, CLOSE_TIME, node.role)
        except (DirectoryAway, TimeoutError) as error:
            log.info("node not withdrawn", error=type(error).__name__)
        await self._directory.close()
