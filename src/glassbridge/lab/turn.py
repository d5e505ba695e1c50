"""The TURN server that livekit-server brings, on any port, by TLS, TCP or UDP.

livekit-server tells clients that its own TURN server is at port 443 of a domain. So it is named once more, as a server
that somebody else runs, with credentials that are made here as livekit-server makes them (pkg/service/turn.go).
"""

import hashlib
from pathlib import Path
from time import time
from typing import Any, Final, NamedTuple

from glassbridge.livekit.tokens import LiveKitKeys

LIFE: Final = 24 * 3600
_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Turn(NamedTuple):
    """Of a configuration of livekit-server."""

    turn: dict[str, Any]
    """Its `turn` part."""
    servers: list[dict[str, Any]]
    """Its `rtc.turn_servers`."""


def embedded_turn(
    keys: LiveKitKeys, host: str, port: int, by: str, certificate: tuple[Path, Path] | None = None
) -> Turn:
    """`by` is tls (with a certificate and its key), tcp or udp."""
    turn: dict[str, Any] = {
        "enabled": True,
        "domain": host,
        "bind_addresses": [host],
        # LiveKit itself is at such an address here; TURN leads to no others.
        "allow_restricted_peer_cidrs": [f"{host}/32"],
    }
    if by == "udp":
        turn |= {"udp_port": port}
    else:
        turn |= {"tls_port": port, "external_tls": by == "tcp"}
        if certificate is not None:
            turn |= {"cert_file": str(certificate[0]), "key_file": str(certificate[1])}
    named = f"{keys.api_key}|lab|{round(time()) + LIFE}"
    secret = hashlib.sha256(f"{keys.secret}|{named.split('|', 1)[1]}".encode()).digest()
    server = {"host": host, "port": port, "protocol": by}
    return Turn(turn, [server | {"username": base62(named.encode()), "credential": base62(secret)}])


def base62(data: bytes) -> str:
    """As github.com/jxskiss/base62 has it: from the end, five bits where six would be 62 or more."""
    number, bits, digits = int.from_bytes(data, "big"), len(data) * 8, bytearray()
    while bits > 0:
        digit, size = number & 0x3F, 6
        if digit & 0x1E == 0x1E:
            size = 5 if bits > 6 or digit > 0x1F else 6
            digit &= 0x1F
        digits.append(_DIGITS[digit])
        number >>= size
        bits -= size
    return digits.decode()
