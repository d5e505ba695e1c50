"""Network addresses of peers: which network one belongs to, and whose request a trusted proxy passes on.

Rules
- A limit for each address counts an IPv6 network of 64 bits as one address: one host has all of it.
- `X-Forwarded-For` is read from the right, and only as far as each hop is a trusted proxy.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

IPV6_HOST_BITS = 64
MAX_HOPS = 16
"""Entries of `X-Forwarded-For` that are read; a longer list is cut on the left."""


def subject_of(address: str) -> str:
    """What a limit for each address counts; an address that cannot be read counts as it is written."""
    found = _parse(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, IPV6_HOST_BITS), strict=False))
    return str(found) if found is not None else address


class TrustedProxies:
    """The networks whose `X-Forwarded-For` is believed. Raises ValueError for text that is no network."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(network.strip(), strict=False) for network in networks)

    def __contains__(self, address: str) -> bool:
        found = _parse(address) if self._networks else None
        return found is not None and any(
            found.version == network.version and found in network for network in self._networks
        )

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """The address of the client: `peer`, or what the trusted proxies before it saw. `forwarded` holds the values of
        all `X-Forwarded-For` headers in their order."""
        if peer not in self:
            return peer
        client = peer
        for hop in reversed(",".join(forwarded).split(",")[-MAX_HOPS:]):
            found = _parse(_without_port(hop.strip()))
            if found is None:
                break
            client = str(found)
            if client not in self:
                break
        return client


@lru_cache(1_000)
def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, _, port = text.rpartition(":")
    return host if host.count(":") == 0 and host and port.isdecimal() else text
