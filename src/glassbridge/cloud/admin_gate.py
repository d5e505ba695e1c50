"""Access to the admin pages: for callers with the admin token, and for browsers with the cookie that they got for it.

Rules
- One rule for header and form (core/admin_tokens.py), which bounds the wrong tokens of a peer.
- A cookie holds the id of a sign-in and a signature. It ends after 12 hours, by sign-out, or when an operator ends it.
- Sign-ins need no memory to be valid, so they outlive a restart of the cloud. What ended them is remembered until they
  would have ended by themselves; a restart forgets that, so a stolen cookie is ended by a new admin token.
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from time import monotonic, time
from typing import Any, Final

from aiohttp import web

from glassbridge.cloud.auth import CoreTokenError, bearer, only_authorization
from glassbridge.core.admin_tokens import AdminTokens, TokenVerdict, as_bytes
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import sign_in

COOKIE = "glassbridge_admin"
COOKIE_LIFE = 12 * 3600
"""Seconds after which a browser has to sign in again."""
OWN_SITES = frozenset({"same-origin", "none"})
"""What browsers say (Sec-Fetch-Site) of requests that no foreign page has caused."""
MAX_SIGN_INS: Final = 256
"""That are listed, and that are remembered as ended."""
BY_TOKEN: Final = "token"  # noqa: S105 - a word for the audit log


@dataclass(slots=True)
class SignIn:
    """A browser that has shown the token."""

    id: str
    peer: str
    """Where it was last seen."""
    expires: int
    """Unix seconds."""
    seen: float
    """Unix seconds."""

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "peer": self.peer,
            "since_ms": (self.expires - COOKIE_LIFE) * 1000,
            "seen_ms": int(self.seen * 1000),
            "expires_ms": self.expires * 1000,
        }


class AdminGate:
    """Without an admin token no caller is let in."""

    def __init__(self, *tokens: str) -> None:
        """Any of the tokens opens; the first one signs cookies."""
        self._tokens = AdminTokens(tokens)
        self._signer = next(iter(self._tokens.known), b"")
        self._sign_ins: OrderedDict[str, SignIn] = OrderedDict()
        self._ended: OrderedDict[str, int] = OrderedDict()
        """When they would have ended by themselves, unix seconds."""
        self._not_before = 0
        """Sign-ins that began before are over: more were ended than are remembered."""

    @property
    def enabled(self) -> bool:
        """An admin token is set at all."""
        return bool(self._tokens.known)

    def judge(self, request: web.Request, shown: str | None = None) -> TokenVerdict:
        """`shown`: the token of a form; None: the one of the header, or the cookie."""
        if not self.enabled:
            return TokenVerdict.DISABLED
        if shown is None:
            if "Authorization" not in request.headers:
                return TokenVerdict.MISSING if self.sign_in_of(request) is None else TokenVerdict.ALLOWED
            shown = _shown(request)
        verdict = self._tokens.judge(shown, request.remote or "", monotonic())
        if verdict is TokenVerdict.ALLOWED:
            sign_in(request)
        else:
            metrics.ADMIN_REFUSED.add(verdict.value)
        return verdict

    def wait(self, request: web.Request) -> float:
        """Seconds until a token of this peer is looked at again."""
        return self._tokens.wait(request.remote or "", monotonic())

    def begin(self, request: web.Request) -> tuple[SignIn, str]:
        """A browser has shown the token: its sign-in, and the cookie for it."""
        expires = int(time()) + COOKIE_LIFE
        found = SignIn(token_hex(8), request.remote or "", expires, time())
        self._keep(found)
        return found, f"{found.id}.{expires}.{_seal(self._signer, found.id, expires)}"

    def sign_in_of(self, request: web.Request) -> SignIn | None:
        """The sign-in of a request of one of our own pages, by its cookie."""
        if not self.enabled or request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITES:
            return None
        id_, _, rest = request.cookies.get(COOKIE, "").partition(".")
        text, _, seal = rest.partition(".")
        expires = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
        if not any(
            hmac.compare_digest(as_bytes(seal), as_bytes(_seal(token, id_, expires))) for token in self._tokens.known
        ):
            return None
        if expires <= time() or id_ in self._ended or expires - COOKIE_LIFE < self._not_before:
            return None
        found = self._sign_ins.get(id_) or SignIn(id_, "", expires, 0.0)
        found.peer, found.seen = request.remote or "", time()
        self._keep(found)
        sign_in(request)
        return found

    def actor(self, request: web.Request) -> str:
        """The caller, for the audit log: the id of a sign-in, or BY_TOKEN."""
        found = None if "Authorization" in request.headers else self.sign_in_of(request)
        return BY_TOKEN if found is None else found.id

    def sign_ins(self) -> list[SignIn]:
        """Those that were seen since this cloud began and have not ended, the one that was seen last first."""
        now = time()
        return [found for found in reversed(self._sign_ins.values()) if found.expires > now]

    def end(self, id_: str) -> bool:
        """Whether it was seen here. One that was seen by another cloud only counts no longer, either."""
        found = self._sign_ins.pop(id_, None)
        self._ended[id_] = int(time()) + COOKIE_LIFE if found is None else found.expires
        if len(self._ended) > MAX_SIGN_INS:
            _, expires = self._ended.popitem(last=False)
            self._not_before = max(self._not_before, expires - COOKIE_LIFE + 1)
        return found is not None

    def _keep(self, found: SignIn) -> None:
        self._sign_ins[found.id] = found
        self._sign_ins.move_to_end(found.id)
        if len(self._sign_ins) > MAX_SIGN_INS:
            self._sign_ins.popitem(last=False)


def _shown(request: web.Request) -> str:
    try:
        return bearer(only_authorization(request.headers), None)
    except CoreTokenError:
        return ""


def _seal(token: bytes, id_: str, expires: object) -> str:
    return hmac.new(token, as_bytes(f"glassbridge admin {id_} {expires}"), sha256).hexdigest()
