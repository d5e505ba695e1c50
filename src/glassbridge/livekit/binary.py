"""The livekit-server program: found on this machine, or built once into the user's cache."""

import asyncio
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from glassbridge.runtime.child import Child
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

VERSION = "v1.13.5"
"""The newest one that `go install` can build; the next carries replace lines."""
MODULE = f"github.com/livekit/livekit-server/cmd/server@{VERSION}"
OLDEST_GO = (1, 21)
"""From here on Go fetches the toolchain that the module asks for by itself."""
BUILD_TIMEOUT = 1800.0
ANSWER_WITHIN = 30.0

Progress = Callable[[str], None]


PORT_OPTION = "--port (of `glassbridge dev`: --livekit-port)"
"""Where the port of a server of ours is chosen."""


class LiveKitServerError(UserError):
    """There is no server, or it does not start. The text says what to do."""


def cached_binary() -> Path:
    """Where a built server is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "glassbridge" / "livekit-server" / VERSION / "livekit-server"


def find_binary(configured: Path | None = None) -> Path | None:
    """A livekit-server at hand: `configured` (LIVEKIT_SERVER_BIN), on the PATH, in the cache; None when there is none.

    Raises LiveKitServerError when `configured` is given and cannot be run: another one is not wanted then.
    """
    if configured is not None:
        if found := shutil.which(configured.expanduser()):
            return Path(found)
        raise LiveKitServerError(Complaint.LIVEKIT_BIN_WRONG.text(path=configured))
    for candidate in ("livekit-server", cached_binary()):
        if found := shutil.which(candidate):
            return Path(found)
    return None


async def provide_binary(configured: Path | None = None, progress: Progress = lambda _: None) -> Path:
    """find_binary(), else one built into the cache (minutes). Raises LiveKitServerError. Cancelling stops the build."""
    if found := find_binary(configured):
        return found
    go = shutil.which("go")
    if go is None:
        raise _missing("Go is not here either")
    version = await _output(go, "version")
    numbers = re.search(r"go(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_GO:
        raise _missing(f"Go here is too old ({version})")
    target = cached_binary()
    target.parent.mkdir(parents=True, exist_ok=True)
    async with _lock(target.with_suffix(".lock"), progress):
        if not os.access(target, os.X_OK):
            await _build(go, target, progress)
    return target


def _missing(go: str) -> LiveKitServerError:
    oldest = ".".join(map(str, OLDEST_GO))
    return LiveKitServerError(Complaint.LIVEKIT_MISSING.text(go=go, oldest=oldest, version=VERSION))


async def _output(*argv: str) -> str:
    child = await Child.start(argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    assert child.stdout is not None
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return (await child.stdout.read()).decode(errors="replace").strip()
    except TimeoutError:
        raise LiveKitServerError(Complaint.PROGRAM_SILENT.text(command=" ".join(argv))) from None
    finally:
        await child.stop(0.1)


@asynccontextmanager
async def _lock(path: Path, progress: Progress) -> AsyncIterator[None]:
    """Only one process builds; the kernel releases the lock of one that dies."""
    with path.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress("another process is building livekit-server: waiting for it")
                waiting = True
                await asyncio.sleep(0.25)
        yield


async def _build(go: str, target: Path, progress: Progress) -> None:
    progress(f"building livekit-server {VERSION} with Go, once: about 3 minutes on two cores")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-", ignore_cleanup_errors=True) as folder:
        env = os.environ | {"GOBIN": folder, "GOTOOLCHAIN": "auto", "CGO_ENABLED": "0"}
        modules = await _output(go, "env", "GOMODCACHE")
        private = not os.access(modules, os.W_OK)
        if private:  # outside our cache nothing is left behind
            env["GOPATH"] = f"{folder}/go"
            env.pop("GOMODCACHE", None)
        argv = [go, "install", "-v", "-trimpath", "-ldflags", "-s -w", MODULE]
        child = await Child.start(argv, env=env, cwd=folder, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(BUILD_TIMEOUT):
                last = await _report(child, progress)
                status = await child.wait()
        except TimeoutError:
            raise LiveKitServerError(Complaint.LIVEKIT_BUILD_SLOW.text(minutes=BUILD_TIMEOUT / 60)) from None
        finally:
            await child.stop(1.0)
            if private:  # its files are read-only, only Go removes them without ado
                cleaner = await Child.start([go, "clean", "-modcache"], env=env, cwd=folder)
                await cleaner.ended_within(60)
                await cleaner.stop(0)
        if status != 0:
            raise LiveKitServerError(Complaint.LIVEKIT_NOT_BUILT.text(last_words=last))
        os.replace(f"{folder}/server", target)
    progress(f"livekit-server {VERSION} is ready: {target}")


async def _report(child: Child, progress: Progress) -> str:
    """Reads what Go says until it ends, tells how far it is each 10 s; returns the last line."""
    assert child.stderr is not None
    begun = told = monotonic()
    downloaded = compiled = 0
    last = ""
    while line := (await child.stderr.readline()).decode(errors="replace").strip():
        last = line
        downloaded += line.startswith("go: downloading")
        compiled += not line.startswith("go:")
        if monotonic() - told >= 10:
            told = monotonic()
            progress(f"  {told - begun:4.0f} s: {downloaded} modules fetched, {compiled} packages compiled")
    return last
