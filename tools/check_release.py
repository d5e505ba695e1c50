"""Builds the wheel and the source archive, and installs each in clean environments, as a stranger would.

    python -m tools.check_release [--python 3.11 ...] [--demo one|all|none] [--out dist]

Each environment is fresh: neither Go nor Node on its PATH, an empty cache, an empty folder. In each: the version, the
help, what the package promises to import, `uv pip check`, and `glassbridge demo` on the stand-in for LiveKit. A Python
that is not on this machine and that uv cannot get is named, and not tried. Exit status 1: something failed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

from glassbridge import __version__

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
QUICK, INSTALL, DEMO = 60.0, 600.0, 240.0
"""Seconds."""
HIDDEN: Final = ("go", "node", "npm", "livekit-server")
MODULES: Final = ("glassbridge.app", "glassbridge.phone", "glassbridge.testing", "glassbridge.lab.phone_check.examine")
COPIES: Final = {
    "js/phone/package.json": r'^  "version": "(.+)",$',
    "deploy/helm/glassbridge/Chart.yaml": r'^(?:version: |appVersion: ")([\d.]+)"?$',
}
"""Files of others' formats, which have to hold the version, and where it stands in them."""
NEEDED: Final = (
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "proto/livekit_bridge.proto",
    "src/glassbridge/lab/clips/clip.wav",
)


class Failed(Exception):
    """Why the release is none."""


def run(argv: list[str], seconds: float, *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """What it wrote. Raises Failed."""
    name = " ".join([Path(argv[0]).name, *argv[1:3]])
    try:
        done = subprocess.run(  # noqa: S603
            argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} took longer than {seconds:g} s") from None
    if done.returncode:
        raise Failed(f"{name} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def said_once() -> Iterator[str]:
    """What does not agree with the version."""
    if not re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        yield f"CHANGELOG.md has no section `## {__version__}`"
    for name, pattern in COPIES.items():
        found = re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE)
        if not found or set(found) != {__version__}:
            yield f"{name} has another version than {__version__}: {', '.join(found) or 'none'}"


def build(uv: str, out: Path) -> tuple[Path, Path]:
    """The wheel, which is built from the source archive, and that. Raises Failed."""
    run([uv, "build", "--quiet", "--out-dir", str(out)], INSTALL)
    wheel, archive = next(out.glob("*.whl"), None), next(out.glob("*.tar.gz"), None)
    if wheel is None or archive is None:
        raise Failed("uv build made no wheel, or no source archive")
    for built in (wheel, archive):
        if f"-{__version__}" not in built.name:
            raise Failed(f"{built.name} is not of version {__version__}")
    with tarfile.open(archive) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    if missing := [name for name in NEEDED if name not in inside]:
        raise Failed(f"the source archive lacks {', '.join(missing)}")
    with zipfile.ZipFile(wheel) as packed:
        files = set(packed.namelist())
    ours = {str(path.relative_to(ROOT / "src")) for path in _tracked()}
    if missing := sorted(ours - files):
        raise Failed(f"the wheel lacks {', '.join(missing[:5])}")
    return wheel, archive


def _tracked() -> list[Path]:
    listed = run(["git", "ls-files", "src/glassbridge"], QUICK).splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def interpreter(uv: str, version: str) -> str | None:
    """One of this machine, or one that uv gets; None: neither."""
    own = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    if own:
        return str(own[-1])
    for command in ("find", "install"):
        try:
            found = run([uv, "python", command, version], QUICK)
        except Failed:
            continue
        return found.strip() or version
    return None


def bare_path(folder: Path) -> str:
    """A PATH with what a machine has, but not what must not be needed."""
    folder.mkdir()
    for place in ("/usr/bin", "/bin"):
        for program in Path(place).iterdir():
            link = folder / program.name
            if program.name not in HIDDEN and not link.exists():
                link.symlink_to(program)
    return str(folder)


def try_out(uv: str, package: Path, python: str, demo: bool) -> str:
    """Installs it for this interpreter and uses it; what is worth telling. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="glassbridge-release-") as temporary:
        folder = Path(temporary)
        (folder / "work").mkdir()
        (folder / "cache").mkdir()
        bin_ = folder / "venv" / "bin"
        begun = monotonic()
        run([uv, "venv", "--quiet", "--python", python, str(folder / "venv")], QUICK)
        target = ["--python", str(bin_ / "python")]
        run([uv, "pip", "install", "--quiet", *target, str(package)], INSTALL)
        run([uv, "pip", "check", "--quiet", *target], QUICK)
        took = monotonic() - begun
        env = {
            "PATH": f"{bin_}:{bare_path(folder / 'path')}",
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "LANG": "C.UTF-8",
        }
        glassbridge = str(bin_ / "glassbridge")
        version = run([glassbridge, "--version"], QUICK, cwd=folder / "work", env=env).strip()
        if version != f"glassbridge {__version__}":
            raise Failed(f"it says that it is {version!r}")
        run([glassbridge, "--help"], QUICK, cwd=folder / "work", env=env)
        imports = "; ".join(f"import {module}" for module in MODULES)
        run([str(bin_ / "python"), "-W", "error::SyntaxWarning", "-c", imports], QUICK, cwd=folder / "work", env=env)
        if package.suffix == ".whl":
            tool = [
                uv,
                "tool",
                "run",
                "--quiet",
                "--python",
                python,
                "--from",
                str(package),
                "glassbridge",
                "--version",
            ]
            if run(tool, INSTALL).strip() != version:
                raise Failed("`uv tool run` runs another version")
        if not demo:
            return f"installed in {took:.0f} s"
        begun = monotonic()
        run([glassbridge, "demo"], DEMO, cwd=folder / "work", env=env)
        return f"installed in {took:.0f} s, demo in {monotonic() - begun:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", help="a version; left out: 3.11 to 3.14")
    parser.add_argument("--demo", choices=("one", "all", "none"), default="all", help="in which environments")
    parser.add_argument("--out", type=Path, help="where the artefacts stay; left out: nowhere")
    chosen = parser.parse_args()
    uv = run(["sh", "tools/bootstrap.sh"], INSTALL).strip()
    failed = list(said_once())
    for problem in failed:
        print(f"FAILED   {problem}")
    with tempfile.TemporaryDirectory(prefix="glassbridge-dist-") as temporary:
        out = Path(temporary)
        try:
            wheel, archive = build(uv, out)
        except Failed as error:
            print(f"FAILED   build: {error}")
            return 1
        sizes = ", ".join(f"{built.name} ({built.stat().st_size >> 10} KiB)" for built in (wheel, archive))
        print(f"built    {sizes}", flush=True)
        demos = 0
        for version in chosen.python or PYTHONS:
            python = interpreter(uv, version)
            if python is None:
                print(f"SKIPPED  Python {version}: not on this machine, and uv cannot get it here")
                continue
            for package in (wheel, archive) if version == (chosen.python or PYTHONS)[0] else (wheel,):
                demo = chosen.demo == "all" or (chosen.demo == "one" and not demos)
                demos += demo
                kind = "wheel" if package is wheel else "source archive"
                try:
                    print(f"ok       Python {version}, {kind}: {try_out(uv, package, python, demo)}", flush=True)
                except Failed as error:
                    failed.append(str(error))
                    print(f"FAILED   Python {version}, {kind}: {error}", flush=True)
        if chosen.out is not None and not failed:
            chosen.out.mkdir(parents=True, exist_ok=True)
            for built in (wheel, archive):
                shutil.copy(built, chosen.out / built.name)
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
