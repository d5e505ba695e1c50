"""SECURITY.md names a test for each of its checks, and each of them exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (\d+) \| .+? \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


def test_each_check_has_tests_that_exist() -> None:
    rows = ROW.findall((ROOT / "SECURITY.md").read_text())
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    missing = []
    for number, tests in rows:
        file = ""
        if not any(path for path, _ in NAMED.findall(tests)):
            missing.append(f"{number}: names no test")
        for path, name in NAMED.findall(tests):
            file = path or file
            text = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
            if not text or (name and f"def {name}(" not in text):
                missing.append(f"{number}: {file}::{name}")
    assert not missing
