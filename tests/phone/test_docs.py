"""The example in docs/phone.md works as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.phone.scripted import TOKEN, Rooms, ScriptedCloud
from tests.phone.test_client import noise

PAGE = Path(__file__).parents[2] / "docs" / "phone.md"


async def test_the_example_speaks_and_prints_captions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, PAGE, "exec"), names)
    rooms, pcm = Rooms(), noise(8_000)
    monkeypatch.setattr("glassbridge.phone.client.connector", lambda _kind: rooms)
    async with ScriptedCloud(rooms) as cloud:
        await names["speak"](cloud.url, TOKEN, pcm)
        assert bytes(cloud.delivered) == pcm, "spoken before anything was open, and all of it there"
    printed = capsys.readouterr().out
    assert "» hello world" in printed
    assert "you are heard" in printed


def test_every_situation_is_explained() -> None:
    from glassbridge.core.phone_link import Situation

    page = PAGE.read_text()
    assert [situation.value for situation in Situation if f"`{situation.value}`" not in page] == []
