"""No program imports rich for its log."""

import subprocess
import sys

import pytest

PROGRAMS = {
    "cloud and supervisor": """
import glassbridge.cli.main
from glassbridge.cli.starting import Start
Start(False)
import glassbridge.bridge.supervisor, glassbridge.cloud.app
""",
    "worker": """
import sys
import glassbridge.bridge.worker_process as program
assert "structlog" not in sys.modules, "main() says how it is imported"
program.import_structlog()
import glassbridge.bridge.worker
""",
}
LOOK = """
import sys
import structlog
assert not {"rich", "pygments"} & set(sys.modules), "rich is imported"
import rich.console
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("failed")
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_structlog_comes_without_rich_and_both_work(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAMS[program] + LOOK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ZeroDivisionError: division by zero" in done.stdout
