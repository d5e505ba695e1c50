"""The stand-in where it can be compared with the real server, and where only it can be asked.

What participants see of either is the contract suite's matter (tests/contract).
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time
from typing import Any

import aiohttp
import pytest
from aiortc import RTCCertificate
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models, rtc

from glassbridge.livekit import own
from glassbridge.livekit.binary import LiveKitServerError
from glassbridge.livekit.embedded import EmbeddedLiveKit, link
from glassbridge.livekit.embedded.room import relabel
from glassbridge.livekit.embedded.sdp import LocalTransport, Slot, answer, offer, parse
from glassbridge.livekit.own import OwnParticipant
from glassbridge.livekit.rooms import RoomService
from glassbridge.livekit.signal import (
    Signal,
    SignalError,
    TrackRef,
    audio_tracks,
    auth_headers,
    decode_response,
    encode_request,
)
from glassbridge.livekit.tokens import LiveKitKeys, expires_at
from tests.support.livekit import KEYS, LiveKit, expired_token, forged_token, future_token, token
from tests.support.participants import Recorder
from tests.support.patience import deadline, patient
from tests.support.poll import eventually
from tests.support.process import Program


class RawClient:
    """A signalling socket without a participant around it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def next(self, kind: str = "") -> Signal:
        """The next message, or the next one of a kind."""
        async with deadline(5):
            while True:
                signal = decode_response(await self.socket.receive_bytes())
                if kind in ("", signal.kind):
                    return signal

    async def send(self, **field: Message) -> None:
        await self.socket.send_bytes(encode_request(**field))

    async def pong(self) -> None:
        """Returns when the server answers a ping: it has read everything before, and is well."""
        await self.send(ping_req=rtc.Ping(timestamp=1))
        await self.next("pong_resp")


@asynccontextmanager
async def raw(server: LiveKit, who: str = "raw", query: str = "?protocol=15&sdk=go") -> AsyncIterator[RawClient]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/rtc{query}", headers=auth_headers(token(who))) as socket,
    ):
        yield RawClient(socket)


async def joined(server: LiveKit, who: str) -> tuple[OwnParticipant, Recorder]:
    heard = Recorder()
    return await own.connect(server.url, token(who), heard), heard


REFUSALS: dict[str, Callable[[], str]] = {
    "expired": lambda: expired_token("ann"),
    "forged": lambda: forged_token("ann"),
    "not yet valid": lambda: future_token("ann"),
    "garbage": lambda: "garbage",
    "empty": lambda: "",
    "unknown key": lambda: token("ann", iss="nobody"),
    "no join": lambda: token("ann", video={"roomJoin": False}),
    "no room": lambda: token("ann", room=""),
    "no identity": lambda: token(""),
}


@pytest.mark.real
@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("path", ["/rtc/validate", "/rtc"])
async def test_tokens_are_refused_in_the_real_servers_words(
    kind: str, path: str, real_livekit: LiveKit, embedded_livekit: LiveKit
) -> None:
    bad = REFUSALS[kind]()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    answers = []
    async with aiohttp.ClientSession() as session:
        for server in (real_livekit, embedded_livekit):
            address = server.url.replace("ws:", "http:") + path
            async with session.get(address, headers=auth_headers(bad) | upgrade) as response:
                answers.append((response.status, (await response.text()).strip()))
    assert answers[0][0] in (400, 401)
    assert answers[1] == answers[0]


async def test_a_good_token_validates_in_header_and_query(livekit: LiveKit) -> None:
    address = livekit.url.replace("ws:", "http:") + "/rtc/validate"
    async with aiohttp.ClientSession() as session:
        async with session.get(address, headers=auth_headers(token("ann"))) as response:
            assert (response.status, await response.text()) == (200, "success")
        async with session.get(address, params={"access_token": token("ann")}) as response:
            assert response.status == 200


async def test_newer_clients_learn_to_take_the_older_path_and_pages_may_ask(embedded_livekit: LiveKit) -> None:
    http = embedded_livekit.url.replace("ws:", "http:")
    page = {"Origin": "http://example.com"}
    async with aiohttp.ClientSession(headers=page) as session:
        for path in ("/rtc/v1", "/rtc/v1/validate"):
            async with session.get(http + path, headers=auth_headers(token("ann"))) as response:
                assert response.status == 404
                assert response.headers["Access-Control-Allow-Origin"] == "*"
        ask = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        async with session.options(http + "/rtc/validate", headers=ask) as response:
            assert response.ok
            assert response.headers["Access-Control-Allow-Headers"] == "authorization"


async def test_a_join_is_answered_with_who_is_there_and_a_refreshed_token(livekit: LiveKit) -> None:
    ann, _ = await joined(livekit, "ann")
    async with raw(livekit) as client:
        kind, join = await client.next()
        assert kind == "join"
        assert (join.room.name, join.participant.identity) == ("room", "raw")
        assert [p.identity for p in join.other_participants] == ["ann"]
        assert (join.subscriber_primary, join.ping_interval, join.ping_timeout) == (True, 5, 15)
        refreshed = (await client.next("refresh_token")).body
        assert (expires_at(refreshed) or 0) - time() == pytest.approx(600, abs=3)
        await client.pong()
    await ann.close()


async def test_tokens_are_refreshed_again_and_again() -> None:
    async with EmbeddedLiveKit(KEYS, refresh_interval=0.05) as server, raw(server) as client:
        for _ in range(3):
            await client.next("refresh_token")


async def test_nobody_is_resumed(embedded_livekit: LiveKit) -> None:
    ann, heard = await joined(embedded_livekit, "raw")
    async with raw(embedded_livekit, query="?protocol=15&reconnect=1&sid=PA_1") as client:
        leave = (await client.next()).body
        assert (leave.reason, leave.action) == (models.STATE_MISMATCH, rtc.LeaveRequest.RECONNECT)
    assert heard.closed == []
    await ann.close()


async def test_of_many_joins_at_once_one_is_left(livekit: LiveKit) -> None:
    heard = [Recorder() for _ in range(12)]
    tries = (own.connect(livekit.url, token("ann"), ears) for ears in heard)
    places = await asyncio.gather(*tries, return_exceptions=True)
    held = [place for place in places if isinstance(place, OwnParticipant)]
    if not held:  # each put the one before it out, and the server gave up the last (real 1.13.5, JOIN_FAILURE)
        held = [await own.connect(livekit.url, token("ann"), Recorder())]
    await eventually(lambda: sum(place.closed is None for place in held) == 1 or f"{[p.closed for p in held]}")
    (winner,) = (place for place in held if place.closed is None)
    async with RoomService(livekit.url, KEYS) as service:
        assert [found.sid for found in await service.participants("room")] == [winner.sid]
    await asyncio.gather(*(place.close() for place in held))
    await own.drain_closing()


VISITOR = """
import asyncio, sys
from glassbridge.livekit import own
from tests.support.participants import Recorder

async def main():
    await own.connect(sys.argv[1], sys.argv[2], Recorder())
    print("joined", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_client_that_dies_is_put_out_when_its_media_is_dead_for_long(
    monkeypatch: pytest.MonkeyPatch, embedded_livekit: LiveKit
) -> None:
    monkeypatch.setattr(link, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(link, "CONSENT_MISSES", 3)
    bob, _ = await joined(embedded_livekit, "bob")
    async with Program.python(VISITOR, embedded_livekit.url, token("ann")) as visitor:
        await visitor.says("joined")
        await eventually(lambda: "ann" in bob.remote or "bob was not told of ann")
        visitor.signal(signal.SIGKILL)
    async with RoomService(embedded_livekit.url, KEYS) as service:
        assert len(await service.participants("room")) == 2
    took = await eventually(lambda: "ann" not in bob.remote or "ann is still listed", within=10)
    assert took > 0.5
    await bob.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_clients_hear_of_its_end_or_do_not(how: str, embedded_livekit: LiveKit) -> None:
    place, heard = await joined(embedded_livekit, "ann")
    await getattr(embedded_livekit, how)()
    await eventually(lambda: bool(heard.closed) or "nothing heard")
    assert heard.reason == ("server_shutdown" if how == "stop" else "network")
    await place.close()
    await embedded_livekit.start()
    again, _ = await joined(embedded_livekit, "ann")
    await again.close()


async def test_a_port_in_use_is_told(embedded_livekit: LiveKit) -> None:
    with pytest.raises(LiveKitServerError, match=f"port {embedded_livekit.port} is in use"):
        await EmbeddedLiveKit(KEYS, port=embedded_livekit.port).start()


def test_a_weak_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        EmbeddedLiveKit(LiveKitKeys("devkey", "secret"))


JUNK_SDP = [
    "",
    "v=0",
    "\0\xff",
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=setup:actpass\r\n",
    "v=0\r\nm=audio x y z\r\n",
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=fmtp:96 x=1\r\n",
]


async def test_junk_disturbs_nobody(embedded_livekit: LiveKit) -> None:
    ann, to_ann = await joined(embedded_livekit, "ann")
    bob, _ = await joined(embedded_livekit, "bob")
    async with raw(embedded_livekit) as client:
        for junk in (b"", b"\xff" * 100, os.urandom(1000), bytes(200_000)):
            await client.socket.send_bytes(junk)
        await client.socket.send_str("text")
        for text in JUNK_SDP:
            await client.send(offer=rtc.SessionDescription(type="offer", sdp=text))
            await client.send(answer=rtc.SessionDescription(type="answer", sdp=text))
        await client.send(trickle=rtc.TrickleRequest(candidateInit="{"))
        await client.send(mute=rtc.MuteTrackRequest(sid="TR_no", muted=True))
        await client.send(subscription=rtc.UpdateSubscription(track_sids=["TR_no"], subscribe=True))
        await client.send(add_track=rtc.AddTrackRequest(cid="v", type=models.VIDEO))
        await client.pong()
    async with raw(embedded_livekit) as client:
        await client.next("join")
        await client.socket.send_bytes(bytes(1 << 20))
        while not client.socket.closed:
            await client.socket.receive()
        assert client.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    await bob.send(b"all is well")
    await eventually(lambda: b"all is well" in to_ann.payloads or "no packet came")
    await asyncio.gather(ann.close(), bob.close())


def spare_link(**options: object) -> link.MediaLink:
    certificate = RTCCertificate.generateCertificate()
    nothing: dict[str, Any] = {"offering": True, "on_data": lambda label, data: None, "on_lost": lambda: None}
    return link.MediaLink("127.0.0.1", certificate, **nothing | options)


async def test_media_is_received_on_the_given_address_alone() -> None:
    spare = spare_link()
    end = await spare.open()
    assert len(end.candidates) == 1
    assert " 127.0.0.1 " in end.candidates[0]
    await spare.close()


@pytest.mark.parametrize("silently", [True, False])
async def test_two_links_connect_and_closing_at_any_moment_leaves_nothing(silently: bool) -> None:
    for delay in (0, 0.001, 0.005, 0.02, 0.05, 0.1):
        ends = spare_link(), spare_link(offering=False)
        offer_end, answer_end = [await end.open() for end in ends]
        ends[0].offer_channels()
        offered = parse(offer(offer_end, [], 1))
        starts = [
            asyncio.create_task(ends[1].start(offered)),
            asyncio.create_task(ends[0].start(parse(answer(offered, answer_end)))),
        ]
        await asyncio.sleep(delay)
        for task in starts:
            task.cancel()
        await asyncio.wait(starts)
        for end in ends:
            await end.close(silently=silently)
    assert ends[0].connected is False


@given(st.text())
def test_no_description_makes_the_parser_stumble(text: str) -> None:
    with pytest.raises(SignalError):
        parse(text)


END = LocalTransport("abcd", "p" * 22, "sha-256 AA:BB", ("1 1 udp 2130706431 127.0.0.1 5000 typ host",))


def test_offers_name_their_tracks_and_recycle_lines() -> None:
    first, idle = Slot("1"), Slot("2")
    first.take(TrackRef("PA_1", "TR_1"))
    text = offer(END, [first, idle], 1)
    assert audio_tracks(text) == {first.ssrc: TrackRef("PA_1", "TR_1")}
    assert [(line.kind, line.mid) for line in parse(text).lines] == [
        ("application", "0"),
        ("audio", "1"),
        ("audio", "2"),
    ]
    assert text.count("a=inactive") == 1
    before = first.ssrc
    first.take(TrackRef("PA_2", "TR_2"))
    assert first.ssrc != before


def test_answers_accept_sound_and_refuse_pictures() -> None:
    lines = ["m=audio 9 UDP/TLS/RTP/SAVPF 63 109", "a=mid:a", "a=sendonly", "a=rtpmap:63 red/48000/2"]
    lines += ["a=rtpmap:109 opus/48000/2", "a=msid:stream track-id", "a=ssrc:77 cname:x"]
    lines += ["m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:v", "a=sendonly", "a=rtpmap:96 VP8/90000"]
    head = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-ufrag:u", "a=ice-pwd:p", "a=setup:actpass"]
    remote = parse("\r\n".join([*head, "a=fingerprint:sha-256 AA", *lines, ""]))
    sound, picture = remote.lines
    assert (sound.sends, sound.cid, sound.ssrc, sound.opus) == (True, "track-id", 77, 109)
    assert not picture.sends
    text = answer(remote, END)
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 109" in text
    assert "a=recvonly" in text
    assert "m=video 0 " in text
    assert "a=group:BUNDLE a\r\n" in text


def test_rtp_is_relabelled_without_extensions_sources_and_padding() -> None:
    head = bytes((0x80, 0x80 | 96)) + b"\x12\x34" + b"\x00\x00\x10\x00" + b"\x00\x00\x00\x07"
    want = bytes((0x80, 0x80 | 111)) + head[2:8] + b"\x00\x00\x00\x09" + b"opus"
    assert relabel(head + b"opus", 9, 111) == want
    extended = bytes((0x90 | 0x20 | 1, *head[1:])) + b"CSRC" + b"\xbe\xde\x00\x01" + b"ext!" + b"opus" + b"\0\0\x03"
    assert relabel(extended, 9, 111) == want
    assert relabel(head, 9, 111) is None
    assert relabel(bytes((0xA0, *head[1:])) + b"\0\0\x03", 9, 111) is None


OFFLINE = """
import asyncio, sys
from glassbridge.livekit import own
from glassbridge.livekit.embedded import EmbeddedLiveKit
from tests.support.livekit import KEYS, real_server, token
from tests.support.participants import Recorder
from tests.support.poll import eventually

async def main():
    async with real_server() if sys.argv[1] == "real" else EmbeddedLiveKit(KEYS) as server:
        ears = Recorder()
        ann = await own.connect(server.url, token("ann"), Recorder())
        bob = await own.connect(server.url, token("bob"), ears)
        await ann.send(b"offline")
        await eventually(lambda: ears.payloads == [b"offline"])
        await asyncio.gather(ann.close(), bob.close())

asyncio.run(main())
print("heard")
"""


@pytest.mark.parametrize("kind", [pytest.param("real", marks=pytest.mark.real), "embedded"])
def test_it_works_where_loopback_is_the_only_interface(kind: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    script = f'ip link set lo up && exec {sys.executable} -c "$0" {kind}'
    done = subprocess.run(
        [unshare, "-rn", "sh", "-c", script, OFFLINE], capture_output=True, text=True, timeout=patient(30)
    )
    assert "heard" in done.stdout, done.stderr
