"""tools/check_world.py finds what touches the world past its port, and what need not be excused any more."""

from pathlib import Path

import pytest

from tools.check_world import check, touches


@pytest.mark.parametrize(
    "text",
    [
        "from time import monotonic",
        "import time as t",
        "import random, os",
        "now = asyncio.get_running_loop().time()",
        "clock = self._loop.time",
        "http = aiohttp.ClientSession(timeout=1)",
        "raw = socket.socket()",
        "at = datetime.now(UTC)",
        "await asyncio.open_connection('host', 1)",
    ],
)
def test_a_touch_is_found(text: str) -> None:
    assert list(touches(f"async def f():\n    {text}"))


@pytest.mark.parametrize(
    "text",
    [
        "from datetime import UTC, datetime",
        "http = self._world.http(limit=3)",
        "async with asyncio.timeout(3.0): pass",
        "def f(http: aiohttp.ClientSession) -> None: ...",
        "raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)",
    ],
)
def test_what_is_given_may_be_used(text: str) -> None:
    assert not list(touches(f"async def f():\n    {text}"))


def test_our_programs_take_their_world_and_the_list_of_others_only_shrinks(tmp_path: Path) -> None:
    assert check() == []
    (tmp_path / "cloud").mkdir()
    (tmp_path / "cloud" / "late.py").write_text("import random\n")
    (tmp_path / "cloud" / "done.py").write_text("")
    assert [line.split(":")[0] for line in check(tmp_path, frozenset({"cloud/done.py"}))] == [
        "cloud/done.py touches nothing",
        "cloud/late.py",
    ]
