"""How much of the machine is idle."""

import threading
from time import monotonic

import psutil
import pytest

from glassbridge.runtime import processors
from glassbridge.runtime.processors import IdleProcessors


def test_what_nobody_used_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [(10.0, 40.0), (11.0, 42.0), (11.0, 42.0), (11.0, 44.0)]
    monkeypatch.setattr(processors, "_times", lambda: times.pop(0))
    idle = IdleProcessors()
    assert [idle.share() for _ in range(3)] == [0.5, 1.0, 0.0]


def test_this_machine_counts_a_thread_that_works() -> None:
    idle = IdleProcessors()
    stopped = threading.Event()
    until = monotonic() + 0.5
    while monotonic() < until and not stopped.is_set():
        pass
    assert idle.share() <= 1.0 - 0.5 / len(psutil.cpu_times(percpu=True))
