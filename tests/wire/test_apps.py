"""Messages of the app socket and the webhook: the original's names, both directions, nothing quoted that was sent."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.wire import app_keys, apps
from glassbridge.wire.codec import MalformedMessage, Message, UnknownMessage, encode
from glassbridge.wire.display import DoubleTextWall, TextWall, words
from glassbridge.wire.phone import Vad

KEY_HASH = app_keys.hash_key("an-api-key")
SIGNER = app_keys.signer("an-api-key")


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (
            apps.ConnectionInit(package_name="p", session_id="u-p", api_key="k"),
            {"type": "tpa_connection_init", "packageName": "p", "sessionId": "u-p", "apiKey": "k"},
        ),
        (
            apps.SubscriptionUpdate(package_name="p", subscriptions=["VAD"], request_id="1"),
            {"type": "subscription_update", "packageName": "p", "subscriptions": ["VAD"], "requestId": "1"},
        ),
        (
            apps.DisplayRequest(package_name="p", layout=DoubleTextWall("a", "b"), duration_ms=5),
            {
                "type": "display_event",
                "packageName": "p",
                "layout": {"layoutType": "double_text_wall", "topText": "a", "bottomText": "b"},
                "durationMs": 5,
            },
        ),
        (
            # what counts is always said: the original's cloud has defaults of its own
            apps.AudioPlayRequest(package_name="p", request_id="1", audio_url="http://x/a.wav"),
            {
                "type": "audio_play_request",
                "packageName": "p",
                "requestId": "1",
                "audioUrl": "http://x/a.wav",
                "volume": 1.0,
                "stopOtherAudio": True,
                "sampleRate": 16000,
                "trackId": 0,
                "sessionId": "",
                "timestamp": None,
            },
        ),
        (
            apps.AudioStopRequest(package_name="p", track_id=2),
            {"type": "audio_stop_request", "packageName": "p", "trackId": 2},
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_what_an_app_says(message: Message, wire: dict[str, Any]) -> None:
    assert json.loads(encode(message)) == wire
    assert apps.decode_from_app(encode(message)) == message


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (
            apps.ConnectionAck(session_id="u-p", subscriptions=("VAD",), resumed=True),
            {
                "type": "tpa_connection_ack",
                "sessionId": "u-p",
                "settings": [],
                "mentraosSettings": {},
                "augmentosSettings": {},
                "capabilities": None,
                "subscriptions": ["VAD"],
                "resumed": True,
                "pings": False,
                "timestamp": None,
            },
        ),
        (
            apps.ConnectionError_(code="INVALID_API_KEY", message="m"),
            {"type": "tpa_connection_error", "code": "INVALID_API_KEY", "message": "m"},
        ),
        (
            apps.PermissionError_(message="m", details=(apps.Refused("VAD", "why", "MICROPHONE"),)),
            {
                "type": "permission_error",
                "message": "m",
                "details": [{"stream": "VAD", "message": "why", "requiredPermission": "MICROPHONE"}],
            },
        ),
        (
            apps.AudioPlayResponse(request_id="1", success=False, error="e"),
            {"type": "audio_play_response", "requestId": "1", "success": False, "error": "e"},
        ),
        (apps.AppStopped(reason="user_disabled"), {"type": "app_stopped", "reason": "user_disabled"}),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_what_a_cloud_says(message: Message, wire: dict[str, Any]) -> None:
    assert json.loads(encode(message)) == wire
    assert apps.decode_from_cloud(encode(message)) == message


def test_a_data_stream_carries_what_its_data_says() -> None:
    said = apps.Transcription(text="hi", is_final=False, start_time=0, end_time=20, transcribe_language="en-US")
    for data in (said, Vad(status="true")):
        message = apps.DataStream(session_id="s", stream_type="x", data=msgspec.Raw(encode(data).encode()))
        received = apps.decode_from_cloud(encode(message))
        assert isinstance(received, apps.DataStream)
        assert apps.read_data(received) == data
    assert json.loads(encode(said)) == {
        "type": "transcription",
        "text": "hi",
        "isFinal": False,
        "startTime": 0,
        "endTime": 20,
        "transcribeLanguage": "en-US",
    }
    new = apps.decode_from_cloud('{"type":"data_stream","sessionId":"s","streamType":"n","data":{"type":"new"}}')
    assert isinstance(new, apps.DataStream)
    assert apps.read_data(new) == UnknownMessage("new")


def test_the_originals_form_of_a_location_subscription_is_read() -> None:
    wanted = '["VAD",{"stream":"location_stream","rate":"x"}]'
    text = f'{{"type":"subscription_update","packageName":"p","subscriptions":{wanted}}}'
    message = apps.decode_from_app(text)
    assert isinstance(message, apps.SubscriptionUpdate)
    assert message.subscriptions == ["VAD", apps.StreamRequest("location_stream", "x")]


@pytest.mark.parametrize(
    "text",
    ['{"type":"display_event","packageName":"p","layout":{"layoutType":"secret"}}',
     '{"type":"display_event","packageName":"p","view":"secret","layout":{"layoutType":"clear_view"}}',
     '{"type":"tpa_connection_init","packageName":"p","apiKey":{"secret":1},"sessionId":"s"}',
     '{"type":"subscription_update","packageName":"p","subscriptions":[1]}', "[]", "secret"],
)  # fmt: skip
def test_what_is_broken_is_malformed_and_not_quoted(text: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        apps.decode_from_app(text)
    assert "secret" not in str(caught.value)


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.text(), st.lists).map(json.dumps)))
def test_any_bytes_are_a_message_or_malformed(data: str | bytes) -> None:
    for decode in (apps.decode_from_app, apps.decode_from_cloud):
        with suppress(MalformedMessage):
            decode(data)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_session_id_is_never_split(user: str, package: str) -> None:
    """Hazard C-8."""
    assert apps.user_of(apps.app_session_id(user, package), package) == user


def test_a_session_of_another_app_is_nobodys() -> None:
    assert apps.user_of("u-other", "p") is None
    assert apps.user_of("-p", "p") is None


def test_keys_do_not_show_in_reprs() -> None:
    assert "canary" not in repr(apps.ConnectionInit(package_name="p", session_id="s", api_key="canary"))


def test_a_webhook_names_the_url_as_old_and_new_sdks_look_for_it() -> None:
    request = apps.SessionRequest(
        session_id="u-p", user_id="u", mentraos_websocket_url="ws://c", augmentos_websocket_url="ws://c"
    )
    assert json.loads(encode(request)) == {
        "type": "session_request",
        "sessionId": "u-p",
        "userId": "u",
        "mentraOSWebsocketUrl": "ws://c",
        "augmentOSWebsocketUrl": "ws://c",
    }
    assert apps.decode_webhook(encode(request).encode()) == request
    old = apps.decode_webhook(
        b'{"type":"session_request","sessionId":"s","userId":"u","augmentOSWebsocketUrl":"ws://o"}'
    )
    assert isinstance(old, apps.SessionRequest)
    assert old.websocket_url == "ws://o"


def test_a_signature_counts_for_its_body_its_key_and_its_time() -> None:
    header = SIGNER.sign(b"body", 1_000)
    assert SIGNER.signed(b"body", header, 1_000.0)
    assert SIGNER.signed(b"body", header, 1_000.0 + app_keys.MAX_AGE)
    assert not SIGNER.signed(b"body", header, 1_001.0 + app_keys.MAX_AGE)
    assert not SIGNER.signed(b"bodY", header, 1_000.0)
    assert not app_keys.signer("other").signed(b"body", header, 1_000.0)
    assert not SIGNER.signed(b"body", header.replace("t=1000", "t=1001"), 1_000.0)


def test_the_hash_of_a_key_signs_nothing_for_an_app_that_has_a_secret() -> None:
    key_hash = app_keys.hash_key("an-api-key")
    stolen = app_keys.Signer("", key_hash)
    cloud = app_keys.Signer(app_keys.signing_secret("an-api-key"), key_hash)
    forged = stolen.sign(b"body", 1_000)
    assert stolen.signed(b"body", forged, 1_000.0)  # an app from before there were secrets, and its cloud
    assert not SIGNER.signed(b"body", forged, 1_000.0)
    assert not cloud.signed(b"body", forged, 1_000.0)
    assert not cloud.signed(b"body", forged.replace("v1", "v2"), 1_000.0)
    assert SIGNER.signed(b"body", cloud.sign(b"body", 1_000), 1_000.0)
    assert stolen.signed(b"body", cloud.sign(b"body", 1_000), 1_000.0)  # an SDK from before still takes webhooks
    assert key_hash not in repr(cloud)


@given(st.text())
def test_any_header_is_a_signature_or_not(header: str) -> None:
    assert not SIGNER.signed(b"body", header, 1_000.0)


def test_a_key_fits_its_hash_alone() -> None:
    assert app_keys.key_fits("an-api-key", KEY_HASH.upper())
    assert not app_keys.key_fits("another", KEY_HASH)
    assert not app_keys.key_fits("", KEY_HASH)


def test_the_words_of_a_layout() -> None:
    assert words(TextWall("a")) == "a"
    assert words(DoubleTextWall("a", "b")) == "a\nb"
