"""What a bridge is told when it starts. Values come from the command line and settings; workers get them as JSON."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from glassbridge.livekit.participant import ParticipantKind
from glassbridge.runtime.grpc_security import PLAINTEXT, ServerSecurity
from glassbridge.runtime.listen import claim_port, claim_socket
from glassbridge.telemetry.config import LogConfig

ENDS_WITHIN = 1.0
"""Seconds that a worker has beyond its times to drain and to leave."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one worker listens: a Unix socket, or a TCP port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @property
    def target(self) -> str:
        """As gRPC spells it."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.target

    def claim(self) -> None:
        """Frees the address for the new listener. Raises CannotListen."""
        if self.path is not None:
            claim_socket(self.path)
        else:
            claim_port(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackLimits:
    """What one PlayAudio may take. Seconds and bytes."""

    hosts: tuple[str, ...] = ()
    """Hosts whose URLs are fetched although their address is not public; `host` or `host:port`."""
    folder: str | None = None
    """file: URLs below this folder are played; None: none are."""
    max_bytes: int = 256 << 20
    """Of one sound; all but a window of it is forgotten as it is played."""
    max_kept: int = 16 << 20
    """Of one whose format can be read only with all of it at hand; also of all such sounds of a user,"""
    max_kept_in_all: int = 32 << 20
    """and of a worker."""
    memory_mb: int = 40
    """That decoding one sound may take, in its own process."""
    max_seconds: float = 600.0
    connect_timeout: float = 5.0
    stall_timeout: float = 10.0
    """No byte of the file for so long, or no word of its decoder: given up."""
    patience: float = 15.0
    """So long we wait for sound in all, at the start and in every gap together: given up."""
    hold: float = 10.0
    """A playback whose room was lost waits so long for the next place."""
    redirects: int = 5
    per_user: int = 10
    per_worker: int = 32
    """Each playback decodes in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """Times in seconds."""

    workers: int = 1
    socket: str | None = None
    """Path of a Unix socket; wins over host and port."""
    host: str = "127.0.0.1"
    port: int = 9090
    participant: ParticipantKind = "own"
    reflection: bool = False

    queue_frames: int = 200
    max_age: float = 0.5
    """A frame of the microphone that waited longer is dropped."""
    send_timeout: float = 2.0
    """A cloud that takes nothing for so long is let go."""
    heartbeat: float = 5.0
    silence: float = 15.0
    """A cloud that has sent heartbeats, and then nothing for so long, is gone; one that sends none never is."""
    join_timeout: float = 10.0
    """For callers without a deadline."""
    unclaimed: float = 10.0
    """A joined room that no stream claims is left after so long."""
    rejoin: float = 30.0
    """A lost room of a join without a generation (a cloud of the original) is joined again for so long; 0: never."""
    drain: float = 2.0
    """How long a stopping worker waits at most for clouds to take their users elsewhere."""
    leave: float = 1.5
    """How long it takes at most to leave its rooms then."""
    spare: bool = True
    """Keep one more process warm that takes over from a dead worker at once; costs its memory."""
    health_every: float = 0.5
    health_misses: int = 6
    """So many pings of the supervisor in a row without an answer: the worker is frozen, and is replaced 3 s after it
    froze. The spare process is pinged too."""
    max_resident_mb: float = 0.0
    """A worker that has grown larger is replaced; 0: may grow."""
    settled: float = 30.0
    """A worker that lived so long may be replaced for its size, and when it dies the next one starts at once."""
    playback: PlaybackLimits = PlaybackLimits()

    address_told: str = ""
    """Host at which clouds reach this bridge, told by the directory; empty: that of `host`."""
    in_cluster: bool = False
    """Its workers are listed in a directory, with their rooms."""

    security: ServerSecurity = PLAINTEXT
    """Of its TCP addresses."""

    metrics_port: int | None = None
    """Where the supervisor serves `/metrics`, with the numbers of all workers; each worker serves its own on one of the
    next ports. 0: free ones, which the log tells; None: nowhere."""
    metrics_host: str = "127.0.0.1"
    recorder: bool = True
    """Workers tell the supervisor what passes each room; it remembers that for 15 minutes (docs/recorder.md)."""
    traces: str = ""
    """URL of the OpenTelemetry collector that gets the workers' spans; empty: none does."""
    log: LogConfig = field(default_factory=LogConfig)
    """Of all its processes; holds the credentials of sinks."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError("a bridge has at least one worker")

    @property
    def stop_grace(self) -> float:
        """Seconds from SIGTERM to SIGKILL."""
        return self.drain + self.leave + ENDS_WITHIN

    def address(self, worker: int) -> Address:
        """Where a worker listens: the given socket or port itself when it is the only one, else one of its own."""
        if self.socket is None:
            return Address(host=self.host, port=self.port + worker)
        return Address(Path(self.socket if self.workers == 1 else f"{self.socket}.{worker}"))

    def told(self, worker: int) -> str:
        """Where clouds reach a worker, as gRPC spells it."""
        address = self.address(worker)
        if address.path is not None:
            address = replace(address, path=address.path.absolute())
        return (replace(address, host=self.address_told) if self.address_told else address).target

    def worker_metrics_port(self, worker: int) -> int:
        """Where a worker serves its own numbers; 0: on a free port."""
        return self.metrics_port + 1 + worker if self.metrics_port else 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "BridgeConfig":
        """The same configuration again."""
        fields = json.loads(text)
        playback = PlaybackLimits(**fields.pop("playback"))
        log = LogConfig.from_dict(fields.pop("log"))
        security = fields.pop("security")
        security["secrets"] = tuple(security["secrets"])
        return cls(
            **fields,
            playback=replace(playback, hosts=tuple(playback.hosts)),
            security=ServerSecurity(**security),
            log=log,
        )
