"""Our programs as processes of their own, without a second of imports: a template that has imported them forks.

One template for each process that runs tests, started with the first program. What it forks becomes a child of the
tests' process, as a started one would be: it is waited for, signalled and killed by its id. What is imported, how
quickly, and the end of the interpreter are not as in a started program; those are tested with started ones
(tests/cli/test_cli.py, tests/bridge/test_processes.py, tests/scenarios/test_demo.py).
"""

import asyncio
import atexit
import ctypes
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Timer
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from glassbridge.runtime.child import Child

if TYPE_CHECKING:
    from asyncio.subprocess import Process

IMPORTED = (
    "glassbridge.cli.main",
    "glassbridge.settings",
    "glassbridge.cloud.app",
    "glassbridge.bridge.supervisor",
    "glassbridge.bridge.worker",
    "glassbridge.livekit.connectors",
    "glassbridge.livekit.embedded",
    "glassbridge.phone.simulator",
    "glassbridge.speech.providers",
    "glassbridge.telemetry.logs",
    "glassbridge.lab.demo",
    "glassbridge.lab.demo_app",
    "glassbridge.lab.phones",
    "glassbridge.bridge.worker_process",
    "glassbridge.speech.moonshine_model",
    "numpy",
    "moonshine_voice.moonshine_api",
)
BRIDGE = "tests.support.bridge"
PROGRAMS = ("glassbridge", "glassbridge.lab.demo_app", "glassbridge.lab.phones", BRIDGE, "tests.support.sitter")
"""Modules that are forked when they are started by `-m`; others are started."""
PARTS = ("glassbridge.bridge.worker_process", "glassbridge.speech.moonshine_model")
"""The same, of those that our programs start."""
STARTERS = ("app", "bench", "bridge", "cloud", "demo", "dev", "lab")
"""Commands of `glassbridge` that start programs."""
_ANEW = {"glassbridge.bridge.worker_process": ("glassbridge.bridge.worker",)}
"""What a program takes for a sign that it has not started yet."""
_MAX_CALL, _MAX_FILES = 1 << 20, 10
_APART = 200
"""Descriptors from here on are nobody's."""
_MAX_NAME = 1000
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class _Template:
    """The process that forks, on the other end of a socket."""

    def __init__(self, calls: socket.socket) -> None:
        self._calls = calls
        self._turn = Lock()

    def fork(self, call: Mapping[str, Any], files: Sequence[int]) -> int:
        """Returns the id of the process, a child of this one. Raises OSError where the template has ended."""
        libc = ctypes.CDLL(None)
        with self._turn:
            before = children()
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(self._calls, [json.dumps(call).encode()], files)
                answer = self._calls.recv(100)
            finally:
                libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)
                _orphans.update(children() - before)
        if not answer:
            raise BrokenPipeError("the template of programs has ended")
        _orphans.discard(pid := int(answer))
        return pid


class _Started(_Template):
    """One that starts with the first program."""

    def __init__(self) -> None:
        ours, self._theirs = _pair()
        super().__init__(ours)
        self._starting = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def fork(self, call: Mapping[str, Any], files: Sequence[int]) -> int:
        with self._starting:
            if self._process is None:
                self._process = self._start()
        return super().fork(call, files)

    def close(self) -> None:
        self._calls.close()
        self._theirs.close()
        if self._process is not None:
            self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-P", __file__, str(self._theirs.fileno()), "-" * _MAX_NAME]
        with self._theirs as theirs:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # threads of a library would not live in a fork
                start_new_session=True,
            )


_orphans: set[int] = set()
"""Processes whose parent died while this process was to get a child: they have become its children, too."""


def children() -> set[int]:
    """The ids of this process's children."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return found


def bury(pid: int) -> None:
    """Takes the status of an orphan that has ended: nobody else waits for it."""
    if pid in _orphans:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


_template: _Started | None = None


def lasting() -> set[int | None]:
    """The ids of processes that are here until the tests have ended."""
    return set() if _template is None else {_template.pid}


def _ours() -> _Template:
    assert _template is not None, "the test needs the fixture `commands`"
    return _template


@contextmanager
def commands() -> Iterator[None]:
    """Our programs are forked, those of the product's and of the tests' own Child too; the template ends afterwards."""
    global _template
    _template = _Started()
    start = Child.start
    _fork_children(_template, PROGRAMS)
    try:
        yield
    finally:
        Child.start = start  # type: ignore[method-assign]
        _template.close()
        _template = None


def _fork_children(template: _Template, programs: Sequence[str]) -> None:
    """Child starts the others."""
    start: Any = Child.start

    async def start_or_fork(argv: Sequence[str | os.PathLike[str]], **options: Any) -> Child:
        if can_fork(argv, options.get("env"), programs):
            return Child(cast("Process", await fork(template, argv, **options)))
        child: Child = await start(argv, **options)
        return child

    Child.start = start_or_fork  # type: ignore[method-assign]


def glassbridge(*args: str, env: Mapping[str, str], within: float) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, with this whole environment; fails the test after `within` seconds."""
    with TemporaryDirectory() as folder, ExitStack() as files:
        out, err = Path(folder) / "out", Path(folder) / "err"
        fds = [files.enter_context(path.open("wb")).fileno() for path in (out, err)]
        null = files.enter_context(open(os.devnull, "rb")).fileno()
        pid = _ours().fork(_call(["-m", "glassbridge", *args], env, None), [null, *fds])
        end = Timer(within, os.kill, (pid, signal.SIGKILL))
        end.start()
        _, status = os.waitpid(pid, 0)
        end.cancel()
        end.join()
        code = os.waitstatus_to_exitcode(status)
        done = subprocess.CompletedProcess(args, code, out.read_text(), err.read_text())
        assert code != -signal.SIGKILL, f"glassbridge {' '.join(args)} did not end within {within:g} s: {done.stderr}"
        return done


class Running:
    """What tests without a loop need of a subprocess.Popen, for what can_fork; `out` takes all that is said."""

    def __init__(self, argv: Sequence[str], out: IO[Any]) -> None:
        assert can_fork(argv, None)
        self.returncode: int | None = None
        with open(os.devnull, "rb") as null:
            self.pid = _ours().fork(_call(argv[1:], None, None), [null.fileno(), out.fileno(), out.fileno()])

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            handle = os.pidfd_open(self.pid)
            try:
                select.select([handle], [], [], timeout)
            finally:
                os.close(handle)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def can_fork(
    argv: Sequence[str | os.PathLike[str]], env: Mapping[str, str] | None, programs: Sequence[str] = PROGRAMS
) -> bool:
    """Whether this is one of these programs, in an interpreter like this one."""
    match [str(word) for word in argv[:3]]:
        case [sys.executable, "-m", module] if module in programs:
            known = ("PYTHONUNBUFFERED",)
            return all(
                os.environ.get(name) == text
                for name, text in (env or {}).items()
                if name.startswith(("PYTHON", "LD_", "MALLOC_", "GLIBC_", "GRPC_")) and name not in known
            )
    return False


async def fork(
    template: _Template,
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: int | IO[Any] | None = asyncio.subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    pass_fds: Sequence[int] = (),
) -> "Forked":
    """As Child.start, for what can_fork; raises OSError. A cancelled one leaves no process."""
    with ExitStack() as theirs, ExitStack() as undo:
        files: list[int] = []
        ours: list[IO[bytes] | None] = []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            if wanted == asyncio.subprocess.PIPE:
                ends = os.pipe()
                mine = os.fdopen(ends[number == 0], "wb" if number == 0 else "rb", buffering=0)
                undo.callback(mine.close)
                theirs.callback(os.close, ends[number != 0])
                files.append(ends[number != 0])
                ours.append(mine)
                continue
            if wanted == asyncio.subprocess.DEVNULL:
                wanted = theirs.enter_context(open(os.devnull, "r+b", buffering=0))
            files.append(number if wanted is None else wanted if isinstance(wanted, int) else wanted.fileno())
            ours.append(None)
        call = _call([str(word) for word in argv[1:]], env, cwd, pass_fds)
        files += pass_fds
        forking = asyncio.ensure_future(asyncio.to_thread(lambda: template.fork(call, files)))
        try:
            pid = await asyncio.shield(forking)
        except asyncio.CancelledError:
            _kill(await forking)
            raise
        undo.pop_all()
    process = Forked(pid)
    process.stdin, process.stdout, process.stderr = await _write_to(ours[0]), *[await _read(end) for end in ours[1:]]
    return process


class Forked:
    """What Child needs of an asyncio Process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._over = asyncio.Event()
        self._handle = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._handle, self._end)

    async def wait(self) -> int:
        await self._over.wait()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._over.set()


async def _read(end: IO[bytes] | None) -> asyncio.StreamReader | None:
    if end is None:
        return None
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), end)
    return reader


async def _write_to(end: IO[bytes] | None) -> asyncio.StreamWriter | None:
    if end is None:
        return None
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), end
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _call(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None = None,
    pass_fds: Sequence[int] = (),
) -> dict[str, Any]:
    """What the template is told; `argv` without the interpreter."""
    return {
        "argv": list(argv),
        "env": dict(os.environ if env is None else env),
        "cwd": str(cwd or os.getcwd()),
        "parent": os.getpid(),
        "files": [0, 1, 2, *pass_fds],
    }


def _serve(calls: socket.socket) -> None:
    """The template's main loop; ends with the process whose it is."""
    while True:
        told, files, _, _ = socket.recv_fds(calls, _MAX_CALL, _MAX_FILES)
        if not told:
            return
        call = json.loads(told)
        ours, theirs = os.pipe()
        between = os.fork()
        if not between:
            # Its parent is the one that called when this one has ended.
            starter = os.getpid()
            pid = os.fork()
            if not pid:
                _become(call, files, starter)
            os.write(theirs, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        calls.send(os.read(ours, 100))
        for fd in (ours, theirs, *files):
            os.close(fd)


def _import_all() -> None:
    from glassbridge.livekit.lean_aiortc import import_aiortc
    from glassbridge.telemetry.lean_structlog import import_structlog

    import_structlog()
    import_aiortc()
    for name in IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, "a library has started a thread, which would not live in a fork"


def _bring_a_template() -> _Template:
    """For what this program will start, forked while nothing runs in it yet; ends with it."""
    ours, theirs = _pair()
    with theirs:
        if not os.fork():
            os.setpgrp()
            ours.close()
            _name_as(["template of", *sys.argv])
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            _serve(theirs)
            os._exit(0)
    return _Template(ours)


def _become(call: dict[str, Any], files: Sequence[int], starter: int) -> NoReturn:
    """Ends where the caller has died, be it before this is its child."""
    os.setpgrp()
    while os.getppid() == starter:
        os.sched_yield()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != call["parent"]:
        os._exit(1)
    apart = [fcntl.fcntl(fd, fcntl.F_DUPFD, _APART) for fd in files]
    os.closerange(3, _APART)
    for fd, number in zip(apart, call["files"], strict=True):
        os.dup2(fd, number)
    os.closerange(_APART, _APART + 100)
    os.environ.clear()
    os.environ.update(call["env"])
    os.chdir(call["cwd"])
    sys.path.insert(0, call["cwd"])
    _name_as([sys.executable, *call["argv"]])
    _, module, *words = call["argv"]
    sys.argv = [module, *words]
    if module == BRIDGE or (module == "glassbridge" and words and words[0] in STARTERS):
        _fork_children(_bring_a_template(), (*PROGRAMS, *PARTS))
    status: object = None
    try:
        if module == "glassbridge":
            import_module("glassbridge.cli.main").main()
        else:
            for name in (module, *_ANEW.get(module, ())):
                sys.modules.pop(name, None)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        # What an interpreter does at its end, but for the freeing of all modules.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        if not isinstance(status, int | None):
            print(status, file=sys.stderr)
            status = 1
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status or 0)


def _name_as(argv: Sequence[str]) -> None:
    """What is read of this process in /proc/PID/cmdline, for as many bytes as the template's arguments took."""
    start, end = map(int, Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[45:47])
    name = b"".join(word.encode() + b"\0" for word in argv)[: end - start]
    ctypes.memmove(start, name.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
