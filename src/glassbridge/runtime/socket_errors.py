"""What errors of sockets and TLS are called: the one table. The words name the cause and say what to do."""

import os
import ssl
from collections.abc import Mapping
from typing import Final

NO_ANSWER: Final = "no answer in time"
NOT_TRUSTED: Final = (
    "its certificate is not trusted: a private CA goes into SSL_CERT_FILE; in a public network, sign in first, in a "
    "web browser"
)
CA_UNREADABLE: Final = "its certificate is not trusted: SSL_CERT_FILE names no file of certificates that can be read"
OTHER_NAME: Final = "its certificate is for another host: check the address, or sign in to the network in a web browser"
EXPIRED: Final = "its certificate has expired, or this machine's clock is wrong"
NO_TLS: Final = "it does not speak TLS: check scheme and port, or sign in to the network in a web browser"
NO_NAME: Final = "name not known"

_CERTIFICATE: Final[Mapping[int, str]] = {10: EXPIRED, 9: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME}
"""By X509_V_ERR_*: expired, not yet valid, host name, IP address."""


def not_trusted() -> str:
    """In words. OpenSSL passes over a SSL_CERT_FILE that it cannot read."""
    if path := os.environ.get("SSL_CERT_FILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError:
            return CA_UNREADABLE
    return NOT_TRUSTED


def cause(error: object) -> str:
    """In words, without what a library adds: its text may hold a URL with a token."""
    match error:
        case ssl.SSLCertVerificationError():
            return _CERTIFICATE.get(error.verify_code) or not_trusted()
        case ssl.SSLError():
            return NO_TLS
        case TimeoutError():
            return NO_ANSWER
        case OSError(errno=int(number)):
            return (os.strerror(number) if number > 0 else error.strerror or NO_NAME).lower()
        case OSError(strerror=str(text)):
            return text
    return type(error).__name__
