"""The IP addresses of the open internet: where a URL from an app may lead (traps 30).

`ipaddress.is_global` calls NAT64, 6to4 and multicast spellings of private addresses global, so the list is our own; it
follows the IANA registries of special-purpose addresses.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_NOT_PUBLIC_V4: Final = tuple(
    ip_network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_PUBLIC_V6: Final = ip_network("2000::/3")
"""Global unicast; all else is loopback, mapped, NAT64, unique local, link-local, multicast or unassigned."""
_NOT_PUBLIC_V6: Final = tuple(
    ip_network(net)
    for net in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)


def is_public(address: str) -> bool:
    """Whether an address literal belongs to the open internet. False for what is no address at all."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    match ip:
        case IPv4Address():
            return not any(ip in net for net in _NOT_PUBLIC_V4)
        case IPv6Address():
            return ip in _PUBLIC_V6 and not any(ip in net for net in _NOT_PUBLIC_V6)
