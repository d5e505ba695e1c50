"""What these tests leave behind is put away."""

from collections.abc import Iterator

import pytest

from glassbridge.telemetry import metrics
from glassbridge.telemetry.numbers import Gauge


@pytest.fixture(autouse=True)
def _killed_clouds_are_not_counted() -> Iterator[None]:
    """A cloud that is killed in virtual time takes nothing back: this process would count its sessions for ever."""
    gauges = [metric for metric in vars(metrics).values() if isinstance(metric, Gauge)]
    before = [list(gauge._readers) for gauge in gauges]
    yield
    for gauge, readers in zip(gauges, before, strict=True):
        gauge._readers[:] = readers
