"""`glassbridge bench peers`: what a figure means, what is said where packages are missing, and one episode."""

import json
import os
import sys
from pathlib import Path

import pytest

from glassbridge.lab import tone_code
from glassbridge.lab.impaired import available
from glassbridge.lab.peers import venvs
from glassbridge.lab.peers.judge import FaultTimes, Figures, cell, judge, units_heard
from glassbridge.lab.peers.subjects import SUBJECTS
from glassbridge.runtime.errors import UserError
from tests.docs.test_commands import run
from tests.scenarios.systems import isolated


def heard(*stretches: tuple[int, int], late: float = 0.05) -> dict[int, float]:
    """Units that were heard `late` seconds after they were said; the first was said at 100 s."""
    return {unit: 100 + (unit + 1) / 10 + late for start, stop in stretches for unit in range(start, stop)}


def test_a_hole_is_what_was_never_heard_and_ends_with_what_was_said_after_the_fault() -> None:
    fault = FaultTimes(104.0, 107.0)
    figures = judge(fault, 100.0, 100, heard((0, 40), (75, 100)))
    assert figures.never_heard == pytest.approx(3.5)
    assert figures.time_to_audio == pytest.approx(0.65)
    assert figures.before == 1.0


def test_what_comes_late_is_heard() -> None:
    """Said during the cut, heard after it: not lost. Until something that was said after it is heard, it goes on."""
    late = heard((40, 70), late=4.0)
    figures = judge(FaultTimes(104.0, 107.0), 100.0, 100, heard((0, 40), (70, 100)) | late)
    assert figures.never_heard == 0
    assert figures.time_to_audio == pytest.approx(0.15)


def test_silence_to_the_end_is_never() -> None:
    figures = judge(FaultTimes(104.0, 107.0), 100.0, 100, heard((0, 40)))
    assert figures.time_to_audio is None
    assert figures.never_heard == pytest.approx(5.9), "the last tenth of a second is not counted"
    assert cell([figures]) == "never; 5.9"


def test_a_cell_tells_the_median_and_the_worst() -> None:
    runs = [Figures(time, lost, 1.0) for time, lost in ((0.2, 0.0), (1.0, 3.0), (0.4, 1.0))]
    assert cell(runs) == "0.4 / 1.0; 1.0"
    assert cell([*runs, Figures(None, 9.0, 1.0)]) == "0.4 / never; 2.0"


def test_sound_is_dated_by_the_block_that_brings_its_end() -> None:
    pcm = tone_code.speech(10)
    blocks = [(round((50 + i / 10) * 1e9), pcm[i * 3200 : (i + 1) * 3200]) for i in range(10)]
    found = units_heard(blocks)
    assert set(found) == set(range(10))
    assert all(abs(at - (50 + unit / 10)) <= 0.1 for unit, at in found.items())
    assert units_heard([]) == {}


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert venvs.python_of("agents") is None
    assert venvs.missing("agents").startswith("livekit-agents==1.8.9 is not installed")
    assert "`glassbridge bench peers --install`" in venvs.missing("agents")
    assert {one.python for one in SUBJECTS if one.python} == set(venvs.PACKAGES)


def test_an_environment_that_cannot_be_made_is_told_and_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(venvs.PACKAGES, "agents", ("not a requirement!",))
    monkeypatch.setattr("shutil.which", lambda _: None)
    said: list[str] = []
    with pytest.raises(UserError, match="not a requirement! cannot be installed"):
        venvs.install("agents", said.append)
    assert said == [f"installing not a requirement! into {venvs.folder('agents')}"]
    assert venvs.python_of("agents") is None


def test_names_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    run("glassbridge bench peers --system vocode", tmp_path, status=2)
    run("glassbridge bench peers --fault flood", tmp_path, status=2)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.skipif(not available(), reason="networks of their own need root, /dev/net/tun, unshare, nsenter and ip")
def test_ours_loses_nothing_where_the_bare_sdk_loses_a_cut() -> None:
    command = ("bench", "peers", "--system", "glassbridge", "--system", "sdk", "--fault", "cut3", "--json")
    done = isolated([sys.executable, "-m", "glassbridge", *command], os.environ | {"LAB_IN_NAMESPACE": "1"}, 120)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {one["system"]: one for one in map(json.loads, done.stdout.splitlines())}
    print(found)
    assert found["glassbridge-data"]["never_heard"] == 0
    assert found["sdk-track"]["never_heard"] >= 2.5
    assert all(one["before"] > 0.9 for one in found.values())
