"""The phone in real rooms, with either participant: what it says is heard, it hears, and it comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from glassbridge.core.values import Transport
from glassbridge.livekit.connectors import connector, drainer
from glassbridge.livekit.own import connect
from glassbridge.livekit.participant import AudioBlock, Packet, ParticipantKind
from glassbridge.phone import PhoneClient, events
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.player import play
from glassbridge.runtime.world import REAL, World
from glassbridge.wire.audio_frames import TOPIC_NUMBERED
from tests.phone.scripted import AGENT, TOKEN, Rooms, ScriptedCloud
from tests.support.livekit import LiveKit, token
from tests.support.participants import Recorder
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.sound import loud, pitch, tone


class Agent(Recorder):
    """The cloud's agent in the room: hands packets to the scripted cloud."""

    def __init__(self, cloud: ScriptedCloud) -> None:
        super().__init__()
        self._cloud = cloud

    def on_packet(self, packet: Packet) -> None:
        super().on_packet(packet)
        self._cloud.hear_room(packet.topic, packet.payload)

    def on_audio(self, block: AudioBlock) -> None:
        super().on_audio(block)
        self._cloud.hear_track()


@pytest.fixture(params=["own", pytest.param("sdk", marks=pytest.mark.sdk)])
def kind(request: pytest.FixtureRequest) -> ParticipantKind:
    found: ParticipantKind = request.param
    return found


@asynccontextmanager
async def real_rooms(livekit: LiveKit) -> AsyncIterator[tuple[ScriptedCloud, Agent]]:
    """A scripted cloud whose phone is sent to a real LiveKit server, where the agent is already."""
    async with ScriptedCloud(Rooms()) as cloud:
        cloud.ticket = lambda: (livekit.url, token("me", "me"))
        agent = Agent(cloud)
        place = await connect(livekit.url, token(AGENT, "me"), agent)
        try:
            yield cloud, agent
        finally:
            await place.close()
            await drainer("own")()


@asynccontextmanager
async def phone(
    cloud: ScriptedCloud, kind: ParticipantKind, transport: Transport, world: World = REAL
) -> AsyncIterator[tuple[PhoneClient, list[PhoneEvent]]]:
    told: list[PhoneEvent] = []
    connect = connector(kind)
    async with PhoneClient(cloud.url, TOKEN, told.append, transport=transport, connect=connect, world=world) as client:
        await eventually(lambda: client.room_joined and client.agent_present)
        yield client, told
    await drainer(kind)()


async def test_numbered_packets_arrive_bit_for_bit_and_again_after_a_cut(
    livekit: LiveKit, kind: ParticipantKind
) -> None:
    clip = tone(1.0)
    async with real_rooms(livekit) as (cloud, _), phone(cloud, kind, Transport.DATA) as (client, told):
        await eventually(lambda: cloud.live)
        await play(client, clip, 20, last=False)
        await eventually(lambda: bytes(cloud.delivered) == clip or f"{len(cloud.delivered)} bytes")
        await client.drop(0.2)
        await eventually(lambda: client.room_joined and cloud.live and client.agent_present)
        await play(client, clip, 100)
        await eventually(lambda: bytes(cloud.delivered) == 2 * clip or f"{len(cloud.delivered)} bytes")
        account = cloud.ledger.account()
        assert (account.delivered, account.lost, account.epochs[0].microphone_off) == (32_000, 0, True)
        assert len([event for event in told if isinstance(event, events.Acknowledged)]) == 2


async def test_a_track_is_heard_and_ends_with_the_clip(livekit: LiveKit, kind: ParticipantKind) -> None:
    async with real_rooms(livekit) as (cloud, agent), phone(cloud, kind, Transport.TRACK) as (client, _):
        await eventually(lambda: len(agent.blocks) > 5 or "the silence before the clip is not heard")
        await play(client, tone(1.0), 100)
        await client.flush()

        def heard() -> bytes:
            return b"".join(block.pcm for block in agent.blocks)

        await eventually(lambda: loud(heard()) == pytest.approx(1.0, abs=0.05) or f"{loud(heard())} s heard")
        assert pitch(heard()) == pytest.approx(440, abs=2)


async def test_a_track_without_a_room_is_numbered_on_the_socket_until_the_room_is_reachable(livekit: LiveKit) -> None:
    """Nothing is lost and nothing heard twice, by either way."""
    told: list[PhoneEvent] = []
    async with real_rooms(livekit) as (cloud, agent):
        ticket, cloud.ticket = cloud.ticket, lambda: ("ws://127.0.0.1:9", token("me", "me"))
        async with PhoneClient(
            cloud.url, TOKEN, told.append, transport=Transport.TRACK, connect=connector("own"), opus=False
        ) as client:
            await eventually(lambda: events.TrackReplaced(True) in told or "it is not told")
            await eventually(lambda: cloud.live or "the socket does not prove the way")
            clip = tone(1.0)
            await play(client, clip, 100, last=False)
            await eventually(lambda: bytes(cloud.delivered) == clip or f"{len(cloud.delivered)} bytes by the socket")
            cloud.ticket = ticket
            client.network_changed()
            await eventually(lambda: client.room_joined or "not in the room")
            await cloud.acknowledge()
            await eventually(lambda: events.TrackReplaced(False) in told or "the track carries nothing")
            await play(client, tone(1.0), 100)
            await client.flush()
            heard = await eventually_loud(agent)
            assert heard == pytest.approx(1.0, abs=0.05)
            assert bytes(cloud.delivered) == clip, "what went by the track has no numbers"
    assert not any(topic == TOPIC_NUMBERED for topic in (packet.topic for packet in agent.packets))


async def eventually_loud(agent: Agent) -> float:
    """Seconds of sound that the agent heard by tracks, once there is some for a second."""

    def heard() -> float:
        return loud(b"".join(block.pcm for block in agent.blocks))

    await eventually(lambda: heard() > 0.9 or f"{heard()} s heard")
    return heard()


async def test_a_switch_leaves_the_old_place_before_the_new_one_is_taken(
    livekit: LiveKit, kind: ParticipantKind
) -> None:
    """As the server tells the agent (of those who publish it tells at once); the token is from the new cloud."""
    async with (
        real_rooms(livekit) as (a, agent),
        ScriptedCloud(Rooms(), name="B") as b,
        phone(a, kind, Transport.TRACK) as (client, told),
    ):
        b.ticket = a.ticket
        await eventually(lambda: any(found.publishing for found in agent.people[-1].values()) or "no track yet")
        await client.switch(b.url)
        await eventually(lambda: len(present(agent, "me")) == 3 or str(present(agent, "me")))
        first, between, second = present(agent, "me")
        assert between is None, "it had left before it came again"
        assert first != second
        assert (a.tokens, b.tokens) == (1, 1)
        await eventually(lambda: client.room_joined)
        rooms = [event.state for event in told if isinstance(event, events.RoomChanged)]
        assert rooms == ["joined", "left", "joined"], "and was not put out by itself"


@pytest.mark.real
async def test_a_phone_that_slept_longer_than_its_token_lives_takes_one_fresh_place(
    real_livekit: LiveKit, kind: ParticipantKind
) -> None:
    """All that the phone can see of a sleep is a clock that has jumped. LiveKit lets a token live 60 s longer."""
    slept = 0.0
    async with real_rooms(real_livekit) as (cloud, agent):
        cloud.ticket = lambda: (real_livekit.url, token("me", "me", ttl=-58.0 if cloud.tokens == 1 else 600.0, nbf=1))
        world = replace(REAL, since_boot=lambda: REAL.since_boot() + slept)
        async with phone(cloud, kind, Transport.DATA, world) as (client, told):
            await eventually(lambda: cloud.live and cloud.pings > 0)
            await asyncio.sleep(2.5)  # the token's life is over
            heard = len(agent.packets)
            slept = 690.0
            took = await eventually(lambda: len(agent.packets) > heard and cloud.tokens == 2 and client.room_joined)
            assert took < patient(2.0)
            assert [event.state for event in told if isinstance(event, events.RoomChanged)][-1] == "joined"
            await stays(lambda: cloud.tokens == 2 or "one more token", 0.5)
            assert (cloud.tokens, len(cloud.sockets)) == (2, 1), "one fresh token; the socket has answered its probe"


def present(agent: Recorder, identity: str) -> list[str | None]:
    """The ids under which the server listed somebody, one after the other; None while it did not."""
    found: list[str | None] = []
    for people in agent.people:
        sid = people[identity].sid if identity in people else None
        if found[-1:] != [sid] and (found or sid):
            found.append(sid)
    return found
