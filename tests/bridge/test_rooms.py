"""JoinRoom, LeaveRoom, GetStatus and HealthCheck of a worker."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from glassbridge.bridge.contract import TO_WIRE
from glassbridge.bridge.worker import Worker
from glassbridge.core.values import LossReason
from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.bridge.conftest import AGENT, USER, ended, join_request, joined, next_audio, next_news, opened
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import patient
from tests.support.poll import eventually


async def test_join_puts_us_into_the_room(bridge: Any, fake: FakeLiveKit) -> None:
    answer = await joined(bridge)
    assert (answer.participant_id, answer.participant_count) == (AGENT, 1)
    assert fake.last.room == USER


async def test_user_ids_compare_without_case(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, user=USER)
    await joined(bridge, user=USER.upper(), token=AGENT, room_name=USER)
    assert len(fake.open) == 1


async def test_a_join_replaces_a_joined_room(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge)
    await joined(bridge)
    assert len(fake.joined) == 2
    await eventually(lambda: fake.open == [fake.last] or f"{len(fake.open)} places are held")


async def test_fifty_joins_at_once_end_in_one_room(bridge: Any, fake: FakeLiveKit) -> None:
    fake.delay = 0.05
    answers = await asyncio.gather(*(bridge.JoinRoom(join_request(), timeout=patient(10)) for _ in range(50)))
    won = [answer for answer in answers if answer.success]
    lost = {answer.reason for answer in answers if not answer.success}
    assert len(won) == 1
    assert lost == {pb.REASON_REPLACED}
    assert fake.most_under_way == 1
    assert len(fake.open) == 1
    assert fake.begun < 50, "joins that were replaced before they began must never begin"


async def test_a_failed_join_is_an_answer_with_its_reason(bridge: Any, fake: FakeLiveKit) -> None:
    for reason in (LossReason.TOKEN_REFUSED, LossReason.UNREACHABLE, LossReason.TOKEN_EXPIRED):
        fake.refuse = reason
        answer = await bridge.JoinRoom(join_request(), timeout=patient(5))
        assert (answer.success, answer.reason) == (False, TO_WIRE[reason])
        assert answer.error.startswith(reason.text)
    assert (await bridge.HealthCheck(pb.HealthCheckRequest())).active_sessions == 0


async def test_a_bug_in_the_participant_is_an_answer_too(bridge: Any, fake: FakeLiveKit) -> None:
    fake.crash = ZeroDivisionError("a bug")
    answer = await bridge.JoinRoom(join_request(), timeout=patient(5))
    assert answer.reason == pb.REASON_INTERNAL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""),
        ("user_id", "a\nb"),
        ("user_id", "x" * 300),
        ("room_name", ""),
        ("token", ""),
        ("token", "x" * 9000),
        ("livekit_url", ""),
        ("livekit_url", "ftp://x"),
        ("target_identity", "x" * 300),
        ("generation", -1),
    ],
)
async def test_a_senseless_join_is_refused_in_words(bridge: Any, fake: FakeLiveKit, field: str, value: Any) -> None:
    request = join_request()
    setattr(request, field, value)
    answer = await bridge.JoinRoom(request, timeout=patient(5))
    assert not answer.success
    assert answer.error
    assert fake.begun == 0


async def test_an_older_generation_is_refused_and_touches_nothing(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, generation=7)
    answer = await bridge.JoinRoom(join_request(generation=6), timeout=patient(5))
    assert (answer.success, answer.reason) == (False, pb.REASON_REPLACED)
    left = await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER, generation=6))
    assert not left.success
    assert "generation 6" in left.error
    assert fake.open == fake.joined == [fake.last]
    await joined(bridge, generation=8)


async def test_every_decision_is_one_line_of_the_log(
    bridge: Any, fake: FakeLiveKit, capsys: pytest.CaptureFixture[str]
) -> None:
    await joined(bridge, generation=7, room_name="the room")
    call = await opened(bridge, generation=7)
    await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER, generation=6))
    await joined(bridge, generation=8, room_name="the room")
    fake.last.lose(LossReason.NETWORK)
    call.cancel()
    lines = [line for line in capsys.readouterr().out.splitlines() if "room decision" in line]
    story = [
        ("'join'", "'connect'", "joining", "7"),
        ("connected", "grant", "joined", "7"),
        ("'stream opened'", "grant", "joined", "7"),
        ("leave", "'refuse (replaced)'", "joined", "6"),
        ("join", "'end stream (replaced), disconnect (replaced), connect'", "joining", "8"),
        ("connected", "grant", "joined", "8"),
        ("'lost (network)'", "'disconnect (network)'", "lost", "8"),
    ]
    assert len(lines) == len(story), lines
    for line, (cause, action, result, generation) in zip(lines, story, strict=True):
        for part in (f"cause={cause}", f"action={action}", f"result={result}", f"generation={generation}"):
            assert part.replace("'", "") in line.replace("'", ""), line
        assert f"user_id={USER}" in line
        assert "room_name='the room'" in line


async def test_leave(bridge: Any, fake: FakeLiveKit) -> None:
    nobody = await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER))
    assert (nobody.success, nobody.error) == (False, "session not found")
    await joined(bridge, generation=3)
    assert (await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER, generation=3))).success
    await eventually(lambda: not fake.open or "the room is still held")
    await joined(bridge)
    assert (await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER))).success


async def test_a_cancelled_join_leaves_nothing(worker: tuple[Worker, Any], fake: FakeLiveKit) -> None:
    (server, bridge) = worker
    fake.delay = 30
    call = bridge.JoinRoom(join_request())
    await eventually(lambda: fake.under_way == 1 or "the join has not begun")
    call.cancel()
    await eventually(lambda: fake.under_way == 0 or "the join goes on")
    await eventually(lambda: server.rooms.find(USER) is None or "the user is not forgotten")  # type: ignore[arg-type]
    assert not fake.joined


async def test_the_callers_deadline_is_kept(bridge: Any, fake: FakeLiveKit) -> None:
    fake.delay = 30
    answer = await bridge.JoinRoom(join_request(), timeout=0.8)
    assert answer.reason == pb.REASON_TIMED_OUT
    await eventually(lambda: fake.under_way == 0 or "the join goes on")


async def test_leave_calls_off_a_join_under_way(bridge: Any, fake: FakeLiveKit) -> None:
    fake.delay = 30
    call = bridge.JoinRoom(join_request(), timeout=patient(20))
    await eventually(lambda: fake.under_way == 1 or "the join has not begun")
    assert (await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER))).success
    assert (await call).reason == pb.REASON_CLOSED
    await eventually(lambda: fake.under_way == 0 or "the join goes on")


async def test_a_room_that_no_stream_claims_is_left(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    _, bridge = await start(unclaimed=0.2)
    await joined(bridge)
    await eventually(lambda: not fake.open or "the room is still held")
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert status.last_disconnect_cause == pb.REASON_STREAM_BROKEN


async def test_status_of_nobody_is_all_defaults(bridge: Any) -> None:
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id="nobody"))
    assert (status.connected, status.participant_count, status.last_disconnect_at) == (False, 0, 0)
    assert status.last_audio_age_ms == -1
    assert not status.HasField("news")


async def test_status_says_what_is_true(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, generation=4)
    call = await opened(bridge)
    fake.last.enter("phone")
    fake.last.packet(b"\1\0" * 160)
    await next_audio(call)
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert (status.connected, status.participant_id, status.participant_count) == (True, AGENT, 2)
    assert (status.generation, status.last_disconnect_at) == (4, 0)
    assert 0 <= status.last_audio_age_ms < 1000
    assert (status.news.phone_here, status.news.phone_publishes, status.news.leaving) == (True, False, False)
    fake.last.lose(LossReason.SUPERSEDED)
    await ended(call)
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert (status.connected, status.last_disconnect_cause) == (False, pb.REASON_SUPERSEDED)
    assert status.last_disconnect_reason == LossReason.SUPERSEDED.text
    assert status.last_disconnect_at > 0


async def test_health_counts_what_is_here(bridge: Any, fake: FakeLiveKit) -> None:
    await joined(bridge, user="a")
    await joined(bridge, user="b")
    call = await opened(bridge, user="a")
    health = await bridge.HealthCheck(pb.HealthCheckRequest())
    assert (health.status, health.active_sessions, health.active_streams) == (pb.HealthCheckResponse.SERVING, 2, 1)
    assert float(health.metadata["rss_mb"]) > 1
    assert {"version", "workers", "participant"} <= set(health.metadata)
    unknown = await bridge.HealthCheck(pb.HealthCheckRequest(service="other"))
    assert unknown.status == pb.HealthCheckResponse.SERVICE_UNKNOWN
    call.cancel()


async def test_the_end_of_a_worker_tells_streams_and_leaves_rooms(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    worker, bridge = await start()
    await joined(bridge)
    call = await opened(bridge)
    ending = asyncio.create_task(worker.__aexit__())
    # Read meanwhile: what is unread when the connection ends may be lost with it.
    assert (await next_news(call)).leaving
    assert await ended(call) == grpc.StatusCode.UNAVAILABLE
    await ending
    assert not fake.open
    assert not worker.address.path.exists()
