"""The version before this one, as an interpreter of its own: today's programs must work beside it.

It comes from the history of this repository, with the libraries that it was locked to, and is kept in the user's cache.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from glassbridge.lab.needs import LabError

VERSION: Final = "0.1"
COMMIT: Final = "573a53e"
"""The last commit of that version."""
ROOT: Final = Path(__file__).parents[3]
INSTALL_TIMEOUT: Final = 400.0
GIT_TIMEOUT: Final = 60.0
_OURS: Final = frozenset({"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"})
"""Of the environment that this process may run in."""


def folder() -> Path:
    """Where it is kept, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "glassbridge" / f"former-{COMMIT}"


def why_not() -> str:
    """Why it cannot be had here; empty where it can."""
    if interpreter(folder()).is_file():
        return ""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return f"version {VERSION} ({COMMIT}) is only in the history of the repository: run this in a clone, with git"
    known = ["git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"]
    if subprocess.run(known, capture_output=True, timeout=GIT_TIMEOUT, check=False).returncode:  # noqa: S603
        return f"version {VERSION} ({COMMIT}) is not in this shallow clone: `git fetch --unshallow` gets it"
    return ""


def interpreter(at: Path) -> Path:
    """Its Python."""
    return at / ".venv" / "bin" / "python"


def provide(say: Callable[[str], None] = lambda _: None) -> Path:
    """The interpreter; installs it once, which takes a minute. Raises LabError, which says what is missing."""
    target = folder()
    if reason := why_not():
        raise LabError(reason)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process installs, others wait
        if not interpreter(target).is_file():
            say(f"installing version {VERSION} ({COMMIT}) from the history, once")
            _install(target)
    return interpreter(target)


def _install(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    try:
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            git = ["git", "-C", str(ROOT), "archive", "--output", archive.name, COMMIT]
            _run(git, GIT_TIMEOUT, "git cannot give it out")
            _run(["tar", "-xf", archive.name, "-C", str(target)], GIT_TIMEOUT, "cannot unpack it")
        sync = 'uv=$(sh "$1/tools/bootstrap.sh") && cd "$2" && "$uv" sync --frozen --quiet --no-default-groups'
        what = f"cannot install version {VERSION}: its libraries could not be had"
        _run(["sh", "-c", sync, "sh", str(ROOT), str(target)], INSTALL_TIMEOUT, what)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _run(argv: list[str], timeout: float, otherwise: str) -> None:
    """Raises LabError."""
    env = {name: value for name, value in os.environ.items() if name not in _OURS}
    try:
        subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout, check=True)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise LabError(f"{otherwise} (it took longer than {timeout:g} s)") from None
    except (subprocess.CalledProcessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise LabError(f"{otherwise} ({said[-300:]})") from None


def legacy_registry(registry: Path) -> Path:
    """A copy of a registry of apps that a cloud of that version can read: it refuses fields that it does not know."""
    copy = registry.with_name(f"{registry.stem}-{VERSION}.toml")
    kept = [line for line in registry.read_text().splitlines() if not line.startswith(("secret", "settings"))]
    copy.write_text("\n".join(kept) + "\n")
    copy.chmod(0o600)
    return copy
