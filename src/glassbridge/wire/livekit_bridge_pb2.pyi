from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hindrance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HINDRANCE_NONE: _ClassVar[Hindrance]
    HINDRANCE_MUTED: _ClassVar[Hindrance]
    HINDRANCE_ENCRYPTED: _ClassVar[Hindrance]
    HINDRANCE_CODEC: _ClassVar[Hindrance]
    HINDRANCE_SUBSCRIPTION_DENIED: _ClassVar[Hindrance]
    HINDRANCE_PUBLISH_DENIED: _ClassVar[Hindrance]

class AudioSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_SOURCE_UNKNOWN: _ClassVar[AudioSource]
    AUDIO_SOURCE_PACKET_NUMBERED: _ClassVar[AudioSource]
    AUDIO_SOURCE_PACKET_SEQUENCE: _ClassVar[AudioSource]
    AUDIO_SOURCE_PACKET_PLAIN: _ClassVar[AudioSource]
    AUDIO_SOURCE_TRACK: _ClassVar[AudioSource]

class DisconnectReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_NONE: _ClassVar[DisconnectReason]
    REASON_SUPERSEDED: _ClassVar[DisconnectReason]
    REASON_REMOVED: _ClassVar[DisconnectReason]
    REASON_ROOM_DELETED: _ClassVar[DisconnectReason]
    REASON_TOKEN_EXPIRED: _ClassVar[DisconnectReason]
    REASON_TOKEN_REFUSED: _ClassVar[DisconnectReason]
    REASON_WRONG_ROOM: _ClassVar[DisconnectReason]
    REASON_SERVER_SHUTDOWN: _ClassVar[DisconnectReason]
    REASON_NETWORK: _ClassVar[DisconnectReason]
    REASON_UNREACHABLE: _ClassVar[DisconnectReason]
    REASON_MEDIA_FAILED: _ClassVar[DisconnectReason]
    REASON_FROZEN: _ClassVar[DisconnectReason]
    REASON_CLOSED: _ClassVar[DisconnectReason]
    REASON_REPLACED: _ClassVar[DisconnectReason]
    REASON_STREAM_BROKEN: _ClassVar[DisconnectReason]
    REASON_TIMED_OUT: _ClassVar[DisconnectReason]
    REASON_INTERNAL: _ClassVar[DisconnectReason]
    REASON_LIMIT_EXCEEDED: _ClassVar[DisconnectReason]
    REASON_CLOCK_SKEW: _ClassVar[DisconnectReason]
HINDRANCE_NONE: Hindrance
HINDRANCE_MUTED: Hindrance
HINDRANCE_ENCRYPTED: Hindrance
HINDRANCE_CODEC: Hindrance
HINDRANCE_SUBSCRIPTION_DENIED: Hindrance
HINDRANCE_PUBLISH_DENIED: Hindrance
AUDIO_SOURCE_UNKNOWN: AudioSource
AUDIO_SOURCE_PACKET_NUMBERED: AudioSource
AUDIO_SOURCE_PACKET_SEQUENCE: AudioSource
AUDIO_SOURCE_PACKET_PLAIN: AudioSource
AUDIO_SOURCE_TRACK: AudioSource
REASON_NONE: DisconnectReason
REASON_SUPERSEDED: DisconnectReason
REASON_REMOVED: DisconnectReason
REASON_ROOM_DELETED: DisconnectReason
REASON_TOKEN_EXPIRED: DisconnectReason
REASON_TOKEN_REFUSED: DisconnectReason
REASON_WRONG_ROOM: DisconnectReason
REASON_SERVER_SHUTDOWN: DisconnectReason
REASON_NETWORK: DisconnectReason
REASON_UNREACHABLE: DisconnectReason
REASON_MEDIA_FAILED: DisconnectReason
REASON_FROZEN: DisconnectReason
REASON_CLOSED: DisconnectReason
REASON_REPLACED: DisconnectReason
REASON_STREAM_BROKEN: DisconnectReason
REASON_TIMED_OUT: DisconnectReason
REASON_INTERNAL: DisconnectReason
REASON_LIMIT_EXCEEDED: DisconnectReason
REASON_CLOCK_SKEW: DisconnectReason

class AudioChunk(_message.Message):
    __slots__ = ("pcm_data", "sample_rate", "channels", "timestamp_ms", "user_id", "track_id", "generation", "number", "source", "heartbeat", "age_us", "news", "hops")
    PCM_DATA_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    AGE_US_FIELD_NUMBER: _ClassVar[int]
    NEWS_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    pcm_data: bytes
    sample_rate: int
    channels: int
    timestamp_ms: int
    user_id: str
    track_id: int
    generation: int
    number: FrameNumber
    source: AudioSource
    heartbeat: bool
    age_us: int
    news: RoomNews
    hops: HopCounts
    def __init__(self, pcm_data: _Optional[bytes] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., timestamp_ms: _Optional[int] = ..., user_id: _Optional[str] = ..., track_id: _Optional[int] = ..., generation: _Optional[int] = ..., number: _Optional[_Union[FrameNumber, _Mapping]] = ..., source: _Optional[_Union[AudioSource, str]] = ..., heartbeat: _Optional[bool] = ..., age_us: _Optional[int] = ..., news: _Optional[_Union[RoomNews, _Mapping]] = ..., hops: _Optional[_Union[HopCounts, _Mapping]] = ...) -> None: ...

class RoomNews(_message.Message):
    __slots__ = ("phone_here", "phone_publishes", "leaving", "hindrance", "codec")
    PHONE_HERE_FIELD_NUMBER: _ClassVar[int]
    PHONE_PUBLISHES_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    HINDRANCE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    phone_here: bool
    phone_publishes: bool
    leaving: bool
    hindrance: Hindrance
    codec: str
    def __init__(self, phone_here: _Optional[bool] = ..., phone_publishes: _Optional[bool] = ..., leaving: _Optional[bool] = ..., hindrance: _Optional[_Union[Hindrance, str]] = ..., codec: _Optional[str] = ...) -> None: ...

class HopCounts(_message.Message):
    __slots__ = ("livekit_in", "bridge_out")
    LIVEKIT_IN_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_OUT_FIELD_NUMBER: _ClassVar[int]
    livekit_in: int
    bridge_out: int
    def __init__(self, livekit_in: _Optional[int] = ..., bridge_out: _Optional[int] = ...) -> None: ...

class FrameNumber(_message.Message):
    __slots__ = ("flags", "coding", "epoch", "position", "capture_time_us")
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    CODING_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    flags: int
    coding: int
    epoch: int
    position: int
    capture_time_us: int
    def __init__(self, flags: _Optional[int] = ..., coding: _Optional[int] = ..., epoch: _Optional[int] = ..., position: _Optional[int] = ..., capture_time_us: _Optional[int] = ...) -> None: ...

class JoinRoomRequest(_message.Message):
    __slots__ = ("user_id", "room_name", "token", "livekit_url", "target_identity", "generation", "session_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ROOM_NAME_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LIVEKIT_URL_FIELD_NUMBER: _ClassVar[int]
    TARGET_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    room_name: str
    token: str
    livekit_url: str
    target_identity: str
    generation: int
    session_id: str
    def __init__(self, user_id: _Optional[str] = ..., room_name: _Optional[str] = ..., token: _Optional[str] = ..., livekit_url: _Optional[str] = ..., target_identity: _Optional[str] = ..., generation: _Optional[int] = ..., session_id: _Optional[str] = ...) -> None: ...

class JoinRoomResponse(_message.Message):
    __slots__ = ("success", "error", "participant_id", "participant_count", "metadata", "reason")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_ID_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    success: bool
    error: str
    participant_id: str
    participant_count: int
    metadata: _containers.ScalarMap[str, str]
    reason: DisconnectReason
    def __init__(self, success: _Optional[bool] = ..., error: _Optional[str] = ..., participant_id: _Optional[str] = ..., participant_count: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., reason: _Optional[_Union[DisconnectReason, str]] = ...) -> None: ...

class LeaveRoomRequest(_message.Message):
    __slots__ = ("user_id", "reason", "generation")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    reason: str
    generation: int
    def __init__(self, user_id: _Optional[str] = ..., reason: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class LeaveRoomResponse(_message.Message):
    __slots__ = ("success", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    error: str
    def __init__(self, success: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class PlayAudioRequest(_message.Message):
    __slots__ = ("request_id", "audio_url", "volume", "stop_other", "user_id", "track_id", "sample_rate", "position_ms", "own_address")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AUDIO_URL_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    STOP_OTHER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    POSITION_MS_FIELD_NUMBER: _ClassVar[int]
    OWN_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    audio_url: str
    volume: float
    stop_other: bool
    user_id: str
    track_id: int
    sample_rate: int
    position_ms: int
    own_address: str
    def __init__(self, request_id: _Optional[str] = ..., audio_url: _Optional[str] = ..., volume: _Optional[float] = ..., stop_other: _Optional[bool] = ..., user_id: _Optional[str] = ..., track_id: _Optional[int] = ..., sample_rate: _Optional[int] = ..., position_ms: _Optional[int] = ..., own_address: _Optional[str] = ...) -> None: ...

class PlayAudioEvent(_message.Message):
    __slots__ = ("type", "request_id", "duration_ms", "position_ms", "error", "metadata")
    class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STARTED: _ClassVar[PlayAudioEvent.EventType]
        PROGRESS: _ClassVar[PlayAudioEvent.EventType]
        COMPLETED: _ClassVar[PlayAudioEvent.EventType]
        FAILED: _ClassVar[PlayAudioEvent.EventType]
    STARTED: PlayAudioEvent.EventType
    PROGRESS: PlayAudioEvent.EventType
    COMPLETED: PlayAudioEvent.EventType
    FAILED: PlayAudioEvent.EventType
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    POSITION_MS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    type: PlayAudioEvent.EventType
    request_id: str
    duration_ms: int
    position_ms: int
    error: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, type: _Optional[_Union[PlayAudioEvent.EventType, str]] = ..., request_id: _Optional[str] = ..., duration_ms: _Optional[int] = ..., position_ms: _Optional[int] = ..., error: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StopAudioRequest(_message.Message):
    __slots__ = ("user_id", "request_id", "reason", "track_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    request_id: str
    reason: str
    track_id: int
    def __init__(self, user_id: _Optional[str] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ..., track_id: _Optional[int] = ...) -> None: ...

class StopAudioResponse(_message.Message):
    __slots__ = ("success", "error", "stopped_request_id")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STOPPED_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    success: bool
    error: str
    stopped_request_id: str
    def __init__(self, success: _Optional[bool] = ..., error: _Optional[str] = ..., stopped_request_id: _Optional[str] = ...) -> None: ...

class HealthCheckRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class HealthCheckResponse(_message.Message):
    __slots__ = ("status", "active_sessions", "active_streams", "uptime_seconds", "metadata")
    class ServingStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[HealthCheckResponse.ServingStatus]
        SERVING: _ClassVar[HealthCheckResponse.ServingStatus]
        NOT_SERVING: _ClassVar[HealthCheckResponse.ServingStatus]
        SERVICE_UNKNOWN: _ClassVar[HealthCheckResponse.ServingStatus]
    UNKNOWN: HealthCheckResponse.ServingStatus
    SERVING: HealthCheckResponse.ServingStatus
    NOT_SERVING: HealthCheckResponse.ServingStatus
    SERVICE_UNKNOWN: HealthCheckResponse.ServingStatus
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_STREAMS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    status: HealthCheckResponse.ServingStatus
    active_sessions: int
    active_streams: int
    uptime_seconds: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, status: _Optional[_Union[HealthCheckResponse.ServingStatus, str]] = ..., active_sessions: _Optional[int] = ..., active_streams: _Optional[int] = ..., uptime_seconds: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class BridgeStatusRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class BridgeStatusResponse(_message.Message):
    __slots__ = ("connected", "participant_id", "participant_count", "last_disconnect_at", "last_disconnect_reason", "server_version", "generation", "last_disconnect_cause", "last_audio_age_ms", "news")
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_ID_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_DISCONNECT_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_DISCONNECT_REASON_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LAST_DISCONNECT_CAUSE_FIELD_NUMBER: _ClassVar[int]
    LAST_AUDIO_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    NEWS_FIELD_NUMBER: _ClassVar[int]
    connected: bool
    participant_id: str
    participant_count: int
    last_disconnect_at: int
    last_disconnect_reason: str
    server_version: str
    generation: int
    last_disconnect_cause: DisconnectReason
    last_audio_age_ms: int
    news: RoomNews
    def __init__(self, connected: _Optional[bool] = ..., participant_id: _Optional[str] = ..., participant_count: _Optional[int] = ..., last_disconnect_at: _Optional[int] = ..., last_disconnect_reason: _Optional[str] = ..., server_version: _Optional[str] = ..., generation: _Optional[int] = ..., last_disconnect_cause: _Optional[_Union[DisconnectReason, str]] = ..., last_audio_age_ms: _Optional[int] = ..., news: _Optional[_Union[RoomNews, _Mapping]] = ...) -> None: ...

class SessionStats(_message.Message):
    __slots__ = ("user_id", "audio_frames_sent", "audio_frames_received", "bytes_sent", "bytes_received", "session_duration_ms", "room_name", "participant_count")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FRAMES_SENT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FRAMES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SESSION_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    ROOM_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    audio_frames_sent: int
    audio_frames_received: int
    bytes_sent: int
    bytes_received: int
    session_duration_ms: int
    room_name: str
    participant_count: int
    def __init__(self, user_id: _Optional[str] = ..., audio_frames_sent: _Optional[int] = ..., audio_frames_received: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., bytes_received: _Optional[int] = ..., session_duration_ms: _Optional[int] = ..., room_name: _Optional[str] = ..., participant_count: _Optional[int] = ...) -> None: ...
