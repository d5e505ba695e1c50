"""Every rejection of a phone, an app, a browser or an operator's program, in one table: its code, what happened and
why, what to do.

tools/describe_commands.py writes docs/messages.md from it; tests/cloud/test_rejections.py meets each one. Not here:
what a phone is told of its audio (`audio_state`, docs/troubleshooting.md), why a socket closes (wire/close_codes.py),
and why a subscription is not in force (core/subscriptions.py).
"""

from enum import Enum, unique
from typing import Any, Final


@unique
class Rejection(Enum):
    """Templates. `status` is that of the HTTP answer; None: it is said on an open socket only. `code` is for programs:
    several rejections may share one."""

    def __init__(self, status: int | None, code: str, cause: str, remedy: str) -> None:
        self.status = status
        self.code = code
        self.cause = cause
        self.remedy = remedy

    def text(self, **values: Any) -> str:
        """For people."""
        return f"{self.cause.format(**values)}: {self.remedy.format(**values)}"

    # ---- core tokens
    TOKEN_MISSING = (401, "MISSING_TOKEN", "no core token came",
                     "sign in, and send it as `Authorization: Bearer` or `?token=`")  # fmt: skip
    TOKEN_EXPIRED = 401, "TOKEN_EXPIRED", "the token has expired", "sign in again"
    TOKEN_INVALID = 401, "INVALID_TOKEN", "the token is not valid here", "sign in again"
    TOKEN_OF_UNKNOWN_KEY = 401, "INVALID_TOKEN", "the token is signed by a key that is not known", "sign in again"
    TOKEN_WITHOUT_USER = 401, "INVALID_TOKEN", "the token names no user ({why})", "sign in again"
    TOKEN_TWICE = 401, "INVALID_TOKEN", "there are several Authorization headers", "send one Authorization header"
    TOKEN_LIVES_TOO_LONG = (401, "TOKEN_LIVES_TOO_LONG", "the token lives longer than this cloud allows",
                            "ask for one that ends sooner (GLASSBRIDGE_JWT_MAX_LIFE)")  # fmt: skip
    EMAIL_NOT_VERIFIED = (401, "EMAIL_NOT_VERIFIED", "the login service has not verified this e-mail address",
                          "confirm it")  # fmt: skip
    KEYS_UNAVAILABLE = 503, "KEYS_UNAVAILABLE", "the issuer's keys are not known yet", "try again"
    EXCHANGE_DISABLED = (403, "EXCHANGE_DISABLED", "this cloud exchanges no tokens",
                         "its operator sets AUGMENTOS_AUTH_JWT_SECRET, and SUPABASE_JWT_SECRET or "
                         "GLASSBRIDGE_JWKS_URL")  # fmt: skip

    # ---- connections
    CONNECTIONS_FULL = 503, "TOO_MANY_CONNECTIONS", "this server has as many connections as it can", "try again later"
    ADDRESS_FULL = 429, "TOO_MANY_CONNECTIONS", "your address has as many connections as it may", "close some first"
    DESCRIPTORS_FULL = 503, "TOO_MANY_CONNECTIONS", "this server has as many open files as it can", "try again later"
    HEADER_LATE = 408, "REQUEST_TIMEOUT", "the header of the request did not come in time", "send it without a pause"

    NO_HTTP = 400, "BAD_REQUEST", "this is not a valid HTTP request", "see that the port and the program are right"

    # ---- sockets of phones and apps
    ORIGIN_NOT_ALLOWED = (403, "ORIGIN_NOT_ALLOWED", "this page may not open sockets here",
                          "its origin must be in GLASSBRIDGE_ALLOWED_ORIGINS")  # fmt: skip
    PHONE_WHILE_STOPPING = 503, "SESSION_ERROR", "this server is shutting down", "connect again"
    PHONE_WHILE_FULL = 503, "SESSION_ERROR", "this server has as many sessions as it can", "try again later"
    WEBSOCKET_ONLY = (426, "UPGRADE_REQUIRED", "this address speaks WebSocket only",
                      "connect with ws:// or wss://")  # fmt: skip
    FRAME_TOO_BIG = None, "MESSAGE_TOO_BIG", "a binary frame holds at most {most} bytes", "send smaller ones"
    MESSAGE_TOO_BIG = None, "MESSAGE_TOO_BIG", "{why}", "send smaller ones"
    MESSAGE_MALFORMED = None, "MALFORMED_MESSAGE", "{why}", "send what docs/protocol describes"
    TOO_FAST = (None, "RATE_LIMITED", "this socket gets more messages or bytes than are allowed",
                "send less, or it is closed")  # fmt: skip

    # ---- sockets of apps
    APP_WHILE_STOPPING = 503, "INTERNAL_ERROR", "this server is shutting down", "connect again"
    APP_WEBSOCKET_ONLY = (426, "MALFORMED_MESSAGE", "this address speaks WebSocket only",
                          "connect with ws:// or wss://")  # fmt: skip
    APP_HEADERS_MISSING = 401, "MISSING_HEADERS", "headers are missing", "send {headers}"
    APP_TOKEN_INVALID = (401, "JWT_INVALID", "the app's token is not valid here",
                         "sign in by tpa_connection_init with the API key")  # fmt: skip
    APP_TOKEN_TWICE = (401, "JWT_INVALID", "there are several Authorization headers",
                       "send one Authorization header")  # fmt: skip
    APP_UNKNOWN = (401, "PACKAGE_NOT_FOUND", "no app of this package name is registered here",
                   "`glassbridge apps add` registers one")  # fmt: skip
    APP_KEY_WRONG = (401, "INVALID_API_KEY", "this is not the API key of this app",
                     "`glassbridge apps rekey` makes another one")  # fmt: skip
    APP_NOT_HERE = (401, "SESSION_NOT_FOUND", "this user has no session here with this app in it",
                    "wait for the next webhook, and connect then")  # fmt: skip
    APP_REGISTRY_UNREADABLE = (401, "INTERNAL_ERROR", "the registry of apps cannot be read",
                               "try again later; the log of the cloud says why")  # fmt: skip
    APP_UNSIGNED = (429, "RATE_LIMITED",
                    "your address has as many app sockets as it may that have not said who they are",
                    "sign in by headers, or say tpa_connection_init at once")  # fmt: skip
    APP_INIT_FIRST = (None, "MALFORMED_MESSAGE", "tpa_connection_init comes first",
                      "send it before anything else")  # fmt: skip
    APP_NOT_STARTED = (None, "APP_NOT_STARTED", "the user has not started this app",
                       "wait for its webhook")  # fmt: skip
    STREAM_ID_WRONG = None, "NOT_AVAILABLE", "the id of a stream has {length} bytes", "choose such an id"
    STREAMS_TOO_MANY = (None, "NOT_AVAILABLE", "an app has at most {most} streams of sound at once",
                        "end one first")  # fmt: skip
    STREAM_NOT_BEGUN = (None, "MALFORMED_MESSAGE",
                        "an app sends no binary frames but pieces of a stream that it has begun",
                        "send audio_stream_start first")  # fmt: skip
    STREAM_TOO_LONG = (None, "MALFORMED_MESSAGE",
                       "a stream of sound has at most {most} MiB, and all together {all} MiB",
                       "end it and begin another one")  # fmt: skip

    # ---- apps of a user
    APP_ABSENT = 404, "PACKAGE_NOT_FOUND", "there is no such app here", "`glassbridge apps add` registers one"
    APPS_TOO_MANY = 429, "TOO_MANY_APPS", "at most {most} apps run at once", "stop one first"
    APPS_TOO_OFTEN = 429, "RATE_LIMITED", "apps are started too often", "try again in {seconds} s"
    REGISTRY_UNREADABLE = (500, "INTERNAL_ERROR", "the registry of apps cannot be read",
                           "try again later; the log of the cloud says why")  # fmt: skip
    APP_STARTING = 504, "APP_NOT_STARTED", "the app is still being started", "ask again"
    APP_DID_NOT_START = 502, "APP_NOT_STARTED", "{why}", "see that the app's server runs, and its log"

    # ---- what apps and phones ask by HTTP
    ADDRESS_UNKNOWN = 404, "NOT_FOUND", "nothing is at this address", "see docs/protocol for those that there are"
    METHOD_WRONG = 405, "METHOD_NOT_ALLOWED", "this address does not take this method", "use one of the header Allow"
    SERVER_FAILED = 500, "INTERNAL_ERROR", "the server failed", "try again; its log says why"
    BODY_TOO_LARGE = 413, "TOO_LARGE", "the body has more than {most} bytes", "send less"
    BODY_LATE = 408, "REQUEST_TIMEOUT", "the body did not come in time", "send it again, without a pause"
    BODY_BROKEN = (400, "BAD_REQUEST", "the body broke off, or is not encoded as its header says",
                   "send it again")  # fmt: skip
    BODY_WRONG = 400, "BAD_REQUEST", "the body is not what is expected here", "send {form}"
    QUERY_WRONG = 400, "BAD_REQUEST", "the query holds what cannot be", "send {form}"
    USER_WRONG = 400, "BAD_REQUEST", "the path names no user ({why})", "correct it"
    SESSION_NOT_FOUND = 503, "SESSION_NOT_FOUND", "No active session", "connect the phone first"
    WORDS_OF_OTHERS = (403, "FORBIDDEN", "these are the words of somebody else",
                       "ask for those of your own session")  # fmt: skip
    LC3_MISSING = 415, "NOT_SUPPORTED", "this cloud has no LC3 decoder", "send PCM16 at 16 kHz, mono"
    TOO_OFTEN = 429, "RATE_LIMITED", "too many requests", "try again in {seconds} s"
    CLOUD_UNREACHABLE = 502, "CLOUD_UNREACHABLE", "the cloud that has this user does not answer", "try again"
    NOT_LET_IN = 502, "NOT_LET_IN", "the cloud that has this user does not open a socket", "see its log"
    MISPLACED = 421, "MISPLACED", "this cloud does not have the user", "ask the cloud that the header names"
    STOPPING = 503, "DRAINING", "this server is shutting down", "ask another one"
    FULL = 503, "FULL", "this server has as many sessions as it can", "ask another one"

    # ---- storage and settings
    STORAGE_KEY_WRONG = (401, "INVALID_API_KEY", "no app has this name and key",
                         "send Authorization: Bearer, package name, a colon and its API key")  # fmt: skip
    STORAGE_USER_UNKNOWN = (404, "USER_NOT_FOUND", "this user has never started this app here",
                            "wait for the app's first session with the user")  # fmt: skip
    STORAGE_KEY_UNKNOWN = 404, "NOT_FOUND", "nothing is stored under this key", "write it first"
    STORAGE_FULL = 413, "TOO_LARGE", "{most} MiB are kept for an app and a user", "delete something"
    STORE_UNAVAILABLE = 503, "STORE_UNAVAILABLE", "{why}", "try again"
    SETTINGS_CLOSED = (401, "UNAUTHORIZED", "settings are not told at this address",
                       "take those that come with the app's connection and with each change")  # fmt: skip
    SETTING_UNKNOWN = 404, "NOT_FOUND", "there is no such setting", "write it first"
    SETTING_WRONG = (422, "WRONG_VALUE", "the app has no such setting, or not this value ({key})",
                     "GET of this address has its settings")  # fmt: skip
    SETTINGS_FULL = 413, "TOO_LARGE", "settings have {most} KiB in all", "delete some"

    # ---- speech and sounds
    SIGNATURE_WRONG = (401, "INVALID_SIGNATURE", "the app has not signed this",
                       "sign with the app's API key, as the SDK does")  # fmt: skip
    VOICE_MISSING = (501, "NO_VOICE", "this cloud has no voice",
                     "install espeak-ng, or set ELEVENLABS_API_KEY")  # fmt: skip
    SPEECH_TOO_OFTEN = 429, "RATE_LIMITED", "too many texts are spoken", "try again in {seconds} s"
    VOICE_BUSY = 429, "RATE_LIMITED", "{why}", "try again"
    SPEECH_FAILED = 422, "CANNOT_SAY", "{why}", "correct the text and the voice, or see the log of the cloud"
    SOUND_LENGTH_MISSING = (411, "LENGTH_REQUIRED", "it is not said how long the sound is",
                            "send Content-Length")  # fmt: skip
    SOUND_EMPTY = 400, "BAD_REQUEST", "the body is empty", "send the sound file"
    SOUND_TOO_LARGE = 413, "TOO_LARGE", "a sound has at most {most} MiB", "give its URL instead"
    SOUNDS_TOO_MANY = 429, "TOO_MANY_UPLOADS", "other sounds are on their way", "wait until they are here"
    SOUND_DIGEST_WRONG = (400, "WRONG_DIGEST", "this is not the sound that was signed for",
                          "sign for the bytes that you send")  # fmt: skip
    SOUND_UNKNOWN = 404, "NO_SUCH_SOUND", "there is no such sound, or it was kept long enough", "send it again"

    # ---- operators, and the console
    ADMIN_DISABLED = (403, "ADMIN_DISABLED", "no admin token is set here",
                      "start the program with GLASSBRIDGE_ADMIN_TOKEN (openssl rand -hex 24)")  # fmt: skip
    ADMIN_TOKEN_MISSING = (401, "UNAUTHORIZED", "no admin token came",
                           "sign in: send the admin token as `Authorization: Bearer`")  # fmt: skip
    ADMIN_TOKEN_WRONG = (401, "UNAUTHORIZED", "this is not the admin token",
                         "sign in: send the admin token as `Authorization: Bearer`")  # fmt: skip
    ADMIN_TOO_MANY = (429, "TOO_MANY_ATTEMPTS", "your address has shown too many wrong admin tokens",
                      "wait {seconds} s")  # fmt: skip
    SIGN_IN_UNKNOWN = (404, "NO_SUCH_SIGN_IN", "no browser is signed in with this id",
                       "GET /api/admin/sign-ins has those that are")  # fmt: skip
    SESSION_UNKNOWN = (404, "NO_SUCH_SESSION", "no session has this id, or it ended too long ago",
                       "GET /api/admin/sessions has those that there are")  # fmt: skip
    WATCHERS_TOO_MANY = 503, "TOO_MANY_WATCHERS", "{most} streams are open", "close another one first"
    FILE_UNKNOWN = 404, "NOT_FOUND", "there is no such file", "open /console"
    DEVELOPMENT_SILENT = (502, "NO_DEVELOPMENT", "`glassbridge dev` does not answer",
                          "see its terminal, or start it again")  # fmt: skip


MALFORMED_AS: Final = {one.code: one for one in (Rejection.MESSAGE_MALFORMED, Rejection.MESSAGE_TOO_BIG)}
"""How a MalformedMessage is told, by its code."""


class Rejected(Exception):
    """Why something is not taken, or somebody not let in: the sender's fault, unless the status is 500 or more. The
    text holds nothing that is secret."""

    def __init__(self, rejection: Rejection, **values: Any) -> None:
        super().__init__(rejection.text(**values))
        self.rejection = rejection
        self.values = values

    @property
    def code(self) -> str:
        return self.rejection.code

    @property
    def status(self) -> int:
        return self.rejection.status or 400
