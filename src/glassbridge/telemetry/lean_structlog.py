"""structlog without rich. structlog imports it for tracebacks that show local variables, which no program of ours
prints (telemetry/logs.py). It would take 3 MB of each process, and 55 ms of processor time of each start."""

import sys


def import_structlog() -> None:
    """Imports it, once; with rich where that is here already. Later imports of rich find it."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401 - for those who import it afterwards
    finally:
        del sys.modules["rich"]
