"""What scenarios share: the whole system on a LiveKit of either kind, and what is left of it afterwards."""

import subprocess
import wave
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId, user_id
from glassbridge.core.words import normalised
from glassbridge.lab.stack import StackConfig
from glassbridge.livekit.tokens import LiveKitKeys
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.process import Program

KEYS = LiveKitKeys("scenariokey", "a-livekit-secret-of-the-scenarios-0123456789")
JWT_SECRET = "a-core-token-secret-of-the-scenarios-0123"
ADA = user_id("ada+1@example.org")

ENVIRONMENT = {
    "LIVEKIT_API_KEY": KEYS.api_key,
    "LIVEKIT_API_SECRET": KEYS.secret,
    "AUGMENTOS_AUTH_JWT_SECRET": JWT_SECRET,
    "GLASSBRIDGE_LOG_FORMAT": "json",
}
"""The same secrets for a program that is started by hand."""


def config(**options: Any) -> StackConfig:
    """Without a spare worker: it costs half a second of processor time."""
    return StackConfig(**{"keys": KEYS, "jwt_secret": JWT_SECRET, "spare": False, **options})


def samples(path: Path) -> bytes:
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (SAMPLE_RATE, 1, BYTES_PER_SAMPLE)
        pcm: bytes = sound.readframes(sound.getnframes())
        return pcm


def recording(folder: Path, user: UserId) -> bytes:
    """What the recogniser was fed of this user's only session."""
    [path] = folder.glob(f"{user}-*.wav")
    return samples(path)


def said(events: list[Mapping[str, Any]]) -> list[str]:
    """The words of a phone's final captions."""
    return normalised(" ".join(event["text"] for event in events if event["final"]))


def family(pid: int) -> dict[int, str]:
    """A process and all that it has started: pid and command line."""
    found = {}
    for process in [root := psutil.Process(pid), *root.children(recursive=True)]:
        try:
            found[process.pid] = " ".join(process.cmdline())[:100]
        except psutil.NoSuchProcess:
            continue
    return found


def alive(processes: Mapping[int, str]) -> list[str]:
    """Those that still run."""
    return [words for pid, words in processes.items() if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def ends_at_once(program: Program, number: int, status: int, within: float, parts: str) -> None:
    """After this signal, with this exit status, in so many seconds; all these processes end with it."""
    processes = family(program.pid)
    assert len(processes) >= len(parts.split(", ")), f"{parts}: {processes}"
    begun = monotonic()
    program.signal(number)
    assert await program.ends(within=within) == status
    assert monotonic() - begun < patient(within)
    await eventually(lambda: not alive(processes) or f"still running: {alive(processes)}", 2.0)
    assert "Traceback" not in "\n".join([*program.out, *program.err])


def isolated(argv: list[str], env: Mapping[str, str], timeout: float) -> "subprocess.CompletedProcess[str]":
    """Runs a command where loopback is the only network."""
    script = 'ip link set lo up && exec "$@"'
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", *argv],
        env=env,
        capture_output=True,
        text=True,
        timeout=patient(timeout),
    )
