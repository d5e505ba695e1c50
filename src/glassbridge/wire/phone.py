"""Messages of the phone socket (`/glasses-ws`), with the original's type and field names.

Decode with `decode_from_phone` / `decode_from_cloud`. Unknown types are tolerated (UnknownMessage), broken ones raise
MalformedMessage, whose text says what is wrong and quotes nothing that was sent.
"""

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from glassbridge.wire.codec import Count, Instant, Integer, MessageDecoder, Name, Text, Timestamp, Word
from glassbridge.wire.codec import MalformedMessage as MalformedMessage
from glassbridge.wire.codec import Message as Message
from glassbridge.wire.codec import UnknownMessage as UnknownMessage
from glassbridge.wire.codec import encode as encode
from glassbridge.wire.device_events import DeviceEvents
from glassbridge.wire.display import Layout
from glassbridge.wire.display import TextWall as TextWall

Millis = int
"""Unix time in milliseconds, as the original's timestamps that are numbers."""


# ---- phone to cloud


class ConnectionInit(Message, tag="connection_init", frozen=True, kw_only=True):
    """Greets; harmless when repeated (hazard C-10)."""

    user_id: Name | None = None
    core_token: Text | None = None

    def __repr__(self) -> str:
        return f"ConnectionInit(user_id={self.user_id!r})"


class MicrophoneStateChange(Message, tag="microphone_state_change", frozen=True, kw_only=True):
    """Cloud to phone: switch the microphone. Phone to cloud: it is now so."""

    is_microphone_enabled: bool
    required_data: Annotated[list[Word], Meta(max_length=16)] | None = None
    """`pcm`, `transcription`, `pcm_or_transcription`; the cloud always says it, phones may leave it out."""
    bypass_vad: bool | None = None
    session_id: Name | None = None
    timestamp: Timestamp = None


class Vad(Message, tag="VAD", frozen=True, kw_only=True):
    """Voice activity; the original's phones send the status as bool or as text."""

    status: bool | Literal["true", "false"]
    timestamp: Timestamp = None

    @property
    def speaking(self) -> bool:
        return self.status is True or self.status == "true"


class Wifi(msgspec.Struct, rename="camel", frozen=True):
    connected: bool = False
    ssid: Name | None = None


class GlassesConnectionState(Message, tag="glasses_connection_state", frozen=True, kw_only=True):
    """State of the glasses beside the phone."""

    status: Name
    model_name: Name = ""
    wifi: Wifi | None = None
    timestamp: Timestamp = None


class NetworkStateChange(Message, tag="network_state_change", frozen=True, kw_only=True):
    """Ours. The phone's network is back or another one, or the phone has taken a new place in its room: what the cloud
    would wait for to try again is tried now. More than one a second is not heard."""

    timestamp: Timestamp = None


class LinkProbe(Message, tag="link_probe", frozen=True, kw_only=True):
    """Ours. Bytes that mean nothing: how long they take tells the phone how much its link carries. Sent before the
    first audio, at once or in parts, to clouds that name `codings`."""

    padding: Annotated[str, Meta(max_length=8_192)] = ""


class LocalTranscription(Message, tag="local_transcription", frozen=True, kw_only=True):
    """What the phone itself has understood; apps get it as any other transcription."""

    text: Text
    is_final: bool = True
    start_time: Instant = 0
    end_time: Instant = 0
    """Milliseconds, by the phone's own count."""
    speaker_id: Name | Integer | None = None
    transcribe_language: Word = "en-US"
    provider: Name = "phone"
    timestamp: Timestamp = None


class StartApp(Message, tag="start_app", frozen=True, kw_only=True):
    """The user starts an app; answered by app_started, or by app_stopped with what is wrong."""

    package_name: Name
    timestamp: Timestamp = None


class StopApp(Message, tag="stop_app", frozen=True, kw_only=True):
    """The user stops an app."""

    package_name: Name
    timestamp: Timestamp = None


class Ping(Message, tag="ping", frozen=True, kw_only=True):
    """Either side may ask at any time; `timestamp` comes back in the pong."""

    timestamp: Timestamp = None
    sent: tuple[Count, Count] | None = None
    """Ours, of phones: frames of the microphone, presence included, that this phone has sent so far, into its room and
    on sockets."""
    every: Annotated[float, Meta(ge=0)] | None = None
    """Ours, of phones: seconds until its next one, whatever happens; the cloud may miss it from the first one on."""


class Pong(Message, tag="pong", frozen=True, kw_only=True):
    timestamp: Timestamp = None
    room_age_ms: int | None = None
    """Ours, of the cloud: how long ago something of this phone came out of its room; left out: nothing has. Sound of a
    track has no numbers: so a phone knows what of it goes again, by its socket, where the room is lost."""


# ---- cloud to phone


class LiveKitInfo(msgspec.Struct, rename="camel", frozen=True):
    """Where the phone's room is."""

    url: str
    room_name: str
    token: str

    def __repr__(self) -> str:
        return f"LiveKitInfo(room_name={self.room_name!r})"


class AudioPosition(msgspec.Struct, frozen=True):
    """Up to where this backend knows an epoch."""

    epoch: int
    position: int


class ConnectionAck(Message, tag="connection_ack", frozen=True, kw_only=True):
    """The socket is accepted. Says nothing about audio (system.md promise 3)."""

    session_id: str
    timestamp: Timestamp = None
    livekit: LiveKitInfo | None = None
    audio: int = 1
    """2 when numbered WebSocket frames were negotiated (`audio=2`)."""
    known: AudioPosition | None = None
    resumed: bool = False
    """True when this session lived already."""
    pings: bool = False
    """True: pings are answered, so the phone may miss a cloud from which no answer ever came."""
    codings: tuple[int, ...] = ()
    """Codings of numbered frames that are understood beside PCM16. A cloud that names one also reports what arrived by
    which route (`audio_ack`)."""
    beside: bool = False
    """True: the phone may open a second socket that carries its numbered audio beside this one (`beside=true`)."""
    sockets_beside: int = 1
    """So many of them at once; a further one takes the place of the oldest."""


class ConnectionError_(Message, tag="connection_error", frozen=True, kw_only=True):
    """codes: INVALID_TOKEN, SESSION_ERROR, MALFORMED_MESSAGE, MESSAGE_TOO_BIG, RATE_LIMITED, INTERNAL_ERROR."""

    message: str
    code: str | None = None
    timestamp: Timestamp = None


class AuthError(Message, tag="auth_error", frozen=True, kw_only=True):
    message: str
    timestamp: Timestamp = None


PHONE_REJOINS: Final = frozenset({"phone_not_in_room", "phone_unheard"})
"""Codes of an audio_state (its `hop` is then `phone`) that ask the phone to leave its LiveKit room and to join it anew
with a fresh token, unless it is joining already. The cloud keeps its own place meanwhile."""


PHONE_RESTARTS_CAPTURE: Final = frozenset({"digital_silence", "stuck_signal", "clipped_signal"})
"""Codes of an audio_state, beside `live`, that ask the phone to start its capture anew: its place in the room is sound,
and what comes from there is not the sound of a living microphone."""
PHONE_MAY_BE_HEARD_BY_SOCKET: Final = frozenset(
    {"encrypted", "codec_unsupported", "subscription_denied", "publish_denied"}
)
"""Codes of an audio_state that says why the phone's voice cannot be heard in the room. Joining anew changes nothing;
audio by the WebSocket is welcome. `muted` (with `connecting`) is no fault: the phone's microphone is muted there."""


class AudioStateNotice(Message, tag="audio_state", frozen=True, kw_only=True):
    """Ours. Sent after the ack and on each change; the truth about audio.

    When audio is missed it comes first without `hop`, within three seconds, and again as soon as the dead hop is known.
    """

    state: Literal["live", "connecting", "interrupted", "unavailable"]
    reason: str = ""
    """A reason a person can read; empty when live, unless only the recogniser fails or is slow."""
    code: str = ""
    """The same for programs: `joining`, `awaiting_audio`, `muted`, `no_audio`, or the code of what is wrong."""
    hop: Literal["phone", "livekit", "bridge", "stream", "recogniser"] | None = None
    """Where on the way audio dies, once that is known. With `live`: `recogniser`, audio flows and captions do not;
    `phone`, audio flows and is not the sound of a living microphone."""
    since: Millis
    retry_in_ms: int | None = None
    transport: Literal["livekit", "websocket"] | None = None
    """Where audio is welcome now: in the LiveKit room, unless nobody is there to hear it, or nothing came through."""
    traceparent: str = ""
    """The trace of what is being done about it (W3C Trace Context), for a phone that traces too."""
    seconds: float | None = None
    """With `live` and the code `recogniser_slow`: about how late captions come. They go on."""


class AudioAck(Message, tag="audio_ack", frozen=True, kw_only=True):
    """Ours. Everything before `position` is delivered or given up."""

    epoch: int
    position: int
    missing: tuple[tuple[int, int], ...] = ()
    """Stretches [start, stop) that have not come, the oldest first: a phone that has them sends them again. Those
    before `position` were given up, those after it may still be on their way."""
    lost: int = 0
    """Samples before `position` that were given up and have not come since; the others were delivered or never
    captured."""
    room: tuple[int, int, int] | None = None
    """What came by the room: frames with new samples so far, the position after the newest of them, and by how many
    ms the quickest of them since the last report was slower than the quickest of all."""
    socket: tuple[int, int, int] | None = None
    """The same for the phone's socket."""


class EpochEnd(Message, tag="epoch_end", frozen=True, kw_only=True):
    """Ours. The clock that stamps this epoch's frames has stepped, or stood still in sleep: begin a new epoch, by a
    clock that does not, where there is one. A phone that cannot goes on; what it sends is understood."""

    epoch: int


class TranscriptGap(Message, tag="transcript_gap", frozen=True, kw_only=True):
    """Ours, to phones and to apps that hear what is said: words are missing here. Told as soon as it is known, and
    again with the same `id` when that changes."""

    id: str
    at_ms: int
    """Of the session's audio, as the times of transcripts: what was said before comes before it."""
    seconds: float
    state: Literal["open", "filled", "kept"]
    """`open`: the phone may still send it. `filled`: it did, and the words come after what was said before. `kept`: the
    words are lost."""


class SpeechEndNotice(Message, tag="speech_end", frozen=True, kw_only=True):
    """Ours. Everything that was said until the microphone stopped has been captioned; no caption of it comes later."""

    captioned: bool = True
    """False when there is nobody to caption, or not all of it could be kept: the rest will not come."""
    timestamp: Timestamp = None


class DisplayEvent(Message, tag="display_event", frozen=True, kw_only=True):
    """Something to show on the glasses."""

    MAX_BYTES: ClassVar[int] = 256 << 10
    """A picture."""

    view: Literal["main", "dashboard"]
    layout: Layout
    package_name: str
    duration_ms: int | None = None
    is_final: bool | None = None
    """Ours: whether a caption can still change. Older phones ignore it."""
    start_ms: int | None = None
    """Ours: when a caption was spoken, from here"""
    end_ms: int | None = None
    """to here, in milliseconds of the session's audio."""
    id: str | None = None
    """Ours: of a caption that is final."""
    replaces: tuple[str, ...] = ()
    """Ours: ids of captions that this one takes the place of, with those that come after it and insert into the same
    hole: what was spoken came late, and was understood anew."""
    inserts: str | None = None
    """Ours: the hole that this caption fills. Its place is before what was spoken later, by `start_ms`."""
    timestamp: Timestamp = None


class SetLocationTier(Message, tag="set_location_tier", frozen=True, kw_only=True):
    """How exactly apps want to know where the phone is: `standard`, or `reduced` when none asks."""

    tier: Literal["standard", "reduced"]
    timestamp: Timestamp = None


class RequestSingleLocation(Message, tag="request_single_location", frozen=True, kw_only=True):
    """An app asks where the phone is; answered by a location_update with the same id."""

    accuracy: str
    correlation_id: str
    timestamp: Timestamp = None


class AppStarted(Message, tag="app_started", frozen=True, kw_only=True):
    """The app runs: it has a socket here."""

    package_name: str
    timestamp: Timestamp = None


class AppStateChange(Message, tag="app_state_change", frozen=True, kw_only=True):
    """How an app is, on each change."""

    package_name: str
    state: Literal["starting", "running", "reconnecting", "stopped"] | None = None
    """Ours."""
    timestamp: Timestamp = None


class AppStopped(Message, tag="app_stopped", frozen=True, kw_only=True):
    """The app does not run any more, or could not be started."""

    package_name: str
    reason: str = ""
    """Ours: user_disabled, system_stop or error."""
    code: str | None = None
    """Ours, of a start that failed: PACKAGE_NOT_FOUND, TOO_MANY_APPS, RATE_LIMITED, INTERNAL_ERROR."""
    error: str | None = None
    """Ours: a reason a person can read, when nobody asked for the stop."""
    timestamp: Timestamp = None


FromPhone = (
    ConnectionInit
    | MicrophoneStateChange
    | Vad
    | GlassesConnectionState
    | NetworkStateChange
    | LinkProbe
    | LocalTranscription
    | StartApp
    | StopApp
    | DeviceEvents
    | Ping
    | Pong
)
FromCloud = (
    ConnectionAck
    | ConnectionError_
    | AuthError
    | MicrophoneStateChange
    | AudioStateNotice
    | AudioAck
    | EpochEnd
    | SpeechEndNotice
    | TranscriptGap
    | DisplayEvent
    | SetLocationTier
    | RequestSingleLocation
    | AppStarted
    | AppStateChange
    | AppStopped
    | Ping
    | Pong
)

_from_phone: MessageDecoder[FromPhone] = MessageDecoder(FromPhone)
_from_cloud: MessageDecoder[FromCloud] = MessageDecoder(FromCloud)


def decode_from_phone(text: str | bytes) -> FromPhone | UnknownMessage:
    """What a phone said. Raises MalformedMessage."""
    return _from_phone.decode(text)


def decode_from_cloud(text: str | bytes) -> FromCloud | UnknownMessage:
    """What a cloud said. Raises MalformedMessage."""
    return _from_cloud.decode(text)
