"""The original's SDK for apps (npm `@mentra/sdk`), in each version that docs/apps.md names: version 2 runs on Node,
version 3 on Bun, which npm has, too. Each is installed once for this machine, into the user's cache.
"""

import os
import random
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from glassbridge.runtime.errors import UserError

VERSIONS: Final = ("2.1.29", "3.0.0-hono.8")
_BUN: Final = "bun@1.4.5"
_STEADY: Final = (20_000, 32_000)
INSTALL_TIMEOUT: Final = 180.0


def steady_port() -> int:
    """A port for a program that starts later: below those that the kernel gives to connections meanwhile."""
    while True:
        port = random.randrange(*_STEADY)  # noqa: S311 - no secret
        with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", port))
            return port


def sdk_folder(version: str) -> Path:
    """Where this version is installed, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "glassbridge" / f"mentra-sdk-{version}"


def provide_sdk(version: str, script: Path) -> list[str]:
    """The command that runs this script on that version; installs it where npm is at hand. Raises UserError, which says
    what is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise UserError(f"@mentra/sdk {version} IS NOT TRIED: Node is missing (install Node 20 with npm)")
    on_bun = version.startswith("3")
    packages = [f"@mentra/sdk@{version}", *([_BUN] if on_bun else [])]
    folder = sdk_folder(version)
    if not all((folder / "node_modules" / name.rpartition("@")[0]).is_dir() for name in packages):
        _install(version, folder, packages)
    shutil.copy(script, folder / script.name)
    runs = [str(folder / "node_modules" / ".bin" / "bun"), "run"] if on_bun else ["node"]
    return [*runs, str(folder / script.name)]


def _install(version: str, folder: Path, packages: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--omit=dev", *packages]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"@mentra/sdk {version} IS NOT TRIED: npm install takes too long") from None
    if done.returncode != 0:
        raise UserError(f"@mentra/sdk {version} IS NOT TRIED: npm install failed: {done.stderr.strip()[-300:]}")
