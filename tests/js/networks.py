r"""Measures networks as `glassbridge bench network` does, with the JavaScript phone in Chromium:

    unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
        python -m tests.js.networks --runs 5 loss10/data "15% loss, 25 ms delay as loss20/websocket"

A network is named, or told in words with the name of the one whose limits it has to keep. Prints one line for each run,
the figures of one that does not hold, then a table; exit status 1 where a limit does not hold.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import replace

from glassbridge.lab import networks
from glassbridge.lab.bench_network import NetworkConfig, measure
from glassbridge.lab.network_judge import Result, line, table
from glassbridge.lab.network_words import described
from glassbridge.lab.networks import Cell
from tests.js.network_phone import ORIGIN

FRAME_MS = 30
"""As the browser's microphone has them."""


def asked_for(words: str) -> Cell:
    """`loss10`, or `15% loss, 25 ms delay as loss20`."""
    said, _, limits = words.rpartition(" as ")
    cell = networks.BY_NAME[limits]
    if not said:
        return cell
    told = described(said)
    return replace(cell, name=told.name, both=told.both, up=told.up)


async def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("networks", nargs="+")
    options = parser.parse_args()
    results: list[Result] = []

    def measured(result: Result) -> None:
        results.append(result)
        print(line(result), flush=True)
        if result.broken:
            print(json.dumps(result.to_json()), flush=True)

    for asked in options.networks:
        words, _, transport = asked.rpartition("/")
        config = NetworkConfig(
            cells=[asked_for(words)],
            transports=[transport],
            frame_ms=FRAME_MS,
            runs=options.runs,
            phone="tests.js.network_phone",
            env={"GLASSBRIDGE_ALLOWED_ORIGINS": ORIGIN},
        )
        await measure(config, lambda text: print(text, flush=True), measured)
    print(table(results), flush=True)
    return int(any(result.broken for result in results))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
