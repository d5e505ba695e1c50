"""Does a LiveKit server respond at all? A question that changes nothing there, however late it arrives."""

import aiohttp
from yarl import URL


async def responds(url: str, within: float) -> bool:
    """Whether something comes back from there in so many seconds: any answer, or a refusal. False: silence, or no way
    that leads there."""
    address = URL(url)
    scheme = {"ws": "http", "wss": "https"}.get(address.scheme, address.scheme)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within)) as http,
            http.get(URL.build(scheme=scheme, host=address.host or "", port=address.port), allow_redirects=False),
        ):
            return True
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerDisconnectedError, ConnectionError):
        return True
    except aiohttp.ClientConnectorError as error:
        return isinstance(error.os_error, ConnectionError)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return False
