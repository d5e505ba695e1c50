"""The bridge as a program with any configuration; the command line offers less on purpose."""

from glassbridge.bridge.config import BridgeConfig
from tests.support.process import Program

SCRIPT = """
import sys
from dataclasses import replace
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.supervisor import run
from glassbridge.runtime.errors import UserError
from glassbridge.telemetry import logs

config = BridgeConfig.from_json(sys.argv[1])
logs.configure("bridge", replace(config.log, fmt="json"))
try:
    sys.exit(run(config))
except UserError as error:
    sys.exit(f"glassbridge: {error}")
"""


def bridge_program(config: BridgeConfig) -> Program:
    """Not started yet; says `bridge ready` when it listens."""
    return Program.python(SCRIPT, config.to_json())
