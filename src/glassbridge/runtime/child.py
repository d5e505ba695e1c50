"""Child processes with an owner: in a group of their own, ended by it, and never outliving it."""

import asyncio
import ctypes
import errno
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from subprocess import SubprocessError
from typing import IO, Any

_PR_SET_PDEATHSIG = 1

# gRPC's fork handlers, where gRPC is loaded too, can kill a child between fork and exec. Read when grpc is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def _own_group_and_end() -> Callable[[], None]:
    """What the child runs before exec: a group of its own (uvloop knows no `process_group`), and on Linux the kernel
    kills it when we are gone, however we go."""
    if sys.platform != "linux":
        return os.setpgrp
    libc = ctypes.CDLL(None)  # before the fork: afterwards nothing may be loaded or allocated
    parent = os.getpid()

    def arm() -> None:
        os.setpgrp()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return arm


async def lines(stream: asyncio.StreamReader, too_long: Callable[[], None] = lambda: None) -> AsyncIterator[str]:
    """What a child says, line by line, until it closes. `too_long` hears of each line beyond the reader's limit, which
    is dropped; the rest of it may come as a line of its own."""
    while True:
        try:
            raw = await stream.readline()
        except ValueError:  # longer than the limit
            too_long()
            continue
        if not raw:
            return
        yield raw.decode(errors="replace").rstrip()


class Child:
    """A running child process and its group. Start it on the thread that lives longest: the kernel watches that one."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | IO[Any] | None = asyncio.subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> "Child":
        """Raises OSError when the program cannot be run, or there is no process, thread or descriptor for it."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                preexec_fn=_own_group_and_end(),
            )
        except (SubprocessError, RuntimeError) as error:  # in the child before exec; no thread to wait for it
            raise OSError(errno.EAGAIN, str(error)) from error
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""
        return self._process.returncode

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        return self._process.stdout

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        return self._process.stderr

    async def wait(self) -> int:
        """Returns its exit status once it has ended. Safe to cancel."""
        return await self._process.wait()

    async def ended_within(self, seconds: float) -> bool:
        """Whether it has ended before `seconds` are over. Safe to cancel."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return self._process.returncode is not None

    def signal(self, number: int) -> None:
        """Sends a signal to the whole group; ignored when it has ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def stop(self, grace: float = 3.0) -> int:
        """SIGTERM, and SIGKILL after `grace` seconds; returns the exit status. A cancelled stop() kills at once."""
        self.signal(signal.SIGTERM)
        try:
            await self.ended_within(grace)
        finally:
            self.signal(signal.SIGKILL)
        return await self._process.wait()
