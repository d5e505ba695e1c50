"""`glassbridge demo`, as a newcomer runs it."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from glassbridge.core.words import normalised
from glassbridge.lab import clips
from tests.scenarios.systems import isolated
from tests.support.patience import patient
from tests.support.process import Program


def assert_passed(output: str) -> None:
    verdict = output.strip().splitlines()[-1]
    assert verdict.startswith("PASSED: first audio"), output
    captions = re.search(r' words: "([^"]*)"', verdict)
    assert captions is not None
    assert normalised(captions[1]) == clips.words()
    assert "Good morning." in captions[1], "no punctuation"
    assert "bit for bit, 0 lost" in verdict
    assert 'answered by voice: "At noon you have lunch' in verdict
    assert "heard by the phone" in verdict
    assert "Traceback" not in output


def test_audio_and_words_arrive(tmp_path: Path) -> None:
    """Offline, where that can be had: in a network namespace with only `lo` (no cable, no Wi-Fi, no name server)."""
    argv, env = [sys.executable, "-m", "glassbridge", "demo"], os.environ | {"TMPDIR": str(tmp_path)}
    if shutil.which("unshare") is not None and isolated(["true"], os.environ, 10).returncode == 0:
        ran = isolated(argv, env, 100)
    else:
        warnings.warn("no network namespace can be made here (needs Linux and root): not tested offline", stacklevel=1)
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=patient(100))
    assert_passed(ran.stderr + ran.stdout)
    assert ran.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sdk
@pytest.mark.slow
async def test_with_the_official_sdk() -> None:
    async with Program.glassbridge("demo", "--livekit", "embedded", "--participant", "sdk") as demo:
        status = await demo.ends(within=90)
    assert_passed("\n".join([*demo.err, *demo.out]))
    assert status == 0


def test_on_a_terminal_it_is_a_live_picture(tmp_path: Path) -> None:
    if shutil.which("script") is None:
        pytest.skip("no `script` here that makes a terminal")
    command = f"{sys.executable} -m glassbridge demo --livekit embedded"
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "50"}
    typescript = tmp_path / "typescript"
    ran = subprocess.run(
        ["script", "-qec", command, typescript], env=env, stdout=subprocess.DEVNULL, timeout=patient(100)
    )
    shown = typescript.read_text(errors="replace")
    assert ran.returncode == 0, shown[-3000:]
    for panel in ("parts", "audio: live", "captions", "events", "recogniser", "█"):
        assert panel in shown
    assert "PASSED: first audio" in shown
