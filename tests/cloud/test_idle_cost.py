"""What a phone costs that is here and says nothing: memory, not time."""

import json
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import glassbridge
from glassbridge.cloud import connection
from glassbridge.cloud.websocket import WebSocket
from glassbridge.core.audio_link import Notice
from glassbridge.core.diagnosis import Hop
from glassbridge.core.uplink import LossPoint
from glassbridge.core.values import AudioState, user_id
from glassbridge.runtime.lazy import Lazy
from tests.cloud.conftest import ANN, Stage
from tests.support.poll import eventually

Begin = Callable[..., Awaitable[Stage]]

PHONES = 50
MOST = 20_000
"""Bytes that our own lines may hold for each; aiohttp's come to it."""
OURS = tracemalloc.Filter(inclusive=True, filename_pattern=str(Path(glassbridge.__file__).parent / "*"))


async def test_a_phone_that_says_nothing_costs_little(stage: Begin) -> None:
    built = await stage()
    await built.phone("first@example.com")
    tracemalloc.start()
    try:
        for number in range(PHONES):
            phone = await built.phone(f"idle-{number}@example.com", query="?audio=2")
            await phone.until("audio_state")
        held = tracemalloc.take_snapshot().filter_traces([OURS])
    finally:
        tracemalloc.stop()
    each = sum(one.size for one in held.statistics("filename")) / PHONES
    print(f"{each / 1000:.1f} kB of ours for each phone")
    assert each < MOST


async def test_a_phone_that_says_nothing_has_no_task_of_its_session_and_nothing_that_audio_and_apps_need(
    stage: Begin,
) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    await phone.until("audio_state")
    await phone.say(type="ping", timestamp="0", every=1.0)
    await phone.until("pong")
    [session] = built.cloud.sessions.living
    owners = (session, session.audio)
    lazy = [(one, name) for one in owners for name, made in vars(type(one)).items() if isinstance(made, Lazy)]
    assert {"apps", "microphone"} <= {name for _, name in lazy}
    await eventually(lambda: len(session._tasks) == 0 or f"{len(session._tasks)} tasks of the session run")
    assert [name for one, name in lazy if getattr(one, f"_{name}") is not None] == []


async def test_a_microphone_that_is_made_late_knows_which_hop_is_at_fault(stage: Begin) -> None:
    built = await stage()
    await (await built.phone(query="?audio=2")).until("audio_state")
    [session] = built.cloud.sessions.living
    session._hear_notice(Notice(AudioState.INTERRUPTED, "place_lost", "the bridge is gone", Hop.BRIDGE))
    assert session.audio._microphone is None
    lost_as = session.audio.microphone._ledger.lost_as
    assert (lost_as.reason, lost_as.hop) == ("place_lost", LossPoint.BRIDGE)


async def test_who_never_speaks_has_no_recogniser(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone()
    await phone.until("audio_state")
    [session] = built.cloud.sessions.living
    assert session.user == user_id(ANN)
    assert session.audio.hearing._seats == {}
    await phone.socket.send_bytes(bytes(3_200))
    await eventually(lambda: bool(session.audio.hearing._seats) or "nobody listens to what is said")
    await session.audio.hearing.close()
    session.audio.hearing.put(bytes(3_200))
    assert session.audio.hearing._seats == {}, "nobody listens after the end"


async def test_the_kernel_is_asked_for_the_round_trip_only_of_a_phone_that_is_missed(
    stage: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(connection, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(connection, "round_trip", asked.append)
    built = await stage()
    phone = await built.phone()
    for _ in range(3):
        await phone.say(type="ping", timestamp="0", every=0.1)
        await phone.until("pong")
    assert asked == []
    await eventually(lambda: bool(asked) or "a phone is missed, and nobody looks at its connection")


async def test_a_ping_wakes_no_task(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered where it is parsed: to wake its reader takes as long as all the rest."""
    received: list[object] = []
    receive = WebSocket.receive

    async def counted(self: WebSocket, timeout: float | None = None) -> object:
        received.append(self)
        return await receive(self, timeout)

    monkeypatch.setattr(WebSocket, "receive", counted)
    built = await stage()
    phone = await built.phone()
    for number in range(3):
        await phone.say(type="ping", timestamp=number)
        await phone.until("pong", number + 1)
    assert len(received) == 1


async def test_a_phone_that_comes_is_told_all_in_one_write(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[list[str]] = []
    write = WebSocket.write_at_once

    def noted(self: WebSocket, texts: list[str]) -> None:
        written.append([json.loads(text)["type"] for text in texts])
        write(self, texts)

    monkeypatch.setattr(WebSocket, "write_at_once", noted)
    built = await stage()
    phone = await built.phone()
    await phone.until("audio_state")
    assert written[0] == ["connection_ack", "microphone_state_change", "audio_state"]
