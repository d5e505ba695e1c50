"""Lines on disk: in order, once, across deaths, within bounds, and in memory where the disk does not do."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from glassbridge.telemetry import spool as module
from glassbridge.telemetry.spool import Spool
from tests.support.patience import patient


def lines(begin: int, end: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(begin, end)]


def drain(spool: Spool, most: int = 7) -> list[bytes]:
    found = []
    while (batch := spool.first(most)) is not None:
        found += batch.lines
        spool.forget(batch)
    return found


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "disk" else None


def test_lines_come_out_once_and_in_order(folder: Path | None) -> None:
    spool = Spool(folder)
    spool.append(lines(0, 20))
    batch = spool.first(8)
    assert batch is not None
    assert batch.lines == lines(0, 8)
    spool.append(lines(20, 30))
    assert spool.lines == 30
    spool.forget(batch)
    assert drain(spool) == lines(8, 30)
    assert (spool.lines, spool.dropped) == (0, 0)
    spool.close()


def test_what_is_asked_again_is_the_same(folder: Path | None) -> None:
    spool = Spool(folder)
    spool.append(lines(0, 9))
    first, again = spool.first(9), spool.first(4)
    assert first is not None
    assert again is not None
    assert first.lines[:4] == again.lines
    spool.close()


def test_an_empty_spool_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 5))
    drain(spool)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_files_are_ours_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state" / "logs")
    spool.append(lines(0, 1))
    [file] = (tmp_path / "state" / "logs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    spool.close()


DEAD = """
import os, sys
from pathlib import Path
from glassbridge.telemetry.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.append([b'{"n":%d}' % n for n in range(10)])
spool.forget(spool.first(4))
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_what_had_not_arrived(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DEAD, str(tmp_path)], check=False, timeout=patient(30))
    heir = Spool(tmp_path)
    assert heir.adopt() == 6
    assert drain(heir) == lines(4, 10)
    heir.close()
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_lines(tmp_path: Path) -> None:
    owner, other = Spool(tmp_path), Spool(tmp_path)
    owner.append(lines(0, 3))
    assert other.adopt() == 0
    owner.close()
    assert other.adopt() == 3
    other.close()


def test_half_a_line_of_a_dead_process_is_left_out(tmp_path: Path) -> None:
    (tmp_path / f"1-1{module.SUFFIX}").write_bytes(b'%015d\n{"n":0}\n{"n":' % 16)
    (tmp_path / f"2-1{module.SUFFIX}").write_bytes(b"something else")
    heir = Spool(tmp_path)
    assert heir.adopt() == 1
    assert drain(heir) == lines(0, 1)
    heir.close()


def test_a_full_disk_budget_loses_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_disk=16_000)
    for number in range(4_000):
        spool.append(lines(number, number + 1))
    left = drain(spool)
    assert left[-1] == lines(3_999, 4_000)[0]
    assert spool.dropped == 4_000 - len(left)
    assert 500 < len(left) < 2_000
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 17_000
    spool.close()


def test_a_spool_that_is_kept_up_with_does_not_grow(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(2_000):
        spool.append(lines(number, number + 3))
        spool.forget(spool.first(2))  # type: ignore[arg-type]
        if number % 100 == 0:
            drain(spool)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 10_000
    spool.close()


def test_memory_is_bounded_too() -> None:
    spool = Spool(None, max_memory=1_000)
    batch = None
    for number in range(1_000):
        spool.append(lines(number, number + 1))
        batch = batch or spool.first(5)
    left = spool.lines
    assert (spool.dropped, 50 < left < 200) == (1_000 - left, True)
    assert batch is not None
    spool.forget(batch)
    assert spool.lines == left, "lines that were dropped meanwhile are not forgotten twice"
    assert drain(spool)[-1] == lines(999, 1_000)[0]


def test_no_folder_no_trouble(tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    spool = Spool(file / "below")
    spool.append(lines(0, 5))
    assert spool.trouble
    assert drain(spool) == lines(0, 5)
    spool.close()


def test_a_full_disk_is_memory_and_the_disk_serves_again_when_it_can(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spool = Spool(tmp_path)
    spool.append(lines(0, 3))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, before[1]))
        spool.append(lines(3, 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert spool.trouble
    assert spool.lines == 20
    spool.append(lines(20, 22))
    assert spool.trouble == ""
    assert sorted(drain(spool)) == sorted(lines(0, 22))
    spool.close()
    assert os.listdir(tmp_path) == []


def test_a_file_that_somebody_cut_is_counted_as_lost_and_the_rest_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 20))
    (file,) = tmp_path.glob("*.jsonl")
    os.truncate(file, 0)
    assert spool.first(7) is None
    assert (spool.lines, spool.dropped) == (0, 20)
    assert spool.trouble
    spool.append(lines(20, 30))
    assert drain(spool) == lines(20, 30)
    assert spool.trouble == ""
    spool.close()
    assert list(tmp_path.iterdir()) == []
