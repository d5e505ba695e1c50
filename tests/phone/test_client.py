"""The phone client against a scripted cloud on a real socket."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from glassbridge.core import phone_socket
from glassbridge.core.values import LossReason, Transport
from glassbridge.phone import PhoneClient, events
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.socket import base_url
from glassbridge.runtime.errors import UserError
from glassbridge.wire import phone as wire
from glassbridge.wire.audio_frames import TOPIC_NUMBERED, decode_numbered
from glassbridge.wire.close_codes import CloseCode
from tests.phone.scripted import AGENT, TOKEN, Rooms, ScriptedCloud
from tests.support.poll import eventually

E = TypeVar("E")


class Phone:
    """A client and what it told."""

    def __init__(self, client: PhoneClient, told: list[PhoneEvent], rooms: Rooms) -> None:
        self.client, self.told, self.rooms = client, told, rooms

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.told if isinstance(event, kind)]

    async def live(self) -> None:
        def told_live() -> bool | str:
            state = self.client.audio_state
            return (state is not None and state.state == "live") or f"audio is {state}"

        await eventually(told_live)


@asynccontextmanager
async def phone(cloud: str, rooms: Rooms, **options: Any) -> AsyncIterator[Phone]:
    told: list[PhoneEvent] = []
    async with PhoneClient(cloud, options.pop("token", TOKEN), told.append, connect=rooms, **options) as client:
        yield Phone(client, told, rooms)


def noise(samples: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(2 * samples)


async def speak(client: PhoneClient, pcm: bytes, *, samples: int = 1600, last: bool = True) -> None:
    """All at once, in frames."""
    for start in range(0, len(pcm), 2 * samples):
        assert client.speak(pcm[start : start + 2 * samples], last=last and start + 2 * samples >= len(pcm))
    await client.flush()


async def test_an_ack_brings_a_token_a_room_and_a_presence_frame() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        assert cloud.queries == [{"livekit": "true", "audio": "2", "phone": me.client.name, "attempt": "1"}]
        assert rooms.here.token == "room-token-1"
        topic, first = rooms.packets[0]
        number, pcm = decode_numbered(first)
        assert (topic, number.presence, number.position, pcm) == (TOPIC_NUMBERED, True, 0, b"")
        assert [event.state for event in me.all(events.RoomChanged)] == ["joined"]
        assert me.client.agent_present
        assert cloud.messages(wire.GlassesConnectionState)


@pytest.mark.parametrize("transport", [Transport.DATA, Transport.WEBSOCKET])
@pytest.mark.parametrize("numbered", [True, False])
async def test_the_same_bytes_arrive(transport: Transport, numbered: bool) -> None:
    rooms, pcm = Rooms(), noise(16_001)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms, transport=transport, numbered=numbered) as me:
        if numbered:
            await me.live()
        else:
            await eventually(lambda: me.client.session is not None)
            if transport is Transport.DATA:
                await eventually(lambda: me.client.room_joined)
        await speak(me.client, pcm)
        got = cloud.delivered if numbered else cloud.plain
        await eventually(lambda: bytes(got) == pcm or f"{len(got)} of {len(pcm)} bytes")
        assert (cloud.binary > 0) == (transport is Transport.WEBSOCKET)
        assert bool(rooms.packets) == (transport is Transport.DATA)
        if numbered:
            account = cloud.ledger.account()
            assert (account.live, account.lost, account.repeated) == (16_001, 0, 0)


async def test_frames_that_are_none_are_refused() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        for pcm in (b"abc", bytes(401 * 32)):
            with pytest.raises(ValueError, match="frame"):
                me.client.speak(pcm)


async def test_a_track_carries_whole_blocks_and_ends_with_the_microphone() -> None:
    rooms, pcm = Rooms(), noise(3300)  # 10.3 blocks of 20 ms
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms, transport=Transport.TRACK) as me:
        await eventually(lambda: me.client.room_joined)
        await eventually(lambda: bool(rooms.audio))
        await speak(me.client, pcm)
        heard = bytes(rooms.audio)
        silence = heard.index(pcm)
        assert silence % 640 == 0
        assert heard == bytes(silence) + pcm + bytes(-len(pcm) % 640)
        assert [track.published for track in rooms.here.tracks] == [False]
        assert cloud.queries[0]["audio"] == "track", "only what the track does not carry has numbers"


async def test_a_track_ends_when_the_microphone_is_switched_off_in_silence() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms, transport=Transport.TRACK) as me:
        await eventually(lambda: me.client.room_joined and bool(rooms.here.tracks))
        await me.client.microphone(False)
        await eventually(lambda: not rooms.here.tracks[0].published)
        await me.client.microphone(True)
        await eventually(lambda: len(rooms.here.tracks) == 2)


async def test_a_cloud_that_does_not_know_numbers_gets_plain_audio() -> None:
    rooms, pcm = Rooms(), noise(3200)
    async with ScriptedCloud(rooms, original=True) as cloud, phone(cloud.url, rooms) as me:
        await eventually(lambda: me.client.room_joined)
        await speak(me.client, pcm)
        assert bytes(cloud.plain) == pcm
        assert [len(payload) % 2 for _, payload in rooms.packets] == [1, 1], "the original's counter byte"


async def test_the_old_room_is_left_before_the_new_one_is_joined_with_a_token_of_the_new_cloud() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms, name="A") as a, ScriptedCloud(rooms, name="B") as b, phone(a.url, rooms) as me:
        await me.live()
        await me.client.switch(b.url)
        await eventually(lambda: b.tokens == 1 and me.client.room_joined)
        await me.live()
        await me.client.switch(a.url)
        await eventually(lambda: a.tokens == 2 and me.client.room_joined)
        assert rooms.log == ["join ws://A", "leave ws://A", "join ws://B", "leave ws://B", "join ws://A"]
        assert a.sockets[0].close_code == CloseCode.NORMAL
        assert {event.code for event in me.all(events.SocketChanged) if event.state == "closed"} == {CloseCode.NORMAL}
        assert me.client.ended is None


async def test_a_broken_socket_comes_back_and_keeps_the_room() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        cloud.abort()
        await eventually(lambda: len(me.all(events.Acknowledged)) == 2, within=2.0)
        await me.live()
        assert me.all(events.Acknowledged)[1].resumed
        assert rooms.log == ["join ws://A"], "the place is the same session's: it stays"


async def test_a_cloud_that_restarts_finds_its_phone_again() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await cloud.stop()
        cloud.known = False
        await eventually(lambda: len(me.all(events.SocketChanged)) >= 4)
        await cloud.start()
        await eventually(lambda: len(me.all(events.Acknowledged)) == 2, within=2.0)
        await eventually(lambda: rooms.log[-1] == "join ws://A" and len(rooms.log) == 3)


async def test_a_lost_place_is_taken_again_with_a_fresh_token() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        rooms.refusals = 2
        rooms.here.end(LossReason.NETWORK)
        await eventually(lambda: me.client.room_joined)
        assert rooms.here.token == "room-token-4"
        assert [event.state for event in me.all(events.RoomChanged)] == ["joined", "lost", "failed", "failed", "joined"]


async def test_audio_goes_by_the_socket_while_there_is_no_room_and_nothing_is_lost() -> None:
    rooms, pcm = Rooms(), noise(9600)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await speak(me.client, pcm[:6400], last=False)
        rooms.refusals = 1000
        rooms.here.end(LossReason.NETWORK)
        await eventually(lambda: not me.client.room_joined)
        await speak(me.client, pcm[6400:12_800], last=False)
        await eventually(lambda: cloud.binary > 0)
        rooms.refusals = 0
        await eventually(lambda: me.client.room_joined)
        await speak(me.client, pcm[12_800:])
        await eventually(lambda: bytes(cloud.delivered) == pcm or f"{len(cloud.delivered)} bytes")
        assert cloud.ledger.account().lost == 0


async def test_audio_goes_by_the_socket_when_the_cloud_says_so() -> None:
    rooms, pcm = Rooms(), noise(3200)
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        cloud.path = "websocket"
        await cloud.state("unavailable", code="unreachable", reason="no bridge", transport="websocket")
        await me.live()  # by a presence frame on the socket
        await speak(me.client, pcm)
        await eventually(lambda: bytes(cloud.delivered) == pcm or f"{len(cloud.delivered)} bytes")
        assert me.client.sender.counts.sent.keys() == {me.client.sender.routes.carrier}
        cloud.path = "livekit"
        await cloud.state("live", transport="livekit")
        await eventually(
            lambda: me.client.sender.routes.carrier is not None and me.client.sender.routes.carrier.value == "data"
        )


async def test_presence_goes_on_each_second_and_says_when_the_microphone_is_off() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        count = len(rooms.packets)
        await eventually(lambda: len(rooms.packets) > count, within=1.5)
        await me.client.microphone(False)
        await eventually(lambda: decode_numbered(rooms.packets[-1][1])[0].last or "no presence with LAST")
        assert not me.client.speak(bytes(640)), "nothing is captured while the microphone is off"
        assert cloud.ledger.account().epochs[0].microphone_off
        last = cloud.messages(wire.MicrophoneStateChange)[-1]
        assert isinstance(last, wire.MicrophoneStateChange)
        assert not last.is_microphone_enabled


async def test_the_cloud_may_switch_the_microphone() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await cloud.say(wire.MicrophoneStateChange(is_microphone_enabled=False, required_data=[]))
        await eventually(lambda: not me.client.microphone_on)
        await cloud.say(wire.MicrophoneStateChange(is_microphone_enabled=True, required_data=["pcm"]))
        await eventually(lambda: me.client.microphone_on)
        assert [event.on for event in me.all(events.MicrophoneAsked)] == [False, True]


async def test_what_is_acknowledged_is_not_kept() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await speak(me.client, noise(4800), last=False)
        assert [frame.number.position for frame in me.client.capture.kept] == [0, 1600, 3200]
        await cloud.say(wire.AudioAck(epoch=me.client.capture.epoch, position=3200))
        await eventually(lambda: len(me.client.capture.kept) == 1)
        assert me.all(events.AudioAcknowledged)[-1].position == 3200


@pytest.mark.parametrize("code", [CloseCode.SUPERSEDED, CloseCode.SESSION_ENDED, CloseCode.POLICY])
async def test_a_final_close_code_ends_the_phone(code: CloseCode) -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await cloud.sockets[-1].close(code=code)
        await eventually(lambda: me.client.ended is not None)
        assert me.client.ended is not None
        assert code.meaning in me.client.ended.message
        await eventually(lambda: not me.client.room_joined)
        assert len(cloud.sockets) == 1


@pytest.mark.parametrize("code", [CloseCode.DRAINING, CloseCode.GOING_AWAY, CloseCode.INTERNAL, 4999])
async def test_other_close_codes_bring_it_back(code: int) -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await cloud.sockets[-1].close(code=code)
        await eventually(lambda: len(cloud.sockets) == 2, within=2.0)
        assert me.client.ended is None


async def test_a_silent_cloud_is_noticed() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await eventually(lambda: cloud.pings > 0)
        cloud.answers_pings = False
        await eventually(lambda: len(cloud.sockets) == 2, within=phone_socket.SILENCE + 5.0)


async def test_a_way_that_breaks_right_after_the_acknowledgement_is_missed() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        cloud.answers_pings = False
        async with phone(cloud.url, rooms) as me:
            await eventually(lambda: me.client.session is not None)
            await eventually(lambda: len(cloud.sockets) == 2, within=10.0)


async def test_a_cloud_that_never_answers_pings_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_socket, "PING_EVERY", 0.05)
    monkeypatch.setattr(phone_socket, "SILENCE", 0.2)
    rooms = Rooms()
    async with ScriptedCloud(rooms, original=True) as cloud, phone(cloud.url, rooms) as me:
        await eventually(lambda: me.client.session is not None)
        await asyncio.sleep(0.6)  # three times what would be too long
        assert len(cloud.sockets) == 1


async def test_a_network_that_goes_away_comes_back() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        await me.client.drop(0.5)
        assert not me.client.room_joined
        assert rooms.places[0].vanished
        await eventually(lambda: [event.state for event in me.all(events.RoomChanged)] == ["joined", "lost"])
        took = await eventually(lambda: len(cloud.sockets) == 2)
        assert took > 0.3
        await me.live()
        assert cloud.sockets[0].close_code == CloseCode.ABNORMAL


async def test_a_refused_token_ends_the_phone_with_advice() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms, token="another") as me:
        await eventually(lambda: me.client.ended is not None)
        assert me.client.ended is not None
        assert "glassbridge token" in me.client.ended.message
        assert "another" not in repr(me.told)


async def test_nobody_there_is_told_and_tried_again() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud:
        await cloud.stop()
        async with phone(cloud.url, rooms) as me:
            await eventually(lambda: len(me.all(events.SocketChanged)) >= 3)
            assert {event.state for event in me.all(events.SocketChanged)} == {"unreachable"}


async def test_nonsense_from_the_cloud_changes_nothing() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        for text in ("", "{", "[]", '{"type": 7}', '{"type": "audio_ack"}', '{"type": "news"}', "x" * 1_000_000):
            await cloud.say_raw(text)
        await cloud.say(wire.ConnectionError_(code="MALFORMED_MESSAGE", message="what?"))
        await eventually(lambda: bool(me.all(events.CloudError)))
        assert len(cloud.sockets) == 1


async def test_played_sound_is_counted() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        for _ in range(60):
            rooms.here.sound(b"\x00\x40" * 320)
        assert me.client.heard_ms == 1200
        assert [(heard.ms, heard.level) for heard in me.all(events.RoomSound)] == [(1000, 0.5)]
        assert cloud.url == me.client.cloud


async def test_agents_come_and_go() -> None:
    rooms = Rooms()
    async with ScriptedCloud(rooms) as cloud, phone(cloud.url, rooms) as me:
        await me.live()
        rooms.here.meet()
        rooms.here.meet("somebody", AGENT)
        assert [event.present for event in me.all(events.AgentChanged)] == [True, False, True]
        assert cloud.tokens == 1


@pytest.mark.parametrize(
    "url", ["", "here", "ftp://x", "http://", "http://a b", "http://u:p@host", "http://h/?token=x"]
)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="URL") as refused:
        base_url(url)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("url", "base"),
    [("http://h:1/", "http://h:1"), ("ws://h:1", "http://h:1"), ("wss://h/base/", "https://h/base")],
)
def test_a_base_url_has_one_spelling(url: str, base: str) -> None:
    assert base_url(url) == base
