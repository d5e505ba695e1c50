"""The codec that both sides of LiveKit's signalling share."""

import pytest
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit import signal
from glassbridge.livekit.signal import JoinQuery, SignalError, TrackRef, UserData

OFFER = "\r\n".join(
    [
        "v=0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=candidate:1 1 tcp 2105458942 10.0.0.1 7881 typ host tcptype passive",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
        "a=msid:PA_ann|TR_mic TR_mic",
        "a=ssrc:1234 cname:x",
        "a=ssrc:1234 msid:PA_ann|TR_mic TR_mic",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=msid:PA_bob TR_bob",
        "a=ssrc:99 cname:x",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=inactive",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=ssrc:7 msid:PA_ann|TR_cam TR_cam",
        "",
    ]
)


def test_messages_survive_the_way_there_and_back() -> None:
    request = signal.encode_request(answer=rtc.SessionDescription(type="answer", sdp="v=0", id=7))
    kind, answer = signal.decode_request(request)
    assert (kind, answer.type, answer.sdp, answer.id) == ("answer", "answer", "v=0", 7)
    assert signal.decode_response(signal.encode_response(refresh_token="t")) == ("refresh_token", "t")


@pytest.mark.parametrize("decode", [signal.decode_request, signal.decode_response, signal.decode_data])
def test_junk_is_the_peers_fault(decode: object) -> None:
    with pytest.raises(SignalError, match="4 bytes"):
        decode(b"\xff\xff\xff\xff")  # type: ignore[operator]


def test_a_message_of_a_newer_protocol_has_no_name() -> None:
    assert signal.decode_response(b"\xfa\x3e\x01x") == ("", None)  # field 999, length-delimited


def test_the_join_query_is_read_as_it_was_written_and_holds_no_token() -> None:
    query = JoinQuery(auto_subscribe=False)
    assert JoinQuery.parse(query.params()) == query
    assert query.params() == {"protocol": "15", "sdk": "go", "version": "1.0.0", "auto_subscribe": "0"}


def test_odd_queries_get_the_servers_defaults() -> None:
    assert JoinQuery.parse({"protocol": "x", "reconnect": "true"}) == JoinQuery(True, 0, "", "", True)


@pytest.mark.parametrize(
    ("headers", "params", "token"),
    [
        ({"Authorization": "Bearer abc"}, {"access_token": "other"}, "abc"),
        ({"Authorization": "Basic abc"}, {"access_token": "other"}, "other"),
        ({}, {"access_token": "other"}, "other"),
        ({}, {}, ""),
    ],
)
def test_where_the_token_is_found(headers: dict[str, str], params: dict[str, str], token: str) -> None:
    assert signal.token_of(headers, params) == token
    assert signal.token_of(signal.auth_headers("abc"), {}) == "abc"


def test_candidates_survive_the_way_there_and_back() -> None:
    candidate = candidate_from_sdp("1 1 udp 2130706431 127.0.0.1 5000 typ host")
    candidate.sdpMid, candidate.sdpMLineIndex = "0", 0
    assert signal.parse_candidate_init(signal.candidate_init(candidate)) == candidate
    assert signal.parse_candidate_init('{"candidate": ""}') is None


@pytest.mark.parametrize("text", ["", "[]", '{"candidate": "candidate:1"}', '{"candidate": 5}'])
def test_a_broken_candidate_is_the_peers_fault(text: str) -> None:
    with pytest.raises(SignalError, match="no ICE candidate"):
        signal.parse_candidate_init(text)


def test_an_offer_tells_whose_sound_an_ssrc_carries() -> None:
    assert signal.audio_tracks(OFFER) == {1234: TrackRef("PA_ann", "TR_mic"), 99: TrackRef("PA_bob", "TR_bob")}
    assert signal.stream_id(TrackRef("PA_ann", "TR_mic")) == "PA_ann|TR_mic"


def test_udp_candidates_are_seen() -> None:
    assert not signal.has_udp(OFFER)
    assert signal.has_udp(OFFER + "a=candidate:1 1 UDP 2130706431 10.0.0.1 5000 typ host\r\n")


def test_user_data_survives_the_way_there_and_back() -> None:
    data = UserData(b"\0pcm", "gb.audio.2", "phone:ann", ("cloud-agent:ann",))
    assert signal.decode_data(signal.encode_data(data, reliable=True)) == data
    assert signal.decode_data(signal.encode_data(UserData(b""), reliable=False)) == UserData(b"")
    kind = models.DataPacket.FromString(signal.encode_data(data, reliable=False)).kind
    assert kind == models.DataPacket.LOSSY


def test_data_that_is_not_the_applications_is_passed_over() -> None:
    packet = models.DataPacket(rpc_ack=models.RpcAck(request_id="1"))
    assert signal.decode_data(packet.SerializeToString()) is None


def test_every_reason_of_livekit_has_a_meaning() -> None:
    assert set(signal.LOSS_REASONS) == set(models.DisconnectReason.values())
    assert signal.loss_reason(models.DisconnectReason.DUPLICATE_IDENTITY) is LossReason.SUPERSEDED
    assert signal.loss_reason(999) is LossReason.NETWORK
