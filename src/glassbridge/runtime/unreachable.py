"""Why a server cannot be reached through HTTP, in a few words that name the cause and say what to do."""

import os
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from yarl import URL

SIGN_IN: Final = "a web page answers in its place: sign in to the network in a web browser, or check the address"
NOT_TRUSTED: Final = (
    "its certificate is not trusted: a private CA goes into SSL_CERT_FILE; in a public network, sign in first, in a "
    "web browser"
)
OTHER_NAME: Final = "its certificate is for another host: check the address, or sign in to the network in a web browser"
EXPIRED: Final = "its certificate has expired, or this machine's clock is wrong"
NO_TLS: Final = "it does not speak TLS: check scheme and port, or sign in to the network in a web browser"
PROXY_ABSENT: Final = "the proxy of HTTPS_PROXY does not answer"
PROXY_REFUSES: Final = "the proxy of HTTPS_PROXY refuses (status {})"
PROXY_LOGIN: Final = "the proxy of HTTPS_PROXY wants a user name and password: http://USER:PASSWORD@HOST:PORT"

_CERTIFICATE: Final[Mapping[int, str]] = {10: EXPIRED, 9: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME}
"""By X509_V_ERR_*: expired, not yet valid, host name, IP address."""


class Elsewhere(aiohttp.ClientError):
    """The answer was a redirect, which is not followed: it would take the token along, or leave it behind."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


async def stay(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware for sessions of aiohttp. Raises Elsewhere."""
    answer = await handler(request)
    if answer.status in (301, 302, 303, 307, 308):
        answer.close()
        raise Elsewhere(_redirected(request.url, answer.headers.get("Location", "")))
    return answer


def _redirected(asked: URL, location: str) -> str:
    try:
        told = asked.join(URL(location)).origin()
    except ValueError:
        return SIGN_IN
    return f"it is at {told}: use that address" if told.host == asked.host and told != asked.origin() else SIGN_IN


def is_web_page(status: int, headers: Mapping[str, str] | None) -> bool:
    """Whether the answer is a page for people, as sign-in pages of networks are. Pages of proxies that have lost their
    server are not meant."""
    kind = (headers or {}).get("Content-Type", "").partition(";")[0].strip().lower()
    return status == 511 or (status < 500 and kind == "text/html")


def why(error: Exception) -> str:
    """In words, without what the library adds: its text may hold a URL with a token."""
    match error:
        case Elsewhere():
            return error.why
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as wrong):
            return _CERTIFICATE.get(wrong.verify_code, NOT_TRUSTED)
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return NOT_TRUSTED
        case aiohttp.ClientConnectorSSLError():
            return NO_TLS
        case aiohttp.ClientProxyConnectionError():
            return PROXY_ABSENT
        case aiohttp.ClientHttpProxyError(status=407):
            return PROXY_LOGIN
        case aiohttp.ClientHttpProxyError():
            return PROXY_REFUSES.format(error.status)
        case TimeoutError():
            return "timed out"
        case OSError(errno=int(number)):
            return (os.strerror(number) if number > 0 else error.strerror or "name not known").lower()
    return type(error).__name__
