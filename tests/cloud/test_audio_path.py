"""From the phone's bytes to the recogniser's input and back as captions; what --record keeps of it."""

import asyncio
import random
import subprocess
import sys
import wave
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from glassbridge.cloud import audio
from glassbridge.cloud.audio import NACK_AFTER, AudioProgress, Microphone
from glassbridge.cloud.connection import ConnectParams
from glassbridge.core.allowance import Rate
from glassbridge.core.audio_link import BridgeFault
from glassbridge.core.intervals import Runs
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.recogniser import Reason
from glassbridge.core.sockets_beside import MOST
from glassbridge.core.uplink import MISSING_RUNS
from glassbridge.core.values import LossReason
from glassbridge.speech.base import RecogniserError
from glassbridge.wire.audio_frames import (
    CODING_OPUS,
    FLAG_LAST,
    FLAG_PRESENCE,
    FLAG_REPLAYED,
    FrameError,
    FrameNumber,
    encode_numbered,
    encode_opus,
)
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.conftest import ANN, ScriptedRecogniser, Stage
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.scripted_bridge import ScriptedBridge

Begin = Callable[..., Awaitable[Stage]]
SPEECH = random.Random(1).randbytes(32 * 4_000)


def frames(pcm: bytes, size: int = 640) -> Iterator[tuple[int, bytes]]:
    """(position, samples) of each frame."""
    for start in range(0, len(pcm), size):
        yield start // 2, pcm[start : start + size]


def numbered(position: int, pcm: bytes, flags: int = 0, epoch: int = 7, at: int | None = None) -> bytes:
    capture = (position if at is None else at) * 1_000_000 // 16_000
    return encode_numbered(FrameNumber(epoch, position, capture, flags), pcm)


async def until_fed(recogniser: ScriptedRecogniser, pcm: bytes) -> None:
    await eventually(lambda: len(recogniser.fed) >= len(pcm) or f"{len(recogniser.fed)} of {len(pcm)} bytes fed")
    assert recogniser.fed == pcm


def recording(folder: Path) -> bytes:
    (path,) = folder.iterdir()
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        pcm: bytes = file.readframes(file.getnframes())
    return pcm


# ---- bit-exact


async def test_odd_chunks_by_websocket_arrive_bit_exact_and_are_recorded_so(stage: Begin, tmp_path: Path) -> None:
    built = await stage(record=tmp_path / "wav", grace=0.1)
    phone = await built.phone()
    chance, sent = random.Random(2), 0
    while sent < len(SPEECH):
        size = chance.choice((1, 2, 3, 639, 640, 641, 3200))
        await phone.socket.send_bytes(SPEECH[sent : sent + size])
        sent += size
    await until_fed(built.recogniser, SPEECH)
    await phone.until_state("live")
    await phone.close()
    await eventually(lambda: built.cloud.sessions.active == 0 or "the session lives")
    await eventually(lambda: recording(tmp_path / "wav") == SPEECH or "the recording is not what was fed")


@pytest.mark.parametrize("position", [2**53 + 1, 2**63 - 1, 2**64 - 1])
async def test_a_position_that_nobody_reaches_is_refused(stage: Begin, position: int) -> None:
    """No other cloud could read how far the user was heard, nor what was told beside it of 31 others."""
    built = await stage()
    phone = await built.phone(query="?audio=2")
    await phone.socket.send_bytes(numbered(position, SPEECH[:640], at=0))
    assert "position" in (await phone.until("connection_error"))["message"]
    await phone.socket.send_bytes(numbered(0, SPEECH[:640]))
    await until_fed(built.recogniser, SPEECH[:640])


async def test_thousands_of_holes_cost_no_more_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second sample, a thousand frames a second: each took 47 ms after six seconds, and was acknowledged."""
    loop, now = asyncio.get_running_loop(), 0.0
    begun = loop.time()
    monkeypatch.setattr(loop, "time", lambda: begun + now)
    told: list[AudioProgress] = []
    microphone = Microphone(told.append, lambda: None)
    looked = 0
    runs_of = Runs._run

    def count(runs: Runs[Any], index: int) -> Any:
        nonlocal looked
        looked += 1
        return runs_of(runs, index)

    monkeypatch.setattr(Runs, "_run", count)
    for frame in range(4_000):
        now += 0.001
        microphone.take_numbered(FrameNumber(7, 2 * frame, frame * 1_000), b"\1\0", AudioRoute.SOCKET)
    microphone.close()
    assert len(told) < 4.0 / NACK_AFTER
    assert len(told[-1].missing) == MISSING_RUNS
    assert told[-1].missing[-1][1] >= told[-1].position - 1, "the newest are told"
    assert looked < 4_000 * 20, "all holes are looked at for each frame"


async def test_opus_is_not_decoded_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty packets of a byte each in every frame: one phone took a whole processor, within its bytes."""
    monkeypatch.setattr(audio, "OPUS_PACKETS", Rate(1.0, 100.0))
    microphone = Microphone(lambda _progress: None, lambda: None)
    taken = 0
    for second in range(10):
        number = FrameNumber(7, second * 16_000, second * 1_000_000, coding=CODING_OPUS)
        with suppress(FrameError):
            microphone.take_numbered(number, encode_opus([b"\x08"] * 50, 16_000), AudioRoute.SOCKET)
            taken += 1
        with suppress(FrameError):  # what comes twice is not decoded, and costs nothing
            microphone.take_numbered(number, encode_opus([b"\x08"] * 50, 16_000), AudioRoute.ROOM)
    numbered, _ = microphone.accounts()
    microphone.close()
    assert taken == 2
    assert 100 <= numbered.delivered // 320 <= 101


async def test_an_odd_byte_is_not_carried_into_another_socket(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.socket.send_bytes(b"\1\2\3")
    await until_fed(built.recogniser, b"\1\2")
    again = await built.phone()
    await again.socket.send_bytes(b"\4\5")
    await until_fed(built.recogniser, b"\1\2\4\5")


async def test_numbered_frames_by_websocket_in_any_order_arrive_once_and_in_order(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    assert (await phone.until("connection_ack"))["audio"] == 2
    all_frames = list(frames(SPEECH))
    for index in range(0, len(all_frames) - 2, 7):
        all_frames[index : index + 2] = reversed(all_frames[index : index + 2])
    all_frames.insert(20, all_frames[10])
    # the very first frame tells where the epoch begins, so it goes first
    all_frames.sort(key=lambda frame: frame[0] != 0)
    for position, pcm in all_frames:
        await phone.socket.send_bytes(numbered(position, pcm))
    await until_fed(built.recogniser, SPEECH)
    await eventually(
        lambda: phone.of_type("audio_ack")[-1]["position"] == len(SPEECH) // 2 or "the last sample is not acknowledged"
    )
    assert len(phone.of_type("audio_ack")) <= 4


async def test_a_phone_with_a_track_numbers_what_the_track_does_not_carry(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=track")
    assert (await phone.until("connection_ack"))["audio"] == 2
    for position, pcm in frames(SPEECH):
        await phone.socket.send_bytes(numbered(position, pcm))
    await until_fed(built.recogniser, SPEECH)
    await eventually(lambda: phone.of_type("audio_ack")[-1]["position"] == len(SPEECH) // 2 or "not acknowledged")


def test_a_phone_with_a_track_may_be_silent() -> None:
    assert ConnectParams(numbered=True).numbers
    assert not ConnectParams(numbered=True, track=True).numbers


async def test_a_second_socket_carries_the_same_audio_beside_the_first(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2&phone=me")
    ack = await phone.until("connection_ack")
    assert ack["beside"] is True
    assert ack["socketsBeside"] == MOST
    beside = await built.socket(query="?audio=2&phone=me&beside=true")
    for index, (position, pcm) in enumerate(frames(SPEECH)):
        for socket in (phone.socket, beside.socket) if index % 3 == 0 else ((phone, beside)[index % 2].socket,):
            await socket.send_bytes(numbered(position, pcm))
    await until_fed(built.recogniser, SPEECH)
    await phone.until("audio_ack")
    await eventually(lambda: phone.of_type("audio_ack")[-1]["position"] == len(SPEECH) // 2 or "not acknowledged")
    assert beside.of_type("audio_ack") == []


async def test_the_oldest_of_too_many_sockets_beside_is_closed_and_all_with_their_phone(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2&phone=me")
    await phone.until("connection_ack")
    gone, *others = [await built.socket(query="?audio=2&phone=me&beside=true") for _ in range(MOST)]
    for socket in (gone, *others):
        await socket.socket.send_bytes(numbered(0, SPEECH[:640]))
    await until_fed(built.recogniser, SPEECH[:640])
    await gone.socket.close()
    sockets = built.cloud.sessions._by_user[ANN].sockets  # type: ignore[index]
    await eventually(lambda: len(sockets._beside) == MOST - 1 or "one that is gone is counted")
    others += [await built.socket(query="?audio=2&phone=me&beside=true") for _ in range(2)]
    assert await others[0].closed_with() == CloseCode.SUPERSEDED
    assert not any(socket.socket.closed for socket in others[1:])
    await built.phone(query="?audio=2&phone=other")
    for socket in others[1:]:
        assert await socket.closed_with() == CloseCode.SUPERSEDED


@pytest.mark.parametrize("query", ["?audio=2&phone=other&beside=true", "?audio=2&beside=true", "?phone=me&beside=true"])
async def test_a_second_socket_of_nobody_here_is_closed_and_disturbs_nobody(stage: Begin, query: str) -> None:
    built = await stage()
    alone = await built.socket("bob@example.com", query=query)
    assert await alone.closed_with() == CloseCode.NORMAL
    phone = await built.phone(query="?audio=2&phone=me")
    await phone.until("connection_ack")
    strange = await built.socket(query=query)
    assert await strange.closed_with() == CloseCode.NORMAL
    assert not phone.socket.closed
    assert built.cloud.sessions.active == 1


async def test_what_is_lost_is_given_up_and_acknowledged(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for position, pcm in frames(SPEECH):
        if position != 3200:
            await phone.socket.send_bytes(numbered(position, pcm))
    await until_fed(built.recogniser, SPEECH[:6400] + bytes(640) + SPEECH[7040:])  # silence, so that times stay right
    await eventually(lambda: phone.of_type("audio_ack")[-1]["position"] == len(SPEECH) // 2 or "not acknowledged")
    account, _ = built.cloud.sessions._by_user[ANN].audio.microphone.accounts()  # type: ignore[index]
    assert (account.lost, account.delivered) == (320, len(SPEECH) // 2 - 320)


async def test_a_new_socket_is_told_the_position_that_this_cloud_knows(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    await phone.socket.send_bytes(numbered(0, bytes(640)))
    await phone.until("audio_ack")
    again = await built.phone(query="?audio=2")
    assert (await again.until("connection_ack"))["known"] == {"epoch": 7, "position": 320}


@pytest.mark.parametrize("numbers", [False, True])
async def test_audio_from_the_bridge_arrives_bit_exact(stage: Begin, numbers: bool) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true&audio=2")
    await phone.until_state("connecting", "awaiting_audio")
    contract = built.bridge.contract
    for position, pcm in frames(SPEECH, 1600 if numbers else 999):
        fields = {"number": contract.FrameNumber(epoch=7, position=position, capture_time_us=1)} if numbers else {}
        built.bridge.send(ANN, pcm, **fields)
    await until_fed(built.recogniser, SPEECH)
    await phone.until_state("live")
    assert phone.of_type("audio_state")[-1]["transport"] == "livekit"
    if numbers:
        await phone.until("audio_ack")


async def test_heartbeats_prove_nothing_and_presence_does(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true&audio=2")
    await phone.until_state("connecting", "awaiting_audio")
    for _ in range(3):
        built.bridge.send(ANN, b"", heartbeat=True)
        built.bridge.send(ANN, b"")
    await phone.say(type="ping")
    await phone.until("pong")
    assert phone.audio_states()[-1] == ("connecting", "awaiting_audio")
    number = built.bridge.contract.FrameNumber(epoch=7, position=0, flags=FLAG_PRESENCE)
    built.bridge.send(ANN, b"", number=number)
    await phone.until_state("live")


async def test_a_pong_says_how_long_ago_the_room_was_heard(stage: Begin) -> None:
    """Sound of a track has no numbers; so its phone knows what to send again when the track dies."""
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    await phone.say(type="ping", timestamp=1)
    assert "roomAgeMs" not in await phone.until("pong")
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")
    begun, age = monotonic(), 0
    while age < 200:
        pongs = len(phone.of_type("pong"))
        await phone.say(type="ping", timestamp=1)
        age = (await phone.until("pong", pongs + 1))["roomAgeMs"]
        assert age <= (monotonic() - begun) * 1000 + 100


async def test_replayed_frames_are_heard_but_prove_nothing(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    await phone.socket.send_bytes(numbered(0, bytes(640), FLAG_REPLAYED))
    await until_fed(built.recogniser, bytes(640))
    assert phone.audio_states() == [("connecting", "awaiting_audio")]


# ---- recordings


def test_a_recording_can_be_read_after_kill_9(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, signal
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from glassbridge.cloud.recording import Recorder
from glassbridge.runtime.tasks import TaskGroup

async def main():
    recorder = Recorder(Path({str(tmp_path)!r}), "../../ann", datetime.now(UTC))
    recorder.start(TaskGroup("t"))
    while True:
        recorder.put(b"ab" * 1600)
        await asyncio.sleep(0.01)
        if recorder.path.exists() and recorder.path.stat().st_size > 200_000:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=patient(30), check=False)
    assert done.returncode == -9
    pcm = recording(tmp_path)
    assert len(pcm) > 150_000
    assert set(pcm[0::2]) | set(pcm[1::2]) == set(b"ab")
    assert pcm == b"ab" * (len(pcm) // 2)


async def test_a_folder_that_cannot_be_written_costs_the_recording_only(stage: Begin, tmp_path: Path) -> None:
    (tmp_path / "wav").write_text("a file")
    built = await stage(record=tmp_path / "wav")
    phone = await built.phone()
    await phone.socket.send_bytes(bytes(640))
    await until_fed(built.recogniser, bytes(640))
    await phone.say(type="ping")
    await phone.until("pong")


# ---- captions


async def test_captions_come_as_display_events(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    assert built.recogniser.streams == []
    await phone.socket.send_bytes(bytes(3200))
    await eventually(lambda: bool(built.recogniser.streams) or "no stream was opened")
    (stream,) = built.recogniser.streams
    for text, final in (("turn", False), ("turn left", True), ("", True)):
        stream.say(text, final)
    await phone.until("display_event", 2)
    first, second = phone.of_type("display_event")
    assert first["layout"] == {"layoutType": "text_wall", "text": "turn"}
    assert (first["view"], first["isFinal"], second["isFinal"]) == ("main", False, True)


@pytest.mark.parametrize(
    "hint",
    [{"type": "VAD", "status": "false"}, {"type": "microphone_state_change", "isMicrophoneEnabled": False}],
    ids=lambda hint: hint["type"],
)
async def test_unnumbered_speech_ends_once_nothing_is_in_flight(stage: Begin, hint: dict[str, object]) -> None:
    built = await stage()
    phone = await built.phone()
    loop = asyncio.get_running_loop()
    await phone.socket.send_bytes(bytes(3200))
    await phone.say(**hint)
    for count in range(4):  # audio that the hint overtook
        sent = loop.time()

        def quiet(sent: float = sent) -> bool | str:
            return not phone.of_type("speech_end") or loop.time() - sent > 0.5 or "a speech_end"

        await stays(quiet, 0.1)
        last = loop.time()
        await phone.socket.send_bytes(bytes(3200))
        await eventually(lambda count=count: len(built.recogniser.fed) == (count + 2) * 3200 or "not fed")  # type: ignore[misc]
        if loop.time() - sent > 0.5:
            pytest.skip("the machine stood still for longer than speech may pause")
    await eventually(lambda: bool(built.recogniser.streams) or "no stream")
    built.recogniser.streams[0].final_text = "the last word"
    await phone.until("speech_end")
    assert loop.time() - last >= 0.6
    kinds = [m["type"] for m in phone.told if m["type"] in ("display_event", "speech_end")]
    assert kinds == ["display_event", "speech_end"]
    assert phone.of_type("speech_end")[0].get("captioned", True)
    assert built.recogniser.fed == bytes(5 * 3200)
    await phone.say(**hint)
    await phone.say(type="ping")
    await phone.until("pong")
    assert len(phone.of_type("speech_end")) == 1


async def test_numbered_speech_ends_with_its_last_frame_even_when_that_came_early(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for position, flags in ((0, 0), (640, FLAG_LAST), (320, 0)):
        await phone.socket.send_bytes(numbered(position, bytes(640), flags))
    await phone.until("speech_end", within=0.5)
    assert built.recogniser.fed == bytes(3 * 640)
    assert built.recogniser.streams[0].finished == 1


async def test_a_pause_is_not_the_end(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.socket.send_bytes(bytes(3200))
    await phone.say(type="VAD", status=False)
    await phone.say(type="VAD", status=True)
    await stays(lambda: not phone.of_type("speech_end") or "a speech_end", 0.9)  # longer than a hint waits
    await phone.say(type="VAD", status=False)
    await phone.until("speech_end")


async def test_a_recogniser_that_fails_is_replaced(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.socket.send_bytes(bytes(640))
    await eventually(lambda: bool(built.recogniser.streams) or "no stream")
    built.recogniser.streams[0].fail(RecogniserError("crashed"))
    await phone.socket.send_bytes(bytes(1280))
    await eventually(lambda: len(built.recogniser.streams) == 2 or "no new stream")
    await eventually(lambda: built.recogniser.streams[0].closed or "the old stream is open")
    # what the first had not understood is not lost
    await eventually(lambda: built.recogniser.streams[1].fed == bytes(640 + 1280) or "not fed")
    built.recogniser.streams[0].fail(RecogniserError("late"))
    built.recogniser.streams[1].say("hello", final=True)
    await phone.until("display_event")
    assert len(built.recogniser.streams) == 2


async def test_what_a_slow_recogniser_dropped_is_admitted_once(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    for count, (dropped, captioned) in enumerate([(0, True), (640, False), (640, True)], 1):
        await phone.socket.send_bytes(bytes(640))
        await eventually(lambda count=count: len(built.recogniser.fed) == 640 * count or "not fed")  # type: ignore[misc]
        built.recogniser.streams[0].dropped_bytes = dropped
        await phone.say(type="VAD", status=False)
        assert (await phone.until("speech_end", count)).get("captioned", True) is captioned


async def test_without_a_recogniser_the_phone_is_told_once_and_audio_goes_on(stage: Begin, tmp_path: Path) -> None:
    built = await stage(record=tmp_path)
    built.recogniser.refuse = RecogniserError("all 2 recognisers are busy", Reason.BUSY)
    phone = await built.phone()
    for _ in range(10):
        await phone.socket.send_bytes(bytes(3200))
    notice = await phone.until("display_event")
    assert "all 2 recognisers are busy" in notice["layout"]["text"]
    await phone.until_state("live", "recogniser_failed")
    told = phone.of_type("audio_state")[-1]
    assert told["hop"] == "recogniser"
    assert "all 2 recognisers are busy" in told["reason"]
    await phone.say(type="VAD", status=False)
    assert (await phone.until("speech_end"))["captioned"] is False
    assert len(phone.of_type("display_event")) == 1
    await eventually(lambda: (any(tmp_path.iterdir()) and len(recording(tmp_path)) == 32_000) or "not recorded")
    built.recogniser.refuse = None
    await phone.socket.send_bytes(bytes(3200))
    await eventually(lambda: bool(built.recogniser.streams) or "no stream although there is a recogniser now", 10.0)
    await phone.until_state("live")


# ---- the link: bridges that are not there, break, come back


async def test_no_bridge_then_one(stage: Begin) -> None:
    built = await stage(running=False)
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("unavailable", BridgeFault.NONE_ANSWERS.code)
    told = phone.of_type("audio_state")[-1]
    assert told["retryInMs"] is not None
    assert told["transport"] == "websocket"
    assert told["reason"]
    assert told["hop"] == "bridge"
    await phone.socket.send_bytes(bytes(640))
    await phone.until_state("live", BridgeFault.NONE_ANSWERS.code)
    await until_fed(built.recogniser, bytes(640))
    other = await built.phone("bob@example.com", query="?livekit=true")
    await other.until_state("unavailable", BridgeFault.NONE_ANSWERS.code)
    await built.bridge.start()
    took = await eventually(lambda: "bob@example.com" in built.bridge.rooms or "no join")
    assert took < patient(2.5)
    built.bridge.send("bob@example.com", bytes(640))
    await other.until_state("live")


async def test_a_refused_join_is_told_with_its_reason_and_tried_again(stage: Begin) -> None:
    built = await stage()
    built.bridge.refuse, built.bridge.refuse_reason = "no", 9
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("unavailable", LossReason.UNREACHABLE.code)
    built.bridge.refuse = ""
    await phone.until_state("connecting", "awaiting_audio")
    generations = [join.generation for join in built.bridge.joins]
    assert generations == sorted(set(generations))
    assert len({join.token for join in built.bridge.joins}) >= 1


async def test_a_broken_stream_is_told_and_repaired_by_a_fresh_join(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")
    built.bridge.end(ANN, reason=LossReason.SUPERSEDED.code)
    await phone.until_state("connecting", "awaiting_audio")
    assert ("interrupted", "superseded") in phone.audio_states()
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")
    assert len(built.bridge.joins) == 2
    assert built.bridge.joins[1].generation > built.bridge.joins[0].generation


async def test_a_bridge_that_restarts_is_joined_again(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")
    await built.bridge.stop()
    await phone.until_state("unavailable", BridgeFault.NONE_ANSWERS.code)
    await built.bridge.start()
    assert await eventually(lambda: ANN in built.bridge.rooms or "no join") < 2.5
    await eventually(lambda: built.bridge.rooms[ANN].streaming or "no stream")
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")


async def test_a_return_within_grace_asks_the_bridge_and_rejoins_only_when_it_is_out(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    await phone.vanish()
    again = await built.phone()
    await eventually(lambda: built.bridge.asked == [ANN] or "the bridge was not asked")
    await again.until_state("connecting", "awaiting_audio")
    assert len(built.bridge.joins) == 1
    built.bridge.connected = False
    third = await built.phone()
    await eventually(lambda: len(built.bridge.joins) == 2 or "not rejoined")
    await third.until_state("connecting", "awaiting_audio")


async def test_a_join_that_hangs_ends_and_the_room_is_left(stage: Begin) -> None:
    built = await stage(join_timeout=0.3)
    built.bridge.hang = True
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("unavailable", BridgeFault.TIMED_OUT.code)
    assert built.bridge.most_concurrent == 1
    await phone.vanish()
    await eventually(lambda: bool(built.bridge.leaves) or "no word to the bridge")


async def test_the_end_of_a_session_leaves_its_room_with_its_generation(stage: Begin) -> None:
    built = await stage(grace=0.2)
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    await phone.vanish()
    await eventually(lambda: built.bridge.rooms == {} or "the room is held")
    (leave,) = built.bridge.leaves
    assert leave.generation == built.bridge.joins[0].generation
    await eventually(
        lambda: next(iter(built.cloud.sessions.pool.bridges)).standing.places == 0 or "a seat is still counted"
    )


async def test_the_least_loaded_live_bridge_is_chosen(stage: Begin) -> None:
    async with ScriptedBridge() as busy, ScriptedBridge() as idle, ScriptedBridge() as dead:
        busy.load = 10
        await dead.stop()
        built = await stage(bridges=(busy.target, idle.target, dead.target))
        await eventually(lambda: built.cloud.sessions.pool.live == 2 or "not polled")
        for name in "abcde":
            await (await built.phone(f"{name}@example.com", query="?livekit=true")).until_state(
                "connecting", "awaiting_audio"
            )
        assert (len(busy.rooms), len(idle.rooms)) == (0, 5)
        await idle.stop()
        await eventually(lambda: len(busy.rooms) == 5 or "not moved to the other bridge")


async def test_a_stream_that_carried_heartbeats_and_fell_silent_is_broken(stage: Begin) -> None:
    built = await stage(bridge_heartbeat=0.2)
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    room = built.bridge.rooms[ANN]
    await eventually(lambda: sum(chunk.heartbeat for chunk in room.heard) >= 2 or "the cloud's heartbeat is missing")
    assert {chunk.generation for chunk in room.heard} == {room.join.generation}
    for _ in range(4):
        built.bridge.send(ANN, b"", heartbeat=True)
        await stays(lambda: len(built.bridge.joins) == 1 or "joined again", 0.15)
    await eventually(lambda: len(built.bridge.joins) == 2 or "the silent stream was kept", 2.0)
    assert ("interrupted", BridgeFault.TIMED_OUT.code) in phone.audio_states()


async def test_a_new_session_waits_for_the_former_one_to_leave(stage: Begin) -> None:
    built = await stage(grace=0.1)
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    built.bridge.leave_takes = 0.5
    await phone.vanish()
    await eventually(lambda: built.cloud.sessions.active == 0 or "the session lives")
    again = await built.phone(query="?livekit=true")
    assert built.bridge.leaves == []
    await again.until_state("connecting", "awaiting_audio")
    assert len(built.bridge.leaves) == 1
    assert ANN in built.bridge.rooms
    built.bridge.send(ANN, bytes(640))
    await again.until_state("live")


async def test_a_capture_clock_that_steps_is_asked_to_end_its_epoch_once(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    await phone.until("connection_ack")
    for number, stamp in enumerate((10_000_000, 10_100_000, 5_000_000, 5_100_000, 1_000_000)):
        await phone.socket.send_bytes(numbered(number * 1600, bytes(3200), at=stamp))
    await phone.socket.send_bytes(numbered(0, bytes(3200), epoch=8, at=20_000_000))
    await phone.socket.send_bytes(numbered(1600, bytes(3200), epoch=8, at=2_000_000))
    await eventually(lambda: len(phone.of_type("epoch_end")) == 2 or f"{phone.of_type('epoch_end')}")
    assert [said["epoch"] for said in phone.of_type("epoch_end")] == [7, 8]


@pytest.mark.parametrize(("pcm", "code"), [(bytes(3200), "digital_silence"), (b"\x00\x10" * 1600, "stuck_signal")])
async def test_sound_of_a_dead_microphone_is_told_beside_live(stage: Begin, pcm: bytes, code: str) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.say(type="VAD", status=True)
    for _ in range(31):
        await phone.socket.send_bytes(pcm)
    await phone.until_state("live", code)
    assert phone.of_type("audio_state")[-1]["hop"] == "phone"
    await phone.socket.send_bytes(SPEECH[:6400])
    await phone.until_state("live", "")
