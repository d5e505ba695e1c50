"""Messages of the app socket (`/app-ws`) and bodies of the webhook, with the original's type and field names.

What an app is sent as raw microphone audio (`audio_chunk`) is no message but a binary frame: PCM16 LE, 16 kHz, mono.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from glassbridge.wire.codec import (
    MALFORMED,
    RATE_LIMITED,
    TOO_BIG,
    Integer,
    Message,
    MessageDecoder,
    Name,
    Text,
    Timestamp,
    UnknownMessage,
    Word,
    encode,
)
from glassbridge.wire.device_events import DeviceEvents
from glassbridge.wire.display import Layout
from glassbridge.wire.phone import AudioStateNotice, GlassesConnectionState, Ping, Pong, TranscriptGap, Vad

APP_PATHS: Final = ("/app-ws", "/ws/miniapp")
WEBHOOK_PATH: Final = "/webhook"
PHOTO_PATH: Final = "/photo-upload"
MAX_ASKED: Final = 256
"""Subscriptions in one update."""
SessionName = Annotated[str, Meta(max_length=512)]
"""Of an app's session: a user id, a hyphen, a package name."""
USER_HEADER: Final = "x-user-id"
SESSION_HEADER: Final = "x-session-id"


class ErrorCode(StrEnum):
    """Codes of tpa_connection_error. `fatal`: the socket is closed after it (1008); any other leaves it open."""

    fatal: bool

    def __new__(cls, code: str, fatal: bool) -> "ErrorCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.fatal = fatal
        return member

    MISSING_HEADERS = "MISSING_HEADERS", True
    JWT_INVALID = "JWT_INVALID", True
    PACKAGE_NOT_FOUND = "PACKAGE_NOT_FOUND", True
    INVALID_API_KEY = "INVALID_API_KEY", True
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND", True
    APP_NOT_STARTED = "APP_NOT_STARTED", True
    MALFORMED_MESSAGE = MALFORMED, False
    MESSAGE_TOO_BIG = TOO_BIG, False
    RATE_LIMITED = RATE_LIMITED, False
    NOT_SUPPORTED = "NOT_SUPPORTED", False
    PERMISSION_DENIED = "PERMISSION_DENIED", False
    NOT_AVAILABLE = "NOT_AVAILABLE", False
    INTERNAL_ERROR = "INTERNAL_ERROR", False


def error_code(code: str) -> ErrorCode:
    """The one of this spelling. Raises ValueError."""
    return ErrorCode(code)  # type: ignore[call-arg]


def app_session_id(user: str, package: str) -> str:
    """The name of an app's session; `user_of` is its inverse."""
    return f"{user}-{package}"


def user_of(session_id: str, package: str) -> str | None:
    """Whose session it is; None when it is no session of this app. Nothing is split: both names may hold a hyphen
    (hazard C-8)."""
    user = session_id.removesuffix(f"-{package}")
    return user if user and user != session_id else None


# ---- app to cloud


class ConnectionInit(Message, tag="tpa_connection_init", frozen=True, kw_only=True):
    """The first message of an app that did not sign in by headers; harmless from one that did."""

    package_name: Name
    session_id: SessionName
    api_key: Name = ""
    cloud: Word | None = None
    """The cloud that has asked for it: any other one behind the same address does not let it in."""
    timestamp: Timestamp = None

    def __repr__(self) -> str:
        return f"ConnectionInit(package_name={self.package_name!r})"


class StreamRequest(msgspec.Struct, rename="camel", frozen=True):
    """A stream with a rate: the original's form for locations."""

    stream: Text
    rate: Word | None = None


class SubscriptionUpdate(Message, tag="subscription_update", frozen=True, kw_only=True):
    """Everything that the app wants to hear from now on; it replaces what was wanted before."""

    package_name: Name
    subscriptions: Annotated[list[Text | StreamRequest], Meta(max_length=MAX_ASKED)]
    session_id: SessionName | None = None
    request_id: Name | None = None
    """Ours: asks for a subscription_ack that carries it."""
    timestamp: Timestamp = None


class DisplayRequest(Message, tag="display_event", frozen=True, kw_only=True):
    """Shows something on the glasses, in place of what the app showed before."""

    MAX_BYTES: ClassVar[int] = 256 << 10
    """A picture."""

    package_name: Name
    layout: Layout
    view: Literal["main", "dashboard"] = "main"
    duration_ms: Integer | None = None
    force_display: bool | None = None
    session_id: SessionName | None = None
    timestamp: Timestamp = None


VOICE_RATE, MUSIC_RATE = 16_000, 48_000
"""Hz."""


class AudioPlayRequest(Message, tag="audio_play_request", frozen=True, kw_only=True, omit_defaults=False):
    """Plays a URL to the user; answered by one audio_play_response when it has ended."""

    package_name: Name
    request_id: Text
    audio_url: Text
    volume: float = 1.0
    """0 (mute) to 1."""
    stop_other_audio: bool = True
    track_id: Integer = 0
    """0 speaker, 1 app audio, 2 speech."""
    sample_rate: Integer = VOICE_RATE
    """Ours: or MUSIC_RATE."""
    session_id: SessionName = ""
    timestamp: Timestamp = None


class AudioStopRequest(Message, tag="audio_stop_request", frozen=True, kw_only=True):
    """Stops what this app plays: one request (ours), a track, or all of it."""

    package_name: Name
    track_id: Integer | None = None
    request_id: Name | None = None
    session_id: SessionName | None = None
    timestamp: Timestamp = None


class OwnershipRelease(Message, tag="ownership_release", frozen=True, kw_only=True):
    """The app leaves this cloud on purpose: it is not to be asked to come back. Reasons: switching_clouds,
    clean_shutdown, user_logout."""

    package_name: Name
    session_id: SessionName | None = None
    reason: Word = ""
    timestamp: Timestamp = None


class LocationPollRequest(Message, tag="location_poll_request", frozen=True, kw_only=True):
    """Asks where the phone is now; answered by a location_update with the same correlationId."""

    package_name: Name
    correlation_id: Name
    accuracy: Word = "standard"
    session_id: SessionName | None = None
    timestamp: Timestamp = None


class AudioStreamStart(Message, tag="audio_stream_start", frozen=True, kw_only=True):
    """Begins a sound that the app makes while it is heard; answered by audio_stream_ready. Its pieces are binary
    frames: the id (36 bytes), then what follows of the file."""

    package_name: Name
    stream_id: Word
    content_type: Word = "audio/mpeg"
    session_id: SessionName | None = None
    timestamp: Timestamp = None


class AudioStreamEnd(Message, tag="audio_stream_end", frozen=True, kw_only=True):
    """That was all of it."""

    package_name: Name
    stream_id: Word
    session_id: SessionName | None = None
    timestamp: Timestamp = None


class PhotoRequest(Message, tag="photo_request", frozen=True, kw_only=True):
    """Asks the glasses for a photo."""

    package_name: Name
    request_id: Name
    session_id: SessionName | None = None
    timestamp: Timestamp = None


class DashboardContentUpdate(Message, tag="dashboard_content_update", frozen=True, kw_only=True):
    """What the app shows in the dashboard, in place of what it showed there before."""

    package_name: Name
    content: Text
    modes: Annotated[tuple[Word, ...], Meta(max_length=8)] = ()
    session_id: SessionName | None = None
    timestamp: Timestamp = None


FromApp = (
    ConnectionInit
    | SubscriptionUpdate
    | DisplayRequest
    | AudioPlayRequest
    | AudioStopRequest
    | OwnershipRelease
    | AudioStreamStart
    | AudioStreamEnd
    | LocationPollRequest
    | PhotoRequest
    | DashboardContentUpdate
    | Ping
    | Pong
)

# ---- cloud to app


class ConnectionAck(Message, tag="tpa_connection_ack", frozen=True, kw_only=True, omit_defaults=False):
    """The app is let in. `subscriptions` are in force now: those of before, when it comes back."""

    MAX_BYTES: ClassVar[int] = 256 << 10

    session_id: str
    settings: tuple[Any, ...] = ()
    mentraos_settings: dict[str, Any] = msgspec.field(name="mentraosSettings", default_factory=dict)
    augmentos_settings: dict[str, Any] = msgspec.field(name="augmentosSettings", default_factory=dict)
    capabilities: dict[str, Any] | None = None
    subscriptions: tuple[str, ...] = ()
    """Ours."""
    resumed: bool = False
    """Ours: this app's session lived already."""
    cloud: str | msgspec.UnsetType = msgspec.UNSET
    """Ours: the cloud that lets the app in (SessionRequest.cloud)."""
    pings: bool = False
    """Ours. True: pings are answered, so the app may miss a cloud from which no answer ever came."""
    timestamp: Timestamp = None


class ConnectionError_(Message, tag="tpa_connection_error", frozen=True, kw_only=True):
    """Something is wrong; whether the socket is closed is a fact of the code (ErrorCode.fatal)."""

    message: str
    code: str = ""
    request_id: str | None = None
    """Ours: of the request that is not served."""
    request_type: str | None = None
    """Ours: its type."""
    timestamp: Timestamp = None


class Refused(msgspec.Struct, rename="camel", frozen=True):
    """A subscription that is not in force, and why."""

    stream: str
    message: str
    required_permission: str | None = None
    """None: no permission would help."""


class SubscriptionAck(Message, tag="subscription_ack", frozen=True, kw_only=True):
    """Ours. What is in force now."""

    MAX_BYTES: ClassVar[int] = 256 << 10

    request_id: str
    subscriptions: tuple[str, ...]
    refused: tuple[Refused, ...] = ()
    timestamp: Timestamp = None


class PermissionError_(Message, tag="permission_error", frozen=True, kw_only=True):
    """Subscriptions that were left out."""

    MAX_BYTES: ClassVar[int] = 256 << 10

    message: str
    details: tuple[Refused, ...]
    timestamp: Timestamp = None


class DataStream(Message, tag="data_stream", frozen=True, kw_only=True):
    """Something of a stream; `read_data` decodes what it carries."""

    MAX_BYTES: ClassVar[int] = 256 << 10

    session_id: str
    stream_type: str
    """The subscription as the app wrote it: the original's SDK calls its handlers by that."""
    data: msgspec.Raw
    timestamp: Timestamp = None


class AudioPlayResponse(Message, tag="audio_play_response", frozen=True, kw_only=True):
    """How a playback ended."""

    request_id: str
    success: bool
    error: str | None = None
    duration: int | None = None
    """Milliseconds that were heard."""
    timestamp: Timestamp = None


class AppStopped(Message, tag="app_stopped", frozen=True, kw_only=True):
    """This app's session is over: do not come back to it. Reasons: user_disabled, system_stop, error."""

    session_id: str | None = None
    reason: str
    message: str | None = None
    """Ours: a reason a person can read."""
    timestamp: Timestamp = None


class Failure(msgspec.Struct, rename="camel", frozen=True):
    """Why a request failed."""

    code: str
    message: str


class AudioStreamReady(Message, tag="audio_stream_ready", frozen=True, kw_only=True):
    """Where the sound can be fetched: for an audio_play_request."""

    stream_id: str
    stream_url: str
    timestamp: Timestamp = None


class SettingsUpdate(Message, tag="settings_update", frozen=True, kw_only=True):
    """The user has chosen other settings for this app: all of them, each with its `value`."""

    MAX_BYTES: ClassVar[int] = 256 << 10

    package_name: str
    settings: tuple[Any, ...]
    timestamp: Timestamp = None


class PhoneSettingsUpdate(Message, tag="augmentos_settings_update", frozen=True, kw_only=True, omit_defaults=False):
    """What apps may know of the phone's own settings, all of it, since something has changed."""

    session_id: str
    settings: dict[str, Any]
    timestamp: Timestamp = None


class DeviceStateUpdate(Message, tag="device_state_update", frozen=True, kw_only=True, omit_defaults=False):
    """State of the user's glasses: what has changed, or all that is known."""

    state: dict[str, Any]
    full_snapshot: bool = False
    timestamp: Timestamp = None


class CapabilitiesUpdate(Message, tag="capabilities_update", frozen=True, kw_only=True, omit_defaults=False):
    """The user has other glasses now, or none. `capabilities` null: it is not known what these can do."""

    capabilities: dict[str, Any] | None
    model_name: str | None
    timestamp: Timestamp = None


class DirectMessageResponse(Message, tag="app_direct_message_response", frozen=True, kw_only=True, omit_defaults=False):
    """No message is carried between users here."""

    message_id: str
    success: bool
    error: str
    target_user_id: str = ""
    timestamp: Timestamp = None


class PhotoResponse(Message, tag="photo_response", frozen=True, kw_only=True):
    """No photo is taken here."""

    request_id: str
    success: bool
    error: Failure | None = None
    timestamp: Timestamp = None


class RgbLedControlResponse(Message, tag="rgb_led_control_response", frozen=True, kw_only=True):
    """No light is switched here."""

    request_id: str
    success: bool
    error: str | None = None
    timestamp: Timestamp = None


class RtmpStreamStatus(Message, tag="rtmp_stream_status", frozen=True, kw_only=True):
    """No video is streamed here."""

    status: str
    error_details: str | None = None
    app_id: str | None = None
    stream_id: str | None = None
    timestamp: Timestamp = None


class ManagedStreamStatus(Message, tag="managed_stream_status", frozen=True, kw_only=True):
    """No video is streamed here."""

    status: str
    message: str | None = None
    stream_id: str | None = None
    timestamp: Timestamp = None


class StreamStatusCheckResponse(Message, tag="stream_status_check_response", frozen=True, kw_only=True):
    """Whether a video stream runs."""

    has_active_stream: bool
    timestamp: Timestamp = None


FromCloud = (
    ConnectionAck
    | ConnectionError_
    | SubscriptionAck
    | PermissionError_
    | DataStream
    | AudioPlayResponse
    | AppStopped
    | AudioStreamReady
    | SettingsUpdate
    | PhoneSettingsUpdate
    | DeviceStateUpdate
    | CapabilitiesUpdate
    | DirectMessageResponse
    | PhotoResponse
    | RgbLedControlResponse
    | RtmpStreamStatus
    | ManagedStreamStatus
    | StreamStatusCheckResponse
    | Ping
    | Pong
)

# ---- what a data_stream carries


class Transcription(Message, tag="transcription", frozen=True, kw_only=True):
    """What was understood; times in milliseconds of the user's session."""

    text: str
    is_final: bool
    """False: may still change."""
    start_time: int
    end_time: int
    transcribe_language: str
    confidence: float | None = None
    speaker_id: str | None = None
    provider: str | None = None
    metadata: dict[str, Any] | None = None
    """What more the recogniser told, under its name: `{"soniox": {"tokens": [...]}}`."""
    id: str | None = None
    """Ours: of a final one."""
    replaces: tuple[str, ...] = ()
    """Ours: ids of final ones that this one takes the place of, with those that come after it and insert into the same
    hole: what was said came late, and was understood anew."""
    inserts: str | None = None
    """Ours: the hole that this one fills. Its place is before what was said later, by `start_time`."""


class Translation(Message, tag="translation", frozen=True, kw_only=True):
    """The same in another language."""

    text: str
    original_text: str | None = None
    is_final: bool
    start_time: int
    end_time: int
    transcribe_language: str
    translate_language: str
    did_translate: bool
    speaker_id: str | None = None
    provider: str | None = None
    id: str | None = None
    replaces: tuple[str, ...] = ()
    inserts: str | None = None
    """As of a transcription."""


class DeliveryGap(Message, tag="delivery_gap", frozen=True, kw_only=True):
    """Ours, sent unasked: something was left out, since this app reads too slowly, or was away for too long."""

    audio_chunks: int
    """Dropped since the last such notice."""
    messages: int


StreamData = (
    Transcription
    | Translation
    | Vad
    | AudioStateNotice
    | DeliveryGap
    | TranscriptGap
    | GlassesConnectionState
    | DeviceEvents
)


class RequestIds(msgspec.Struct, rename="camel", frozen=True):
    """By what a request of any type names itself."""

    request_id: Name = ""
    correlation_id: Name = ""
    stream_id: Name = ""
    message_id: Name = ""

    @property
    def any(self) -> str:
        """Empty: it expects no answer."""
        return self.request_id or self.correlation_id or self.stream_id or self.message_id


_ids = msgspec.json.Decoder(RequestIds)
_from_app: MessageDecoder[FromApp] = MessageDecoder(FromApp)
_from_cloud: MessageDecoder[FromCloud] = MessageDecoder(FromCloud)
_data: MessageDecoder[StreamData] = MessageDecoder(StreamData)


def decode_from_app(text: str | bytes) -> FromApp | UnknownMessage:
    """What an app said. Raises MalformedMessage."""
    return _from_app.decode(text)


def request_ids(text: str | bytes) -> RequestIds:
    """Of a message whose type is not known; none where they cannot be used."""
    try:
        return _ids.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return RequestIds()


def decode_from_cloud(text: str | bytes) -> FromCloud | UnknownMessage:
    """What a cloud said. Raises MalformedMessage."""
    return _from_cloud.decode(text)


def read_data(message: DataStream) -> StreamData | UnknownMessage:
    """What the message carries. Raises MalformedMessage."""
    return _data.decode(bytes(message.data))


# ---- webhook


class SessionRequest(Message, tag="session_request", frozen=True, kw_only=True):
    """The app is to open a socket for this user at the given URL."""

    session_id: str
    user_id: str
    mentraos_websocket_url: str = msgspec.field(name="mentraOSWebsocketUrl", default="")
    augmentos_websocket_url: str = msgspec.field(name="augmentOSWebsocketUrl", default="")
    """The same URL under its older name."""
    cloud: str = ""
    """Ours: names the cloud that asks, and this run of it; several may be behind one address."""
    timestamp: Timestamp = None

    @property
    def websocket_url(self) -> str:
        return self.mentraos_websocket_url or self.augmentos_websocket_url


class StopRequest(Message, tag="stop_request", frozen=True, kw_only=True):
    """The app's session is over."""

    session_id: str
    user_id: str
    reason: str
    cloud: str = ""
    """Ours: as in SessionRequest. What another cloud than the newest to ask says about stopping counts for nothing."""
    timestamp: Timestamp = None


class PhotoError(Message, tag="photo_error", frozen=True, kw_only=True, omit_defaults=False):
    """There is no photo; for PHOTO_PATH, where the original's SDK 2 expects what became of its request."""

    request_id: str
    error_code: str
    error_message: str
    success: bool = False


WebhookRequest = SessionRequest | StopRequest
_webhook: MessageDecoder[WebhookRequest] = MessageDecoder(WebhookRequest)


def decode_webhook(body: bytes) -> WebhookRequest | UnknownMessage:
    """What a webhook was called with. Raises MalformedMessage."""
    return _webhook.decode(body)


def raw(data: Message) -> msgspec.Raw:
    """A message as what a data_stream carries."""
    return msgspec.Raw(encode(data).encode())
