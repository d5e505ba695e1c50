"""What the cloud never got is sent again: complete, behind live audio, at a bounded pace."""

import asyncio

from glassbridge.phone.plain import REPLAY_SPEED
from glassbridge.phone.player import play
from tests.phone.scripted import Rooms, ScriptedCloud
from tests.phone.test_client import noise, phone, speak
from tests.support.patience import patient
from tests.support.poll import eventually

SECOND = 16_000


async def complete(cloud: ScriptedCloud, pcm: bytes) -> None:
    await eventually(lambda: bytes(cloud.delivered) == pcm or f"{len(cloud.delivered)} of {len(pcm)} bytes in order")


async def test_what_is_said_while_there_is_no_network_arrives_afterwards_and_is_never_live() -> None:
    rooms, pcm = Rooms(), noise(2 * SECOND)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        speaking = asyncio.create_task(play(me.client, pcm, 20, last=False))
        await eventually(lambda: len(cloud.delivered) > 6400)
        await me.client.drop(0.8)
        await speaking
        await complete(cloud, pcm)
        account = cloud.ledger.account()
        assert (account.lost, account.live + account.late) == (0, 2 * SECOND)
        assert 0.5 * SECOND < account.late < patient(1.3) * SECOND
        assert len(cloud.fresh) == 2 * account.live


async def test_what_went_into_a_room_that_nobody_hears_arrives_by_the_socket() -> None:
    rooms, pcm = Rooms(), noise(2 * SECOND)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        speaking = asyncio.create_task(play(me.client, pcm, 100, last=False))
        await eventually(lambda: len(cloud.delivered) > 6400)
        rooms.swallow = True
        await asyncio.sleep(0.5)
        cloud.path = "websocket"
        await cloud.state("interrupted", code="no_audio", reason="nothing arrives", transport="websocket")
        await speaking
        await complete(cloud, pcm)
        assert cloud.ledger.account().lost == 0


async def test_what_a_dead_livekit_node_got_arrives_by_the_socket_before_anybody_says_that_it_is_dead() -> None:
    rooms, pcm = Rooms(), noise(2 * SECOND)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        cloud.asks = False
        await me.live()
        speaking = asyncio.create_task(play(me.client, pcm, 100, last=False))
        await eventually(lambda: len(cloud.delivered) > 6400)
        rooms.unacknowledged = rooms.swallow = True
        await speaking
        await complete(cloud, pcm)
        account = cloud.ledger.account()
        assert account.lost == 0
        assert account.late <= (patient(1.0) - 1.0) * SECOND, "on a quiet machine all of it was live"
        assert rooms.here.closed is None
        assert me.client.sender.counts.replayed == 0


async def test_live_audio_goes_first_and_the_pace_is_bounded() -> None:
    rooms, pcm = Rooms(), noise(4 * SECOND)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        speaking = asyncio.create_task(play(me.client, pcm, 20, last=False))
        await me.client.drop(2.0)
        await speaking
        await complete(cloud, pcm)
        assert cloud.ledger.account().late < patient(2.5) * SECOND, "live audio stayed live beside it"
        spent = cloud.replayed_at[-1][0] - cloud.replayed_at[0][0]
        assert sum(ms for _, ms in cloud.replayed_at) / 1000 <= REPLAY_SPEED * (spent + patient(0.1))
        assert len(cloud.replayed_at) == me.client.sender.counts.replayed


async def test_nothing_is_sent_again_that_nobody_asked_for() -> None:
    rooms, pcm = Rooms(), noise(SECOND)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        cloud.asks = False
        await me.live()
        await speak(me.client, pcm[:SECOND], last=False)
        await eventually(lambda: len(cloud.delivered) == SECOND or f"{len(cloud.delivered)} bytes")
        await me.client.drop(60.0)
        assert me.client.speak(pcm[SECOND : SECOND + 6400]), "said to nobody"
        me.client.network_changed()
        await eventually(lambda: me.client.room_joined or "not back in its room")
        await play(me.client, pcm[SECOND + 6400 :], 20)
        await eventually(lambda: cloud.ledger.account().epochs[0].microphone_off)
        assert cloud.ledger.lost > 0
        assert me.client.sender.counts.replayed == 0


async def test_a_new_backend_gets_what_nobody_has_acknowledged() -> None:
    rooms, pcm = Rooms(), noise(SECOND)
    async with ScriptedCloud(rooms, name="A") as a, ScriptedCloud(rooms, name="B") as b, phone(a.url, rooms) as me:
        await me.live()
        rooms.clouds.remove(a)  # it hears nothing any more, and says nothing about it
        await play(me.client, pcm, 100, last=False)
        await me.client.switch(b.url)
        await complete(b, pcm)
        assert b.ledger.account().live == 0


async def test_what_another_backend_got_is_not_waited_for() -> None:
    rooms, pcm = Rooms(), noise(2 * SECOND)
    async with ScriptedCloud(rooms, name="A") as a, ScriptedCloud(rooms, name="B") as b, phone(a.url, rooms) as me:
        await me.live()
        await speak(me.client, pcm[: SECOND // 2], last=False)
        await a.acknowledge()
        await me.client.switch(b.url)
        await eventually(lambda: b.live)
        await speak(me.client, pcm[SECOND // 2 : SECOND], last=False)
        await b.acknowledge()
        await eventually(lambda: not me.client.capture.kept)
        await me.client.switch(a.url)
        await eventually(lambda: rooms.log[-1] == "join ws://A" and me.client.room_joined)
        await speak(me.client, pcm[SECOND:], last=False)
        await complete(a, pcm[: SECOND // 2] + pcm[SECOND:])
        assert (a.ledger.lost, a.ledger.account().skipped) == (0, SECOND // 4)


async def test_a_sample_that_is_lost_in_the_room_does_not_stay_lost() -> None:
    rooms, pcm = Rooms(), noise(2 * SECOND)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        speaking = asyncio.create_task(play(me.client, pcm, 20, last=False))
        await asyncio.sleep(0.3)
        rooms.swallow = True
        await eventually(lambda: rooms.swallowed >= 2 or "nothing is sent")
        rooms.swallow = False
        await speaking
        await complete(cloud, pcm)
        assert 1 <= me.client.sender.counts.replayed <= 2 * rooms.swallowed
