"""What is particular to our own participant: what it says to a server, and what it makes of odd ones."""

import asyncio
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from aiohttp import web
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit import signal
from glassbridge.livekit.media import Sound
from glassbridge.livekit.own import OwnParticipant, connect, drain_closing
from glassbridge.livekit.participant import ConnectOptions, ParticipantError, RelayUse
from glassbridge.livekit.relay import Relay
from glassbridge.livekit.roster import Roster
from glassbridge.livekit.server import free_port
from glassbridge.livekit.signal import TrackRef, UserData
from glassbridge.livekit.subscriber import Subscriber
from tests.support.livekit import LiveKit, real_server, token
from tests.support.participants import Recorder
from tests.support.patience import patient, soon
from tests.support.poll import eventually

TOKEN = token("ann", ttl=86_400.0)  # made when the suite is collected: it has to outlive that
JOIN = rtc.JoinResponse(
    room=models.Room(name="room"),
    participant=models.ParticipantInfo(sid="PA_ann", identity="ann"),
    ping_interval=5,
    ping_timeout=15,
)

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """A server that does what it is told at /rtc."""
    app = web.Application()
    app.router.add_get("/rtc", script)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def saying(*messages: bytes, heard: list[signal.Signal] | None = None) -> Script:
    """Lets the client in, says this, and listens until it goes."""

    async def script(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for said in messages:
            await socket.send_bytes(said)
        async for message in socket:
            if heard is not None:
                heard.append(signal.decode_request(message.data))
        return socket

    return script


async def failure(url: str, **options: float | str) -> ParticipantError:
    """The error of a join that must fail."""
    with pytest.raises(ParticipantError) as caught:
        await connect(url, TOKEN, Recorder(), ConnectOptions(**options))  # type: ignore[arg-type]
    await drain_closing()
    return caught.value


# --- what it says ---------------------------------------------------------------------------------------------------


async def test_it_asks_as_agreed_and_keeps_the_token_out_of_the_url() -> None:
    requests: list[web.Request] = []

    async def script(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        raise web.HTTPServiceUnavailable

    async with scripted(script) as url:
        await failure(f"{url}/?token=mine#here")
        await failure(url.replace("ws:", "http:"))
    for request in requests:
        assert dict(request.query) == {"protocol": "15", "sdk": "go", "version": "1.0.0", "auto_subscribe": "0"}
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert "token" not in str(request.url)
    assert len(requests) == 2


async def test_it_wants_sound_and_no_video() -> None:
    people = [
        models.ParticipantInfo(
            sid="PA_bob",
            identity="bob",
            tracks=[
                models.TrackInfo(sid="TR_mic", type=models.AUDIO),
                models.TrackInfo(sid="TR_cam", type=models.VIDEO),
                models.TrackInfo(sid="TR_data", type=models.DATA),
            ],
        )
    ]
    update = rtc.ParticipantUpdate(participants=people)
    heard: list[signal.Signal] = []
    script = saying(signal.encode_response(join=JOIN), *[signal.encode_response(update=update)] * 3, heard=heard)
    async with scripted(script) as url:
        await failure(url, timeout=0.5)
    wishes = [body for kind, body in heard if kind == "subscription"]
    assert [(list(wish.track_sids), wish.subscribe) for wish in wishes] == [(["TR_mic"], True)]


async def test_it_says_leave_when_it_gives_up() -> None:
    heard: list[signal.Signal] = []
    async with scripted(saying(signal.encode_response(join=JOIN), heard=heard)) as url:
        error = await failure(url, timeout=1.2)
    assert error.reason is LossReason.MEDIA_FAILED
    assert [kind for kind, _ in heard] == ["ping_req", "leave"]
    assert heard[-1].body.reason == models.CLIENT_INITIATED


# --- what it makes of odd servers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, LossReason.TOKEN_REFUSED),
        (401, LossReason.TOKEN_REFUSED),
        (403, LossReason.TOKEN_REFUSED),
        (404, LossReason.UNREACHABLE),
        (418, LossReason.UNREACHABLE),
        (503, LossReason.UNREACHABLE),
        (599, LossReason.UNREACHABLE),
        (200, LossReason.UNREACHABLE),
    ],
)
async def test_a_refused_upgrade(status: int, reason: LossReason) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=f"invalid token: {TOKEN}")

    async with scripted(script) as url:
        error = await failure(url)
    assert error.reason is reason
    assert TOKEN not in f"{error} {error!r}"


@pytest.mark.parametrize("action", [rtc.LeaveRequest.DISCONNECT, rtc.LeaveRequest.RESUME, rtc.LeaveRequest.RECONNECT])
@pytest.mark.parametrize("number", [*models.DisconnectReason.values(), 99])
async def test_a_leave_ends_it_whatever_it_proposes(number: int, action: "rtc.LeaveRequest.Action") -> None:
    leave = rtc.LeaveRequest(reason=number, action=action, can_reconnect=True)  # type: ignore[arg-type]
    heard: list[signal.Signal] = []
    script = saying(signal.encode_response(join=JOIN), signal.encode_response(leave=leave), heard=heard)
    async with scripted(script) as url:
        error = await failure(url)
    expected = signal.loss_reason(number)
    assert error.reason is (LossReason.NETWORK if expected is LossReason.CLOSED else expected)
    assert heard == []


async def test_a_leave_that_names_other_regions_ends_it() -> None:
    """Where to go next is the cloud's decision, not the server's."""
    region = rtc.RegionInfo(region="elsewhere", url="ws://127.0.0.1:9", distance=1)
    leave = rtc.LeaveRequest(
        reason=models.SERVER_SHUTDOWN,
        action=rtc.LeaveRequest.RECONNECT,
        regions=rtc.RegionSettings(regions=[region] * 100),
    )
    heard: list[signal.Signal] = []
    script = saying(signal.encode_response(join=JOIN), signal.encode_response(leave=leave), heard=heard)
    async with scripted(script) as url:
        assert (await failure(url)).reason is LossReason.SERVER_SHUTDOWN
    assert heard == []


async def test_a_server_of_a_newer_protocol_is_joined() -> None:
    """It tells of its protocol, of settings that we do not know, and of people in fields that we do not know."""
    join = rtc.JoinResponse.FromString(JOIN.SerializeToString() + b"\xf2\x3f\x03new")
    join.server_info.protocol = 99
    join.server_info.version = "9.0.0"
    join.other_participants.add(sid="PA_bob", identity="bob").kind = 77  # type: ignore[assignment]
    recorder = Recorder()
    async with scripted(saying(signal.encode_response(join=join))) as url:
        with pytest.raises(ParticipantError) as caught:
            await connect(url, TOKEN, recorder, ConnectOptions(timeout=0.5))
    assert caught.value.reason is LossReason.MEDIA_FAILED, "the test's server has no media"
    assert recorder.people[-1].keys() == {"bob"}


async def test_people_without_metadata_state_or_permissions_are_known() -> None:
    person = models.ParticipantInfo(sid="PA_bob", identity="bob")
    update = signal.encode_response(update=rtc.ParticipantUpdate(participants=[person]))
    recorder = Recorder()
    async with scripted(saying(signal.encode_response(join=JOIN), update)) as url:
        with pytest.raises(ParticipantError):
            await connect(url, TOKEN, recorder, ConnectOptions(timeout=0.5))
    assert recorder.people[-1]["bob"].may_publish
    assert recorder.people[-1]["bob"].tracks == ()


async def test_of_a_large_update_little_is_kept() -> None:
    """6 MB of metadata are read, and not held."""
    person = models.ParticipantInfo(sid="PA_1", identity="bob", metadata="m" * 6_000_000)
    roster = Roster()
    message = signal.encode_response(update=rtc.ParticipantUpdate(participants=[person]))
    del person
    tracemalloc.start()
    try:
        roster.meet(signal.decode_response(message).body.participants)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert roster.remote.keys() == {"bob"}
    assert kept < 200_000


async def test_a_moved_room_ends_it() -> None:
    moved = signal.encode_response(room_moved=rtc.RoomMovedResponse())
    async with scripted(saying(signal.encode_response(join=JOIN), moved)) as url:
        assert (await failure(url)).reason is LossReason.SERVER_SHUTDOWN


async def test_what_it_does_not_know_is_passed_over() -> None:
    unknown = [b"\xfa\x3e\x01x", signal.encode_response(speakers_changed=rtc.SpeakersChanged()), b""]
    script = saying(*unknown, signal.encode_response(join=JOIN), *unknown)
    async with scripted(script) as url:
        assert (await failure(url, timeout=0.5)).reason is LossReason.MEDIA_FAILED


JUNK = {
    "no message": b"\xff\xff\xff\xff",
    "no candidate": signal.encode_response(trickle=rtc.TrickleRequest(candidateInit="{", target=rtc.SUBSCRIBER)),
    "no line of a candidate": signal.encode_response(
        trickle=rtc.TrickleRequest(candidateInit='{"candidate": "candidate:1 1 udp", "sdpMid": "0"}')
    ),
    "a deep candidate": signal.encode_response(trickle=rtc.TrickleRequest(candidateInit="[" * 100_000)),
    "no object": signal.encode_response(trickle=rtc.TrickleRequest(candidateInit="[]")),
    "no description": signal.encode_response(offer=rtc.SessionDescription(type="offer", sdp="junk")),
    "no media": signal.encode_response(offer=rtc.SessionDescription(type="offer", sdp="v=0\r\nm=audio x y z\r\n")),
    "an odd answer": signal.encode_response(answer=rtc.SessionDescription(type="answer", sdp="junk")),
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
async def test_a_message_that_cannot_be_read_costs_itself(junk: bytes) -> None:
    async with scripted(saying(signal.encode_response(join=JOIN), junk, junk)) as url:
        assert (await failure(url, timeout=0.5)).reason is LossReason.MEDIA_FAILED


async def test_an_update_of_six_megabytes_is_taken() -> None:
    people = [
        models.ParticipantInfo(
            sid=f"PA_{n}", identity=f"p{n}", metadata="m" * 60_000, state=models.ParticipantInfo.ACTIVE
        )
        for n in range(100)
    ]
    update = signal.encode_response(update=rtc.ParticipantUpdate(participants=people))
    assert len(update) > 6_000_000
    recorder = Recorder()
    async with scripted(saying(signal.encode_response(join=JOIN), update)) as url:
        with pytest.raises(ParticipantError) as caught:
            await connect(url, TOKEN, recorder, ConnectOptions(timeout=2.0))
    assert caught.value.reason is LossReason.MEDIA_FAILED, "nothing else is wrong"
    assert len(recorder.people[-1]) == 100


async def test_an_update_that_is_too_large_is_refused_with_a_reason() -> None:
    people = [models.ParticipantInfo(sid="PA_1", identity="p", metadata="m" * signal.MAX_MESSAGE)]
    update = signal.encode_response(update=rtc.ParticipantUpdate(participants=people))
    async with scripted(saying(signal.encode_response(join=JOIN), update)) as url:
        error = await failure(url)
    assert error.reason is LossReason.NETWORK
    assert error.detail == f"the server sends more than {signal.MAX_MESSAGE} bytes at once"


async def test_the_reader_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An offer takes long to be answered; what comes behind it is heard meanwhile."""

    async def answer_never(_subscriber: Subscriber, _offer: rtc.SessionDescription) -> rtc.SessionDescription:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Subscriber, "answer", answer_never)
    sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    offer = signal.encode_response(offer=rtc.SessionDescription(type="offer", sdp=sdp))
    leave = signal.encode_response(leave=rtc.LeaveRequest(reason=models.ROOM_DELETED))
    begun = monotonic()
    async with scripted(saying(signal.encode_response(join=JOIN), offer, leave)) as url:
        assert (await failure(url)).reason is LossReason.ROOM_DELETED
    assert monotonic() - begun < patient(1.0)


async def test_more_work_than_can_be_done_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassbridge.livekit.own.MAX_WORK", 3)
    monkeypatch.setattr(Subscriber, "add_candidate", lambda *_, **__: asyncio.Event().wait())
    candidate = '{"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0"}'
    trickle = signal.encode_response(trickle=rtc.TrickleRequest(candidateInit=candidate, target=rtc.SUBSCRIBER))
    async with scripted(saying(signal.encode_response(join=JOIN), *[trickle] * 10)) as url:
        error = await failure(url)
    assert (error.reason, error.detail) == (LossReason.MEDIA_FAILED, "the server asks for more than can be done")


async def test_a_server_that_hangs_up() -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        return socket

    async with scripted(script) as url:
        assert (await failure(url)).reason is LossReason.NETWORK


async def test_a_server_that_never_answers() -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with server:
        begun = monotonic()
        with pytest.raises(ParticipantError) as caught:
            await connect(
                f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", TOKEN, Recorder(), ConnectOptions(timeout=0.5)
            )
        assert caught.value.reason is LossReason.UNREACHABLE
        assert monotonic() - begun < patient(1.0)
        await drain_closing()
        assert 5.0 < monotonic() - begun < patient(7.0), (
            "an upgrade that nobody waits for is waited for, but not for ever"
        )


@pytest.mark.real
async def test_a_server_without_udp_is_known_at_once() -> None:
    only_tcp = {"udp_port": 0, "port_range_start": 0, "tcp_port": free_port(), "force_tcp": True}
    async with real_server(rtc=only_tcp) as server:
        begun = monotonic()
        error = await failure(server.url)
    assert error.reason is LossReason.MEDIA_FAILED
    assert "ICE-TCP" in error.detail
    assert monotonic() - begun < patient(2.0)


# --- its connections ------------------------------------------------------------------------------------------------


class Listener:
    """A MediaListener that remembers."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def media_ready(self) -> None: ...

    def media_alive(self, ago: float) -> None: ...

    def media_lost(self, detail: str) -> None:
        self.lost.append(detail)

    def data_arrived(self, data: UserData, reliable: bool) -> None: ...

    def sound_arrived(self, track: TrackRef, sound: Sound) -> None: ...


async def test_candidates_that_come_before_the_offer_are_kept_for_it() -> None:
    subscriber = Subscriber(Listener(), Relay(RelayUse.NEVER), loopback=True)
    early = candidate_from_sdp("1 1 udp 2130706431 127.0.0.1 5000 typ host")
    early.sdpMLineIndex = 0
    await subscriber.add_candidate(early, final=True)
    offering = quirks.new_connection()
    offering.createDataChannel(signal.RELIABLE_LABEL)
    await offering.setLocalDescription(await offering.createOffer())
    trickling = offering.localDescription.sdp.replace("a=end-of-candidates\r\n", "")
    await subscriber.answer(rtc.SessionDescription(type="offer", sdp=trickling))
    assert subscriber._connection is not None
    known = quirks.ice_of(subscriber._connection).remote_candidates
    assert ("127.0.0.1", 5000) in [(candidate.host, candidate.port) for candidate in known]
    await subscriber.close()
    await offering.close()


async def test_a_restarted_media_path_is_a_lost_one() -> None:
    listener = Listener()
    subscriber = Subscriber(listener, Relay(RelayUse.NEVER), loopback=True)
    offering = quirks.new_connection()
    offering.createDataChannel(signal.RELIABLE_LABEL)
    await offering.setLocalDescription(await offering.createOffer())
    offer = rtc.SessionDescription(type="offer", sdp=offering.localDescription.sdp, id=7)
    answer = await subscriber.answer(offer)
    assert (answer.type, answer.id) == ("answer", 7)
    await subscriber.answer(offer)
    assert listener.lost == []
    ufrag = quirks.ice_of(offering).local_username
    offer.sdp = offer.sdp.replace(f"a=ice-ufrag:{ufrag}", "a=ice-ufrag:other")
    await subscriber.answer(offer)
    assert listener.lost == ["the server restarts the media path"]
    await subscriber.close()
    await offering.close()


async def test_the_sending_side_can_wait_until_it_is_needed(livekit: LiveKit) -> None:
    heard = Recorder()
    listener = await connect(livekit.url, token("bob"), heard)
    place = await connect(livekit.url, token("ann"), Recorder(), ConnectOptions(publish_ready=False))
    await asyncio.sleep(0.2)
    assert place._publisher is None
    await place.send(b"first")
    await eventually(lambda: heard.payloads == [b"first"] or f"{heard.payloads}")
    for either in (place, listener):
        await either.close()


async def test_a_repr_tells_where_but_no_secret(livekit: LiveKit) -> None:
    place = await connect(livekit.url, TOKEN, Recorder())
    assert repr(place) == "<OwnParticipant 'ann' in 'room': joined>"
    assert TOKEN not in repr(vars(place))
    await place.close()
    assert isinstance(place, OwnParticipant)


OFFLINE = """
import asyncio
from glassbridge.livekit.embedded import EmbeddedLiveKit
from glassbridge.livekit.own import connect
from tests.support.livekit import KEYS, token
from tests.support.participants import Recorder
from tests.support.poll import eventually

async def main():
    async with EmbeddedLiveKit(KEYS) as server:
        heard = Recorder()
        ann, bob = await connect(server.url, token("ann"), Recorder()), await connect(server.url, token("bob"), heard)
        await ann.send(b"hello")
        await eventually(lambda: heard.payloads == [b"hello"] or "nothing comes")
        await asyncio.gather(ann.close(), bob.close())

asyncio.run(main())
"""


def test_it_works_where_loopback_is_the_only_interface() -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c"]
    ready = "ip link set lo up" if shutil.which("ip") else "ifconfig lo up"
    if subprocess.run([*namespace, ready], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody make a network namespace")
    command = [*namespace, f'{ready} && exec "$0" -c "$1"', sys.executable, OFFLINE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(60), check=False)
    assert done.returncode == 0, done.stderr


# --- its own death --------------------------------------------------------------------------------------------------


def break_down(participant: OwnParticipant) -> None:
    """A defect in its machine: the next step fails."""

    def step(*_: object) -> list[object]:
        raise RuntimeError("a defect")

    participant._machine.step = step  # type: ignore[assignment, method-assign]


async def test_a_place_whose_machine_fails_ends_and_says_so(embedded_livekit: LiveKit) -> None:
    recorder = Recorder()
    participant = await connect(embedded_livekit.url, TOKEN, recorder, ConnectOptions(ping_interval=0.1))
    break_down(participant)
    await eventually(lambda: participant.closed is not None or "nobody hears of it")
    assert participant.closed is not None
    assert participant.closed.reason is LossReason.INTERNAL
    await soon(participant.gone(), 5)
    await soon(drain_closing(), 5)


async def test_a_join_whose_machine_fails_ends_and_says_so() -> None:
    async with scripted(saying()) as url:
        participant = OwnParticipant(Recorder(), ConnectOptions(timeout=0.5))
        break_down(participant)
        participant.start(url, TOKEN)
        with pytest.raises(ParticipantError) as caught:
            await soon(participant.settled(), 5)
        assert caught.value.reason is LossReason.INTERNAL
        await soon(participant.gone(), 5)
