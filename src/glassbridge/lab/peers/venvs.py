"""The interpreters of the peers: virtual environments in the user's cache, one for each package, made once.

They stay out of our own: their dependencies and ours do not agree on versions, and nobody needs them for anything else.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from glassbridge.runtime.errors import UserError

PACKAGES: Final = {
    "sdk": ("livekit==1.2.0", "livekit-api==1.2.2"),
    "agents": ("livekit-agents==1.8.9",),
    "pipecat": ("pipecat-ai[livekit]==1.14.0",),
}
"""Requirements by the name of the environment; versions are part of what is measured."""
INSTALL: Final = "glassbridge bench peers --install"
_INSTALL_WITHIN: Final = 900.0
_DONE: Final = "installed"
"""File that says that an environment is whole, and of which requirements."""


def folder(name: str) -> Path:
    """Where the environment is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "glassbridge" / "peers" / name


def python_of(name: str) -> str | None:
    """The interpreter that has these packages; None where there is none. The SDK may be in our own environment (the
    extra `sdk`)."""
    if name == "sdk" and importlib.util.find_spec("livekit") and importlib.util.find_spec("livekit.rtc"):
        return sys.executable
    done = folder(name) / _DONE
    if done.is_file() and done.read_text() == _requirements(name):
        return str(folder(name) / "bin" / "python")
    return None


def missing(name: str) -> str:
    """What to do where there is none, in one sentence."""
    return f"{_requirements(name)} is not installed for measurements: run `{INSTALL}` (some 300 MB from PyPI)"


def install(name: str, say: Callable[[str], None]) -> None:
    """Makes the environment anew. Raises UserError that says what went wrong."""
    where = folder(name)
    say(f"installing {_requirements(name)} into {where}")
    shutil.rmtree(where, ignore_errors=True)
    where.parent.mkdir(parents=True, exist_ok=True)
    python = str(where / "bin" / "python")
    uv = shutil.which("uv")
    if uv is not None:
        steps = [[uv, "venv", "--quiet", "--python", sys.executable, str(where)]]
        steps += [[uv, "pip", "install", "--quiet", "--python", python, *PACKAGES[name]]]
    else:
        steps = [[sys.executable, "-m", "venv", str(where)]]
        steps += [[python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]]]
    for step in steps:
        try:
            done = subprocess.run(  # noqa: S603 - names of ours
                step, capture_output=True, text=True, timeout=_INSTALL_WITHIN, check=False
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"installing {_requirements(name)} takes over {_INSTALL_WITHIN:.0f} s: try again") from None
        if done.returncode:
            raise UserError(f"{_requirements(name)} cannot be installed: {done.stderr.strip()[-500:]}")
    (where / _DONE).write_text(_requirements(name))


def _requirements(name: str) -> str:
    return " ".join(PACKAGES[name])
