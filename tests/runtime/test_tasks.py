"""Tasks have an owner: their failures are heard, and those that must not end are begun again."""

import asyncio

import pytest

from glassbridge.runtime import tasks
from glassbridge.runtime.tasks import TaskGroup
from tests.support.poll import eventually, stays


async def test_what_must_not_end_is_begun_again_and_its_failure_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BEGIN_AGAIN", 0.01)
    heard: list[str] = []
    begun = 0

    async def watch() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise RuntimeError("a defect")
        if begun > 2:
            await asyncio.Event().wait()

    group = TaskGroup("tests", lambda _task, error: heard.append(str(error)))
    group.keep(watch, "watch")
    await eventually(lambda: begun == 3 or f"begun {begun} times")
    assert heard == ["a defect"]
    await group.close()
    assert len(group) == 0
    with pytest.raises(RuntimeError):
        group.keep(watch, "watch")


async def test_a_group_that_closes_begins_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BEGIN_AGAIN", 0.01)
    begun = 0

    async def watch() -> None:
        nonlocal begun
        begun += 1

    group = TaskGroup("tests")
    group.keep(watch, "watch")
    await eventually(lambda: begun >= 1)
    await group.close()
    before = begun
    await stays(lambda: begun == before, 0.1)
