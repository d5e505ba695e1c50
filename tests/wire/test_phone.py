"""Messages of the phone socket: the original's names, tolerance for what is unknown, no quoting of what is broken."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.wire import phone
from glassbridge.wire.close_codes import CloseCode, ComeBack, come_back


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (
            phone.ConnectionAck(session_id="s", livekit=phone.LiveKitInfo("ws://x", "room", "t")),
            {
                "type": "connection_ack",
                "sessionId": "s",
                "livekit": {"url": "ws://x", "roomName": "room", "token": "t"},
            },
        ),
        (
            phone.MicrophoneStateChange(is_microphone_enabled=True, required_data=["pcm"], bypass_vad=False),
            {
                "type": "microphone_state_change",
                "isMicrophoneEnabled": True,
                "requiredData": ["pcm"],
                "bypassVad": False,
            },
        ),
        (
            phone.DisplayEvent(view="main", layout=phone.TextWall("hi"), package_name="p", is_final=True),
            {
                "type": "display_event",
                "view": "main",
                "layout": {"layoutType": "text_wall", "text": "hi"},
                "packageName": "p",
                "isFinal": True,
            },
        ),
        (
            phone.ConnectionError_(message="m", code="INVALID_TOKEN"),
            {"type": "connection_error", "message": "m", "code": "INVALID_TOKEN"},
        ),
        (
            phone.AudioStateNotice(state="unavailable", reason="r", code="c", since=1, retry_in_ms=0),
            {"type": "audio_state", "state": "unavailable", "reason": "r", "code": "c", "since": 1, "retryInMs": 0},
        ),
        (
            phone.AudioStateNotice(state="interrupted", code="phone_not_in_room", hop="phone", since=1),
            {"type": "audio_state", "state": "interrupted", "code": "phone_not_in_room", "hop": "phone", "since": 1},
        ),
        (phone.SpeechEndNotice(captioned=False), {"type": "speech_end", "captioned": False}),
        (phone.AudioAck(epoch=7, position=1 << 63), {"type": "audio_ack", "epoch": 7, "position": 1 << 63}),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_what_the_cloud_says_in_the_originals_names(message: phone.Message, wire: dict[str, Any]) -> None:
    assert json.loads(phone.encode(message)) == wire
    assert phone.decode_from_cloud(phone.encode(message)) == message


@pytest.mark.parametrize(("status", "speaking"), [(True, True), (False, False), ("true", True), ("false", False)])
def test_voice_activity_comes_as_bool_or_as_text(status: bool | str, speaking: bool) -> None:
    message = phone.decode_from_phone(json.dumps({"type": "VAD", "status": status, "timestamp": 7}))
    assert isinstance(message, phone.Vad)
    assert message.speaking is speaking


def test_a_phone_may_say_that_its_network_is_back() -> None:
    said = phone.encode(phone.NetworkStateChange())
    assert json.loads(said) == {"type": "network_state_change"}
    assert phone.decode_from_phone(said) == phone.NetworkStateChange()


def test_glasses_state_of_the_original() -> None:
    text = '{"type":"glasses_connection_state","modelName":"G1","status":"CONNECTED","wifi":{"connected":true},"new":1}'
    message = phone.decode_from_phone(text)
    assert isinstance(message, phone.GlassesConnectionState)
    assert (message.model_name, message.status, message.wifi) == ("G1", "CONNECTED", phone.Wifi(connected=True))


@pytest.mark.parametrize("kind", ["x" * 41, "", "a b", "eyJ\n", "\x1b[31m", "naïve"])
def test_the_type_of_an_unknown_message_is_fit_for_a_log(kind: str) -> None:
    assert phone.decode_from_phone(json.dumps({"type": kind})) == phone.UnknownMessage("(unprintable)")


def test_an_unknown_type_is_tolerated() -> None:
    assert phone.decode_from_phone('{"type": "keep_alive_ack", "x": []}') == phone.UnknownMessage("keep_alive_ack")
    # one that only the cloud may say is unknown from a phone
    assert isinstance(phone.decode_from_phone('{"type": "audio_ack"}'), phone.UnknownMessage)


@pytest.mark.parametrize(
    "text",
    ["", "null", "7", "[]", "{}", "{", '{"type": 7}', '{"type": "VAD"}', '{"type": "VAD", "status": "secret"}', b"\xff",
     '{"type": "microphone_state_change", "isMicrophoneEnabled": "secret"}', "[" * 100_000, '{"a":' * 100_000],
)  # fmt: skip
def test_what_is_broken_is_malformed_and_not_quoted(text: str | bytes) -> None:
    with pytest.raises(phone.MalformedMessage) as caught:
        phone.decode_from_phone(text)
    assert "secret" not in str(caught.value)


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.text(), st.lists).map(json.dumps)))
def test_any_bytes_are_a_message_or_malformed(data: str | bytes) -> None:
    with suppress(phone.MalformedMessage):
        phone.decode_from_phone(data)


def test_tokens_do_not_show_in_reprs() -> None:
    shown = repr(phone.ConnectionAck(session_id="s", livekit=phone.LiveKitInfo("ws://x", "room", "canary")))
    shown += repr(phone.ConnectionInit(core_token="canary"))
    assert "canary" not in shown


def test_close_codes_are_unique_and_say_whether_to_come_back() -> None:
    codes = list(CloseCode)
    assert len({int(code) for code in codes}) == len(codes)
    assert all(code.meaning for code in codes)
    assert come_back(CloseCode.SUPERSEDED) is ComeBack.NO
    assert come_back(CloseCode.DRAINING) is ComeBack.NOW
    assert come_back(1001) is ComeBack.LATER  # a phone that lost its network says so (traps 27)
    assert come_back(None) is come_back(4999) is ComeBack.LATER
