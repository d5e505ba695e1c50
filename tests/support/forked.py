"""The command line as a process of its own, without a second of imports: a server that has the programs forks.

One server for each process that runs tests, started by the fixture `commands` of tests/conftest.py. What a command
imports, and how quickly, is tested elsewhere (tests/cli/test_cli.py).
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Timer
from typing import NoReturn

IMPORTED = (
    "glassbridge.cli.main",
    "glassbridge.settings",
    "glassbridge.cloud.app",
    "glassbridge.bridge.worker",
    "glassbridge.speech.providers",
    "glassbridge.telemetry.logs",
    "glassbridge.lab.demo",
)
LASTING = "tests/support/forked.py"
"""In the command line of the server."""


class _Server:
    """Owned by `commands`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.turn = Lock()


_server: _Server | None = None


@contextmanager
def commands() -> Iterator[None]:
    """A server is there for `glassbridge`."""
    global _server
    _server = server = _Server()
    try:
        yield
    finally:
        _server = None
        with server.process:
            assert server.process.stdin is not None
            server.process.stdin.close()


def glassbridge(*args: str, env: Mapping[str, str], within: float) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, with this whole environment; fails the test after `within` seconds."""
    server = _server
    assert server is not None, "the test needs the fixture `commands`"
    assert server.process.stdin is not None
    assert server.process.stdout is not None
    with TemporaryDirectory() as folder, server.turn:
        out, err = Path(folder) / "out", Path(folder) / "err"
        call = {"args": args, "env": dict(env), "cwd": os.getcwd(), "out": str(out), "err": str(err), "within": within}
        server.process.stdin.write(json.dumps(call) + "\n")
        status = server.process.stdout.readline()
        assert status, f"glassbridge {' '.join(args)} took the server of commands with it"
        done = subprocess.CompletedProcess(args, int(status), out.read_text(), err.read_text())
        assert done.returncode != -9, f"glassbridge {' '.join(args)} did not end within {within:g} s: {done.stderr}"
        return done


def _serve() -> None:
    for name in IMPORTED:
        import_module(name)
    for line in sys.stdin:
        call = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(call)
        end = Timer(call["within"], os.kill, (pid, 9))
        end.start()
        _, status = os.waitpid(pid, 0)
        end.cancel()
        end.join()
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(call: dict[str, str]) -> NoReturn:
    from glassbridge.cli.main import main

    os.environ.clear()
    os.environ.update(call["env"])  # type: ignore[arg-type]
    os.chdir(call["cwd"])
    for number, path in ((1, call["out"]), (2, call["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["glassbridge", *call["args"]]
    status: object = 1
    try:
        main()
    except SystemExit as end:
        status = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0 if status is None else 1)


if __name__ == "__main__":
    _serve()
