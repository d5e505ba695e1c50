"""Why a server cannot be reached through HTTP, in a few words that name the cause and say what to do."""

import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from yarl import URL

from glassbridge.runtime.socket_errors import NO_TLS, cause, not_trusted

SIGN_IN: Final = "a web page answers in its place: sign in to the network in a web browser, or check the address"
BROKEN_OFF: Final = "what answers there breaks off: check the address, and the proxy if there is one"
NO_HTTP: Final = "what answers there does not speak HTTP: check the address, and the proxy if there is one"
PROXY_ODD: Final = "HTTPS_PROXY is not the address of a proxy: http://HOST:PORT"
PROXY_ABSENT: Final = "the proxy of HTTPS_PROXY does not answer"
PROXY_REFUSES: Final = "the proxy of HTTPS_PROXY refuses (status {})"
PROXY_LOGIN: Final = "the proxy of HTTPS_PROXY wants a user name and password: http://USER:PASSWORD@HOST:PORT"


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
            return cause(wrong)
        case aiohttp.ClientConnectorCertificateError():
            return not_trusted()
        case aiohttp.ClientConnectorSSLError():
            return NO_TLS
        case aiohttp.ClientProxyConnectionError():
            return PROXY_ABSENT
        case aiohttp.ClientHttpProxyError(status=407):
            return PROXY_LOGIN
        case aiohttp.ClientHttpProxyError():
            return PROXY_REFUSES.format(error.status)
        case aiohttp.ServerDisconnectedError():
            return BROKEN_OFF
        case aiohttp.ClientConnectorError(os_error=ConnectionError(errno=None)):
            return BROKEN_OFF
        case aiohttp.ClientResponseError():
            return NO_HTTP
        case ValueError():  # InvalidURL, too: addresses of ours are checked before
            return PROXY_ODD
    return cause(error)
