"""Programs of the tests: a shell script, and a Go that builds what it is told to."""

from pathlib import Path


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


GO = """case "$1" in
version) echo "go version go{version} linux/amd64" ;;
env) echo {modules} ;;
install) echo go >>"$LOG"; sleep {seconds}; {outcome} ;;
esac"""
MAKES_SERVER = 'cat >"$GOBIN/server" </dev/null; chmod 755 "$GOBIN/server"; echo example.com/package >&2'


def fake_go(folder: Path, *, version: str = "1.26.1", seconds: float = 0, outcome: str = MAKES_SERVER) -> None:
    script(folder / "go", GO.format(version=version, modules=folder, seconds=seconds, outcome=outcome))
