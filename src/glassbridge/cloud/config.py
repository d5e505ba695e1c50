"""What a cloud is told when it starts. Values come from the command line and settings; secrets never print."""

from dataclasses import dataclass, field
from pathlib import Path

from glassbridge.cloud.apps_config import PHONE_RATES, AppsConfig, SocketRates
from glassbridge.core.allowance import Rate
from glassbridge.core.connections import ConnectionLimits
from glassbridge.core.subscriptions import DEFAULT_LANGUAGE
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.grpc_security import PLAINTEXT_CHANNELS, ChannelSecurity
from glassbridge.runtime.socket_owner import own_users

EXCHANGES_OF_USER, WRONG_LOGINS = Rate(10 / 60, 10), Rate(1.0, 60)


@dataclass(slots=True)
class CloudKeys:
    """The secrets of a running cloud. Read them here at each use: `replace` changes them all at once."""

    core: tuple[str, ...] = field(repr=False)
    """Verify core tokens and tokens of apps (HS256), the first one is the newest; none: only an issuer's keys do."""
    livekit: LiveKitKeys
    """Sign LiveKit tokens; their repr hides the secret."""
    bridge: str = field(default="", repr=False)
    """Shown to bridges on channels with TLS; empty: none is."""
    login: tuple[str, ...] = field(default=(), repr=False)
    """Verify tokens of the login service (HS256); none: only an issuer's keys do."""

    def replace(self, other: "CloudKeys") -> None:
        """From now on those of `other` count."""
        self.core, self.livekit, self.bridge, self.login = other.core, other.livekit, other.bridge, other.login


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerConfig:
    """An issuer that signs core tokens (RS256, ES256)."""

    keys: str | Path
    """A JWKS: https:// URL, or a file."""
    issuer: str
    audience: str
    max_life: float = 24 * 3600.0
    """A token may live so many seconds longer at most."""
    refresh: float = 600.0
    """The keys are read again so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    """What the original's phones ask for: a core token for a token of the login service."""

    issuer: str = ""
    """`iss` of tokens by the login service's secret; empty: any."""
    audience: str = ""
    """`aud` of them; empty: any."""
    life: float = 7 * 24 * 3600.0
    """Seconds that a core token lives which is given for one."""
    per_user: Rate = EXCHANGES_OF_USER
    wrong_per_address: Rate = WRONG_LOGINS
    """Tokens that are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """How this cloud meets other clouds that share its directory."""

    secrets: tuple[str, ...] = field(repr=False)
    """Sign hand-overs: the first one signs, all of them verify."""
    host: str = "127.0.0.1"
    """Where other clouds reach this one, and where it listens for them."""
    port: int = 0
    """0: a free one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """Times in seconds, sizes in bytes."""

    keys: CloudKeys
    livekit_url: str
    """Where bridges find LiveKit, and phones unless livekit_public_url says otherwise."""
    issuer: IssuerConfig | None = None
    """None: the core secrets alone verify core tokens."""
    token_max_life: float | None = None
    """A core token by a core secret may live so many seconds longer at most; None: for ever, as the original's do."""
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    recheck: float = 20.0
    """The tokens of live sockets are looked at again so often."""
    bridges: tuple[str, ...]
    """gRPC targets that are used beside those that the directory lists; the least loaded live one gets a new room."""
    bridge_security: ChannelSecurity = PLAINTEXT_CHANNELS
    """How those on TCP are known."""
    far_bridges: bool = False
    """Bridges of other machines that the directory lists are used: TLS proves their identity, or no proof is needed."""
    bridge_owners: frozenset[int] = field(default_factory=lambda: own_users(""))
    """Users whose Unix sockets are believed to be bridges."""
    admin_token: str = field(default="", repr=False)
    """Opens the console and `/api/admin`; empty: both are closed."""
    former_admin_tokens: tuple[str, ...] = field(default=(), repr=False)
    """These do so too, until everybody has the new one."""

    livekit_public_url: str | None = None
    host: str = "127.0.0.1"
    """Phones elsewhere can reach the cloud only on an address that is open to them, such as 0.0.0.0."""
    port: int = 8002
    address: str = ""
    """host:port by which other clouds behind the same public URL reach this one; empty: that of `host`."""
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    """Of the public port; the port of the metrics has its own."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose `X-Forwarded-For` is believed."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages, beside our own, whose browsers may open sockets here and use `/api/client/`, such as
    https://app.example.com."""
    metrics_port: int | None = None
    """Where `/metrics` needs no token; 0: a free port; None: nowhere. On `port` it needs the admin token."""
    metrics_host: str = "127.0.0.1"
    record: Path | None = None
    """Folder for what the recogniser was fed, one WAV for each session."""
    dev_control: Path | None = None
    """Development: the Unix socket on which `glassbridge dev` obeys the console (cloud/console/development.py)."""
    captions: str = DEFAULT_LANGUAGE
    """Language in which phones get captions; empty: none, and only apps ask for speech."""
    recorder: bool = True
    """Keep the last 15 minutes of each session for the console and `glassbridge inspect` (cloud/flight.py)."""
    tap: Path | None = None
    """Development: a Unix datagram socket that gets every block of microphone audio (cloud/tap.py)."""

    client_token_ttl: float = 600.0
    agent_token_ttl: float = 600.0
    grace: float = 60.0
    """How long a session waits for its phone after the socket closed."""
    max_sessions: int = 2_000
    max_text: int = 1 << 20
    """Of a text message before its type is known; each type has a limit of its own, mostly 64 KiB (wire/codec.py)."""
    max_binary: int = 64 << 10
    phone_rates: SocketRates = PHONE_RATES

    ping_every: float = 5.0
    """The cloud asks each phone so often for a sign of life."""
    missed_pings: int = 3
    """A phone of which nothing at all was heard over so many pings is gone."""
    bridge_timeout: float = 2.0
    """Deadline of every call to a bridge but JoinRoom."""
    status_timeout: float = 1.0
    """How long a bridge, LiveKit and the phone may take to say how they are."""
    join_timeout: float = 8.0
    """Deadline of JoinRoom, and of the wait for one's turn to call it."""
    bridge_heartbeat: float = 5.0
    """The cloud's heartbeat on an audio stream; a bridge that sent one itself must send within two of these."""
    bridge_poll: float = 1.0
    """How often each bridge is asked whether it lives."""
    drain: float = 3.0
    """How long a stopping cloud takes at most to end its sessions."""
    drain_delay: float = 0.0
    """How long before that it goes on as before, but is not ready."""
    rebalance: int = 5
    """Users a second that a cloud with more than its share sends to others at most."""
    apps: AppsConfig = field(default_factory=AppsConfig)
    cluster: ClusterConfig | None = None
    """None: there are no other clouds."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must appear nowhere."""
        return tuple(
            filter(
                None,
                (
                    *self.keys.core,
                    *self.keys.login,
                    self.livekit_keys.secret,
                    self.keys.bridge,
                    self.admin_token,
                    *self.former_admin_tokens,
                    *(self.cluster.secrets if self.cluster is not None else ()),
                ),
            )
        )

    @property
    def livekit_keys(self) -> LiveKitKeys:
        """As they are now."""
        return self.keys.livekit

    @property
    def phones_livekit_url(self) -> str:
        """What phones are told."""
        return self.livekit_public_url or self.livekit_url
