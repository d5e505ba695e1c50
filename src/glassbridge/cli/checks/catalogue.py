"""Every trouble that `glassbridge doctor` can tell, in one table: how bad it is, what happened and why, what to do.

tools/describe_commands.py writes docs/doctor.md from it; tests/cli/test_doctor.py meets each one.
"""

from enum import Enum, unique
from typing import NamedTuple

from glassbridge.cli.checks.findings import Finding, FindingState
from glassbridge.livekit.clock_skew import REMEDY

_SECRET = "set 32 random bytes or more (openssl rand -hex 32)"  # noqa: S105 - an advice


class MessageTemplate(NamedTuple):
    """Templates."""

    state: FindingState
    text: str
    advice: str


def _failed(text: str, advice: str) -> MessageTemplate:
    return MessageTemplate(FindingState.FAILED, text, advice)


def _warning(text: str, advice: str) -> MessageTemplate:
    return MessageTemplate(FindingState.WARNING, text, advice)


@unique
class Trouble(Enum):
    """By the thing that is in trouble. The name is the `code` of `doctor --json`."""

    # ---- addresses
    NAME_UNRESOLVED = _failed(
        "no address is known for {names} ({why})",
        "correct the name, or the DNS of this machine (`getent hosts {host}` asks it)",
    )
    ADDRESS_OF_NOWHERE = _failed(
        "{place}: {host} is an address to listen on, and none that can be reached",
        "say the host name or the IP address of that machine",
    )
    LOOPBACK_TOLD = _failed(
        "{place} is an address of this machine, and phones elsewhere are told to use it",
        "set GLASSBRIDGE_LIVEKIT_PUBLIC_URL to where phones find LiveKit",
    )

    # ---- secrets, and what travels in the clear
    SECRETS_SHORT = _failed("{secrets}", f"{_SECRET}: programs do not start with these where others can reach them")
    SECRETS_PUBLIC = _warning("{secrets}", f"{_SECRET} before any other machine can reach this one")
    SECRETS_EXPOSED = _failed(
        "{secrets}, and {place} is for other machines: anybody can sign in", f"{_SECRET} on both sides"
    )
    BRIDGES_IN_CLEAR = _failed(
        "bridges on other machines are called without TLS: calls carry tokens and speech",
        "set GLASSBRIDGE_BRIDGE_CA (docs/production.md)",
    )
    PLAINTEXT = _warning("plaintext to another machine: {places}", "use wss:// and https:// there")

    # ---- servers that answer wrongly, or not at all
    REFUSED = _failed("nobody listens at {where}", "start it ({start}), or correct {place}")
    SILENT = _failed(
        "no answer from {where} ({why})",
        "see that it runs, that {place} is right, and that every firewall on the way lets TCP through",
    )
    CERTIFICATE = _failed(
        "the certificate of {where} is not trusted: {why}",
        "use a certificate that names this host and has not expired; for an authority of your own set SSL_CERT_FILE to "
        "its certificate",
    )
    PROXY = _failed(
        "{where} cannot be asked: {why}",
        "correct HTTPS_PROXY (for http:// HTTP_PROXY), or name the host in NO_PROXY",
    )
    NO_TLS = _failed("{where} does not speak TLS", "use {plain}:// in {place}, or the port of its TLS proxy")
    NOT_HTTP = _failed(
        "port {port} at {where} is held by {holder}, which does not speak HTTP", "stop it, or correct {place}"
    )
    LIVEKIT_STRANGE = _warning(
        "{where} answers {status} {text!r}, and LiveKit would answer 200 'OK'",
        "see that a LiveKit server is there and not {holder}, or a proxy before it",
    )
    CLOUD_ABSENT = _failed(
        "no cloud runs at {where}; its port is free",
        "start one (`glassbridge cloud`; `glassbridge dev` starts everything), or say where it is with --cloud",
    )
    CLOUD_STRANGE = _failed(
        "port {port} at {where} is held by {holder}, which is no cloud",
        "stop it, or give the cloud another port with --port and name it with --cloud",
    )
    CLOUD_DRAINING = _warning("the cloud at {where} takes no new phones", "it is draining: wait, or start another")
    CLOUD_WITHOUT_BRIDGE = _failed(
        "the cloud at {where} sees no bridge", "compare LIVEKIT_GRPC_SOCKET or LIVEKIT_GRPC_BRIDGE_URL of both programs"
    )

    # ---- time and keys
    CLOCK_WRONG = _failed("{skew}: tokens are refused", REMEDY)
    CLOCK_DRIFTS = _warning("{skew}", f"{REMEDY} before tokens are refused")
    KEY_REFUSED = _failed(
        "LiveKit refuses our key: LIVEKIT_API_KEY is unknown to it, or it has another secret",
        "compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with `keys:` in LiveKit's configuration",
    )
    ROOM_SERVICE = _failed(
        "LiveKit's room service: {why}", "see that LIVEKIT_URL is that of a LiveKit server, and its log"
    )

    # ---- media
    JOIN = _failed("joining a room: {why}", "{advice}")
    MEDIA_LOST = _failed("a packet through a room does not arrive", "{advice}")
    NO_MEDIA_BY_TURN = _warning(
        "{why}",
        "in networks without UDP our phones speak by their WebSocket only, and hear no sound of apps: set `turn:` in "
        "LiveKit's configuration (docs/production.md), open its tls_port, and let it reach LiveKit itself "
        "(turn.allow_restricted_peer_cidrs where rtc.node_ip is a private address)",
    )
    NO_MEDIA_BY_TCP = _warning(
        "{why}",
        "phones with LiveKit's own SDK cannot join in networks without UDP: set rtc.tcp_port (7881) and open it, or "
        "give LiveKit a TURN server",
    )

    # ---- bridges
    BRIDGE_SETTINGS = _failed("{why}", "see docs/production.md")
    BRIDGE_ABSENT = _failed(
        "no bridge answers at {targets}",
        "start it (`glassbridge bridge`), or correct LIVEKIT_GRPC_SOCKET or LIVEKIT_GRPC_BRIDGE_URL",
    )
    DIRECTORY_AWAY = _failed(
        "the directory of the cluster, which names its bridges, does not answer ({why})",
        "see that its Valkey server runs, and that GLASSBRIDGE_CLUSTER (and GLASSBRIDGE_CLUSTER_CA) are right",
    )
    BRIDGES_UNLISTED = _failed(
        "the directory of the cluster lists no bridge", "start one with GLASSBRIDGE_CLUSTER (`glassbridge bridge`)"
    )
    BRIDGE_STRANGE = _failed(
        "{target} is held by {holder}, which is no bridge",
        "stop it (Prometheus listens on 9090, too), or give the bridge another --port and name it in "
        "LIVEKIT_GRPC_BRIDGE_URL",
    )
    BRIDGE_REFUSES = _failed(
        "the bridge at {target} does not let us in: {why}",
        "compare GLASSBRIDGE_BRIDGE_SECRET of both programs, or show a client certificate (docs/production.md)",
    )
    BRIDGE_VERSION = _warning(
        "bridges of version {told}, and this is {ours}", "deploy bridges and clouds of one version, bridges first"
    )
    SOCKET_UNSEEN = _failed("{path} cannot be looked at", "run as the bridge's user, or see to the mode of {folder}")
    SOCKET_OWNER = _failed("{why}", "run cloud and bridge as the same user, or set GLASSBRIDGE_BRIDGE_OWNER")
    SOCKET_CLOSED = _failed("this user may not use {path}", "run cloud and bridge as the same user")
    SOCKET_FOLDER = _warning("{folder} is open to other users", "use a folder of mode 0700 for the bridge's socket")
    SOCKET_OPEN = _warning(
        "{path} is open to other users", "chmod 600 {path}: whoever opens it may listen to everybody"
    )

    # ---- speech
    RECOGNISER_SETTINGS = _failed(
        "{why}", "see docs/speech.md; phones are told that audio arrives and is not captioned"
    )
    RECOGNISER = _failed("{name}: {why}", "{advice}")
    RECOGNISER_SILENT = _failed(
        "{name} does not answer within {seconds:.0f} s",
        "see that this machine may reach it and has a core to spare (docs/speech.md)",
    )

    SPEAKERS_FEW = _warning(
        "{count} people may speak at once on {processors} processors",
        "give this machine more processors, spread users over more clouds, or use a hosted recogniser (docs/speech.md)",
    )
    SPEAKERS_LIMITED = _warning(
        "GLASSBRIDGE_RECOGNISERS lets {allowed} people speak at once, and this machine bears about {bears}",
        "raise GLASSBRIDGE_RECOGNISERS, or leave it unset",
    )

    # ---- this machine
    SINK_SETTINGS = _failed("{why}", "set both, or none")
    SINK_NONE = _warning(
        "none is set: logs are on standard error only", "set BETTERSTACK_SOURCE_TOKEN and its host, or OTLP"
    )
    SINK = _failed("{kind} at {place} answers {status}", "{advice}")
    SPOOL_NONE = _warning("no folder for log lines that wait: a crash loses them", "set GLASSBRIDGE_LOG_SPOOL to one")
    SPOOL_CLOSED = _failed("{folder} cannot be written", "set GLASSBRIDGE_LOG_SPOOL to a folder of this user's")
    DISK_FULL = _failed(
        "{free} MB free for log lines that wait, at {folder}", "make room: log lines are lost when their sink is down"
    )
    DISK_LOW = _warning("{free} MB free for log lines that wait, at {folder}", "make room before it runs out")
    FEW_FILES = _warning(
        "{hard} open files are allowed", "raise the limit (ulimit -Hn, LimitNOFILE) to {wanted} or more"
    )

    def found(self, **values: object) -> Finding:
        """The finding, with what was found put in."""
        state, text, advice = self.value
        return Finding(state, text.format(**values), advice.format(**values), self.name.lower())
