"""The contract of remote tracks: what is told of each, and whether its sound is delivered, for every cell of

    source x codec x mute x encryption x permission

by both participants on both servers. What each cell means for the phone is core/voices.py's, and spelled out in TOLD.
The phone is our own participant with other words to the server, which believes what a phone says of its tracks. The SDK
does not tell that a track is not to be had. livekit-server takes no G.722 from a phone.
"""

import asyncio
import re
from collections.abc import Callable
from itertools import product
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender
from livekit.protocol import models, rtc

from glassbridge.core.diagnosis import hindered
from glassbridge.core.values import SAMPLE_RATE
from glassbridge.core.voices import RemoteTrack, TrackSource, choose_voice
from glassbridge.livekit import opus, speaker
from glassbridge.livekit.own import OwnParticipant
from glassbridge.livekit.participant import TRACK_BITRATE, RemoteParticipant
from glassbridge.livekit.publisher import Publisher
from tests.support.livekit import KEYS, LiveKit, token
from tests.support.places import OWN, Kind, Seat, Seats, say
from tests.support.poll import eventually
from tests.support.sound import level, tone

PATIENCE = 8.0
SOURCES = {
    models.MICROPHONE: TrackSource.MICROPHONE,
    models.UNKNOWN: TrackSource.UNKNOWN,
    models.CAMERA: TrackSource.UNKNOWN,
    models.SCREEN_SHARE_AUDIO: TrackSource.SCREEN,
}
TOLD = {
    # encrypted, allowed, muted: the code of what the phone is told
    (False, True, False): "",
    (False, True, True): "muted",
    (False, False, False): "subscription_denied",
    (False, False, True): "subscription_denied",
    (True, True, False): "encrypted",
    (True, True, True): "encrypted",
    (True, False, False): "encrypted",
    (True, False, True): "encrypted",
}
ROOMS = 4
"""Parts of the cells that are walked at once."""
Cell = tuple[bool, Any, bool, bool]
CELLS: list[Cell] = list(product((True, False), SOURCES, (False, True), (False, True)))
"""permission, source, encryption, mute"""


class Encoder:
    """In the place of our Opus encoder: 20 ms of PCM16 at 16 kHz in another codec."""

    def __init__(self, name: str, rate: int) -> None:
        codec = av.CodecContext.create(name, "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", rate
        self._codec = codec
        self._every = SAMPLE_RATE // rate

    def encode(self, pcm: bytes) -> bytes:
        samples = np.ascontiguousarray(np.frombuffer(pcm, "<i2")[:: self._every])
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._codec.sample_rate
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class Redundant:
    """The same: Opus, and each packet carries the one before it once more (RFC 2198)."""

    def __init__(self, number: int) -> None:
        self._opus = opus.Encoder(TRACK_BITRATE)
        self._number = number
        self._before = b""

    def encode(self, pcm: bytes) -> bytes:
        before, self._before = self._before, self._opus.encode(pcm)
        copy = (0x80 | self._number) << 24 | 960 << 10 | len(before)
        return (copy.to_bytes(4, "big") if before else b"") + bytes([self._number]) + before + self._before


class Phone:
    """Our own participant, whose tracks are described as a cell wants them."""

    def __init__(self, seat: Seat) -> None:
        assert isinstance(seat.place, OwnParticipant)
        self.place = seat.place
        self.described: dict[str, Any] = {}
        self.redundant = False
        publisher = self.place._sending_side()
        plain = Publisher.wish

        def wish(cid: str, name: str) -> rtc.AddTrackRequest:
            request = plain(cid, name)
            request.MergeFrom(rtc.AddTrackRequest(**self.described))
            request.source = self.described.get("source", request.source)
            request.disable_red = not self.redundant
            return request

        publisher.wish = wish  # type: ignore[method-assign]

    async def allow(self, allowed: bool) -> None:
        await self.place.request(subscription_permission=rtc.SubscriptionPermission(all_participants=allowed))


CODECS: dict[str, tuple[str, Callable[[int], Encoder | Redundant]]] = {
    # by its name in the roster: the one that aiortc is to take it for, and what encodes it
    "pcmu": ("audio/PCMU", lambda _: Encoder("pcm_mulaw", 8_000)),
    "pcma": ("audio/PCMA", lambda _: Encoder("pcm_alaw", 8_000)),
    "red": ("audio/opus", Redundant),
}
IN_RED = {"own": 63, "sdk": 111}
"""The payload type of Opus inside RED, by who listens: the server passes it on as it is, and the SDK knows one number
alone. RED itself has the number by which aiortc knows Opus."""


def use(codec: str, number: int, patch: pytest.MonkeyPatch) -> None:
    """Tracks that are published from now on are in this codec."""
    prepare = speaker.Slot.__init__
    mime_type, encoder = CODECS[codec]

    def prepared(slot: speaker.Slot, connection: RTCPeerConnection) -> None:
        prepare(slot, connection)
        known = RTCRtpSender.getCapabilities("audio").codecs
        slot._sender.setCodecPreferences([one for one in known if one.mimeType == mime_type])

    patch.setattr(speaker.Slot, "__init__", prepared)
    patch.setattr(speaker, "Encoder", lambda *_, **__: encoder(number))


def offer_red(place: OwnParticipant, number: int, patch: pytest.MonkeyPatch) -> None:
    """The server reads RED where aiortc wrote Opus."""
    request = place.request

    async def requested(**field: Any) -> None:
        if (offer := field.get("offer")) is not None:
            red = rf"a=rtpmap:\1 red/48000/2\r\na=fmtp:\1 {number}/{number}\r\n"
            red += f"a=rtpmap:{number} opus/48000/2\r\n"
            sdp = re.sub(r"a=fmtp:\d+ .*\r\n", "", offer.sdp)
            sdp = re.sub(r"a=rtpmap:(\d+) opus/48000/2\r\n", red, sdp)
            field["offer"] = rtc.SessionDescription(
                type="offer", id=offer.id, sdp=re.sub(r"^(m=audio .*?)\r$", rf"\1 {number}\r", sdp, flags=re.M)
            )
        await request(**field)

    patch.setattr(place, "request", requested)


def read_red(number: int, patch: pytest.MonkeyPatch) -> None:
    """aiortc reads Opus where the server answers RED."""
    answered = Publisher.answered

    def read(publisher: Publisher, answer: rtc.SessionDescription) -> None:
        sdp = re.sub(rf"a=(rtpmap|fmtp):{number} .*\r\n", "", answer.sdp)
        sdp = re.sub(r"(a=rtpmap:\d+) red/", r"\1 opus/", sdp)
        answered(publisher, rtc.SessionDescription(type="answer", id=answer.id, sdp=sdp))

    patch.setattr(Publisher, "answered", read)


def track_of(seat: Seat, sid: str) -> RemoteTrack | None:
    phone = seat.place.remote.get("phone")
    return next((track for track in phone.tracks if track.sid == sid), None) if phone is not None else None


def seen(seat: Seat, expected: RemoteTrack) -> Callable[[], bool | str]:
    def check() -> bool | str:
        found = track_of(seat, expected.sid)
        return found == expected or f"{found}, not {expected}"

    return check


def loudest(seat: Seat, sid: str) -> float:
    return max((level(block.pcm) for block in seat.heard.blocks if block.track_sid == sid), default=0.0)


def heard_of(seat: Seat, sid: str) -> Callable[[], bool | str]:
    return lambda: loudest(seat, sid) > 1_000 or "not heard"


def gone(seat: Seat, sid: str) -> Callable[[], bool | str]:
    return lambda: track_of(seat, sid) is None or "still there"


@pytest.mark.parametrize("codec", ["opus", *CODECS])
async def test_each_combination_of_source_mute_encryption_and_permission(
    kind: Kind, seats: Seats, livekit: LiveKit, codec: str, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    if codec in CODECS:
        if "embedded" in request.node.callspec.id:
            pytest.skip("the stand-in passes on Opus only")
        use(codec, IN_RED[kind.name], monkeypatch)
    if codec == "red":
        read_red(IN_RED[kind.name], monkeypatch)

    async def walk(number: int) -> None:
        """A part of the cells, in a room of its own: most of it is waiting."""
        room = f"room-{number}"
        listener = await seats.join(kind, "listener", pass_=token("listener", room))
        phone = Phone(await seats.join(OWN, "phone", pass_=token("phone", room), catch_up=1.0))
        if codec == "red":
            phone.redundant = True
            offer_red(phone.place, IN_RED[kind.name], monkeypatch)
        for cell in CELLS[number::ROOMS]:
            await judge_cell(kind, codec, listener, phone, cell)

    async with asyncio.TaskGroup() as walks:
        for number in range(ROOMS):
            walks.create_task(walk(number))


async def judge_cell(kind: Kind, codec: str, listener: Seat, phone: Phone, one: Cell) -> None:
    """One track comes, is told and heard as it should be, and goes."""
    allowed, source, encrypted, muted = one
    cell = f"{allowed=} {source=} {encrypted=} {muted=}"
    await phone.allow(allowed)
    phone.described = {"source": source, "muted": muted, "encryption": int(encrypted)}
    track = await phone.place.publish("sound")
    await say(track, tone(0.3))
    knows_denial = kind is OWN and not encrypted  # what is encrypted is not asked for
    expected = RemoteTrack(track.sid, SOURCES[source], muted, encrypted, codec, allowed or not knows_denial)
    await eventually(seen(listener, expected), PATIENCE)
    found = track_of(listener, track.sid)
    assert found is not None
    code = hindered(found.hindrance).code if found.hindrance is not None else ""
    if kind is OWN or allowed or encrypted:
        assert code == TOLD[encrypted, allowed, muted], cell
    chosen = choose_voice([found])
    assert (chosen is None) is (SOURCES[source] is TrackSource.SCREEN), cell
    if allowed and not encrypted and not muted:
        speaking = asyncio.create_task(say(track, tone(10.0)))
        await eventually(heard_of(listener, track.sid), PATIENCE)
        speaking.cancel()
    else:
        assert loudest(listener, track.sid) < 100, cell
    await track.unpublish()
    await eventually(gone(listener, track.sid), PATIENCE)


async def test_mute_and_permission_that_change_on_one_track_are_told(kind: Kind, seats: Seats, request: Any) -> None:
    """Mute and permission come and go on one track, and sound with them. The SDK hears no line of the stand-in again
    that was taken from it: there it is only told."""
    hears_again = kind is OWN or "real" in request.node.callspec.id
    listener = await seats.join(kind, "listener")
    phone = Phone(await seats.join(OWN, "phone", catch_up=1.0))
    track = await phone.place.publish("sound")
    speaking = asyncio.create_task(say(track, tone(60.0)))

    def told(*, muted: bool = False, allowed: bool = True) -> Callable[[], bool | str]:
        return seen(listener, RemoteTrack(track.sid, TrackSource.MICROPHONE, muted=muted, allowed=allowed))

    await eventually(heard_of(listener, track.sid), PATIENCE)
    for _ in range(2):
        await phone.place.request(mute=rtc.MuteTrackRequest(sid=track.sid, muted=True))
        await eventually(told(muted=True), PATIENCE)
        await phone.place.request(mute=rtc.MuteTrackRequest(sid=track.sid, muted=False))
        await eventually(told(), PATIENCE)
        await phone.allow(False)
        await eventually(told(allowed=kind is not OWN), PATIENCE)
        await phone.allow(True)
        await eventually(told(), PATIENCE)
        listener.heard.blocks.clear()
        if hears_again:
            await eventually(heard_of(listener, track.sid), PATIENCE)
    speaking.cancel()


@pytest.mark.real
async def test_a_permission_to_publish_that_is_taken_away_is_told(kind: Kind, real_livekit: LiveKit) -> None:
    from livekit import api

    seats = Seats(real_livekit.url)
    listener = await seats.join(kind, "listener")
    phone = await seats.join(OWN, "phone")
    service = api.LiveKitAPI(real_livekit.url.replace("ws", "http", 1), KEYS.api_key, KEYS.secret)

    def may(expected: bool) -> Callable[[], bool | str]:
        def check() -> bool | str:
            person: RemoteParticipant | None = listener.place.remote.get("phone")
            return (person is not None and person.may_publish is expected) or f"{person}"

        return check

    await phone.place.send(b"here")
    await eventually(may(True), PATIENCE)
    for allowed in (False, True):
        permission = api.ParticipantPermission(can_publish=allowed, can_subscribe=True, can_publish_data=True)
        await service.room.update_participant(
            api.UpdateParticipantRequest(room="room", identity="phone", permission=permission)
        )
        await eventually(may(allowed), PATIENCE)
    await service.aclose()
    await seats.leave_all()


async def test_an_encrypted_data_packet_is_told(seats: Seats) -> None:
    """The SDK passes over what it has no key for; ours says that it came."""
    listener = await seats.join(OWN, "listener")
    phone = Phone(await seats.join(OWN, "phone"))
    packet = models.DataPacket(encrypted_packet=models.EncryptedPacket(iv=b"i" * 12, encrypted_value=b"v" * 40))
    await phone.place._sending_side().send(packet.SerializeToString(), reliable=True)
    await phone.place.send(b"plain")
    await eventually(lambda: len(listener.heard.packets) == 2 or f"{listener.heard.packets}")
    assert [(p.sender, p.encrypted, p.payload) for p in listener.heard.packets] == [
        ("phone", True, b""),
        ("phone", False, b"plain"),
    ]
