"""What every REST route takes and gives, as docs/protocol/rest.openapi.json tells it.

tools/describe_protocol.py puts it together with the server's own routes and their docstrings, and fails when a route is
not told here or none is where one is told.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from glassbridge.cloud.exchange import PATHS as EXCHANGE_PATHS
from glassbridge.cloud.exchange import LoginToken
from glassbridge.cloud.phone_rest import AudioFormat
from glassbridge.wire.device_events import (
    CalendarEvent,
    GlassesInfo,
    Location,
    PhoneNotification,
    PhoneNotificationDismissed,
)
from glassbridge.wire.recorder_file import RecorderFile

Auth = Literal["none", "user", "app", "admin"]
NOT_TOLD: Final = ("/console", "/api/dev", "/glasses-ws", "/ws/", "/app-ws", "/at/")
"""Beginnings of paths that are no REST: pages, sockets (see *.asyncapi.json), what only a development machine has."""


class Room(msgspec.Struct):
    """Where the phone's LiveKit room is."""

    url: str
    token: str
    room: str
    identity: str


class App(msgspec.Struct, rename="camel"):
    """An app, and how it is for this user."""

    package_name: str
    name: str
    permissions: list[str]
    running: bool
    state: str


class AppState(msgspec.Struct, rename="camel"):
    """The outcome of a start or a stop."""

    package_name: str
    state: str


class Segment(msgspec.Struct, rename="camel"):
    """Something that was finally understood; more fields where they are known."""

    text: str


class WordsMissing(msgspec.Struct, rename="camel"):
    """A stretch of speech that did not come; `start_time` as the times of segments."""

    id: str
    start_time: int
    seconds: float
    state: Literal["open", "kept"]


class Words(msgspec.Struct, rename="camel"):
    """What was understood lately, the oldest first."""

    segments: list[Segment]
    gaps: list[WordsMissing]
    kept_seconds: float


class Sound(msgspec.Struct, rename="camel"):
    """Where a sound that was brought is to be found, on this cloud, and for how long."""

    path: str
    kept_seconds: float


class Count(msgspec.Struct, rename="camel"):
    active_count: int


class Bridges(msgspec.Struct):
    live: int
    total: int


class Health(msgspec.Struct, omit_defaults=True):
    """What is true of this cloud; counts are for operators only (admin token, or cookie)."""

    status: Literal["ok", "degraded", "draining"]
    timestamp: str
    sessions: Count | None = None
    bridges: Bridges | None = None
    tasks: int | None = None


class Ready(msgspec.Struct):
    """New phones are welcome."""

    status: Literal["ready"]
    bridges: int


class AppSettings(msgspec.Struct, rename="camel"):
    """Of an app: each as its maker declared it, with the user's `value`."""

    package_name: str
    name: str
    settings: list[dict[str, Any]]


class SettingChange(msgspec.Struct):
    """Null is the default again."""

    key: str
    value: Any


class PhoneSettings(msgspec.Struct):
    """Kept beside those that are there."""

    settings: dict[str, Any]


class OneValue(msgspec.Struct):
    value: Any


class OneText(msgspec.Struct):
    value: str


class Texts(msgspec.Struct):
    """Kept beside those that are there."""

    data: dict[str, str]


class GlassesNow(msgspec.Struct, rename="camel"):
    """What is known of the glasses now."""

    is_glasses_connected: bool
    is_phone_connected: bool
    model_name: str | None
    capabilities: dict[str, Any] | None


class HandedOn(msgspec.Struct, rename="camel"):
    """To the apps that listen."""

    handed_on: int


class Versions(msgspec.Struct):
    """Of the phone's app."""

    required: str
    recommended: str


class CoreToken(msgspec.Struct, rename="camel"):
    """It stands beside `data`, too, where clients of the original look for it."""

    core_token: str


class Nothing(msgspec.Struct):
    """It was done."""


class Login(msgspec.Struct):
    """Callers that may see everything."""

    token: str


class SignedIn(msgspec.Struct):
    """The id of the sign-in."""

    id: str


class SignInRow(msgspec.Struct):
    """A browser that is signed in; `own`: the one that asks."""

    id: str
    peer: str
    since_ms: int
    seen_ms: int
    expires_ms: int
    own: bool


class SignIns(msgspec.Struct, rename="camel"):
    """The one that was seen last first."""

    sign_ins: list[SignInRow]


class AdminSessions(msgspec.Struct):
    """See docs/recorder.md."""

    now_ms: int
    development: bool
    sessions: list[dict[str, Any]]
    nodes: list[dict[str, Any]] = []
    """Of several clouds: which there are, and which of them answered."""


class Fault(msgspec.Struct):
    """`code` is for programs, `message` for people."""

    code: str
    message: str


class Failure(msgspec.Struct):
    """Every error has this shape."""

    success: Literal[False]
    error: Fault
    timestamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. `data` is the type of what stands under `data` of a success; with `bare` it is the whole answer."""

    auth: Auth = "none"
    query: dict[str, str] | None = None
    """Name and meaning; all may be left out, unless the meaning says otherwise."""
    body: type | None = None
    data: Any = None
    bare: bool = False
    media: str = "application/json"
    """Of a success; without `data` it is text or sound."""
    errors: dict[int, str] | None = None


_PACKAGE_STARTS = Operation(
    auth="user",
    data=AppState,
    errors={
        404: "PACKAGE_NOT_FOUND",
        429: "TOO_MANY_APPS",
        502: "APP_NOT_STARTED: its server does not answer, or did not connect",
        503: "SESSION_NOT_FOUND: connect the phone first",
        504: "APP_NOT_STARTED: it is still being started",
    },
)
_PACKAGE_STOPS = Operation(auth="user", data=AppState, errors={503: "SESSION_NOT_FOUND: connect the phone first"})
_TRANSCRIPTS = Operation(
    auth="user",
    query={
        "duration": "seconds back from now",
        "startTime": "ISO 8601 or unix milliseconds",
        "endTime": "ISO 8601 or unix milliseconds",
        "language": "of the text, such as en-US",
    },
    data=Words,
    errors={400: "BAD_REQUEST", 403: "FORBIDDEN: somebody else's words", 503: "SESSION_NOT_FOUND"},
)
_STORE = {503: "STORE_UNAVAILABLE"}
_APP_SETTINGS = {404: "PACKAGE_NOT_FOUND"} | _STORE
_PHONE_WRITES = {400: "BAD_REQUEST", 413: "TOO_LARGE"} | _STORE
_STORAGE = {
    401: "INVALID_API_KEY",
    404: "USER_NOT_FOUND: this user has never started the app",
    429: "RATE_LIMITED",
} | _STORE
_STORES = _STORAGE | {400: "BAD_REQUEST", 413: "TOO_LARGE"}
_TOLD_BY_PHONE = {400: "BAD_REQUEST", 503: "SESSION_NOT_FOUND: connect the phone first"}
_STORAGE_PATH, _SETTINGS_PATH = "/api/sdk/simple-storage/{user}", "/api/client/user/settings"
_ADMIN_ERRORS = {403: "ADMIN_DISABLED", 429: "TOO_MANY_ATTEMPTS"}

_EXCHANGE = Operation(
    body=LoginToken,
    data=CoreToken,
    errors={
        400: "BAD_REQUEST",
        401: "INVALID_TOKEN, TOKEN_EXPIRED, TOKEN_LIVES_TOO_LONG, EMAIL_NOT_VERIFIED",
        403: "EXCHANGE_DISABLED: the cloud has no core secret, or no login service",
        408: "REQUEST_TIMEOUT",
        413: "TOO_LARGE",
        429: "RATE_LIMITED, with Retry-After",
        503: "KEYS_UNAVAILABLE: try again",
    },
)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/api/client/livekit/token"): Operation(auth="user", data=Room),
    ("GET", "/api/client/apps"): Operation(auth="user", data=list[App]),
    ("POST", "/apps/{package}/start"): _PACKAGE_STARTS,
    ("POST", "/apps/{package}/stop"): _PACKAGE_STOPS,
    ("POST", "/api/client/apps/{package}/start"): _PACKAGE_STARTS,
    ("POST", "/api/client/apps/{package}/stop"): _PACKAGE_STOPS,
    ("GET", "/api/client/transcripts"): _TRANSCRIPTS,
    ("GET", "/api/transcripts/{session}"): _TRANSCRIPTS,
    ("GET", "/api/tts"): Operation(
        auth="app",
        query={
            "text": "what to say, 1 to 2000 characters; required",
            "voice_id": "its name, as the voice's maker gives it",
            "model_id": "for voices that have several",
            "voice_settings": "JSON object, for voices that know it",
            "app": "package name of the app that signs; without it a core token is asked for",
            "signature": "t=<unix seconds>,v1=<HMAC-SHA256 of what is said>, as glassbridge.app makes it",
        },
        media="audio/*",
        errors={422: "CANNOT_SAY", 501: "NO_VOICE"},
    ),
    ("POST", "/api/sounds"): Operation(
        auth="app",
        query={"app": "package name of the app that signs; required"},
        body=bytes,
        data=Sound,
        errors={
            400: "BAD_REQUEST, or WRONG_DIGEST: another sound than was signed for",
            408: "REQUEST_TIMEOUT",
            411: "LENGTH_REQUIRED",
            413: "TOO_LARGE",
            429: "TOO_MANY_UPLOADS: other sounds of the app are on their way",
        },
    ),
    ("GET", "/api/sounds/{name}"): Operation(media="application/octet-stream", errors={404: "NO_SUCH_SOUND"}),
    ("GET", "/appsettings/{package}"): Operation(auth="user", data=AppSettings, errors=_APP_SETTINGS),
    ("POST", "/appsettings/{package}"): Operation(
        auth="user",
        body=SettingChange,
        data=AppSettings,
        errors={400: "BAD_REQUEST", 413: "TOO_LARGE", 422: "WRONG_VALUE"} | _APP_SETTINGS,
    ),
    ("GET", "/appsettings/user/{package}"): Operation(data=Nothing, errors={401: "UNAUTHORIZED, always"}),
    ("GET", _SETTINGS_PATH): Operation(auth="user", data=dict[str, Any], errors=_STORE),
    ("PUT", _SETTINGS_PATH): Operation(auth="user", body=PhoneSettings, data=dict[str, Any], errors=_PHONE_WRITES),
    ("POST", _SETTINGS_PATH): Operation(auth="user", body=PhoneSettings, data=dict[str, Any], errors=_PHONE_WRITES),
    ("GET", f"{_SETTINGS_PATH}/key/{{key}}"): Operation(
        auth="user", data=SettingChange, errors={404: "NOT_FOUND"} | _STORE
    ),
    ("PUT", f"{_SETTINGS_PATH}/key/{{key}}"): Operation(
        auth="user", body=OneValue, data=dict[str, Any], errors=_PHONE_WRITES
    ),
    ("DELETE", f"{_SETTINGS_PATH}/key/{{key}}"): Operation(auth="user", data=dict[str, Any], errors=_STORE),
    ("GET", _STORAGE_PATH): Operation(auth="app", data=dict[str, str], errors=_STORAGE),
    ("PUT", _STORAGE_PATH): Operation(auth="app", body=Texts, data=dict[str, int], errors=_STORES),
    ("DELETE", _STORAGE_PATH): Operation(auth="app", data=dict[str, int], errors=_STORAGE),
    ("GET", f"{_STORAGE_PATH}/{{key}}"): Operation(auth="app", data=OneText, errors=_STORAGE),
    ("PUT", f"{_STORAGE_PATH}/{{key}}"): Operation(auth="app", body=OneText, data=dict[str, int], errors=_STORES),
    ("DELETE", f"{_STORAGE_PATH}/{{key}}"): Operation(auth="app", data=dict[str, int], errors=_STORAGE),
    ("GET", "/api/client/min-version"): Operation(data=Versions),
    **{("POST", path): _EXCHANGE for path in EXCHANGE_PATHS},
    ("POST", "/api/client/device/state"): Operation(
        auth="user", body=GlassesInfo, data=GlassesNow, errors=_TOLD_BY_PHONE
    ),
    ("POST", "/api/client/audio/configure"): Operation(
        auth="user",
        body=AudioFormat,
        data=AudioFormat,
        errors=_TOLD_BY_PHONE | {415: "NOT_SUPPORTED: no LC3 here, send PCM"},
    ),
    ("POST", "/api/client/location"): Operation(auth="user", body=Location, data=HandedOn, errors=_TOLD_BY_PHONE),
    ("POST", "/api/client/location/poll-response/{id}"): Operation(
        auth="user", body=Location, data=HandedOn, errors=_TOLD_BY_PHONE
    ),
    ("POST", "/api/client/calendar"): Operation(auth="user", body=CalendarEvent, data=HandedOn, errors=_TOLD_BY_PHONE),
    ("POST", "/api/client/notifications"): Operation(
        auth="user", body=PhoneNotification, data=HandedOn, errors=_TOLD_BY_PHONE
    ),
    ("POST", "/api/client/notifications/dismissed"): Operation(
        auth="user", body=PhoneNotificationDismissed, data=HandedOn, errors=_TOLD_BY_PHONE
    ),
    ("GET", "/health"): Operation(data=Health, bare=True),
    ("GET", "/livez"): Operation(media="text/plain"),
    ("GET", "/readyz"): Operation(data=Ready, bare=True, errors={503: "DRAINING"}),
    ("GET", "/metrics"): Operation(auth="admin", media="text/plain", errors=_ADMIN_ERRORS),
    ("POST", "/api/admin/login"): Operation(
        body=Login,
        data=SignedIn,
        errors={400: "BAD_REQUEST", 401: "UNAUTHORIZED", 408: "REQUEST_TIMEOUT", 413: "TOO_LARGE"} | _ADMIN_ERRORS,
    ),
    ("POST", "/api/admin/logout"): Operation(data=Nothing),
    ("GET", "/api/admin/sign-ins"): Operation(auth="admin", data=SignIns, errors=_ADMIN_ERRORS),
    ("DELETE", "/api/admin/sign-ins/{id}"): Operation(
        auth="admin", data=Nothing, errors={404: "NO_SUCH_SIGN_IN"} | _ADMIN_ERRORS
    ),
    ("GET", "/api/admin/sessions"): Operation(
        auth="admin",
        query={"user": "only this one's", "id": "only this session", "ended": "false: only those that live"},
        data=AdminSessions,
        errors=_ADMIN_ERRORS,
    ),
    ("GET", "/api/admin/sessions/{id}/timeline"): Operation(
        auth="admin",
        query={"seconds": "how far back", "captions": "true: with what was said"},
        data=dict[str, Any],
        errors={400: "BAD_REQUEST", 404: "NO_SUCH_SESSION"} | _ADMIN_ERRORS,
    ),
    ("GET", "/api/admin/sessions/{id}/recorder"): Operation(
        auth="admin", data=RecorderFile, bare=True, errors={404: "NO_SUCH_SESSION"} | _ADMIN_ERRORS
    ),
    ("GET", "/api/admin/live"): Operation(
        auth="admin",
        query={"watch": "id of a session, told second by second", "sessions": "false: without the list of all"},
        media="text/event-stream",
        errors={503: "TOO_MANY_WATCHERS"} | _ADMIN_ERRORS,
    ),
}
