"""Settings of all programs (the original's names where it had one). Times in seconds.

docs/settings.md is written from this file (`make settings`): the sections are the `# ---` comments of the class, the
meaning of a setting is its docstring, the unit is its `SettingKind`.

`read_settings` takes them from an environment: each field by its alias, or by GLASSBRIDGE_ and its name. A secret may
also come from a file that `NAME_FILE` names. Whatever is wrong is told together; values are never quoted.
"""

import os
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo

from glassbridge.core.addresses import TrustedProxies
from glassbridge.core.connections import ConnectionLimits
from glassbridge.runtime.addresses import UNIX, check_host, check_node_address, check_target, check_url

DEV_LIVEKIT_KEY = "devkey"
DEV_LIVEKIT_SECRET = "development-only-secret-of-32-chars!"  # noqa: S105 - public on purpose
DEV_JWT_SECRET = "development-only-core-token-secret-32"  # noqa: S105 - public on purpose
PUBLIC_SECRETS: Final = frozenset({DEV_LIVEKIT_SECRET, DEV_JWT_SECRET})
MIN_ADMIN_TOKEN = 16
MIN_SECRET_BYTES: Final = 32
"""Of a secret that protects anything beyond this machine; HS256 needs as many."""
MAX_SECRETS: Final = 8
"""In one list."""
MAX_SECRET_FILE: Final = 64 << 10
"""Bytes."""
PREFIX: Final = "GLASSBRIDGE_"
FILE_SUFFIX: Final = "_FILE"
DAY: Final = 24 * 3600


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _split(value: object) -> object:
    return _parts(value) if isinstance(value, str) else value


def _check_bridge_address(text: str) -> str:
    return text and check_host(text)


def _check_targets(value: str) -> str:
    if not [check_target(target) for target in _parts(value)]:
        raise ValueError("there is no address of a bridge: host:port or unix:/path")
    return value


def _check_sockets(value: str | None) -> str | None:
    for path in _parts(value or ""):
        check_target(f"{UNIX}{path}")
    return value


def _check_filled(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty: set it, or leave the variable out")
    return value


def _check_secret(value: SecretStr) -> SecretStr:
    _check_filled(value.get_secret_value())
    return value


def _check_some(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not value:
        raise ValueError("it is empty: nobody could sign in; set a secret, or leave the variable out")
    return value


def _check_cloud_address(value: str) -> str:
    if value.startswith(UNIX):
        raise ValueError("the address of a cloud is host:port")
    return check_target(value) if value else value


def _check_public_host(value: str) -> str:
    return check_host(value) if value else value


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    TrustedProxies(networks)
    return networks


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        check_url(origin, schemes=("https", "http"))
    return origins


def _check_admin_tokens(tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(token.get_secret_value()) < MIN_ADMIN_TOKEN for token in tokens):
        raise ValueError(f"an admin token has at least {MIN_ADMIN_TOKEN} characters")
    return tokens


class SettingKind(NamedTuple):
    """For docs/settings.md: the unit of a number, or what a text is."""

    name: str


SecretList = Annotated[tuple[SecretStr, ...], BeforeValidator(_split), Field(max_length=MAX_SECRETS)]
"""In a variable a comma list, in a file one on each line. The first one signs, all of them verify."""
LiveKitUrl = Annotated[
    str, SettingKind("URL"), AfterValidator(partial(check_url, schemes=("ws", "wss", "http", "https")))
]
WebUrl = Annotated[str, SettingKind("URL"), AfterValidator(partial(check_url, schemes=("https", "http")))]
SocketUrl = Annotated[str, SettingKind("URL"), AfterValidator(partial(check_url, schemes=("wss", "ws")))]
Seconds = Annotated[float, SettingKind("s"), Field(gt=0, le=DAY)]
Bytes = Annotated[int, SettingKind("bytes"), Field(ge=1 << 10, le=64 << 20)]
TokenLife = Annotated[int, SettingKind("s"), Field(ge=1, le=DAY)]
PerSecond = Annotated[float, SettingKind("/s"), Field(gt=0, le=1e9)]
PerMinute = Annotated[float, SettingKind("/min"), Field(gt=0, le=1e9)]
Megabytes = Annotated[int, SettingKind("MB")]


class Settings(BaseModel):
    """One object for the process; secrets are SecretStr and never print."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)

    # --- LiveKit
    livekit_url: Annotated[LiveKitUrl, AfterValidator(_check_filled)] = Field(
        "ws://127.0.0.1:7880", validation_alias=AliasChoices("LIVEKIT_URL")
    )
    """LiveKit server of the cloud and the bridges, LiveKit Cloud included."""
    livekit_public_url: LiveKitUrl | None = None
    """Where phones find LiveKit. Unset: `LIVEKIT_URL`."""
    livekit_api_key: Annotated[str, AfterValidator(_check_filled)] = Field(
        DEV_LIVEKIT_KEY, validation_alias=AliasChoices("LIVEKIT_API_KEY")
    )
    """Name of the key pair of the LiveKit server."""
    livekit_api_secret: Annotated[SecretStr, AfterValidator(_check_secret)] = Field(
        SecretStr(DEV_LIVEKIT_SECRET), validation_alias=AliasChoices("LIVEKIT_API_SECRET")
    )
    """Secret of that key pair. It signs LiveKit tokens."""
    livekit_server_bin: Path | None = Field(None, validation_alias=AliasChoices("LIVEKIT_SERVER_BIN"))
    """livekit-server for `livekit start`, `dev` and `demo`. Unset: from the PATH, the cache, or built with Go."""
    livekit_client_token_ttl: TokenLife = 600
    """Life of a phone's LiveKit token. Each join gets a fresh one, and LiveKit renews those in use."""
    livekit_agent_token_ttl: TokenLife = 600
    """Life of a bridge's LiveKit token. Each join mints its own."""

    # --- Logs and traces
    region: str = ""
    """Where the program runs. Each log line holds it."""
    log_user_key: SecretStr = SecretStr("")
    """User ids in the log are hashed with this key (`glassbridge logs user` tells the hash). Unset: they are not."""
    log_batch: int = Field(100, ge=1, le=10_000)
    """Log lines that go to a sink at once."""
    log_every: Seconds = 5.0
    """A log line waits this long for others at most."""
    log_timeout: Seconds = 10.0
    """A sink may take this long for each step of an answer."""
    log_spool: Path | None = None
    """Folder of log lines that have not arrived at their sink. Unset: `glassbridge/logs` in the user's state folder."""
    betterstack_source_token: SecretStr = Field(
        SecretStr(""), validation_alias=AliasChoices("BETTERSTACK_SOURCE_TOKEN")
    )
    """Token of a Better Stack source. With the host name, log lines go there."""
    betterstack_ingesting_host: str = Field("", validation_alias=AliasChoices("BETTERSTACK_INGESTING_HOST"))
    """Host name as Better Stack shows it."""
    otlp_endpoint: WebUrl = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"))
    """Base URL of an OpenTelemetry collector that takes logs and traces by HTTP."""
    otlp_logs_endpoint: WebUrl = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"))
    """The whole URL for logs, if it is another one."""
    otlp_traces_endpoint: WebUrl = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    """The whole URL for traces, if it is another one."""
    otlp_headers: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_HEADERS"))
    """Headers for the collector: `name=value,name=value`."""

    # --- Between cloud and bridge
    bridge_socket: Annotated[str | None, SettingKind("path, or a comma list"), AfterValidator(_check_sockets)] = Field(
        None, validation_alias=AliasChoices("LIVEKIT_GRPC_SOCKET")
    )
    """Unix socket of the bridge. It wins over TCP."""
    bridge_urls: Annotated[str, SettingKind("host:port, or a comma list"), AfterValidator(_check_targets)] = Field(
        "127.0.0.1:9090", validation_alias=AliasChoices("LIVEKIT_GRPC_BRIDGE_URL")
    )
    """Bridge: `host:port` or `unix:/path`. With several, a new room goes to the least loaded live one. The clouds of a
    cluster (`GLASSBRIDGE_CLUSTER`) find bridges by themselves, and use these only where they are set."""
    bridge_address: Annotated[str, SettingKind("host"), AfterValidator(_check_bridge_address)] = ""
    """Host at which the clouds of a cluster reach this bridge, as the directory tells them. Unset: that of `--host`."""
    bridge_drain: Seconds = 2.0
    """Time that a stopping bridge takes at most until clouds have taken its rooms elsewhere."""
    bridge_cert: Path | None = None
    """PEM file: the certificate that a bridge shows on TCP."""
    bridge_key: Path | None = None
    """PEM file: the key of that certificate."""
    bridge_client_ca: Path | None = None
    """PEM file: a bridge on TCP lets in callers whose certificate one of these authorities has signed."""
    bridge_secrets: SecretList = Field((), validation_alias=AliasChoices("GLASSBRIDGE_BRIDGE_SECRET"))
    """A cloud shows the first one to bridges on TCP with TLS. A bridge lets in callers that show any of them."""
    bridge_ca: Path | None = None
    """PEM file: authorities that a cloud believes about bridges on TCP. It turns on TLS there."""
    bridge_client_cert: Path | None = None
    """PEM file: the certificate that a cloud shows to bridges."""
    bridge_client_key: Path | None = None
    """PEM file: the key of that certificate."""
    bridge_owner: str = ""
    """User (name or number) whose Unix sockets a cloud believes to be bridges. Unset: its own user, and root."""

    # --- Core tokens
    jwt_secrets: Annotated[SecretList, AfterValidator(_check_some)] = Field(
        (SecretStr(DEV_JWT_SECRET),), validation_alias=AliasChoices("AUGMENTOS_AUTH_JWT_SECRET")
    )
    """Sign and verify core tokens (HS256)."""
    jwt_max_life: Seconds | None = None
    """Time that a core token may still live at most. Unset: 24 hours for tokens of an issuer; no limit for those of the
    core secret, because the original's have no end."""
    jwks_url: WebUrl = ""
    """Public keys (JWKS) of an issuer of core tokens (RS256, ES256): `https://`, or `http://` on this machine."""
    jwks_file: Path | None = None
    """The same as a file."""
    jwks_refresh: Annotated[float, SettingKind("s")] = Field(600.0, ge=10, le=DAY)
    """Time between two readings of the keys."""
    jwt_issuer: str = ""
    """`iss` of the issuer's tokens, and of those of the login service."""
    jwt_audience: str = ""
    """`aud` of the same."""
    supabase_secrets: SecretList = Field((), validation_alias=AliasChoices("SUPABASE_JWT_SECRET"))
    """Verify tokens of your login service (HS256), which phones of the original exchange for core tokens
    ([login.md](login.md#for-the-originals-phones)). Never the core secret."""
    authing_secrets: SecretList = Field((), validation_alias=AliasChoices("AUTHING_APP_SECRET"))
    """The same under the original's other name."""
    exchanged_token_ttl: Annotated[int, SettingKind("s"), Field(ge=60, le=366 * DAY)] = 7 * DAY
    """Life of a core token that such a phone gets. It asks for one when it starts, so this is longer than it runs."""

    # --- Operators
    admin_tokens: Annotated[SecretList, AfterValidator(_check_admin_tokens)] = Field(
        (), validation_alias=AliasChoices("GLASSBRIDGE_ADMIN_TOKEN")
    )
    """Opens `/console`, `/api/admin`, `/metrics` and the recorder of a bridge; 16 characters or more. Unset: they are
    closed. Each address may show ten wrong tokens, and one more every six seconds."""

    # --- Several clouds
    cluster: SecretStr = SecretStr("")
    """URL of the directory that several clouds share ([production.md](production.md#several-clouds)): `valkey://`,
    `redis://`, with TLS `valkeys://` or `rediss://`; with `+sentinel` or `+cluster`. It may hold a password. Unset:
    this cloud is alone."""
    cluster_ca: Path | None = None
    """PEM file: authorities that are believed about the directory. Unset: those that the machine believes."""
    cluster_secrets: SecretList = Field((), validation_alias=AliasChoices("GLASSBRIDGE_CLUSTER_SECRET"))
    """Sign hand-overs between the clouds of a cluster; the same for all, 32 bytes or more."""
    cluster_address: Annotated[str, SettingKind("host:port"), AfterValidator(check_node_address)] = "127.0.0.1:0"
    """Where other clouds of the cluster reach this one, and where it listens for them. Port 0: a free one."""

    # --- Addresses
    public_url: WebUrl = ""
    """Where apps elsewhere find this cloud, and bridges its sounds, such as `https://cloud.example.com`; several clouds
    may share it. Unset: the address of `--host`."""
    cloud_address: Annotated[str, SettingKind("host:port"), AfterValidator(_check_cloud_address)] = ""
    """Where other clouds behind the same `GLASSBRIDGE_PUBLIC_URL` reach this one, unless they are a cluster
    (`GLASSBRIDGE_CLUSTER_ADDRESS`). Unset: the address of `--host`."""
    public_host_name: Annotated[str, AfterValidator(_check_public_host)] = Field(
        "", validation_alias=AliasChoices("CLOUD_PUBLIC_HOST_NAME")
    )
    """The same as the original says it: a host name behind HTTPS."""

    # --- Voices
    elevenlabs_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("ELEVENLABS_API_KEY"))
    """Key of ElevenLabs, which speaks the texts of apps. Unset: a speech program of this machine speaks them."""
    elevenlabs_voice: str = Field("21m00Tcm4TlvDq8ikWAM", validation_alias=AliasChoices("ELEVENLABS_DEFAULT_VOICE_ID"))
    """Voice of texts that name none."""
    elevenlabs_url: WebUrl = "https://api.elevenlabs.io"
    """Where ElevenLabs is."""

    # --- Connections
    connections: int = Field(12_000, ge=2, le=1_000_000)
    """HTTP connections of the cloud; fewer if the process may open fewer files (256 are kept for other uses)."""
    connections_per_address: int = Field(2_048, ge=1, le=1_000_000)
    """HTTP connections of one address, without signed-in sockets; never more than half of all. All phones of a full
    cloud may come back through one NAT at once. At the limit, the connection that has waited longest makes room."""
    unsigned_apps_per_address: int = Field(128, ge=1, le=1_000_000)
    """Sockets at `/app-ws` of one address that have not said yet who they are. More are answered 429 (`RATE_LIMITED`).
    Apps that sign in by headers do not count."""
    header_time: Seconds = 5.0
    """Time for the header of a request."""
    body_time: Seconds = 30.0
    """Time for the body of a request, and for a client to take an answer."""
    sign_in_time: Seconds = 5.0
    """Time for a peer to sign in: the first message of an app, the next request of a stranger."""
    idle_time: Seconds = 75.0
    """Time between two requests of a connection that has signed in."""

    # --- Uploads and storage of apps
    sounds_per_app_bytes: Annotated[int, SettingKind("bytes"), Field(ge=1 << 20, le=1 << 30)] = 32 << 20
    """Sounds that one app has brought and that are kept. At the limit, its oldest ones go."""
    sounds_bytes: Annotated[int, SettingKind("bytes"), Field(ge=1 << 20, le=4 << 30)] = 64 << 20
    """Sounds that all apps have brought and that are kept. At the limit, the oldest of the app that has most go."""
    store: Path | None = None
    """SQLite file of users' settings and of what apps store. Unset: in the server of `GLASSBRIDGE_CLUSTER`, for all its
    clouds; without a cluster `apps.store.db` beside the registry of apps; without a registry, in memory. Clouds of one
    machine may share a file ([production.md](production.md#stored-data))."""
    store_mb: Megabytes = Field(1_024, ge=1, le=1 << 20)
    """Size that this file may have, or all that is stored in the server of a cluster. More is answered 503."""

    # --- Proxies and browsers
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_check_networks)] = ()
    """Networks of proxies whose `X-Forwarded-For` is believed, such as `10.0.0.0/8,fd00::/8`. Set it behind a load
    balancer, or all its clients count as one address ([reverse-proxy.md](reverse-proxy.md))."""
    allowed_origins: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_check_origins)] = ()
    """Origins of other web pages whose browsers may open sockets here, and may ask for what phones ask for
    (`/api/client/`), such as `https://app.example.com`."""

    # --- Sessions
    grace: Annotated[float, SettingKind("s")] = Field(60.0, ge=0, le=DAY)
    """Time that a session waits for its phone after the socket closed."""
    drain: Seconds = 3.0
    """Time that a stopping cloud takes at most to hand over and end its sessions."""
    drain_delay: Annotated[float, SettingKind("s")] = Field(0.0, ge=0, le=600)
    """Time for which a stopping cloud goes on as before while `/readyz` says 503, so that the balancer notices. Then
    `GLASSBRIDGE_DRAIN` begins."""
    rebalance: Annotated[int, SettingKind("users/s")] = Field(5, ge=0, le=1_000)
    """Users that a cloud with more than its share sends to the others of its cluster at most, in a second. 0: none."""
    dev_control: Path | None = None
    """Development: the Unix socket of `glassbridge dev`, for the buttons of the console."""
    recorder: bool = True
    """Cloud and bridge keep the last 15 minutes of each session in memory: counts by second and decisions, no audio."""
    tap: Path | None = None
    """Development: a Unix datagram socket that gets every block of microphone audio that a cloud hands on."""

    # --- Limits of phones and apps
    max_text_bytes: Bytes = 1 << 20
    """One text message of a socket. [limits.md](limits.md) says what a peer is told at each of these limits."""
    max_binary_bytes: Bytes = 64 << 10
    """One binary frame of a socket."""
    phone_messages: PerSecond = 1_000
    """WebSocket frames of one phone; four times as many at once."""
    phone_bytes: PerSecond = 1 << 20
    """Bytes of one phone; four times as many at once."""
    app_messages: PerSecond = 100
    """WebSocket frames of one app of one user; four times as many at once."""
    app_bytes: PerSecond = 512 << 10
    """Bytes of one app of one user; four times as many at once."""
    app_starts: PerMinute = 60
    """Starts of apps by one user; 64 at once."""
    app_restarts: PerMinute = 12
    """Starts of the same app by one user; 10 at once."""
    speech_texts: PerMinute = 60
    """Texts spoken for one user; 20 at once."""
    app_speech_texts: PerMinute = 1_200
    """Texts spoken for one app; 200 at once."""
    max_sessions: int = Field(2_000, ge=1, le=1_000_000)
    """Users at a time. A full cloud is not ready (`/readyz` answers 503)."""

    # --- Sounds and rooms of a bridge
    sounds_per_user: int = Field(10, ge=1, le=1_000)
    """Sounds that a bridge plays at a time for one user."""
    sounds_per_worker: int = Field(32, ge=1, le=1_000)
    """Sounds that one worker of a bridge plays at a time."""
    sound_memory_mb: Megabytes = Field(40, ge=16, le=4_096)
    """Memory of the process that decodes one sound."""
    sounds_kept_mb: Megabytes = Field(32, ge=1, le=4_096)
    """Sounds that a worker holds because they can be read only as a whole. One user may have half of it."""
    rejoin: Annotated[float, SettingKind("s")] = Field(30.0, ge=0, le=600)
    """Time for which a bridge joins a lost room again by itself for a cloud of the original, which sends no generation.
    0: never."""

    # --- Speech
    recogniser: str = "offline"
    """What understands speech: `offline` (the best one that is installed), `moonshine`, `pocketsphinx`, `sherpa`,
    `soniox` ([speech.md](speech.md)), or one of your own ([recogniser.md](recogniser.md))."""
    standby: Literal["offline", "none"] = "offline"
    """What takes over while a hosted recogniser is away, refuses or is late."""
    recognisers: int | None = Field(None, ge=1, le=10_000)
    """Streams of speech recognised at a time. Unset: 64 of Moonshine (as many of them may speak as the machine can
    bear), 8 of pocketsphinx (150 MB and a quarter of a core each), 4 of sherpa, 10 of Soniox."""
    captions: str = "en-US"
    """Language of the phones' captions. Empty: none, and only what apps ask for is recognised."""
    soniox_api_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("SONIOX_API_KEY"))
    """Key of Soniox. `glassbridge soniox-double` takes any."""
    soniox_endpoint: SocketUrl | None = Field(None, validation_alias=AliasChoices("SONIOX_ENDPOINT"))
    """Another Soniox: one region's, or the double. Unset: Soniox's own."""
    soniox_model: str | None = Field(None, validation_alias=AliasChoices("SONIOX_MODEL"))
    """Model of Soniox. Unset: `stt-rt-v6`."""
    soniox_per_minute: int = Field(100, ge=20, le=1_000_000, validation_alias=AliasChoices("SONIOX_PER_MINUTE"))
    """Streams that may be begun in a minute with your account of Soniox, by all clouds together. A user who moves to
    another cloud while speaking begins one: have so many raised that a cloud can be stopped."""
    vocabulary: str = Field("", max_length=8_000)
    """Names and words that are likely to be said, as a comma list. Soniox understands them better then."""
    sherpa_model: Path | None = None
    """Folder of a streaming model for sherpa-onnx."""
    sherpa_languages: str = "en-US"
    """Languages of that model, as a comma list."""

    def bridge_targets(self) -> tuple[str, ...]:
        """gRPC targets of the bridges that a cloud may use; the socket wins over TCP (as in the original)."""
        finds_them = bool(self.cluster.get_secret_value()) and "bridge_urls" not in self.model_fields_set
        if self.bridge_socket:
            return tuple(f"{UNIX}{path}" for path in _parts(self.bridge_socket))
        return () if finds_them else _parts(self.bridge_urls)

    @property
    def knows_far_bridges(self) -> bool:
        """A cloud knows by TLS which bridges on other machines are ours, and they know who calls."""
        return self.bridge_ca is not None and bool(self.bridge_client_cert or self.bridge_secrets)

    @property
    def connection_limits(self) -> ConnectionLimits:
        """Of the cloud's public port."""
        return ConnectionLimits(
            connections=self.connections,
            per_address=self.connections_per_address,
            header_time=self.header_time,
            body_time=self.body_time,
            sign_in_time=self.sign_in_time,
            idle_time=self.idle_time,
        )

    @property
    def jwt_secret(self) -> SecretStr:
        """The one that signs."""
        return self.jwt_secrets[0]

    @property
    def core_secrets(self) -> tuple[str, ...]:
        """Those that verify core tokens. With an issuer's keys a secret that was not set counts for nothing."""
        if self.has_issuer and "jwt_secrets" not in self.model_fields_set:
            return ()
        return tuple(secret.get_secret_value() for secret in self.jwt_secrets)

    @property
    def login_secrets(self) -> tuple[str, ...]:
        """Those that verify tokens of the login service."""
        return tuple(secret.get_secret_value() for secret in (*self.supabase_secrets, *self.authing_secrets))

    @property
    def has_issuer(self) -> bool:
        """Core tokens may be signed by an issuer."""
        return bool(self.jwks_url or self.jwks_file)

    @property
    def admin_token(self) -> SecretStr:
        """The one that our own commands show; empty: there is none."""
        return self.admin_tokens[0] if self.admin_tokens else SecretStr("")

    @property
    def apps_find_us_at(self) -> str:
        """The base URL that apps are given; empty: on this machine."""
        return self.public_url or (f"https://{self.public_host_name}" if self.public_host_name else "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no log, message or repr may hold."""
        held = (secret.get_secret_value() for name in _SECRETS for secret in _listed(getattr(self, name)))
        return tuple(filter(None, held))

    @property
    def development_secrets(self) -> tuple[str, ...]:
        """Names of the settings that still hold a public development value."""
        return tuple(weak.name for weak in self.weak_secrets() if weak.public)

    def weak_secrets(self) -> "tuple[WeakSecret, ...]":
        """Secrets that may not guard anything beyond this machine."""
        found = []
        for field in _GUARDS:
            held = _listed(getattr(self, field))
            if field == "jwt_secrets" and not self.core_secrets:
                continue
            for number, secret in enumerate(held, 1):
                value = secret.get_secret_value()
                public = value in PUBLIC_SECRETS
                if public or len(value.encode()) < MIN_SECRET_BYTES:
                    name = names_of(field)[0]
                    which = f" (number {number} of {len(held)})" if len(held) > 1 else ""
                    found.append(WeakSecret(name, f"{name}{which}", public, field in self.model_fields_set))
        return tuple(found)


class WeakSecret(NamedTuple):
    """A secret that anybody knows, or that can be guessed."""

    name: str
    """Of its variable."""
    place: str
    """The name, and where in its list."""
    public: bool
    """It is a development value that stands in our source; False: it is short."""
    given: bool
    """It was set; False: it is the default."""

    @property
    def why(self) -> str:
        return "is the public development value" if self.public else f"is shorter than {MIN_SECRET_BYTES} bytes"


_SECRETS: Final = tuple(
    name
    for name, field in Settings.model_fields.items()
    if field.annotation is SecretStr or SecretStr in get_args(field.annotation)
)
_GUARDS: Final = (
    "jwt_secrets",
    "supabase_secrets",
    "authing_secrets",
    "livekit_api_secret",
    "admin_tokens",
    "bridge_secrets",
    "cluster_secrets",
)
"""Secrets that let callers in."""


def _listed(value: SecretStr | tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    return value if isinstance(value, tuple) else (value,)


def names_of(field: str) -> tuple[str, ...]:
    """The environment variables of a setting; the first one is the one to tell people."""
    return _names(field, Settings.model_fields[field])


def _names(name: str, field: FieldInfo) -> tuple[str, ...]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{PREFIX}{name.upper()}",)


def all_names() -> frozenset[str]:
    """Every environment variable that is a setting."""
    fields = {name: names_of(name) for name in Settings.model_fields}
    files = {f"{variable}{FILE_SUFFIX}" for name in _SECRETS for variable in fields[name]}
    return frozenset(variable for names in fields.values() for variable in names) | files


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and a line for each variable that cannot be used: its field then holds the default."""
    values, wrong = _values(environ)
    try:
        return Settings.model_validate(values), wrong
    except ValidationError as error:
        bad = {str(part["loc"][0]): part["msg"].removeprefix("Value error, ") for part in error.errors()}
    fields = {variable: name for name in Settings.model_fields for variable in (name, *names_of(name))}
    reasons = {fields[place]: text for place, text in bad.items()}
    wrong += tuple(f"{names_of(name)[0]}: {text[:1].lower()}{text[1:]}" for name, text in reasons.items())
    return Settings.model_validate({name: value for name, value in values.items() if name not in reasons}), wrong


def _values(environ: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """By field, and what is wrong with the files of secrets."""
    given = {variable.upper(): value for variable, value in environ.items()}
    values: dict[str, Any] = {}
    wrong = []
    for name in Settings.model_fields:
        for variable in names_of(name):
            if variable in given:
                values.setdefault(name, given[variable])
            path = given.get(f"{variable}{FILE_SUFFIX}") if name in _SECRETS else None
            if not path:
                continue
            if name in values:
                wrong.append(f"{variable}{FILE_SUFFIX}: {variable} is set too: leave one of them out")
                continue
            try:
                text = _read_secret(Path(path))
            except ValueError as error:
                wrong.append(f"{variable}{FILE_SUFFIX}: {error}")
            else:
                lines = tuple(line.strip() for line in text.splitlines() if line.strip())
                values[name] = lines if isinstance(Settings.model_fields[name].default, tuple) else text.strip()
    return values, tuple(wrong)


def _read_secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_FILE + 1)
        if len(data) > MAX_SECRET_FILE:
            raise ValueError(f"{path} is larger than {MAX_SECRET_FILE >> 10} KiB: it holds no secret")
        return data.decode()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no text") from None


@lru_cache(1)
def process_settings() -> tuple[Settings, tuple[str, ...]]:
    """The process's settings and what is wrong with them, read once."""
    return read_settings(os.environ)


def settings() -> Settings:
    """The process's settings; a default stands for what is wrong."""
    return process_settings()[0]
