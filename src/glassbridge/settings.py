"""Settings of all programs, read from the environment (the original's names where it had one). Times in seconds."""

from functools import lru_cache
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEV_LIVEKIT_KEY = "devkey"
DEV_LIVEKIT_SECRET = "development-only-secret-of-32-chars!"  # noqa: S105 - public on purpose
DEV_JWT_SECRET = "development-only-core-token-secret-32"  # noqa: S105 - public on purpose
MIN_ADMIN_TOKEN = 16


class Settings(BaseSettings):
    """One object for the process; secrets are SecretStr and never print."""

    model_config = SettingsConfigDict(env_prefix="GLASSBRIDGE_", populate_by_name=True, extra="ignore")

    livekit_url: str = Field("ws://127.0.0.1:7880", validation_alias=AliasChoices("LIVEKIT_URL"))
    livekit_public_url: str | None = None
    """Where phones find LiveKit, if it is not where bridges do."""
    livekit_api_key: str = Field(DEV_LIVEKIT_KEY, validation_alias=AliasChoices("LIVEKIT_API_KEY"))
    livekit_api_secret: SecretStr = Field(
        SecretStr(DEV_LIVEKIT_SECRET), validation_alias=AliasChoices("LIVEKIT_API_SECRET")
    )
    livekit_server_bin: Path | None = Field(None, validation_alias=AliasChoices("LIVEKIT_SERVER_BIN"))
    livekit_client_token_ttl: int = 24 * 3600
    """Seconds that a phone's LiveKit token lives."""
    livekit_agent_token_ttl: int = 600
    """Seconds that a bridge's LiveKit token lives; each join mints its own."""

    region: str = ""
    """Where this runs; in each log line when it is set."""
    log_user_key: SecretStr = SecretStr("")
    """User ids in the log are hashed with this key (`glassbridge logs user` tells the hash); empty: they are not."""
    log_batch: int = Field(100, ge=1)
    """Log lines that go to a sink at once,"""
    log_every: float = Field(5.0, gt=0)
    """and seconds that a line waits for others."""
    log_timeout: float = Field(10.0, gt=0)
    """Seconds that a sink may take for each step of an answer."""
    log_spool: Path | None = None
    """Folder for log lines that have not arrived at their sink; left out: the user's state folder."""
    betterstack_source_token: SecretStr = Field(
        SecretStr(""), validation_alias=AliasChoices("BETTERSTACK_SOURCE_TOKEN")
    )
    betterstack_ingesting_host: str = Field("", validation_alias=AliasChoices("BETTERSTACK_INGESTING_HOST"))
    """Host name as Better Stack shows it."""
    otlp_endpoint: str = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"))
    """Base URL of an OpenTelemetry collector that takes HTTP."""
    otlp_logs_endpoint: str = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"))
    """The whole URL for logs, if it is another one."""
    otlp_traces_endpoint: str = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    """The whole URL for traces, if it is another one."""
    otlp_headers: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_HEADERS"))
    """name=value,name=value"""

    bridge_socket: str | None = Field(None, validation_alias=AliasChoices("LIVEKIT_GRPC_SOCKET"))
    bridge_urls: str = Field("127.0.0.1:9090", validation_alias=AliasChoices("LIVEKIT_GRPC_BRIDGE_URL"))
    """One address or a comma list; host:port, or unix:/path."""

    jwt_secret: SecretStr = Field(SecretStr(DEV_JWT_SECRET), validation_alias=AliasChoices("AUGMENTOS_AUTH_JWT_SECRET"))
    """Signs and verifies core tokens (HS256)."""

    admin_token: SecretStr = SecretStr("")
    """Opens the console and `/api/admin`; empty: nobody may look. At least 16 characters."""

    public_url: str = ""
    """Where apps elsewhere find this cloud, such as https://cloud.example.com."""
    public_host_name: str = Field("", validation_alias=AliasChoices("CLOUD_PUBLIC_HOST_NAME"))
    """The same as the original says it: a host name behind HTTPS."""

    elevenlabs_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("ELEVENLABS_API_KEY"))
    """Empty: a speech program of this machine says what apps have to say."""
    elevenlabs_voice: str = Field("21m00Tcm4TlvDq8ikWAM", validation_alias=AliasChoices("ELEVENLABS_DEFAULT_VOICE_ID"))
    elevenlabs_url: str = "https://api.elevenlabs.io"

    grace: float = 60.0
    """How long a session waits for its phone after the socket closed."""
    dev_control: Path | None = None
    """Development: the Unix socket of `glassbridge dev`, for the buttons of the console."""
    recorder: bool = True
    """Cloud and bridge keep the last 15 minutes of each session in memory: counts by second and decisions, no audio."""
    tap: Path | None = None
    """Development: a Unix datagram socket that gets every block of microphone audio that a cloud hands on."""
    max_text_bytes: int = 1 << 20
    max_binary_bytes: int = 64 << 10
    max_sessions: int = 2_000
    recogniser: str = "pocketsphinx"
    """Who understands speech: pocketsphinx, soniox or sherpa (docs/speech.md)."""
    recognisers: int | None = Field(None, ge=1)
    """Streams of speech recognised at a time. None: 8 of pocketsphinx (for each a process, 120 MB, a quarter of a core
    while somebody speaks), 4 of sherpa, 10 of Soniox."""
    captions: str = "en-US"
    """Language in which phones get captions; empty: none, and only what apps ask for is recognised."""
    soniox_api_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("SONIOX_API_KEY"))
    soniox_endpoint: str | None = Field(None, validation_alias=AliasChoices("SONIOX_ENDPOINT"))
    soniox_model: str | None = Field(None, validation_alias=AliasChoices("SONIOX_MODEL"))
    sherpa_model: Path | None = None
    """Folder of a streaming model for sherpa-onnx."""
    sherpa_languages: str = "en-US"
    """What that model understands: a comma list."""

    def bridge_targets(self) -> tuple[str, ...]:
        """gRPC targets of the bridges that a cloud may use; the socket wins over TCP (as in the original)."""
        if self.bridge_socket:
            return tuple(f"unix:{path.strip()}" for path in self.bridge_socket.split(",") if path.strip())
        return tuple(target.strip() for target in self.bridge_urls.split(",") if target.strip())

    @field_validator("admin_token")
    @classmethod
    def _long_enough(cls, token: SecretStr) -> SecretStr:
        if 0 < len(token.get_secret_value()) < MIN_ADMIN_TOKEN:
            raise ValueError(f"an admin token has at least {MIN_ADMIN_TOKEN} characters")
        return token

    @property
    def apps_find_us_at(self) -> str:
        """The base URL that apps are given; empty: on this machine."""
        return self.public_url or (f"https://{self.public_host_name}" if self.public_host_name else "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no log, message or repr may hold."""
        held = (
            self.livekit_api_secret,
            self.jwt_secret,
            self.admin_token,
            self.log_user_key,
            self.betterstack_source_token,
            self.soniox_api_key,
            self.elevenlabs_key,
        )
        return tuple(secret.get_secret_value() for secret in held if secret.get_secret_value())

    @property
    def development_secrets(self) -> tuple[str, ...]:
        """Names of the settings that still hold their public development value."""
        found = []
        if self.jwt_secret.get_secret_value() == DEV_JWT_SECRET:
            found.append("AUGMENTOS_AUTH_JWT_SECRET")
        if self.livekit_api_secret.get_secret_value() == DEV_LIVEKIT_SECRET:
            found.append("LIVEKIT_API_SECRET")
        return tuple(found)


@lru_cache(1)
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings.model_validate({})
