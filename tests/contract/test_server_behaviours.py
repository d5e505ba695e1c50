"""What LiveKit servers do beside rooms and tracks: tokens that are refreshed, people who are hidden or say little of
themselves, newer protocols, and tokens that allow less than a phone needs. Real servers where these can be made to."""

import asyncio
import logging

import aiohttp
import pytest

from glassbridge.core.values import LossReason
from glassbridge.livekit import signal
from glassbridge.livekit.embedded import EmbeddedLiveKit
from glassbridge.livekit.own import connect
from glassbridge.livekit.participant import ConnectOptions, ParticipantError
from tests.support.livekit import KEYS, LiveKit, token
from tests.support.participants import Recorder
from tests.support.places import OWN, ROOM, Kind, Seats
from tests.support.poll import eventually

PATIENCE = 8.0


async def test_a_refreshed_token_changes_nothing_and_is_not_logged(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty of them in a second, as a server sends one every some minutes."""
    caplog.set_level(logging.DEBUG)
    async with EmbeddedLiveKit(KEYS, refresh_interval=0.05) as server:
        seats = Seats(server.url)
        ann, bob = await seats.join(kind, "ann"), await seats.join(OWN, "bob")
        await asyncio.sleep(1.0)
        await bob.place.send(b"still here")
        await eventually(lambda: ann.heard.payloads == [b"still here"] or f"{ann.heard.payloads}", PATIENCE)
        assert ann.place.closed is None
        await seats.leave_all()
    assert "eyJ" not in caplog.text


@pytest.mark.real
async def test_hidden_participants_hear_and_are_not_seen(kind: Kind, real_livekit: LiveKit) -> None:
    """A recorder of an operator: no phone, nobody in the roster, and no reason to end anything."""
    seats = Seats(real_livekit.url)
    listener = await seats.join(kind, "listener")
    hidden = await seats.join(OWN, "hidden", pass_=token("hidden", video={"hidden": True, "recorder": True}))
    phone = await seats.join(OWN, "phone")
    await eventually(lambda: listener.place.remote.keys() == {"phone"} or f"{listener.place.remote}", PATIENCE)
    everybody = {"listener", "phone"}
    await eventually(lambda: hidden.place.remote.keys() == everybody or f"{hidden.place.remote}", PATIENCE)
    await phone.place.send(b"a word")
    await eventually(lambda: hidden.heard.payloads == [b"a word"] or f"{hidden.heard.payloads}", PATIENCE)
    await hidden.place.close()
    await phone.place.send(b"another")
    await eventually(
        lambda: listener.heard.payloads == [b"a word", b"another"] or f"{listener.heard.packets}", PATIENCE
    )
    assert listener.place.remote.keys() == {"phone"}
    await seats.leave_all()


async def test_people_may_say_nothing_or_much_of_themselves(kind: Kind, seats: Seats) -> None:
    """Metadata, a name and attributes are optional, and none of our business."""
    listener = await seats.join(kind, "listener")
    await seats.join(OWN, "silent", pass_=token("silent", name=None, metadata=None))
    await seats.join(
        OWN, "chatty", pass_=token("chatty", name="🎙" * 50, metadata="m" * 2_000, attributes={"a": "x" * 500})
    )
    await eventually(
        lambda: listener.place.remote.keys() == {"silent", "chatty"} or f"{listener.place.remote}", PATIENCE
    )
    assert all(person.may_publish for person in listener.place.remote.values())


@pytest.mark.real
async def test_the_servers_protocol_is_newer_than_ours(real_livekit: LiveKit) -> None:
    """So every test here on a real server is one of a newer protocol. Should ours catch up, this one says so."""
    query = signal.JoinQuery().params()
    async with aiohttp.ClientSession() as http:
        headers = signal.auth_headers(token("ann", ROOM))
        async with http.ws_connect(f"{real_livekit.url}{signal.JOIN_PATH}", params=query, headers=headers) as socket:
            kind, join = signal.decode_response((await socket.receive(PATIENCE)).data)
    assert kind == "join"
    assert join.server_info.protocol > signal.PROTOCOL


@pytest.mark.parametrize(
    "grants",
    [
        {"canSubscribe": False, "canPublish": False, "canPublishData": False},
        {"canSubscribe": False, "canPublish": False},
        {"canSubscribe": False},
    ],
    ids=["to do nothing", "data only", "to publish only"],
)
async def test_a_token_that_does_not_let_us_hear_is_named(livekit: LiveKit, grants: dict[str, bool]) -> None:
    """LiveKit lets such a participant in, and then offers it no way: that is no fault of the media path. (The SDK
    joins, and never hears anything.)"""
    with pytest.raises(ParticipantError) as caught:
        await connect(livekit.url, token("ann", ROOM, video=grants), Recorder(), ConnectOptions(timeout=5.0))
    assert caught.value.reason is LossReason.TOKEN_REFUSED
    assert caught.value.detail == "it does not allow to hear others in this room"


@pytest.mark.real
async def test_attributes_over_the_limit_of_the_server_are_named(real_livekit: LiveKit) -> None:
    """All that LiveKit answers is HTTP 500."""
    with pytest.raises(ParticipantError) as caught:
        await connect(real_livekit.url, token("ann", ROOM, attributes={"a": "x" * 100_000}), Recorder())
    assert caught.value.reason is LossReason.LIMIT_EXCEEDED
    assert caught.value.detail == "the token's attributes are larger than LiveKit allows"
