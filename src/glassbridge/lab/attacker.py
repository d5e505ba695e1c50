"""A child of the lab that attacks: one function of a scenario module, in a process of its own.

    python -m glassbridge.lab.attacker MODULE FUNCTION

Its arguments come as one JSON line on standard input, its result goes out as one JSON line. It is nicer than everybody
else: what the bystander suffers must come from our programs, not from the attacker's share of the processor. It has an
address of its own (ATTACKER), as a stranger has, so that limits for each address are told from limits in all.
"""

import asyncio
import json
import os
import resource
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Final

import aiohttp

from glassbridge.lab.needs import LabError
from glassbridge.lab.program import Line, Program

ATTACKER: Final = "127.0.0.66"
LASTS: Final = 90.0
"""Seconds that no attack exceeds."""
NICENESS: Final = 10


class Attacker:
    """The lab's side: runs one function in the child and returns what it returned. Raises LabError."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], on_line: Callable[[Line], None]) -> None:
        args = (function.__module__, function.__name__)
        self._program = Program("attacker", args, {}, on_line, "glassbridge.lab.attacker")

    async def run(self, **arguments: Any) -> Any:
        """Safe to cancel."""
        await self._program.start()
        try:
            self._program.tell(json.dumps(arguments))
            async with asyncio.timeout(LASTS + 10):
                await self._program.wait()
            said = [line.fields for line in self._program.lines if not line.log and line.fields]
            if not said:
                raise LabError(f"the attacker failed: {self._program.last_words}")
            return said[-1]["result"]
        except TimeoutError:
            raise LabError("the attacker does not end") from None
        finally:
            await self._program.stop(0.2)


def http(**options: Any) -> aiohttp.ClientSession:
    """A client of the attacker's; inside of the child."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(ATTACKER, 0), force_close=options.pop("force_close", False))
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30.0), **options)


async def _main(module: str, function: str) -> None:
    arguments = json.loads(sys.stdin.readline())
    async with asyncio.timeout(LASTS):
        result = await getattr(import_module(module), function)(**arguments)
    print(json.dumps({"result": result}), flush=True)


if __name__ == "__main__":
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main(*sys.argv[1:3]))
