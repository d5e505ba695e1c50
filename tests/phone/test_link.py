"""The phone on broken networks: real sockets through a proxy that swallows, resets and refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import repeat
from time import monotonic

import pytest

from glassbridge.core import phone_place, phone_socket
from glassbridge.core.values import LossReason
from glassbridge.lab.links import ByteLink, Way
from glassbridge.phone import PhoneClient, events
from glassbridge.runtime.world import REAL
from glassbridge.wire.close_codes import CloseCode
from tests.phone.scripted import TOKEN, Rooms, ScriptedCloud
from tests.phone.test_client import Phone, phone
from tests.support.patience import patient, soon
from tests.support.poll import eventually

LAG = 3.0
"""Seconds that a busy machine may be late; what a quiet one needs is measured by the lab."""
"""Seconds by which a busy machine may be late."""


@asynccontextmanager
async def far_away(rooms: Rooms) -> AsyncIterator[tuple[ScriptedCloud, ByteLink, Phone]]:
    """A phone that is live by way of a link which can be broken; its cloud has answered a ping."""
    async with (
        ScriptedCloud(rooms) as cloud,
        ByteLink() as link,
        phone(f"http://127.0.0.1:{await link.to(cloud.port)}", rooms) as me,
    ):
        await me.live()
        await eventually(lambda: cloud.pings > 0)
        yield cloud, link, me


def told(me: Phone) -> list[str]:
    return [event.situation for event in me.all(events.Told)]


async def test_a_half_open_socket_is_known_in_time_and_audio_is_back_soon_after_the_network() -> None:
    """Only the way up is dead: what the cloud says by itself goes on coming."""
    rooms = Rooms()
    async with far_away(rooms) as (cloud, link, me):
        begun = monotonic()
        link.drop(Way.UP)
        await eventually(lambda: "unreachable" in told(me), within=6.0)
        assert monotonic() - begun < patient(phone_socket.SILENCE + LAG), "told later than 4 s after the cut"
        await asyncio.sleep(1.0)
        link.heal()
        await eventually(lambda: len(me.all(events.Acknowledged)) == 2, within=2.0 + LAG)
        await me.live()
        assert me.all(events.Told)[-1].text.startswith("audio is back after ")
        await eventually(lambda: rooms.log == ["join ws://A", "leave ws://A", "join ws://A"] or str(rooms.log))
        assert cloud.tokens == 2, "the room may have died with the socket: renewed once, not before the socket was back"


async def test_another_network_finds_a_dead_socket_at_once() -> None:
    rooms = Rooms()
    async with far_away(rooms) as (_, link, me):
        link.drop()
        me.client.network_changed()
        await eventually(lambda: told(me)[-1] in ("unreachable", "renewing"), within=2.0)
        link.heal()
        link.cut()
        took = await eventually(lambda: len(me.all(events.Acknowledged)) == 2, within=4.0)
        assert took < patient(phone_socket.PROBE + LAG)
        await eventually(lambda: rooms.log == ["join ws://A", "leave ws://A", "join ws://A"] or str(rooms.log))


async def test_another_network_costs_one_place_and_one_socket_even_where_it_harmed_nothing() -> None:
    """A socket that was opened on the former network is not asked first."""
    rooms = Rooms()
    async with far_away(rooms) as (cloud, _, me):
        me.client.network_changed()
        await eventually(lambda: len(cloud.sockets) == 2)
        await eventually(lambda: rooms.log == ["join ws://A", "leave ws://A", "join ws://A"] or str(rooms.log))
        assert rooms.places[0].vanished, "nobody waits for the goodbye"
        await me.live()
        assert (len(cloud.sockets), cloud.tokens) == (2, 2)


async def test_what_was_tried_in_vain_is_tried_at_once_when_the_network_is_back() -> None:
    rooms = Rooms()
    async with far_away(rooms) as (_, link, me):
        link.refuse()
        await eventually(lambda: told(me)[-1] == "unreachable")
        me.client.network_lost()
        await eventually(lambda: told(me)[-1] == "offline")
        tries = len(me.all(events.SocketChanged))
        await asyncio.sleep(1.2)
        assert len(me.all(events.SocketChanged)) == tries, "nothing is tried without a network"
        link.heal()
        me.client.network_changed()
        assert await eventually(lambda: len(me.all(events.Acknowledged)) == 2) < LAG


async def test_the_phone_renews_its_place_when_the_cloud_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_place, "UNHEARD", 0.1)  # else a place that is so new is not blamed
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        rooms.swallow = True
        await cloud.state("interrupted", code="no_audio", reason="nothing arrives", transport="websocket")
        await cloud.state("interrupted", code="phone_not_in_room", hop="phone", reason="not in its room")
        took = await eventually(lambda: len(rooms.places) == 2)
        rooms.swallow = False
        assert took < patient(LAG)
        assert rooms.log == ["join ws://A", "leave ws://A", "join ws://A"]
        assert rooms.here.token == "room-token-2"
        await me.live()
        assert told(me)[-3:] == ["unheard", "renewing", "heard"] or told(me)[-2:] == ["renewing", "heard"]


async def test_the_phone_renews_its_place_when_nobody_is_named_for_too_long() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        rooms.swallow = True
        await cloud.state("interrupted", code="no_audio", reason="nothing arrives", transport="livekit")
        took = await eventually(lambda: len(rooms.places) == 2, within=5.0)
        assert 2.9 < took < patient(3.0 + LAG)


@pytest.mark.parametrize("hop", ["bridge", "stream", "livekit"])
async def test_the_phone_keeps_its_place_when_another_hop_is_dead(hop: str) -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        rooms.swallow = True
        await cloud.state("interrupted", code="bridge_silent", hop=hop, reason="dead", transport="websocket")
        await asyncio.sleep(0.5)
        assert rooms.log == ["join ws://A"]
        assert me.client.room_joined


async def test_a_place_that_another_took_is_left_to_it_when_the_cloud_says_who_is_the_phone() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        rooms.here.end(LossReason.SUPERSEDED)
        await cloud.sockets[-1].close(code=CloseCode.SUPERSEDED)
        await eventually(lambda: me.client.ended is not None)
        await asyncio.sleep(0.7)
        assert rooms.log == ["join ws://A", "leave ws://A"]


async def test_a_draining_cloud_sends_its_phones_elsewhere_and_they_do_not_come_in_one_heap() -> None:
    """Whoever hears DRAINING may switch at once; who does not comes back to the same address within NOW_JITTER."""
    rooms = Rooms()
    async with ScriptedCloud(rooms, name="B") as b:
        seconds = []
        for chance in (0.02, 0.5, 0.98):
            async with (
                ScriptedCloud(rooms) as a,
                phone(a.url, rooms, world=replace(REAL, chance=repeat(chance).__next__)) as me,
            ):
                await me.live()
                await a.sockets[-1].close(code=CloseCode.DRAINING)
                await eventually(lambda: len(me.all(events.SocketChanged)) >= 2)
                seconds.append(await eventually(lambda: len(me.all(events.SocketChanged)) >= 3, every=0.01))
        assert seconds == pytest.approx([phone_socket.SPREAD * at for at in (0.02, 0.5, 0.98)], abs=LAG / 2)
        assert seconds == sorted(seconds)
        async with ScriptedCloud(rooms) as a, phone(a.url, rooms, world=replace(REAL, chance=lambda: 0.99)) as me:
            await me.live()
            await a.sockets[-1].close(code=CloseCode.DRAINING)
            await eventually(lambda: me.client.session is None)
            await me.client.switch(b.url)
            assert await eventually(lambda: len(b.sockets) == 1) < LAG
            await eventually(lambda: rooms.log[-3:] == ["join ws://A", "leave ws://A", "join ws://B"])


async def test_an_attempt_that_is_given_up_is_forgotten_by_the_kernel_too() -> None:
    """Else a network that comes back delivers it, and the cloud takes it for the newest socket."""
    asked, reset = asyncio.Event(), asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"attempt=1" in await reader.readuntil(b"\r\n\r\n")
        asked.set()
        try:
            await reader.read()
        except ConnectionResetError:
            reset.set()
        writer.close()

    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        async with server, phone(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", rooms) as me:
            await soon(asked.wait(), 3.0)
            await me.client.switch(cloud.url)
            await soon(reset.wait(), 3.0)
            await me.live()
            assert cloud.queries[0]["attempt"] == "2"


async def test_many_phones_live_in_one_loop_and_have_nothing_in_common() -> None:
    count = 12
    worlds = [Rooms() for _ in range(count)]
    heard: list[list[object]] = [[] for _ in range(count)]
    clouds = [ScriptedCloud(rooms, name=str(index)) for index, rooms in enumerate(worlds)]
    for cloud in clouds:
        await cloud.__aenter__()
    phones = [
        PhoneClient(cloud.url, TOKEN, heard[index].append, connect=worlds[index]) for index, cloud in enumerate(clouds)
    ]
    try:
        await asyncio.gather(*(one.__aenter__() for one in phones))
        await eventually(lambda: all(cloud.live for cloud in clouds))
        await phones[3].switch(clouds[4].url)
        phones[5].network_lost()
        await phones[6].close()
        await eventually(lambda: worlds[3].log[-1] == "leave ws://3" and not phones[5].room_joined)
        for index, rooms in enumerate(worlds):
            assert (rooms.log == [f"join ws://{index}"]) == (index not in (3, 5, 6)), index
        assert len({one.capture.epoch for one in phones}) == count
    finally:
        await asyncio.gather(*(one.close() for one in phones))
        for cloud in clouds:
            await cloud.stop()
