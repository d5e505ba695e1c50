"""Measures networks as `glassbridge bench network` does, with the JavaScript phone in Chromium:

    unshare --net sh -c 'ip link set lo up && exec "$@"' sh python -m tests.js.networks loss10/data 64k/data

Prints one line for each; exit status 1 where a limit does not hold.
"""

import asyncio
import sys

from glassbridge.lab import networks
from glassbridge.lab.bench_network import NetworkConfig, measure
from glassbridge.lab.network_judge import Result, line
from tests.js.network_phone import ORIGIN

FRAME_MS = 30
"""As the browser's microphone has them."""


async def main() -> int:
    """Returns the exit status."""
    broken = False
    for asked in sys.argv[1:]:
        cell, _, transport = asked.partition("/")
        config = NetworkConfig(
            cells=networks.find([cell]),
            transports=[transport],
            frame_ms=FRAME_MS,
            phone="tests.js.network_phone",
            env={"GLASSBRIDGE_ALLOWED_ORIGINS": ORIGIN},
        )
        results: list[Result] = []
        await measure(config, lambda text: print(text, flush=True), results.append)
        print(*map(line, results), sep="\n", flush=True)
        broken = broken or any(result.broken for result in results)
    return int(broken)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
