"""Which core tokens are valid, and how long: by the core secrets (HS256) and an issuer's keys (RS256, ES256). A token
of the login service is exchanged for one if its secrets, or the same keys, verify it.

A secret never verifies what an issuer's algorithm signed, nor the other way round. A `Permit` stands for a token that
was good once; cloud/recheck.py asks whether it still counts.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from time import time
from typing import Any, Final

import jwt

from glassbridge.cloud.auth import CLOCK_SKEW, CoreTokenError, claims_of, user_of
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.issuer_keys import ALGORITHMS, IssuerKeys
from glassbridge.core.values import UserId
from glassbridge.wire.rejections import Rejection

MAX_TOKEN: Final = 8 << 10
"""Characters."""
MOST_KNOWN: Final = 10_000
"""Tokens whose permits are remembered, 0.2 kB each: to verify one anew takes 57 µs, to know it again 3 (measured)."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A token that was good when it was shown."""

    user: UserId
    expires_at: float | None
    """Wall clock seconds; None: never."""
    signer: str = field(repr=False)
    """Which of our secrets, or which key of the issuer, has signed it."""


class CoreTokens:
    """Verifies core tokens, and tokens of the login service. `issuer` is borrowed; None: secrets alone count."""

    def __init__(self, config: CloudConfig, issuer: IssuerKeys | None) -> None:
        self._config = config
        self._issuer = issuer
        self._known: dict[bytes, Permit] = {}
        """By the digest of its token, the oldest first: of those that our secrets have signed."""

    async def verify(self, token: str) -> Permit:
        """Raises CoreTokenError. Waits only for an issuer's key that is not known yet. A token that was good is not
        verified anew while its permit is good: phones come back. Safe to cancel."""
        config, digest = self._config, sha256(token.encode(errors="surrogatepass")).digest()
        known = self._known.pop(digest, None)
        if known is None or not self.still_good(known):
            known = await self._verify(token, config.keys.core, config.token_max_life, {})
        if not known.signer.startswith(_BY_ISSUER):  # its keys change under their names
            self._known[digest] = known
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known

    async def verify_login(self, token: str) -> Permit:
        """The same for a token of the login service."""
        login = self._config.exchange
        expected: dict[str, Any] = {
            name: value for name, value in (("issuer", login.issuer), ("audience", login.audience)) if value
        }
        expected["options"] = {"require": ["exp"]}
        return await self._verify(token, self._config.keys.login, None, expected)

    @property
    def exchanges(self) -> bool:
        """Whether a token of the login service can be exchanged for a core token."""
        keys = self._config.keys
        return bool(keys.core and (keys.login or self._issuer is not None))

    async def _verify(
        self, token: str, secrets: tuple[str, ...], max_life: float | None, expected: dict[str, Any]
    ) -> Permit:
        """`max_life` and `expected` are asked of what the secrets sign."""
        if not token:
            raise CoreTokenError(Rejection.TOKEN_MISSING)
        try:
            header = jwt.get_unverified_header(token) if len(token) <= MAX_TOKEN else {}
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            header = {}
        algorithm = header.get("alg")
        if algorithm == "HS256":
            return self._by_secret(token, secrets, max_life, expected)
        if algorithm in ALGORITHMS and self._issuer is not None:
            return await self._by_issuer(self._issuer, token, algorithm, str(header.get("kid", "")))
        raise CoreTokenError(Rejection.TOKEN_INVALID)

    def still_good(self, permit: Permit) -> bool:
        """Not expired, and its signer is still trusted."""
        if permit.expires_at is not None and time() > permit.expires_at + CLOCK_SKEW:
            return False
        by_issuer = self._issuer is not None and self._issuer.holds(permit.signer.removeprefix(_BY_ISSUER))
        return (
            by_issuer if permit.signer.startswith(_BY_ISSUER) else permit.signer in map(_name, self._config.keys.core)
        )

    def _by_secret(
        self, token: str, secrets: tuple[str, ...], max_life: float | None, expected: dict[str, Any]
    ) -> Permit:
        refusal = CoreTokenError(Rejection.TOKEN_INVALID)
        for secret in secrets:
            try:
                claims = claims_of(token, secret, "HS256", **expected)
            except CoreTokenError as error:
                if error.code != Rejection.TOKEN_INVALID.code:
                    raise
                refusal = error
            else:
                return self._permit(claims, _name(secret), max_life)
        raise refusal

    async def _by_issuer(self, issuer: IssuerKeys, token: str, algorithm: str, kid: str) -> Permit:
        key = await issuer.find(kid)
        if key is None and not issuer.known:
            raise CoreTokenError(Rejection.KEYS_UNAVAILABLE)
        config = self._config.issuer
        if key is None or key.algorithm != algorithm or config is None:
            raise CoreTokenError(Rejection.TOKEN_OF_UNKNOWN_KEY)
        claims = claims_of(
            token, key.key, algorithm, issuer=config.issuer, audience=config.audience,
            options={"require": ["exp", "iss", "aud"]},
        )  # fmt: skip
        return self._permit(claims, f"{_BY_ISSUER}{kid}", config.max_life)

    @staticmethod
    def _permit(claims: dict[str, object], signer: str, max_life: float | None) -> Permit:
        user, ends = user_of(claims), claims.get("exp")
        expires_at = float(ends) if isinstance(ends, int | float) else None
        if max_life is not None and (expires_at is None or expires_at > time() + max_life + CLOCK_SKEW):
            raise CoreTokenError(Rejection.TOKEN_LIVES_TOO_LONG)
        return Permit(user, expires_at, signer)


_BY_ISSUER: Final = "issuer "


def _name(secret: str) -> str:
    """Tells secrets apart, and nothing of them."""
    return sha256(f"core {secret}".encode()).hexdigest()
