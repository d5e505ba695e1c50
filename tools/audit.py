"""`make audit`: the locked dependencies against known holes, and what the product is made of (SBOM).

    python -m tools.audit [FOLDER]

Writes FOLDER/sbom.cdx.json (CycloneDX 1.5, by uv, from uv.lock: needs no network). Then pip-audit asks the advisory
service of PyPI about each dependency, development tools included. Exit status 1: one has a known hole. Offline the
program says so and ends with 0, for nothing is known either way; `--online` makes that a failure.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

PIP_AUDIT: Final = "pip-audit==2.10.1"
TIMEOUT: Final = 300.0
"""Seconds for each program."""
ROOT: Final = Path(__file__).parents[1]


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603


def export(uv: str, file: Path, form: str, *options: str) -> None:
    """Writes what uv.lock holds. Raises SystemExit."""
    done = run(uv, "export", "--frozen", "--quiet", "--format", form, "--output-file", str(file), *options)
    if done.returncode:
        sys.exit(f"uv export --format {form} failed: {done.stderr.strip()}")


def write_sbom(uv: str, file: Path) -> int:
    """The components of the product, extras included; returns how many."""
    export(uv, file, "cyclonedx1.5", "--no-dev", "--all-extras")
    return len(json.loads(file.read_text())["components"])


def audit(uv: str, requirements: Path, answer: Path) -> tuple[list[str], list[str]]:
    """A line for each known hole, and for each dependency of which nothing could be learned."""
    done = run(
        uv, "tool", "run", "--quiet", "--from", PIP_AUDIT, "pip-audit", "--requirement", str(requirements),
        "--disable-pip", "--no-deps", "--progress-spinner", "off", "--timeout", "10", "--format", "json",
        "--output", str(answer),
    )  # fmt: skip
    try:
        return judge(json.loads(answer.read_text()))
    except (OSError, ValueError):
        said = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return [], [said[-1][:300]]


def judge(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """pip-audit's answer: a dependency that the service does not know is skipped, which is no good news."""
    holes, unknown = [], []
    for package in found["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["skip_reason"])
        for hole in package.get("vulns", ()):
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            holes.append(f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}")
    return holes, unknown


def main() -> int:
    online = "--online" in sys.argv
    places = [text for text in sys.argv[1:] if not text.startswith("-")]
    folder = Path(places[0]) if places else ROOT / "out" / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    uv = run("sh", "tools/bootstrap.sh").stdout.strip()
    if not uv:
        sys.exit("there is no uv, and it cannot be had: see tools/bootstrap.sh")
    sbom = folder / "sbom.cdx.json"
    print(f"SBOM: {write_sbom(uv, sbom)} components in {sbom}")
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "requirements.txt"
        export(uv, requirements, "requirements.txt", "--all-extras", "--all-groups", "--no-emit-project", "--no-hashes")
        try:
            holes, unknown = audit(uv, requirements, Path(scratch) / "answer.json")
        except subprocess.TimeoutExpired:
            holes, unknown = [], [f"no answer within {TIMEOUT:.0f} s"]
    for line in holes:
        print(f"HOLE: {line}")
    if unknown:
        print(
            f"NOT AUDITED: PyPI's advisory service cannot be reached, or knows nothing ({len(unknown)}: {unknown[0]})"
        )
    elif not holes:
        print("no known hole in any locked dependency")
    return 1 if holes or (unknown and online) else 0


if __name__ == "__main__":
    sys.exit(main())
