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


def test_audio_and_words_arrive(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On a terminal, which shows a live picture, and offline, where that can be had: in a network namespace with only
    `lo` (no cable, no Wi-Fi, no name server).

    What is told where there is no terminal: tests/lab/test_break_it.py, test_stop.py.
    """
    if shutil.which("script") is None:
        pytest.skip("no `script` here that makes a terminal")
    typescript = tmp_path_factory.mktemp("terminal") / "typescript"
    argv = ["script", "-qec", f"{sys.executable} -m glassbridge demo", str(typescript)]
    env = os.environ | {"TMPDIR": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "50"}
    if shutil.which("unshare") is not None and isolated(["true"], os.environ, 10).returncode == 0:
        ran = isolated(argv, env, 100)
    else:
        warnings.warn("no network namespace can be made here (needs Linux and root): not tested offline", stacklevel=1)
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=patient(100))
    shown = typescript.read_text(errors="replace")
    assert ran.returncode == 0, shown[-3000:]
    for panel in ("parts", "audio: live", "captions", "events", "recogniser", "█"):
        assert panel in shown
    [verdict] = re.findall("PASSED: first audio.*", shown)
    assert_passed(verdict)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sdk
@pytest.mark.slow
async def test_with_the_official_sdk() -> None:
    async with Program.glassbridge("demo", "--livekit", "embedded", "--participant", "sdk") as demo:
        status = await demo.ends(within=90)
    assert_passed("\n".join([*demo.err, *demo.out]))
    assert status == 0
