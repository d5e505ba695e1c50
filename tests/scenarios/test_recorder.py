"""A worker is killed while a phone speaks: the recorder says which hop was dead, why, and what healed it, and its
seconds agree with what a listener of the cloud heard."""

import asyncio
import json
import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from glassbridge.cloud import tap
from glassbridge.lab import clips
from glassbridge.lab.program import Program
from glassbridge.lab.stack import Stack
from glassbridge.livekit.server import LiveKitServer
from tests.scenarios.systems import ADA, ENVIRONMENT, JWT_SECRET, KEYS, config
from tests.support.patience import patient
from tests.support.poll import eventually

TOKEN = "an-admin-token-of-the-recorder-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CLOSE = 1_500
"""Milliseconds within which two ways of measuring the same must agree: one looks at frames, presence too, the other at
sound."""


class Ear:
    """When blocks of live audio were handed to listeners, in unix milliseconds."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._ahead = time.time() - time.monotonic()
        self.heard: list[float] = []

    def _read(self) -> None:
        block = tap.read(self._socket.recv(1 << 20))
        if block.live:
            self.heard.append((block.at / 1e9 + self._ahead) * 1000)

    def __enter__(self) -> "Ear":
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


class Recorder:
    """What the cloud's and the supervisor's recorders say of the user."""

    def __init__(self, http: aiohttp.ClientSession, stack: Stack) -> None:
        self._http = http
        self._stack = stack

    async def timeline(self) -> Any:
        api = f"{self._stack.cloud_url}/api/admin/sessions"
        session = (await self._get(f"{api}?user={ADA.replace('+', '%2B')}"))["data"]["sessions"][0]
        return (await self._get(f"{api}/{session['id']}/timeline"))["data"]

    async def rooms(self) -> Any:
        return (await self._get(f"{self.bridge_url}/recorder?user={ADA.replace('+', '%2B')}"))["rooms"]

    @property
    def bridge_url(self) -> str:
        return f"http://{said(self._stack.bridge, 'metrics are served')[0]['address']}"

    async def _get(self, url: str) -> Any:
        async with self._http.get(url, headers=BEARER) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


def said(program: Program, event: str) -> list[Any]:
    """Its log lines of this name."""
    return [line.fields for line in program.lines if line.fields.get("event") == event]


@asynccontextmanager
async def speaking(folder: Path, livekit: str = "embedded") -> AsyncIterator[tuple[Stack, Recorder, Ear]]:
    """A system in which a phone speaks."""
    env = {"GLASSBRIDGE_ADMIN_TOKEN": TOKEN, "GLASSBRIDGE_BRIDGE_METRICS_PORT": "0"}
    options = {"livekit": livekit, "env": env, "taps": {"A": folder / "tap"}, "spare": True}
    with Ear(folder / "tap") as ear:
        async with Stack(config(**options)) as stack, aiohttp.ClientSession() as http:
            await stack.start_phone(ADA, "--wav", str(clips.wav("clip")), "--loop", "--control")
            await eventually(lambda: len(ear.heard) > 30 or "the phone is not heard", 30.0)
            yield stack, Recorder(http, stack), ear


async def glassbridge(*args: str) -> str:
    """Its output."""
    program = Program("inspect", args, ENVIRONMENT | {"GLASSBRIDGE_ADMIN_TOKEN": TOKEN})
    await program.start()
    assert await program.wait() == 0, program.last_words
    return "\n".join(line.text for line in program.lines if not line.log)


def _seconds_of_audio(room: Any) -> int:
    return sum(count or 0 for count in room["seconds"][0])


async def test_a_killed_worker_is_a_gap_of_the_bridge_and_what_it_told_is_kept(tmp_path: Path) -> None:
    """Then cloud and bridge start anew with the recorder off."""
    async with speaking(tmp_path) as (stack, recorder, ear):
        worker = said(stack.bridge, "worker ready")[0]["pid"]

        async def told() -> bool | str:
            rooms = await recorder.rooms()
            return any(map(_seconds_of_audio, rooms)) or f"{rooms}"

        await eventually(told, 30.0, every=0.2)
        killed_ms = time.time() * 1000
        os.kill(worker, signal.SIGKILL)

        async def healed() -> bool | str:
            gaps = (await recorder.timeline())["gaps"]
            ends = [gap["to_ms"] for gap in gaps]
            return (bool(ends) and all(ends) and ends[-1] > killed_ms) or f"{gaps}"

        await eventually(healed, 30.0, every=0.2)
        heard_by = len(ear.heard)
        await eventually(lambda: len(ear.heard) > heard_by + 30 or "the phone is not heard any more", 30.0)
        timeline, rooms = await recorder.timeline(), await recorder.rooms()

        close = patient(CLOSE)
        gaps = [gap for gap in timeline["gaps"] if gap["to_ms"] > killed_ms]
        gap = gaps[0]
        assert (gap["hop"], gap["lane"], gap["named_by"]) == ("bridge", "bridge", "decision"), timeline
        assert gap["code"] == "bridge_died"
        assert gap["healed_by"] in ("join:joined", "then slow_network"), "on a busy machine audio comes late at first"
        assert killed_ms - close < gap["from_ms"] < killed_ms + close, timeline
        around = [at for at in ear.heard if killed_ms - close < at < gap["to_ms"] + close]
        hole = max(after - before for before, after in pairwise(around))
        silent = sum(one["silent_ms"] for one in gaps)
        print(
            f"silent for {silent} ms as recorded, {hole:.0f} ms as heard; dead for {gap['to_ms'] - gap['from_ms']} ms"
        )
        assert abs(silent - hole) < close, f"the recorder says {silent} ms, a listener heard none for {hole:.0f} ms"
        assert agrees(timeline, ear.heard), timeline

        before, after = rooms[0], rooms[-1]
        assert (before["pid"], before["alive"], after["alive"]) == (worker, False, True)
        assert _seconds_of_audio(before)
        assert before["events"][0]["action"].startswith("connect"), before

        await shows_it(recorder, stack, tmp_path / "report.json")
        await keeps_nothing(recorder, stack, ear)


@pytest.mark.slow
@pytest.mark.real
async def test_each_program_that_freezes_is_named(tmp_path: Path) -> None:
    async with speaking(tmp_path, "real") as (stack, recorder, _):
        assert isinstance(stack.livekit, LiveKitServer)
        assert stack.livekit.pid is not None
        worker = said(stack.bridge, "worker ready")[0]["pid"]
        frozen = {
            "livekit": (stack.livekit.pid, {"livekit"}),
            "phone": (stack.phones[0].pid, {"phone"}),
            "cloud": (stack.cloud.pid, {"cloud", "stream"}),
            "bridge": (worker, {"bridge"}),
        }
        for hop, (pid, named) in frozen.items():
            gaps = (await recorder.timeline())["gaps"]
            begun = time.time() * 1000
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(6.0)  # the fault
            with suppress(ProcessLookupError):  # the supervisor ends a frozen worker
                os.kill(pid, signal.SIGCONT)

            new = await gaps_since(recorder, len(gaps))
            shown = [(gap["hop"], gap["code"], gap["to_ms"] - gap["from_ms"], gap["healed_by"]) for gap in new]
            print(f"{hop} frozen: {shown}")
            assert new[0]["hop"] in named, shown
            assert abs(new[0]["from_ms"] - begun) < patient(CLOSE), shown
            assert new[-1]["to_ms"] > begun + 5_000, shown


async def gaps_since(recorder: Recorder, known: int) -> list[Any]:
    """Those after the first `known`, once all is well and has been for three seconds."""
    new: list[Any] = []

    async def healed() -> bool | str:
        timeline = await recorder.timeline()
        new[:] = timeline["gaps"][known:]
        ends = [gap["to_ms"] or timeline["now_ms"] for gap in new]
        well = bool(ends) and timeline["session"]["light"] == "ok" and max(ends) < timeline["now_ms"] - 3_000
        return well or f"{timeline['session']}, {new}"

    await eventually(healed, 40.0, every=0.3)
    return new


def agrees(timeline: Any, heard: list[float]) -> bool:
    """Frames that came in, second by second, are those that a listener got, each a tenth of a second."""
    counts = dict(zip(timeline["columns"], timeline["seconds"], strict=True))
    came = [(a or 0) + (b or 0) for a, b in zip(counts["cloud_in"], counts["socket_in"], strict=True)]
    start, so_far = timeline["start_ms"], 0
    for number, count in enumerate(came):
        so_far += count
        blocks = sum(at < start + (number + 1) * 1000 for at in heard)
        if abs(so_far - blocks) > patient(15):  # presence counts, and what came late was not live
            return False
    return so_far > 30


async def shows_it(recorder: Recorder, stack: Stack, path: Path) -> None:
    where = ("--cloud", stack.cloud_url, "--bridge", recorder.bridge_url)
    text = await glassbridge("inspect", ADA, *where)
    assert "bridge_died" in text
    assert "join:joined" in text
    assert "dead" in text
    await glassbridge("inspect", ADA, *where, "--export", str(path))
    exported = path.read_text()
    report = json.loads(exported)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert report["timeline"]["captions"] is None
    assert report["timeline"]["gaps"][0]["hop"] == "bridge"
    assert len(report["bridge_rooms"]) >= 2
    for secret in (TOKEN, JWT_SECRET, KEYS.secret, "eyJ"):
        assert secret not in exported
    word = max(clips.words("clip"), key=len)
    assert word not in exported, "a transcript is in it"


async def keeps_nothing(recorder: Recorder, stack: Stack, ear: Ear) -> None:
    """Where the settings say so."""
    for program, start in ((stack.bridge, stack.start_bridge), (stack.cloud, stack.start_cloud)):
        program.env["GLASSBRIDGE_RECORDER"] = "false"
        await program.end(patient(10))
        program.lines.clear()
        await start()
    heard_by = len(ear.heard)
    await eventually(lambda: len(ear.heard) > heard_by + 30 or "the phone is not heard any more", 30.0)
    timeline, rooms = await recorder.timeline(), await recorder.rooms()
    assert timeline["session"]["state"] == "live"  # how it is now
    assert (timeline["events"], timeline["gaps"], rooms) == ([], [], [])
    assert all(count is None for column in timeline["seconds"] for count in column)
