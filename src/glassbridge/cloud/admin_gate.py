"""Who may look behind the scenes: whoever shows the admin token, or the cookie that a browser was given for it."""

import hmac
from hashlib import sha256
from time import time

from aiohttp import web

from glassbridge.cloud.auth import bearer

COOKIE = "glassbridge_admin"
COOKIE_LIFE = 12 * 3600
"""Seconds after which a browser has to sign in again."""
OWN_SITES = frozenset({"same-origin", "none"})
"""What browsers say (Sec-Fetch-Site) of requests that no foreign page has caused."""


class AdminGate:
    """Without an admin token nobody is let in. The cookie needs no memory here: it outlives a restart of the cloud."""

    def __init__(self, token: str) -> None:
        self._token = _bytes(token)

    @property
    def enabled(self) -> bool:
        """An admin token is set at all."""
        return bool(self._token)

    def knows(self, token: str) -> bool:
        """Whether this is the admin token; takes the same time for every wrong one."""
        return self.enabled and hmac.compare_digest(_bytes(token), self._token)

    def cookie(self) -> str:
        """For a browser that has shown the token."""
        expires = str(int(time()) + COOKIE_LIFE)
        return f"{expires}.{self._seal(expires)}"

    def allows(self, request: web.Request) -> bool:
        """Whether the request shows the token (`Authorization: Bearer`), or is one of our own page, with the cookie."""
        if self.knows(bearer(request.headers.get("Authorization"), None)):
            return True
        expires, _, seal = request.cookies.get(COOKIE, "").partition(".")
        known = self.enabled and hmac.compare_digest(_bytes(seal), _bytes(self._seal(expires)))
        own = request.headers.get("Sec-Fetch-Site", "none") in OWN_SITES
        return known and own and expires.isdecimal() and int(expires) > time()

    def _seal(self, expires: str) -> str:
        return hmac.new(self._token, _bytes(f"glassbridge admin {expires}"), sha256).hexdigest()


def _bytes(text: str) -> bytes:
    """Of what came in a header, too, which may be no text at all."""
    return text.encode(errors="surrogateescape")
