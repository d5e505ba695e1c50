"""Addresses that an operator writes: URLs, host names and gRPC targets, and whether only this machine is behind one.

The errors never quote the address: a URL may hold a credential.
"""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_PORT: Final = 65_535
MAX_SOCKET_PATH: Final = 107
"""Bytes that Linux allows for the path of a Unix socket."""
UNIX: Final = "unix:"
_LABEL: Final = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f]")


def check_url(text: str, schemes: Sequence[str]) -> str:
    """The URL, or empty where it is empty. Raises ValueError: another scheme, no host, a bad port, a credential."""
    if not text:
        return text
    parts = _parts(text)
    if parts.scheme not in schemes or "://" not in text:
        raise ValueError(f"a URL here begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL here holds no user name and no password: it is shown in logs")
    if parts.query or parts.fragment:
        raise ValueError("a URL here ends with its path: leave out what begins with ? or #")
    check_host(parts.hostname or "")
    _check_port(parts)
    return text


def check_host(text: str) -> str:
    """A host name or IP address, or empty where `text` is empty. Raises ValueError."""
    if _address(text) is None and not all(_LABEL.fullmatch(label) for label in text.removesuffix(".").split(".")):
        raise ValueError("the host is missing, or no host name and no IP address")
    return text


def check_target(text: str) -> str:
    """A gRPC target: host:port, or unix:/path. Raises ValueError."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path.strip("/") or len(path.encode()) > MAX_SOCKET_PATH:
            raise ValueError(f"unix: is followed by a path of at most {MAX_SOCKET_PATH} bytes")
        return text
    parts = _parts(f"grpc://{text}")
    if "/" in text or parts.username is not None or parts.query or parts.fragment or not parts.hostname:
        raise ValueError("the address of a bridge is host:port or unix:/path")
    check_host(parts.hostname)
    if _check_port(parts) is None:
        raise ValueError("the address of a bridge is host:port: the port is missing")
    return text


def check_node_address(text: str) -> str:
    """host:port, or [::1]:port; port 0 stands for a free one. Raises ValueError."""
    host, port = split_address(text)
    check_host(host)
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"the port is not a number from 0 to {MAX_PORT}")
    return text


def split_address(text: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or "/" in text or "@" in text:
        raise ValueError("the address is host:port, such as 10.0.0.7:8010")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _parts(text: str) -> SplitResult:
    if _SPACE.search(text):
        raise ValueError("an address holds no white space")
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("this is no URL: a bracket is missing, or a character is not allowed") from None


def _check_port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError(f"the port is not a number from 1 to {MAX_PORT}")
    return port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`. Raises ValueError: no such address."""
    if not host:  # every address
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ValueError("there is no such address on this machine") from None
    return all(_is_loopback(str(address[0])) for *_, address in found)


def reachable_at(host: str, port: int) -> str:
    """host:port by which programs on this machine reach a server that listens on `host`."""
    address = _address(host)
    if not host or (address is not None and address.is_unspecified):
        return f"127.0.0.1:{port}"
    return f"[{host}]:{port}" if isinstance(address, IPv6Address) else f"{host}:{port}"


def is_on_this_machine(target: str) -> bool:
    """Whether a gRPC target is a Unix socket or a loopback address. A name other than localhost is not: DNS may lie."""
    if target.startswith(UNIX):
        return True
    host = _parts(f"grpc://{target}").hostname or ""
    return host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None
