"""Our bridge, as real processes in real rooms, serves any client that speaks the contract: one that knows only what the
original's does, and one that knows our additions."""

import asyncio
import os
import random
import signal
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig, PlaybackLimits
from glassbridge.lab.links import ByteLink, Way
from glassbridge.livekit.own import connect, drain_closing
from glassbridge.livekit.participant import Participant
from glassbridge.livekit.rooms import RoomService
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.audio_frames import TOPIC_NUMBERED, FrameNumber, encode_numbered, encode_sequence
from tests.support.bridge import bridge_program
from tests.support.contract_client import ContractClient
from tests.support.livekit import KEYS, LiveKit, expired_token, forged_token, token
from tests.support.original_cloud import OriginalCloud
from tests.support.participants import Recorder
from tests.support.patience import deadline, patient
from tests.support.poll import eventually, stays
from tests.support.process import Program
from tests.support.scripted_bridge import original_contract, our_contract
from tests.support.sound import loud, pitch, tone

pytestmark = pytest.mark.real

USER = "ann@example.com"
ROOM = USER
FRAME = bytes(range(200)) * 16  # 100 ms


@pytest.fixture(params=["original", "ours"])
def words(request: pytest.FixtureRequest) -> SimpleNamespace:
    return original_contract() if request.param == "original" else our_contract()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(drain_closing)
        yield stack


@pytest.fixture
async def program(stack: AsyncExitStack, tmp_path: Path) -> AsyncIterator[Program]:
    """A bridge with one worker; its log is shown with a failure."""
    playback = PlaybackLimits(folder=str(tmp_path))
    config = BridgeConfig(socket=str(tmp_path / "b.sock"), unclaimed=2.0, playback=playback, spare=False)
    bridge = await stack.enter_async_context(bridge_program(config))
    await bridge.says("bridge ready")
    yield bridge
    print(*bridge.out, *bridge.err, sep="\n")


@pytest.fixture
async def target(program: Program, tmp_path: Path) -> str:
    return f"unix:{tmp_path / 'b.sock'}"


@pytest.fixture
async def client(stack: AsyncExitStack, target: str, words: SimpleNamespace) -> ContractClient:
    return await stack.enter_async_context(ContractClient(target, words))


@pytest.fixture
async def ours(stack: AsyncExitStack, target: str) -> ContractClient:
    """A client that knows our additions."""
    return await stack.enter_async_context(ContractClient(target, our_contract()))


@pytest.fixture
async def ear() -> Recorder:
    """What the phone hears."""
    return Recorder()


@pytest.fixture
async def phone(stack: AsyncExitStack, real_livekit: LiveKit, ear: Recorder) -> Participant:
    """A phone in the user's room."""
    participant = await connect(real_livekit.url, token("phone", ROOM), ear)
    stack.push_async_callback(participant.close)
    return participant


def joining(livekit: LiveKit, user: str = USER, **fields: Any) -> dict[str, Any]:
    """The fields of a JoinRoomRequest."""
    identity = f"cloud-agent:{user}"
    return {
        "user_id": user,
        "room_name": user,
        "token": token(identity, user),
        "livekit_url": livekit.url,
        "target_identity": "phone",
    } | fields


async def join(client: ContractClient, livekit: LiveKit, **fields: Any) -> Any:
    answer = await client.join_room(**joining(livekit, **fields))
    assert answer.success, answer.error
    return answer


def all_of(ear: Recorder) -> bytes:
    """All sound that a phone has heard."""
    return b"".join(block.pcm for block in ear.blocks)


class Speaking:
    """A phone that sends a frame each 20 ms while the context lasts."""

    def __init__(self, phone: Participant) -> None:
        self._phone = phone
        self._task: asyncio.Task[None] | None = None
        self.sent = 0

    async def __aenter__(self) -> "Speaking":
        self._task = asyncio.create_task(self._speak())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _speak(self) -> None:
        while True:
            await self._phone.send(self.sent.to_bytes(4, "little") * 160, reliable=False)
            self.sent += 1
            await asyncio.sleep(0.02)


async def test_the_whole_conversation(
    client: ContractClient, real_livekit: LiveKit, phone: Participant, ear: Recorder, tmp_path: Path
) -> None:
    answer = await join(client, real_livekit)
    assert answer.participant_id == f"cloud-agent:{USER}"
    assert answer.participant_count == 2
    call = await client.open_stream(USER)

    await phone.send(FRAME)
    await phone.send(encode_sequence(3, FRAME))
    await phone.send(encode_numbered(FrameNumber(7, 1600, 5), FRAME), topic=TOPIC_NUMBERED)
    for _ in range(3):
        chunk = await client.hear(call)
        assert chunk.pcm_data == FRAME
        assert (chunk.sample_rate, chunk.channels, chunk.timestamp_ms) == (16000, 1, 0)

    status = await client.get_status(user_id=USER)
    assert (status.connected, status.participant_count, status.last_disconnect_at) == (True, 2, 0)
    health = await client.health_check()
    assert (health.status, health.active_sessions, health.active_streams) == (1, 1, 1)

    with wave.open(str(tmp_path / "clip.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(tone(1.2))
    play = client.play_audio(
        user_id=USER, request_id="p1", audio_url=(tmp_path / "clip.wav").as_uri(), volume=1.0, track_id=2
    )
    events = [event async for event in play]
    assert [event.type for event in events] == [0, 1, 2], events
    assert events[-1].duration_ms == 1200
    await eventually(lambda: loud(all_of(ear)) > 1.1 or f"the phone heard {loud(all_of(ear))} s of 1.2")
    heard = all_of(ear)
    assert 1.1 < loud(heard) < patient(1.35), "what comes late was replaced by something like it first"
    assert abs(pitch(heard) - 440) < 4

    stopped = await client.stop_audio(user_id=USER)
    assert stopped.success
    left = await client.leave_room(user_id=USER, reason="done")
    assert left.success
    assert await client.end_of(call) == grpc.StatusCode.OK
    status = await client.get_status(user_id=USER)
    assert (status.connected, status.participant_count) == (False, 0)
    assert status.last_disconnect_at > 0
    assert not (await client.leave_room(user_id=USER)).success
    await eventually(lambda: not phone.remote or "the bridge is still in the room")


async def test_a_track_is_heard_as_16_khz_mono(ours: ContractClient, real_livekit: LiveKit, phone: Participant) -> None:
    await join(ours, real_livekit)
    call = await ours.open_stream(USER)
    track = await phone.publish("microphone")
    sound = tone(2.0, 523.0)  # whole periods: it can be repeated

    async def speak() -> None:
        while True:  # a busy bridge gives up what has grown too old
            for at in range(0, len(sound), 640):
                await track.write(sound[at : at + 640])

    speaking = asyncio.create_task(speak())
    heard = b""
    async with deadline(10):
        while loud(heard) < 1.2:
            heard += (await ours.hear(call)).pcm_data
    await cancelled(speaking)
    assert pitch(heard[-32000:]) == pytest.approx(523, rel=0.03)  # a busy machine leaves gaps, which blur it by 1 %
    call.cancel()


def impossible() -> list[tuple[str, dict[str, str]]]:
    """Reasons, and what in a request leads to them; the tokens are made when they are used."""
    return [
        ("REASON_TOKEN_REFUSED", {"token": forged_token(f"cloud-agent:{USER}", ROOM)}),
        ("REASON_TOKEN_EXPIRED", {"token": expired_token(f"cloud-agent:{USER}", ROOM)}),
        ("REASON_TOKEN_REFUSED", {"token": "nonsense"}),
        ("REASON_WRONG_ROOM", {"room_name": "elsewhere"}),
        ("REASON_UNREACHABLE", {"livekit_url": "ws://127.0.0.1:9"}),
    ]


async def test_a_join_that_cannot_be_says_why(ours: ContractClient, program: Program, real_livekit: LiveKit) -> None:
    names = ours.words.JoinRoomResponse.DESCRIPTOR.fields_by_name["reason"].enum_type.values_by_number
    for reason, fields in impossible():
        request = joining(real_livekit) | fields
        answer = await ours.join_room(**request)
        assert (answer.success, names[answer.reason].name) == (False, reason)
        assert answer.error
        assert request["token"] not in answer.error
        assert not any(request["token"] in line for line in (*program.out, *program.err))
        assert (await ours.health_check()).active_sessions == 0


async def _replace(client: ContractClient, livekit: LiveKit, phone: Participant, times: int) -> None:
    async with Speaking(phone):
        call: Any = None
        for number in range(times):
            async with deadline(10):
                await join(client, livekit)
                old, call = call, await client.open_stream(USER)
                await client.hear(call)
                assert old is None or await client.end_of(old) == grpc.StatusCode.OK, number
        health = await client.health_check()
        assert (health.active_sessions, health.active_streams) == (1, 1)
        await eventually(lambda: len(phone.remote) == 1 or f"in the room: {list(phone.remote)}")
        call.cancel()


@pytest.mark.parametrize("words", ["original"], indirect=True)
async def test_joins_replace_each_other_under_live_audio(
    client: ContractClient, real_livekit: LiveKit, phone: Participant, program: Program
) -> None:
    await _replace(client, real_livekit, phone, 30)
    assert not [line for line in program.err if "Traceback" in line or '"error"' in line]


@pytest.mark.slow
async def test_two_hundred_joins_replace_each_other_under_live_audio(
    ours: ContractClient, real_livekit: LiveKit, phone: Participant, program: Program
) -> None:
    await _replace(ours, real_livekit, phone, 200)
    assert not [line for line in program.err if "Traceback" in line or '"error"' in line]


async def test_fifty_joins_at_once_end_in_one_room_with_audio(
    ours: ContractClient, real_livekit: LiveKit, phone: Participant
) -> None:
    async with Speaking(phone):
        answers = await asyncio.gather(*(ours.join_room(timeout=20, **joining(real_livekit)) for _ in range(50)))
        assert sum(answer.success for answer in answers) == 1
        call = await ours.open_stream(USER)
        for _ in range(50):  # a second of audio: nobody kicks the winner
            await ours.hear(call)
        assert list(phone.remote) == [f"cloud-agent:{USER}"]
        call.cancel()


async def test_a_late_leave_of_an_older_generation_is_refused(
    ours: ContractClient, real_livekit: LiveKit, phone: Participant
) -> None:
    await join(ours, real_livekit, generation=1)
    await join(ours, real_livekit, generation=2)
    call = await ours.open_stream(USER, generation=2)
    late = await ours.leave_room(user_id=USER, generation=1)
    assert not late.success
    stale = await ours.join_room(**joining(real_livekit, generation=1))
    assert not stale.success
    await phone.send(FRAME)
    assert (await ours.hear(call)).generation == 2
    call.cancel()


async def test_cancelled_joins_leave_nothing(ours: ContractClient, real_livekit: LiveKit, program: Program) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(100):
        call = ours.join_room(**joining(real_livekit))
        await asyncio.sleep(chance.uniform(0.0, 0.07))
        call.cancel()
    await _eventually_idle(ours)
    async with RoomService(real_livekit.url, KEYS) as rooms:

        async def empty() -> bool | str:
            left = await rooms.participants(ROOM)
            return not left or f"still in the room: {left}"

        await eventually(empty, 5)
    assert not [line for line in program.err if "Traceback" in line]


async def test_a_takeover_ends_the_stream_and_says_superseded(
    ours: ContractClient, real_livekit: LiveKit, phone: Participant, stack: AsyncExitStack
) -> None:
    await join(ours, real_livekit, generation=1)
    call = await ours.open_stream(USER)
    other = await connect(real_livekit.url, token(f"cloud-agent:{USER}", ROOM), Recorder())
    stack.push_async_callback(other.close)
    assert await ours.end_of(call) == grpc.StatusCode.ABORTED
    assert dict(await call.trailing_metadata())["glassbridge-reason"] == "superseded"
    status = await ours.get_status(user_id=USER)
    assert (status.connected, status.last_disconnect_cause) == (False, 1)
    assert other.closed is None, "the bridge never fights"


async def test_the_death_of_livekit_ends_the_stream(
    ours: ContractClient, real_livekit: LiveKit, phone: Participant
) -> None:
    await join(ours, real_livekit, generation=1)
    call = await ours.open_stream(USER)
    await real_livekit.kill()
    async with deadline(5):
        assert await ours.end_of(call) == grpc.StatusCode.ABORTED
    assert dict(await call.trailing_metadata())["glassbridge-reason"] == "network"


async def test_a_cloud_of_the_original_gets_its_audio_back_when_livekit_does(
    stack: AsyncExitStack, target: str, real_livekit: LiveKit
) -> None:
    cloud = await stack.enter_async_context(OriginalCloud(target, joining(real_livekit)))
    await cloud.connect()
    await real_livekit.kill()
    await stays(lambda: cloud.connected or "the stream was ended", 6.0)
    await real_livekit.start()
    begun = monotonic()
    phone = await connect(real_livekit.url, token("phone", ROOM), Recorder())
    stack.push_async_callback(phone.close)
    async with Speaking(phone):
        await eventually(lambda: bool(cloud.heard) or "audio is not back", within=9.0)
    print(f"audio back {monotonic() - begun:.1f} s after LiveKit")
    assert cloud.joins == 1


CLIENT = """
import asyncio, sys
from tests.support.contract_client import ContractClient
from tests.support.scripted_bridge import original_contract
async def main():
    async with ContractClient(sys.argv[1], original_contract()) as client:
        answer = await client.join_room(user_id=sys.argv[2], room_name=sys.argv[3], token=sys.argv[4],
                                        livekit_url=sys.argv[5], target_identity="phone")
        assert answer.success, answer.error
        call = await client.open_stream(sys.argv[2])
        print("streaming", flush=True)
        while True:
            await client.hear(call)
asyncio.run(main())
"""


async def _eventually_idle(client: ContractClient, within: float = 5.0) -> None:
    async def idle() -> bool | str:
        health = await client.health_check()
        return not (health.active_sessions or health.active_streams) or f"still here: {health}"

    await eventually(idle, within)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_cloud_of_the_original_that_dies_or_freezes_loses_its_room_at_once(
    ours: ContractClient,
    target: str,
    real_livekit: LiveKit,
    phone: Participant,
    number: signal.Signals,
) -> None:
    request = joining(real_livekit)
    argv = (request["user_id"], request["room_name"], request["token"], request["livekit_url"])
    async with Program.python(CLIENT, target, *argv) as cloud, Speaking(phone):
        await cloud.says("streaming")
        assert (await ours.health_check()).active_streams == 1
        cloud.signal(number)
        await _eventually_idle(ours, within=8)
        await eventually(lambda: not phone.remote or "the bridge is still in the room")


@pytest.mark.parametrize("way", [pytest.param(Way.UP, marks=pytest.mark.slow), Way.DOWN])
async def test_a_stream_that_is_dead_in_one_direction_is_noticed_by_both(
    stack: AsyncExitStack, program: Program, tmp_path: Path, real_livekit: LiveKit, phone: Participant, way: Way
) -> None:
    link = await stack.enter_async_context(ByteLink())
    front = await link.to(tmp_path / "b.sock")
    cloud = await stack.enter_async_context(ContractClient(f"unix:{front}", our_contract(), CHANNEL_OPTIONS))
    await join(cloud, real_livekit)
    call = await cloud.open_stream(USER)
    async with Speaking(phone):
        await cloud.hear(call)
        link.drop(way)
        begun = monotonic()
        left = asyncio.create_task(eventually(lambda: not phone.remote or "the bridge is still in the room", 8))
        assert await cloud.end_of(call) == grpc.StatusCode.UNAVAILABLE
        told = monotonic() - begun
        await left
        noticed = monotonic() - begun
    print(f"dead {way}: the cloud knew after {told:.1f} s, the bridge had left after {noticed:.1f} s")
    assert max(told, noticed) < patient(5.0)


@pytest.mark.parametrize("words", ["original"], indirect=True)
async def test_what_is_new_in_the_room_is_an_empty_chunk_to_the_original(
    stack: AsyncExitStack, target: str, real_livekit: LiveKit, client: ContractClient
) -> None:
    await join(client, real_livekit)
    call = await client.open_stream(USER)
    for _ in range(3):
        someone = await connect(real_livekit.url, token("phone", ROOM), Recorder())
        track = await someone.publish("microphone")
        await track.unpublish()
        await someone.send(FRAME)
        chunks = [await call.read()]
        while chunks[-1].pcm_data != FRAME:
            chunks.append(await call.read())
            assert chunks[-1].pcm_data == FRAME or not any(chunks[-1].pcm_data), "nothing, or the silence of the track"
        assert {(chunk.sample_rate, chunk.channels, chunk.user_id, chunk.track_id) for chunk in chunks} == {
            (16000, 1, "", 0)
        }
        await someone.close()
    call.cancel()


async def test_the_news_of_real_people_come_at_once(
    ours: ContractClient, real_livekit: LiveKit, stack: AsyncExitStack
) -> None:
    await join(ours, real_livekit)
    call = ours.stream_audio()
    await call.write(ours.words.AudioChunk(user_id=USER))

    async def told() -> tuple[bool, bool]:
        async with deadline(5):
            while not (chunk := await call.read()).HasField("news"):
                pass
        return chunk.news.phone_here, chunk.news.phone_publishes

    assert await told() == (False, False)
    someone = await connect(real_livekit.url, token("phone", ROOM), Recorder())
    assert await told() == (True, False)
    await someone.publish("microphone")
    begun = monotonic()
    assert await told() == (True, True)
    assert monotonic() - begun < patient(1.0)
    await someone.close()
    assert await told() == (False, False)
    assert not (await ours.get_status(user_id=USER)).news.phone_here
    call.cancel()


async def test_after_a_standstill_nothing_old_is_heard_as_live(
    stack: AsyncExitStack, real_livekit: LiveKit, phone: Participant, program: Program, ours: ContractClient
) -> None:
    await join(ours, real_livekit)
    call = await ours.open_stream(USER)
    worker = int((await ours.health_check()).metadata["pid"])
    ages: list[float] = []

    async def listen() -> None:
        while True:
            number = int.from_bytes((await ours.hear(call)).pcm_data[:4], "little")
            ages.append((speaking.sent - 1 - number) * 0.02)

    async with Speaking(phone) as speaking:
        listening = asyncio.create_task(listen())
        await eventually(lambda: len(ages) >= 25 or "the phone is not heard")
        os.kill(worker, signal.SIGSTOP)
        begun = speaking.sent
        await eventually(lambda: speaking.sent > begun + 125 or "two and a half seconds of speech", 10)
        before = len(ages)
        os.kill(worker, signal.SIGCONT)
        await eventually(lambda: len(ages) >= before + 100 or f"{len(ages) - before} frames are heard", 10)
        listening.cancel()
        await asyncio.wait([listening])
    after = ages[before : before + 100]
    assert max(after) <= patient(0.5), f"{sum(age > 0.5 for age in after)} frames of {len(after)} are old"


@pytest.mark.slow
@pytest.mark.parametrize("participant", ["own", pytest.param("sdk", marks=pytest.mark.sdk)])
async def test_a_bridge_that_slept_for_twenty_seconds_never_takes_the_user_back(
    stack: AsyncExitStack, real_livekit: LiveKit, phone: Participant, tmp_path: Path, participant: Any
) -> None:
    places = {}
    for name in ("old", "new"):
        config = BridgeConfig(socket=str(tmp_path / name), participant=participant, spare=False)
        places[name] = await stack.enter_async_context(bridge_program(config))
    clients = {}
    for name, bridge in places.items():
        await bridge.says("bridge ready")
        clients[name] = await stack.enter_async_context(ContractClient(f"unix:{tmp_path / name}", our_contract()))
    old, new = clients["old"], clients["new"]
    await join(old, real_livekit)
    await old.open_stream(USER)
    sleeping = (places["old"].pid, int((await old.health_check()).metadata["pid"]))
    async with Speaking(phone):
        for pid in sleeping:
            os.kill(pid, signal.SIGSTOP)
        await join(new, real_livekit)
        call = await new.open_stream(USER)
        begun = monotonic()
        while monotonic() - begun < (20.0 if participant == "sdk" else 12.0):
            await new.hear(call)
        for pid in reversed(sleeping):
            os.kill(pid, signal.SIGCONT)
        hole, last, begun = 0.0, monotonic(), monotonic()
        while monotonic() - begun < 6.0:
            async with deadline(5):
                await new.hear(call)
            hole, last = max(hole, monotonic() - last), monotonic()
    print(f"{participant}: the new bridge's longest hole was {hole:.2f} s")
    assert hole < patient(1.5)
    assert not (await old.get_status(user_id=USER)).connected
    assert (await new.get_status(user_id=USER)).connected
    call.cancel()


@pytest.mark.parametrize("words", ["original"], indirect=True)
async def test_sigterm_tells_the_clouds_and_sees_them_off(
    client: ContractClient, real_livekit: LiveKit, phone: Participant, program: Program, tmp_path: Path
) -> None:
    await join(client, real_livekit)
    call = await client.open_stream(USER)
    async with Speaking(phone):
        await client.hear(call)
        program.signal(signal.SIGTERM)
        begun = monotonic()
        while monotonic() - begun < 1.0:
            await client.hear(call)  # a cloud that knows nothing of it hears its user until the end
        assert await client.end_of(call) == grpc.StatusCode.UNAVAILABLE
    assert await program.ends(within=5) == 0
    assert monotonic() - begun < patient(4.5)
    await eventually(lambda: not phone.remote or "the bridge is still in the room", 1)
    assert not (tmp_path / "b.sock").exists()


async def spoken_until_heard(phone: Participant, client: ContractClient, call: Any) -> Any:
    """What the stream brings first; an SDK place hears some moments after its join, and packets are not repeated."""
    hearing = asyncio.create_task(client.hear(call))
    try:
        async with deadline(20):
            while not hearing.done():
                await phone.send(FRAME)
                await asyncio.wait([hearing], timeout=0.2)
        return hearing.result()
    finally:
        await cancelled(hearing)


@pytest.mark.sdk
async def test_the_official_sdk_can_be_the_participant(
    stack: AsyncExitStack, real_livekit: LiveKit, phone: Participant, tmp_path: Path
) -> None:
    config = BridgeConfig(socket=str(tmp_path / "sdk.sock"), participant="sdk")
    program = await stack.enter_async_context(bridge_program(config))
    await program.says("bridge ready")
    client = await stack.enter_async_context(ContractClient(f"unix:{tmp_path / 'sdk.sock'}", our_contract()))
    await join(client, real_livekit)
    call = await client.open_stream(USER)
    assert (await spoken_until_heard(phone, client, call)).pcm_data == FRAME
    await join(client, real_livekit)
    call = await client.open_stream(USER)
    assert (await spoken_until_heard(phone, client, call)).pcm_data == FRAME
    program.signal(signal.SIGTERM)
    assert await client.end_of(call) == grpc.StatusCode.UNAVAILABLE
    assert await program.ends(within=6) == 0
