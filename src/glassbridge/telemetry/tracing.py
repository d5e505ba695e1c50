"""Where a program's spans go."""

from collections.abc import Iterator
from contextlib import contextmanager

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError


@contextmanager
def tracing(service: str, url: str) -> Iterator[None]:
    """Meanwhile spans of this process go to the collector at `url`; empty: they are dropped.

    Raises UserError where the extra is missing.
    """
    if not url:
        yield
        return
    try:
        from glassbridge.telemetry.collector import Collector
    except ImportError:
        raise UserError(Complaint.TRACES_MISSING.text()) from None
    collector = Collector(service, url)
    try:
        yield
    finally:
        collector.close()
