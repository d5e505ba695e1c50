"""`make deploy-check`: lints the chart of deploy/helm, renders it, and holds each object to the schemas of Kubernetes.

Helm is taken from HELM, the PATH or the user's cache, where it is built once with Go (two to four minutes).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import kubernetes_validate
import yaml

HELM: Final = "helm.sh/helm/v3/cmd/helm@v3.16.4"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "glassbridge" / "helm-3.16.4"
CHART: Final = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "glassbridge"
NEEDED: Final = ("publicUrl=https://cloud.example.com", "livekit.url=wss://livekit.example.com")
VALUES: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("cloud.autoscaling.enabled=true", "bridge.autoscaling.enabled=true", "networkPolicy.enabled=false"),
    (
        "ingress.enabled=true",
        "ingress.host=cloud.example.com",
        "ingress.tlsSecret=cloud-tls",
        "ingress.className=nginx",
    ),
    ("bridge.workers=4", "cloud.env.GLASSBRIDGE_GRACE=90", "livekit.publicUrl=wss://media.example.com"),
)
KUBERNETES: Final = ("1.29", "1.33")


def main() -> int:
    """0 where all is right, 1 with a line for what is not."""
    try:
        helm = find_helm()
        run(helm, "lint", "--strict", str(CHART), *_set(NEEDED))
        check_required(helm)
        count = sum(check(helm, values, version) for values in VALUES for version in KUBERNETES)
    except CheckError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"chart: {count} objects are as Kubernetes {' and '.join(KUBERNETES)} want them")
    return 0


class CheckError(Exception):
    """What is wrong, in one or more lines."""


def find_helm() -> str:
    """Its path. Builds it where there is none. Raises CheckError."""
    found = os.environ.get("HELM") or shutil.which("helm") or shutil.which("helm", path=str(CACHE))
    if found:
        return found
    if shutil.which("go") is None:
        raise CheckError("neither helm nor Go (to build it) is on the PATH")
    print(f"building helm into {CACHE}", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    run("go", "install", HELM, env={**os.environ, "GOBIN": str(CACHE)})
    return str(CACHE / "helm")


def check_required(helm: str) -> None:
    """The chart names a value that is needed and missing. Raises CheckError."""
    for given in NEEDED:
        (missing,) = (value.partition("=")[0] for value in NEEDED if value != given)
        said = run(helm, "template", "it", str(CHART), "--kube-version", KUBERNETES[-1], *_set((given,)), fails=True)
        if missing not in said:
            raise CheckError(f"the chart does not say that {missing} is missing: {said}")


def check(helm: str, values: tuple[str, ...], version: str) -> int:
    """How many objects the chart makes of these values. Raises CheckError for one that Kubernetes would refuse."""
    text = run(helm, "template", "it", str(CHART), "--kube-version", version, *_set(NEEDED + values))
    count = 0
    for found in yaml.safe_load_all(text):
        if found is None:
            continue
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise CheckError(f"{found['kind']} {found['metadata']['name']} with {values}: {error}") from error
        count += 1
    return count


def run(*argv: str, env: dict[str, str] | None = None, fails: bool = False) -> str:
    """What it printed. Raises CheckError where it fails, or where it was to fail and did not."""
    done = subprocess.run(argv, env=env, text=True, capture_output=True, timeout=900, check=False)  # noqa: S603 - fixed commands
    if (done.returncode != 0) != fails:
        raise CheckError(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr if fails else done.stdout


def _set(values: tuple[str, ...]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


if __name__ == "__main__":
    sys.exit(main())
