"""Audio that dies and comes back, with a scripted bridge and a scripted room service: told, named, rebuilt, logged."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from glassbridge.core.arrival import PRESENCE_MISSED
from glassbridge.core.link_events import LinkState
from glassbridge.core.ownership import JOINS
from glassbridge.core.recovery import BridgeFault
from glassbridge.core.uplink import LossPoint
from glassbridge.core.values import LossReason, user_id
from tests.cloud.conftest import ANN, Phone, Stage
from tests.cloud.test_audio_path import SPEECH, frames, numbered, until_fed
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.scripted_bridge import ScriptedBridge, original_contract

Begin = Callable[..., Awaitable[Stage]]
OUR_PHONE = "?livekit=true&audio=2"
BUSY = 3.0
"""Seconds within which a thing is done at once, on a machine that has other things to do; the lab measures how soon."""


def present(
    built: Stage, position: int = 0, pcm: bytes = b"", bridge: ScriptedBridge | None = None, user: str = ANN
) -> None:
    """One numbered frame, or a presence frame, through the room."""
    bridge = bridge or built.bridge
    number = bridge.contract.FrameNumber(epoch=7, position=position, capture_time_us=position * 125 // 2)
    if not pcm:
        number.flags = 2
    bridge.send(user, pcm, number=number)


async def live(built: Stage, query: str = OUR_PHONE) -> Phone:
    """A phone that is heard in its room."""
    phone = await built.phone(query=query)
    await phone.until_state("connecting", "awaiting_audio")
    present(built)
    await phone.until_state("live")
    return phone


async def until_told(phone: Phone, code: str, within: float = 5.0) -> dict[str, Any]:
    """The first audio_state with this code."""
    await eventually(
        lambda: any(m.get("code") == code for m in phone.of_type("audio_state")) or f"{code}: {phone.audio_states()}",
        within,
    )
    return next(m for m in phone.of_type("audio_state") if m.get("code") == code)


# ---- the dead hop is named, and only it is rebuilt


def _phone_out(built: Stage) -> None:
    built.rooms.without_phone = True


def _agent_out(built: Stage) -> None:
    built.rooms.without_agent = True


def _livekit_down(built: Stage) -> None:
    built.rooms.silent = True


def _bridge_silent(built: Stage) -> None:
    built.bridge.silent = True


def _stream_stuck(built: Stage) -> None:
    built.bridge.audio_age_ms = 100


def _nothing(_built: Stage) -> None: ...


@pytest.mark.parametrize(
    ("breaks", "hop", "code", "rejoins"),
    [
        (_phone_out, "phone", "phone_not_in_room", False),
        (_agent_out, "bridge", "bridge_not_in_room", True),
        (_livekit_down, "livekit", "livekit_silent", True),
        (_bridge_silent, "bridge", "bridge_silent", True),
        (_stream_stuck, "stream", "stream_silent", True),
        (_nothing, "livekit", "room_silent", True),
    ],
)
async def test_silence_is_told_at_once_and_then_with_the_dead_hop(
    stage: Begin, breaks: Callable[[Stage], None], hop: str, code: str, rejoins: bool
) -> None:
    built = await stage(bridge_poll=30.0)
    phone = await live(built)
    loop = asyncio.get_running_loop()
    silent_since = loop.time()
    breaks(built)
    suspected = await until_told(phone, "no_audio")
    took = loop.time() - silent_since
    assert PRESENCE_MISSED - 0.2 < took < patient(PRESENCE_MISSED + BUSY)
    assert "hop" not in suspected
    assert suspected["transport"] == "websocket"
    named = await until_told(phone, code)
    assert loop.time() - silent_since < patient(4.0)
    assert (named["state"], named["hop"]) == ("interrupted", hop)
    if rejoins:
        await eventually(lambda: len(built.bridge.joins) == 2 or "not rebuilt")
    else:
        await stays(lambda: len(built.bridge.joins) == 1 or "our place was rebuilt", 0.5)
    for broken in ("without_phone", "without_agent", "silent"):
        setattr(built.rooms, broken, False)
    await eventually(lambda: built.bridge.rooms[ANN].streaming or "no stream")
    present(built)
    await phone.until_state("live")


async def test_a_phone_that_answers_nowhere_costs_no_join(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    assert phone.reader is not None
    phone.reader.cancel()  # reads no more, and so answers nothing
    await eventually(lambda: built.rooms.asked == [ANN] or "nobody was asked")
    await stays(lambda: len(built.bridge.joins) == 1 or "rebuilt for nobody", 2.0)


async def test_a_bridge_of_the_original_is_examined_too(stage: Begin) -> None:
    built = await stage(bridge=ScriptedBridge(original_contract()))
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")
    built.rooms.without_phone = True
    await phone.say(type="VAD", status=True)
    assert (await until_told(phone, "phone_not_in_room"))["hop"] == "phone"
    assert len(built.bridge.joins) == 1


# ---- news


async def test_a_phone_that_left_the_room_is_asked_back_within_a_second(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    built.rooms.without_phone = True
    loop = asyncio.get_running_loop()
    left = loop.time()
    built.bridge.tell(ANN, phone_here=False)
    await until_told(phone, "phone_not_in_room")
    assert loop.time() - left < patient(BUSY)
    built.bridge.tell(ANN, phone_here=True)
    present(built)
    await phone.until_state("live")
    assert len(built.bridge.joins) == 1


async def test_a_bridge_that_is_about_to_leave_is_left_for_another(stage: Begin) -> None:
    async with ScriptedBridge() as other:
        other.load = 10
        built = await stage(bridge=(first := ScriptedBridge()), and_bridge=other, bridge_poll=30.0)
        await eventually(lambda: built.cloud.sessions.pool.live == 2 or "not polled")
        phone = await live(built)
        first.tell(ANN, leaving=True)
        took = await eventually(lambda: ANN in other.rooms or "not on the other bridge", every=0.002)
        assert took < patient(BUSY), "audio had not stayed for long: the first rung, 0.5 s, and the join"
        present(built, bridge=other)
        await phone.until_state("live")
        assert ("interrupted", BridgeFault.LEAVING.code) in phone.audio_states()
        assert len(first.joins) == 1


async def speaks_while_leaving(stage: Begin, first: ScriptedBridge, other: ScriptedBridge) -> None:
    """The user's bridge leaves, and `other` is asked to join; what is spoken meanwhile reaches the recogniser."""
    built = await stage(bridge=first, and_bridge=other, bridge_poll=30.0)
    await eventually(lambda: built.cloud.sessions.pool.live == 2 or "not polled")
    await live(built)
    first.tell(ANN, leaving=True)
    await eventually(lambda: bool(other.joins) or "nobody joins", every=0.002)
    spoken = SPEECH[: 2 * 1600]
    present(built, 0, spoken)
    await until_fed(built.recogniser, spoken)


async def test_a_bridge_that_is_about_to_leave_serves_until_its_successor_stands(stage: Begin) -> None:
    async with ScriptedBridge() as other:
        other.join_takes, other.load = 0.5, 10
        await speaks_while_leaving(stage, first := ScriptedBridge(), other)
        assert ANN not in other.rooms, "heard before the successor stood"
        assert first.rooms[ANN].streaming
        await eventually(lambda: ANN in other.rooms or "not on the other bridge")
        await eventually(lambda: ANN not in first.rooms or "the old place is not left")
        assert first.leaves == [], "it ends with its stream"


async def test_a_bridge_that_is_about_to_leave_serves_on_while_no_other_can(stage: Begin) -> None:
    async with ScriptedBridge() as other:
        other.refuse, other.load = "out of order", 10
        await speaks_while_leaving(stage, first := ScriptedBridge(), other)
        assert first.rooms[ANN].streaming
        other.refuse = ""
        await eventually(lambda: ANN in other.rooms or "not on the other bridge")
        await eventually(lambda: ANN not in first.rooms or "the old place is not left")


# ---- who owns the user


async def test_a_place_that_was_taken_is_taken_back_while_the_phone_answers(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    built.bridge.end(ANN, reason=LossReason.SUPERSEDED.code)
    took = await eventually(lambda: len(built.bridge.joins) == 2 or "not taken back", every=0.002)
    assert took < patient(BUSY)
    assert ("interrupted", "superseded") in phone.audio_states()


async def test_a_half_open_socket_takes_nothing_back(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    assert phone.reader is not None
    phone.reader.cancel()
    await stays(lambda: True, 1.0)  # what it said last is a sign of life for a second
    built.bridge.end(ANN, reason=LossReason.SUPERSEDED.code)
    await stays(lambda: len(built.bridge.joins) == 1 or "taken back for nobody", 2.0)


@pytest.mark.parametrize("behind_ms", [0, 10, 300_000], ids=["same instant", "same second", "clock set back 5 min"])
async def test_a_restarted_cloud_wins_whatever_its_clock_says(stage: Begin, behind_ms: int) -> None:
    """The bridge still holds the place of the life before, under a generation that ours may not exceed."""
    built = await stage()
    await built.phone("bob@example.com", query=OUR_PHONE)
    await eventually(lambda: bool(built.bridge.joins) or "no join")
    built.bridge.newest = built.bridge.joins[0].generation + (behind_ms + 5_000) * JOINS
    phone = await built.phone(query=OUR_PHONE)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await eventually(lambda: ANN in built.bridge.rooms or f"refused: {phone.audio_states()}")
    assert loop.time() - begun < patient(BUSY)
    present(built)
    await phone.until_state("live")
    refused, joined = (join.generation for join in built.bridge.joins if join.user_id == ANN)
    assert refused < built.bridge.newest < joined


# ---- status first


async def test_the_bridge_has_a_second_to_answer_a_phone_that_is_back(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    await phone.vanish()
    built.bridge.silent = True
    loop = asyncio.get_running_loop()
    begun = loop.time()
    again = await built.phone(query=OUR_PHONE)
    await eventually(lambda: len(built.bridge.joins) == 2 or "not rejoined")
    assert 0.9 < loop.time() - begun < patient(1.0 + BUSY)
    assert ("interrupted", BridgeFault.TIMED_OUT.code) in again.audio_states()


async def test_after_a_blip_the_bridge_is_not_rejoined(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    for number in range(1, 4):
        await phone.vanish()
        phone = await built.phone(query=OUR_PHONE)
        assert (await phone.until("connection_ack"))["resumed"] is True
        await eventually(lambda number=number: len(built.bridge.asked) == number or "not asked")  # type: ignore[misc]
        present(built)
        await phone.until_state("live")
    assert len(built.bridge.joins) == 1


async def test_a_bridge_that_knows_no_status_is_believed(stage: Begin) -> None:
    built = await stage(bridge=ScriptedBridge(original_contract()))
    built.bridge.knows_status = False
    phone = await built.phone(query="?livekit=true")
    await phone.until_state("connecting", "awaiting_audio")
    await phone.vanish()
    again = await built.phone(query="?livekit=true")
    await eventually(lambda: built.bridge.asked == [ANN] or "not asked")
    built.bridge.send(ANN, bytes(640))
    await again.until_state("live")
    assert len(built.bridge.joins) == 1


async def test_a_phone_whose_network_is_back_waits_for_nothing(stage: Begin) -> None:
    built = await stage()
    built.bridge.refuse = "no"
    phone = await built.phone(query=OUR_PHONE)
    await eventually(lambda: len(built.bridge.joins) >= 5 or "does not keep trying", 20.0)
    await phone.until_state("unavailable", BridgeFault.REFUSED.code)
    link = built.cloud.sessions._by_user[user_id(ANN)].link
    await eventually(lambda: link.state is LinkState.BACKING_OFF or "a join is under way")
    with capture_logs() as logs:
        await phone.say(type="network_state_change")
        await eventually(lambda: any(line.get("on") == "NetworkBack" for line in logs) or "the hint changed nothing")
    (joining,) = [line for line in logs if line.get("on") == "NetworkBack"]
    assert (joining["new"], joining["cause"]) == ("joining", "network_back")


async def test_a_phone_that_returns_by_its_socket_only_is_not_sent_to_the_room(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    await phone.vanish()
    again = await built.phone(query="?audio=2")
    await again.until_state("connecting", "awaiting_audio")
    await again.socket.send_bytes(numbered(0, bytes(640)))
    await again.until_state("live")
    assert {m["transport"] for m in again.of_type("audio_state")} == {"websocket"}
    assert len(built.bridge.joins) == 1
    assert ANN in built.bridge.rooms


# ---- degrade, and back


async def test_to_the_socket_and_back_to_the_room_no_sample_is_lost_or_doubled(stage: Begin) -> None:
    """The phone as our own: it sends where it is told, and presence in the room whenever it is there."""
    built = await stage()
    phone = await live(built)
    transports: list[str] = []
    for index, (position, pcm) in enumerate(frames(SPEECH)):
        transport = phone.of_type("audio_state")[-1]["transport"]
        transports.append(transport)
        if transport == "livekit":
            present(built, position, pcm)
        else:
            await phone.socket.send_bytes(numbered(position, pcm))
            if ANN in built.bridge.rooms and built.bridge.rooms[ANN].streaming:
                present(built, position + len(pcm) // 2)
        if index == 60:
            await eventually(lambda: len(built.recogniser.fed) == 61 * 640 or "not fed")
            await built.bridge.stop()
            await phone.until_state("unavailable", BridgeFault.NONE_ANSWERS.code)
        if index == 120:
            assert phone.audio_states()[-1] == ("live", BridgeFault.NONE_ANSWERS.code)
            await built.bridge.start()
            await eventually(lambda: ANN in built.bridge.rooms or "no join", 8.0)
            await eventually(lambda: built.bridge.rooms[ANN].streaming or "no stream")
            assert phone.of_type("audio_state")[-1]["transport"] == "websocket", "not proven yet"
            present(built, position + len(pcm) // 2)
            await eventually(lambda: phone.of_type("audio_state")[-1]["transport"] == "livekit" or "not told")
        await asyncio.sleep(0)
    await until_fed(built.recogniser, SPEECH)
    assert transports[:61] == ["livekit"] * 61
    assert transports[61:121] == ["websocket"] * 60
    assert set(transports[121:]) == {"livekit"}
    account, _ = built.cloud.sessions._by_user[ANN].audio.microphone.accounts()  # type: ignore[index]
    assert (account.delivered, account.lost, account.repeated) == (len(SPEECH) // 2, 0, 0)


async def test_what_is_lost_is_booked_to_the_hop_that_was_dead(stage: Begin) -> None:
    built = await stage()
    phone = await live(built)
    present(built, 0, bytes(640))
    built.rooms.without_phone = True
    await until_told(phone, "phone_not_in_room")
    await phone.socket.send_bytes(numbered(3200, bytes(640)))
    microphone = built.cloud.sessions._by_user[ANN].audio.microphone  # type: ignore[index]
    await eventually(lambda: microphone.accounts()[0].lost == 2880 or "not booked as lost")
    (run,) = [r for r in microphone.accounts()[0].epochs[0].runs if r.label.kind.value == "lost"]
    assert (run.label.hop, run.label.reason) == (LossPoint.PHONE, "phone_not_in_room")


async def test_livekit_that_is_back_is_noticed_before_the_next_attempt_is_due(stage: Begin) -> None:
    built = await stage()
    built.rooms.silent = True
    built.bridge.refuse, built.bridge.refuse_reason = "LiveKit is down", 9
    phone = await built.phone(query=OUR_PHONE)
    await eventually(lambda: len(built.bridge.joins) >= 5 or "does not keep trying", 20.0)
    built.bridge.refuse, built.rooms.silent = "", False
    took = await eventually(lambda: ANN in built.bridge.rooms or "not joined", 8.0)
    assert took < patient(1.2 + BUSY), "it may just have asked, for a second"
    present(built)
    await phone.until_state("live")


# ---- the recogniser


async def test_a_recogniser_that_takes_nothing_is_replaced_while_audio_goes_on(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.socket.send_bytes(bytes(640))
    await eventually(lambda: bool(built.recogniser.streams) or "no stream")
    stuck = built.recogniser.streams[0]
    stuck.stalled = 10.0
    await phone.socket.send_bytes(bytes(640))
    told = await until_told(phone, "recogniser_stuck")
    assert (told["state"], told["hop"]) == ("live", "recogniser")
    await eventually(lambda: len(built.recogniser.streams) == 2 or "no new stream without a new word")
    await eventually(lambda: stuck.closed or "the stuck one is open")
    await phone.until_state("live")
    assert "interrupted" not in [state for state, _ in phone.audio_states()]


# ---- the log is the story


async def test_the_log_tells_how_a_bridge_died_and_audio_came_back(stage: Begin) -> None:
    with capture_logs() as logs:
        async with ScriptedBridge() as other:
            other.load = 10
            built = await stage(bridge=(first := ScriptedBridge()), and_bridge=other, bridge_poll=0.5)
            await eventually(lambda: built.cloud.sessions.pool.live == 2 or "not polled")
            phone = await live(built)
            await first.stop()
            await eventually(lambda: ANN in other.rooms or "not on the other bridge")
            await eventually(lambda: other.rooms[ANN].streaming or "no stream")
            present(built, bridge=other)
            await phone.until_state("live")
    story = [
        line for line in logs if line["event"] in ("audio link", "recovery", "audio state", "audio back", "place lost")
    ]
    died = next(index for index, line in enumerate(story) if line["event"] == "place lost")
    assert {(line["user_id"], line["session_id"]) for line in story} == {(ANN, story[0]["session_id"])}
    first_join = story[0]["generation"]
    told = [
        (line["event"], line["generation"] - first_join, line.get("action") or line.get("new") or line.get("state"))
        for line in story[died:]
    ]
    assert told[:10] == [
        ("place lost", 0, None),
        ("audio link", 0, "backing_off"),  # audio had not stayed for long: the ladder counts on
        ("audio state", 0, "interrupted"),
        ("audio link", 1, "joining"),
        ("recovery", 1, "join"),
        ("audio link", 1, "awaiting_audio"),
        ("audio state", 1, "connecting"),
        ("audio link", 1, "live"),
        ("audio state", 1, "live"),
        ("audio back", 1, ["join:joined"]),
    ]
    lost, _, interrupted, _, join, *_, back = story[died : died + 10]
    assert (lost["cause"], interrupted["code"], interrupted["hop"]) == ("bridge_died", "bridge_died", "bridge")
    assert (join["cause"], join["result"], join["bridge"]) == ("bridge_died", "joined", other.target)
    assert back["cause"] == "bridge_died"
    assert 0 <= back["after_ms"] < 2_000
