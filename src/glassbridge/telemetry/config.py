"""What logging of a program is told. Values come from settings and the command line; workers get them as JSON."""

import hashlib
import os
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from glassbridge.core.outbox import BATCH, EVERY

SinkKind = Literal["better_stack", "otlp"]

TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """One sink. Raises ValueError for a URL that would send credentials in the clear."""

    kind: SinkKind
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Credentials among them."""
    batch: int = BATCH
    every: float = EVERY
    """Seconds that a line waits for others."""
    timeout: float = TIMEOUT
    """Seconds for each step of a request: connecting, sending, each piece of the answer."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.kind}: a log sink is an https:// address")
        if parts.scheme == "http" and self.headers and not _on_loopback(parts.hostname):
            raise ValueError(f"{self.kind}: credentials go to {parts.hostname} by https:// only")

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.url).netloc

    @property
    def folder(self) -> str:
        """Name of its folder below the spool's: lines for one sink never go to another."""
        return f"{self.kind}-{hashlib.sha256(self.url.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How one program logs."""

    level: str = "info"
    fmt: str = "auto"
    """console, json, or auto: console on a terminal."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values that are never printed, beside what looks like a credential anyway."""
    region: str = ""
    """Where it runs; empty: no field."""
    user_key: str = field(default="", repr=False)
    """User ids are hashed with it; empty: they are not."""
    sinks: tuple[SinkConfig, ...] = ()
    spool: str | None = None
    """Folder for lines that have not arrived; None: they are kept in memory."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "LogConfig":
        """The same again, from asdict() that went through JSON."""
        sinks = tuple(
            SinkConfig(**sink | {"headers": tuple((name, value) for name, value in sink["headers"])})
            for sink in fields["sinks"]
        )
        return cls(**fields | {"secrets": tuple(fields["secrets"]), "sinks": sinks})

    def to_dict(self) -> dict[str, Any]:
        """Secrets and all."""
        return asdict(self)


def better_stack_sink(host: str, token: str, **options: Any) -> SinkConfig:
    """`host` as Better Stack shows it, or a URL. Raises ValueError."""
    host, token = host.strip(), token.strip()  # as they come out of files
    if not token.isprintable() or not token.isascii():
        raise ValueError("the source token of Better Stack holds characters that no token has")
    url = host if "://" in host else f"https://{host}"
    return SinkConfig(kind="better_stack", url=url, headers=(("Authorization", f"Bearer {token}"),), **options)


def otlp_sink(url: str, headers: str, **options: Any) -> SinkConfig:
    """`url` whole; `headers` as OpenTelemetry's variables spell them: `name=value,name=value`. Raises ValueError."""
    pairs = (pair.partition("=") for pair in headers.split(",") if pair.strip())
    return SinkConfig(
        kind="otlp", url=url, headers=tuple((name.strip(), value.strip()) for name, _, value in pairs), **options
    )


def default_spool() -> Path | None:
    """Where a user's programs keep their state (XDG); None: this user has no home."""
    try:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return Path(base) / "glassbridge" / "logs"


def _on_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
