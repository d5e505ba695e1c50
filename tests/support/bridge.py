"""The bridge as a program with any configuration; the command line offers less on purpose.

python -m tests.support.bridge CONFIGURATION
"""

import sys
from dataclasses import replace

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.supervisor import run
from glassbridge.runtime.errors import UserError
from glassbridge.telemetry import logs
from tests.support.process import Program


def words(config: BridgeConfig) -> list[str]:
    """What starts it."""
    return [sys.executable, "-m", "tests.support.bridge", config.to_json()]


def bridge_program(config: BridgeConfig) -> Program:
    """Not started yet; says `bridge ready` when it listens."""
    return Program(*words(config))


def main() -> None:
    config = BridgeConfig.from_json(sys.argv[1])
    logs.configure("bridge", replace(config.log, fmt="json"))
    try:
        sys.exit(run(config))
    except UserError as error:
        sys.exit(f"glassbridge: {error}")


if __name__ == "__main__":
    main()
