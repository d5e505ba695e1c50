"""Why a server cannot be reached, in words that lead to a remedy."""

import socket
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from yarl import URL

from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import TIMEOUT, Finding
from glassbridge.runtime.addresses import is_on_this_machine
from glassbridge.runtime.listen import port_holder
from glassbridge.runtime.unreachable import why

_PLAIN: Final[Mapping[str, str]] = {"https": "http", "wss": "ws"}
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL calls bytes that are no TLS."""


def explain(error: Exception, url: str, place: str, start: str) -> Finding:
    """`url` could not be asked. `place` names the setting, `start` the command that starts such a server."""
    address = URL(url)
    where = f"{address.scheme}://{address.authority}"
    match error:
        case TimeoutError():
            return Trouble.SILENT.found(where=where, place=place, why=f"nothing within {TIMEOUT:.0f} s")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Trouble.PROXY.found(where=where, why=why(error))
        case aiohttp.ClientConnectorDNSError():
            return Trouble.NAME_UNRESOLVED.found(
                names=f"{address.host} of {place}", host=address.host, why="the DNS does not know it"
            )
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as wrong):
            return Trouble.CERTIFICATE.found(where=where, why=wrong.verify_message)
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError(reason=reason)) if reason in _NO_TLS:
            return Trouble.NO_TLS.found(where=where, plain=_PLAIN.get(URL(url).scheme, "http"), place=place)
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return Trouble.REFUSED.found(where=where, start=start, place=place)
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            return Trouble.SILENT.found(where=where, place=place, why=reason)
    return Trouble.NOT_HTTP.found(where=where, port=address.port, holder=holder(url), place=place)


def is_here(url: str) -> bool:
    """Whether an HTTP or WebSocket URL leads to this machine."""
    return is_on_this_machine(URL(url).authority)


def holder(url: str) -> str:
    """Which program listens on the port, as far as this user may know."""
    return port_holder(URL(url).port or 0) if is_here(url) else "another program"


def listens(host: str, port: int) -> bool:
    """Whether somebody takes TCP connections there; blocks for TIMEOUT at most."""
    try:
        with socket.create_connection((host, port), TIMEOUT):
            return True
    except (OSError, UnicodeError):
        return False
