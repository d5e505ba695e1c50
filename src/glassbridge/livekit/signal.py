"""LiveKit's signalling as bytes and text: the one codec of both sides, our participant and the embedded server.

Requests travel from participant to server, responses the other way. Nothing here waits, decides or keeps state.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, NamedTuple

import msgspec
from aiortc import RTCIceCandidate
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import SessionDescription, candidate_from_sdp, candidate_to_sdp
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models, rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit.refused import Rejected, counted

JOIN_PATH = "/rtc"
VALIDATE_PATH = "/rtc/validate"
PROTOCOL = 15
"""Below 13 no leave actions; from 16 on the server may move us to another room."""
RELIABLE_LABEL = "_reliable"
LOSSY_LABEL = "_lossy"

DisconnectReason = models.DisconnectReason
LOSS_REASONS: Mapping[int, LossReason] = {
    DisconnectReason.UNKNOWN_REASON: LossReason.NETWORK,
    DisconnectReason.CLIENT_INITIATED: LossReason.CLOSED,
    DisconnectReason.DUPLICATE_IDENTITY: LossReason.SUPERSEDED,
    DisconnectReason.SERVER_SHUTDOWN: LossReason.SERVER_SHUTDOWN,
    DisconnectReason.PARTICIPANT_REMOVED: LossReason.REMOVED,
    DisconnectReason.ROOM_DELETED: LossReason.ROOM_DELETED,
    DisconnectReason.STATE_MISMATCH: LossReason.NETWORK,
    DisconnectReason.JOIN_FAILURE: LossReason.MEDIA_FAILED,
    DisconnectReason.MIGRATION: LossReason.SERVER_SHUTDOWN,
    DisconnectReason.SIGNAL_CLOSE: LossReason.NETWORK,
    DisconnectReason.ROOM_CLOSED: LossReason.ROOM_DELETED,
    DisconnectReason.USER_UNAVAILABLE: LossReason.REMOVED,
    DisconnectReason.USER_REJECTED: LossReason.REMOVED,
    DisconnectReason.SIP_TRUNK_FAILURE: LossReason.REMOVED,
    DisconnectReason.CONNECTION_TIMEOUT: LossReason.NETWORK,
    DisconnectReason.MEDIA_FAILURE: LossReason.MEDIA_FAILED,
    DisconnectReason.AGENT_ERROR: LossReason.REMOVED,
}
"""Every reason that LiveKit knows; use loss_reason() for numbers that a newer server may send."""


def loss_reason(disconnect_reason: int) -> LossReason:
    """What a leave means for us; NETWORK for a number that we do not know."""
    return LOSS_REASONS.get(disconnect_reason, LossReason.NETWORK)


MAX_MESSAGE = 8 << 20
"""Bytes of one message of a server: a room of thousands is told in one of 6 MB."""
MAX_SDP = 128 << 10
"""Characters of a description; a room of 64 tracks has 60,000."""
MAX_SECTIONS = 128
"""Media sections of a description: each makes a transceiver."""
MAX_TRACKS = 128
"""Audio tracks of a description: each has a decoder."""
MAX_CANDIDATES = 32
"""Candidates of one description, and trickled ones of one connection: each is checked from every port of ours."""
MAX_CANDIDATE = 1 << 10
"""Characters of a trickled candidate."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, RuntimeError)
"""What foreign parsers raise for what they cannot read."""

_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class SignalError(Exception):
    """The peer sent what is not LiveKit signalling."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Whatever a foreign parser makes of text that it cannot read becomes a SignalError."""
    try:
        yield
    except (*UNREADABLE, InvalidAccessError, InvalidStateError, OperationError) as error:
        raise SignalError(f"{what} ({type(error).__name__})") from None


class Signal(NamedTuple):
    """One message: the name of the field that is set in the envelope, and that field."""

    kind: str
    """Empty for a message that this version of the protocol does not know; `body` is then None."""
    body: Any


def encode_request(**field: Message) -> bytes:
    """A SignalRequest with one field, e.g. `encode_request(answer=SessionDescription(...))`."""
    return rtc.SignalRequest(**field).SerializeToString()  # type: ignore[arg-type]


def encode_response(**field: Message | str | int) -> bytes:
    """A SignalResponse with one field, e.g. `encode_response(refresh_token="...")`."""
    return rtc.SignalResponse(**field).SerializeToString()  # type: ignore[arg-type]


def decode_request(data: bytes) -> Signal:
    """Raises SignalError (the participant's fault)."""
    return _decode(rtc.SignalRequest, data)


def decode_response(data: bytes) -> Signal:
    """Raises SignalError (the server's fault)."""
    return _decode(rtc.SignalResponse, data)


def _decode(envelope: type[rtc.SignalRequest] | type[rtc.SignalResponse], data: bytes) -> Signal:
    try:
        message = envelope.FromString(data)
    except DecodeError:
        raise SignalError(f"{len(data)} bytes that are no {envelope.__name__}") from None
    kind = message.WhichOneof("message")
    return Signal(kind, getattr(message, kind)) if kind else Signal("", None)


@dataclass(frozen=True, slots=True)
class JoinQuery:
    """The query of the upgrade request at JOIN_PATH. The token is not in it: see auth_headers()."""

    auto_subscribe: bool = True
    protocol: int = PROTOCOL
    sdk: str = "go"
    """With "go" UDP stays offered after an outage; for most other names it is ICE-TCP only, for 5 min (traps A2)."""
    version: str = "1.0.0"
    reconnect: bool = False
    """Parsed by the stand-in only; our participant never sends it (traps A1)."""

    def params(self) -> dict[str, str]:
        """As query parameters."""
        return {
            "protocol": str(self.protocol),
            "sdk": self.sdk,
            "version": self.version,
            "auto_subscribe": str(int(self.auto_subscribe)),
        }

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> "JoinQuery":
        """Reads what a client sent; missing or odd values get LiveKit's defaults, as the real server does."""
        protocol = params.get("protocol", "")
        return cls(
            auto_subscribe=params.get("auto_subscribe", "1") in ("1", "true"),
            protocol=int(protocol) if protocol.isdecimal() else 0,
            sdk=params.get("sdk", ""),
            version=params.get("version", ""),
            reconnect=params.get("reconnect", "0") in ("1", "true"),
        )


def is_jwt(token: str) -> bool:
    """Whether it has the form of a token; what has not is not worth asking a server, nor safe in a header."""
    return _JWT.fullmatch(token) is not None


def auth_headers(token: str) -> dict[str, str]:
    """Where the token travels: never in the URL, which errors and logs print (traps A6)."""
    return {"Authorization": f"Bearer {token}"}


def token_of(headers: Mapping[str, str], params: Mapping[str, str]) -> str:
    """The token of an upgrade request: in the header or, as browsers must, in the query; empty when there is none."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else params.get("access_token", "")


def candidate_init(candidate: RTCIceCandidate) -> str:
    """The `candidateInit` of a trickle."""
    return json.dumps(
        {
            "candidate": f"candidate:{candidate_to_sdp(candidate)}",
            "sdpMid": candidate.sdpMid,
            "sdpMLineIndex": candidate.sdpMLineIndex,
        }
    )


def parse_candidate_init(text: str) -> RTCIceCandidate | None:
    """The candidate of a trickle; None for the empty one that ends them, and for one whose name would have to be looked
    up: servers are found by their addresses. Raises SignalError (the peer's fault)."""
    if len(text) > MAX_CANDIDATE:
        raise SignalError(f"a trickle of {len(text)} characters")
    with reading("a trickle that holds no ICE candidate"):
        init = _inits.decode(text)
        if not init.candidate:
            return None
        candidate = candidate_from_sdp(init.candidate.removeprefix("candidate:"))
    if not _is_address(candidate.ip):
        return None
    candidate.sdpMid, candidate.sdpMLineIndex = init.sdpMid, init.sdpMLineIndex
    if candidate.sdpMid is None and candidate.sdpMLineIndex is None:
        candidate.sdpMLineIndex = 0
    return candidate


class _CandidateInit(msgspec.Struct):
    candidate: str | None = None
    sdpMid: str | None = None
    sdpMLineIndex: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None


_inits = msgspec.json.Decoder(_CandidateInit)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def usable_description(sdp: str) -> str:
    """The description without candidates that are names, or too many."""
    kept = 0
    lines = []
    for line in sdp.splitlines(keepends=True):
        if line.startswith("a=candidate:"):
            words = line.split(maxsplit=6)
            kept += 1
            counted[Rejected.CANDIDATES] += kept > MAX_CANDIDATES
            if kept > MAX_CANDIDATES or len(words) < 6 or not _is_address(words[4]):
                continue
        lines.append(line)
    return "".join(lines)


class TrackRef(NamedTuple):
    """The track whose sound an SSRC carries."""

    participant_sid: str
    track_sid: str


def subscription_wish(tracks: Sequence[TrackRef], *, subscribe: bool) -> rtc.UpdateSubscription:
    """Asks for these tracks, or for an end of them."""
    return rtc.UpdateSubscription(
        track_sids=[track.track_sid for track in tracks],
        subscribe=subscribe,
        participant_tracks=[
            models.ParticipantTracks(participant_sid=track.participant_sid, track_sids=[track.track_sid])
            for track in tracks
        ],
    )


STATIC_PAYLOADS: Mapping[int, str] = {0: "pcmu", 8: "pcma", 9: "g722"}
"""RTP payload types whose codec needs no rtpmap (RFC 3551)."""


_SSRC = re.compile(r"^a=ssrc:(\d{1,10})\b(?: msid:(\S+)(?: (\S+))?)?", re.MULTILINE)
_MSID = re.compile(r"^a=msid:(\S+)(?: (\S+))?", re.MULTILINE)
_RTPMAP = re.compile(r"^a=rtpmap:(\d+) ([\w.-]+)/\d+", re.MULTILINE)


def stream_id(track: TrackRef) -> str:
    """The stream part of an msid in the server's offers."""
    return f"{track.participant_sid}|{track.track_sid}"


def audio_tracks(sdp: str) -> dict[int, TrackRef]:
    """SSRC -> track of every audio line in an offer of the server. Recycled lines make it differ in each (traps A9)."""
    found: dict[int, TrackRef] = {}
    for section in _sections(sdp):
        line = _MSID.search(section)
        for ssrc, stream, track in _SSRC.findall(section) if section.startswith("m=audio ") else ():
            stream, track = (stream, track) if stream else line.groups("") if line else ("", "")
            participant, _, sid = stream.partition("|")
            if participant and len(found) < MAX_TRACKS:
                found[int(ssrc)] = TrackRef(participant, sid or track)
    return found


def audio_payloads(sdp: str) -> Mapping[int, str]:
    """The codec of each payload type of the audio lines of an offer, in lower case."""
    lines = [section for section in _sections(sdp) if section.startswith("m=audio ")]
    named = {int(number): codec.lower() for line in lines for number, codec in _RTPMAP.findall(line)}
    return {**STATIC_PAYLOADS, **named}


def accept_red(offer: str, answer: str) -> str:
    """The answer with RED before the other codecs wherever the offer has it: then each packet carries the one before
    it once more, and single losses are not heard. aiortc does not know RED; we unpack it ourselves (traps A9)."""
    accepted = re.split(r"^m=", answer, maxsplit=1, flags=re.MULTILINE)[0]
    for offered, answered in zip(_sections(offer), _sections(answer), strict=True):
        types = {codec.lower(): number for number, codec in _RTPMAP.findall(offered)}
        if answered.startswith("m=audio ") and types.keys() >= {"red", "opus"}:
            red, opus = types["red"], types["opus"]
            answered = re.sub(r"^(m=audio \d+ \S+)", rf"\1 {red}", answered)
            answered = f"{answered.rstrip()}\r\na=rtpmap:{red} red/48000/2\r\na=fmtp:{red} {opus}/{opus}\r\n"
        accepted += answered
    return accepted


def require_description(sdp: str) -> None:
    """Raises SignalError (the peer's fault) for what is no description of media."""
    if len(sdp) > MAX_SDP or sdp.count("\nm=") > MAX_SECTIONS:
        raise SignalError(f"a description of {len(sdp)} characters")
    with reading("an offer or answer that describes no media"):
        media = SessionDescription.parse(sdp).media
    if not media:
        raise SignalError("an offer or answer that describes no media")


def _sections(sdp: str) -> list[str]:
    """The media sections of a description."""
    return re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)[1:]


def has_udp(sdp: str) -> bool:
    """Whether a description holds at least one UDP candidate."""
    return re.search(r"^a=candidate:\S+ \d+ udp ", sdp, re.MULTILINE | re.IGNORECASE) is not None


class UserData(NamedTuple):
    """A data packet of an application."""

    payload: bytes
    topic: str = ""
    sender: str = ""
    """Identity; the server fills it in, a participant leaves it empty."""
    to: tuple[str, ...] = ()
    """Identities; empty means all."""
    encrypted: bool = False
    """End to end; `payload` and `topic` are empty then."""


def encode_data(data: UserData, *, reliable: bool, sender_sid: str = "") -> bytes:
    """A DataPacket for the channel RELIABLE_LABEL or LOSSY_LABEL."""
    user = models.UserPacket(payload=data.payload, participant_identity=data.sender, participant_sid=sender_sid)
    if data.topic:
        user.topic = data.topic
    user.destination_identities.extend(data.to)
    return models.DataPacket(
        kind=models.DataPacket.RELIABLE if reliable else models.DataPacket.LOSSY,
        participant_identity=data.sender,
        participant_sid=sender_sid,
        destination_identities=data.to,
        user=user,
    ).SerializeToString()


def decode_data(data: bytes) -> UserData | None:
    """The packet of an application; None for LiveKit's other kinds (streams, rpc, ...). Raises SignalError."""
    try:
        packet = models.DataPacket.FromString(data)
    except DecodeError:
        raise SignalError(f"{len(data)} bytes that are no DataPacket") from None
    kind = packet.WhichOneof("value")
    if kind == "encrypted_packet":
        return UserData(b"", sender=packet.participant_identity, encrypted=True)
    if kind != "user":
        return None
    user = packet.user
    return UserData(
        payload=user.payload,
        topic=user.topic,
        sender=packet.participant_identity or user.participant_identity,
        to=tuple(packet.destination_identities or user.destination_identities),
    )
