"""The simulator against a scripted cloud: what it prints, when it ends, and with which status."""

import asyncio
import io
import json
import os
import random
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest

from glassbridge.core.values import Transport
from glassbridge.phone import events, simulator
from glassbridge.phone.config import PhoneConfig
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.report import Report, readable
from glassbridge.phone.simulator import Simulator
from glassbridge.runtime.errors import UserError
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode
from tests.phone.scripted import AGENT, TOKEN, Rooms, ScriptedCloud
from tests.support.patience import soon
from tests.support.poll import eventually

CLIP = random.Random(3).randbytes(2 * 7_777)


def write_wav(path: Path, pcm: bytes = CLIP) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(pcm)
    return path


class Run:
    """One run of the simulator and what it printed."""

    source: TextIO | None = None

    def __init__(self, cloud: ScriptedCloud, rooms: Rooms, **options: Any) -> None:
        self.out = io.StringIO()
        all_options: dict[str, Any] = {"cloud": cloud.url, "token": TOKEN, "json": True, "deadline": 3.0} | options
        config = PhoneConfig(**all_options)
        phone = Simulator(config, rooms, Report(config.json, self.out), self.source)
        self.task = asyncio.create_task(phone.run(CLIP))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("numbered", [True, False])
async def test_a_clip_is_spoken_captioned_and_over(transport: Transport, numbered: bool) -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, transport=transport, numbered=numbered)
        assert await run.task == 0
        assert [(c["text"], c["final"]) for c in run.named("caption")] == [("hello", False), ("hello world", True)]
        assert run.named("ack")[0]["session_id"] == "me"
        assert all(isinstance(event["t"], float) for event in run.events)
        summary = run.events[-1]
        assert (summary["event"], summary["text"], summary["frames_dropped"]) == ("summary", "hello world", 0)
        assert sum(summary["frames"].values()) == 5
        assert 0.4 < summary["first_caption"] < 2.0
        if transport is Transport.TRACK:
            assert CLIP in rooms.audio
        elif numbered:
            assert bytes(cloud.delivered) == CLIP
            assert run.named("audio_state")[-1]["state"] == "live"
        else:
            assert bytes(cloud.plain) == CLIP
        if transport is not Transport.WEBSOCKET:
            assert [event["state"] for event in run.named("room")] == ["joined", "left"]


async def test_a_track_whose_room_refuses_is_spoken_by_the_socket() -> None:
    rooms = Rooms(refusals=1_000)
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, transport=Transport.TRACK, opus=False)
        assert await run.task == 0
        assert bytes(cloud.delivered) == CLIP
        assert run.named("track_replaced")[0]["by_socket"] is True
        assert run.events[-1]["text"] == "hello world"


async def test_an_original_cloud_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "QUIET", 0.3)
    rooms = Rooms()
    async with ScriptedCloud(rooms, original=True) as cloud:
        run = Run(cloud, rooms)
        assert await run.task == 0
        assert bytes(cloud.plain) == CLIP


async def test_it_waits_with_plain_audio_until_the_agent_is_in_the_room() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        cloud.agent_in_room = False
        run = Run(cloud, rooms, numbered=False)
        await eventually(lambda: bool(rooms.places))
        await asyncio.sleep(0.3)
        assert not rooms.packets
        rooms.here.meet(AGENT)
        assert await run.task == 0


async def test_frames_have_the_length_that_was_asked_for_and_come_in_time() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, frame_ms=20)
        assert await run.task == 0
        assert run.events[-1]["frames"] == {"data": 25}
        account = cloud.ledger.account()
        assert (account.live, account.lost) == (7_777, 0)
        assert account.epochs[0].microphone_off, "the last frame says so"


async def test_no_caption_in_time_is_a_failure_of_one_line() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        cloud.captions, cloud.ends_speech = [], False
        with pytest.raises(UserError, match="no caption came within 1 s") as failed:
            await Run(cloud, rooms, deadline=1.0).task
        assert failed.value.exit_code == 1


async def test_a_clip_without_words_and_a_cloud_without_captions_differ() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        cloud.captions = []
        with pytest.raises(UserError, match="heard, but no words were found in it: give a clip"):
            await Run(cloud, rooms, deadline=60.0).task
        cloud.captioned = False
        with pytest.raises(UserError, match="heard, but the cloud could not caption it: see the log of the cloud"):
            await Run(cloud, rooms, deadline=60.0).task


async def test_speech_that_the_network_lost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "LAST_ACK", 0.2)
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        cloud.lost = 16_000
        with pytest.raises(UserError, match=r"1\.0 s of the speech never arrived: the network lost it"):
            await Run(cloud, rooms).task


async def test_no_way_for_the_audio_says_why() -> None:
    rooms = Rooms(refusals=10_000)
    async with ScriptedCloud(rooms) as cloud:
        cloud.path = "websocket"
        cloud.understands_numbers = False
        with pytest.raises(UserError, match=r"no way for the audio after 1 s \(ready\)"):
            await Run(cloud, rooms, deadline=1.0).task


async def test_no_cloud_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "FIRST_CONTACT", 0.3)
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        await cloud.stop()
        run = Run(cloud, rooms, json=False)
        with pytest.raises(
            UserError, match=r"the phone is not connected: no cloud answers at http.*refused.*: see that"
        ):
            await run.task
        assert run.out.getvalue().splitlines() == [
            "connecting to the cloud",
            "the cloud cannot be reached (connection refused), trying again",
        ]


async def test_a_refused_token_ends_it_at_once() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, token="secret-canary")
        with pytest.raises(UserError, match="glassbridge token"):
            await run.task
        assert "canary" not in run.out.getvalue()


async def test_being_superseded_ends_it() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, loop=True)
        await eventually(lambda: len(cloud.delivered) > len(CLIP), within=4.0)
        await cloud.sockets[-1].close(code=CloseCode.SUPERSEDED)
        with pytest.raises(UserError, match="newer socket"):
            await run.task


async def test_people_get_lines() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, json=False)
        assert await run.task == 0
        lines = run.out.getvalue().splitlines()
        assert "  » hello world" in lines
        assert "you are heard" in lines
        assert lines[-1].startswith("sent 5 frames; first caption 0.")


def test_turns_of_things_are_one_sentence_each() -> None:
    state = events.AudioStateChanged("live", "no bridge can be reached", "no_bridge", "websocket", 500, "bridge")
    wordless = replace(state, reason="the recogniser fails", hop="recogniser")
    lines: dict[PhoneEvent, str | None] = {
        events.Told("heard", "audio is back after 3.2 s", None): "audio is back after 3.2 s",
        events.Told("ended", "the cloud refuses the token", None): None,
        state: "audio goes by the cloud's socket: no bridge can be reached",
        wordless: "captions: the recogniser fails",
        replace(state, reason=""): None,
        events.RoomChanged("lost", "me", "the link is gone"): "room: lost (the link is gone)",
        events.RoomChanged("failed", reason="no answer"): "room: cannot be joined (no answer)",
        events.SocketChanged("closed", "http://h:1", 1006, "the connection broke"): None,
    }
    assert {event: readable(event) for event in lines} == lines


async def test_a_reader_that_goes_away_ends_it() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Run(cloud, rooms, loop=True)
        await eventually(lambda: bool(cloud.delivered))
        run.out.close()
        await cloud.say(wire.AudioAck(epoch=1, position=1))  # something to print
        assert await soon(run.task, 3.0) == 0


class Controlled(Run):
    """A run that takes commands from a pipe."""

    def __init__(self, cloud: ScriptedCloud, rooms: Rooms, **options: Any) -> None:
        read, self._write = os.pipe()
        self.source = os.fdopen(read)
        super().__init__(cloud, rooms, control=True, **options)

    def type(self, line: str) -> None:
        os.write(self._write, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._write)


async def test_commands(tmp_path: Path) -> None:
    rooms = Rooms()
    wav = write_wav(tmp_path / "again.wav")
    async with ScriptedCloud(rooms, name="A") as a, ScriptedCloud(rooms, name="B") as b:
        run = Controlled(a, rooms)
        await eventually(lambda: len(run.named("speech_end")) == 1 or run.out.getvalue())
        run.type(f"switch {b.url}")
        await eventually(lambda: len(run.named("ack")) == 2 and rooms.log[-1] == "join ws://B")
        run.type(f"wav {wav}")
        await eventually(lambda: len(run.named("speech_end")) == 2 or run.out.getvalue())
        assert bytes(b.delivered) == CLIP
        run.type("drop 0.3")
        await eventually(lambda: len(run.named("ack")) == 3)
        run.type("mic on")
        await eventually(lambda: not b.ledger.account().epochs[-1].microphone_off)
        run.type("mic off")
        await eventually(lambda: b.ledger.account().epochs[-1].microphone_off)
        for bad in ("dance", "drop soon", "mic perhaps", f"wav {tmp_path}/none.wav", "switch nowhere", "x" * 20_000):
            run.type(bad)
        await eventually(lambda: len(run.named("error")) == 6 or str(run.named("error")))
        run.type("quit")
        assert await run.task == 0
        run.close()


async def test_the_end_of_standard_input_ends_it() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        run = Controlled(cloud, rooms)
        await eventually(lambda: bool(run.named("ack")))
        run.close()
        assert await run.task == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_ms": 10}, "frame-ms"),
        ({"wav": None}, "nothing to speak"),
        ({"wav": Path("/nowhere.wav")}, "No such file"),
        ({"cloud": "nowhere"}, "URL"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "cloud": "http://127.0.0.1:1",
        "token": TOKEN,
        "wav": write_wav(tmp_path / "a.wav"),
    } | options
    with pytest.raises(UserError, match=message) as refused:
        simulator.run(PhoneConfig(**config))
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
