"""StreamAudio of a worker, and what the microphone makes of packets and tracks."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from time import monotonic
from typing import Any

import grpc
import pytest

from glassbridge.bridge.contract import REASON_KEY
from glassbridge.bridge.microphone import MAX_PACKET_BYTES
from glassbridge.bridge.stream import MAX_CHUNK_BYTES
from glassbridge.bridge.worker import Worker
from glassbridge.core.values import LossReason
from glassbridge.core.voices import RemoteTrack, TrackSource
from glassbridge.livekit.participant import FRAME_BYTES
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.audio_frames import (
    FLAG_PRESENCE,
    FLAG_REPLAYED,
    TOPIC_NUMBERED,
    FrameNumber,
    encode_numbered,
    encode_sequence,
)
from tests.bridge.conftest import AGENT, USER, ended, joined, next_audio, next_news, opened
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import deadline, patient
from tests.support.poll import eventually

PCM = bytes(range(256)) * 12 + bytes(128)  # 100 ms
NUMBER = FrameNumber(epoch=0xDEADBEEF, position=2**40 + 5, capture_time_us=2**41 + 7, flags=FLAG_REPLAYED)


async def test_the_first_chunk_names_the_user(bridge: Any) -> None:
    for user in ("", "a\0b"):
        call = bridge.StreamAudio()
        await call.write(pb.AudioChunk(user_id=user))
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "user_id" in await call.details()
    call = bridge.StreamAudio()
    await call.done_writing()
    assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_without_a_room_is_not_found(bridge: Any) -> None:
    call = bridge.StreamAudio()
    await call.write(pb.AudioChunk(user_id=USER))
    assert await call.code() == grpc.StatusCode.NOT_FOUND


async def test_a_stream_of_another_generation_is_not_found(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, generation=5)
    call = bridge.StreamAudio()
    await call.write(pb.AudioChunk(user_id=USER, generation=4))
    assert await call.code() == grpc.StatusCode.NOT_FOUND
    assert len(fake.open) == 1


async def test_every_form_of_microphone_audio_arrives_bit_exact(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, generation=9)
    call = await opened(bridge)
    fake.last.packet(encode_numbered(NUMBER, PCM), TOPIC_NUMBERED)
    fake.last.packet(encode_sequence(7, PCM))
    fake.last.packet(PCM)
    fake.last.enter("phone", RemoteTrack("TR_phone"))
    fake.last.audio(PCM[:640])
    presence = FrameNumber(epoch=1, position=2, capture_time_us=3, flags=FLAG_PRESENCE)
    fake.last.packet(encode_numbered(presence, b""), TOPIC_NUMBERED)
    got = [await next_audio(call) for _ in range(5)]
    assert [chunk.source for chunk in got] == [1, 2, 3, 4, 1]
    assert [chunk.pcm_data for chunk in got] == [PCM, PCM, PCM, PCM[:640], b""]
    assert {(chunk.sample_rate, chunk.channels, chunk.generation) for chunk in got} == {(16000, 1, 9)}
    first = got[0].number
    assert (first.flags, first.epoch, first.position, first.capture_time_us) == (
        NUMBER.flags,
        NUMBER.epoch,
        NUMBER.position,
        NUMBER.capture_time_us,
    )
    assert [chunk.HasField("number") for chunk in got] == [True, False, False, False, True]
    call.cancel()


async def test_what_comes_before_the_stream_is_not_lost(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    fake.last.packet(PCM)
    call = await opened(bridge)
    assert (await next_audio(call)).pcm_data == PCM
    call.cancel()


async def test_only_the_target_is_heard(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, target_identity="phone")
    call = await opened(bridge)
    fake.last.packet(b"\0\0", sender="somebody")
    fake.last.packet(b"\0\0", sender=AGENT)
    fake.last.enter("somebody", RemoteTrack("TR_phone"))
    fake.last.audio(bytes(640), sender="somebody")
    fake.last.packet(PCM, sender="phone")
    assert (await next_audio(call)).pcm_data == PCM
    call.cancel()


async def test_without_a_target_everybody_but_agents_is_heard(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    fake.last.packet(b"\0\0", sender="cloud-agent:other")
    fake.last.packet(PCM, sender="whoever")
    assert (await next_audio(call)).pcm_data == PCM
    call.cancel()


async def test_malformed_packets_are_counted_and_the_stream_lives(
    worker: tuple[Worker, Any], fake: FakeLiveKit, capsys: pytest.CaptureFixture[str]
) -> None:
    server, bridge = worker
    await joined(bridge)
    call = await opened(bridge)
    for payload in (b"", b"\2", b"\1" + bytes(30), encode_numbered(NUMBER, PCM) + b"x"):
        fake.last.packet(payload, TOPIC_NUMBERED)
    fake.last.packet(b"")
    fake.last.packet(b"\1")
    fake.last.packet(bytes(MAX_PACKET_BYTES + 1))
    fake.last.packet(b"hello", topic="lk.chat")
    fake.last.packet(PCM)
    assert (await next_audio(call)).pcm_data == PCM
    host = server.rooms.find(USER)  # type: ignore[arg-type]
    assert host is not None
    assert host.seat is not None
    assert host.seat.microphone.malformed == 7
    assert capsys.readouterr().out.count("malformed") == 1
    call.cancel()


MICROPHONE, SCREEN = TrackSource.MICROPHONE, TrackSource.SCREEN


async def heard_of(call: Any, number: int) -> list[int]:
    """The first bytes of the next blocks."""
    return [(await next_audio(call)).pcm_data[0] for _ in range(number)]


def block(value: int) -> bytes:
    return bytes((value, 0)) * 320


@pytest.mark.parametrize(
    ("tracks", "voice"),
    [
        ((RemoteTrack("TR_mic", MICROPHONE), RemoteTrack("TR_screen", SCREEN)), "TR_mic"),
        ((RemoteTrack("TR_screen", SCREEN), RemoteTrack("TR_mic", MICROPHONE)), "TR_mic"),
        ((RemoteTrack("TR_old", MICROPHONE), RemoteTrack("TR_new", MICROPHONE)), "TR_new"),
        ((RemoteTrack("TR_mic", MICROPHONE), RemoteTrack("TR_other")), "TR_mic"),
        ((RemoteTrack("TR_screen", SCREEN), RemoteTrack("TR_other")), "TR_other"),
    ],
)
async def test_of_several_tracks_the_voice_is_heard(
    bridge: Any, fake: FakeLiveKit, tracks: tuple[RemoteTrack, ...], voice: str
) -> None:
    await joined(bridge, target_identity="phone")
    call = await opened(bridge)
    fake.last.enter("phone", *tracks)
    for number, track in enumerate(tracks, 1):
        fake.last.audio(block(number), track_sid=track.sid)
    fake.last.packet(block(9))
    number = [track.sid for track in tracks].index(voice) + 1
    assert await heard_of(call, 2) == [number, 9]
    call.cancel()


async def test_a_successor_is_heard_from_its_first_sample(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, target_identity="phone")
    call = await opened(bridge)
    fake.last.enter("phone", RemoteTrack("TR_1"))
    fake.last.audio(block(1), track_sid="TR_1")
    fake.last.enter("phone", RemoteTrack("TR_2"))
    fake.last.audio(block(2), track_sid="TR_1")
    fake.last.audio(block(3), track_sid="TR_2")
    assert await heard_of(call, 2) == [1, 3]
    call.cancel()


async def test_one_person_speaks_at_a_time(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    fake.last.enter("ann", RemoteTrack("TR_a"))
    fake.last.enter("bob", RemoteTrack("TR_b"))
    fake.last.audio(block(1), "ann", "TR_a")
    fake.last.audio(block(2), "bob", "TR_b")
    fake.last.audio(block(3), "ann", "TR_a")
    assert await heard_of(call, 2) == [1, 3]
    fake.last.go("ann")
    fake.last.audio(block(4), "bob", "TR_b")
    assert await heard_of(call, 1) == [4], "who has gone holds nothing"
    call.cancel()


@pytest.mark.parametrize(
    ("track", "hindrance", "codec"),
    [
        (RemoteTrack("TR_1", muted=True), pb.HINDRANCE_MUTED, ""),
        (RemoteTrack("TR_1", encrypted=True, muted=True), pb.HINDRANCE_ENCRYPTED, ""),
        (RemoteTrack("TR_1", codec="speex"), pb.HINDRANCE_CODEC, "speex"),
        (RemoteTrack("TR_1", allowed=False), pb.HINDRANCE_SUBSCRIPTION_DENIED, ""),
    ],
)
async def test_what_hinders_a_voice_is_news_and_its_sound_is_none(
    bridge: Any, fake: FakeLiveKit, track: RemoteTrack, hindrance: int, codec: str
) -> None:
    await joined(bridge, target_identity="phone")
    call = await opened(bridge)
    fake.last.enter("phone", track)
    news = await next_news(call)
    assert (news.hindrance, news.codec) == (hindrance, codec)
    fake.last.audio(block(1), track_sid="TR_1")
    fake.last.packet(block(2))
    assert await heard_of(call, 1) == [2]
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert status.news.hindrance == pb.HINDRANCE_NONE, "who is heard by packets is not hindered"
    call.cancel()


async def test_who_may_not_publish_or_sends_only_what_is_encrypted_is_told(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, target_identity="phone")
    call = await opened(bridge)
    fake.last.enter("phone", may_publish=False)
    assert (await next_news(call)).hindrance == pb.HINDRANCE_PUBLISH_DENIED
    fake.last.enter("phone")
    assert (await next_news(call)).hindrance == pb.HINDRANCE_NONE
    fake.last.packet(b"", encrypted=True)
    assert (await next_news(call)).hindrance == pb.HINDRANCE_ENCRYPTED
    fake.last.enter("phone", RemoteTrack("TR_1"))
    assert (await next_news(call)).hindrance == pb.HINDRANCE_NONE, "the track is plain"
    fake.last.enter("phone")
    assert (await next_news(call)).hindrance == pb.HINDRANCE_ENCRYPTED
    fake.last.packet(block(1))
    assert (await next_news(call)).hindrance == pb.HINDRANCE_NONE
    call.cancel()


async def test_heartbeats_come_by_themselves(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    _, bridge = await start(heartbeat=0.05)
    await joined(bridge)
    call = await opened(bridge)
    for _ in range(3):
        beat = await call.read()
        assert beat.heartbeat
        assert not beat.pcm_data
    call.cancel()


async def test_what_is_new_in_the_room_is_pushed(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, target_identity="phone", generation=3)
    fake.last.enter("somebody", RemoteTrack("TR_1"))
    call = bridge.StreamAudio()
    await call.write(pb.AudioChunk(user_id=USER))
    first = await call.read()
    assert (first.pcm_data, first.generation, first.HasField("news")) == (b"", 3, True)
    assert first.news == pb.RoomNews()
    fake.last.enter("phone")
    assert await next_news(call) == pb.RoomNews(phone_here=True)
    fake.last.enter("phone", RemoteTrack("TR_1"))
    assert await next_news(call) == pb.RoomNews(phone_here=True, phone_publishes=True)
    fake.last.go("somebody")
    fake.last.go("phone")
    assert await next_news(call) == pb.RoomNews()
    second = bridge.StreamAudio()
    await second.write(pb.AudioChunk(user_id=USER))
    assert (await second.read()).news == pb.RoomNews()
    fake.last.enter("phone")
    assert (await second.read()).news == pb.RoomNews(phone_here=True)
    second.cancel()


async def test_a_slow_reader_gets_the_newest_news_and_all_audio_in_order(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    for number in range(40):  # in one go: the writer has had no turn yet
        fake.last.packet(number.to_bytes(2, "little") * 160)
        fake.last.enter("phone", *[RemoteTrack("TR_1")] * (1 - number % 2))
    got = [await call.read() for _ in range(41)]
    news = [chunk.news for chunk in got if chunk.HasField("news")]
    assert news == [pb.RoomNews(phone_here=True)]
    assert [int.from_bytes(chunk.pcm_data[:2], "little") for chunk in got if chunk.pcm_data] == list(range(40))
    call.cancel()


@pytest.mark.parametrize("reason", [reason for reason in LossReason if reason.retry])
async def test_a_lost_room_ends_the_stream_with_its_reason(bridge: Any, fake: FakeLiveKit, reason: LossReason) -> None:
    if reason is LossReason.REPLACED:
        pytest.skip("said by the bridge alone")
    await joined(bridge, generation=3)
    call = await opened(bridge)
    fake.last.lose(reason, "why not")
    assert await call.code() == grpc.StatusCode.ABORTED
    assert dict(await call.trailing_metadata())[REASON_KEY] == reason.code
    health = await bridge.HealthCheck(pb.HealthCheckRequest())
    assert (health.active_sessions, health.active_streams) == (0, 0)


async def test_the_end_is_told_while_chunks_are_on_their_way(bridge: Any, fake: FakeLiveKit) -> None:
    for number in range(30):
        await joined(bridge, generation=number + 1)
        call = await opened(bridge)
        for _ in range(number % 4 + 1):
            fake.last.packet(PCM)
        await asyncio.sleep(0)
        fake.last.lose(LossReason.NETWORK)
        async with deadline(5):
            assert await ended(call) == grpc.StatusCode.ABORTED, "gRPC takes no status beside a chunk in flight"


async def test_a_reader_that_comes_back_too_late_hears_the_end(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    _, bridge = await start(send_timeout=0.4)
    await joined(bridge)
    call = await opened(bridge)
    while fake.last.closed is None:
        fake.last.packet(PCM)
        await asyncio.sleep(0.005)
    async with deadline(5):
        assert await ended(call) == grpc.StatusCode.ABORTED
    assert dict(await call.trailing_metadata())[REASON_KEY] == "stream_broken"


async def test_a_cloud_whose_heartbeats_end_is_let_go(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    _, bridge = await start(silence=patient(0.6))
    await joined(bridge)
    call = await opened(bridge)
    for _ in range(5):
        await call.write(pb.AudioChunk(user_id=USER, heartbeat=True))
        await asyncio.sleep(0.2)
    assert fake.open
    begun = monotonic()
    assert await ended(call) == grpc.StatusCode.ABORTED
    assert 0.3 < monotonic() - begun < patient(1.5)
    assert not fake.open


async def test_a_cloud_without_heartbeats_may_be_as_silent_as_its_user(
    start: Callable[..., Any], fake: FakeLiveKit
) -> None:
    _, bridge = await start(silence=0.3, heartbeat=0.2)
    await joined(bridge)
    call = await opened(bridge)
    begun = monotonic()
    while monotonic() - begun < 1.5:  # the user is silent by VAD, the original's cloud says nothing
        assert (await call.read()).heartbeat
    fake.last.packet(PCM)
    assert (await next_audio(call)).pcm_data == PCM
    call.cancel()


async def test_a_stream_that_stops_reading_disturbs_no_other(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    _, bridge = await start(send_timeout=5.0)
    await joined(bridge, user="slow", token="slow")
    slow = await opened(bridge, user="slow")
    stuck = fake.last
    await joined(bridge, user="quick", token="quick")
    quick = await opened(bridge, user="quick")
    late = []
    for number in range(150):
        for _ in range(5):
            stuck.packet(PCM)
        begun = monotonic()
        fake.last.packet(number.to_bytes(2, "little") * 160)
        chunk = await next_audio(quick)
        assert int.from_bytes(chunk.pcm_data[:2], "little") == number
        late.append(monotonic() - begun)
        await asyncio.sleep(0.01)
    assert sorted(late)[len(late) // 2] < 0.02, f"latencies {late}"
    slow.cancel()
    quick.cancel()


async def test_a_stream_that_is_late_hears_why_the_room_was_lost(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, generation=3)
    fake.last.lose(LossReason.SUPERSEDED)
    call = bridge.StreamAudio()
    await call.write(pb.AudioChunk(user_id=USER))
    assert await call.code() == grpc.StatusCode.ABORTED
    assert dict(await call.trailing_metadata())[REASON_KEY] == "superseded"


async def test_a_cancelled_stream_closes_and_deletes_the_session(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    call.cancel()
    await eventually(lambda: not fake.open or "the room is still held")
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert (status.connected, status.last_disconnect_cause) == (False, pb.REASON_STREAM_BROKEN)


async def test_a_second_stream_supersedes_the_first_and_hears_what_comes_then(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    first = await opened(bridge)
    second = await opened(bridge)
    assert await first.code() == grpc.StatusCode.OK
    assert dict(await first.trailing_metadata())[REASON_KEY] == "replaced"
    fake.last.packet(PCM)
    assert (await next_audio(second)).pcm_data == PCM
    assert len(fake.open) == 1
    second.cancel()


async def test_the_end_of_an_old_stream_never_touches_the_new_join(bridge: Any, fake: FakeLiveKit) -> None:
    for _ in range(20):
        await joined(bridge)
        old = await opened(bridge)
        await joined(bridge)
        new = await opened(bridge)
        old.cancel()
        fake.last.packet(PCM)
        assert (await next_audio(new)).pcm_data == PCM
        assert fake.open == [fake.last]
        new.cancel()
        await eventually(lambda: not fake.open or "the room is still held")


async def test_half_closing_goes_on_listening(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    await call.done_writing()
    fake.last.packet(PCM)
    assert (await next_audio(call)).pcm_data == PCM
    call.cancel()


async def test_a_reader_that_stops_is_bounded_and_let_go(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    worker, bridge = await start(send_timeout=0.5, max_age=0.3)
    await joined(bridge)
    call = await opened(bridge)
    microphone, stream = worker.rooms.find(USER).seat.microphone, worker.rooms.find(USER).stream
    begun = monotonic()
    while fake.last.closed is None and monotonic() - begun < 10:
        for _ in range(50):
            fake.last.packet(PCM)
        assert microphone.waiting <= 200
        await asyncio.sleep(0.01)
    assert fake.last.closed is not None, "a stream that nobody reads must end"
    assert 0 <= microphone.received - microphone.dropped - stream.sent <= 1, "each frame is sent, dropped or on its way"
    call.cancel()


async def test_a_reader_that_pauses_hears_nothing_old_as_live(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    worker, bridge = await start(send_timeout=20.0, max_age=0.5)
    await joined(bridge)
    call = await opened(bridge)
    begun = monotonic()
    spoken: dict[int, float] = {}
    while (now := monotonic() - begun) < 5.0:  # the phone speaks, nobody reads
        number = len(spoken)
        spoken[number] = now
        fake.last.packet(encode_numbered(FrameNumber(1, number * 1600, 0), PCM), TOPIC_NUMBERED)
        await asyncio.sleep(0.1 - (monotonic() - begun) % 0.1)
    numbers: list[int] = []
    while not numbers or numbers[-1] < len(spoken) - 1:
        numbers.append((await next_audio(call)).number.position // 1600)
    assert worker.rooms.find(USER).seat.microphone.dropped == len(spoken) - len(numbers) > 0
    after_the_buffers = next(b for a, b in pairwise(numbers) if b != a + 1)
    assert 5.0 - spoken[after_the_buffers] < patient(0.7), "what waited in our queue is younger than the age limit"
    hidden = [number for number in numbers if number < after_the_buffers]
    assert len(hidden) * 0.1 < patient(1.5), f"{len(hidden) * 0.1:.1f} s of old audio hid in gRPC's buffers (traps 22)"
    call.cancel()


async def test_live_sound_goes_to_its_track_when_there_is_some(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    await call.write(pb.AudioChunk(user_id=USER))
    await call.write(pb.AudioChunk(pcm_data=PCM, sample_rate=16000, channels=1))
    await call.write(pb.AudioChunk(pcm_data=PCM[:333]))
    await call.write(pb.AudioChunk(pcm_data=PCM[333:] + b"\5", track_id=0))
    await call.write(pb.AudioChunk(pcm_data=PCM, track_id=2))
    both = PCM + PCM + b"\5"
    await eventually(lambda: len(fake.last.tracks) == 2 or "two tracks are due")
    speaker, tts = fake.last.tracks
    assert (speaker.name, tts.name) == ("speaker", "tts")
    await eventually(lambda: speaker.pcm == both.ljust(-(-len(both) // FRAME_BYTES) * FRAME_BYTES, b"\0"))
    await eventually(lambda: tts.pcm == PCM)
    gaps = [b[0] - a[0] for a, b in pairwise(speaker.frames)][:-1]
    assert max(gaps) < patient(0.1)
    await eventually(lambda: not speaker.published or "an idle track is still published")
    call.cancel()


async def test_nothing_is_published_for_a_stream_that_only_listens(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    call = await opened(bridge)
    for _ in range(3):
        await call.write(pb.AudioChunk())
    fake.last.packet(PCM)
    await next_audio(call)
    assert fake.last.tracks == []
    call.cancel()


async def test_senseless_chunks_are_refused_and_the_stream_lives(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    worker, bridge = await start()
    await joined(bridge)
    call = await opened(bridge)
    await call.write(pb.AudioChunk(pcm_data=PCM, sample_rate=48000))
    await call.write(pb.AudioChunk(pcm_data=PCM, channels=2))
    await call.write(pb.AudioChunk(pcm_data=PCM, track_id=99))
    await call.write(pb.AudioChunk(pcm_data=PCM, track_id=-1))
    await call.write(pb.AudioChunk(pcm_data=bytes(MAX_CHUNK_BYTES + 2), track_id=2))
    await call.write(pb.AudioChunk(pcm_data=PCM, track_id=1))
    await eventually(lambda: [track.name for track in fake.last.tracks] == ["app_audio"])
    assert worker.rooms.find(USER).stream.refused == 5
    call.cancel()


async def test_a_stream_is_of_the_user_of_its_first_chunk(bridge: Any, fake: FakeLiveKit) -> None:
    """Another name in a later chunk leads nowhere, and neither does another user's generation."""
    await joined(bridge, generation=7)
    ours = fake.last
    await joined(bridge, user="bob@example.com", generation=9)
    theirs = fake.last
    call = await opened(bridge, generation=7)
    await call.write(pb.AudioChunk(user_id="bob@example.com", generation=9, pcm_data=PCM, track_id=1))
    await eventually(lambda: [track.name for track in ours.tracks] == ["app_audio"])
    assert not theirs.tracks
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (await opened(bridge, user="bob@example.com", generation=7)).read()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert not (await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id="bob@example.com", generation=7))).success
    assert set(fake.open) == {ours, theirs}
    call.cancel()
