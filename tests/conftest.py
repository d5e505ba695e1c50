"""Every test proves that it cleaned up; tests that need what this machine lacks are skipped, loudly."""

import asyncio
import gc
import inspect
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from glassbridge.telemetry.access import SERVER_LOGGER
from tests.support import forked
from tests.support.livekit import embedded_livekit, livekit, real_livekit, server_binary
from tests.support.patience import BETWEEN, slowness
from tests.support.poll import eventually, eventually_sync

__all__ = ["embedded_livekit", "livekit", "real_livekit"]

LEAK_GRACE = 10.0
"""Seconds in which what a test left behind may still go away by itself."""
LASTING_THREADS = ("Dummy-", "asyncio_", "ThreadPoolExecutor", "Thread-1 (_poll_wrapper)", "QueueFeederThread")
"""Name prefixes of threads that libraries start once and keep (native callbacks, executors, gRPC's poller)."""
LASTING_CHILDREN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

TOGETHER = {
    "axe": "axe",
    "package": "js",
    "play": "links",
    "site": "site",
    "tarball": "js",
    "uv": "wheel",
    "web_page": "js",
    "wheel": "wheel",
}
"""Fixtures that take long and serve several tests, and the group of those tests: xdist runs a group in one process."""
LONG = (
    *("scenarios", "lab", "console", "contract", "test_schedules.py"),
    *("test_commands.py", "test_running_dev.py", "test_moonshine.py", "test_processes.py", "test_system.py"),
)
"""Folders and files whose tests take up to a minute: at the end all processes but one would wait for the last one."""
QUICK = ("core", "wire")
"""Folders of tests that take milliseconds and wait for nothing: with these at the end no process waits for another."""

_skipped_for = Counter[str]()

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_report_header() -> str:
    return f"slowness of this machine: {slowness():.1f} (deadlines are multiplied by it; 1 is two quiet cores)"


def pytest_collection(session: pytest.Session) -> None:
    """Nothing of nine thousand tests is garbage, and to find that out again and again is 5 s of processor time."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for group in {TOGETHER[name] for name in getattr(item, "fixturenames", ()) if name in TOGETHER}:
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    parts = set(item.path.relative_to(Path(__file__).parent).parts)
    return 0 if parts.intersection(LONG) else 2 if parts.intersection(QUICK) else 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers():
        if missing := _missing(mark.name):
            _skipped_for[missing] += 1
            pytest.skip(missing)


@cache
def _missing(mark: str) -> str | None:
    """What this machine lacks for the tests with this mark."""
    needed: dict[str, tuple[Callable[[], object], str]] = {
        "real": (server_binary, "no livekit-server on this machine"),
        "sdk": (lambda: find_spec("livekit.rtc"), "the official LiveKit SDK is not installed"),
        "promtool": (lambda: which("promtool"), "no promtool: apt-get install prometheus"),
        "chromium": (lambda: which("chromium"), "no chromium: apt-get install chromium"),
        "firefox": (
            lambda: which("firefox-esr") and which("pulseaudio"),
            "no Firefox, or no PulseAudio: apt-get install firefox-esr pulseaudio",
        ),
    }
    if mark not in needed:
        return None
    found, missing = needed[mark]
    return None if found() else missing


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for missing, count in _skipped_for.items():
        terminalreporter.section("NOT TESTED", red=True, bold=True)
        terminalreporter.write_line(f"{count} tests were skipped: {missing}", red=True)


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Threads, descriptors and child processes are as before, once all fixtures of the test are closed."""
    slowness(BETWEEN)
    threads, descriptors, children = set(threading.enumerate()), _descriptors(), _children()
    native = _native_library_runs()
    yield
    if _native_library_runs():
        # What it keeps for ever, and what it frees some time after its last room.
        descriptors += Counter(socket=0 if native else 4, pipe=2)

    def leaks() -> bool | str:
        new = dict(_children().items() - children.items())
        found = [
            *(f"thread {t.name}" for t in set(threading.enumerate()) - threads if not _lasting(t)),
            *(f"{count} x {what}" for what, count in (_descriptors() - descriptors).items()),
            *(f"child process {pid}: {words}" for pid, words in new.items()),
        ]
        for pid in new:
            forked.bury(pid)
        if found:
            gc.collect()
        return "left behind: " + ", ".join(found) if found else True

    eventually_sync(leaks, LEAK_GRACE, every=0.05)


@pytest.fixture(scope="session", autouse=True)
def commands() -> Iterator[None]:
    """Our programs are forked (tests/support/forked.py)."""
    with forked.commands():
        yield


@pytest.fixture(scope="session")
def libuv_is_awake() -> None:
    """For tests that run uvloop in this process: it keeps a pipe of its first loop for ever."""
    uvloop.run(asyncio.sleep(0))


class _Unexpected(logging.Handler):
    """What reaches the last handler of the event loop or of the HTTP server."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        if "PollerCompletionQueue" in record.getMessage() and isinstance(error, RuntimeError):
            return  # gRPC's only poller found the end of a call of a former test, whose loop is closed
        self.found.append(f"{record.getMessage()} ({error!r})" if error else record.getMessage())


@pytest.fixture(autouse=True)
def no_exception_goes_unheard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Also in a test that passes: an exception that nobody expected may cost somebody else their connection. A test
    that provokes one is marked `unheard`."""
    handler = _Unexpected()
    loggers = [logging.getLogger("asyncio"), SERVER_LOGGER]
    for logger in loggers:
        logger.addHandler(handler)
    yield
    for logger in loggers:
        logger.removeHandler(handler)
    if not request.node.get_closest_marker("unheard"):
        assert not handler.found


@pytest.fixture(autouse=True)
def tests_with_a_loop(request: pytest.FixtureRequest, leaves_nothing_behind: None) -> None:
    """A fixture of its own: the loop then closes before leaves_nothing_behind counts."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("leaves_no_task")


@pytest.fixture
async def leaves_no_task() -> AsyncIterator[None]:
    """Tasks on the loop are as before."""
    before = asyncio.all_tasks()
    yield
    mine = asyncio.current_task()

    def leaks() -> bool | str:
        left = asyncio.all_tasks() - before - {mine}
        return "tasks left behind: " + ", ".join(repr(task) for task in left) if left else True

    await eventually(leaks, LEAK_GRACE)


def _lasting(thread: threading.Thread) -> bool:
    return thread.name.startswith(LASTING_THREADS) or "_poll_wrapper" in thread.name


def _native_library_runs() -> bool:
    """Whether the official SDK has started its native part: once, for the life of the process."""
    ffi = sys.modules.get("livekit.rtc._ffi_client")
    return ffi is not None and ffi.FfiClient._instance is not None


def _descriptors() -> Counter[str]:
    """Open sockets, pipes and files by kind or path; what libraries keep (event and poll handles) is not counted."""
    found = Counter[str]()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        kind = target.split(":")[0]
        if kind != "anon_inode" and not target.startswith(("/dev/", "/proc/")):
            found[kind if kind in ("socket", "pipe") else target] += 1
    return found


def _children() -> dict[int, str]:
    """Our direct child processes: pid and command line."""
    found, lasting = {}, forked.lasting()
    for pid in forked.children():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if not any(name in words for name in LASTING_CHILDREN) and pid not in lasting:
            found[pid] = words
    return found
