"""Where the directory's server is: the URL that an operator writes.

    valkey://[[USER]:PASSWORD@]HOST[:PORT][/DB]                      one server
    valkey+sentinel://[[USER]:PASSWORD@]HOST[:PORT],.../SERVICE[/DB] a primary that Sentinels name
    valkey+cluster://[[USER]:PASSWORD@]HOST[:PORT],...               a Cluster

`redis` means the same as `valkey`; `valkeys` and `rediss` are over TLS. The errors never quote the URL: it may hold a
password.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote

from glassbridge.runtime.addresses import check_host

MAX_PORT: Final = 65_535
MAX_HOSTS: Final = 32
MAX_DB: Final = 1_000


class DirectoryKind(Enum):
    """What stands behind the URL: its suffix in the scheme, and the port when none is given."""

    SERVER = ("", 6379)
    SENTINEL = ("+sentinel", 26_379)
    CLUSTER = ("+cluster", 6379)

    def __init__(self, suffix: str, port: int) -> None:
        self.suffix = suffix
        self.port = port


_SCHEMES: Final = {
    f"{name}{kind.suffix}": (kind, tls)
    for kind in DirectoryKind
    for name, tls in (("valkey", False), ("valkeys", True), ("redis", False), ("rediss", True))
}
_URL: Final = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<credentials>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<path>[^@?#]*))?"
)
_HOST: Final = re.compile(
    r"\[(?P<literal>[0-9A-Fa-f:.%]+)\](?::(?P<port6>\d{1,5}))?|(?P<name>[^:\[\]]+)(?::(?P<port>\d{1,5}))?"
)
_SERVICE: Final = re.compile(r"[\w.-]{1,100}")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A URL that was read."""

    kind: DirectoryKind
    hosts: tuple[tuple[str, int], ...]
    """Host and port of the server, of Sentinels, or of some nodes of a Cluster."""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    service: str = ""
    """Of Sentinels: the name of the primary."""
    db: int = 0

    @property
    def shown(self) -> str:
        """For logs: without user name and password."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)


def read_address(url: str) -> ServerAddress:
    """Reads a URL. Raises ValueError; the text says what is wrong, and quotes nothing."""
    found = _URL.fullmatch(url)
    if found is None or found["scheme"] not in _SCHEMES:
        raise ValueError(
            "the URL begins with valkey:// or redis://, with valkeys:// or rediss:// for TLS, or with +sentinel or "
            "+cluster before the colon; /, ?, # and @ in a password are written as %2F, %3F, %23, %40"
        )
    kind, tls = _SCHEMES[found["scheme"]]
    username, password = _credentials(found["credentials"])
    hosts = tuple(_host(text, kind) for text in found["hosts"].split(","))
    if len(hosts) > (1 if kind is DirectoryKind.SERVER else MAX_HOSTS):
        raise ValueError("valkey:// names one server; several are named with +sentinel or +cluster (at most 32)")
    service, db = _path(kind, found["path"] or "")
    return ServerAddress(kind, hosts, tls, username, password, service, db)


def _credentials(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    username, colon, password = text.partition(":")
    if not colon or not password:
        raise ValueError("before the @ stands user:password, or :password")
    return unquote(username) or None, unquote(password)


def _host(text: str, kind: DirectoryKind) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    host = "" if found is None else found["literal"] or found["name"]
    if found is None or not host:
        raise ValueError("a host is missing, or is no host name and no IP address: host:port, or [::1]:port")
    port = int(found["port6"] or found["port"] or kind.port)
    if not 0 < port <= MAX_PORT:
        raise ValueError(f"the port is not a number from 1 to {MAX_PORT}")
    return check_host(host), port


def _path(kind: DirectoryKind, path: str) -> tuple[str, int]:
    """(service, number of the database)"""
    service, rest = "", path
    if kind is DirectoryKind.SENTINEL:
        service, _, rest = path.partition("/")
        if not _SERVICE.fullmatch(service):
            raise ValueError("after the Sentinels stands the name of their primary: .../mymaster")
    if rest and (not rest.isascii() or not rest.isdecimal() or int(rest) > MAX_DB):
        raise ValueError("the path is the number of the database, such as /0")
    if rest.strip("0") and kind is DirectoryKind.CLUSTER:
        raise ValueError("a Cluster has no numbered databases: leave the path out")
    return service, int(rest or 0)
