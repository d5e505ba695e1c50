"""Witnesses, with events and log lines that were made up; and a process that stands still while a block runs."""

import asyncio
import sys
from collections.abc import Mapping
from math import inf
from typing import Any, cast

import psutil
import pytest

from glassbridge.core.values import UserId
from glassbridge.lab.app_witnesses import Witness
from glassbridge.lab.backend import Backend
from glassbridge.lab.crowd import Crowd, User
from glassbridge.lab.faults import family, frozen
from glassbridge.lab.phone_reports import in_room, phone_knows, room_back
from glassbridge.lab.program import Program
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import bridge_knows, cloud_knows, places
from tests.support.patience import soon
from tests.support.poll import eventually

SECOND = 1_000_000_000
LIVE = {"event": "audio_state", "state": "live", "transport": "livekit"}
BY_SOCKET = LIVE | {"transport": "websocket"}
LOST = {"event": "audio_state", "state": "interrupted", "transport": "websocket"}


def user(*events: tuple[float, Mapping[str, Any]]) -> User:
    found = User(UserId("ada@example.org"), 1, cast(Crowd, None), cast(Backend, None))
    found.events += [{**event, "t_ns": int(at * SECOND)} for at, event in events]
    return found


class Logs:
    """As much of a System as witnesses ask."""

    def __init__(self, *lines: tuple[float, Mapping[str, Any]]) -> None:
        self._lines = [{**line, "at_ns": int(at * SECOND)} for at, line in lines]

    def logged(self, event: str, _user: User, since_ns: int, **fields: Any) -> list[Mapping[str, Any]]:
        wanted = {"event": event, **fields}
        return [line for line in self._lines if line["at_ns"] >= since_ns and wanted.items() <= line.items()]


def logs(*lines: tuple[float, Mapping[str, Any]]) -> System:
    return cast(System, Logs(*lines))


@pytest.mark.parametrize(
    ("event", "knows"),
    [
        (LIVE, inf),
        (BY_SOCKET, 2.0),
        (LOST, 2.0),
        ({"event": "socket", "state": "closed"}, 2.0),
        ({"event": "socket", "state": "open"}, inf),
        ({"event": "room", "state": "lost"}, 2.0),
        ({"event": "room", "state": "left"}, inf),
    ],
)
def test_a_phone_knows_of_trouble_from_the_first_word_of_it(event: Mapping[str, Any], knows: float) -> None:
    """What it knew before does not count."""
    assert phone_knows(user((1, LOST), (4, event), (5, event)), 2 * SECOND) == knows


def test_a_cloud_knows_when_it_closes_the_socket_or_tells_another_path() -> None:
    closed, well = {"event": "phone socket closed"}, {"event": "audio state", "state": "live", "transport": "livekit"}
    assert cloud_knows(logs((1, closed), (3, well)), user(), 2 * SECOND) == inf
    assert cloud_knows(logs((3, well | {"transport": "websocket"}), (4, closed)), user(), 2 * SECOND) == 1.0
    assert cloud_knows(logs((4, closed)), user(), 2 * SECOND) == 2.0


def test_a_bridge_knows_when_it_gives_up_its_place_or_its_stream() -> None:
    system = logs((1, {"event": "audio stream ended"}), (5, {"event": "Disconnected from LiveKit room"}))
    assert bridge_knows(system, user(), 2 * SECOND) == 3.0
    assert bridge_knows(system, user(), 6 * SECOND) == inf


def test_places_are_counted_for_each_bridge() -> None:
    joined = {"event": "Joined LiveKit room", "program": "bridge-A"}
    system = logs((1, joined), (3, joined), (4, joined | {"program": "bridge-B"}))
    assert places(system, user(), 2 * SECOND) == 2
    assert places(system, user(), 2 * SECOND, program="bridge-A") == 1


@pytest.mark.parametrize(
    ("events", "back"),
    [
        ((), inf),
        (((1, LIVE),), 0.0),
        (((1, LIVE), (3, LOST)), inf),
        (((1, LIVE), (3, LOST), (4, BY_SOCKET)), inf),
        (((1, LIVE), (3, LOST), (4, LIVE), (5, LIVE)), 2.0),
        (((4, LIVE), (5, BY_SOCKET), (6, LIVE)), 4.0),
    ],
)
def test_the_room_is_back_from_when_it_stayed(events: tuple[tuple[float, Mapping[str, Any]], ...], back: float) -> None:
    assert room_back(user(*events), 2 * SECOND) == back


async def test_waiting_for_the_room_ends_when_all_are_there_or_the_time_is_up() -> None:
    late = user((1, BY_SOCKET))
    await in_room([user((1, LIVE)), late], within=0.2)
    waiting = asyncio.ensure_future(in_room([late], within=30.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    late.events.append(LIVE | {"t_ns": 2 * SECOND})
    await soon(waiting, 5.0)


async def test_a_program_and_its_children_stand_still_while_the_block_runs() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(0, flush=True); input()'])"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None

    class Running:
        pid = child.pid

    try:
        await child.stdout.readline()
        pids = family(cast(Program, Running()))
        assert len(pids) == 2

        def states() -> set[str]:
            return {psutil.Process(pid).status() for pid in pids}

        with frozen(*pids):
            await eventually(lambda: states() == {psutil.STATUS_STOPPED} or f"{states()}")
        await eventually(lambda: psutil.STATUS_STOPPED not in states() or f"{states()}")
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()


def test_a_word_that_is_told_again_in_place_of_another_is_heard_once() -> None:
    """What came late is understood anew, with the words around it."""
    witness = Witness("ours", "ours", "org.example.ours")
    witness.hear("ada", "1x0 1x50", "first")
    witness.hear("ada", "1x100", "second")
    witness.hear("ada", "1x0 1x25 1x50", "third", ("first",))
    assert sorted(heard.word for heard in witness.heard["ada"]) == [(1, 0), (1, 25), (1, 50), (1, 100)]
