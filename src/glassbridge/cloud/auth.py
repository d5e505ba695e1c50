"""Core tokens: who is this phone? HS256 over a shared secret, as the original's."""

from time import time

import jwt

from glassbridge.core.values import UserId, user_id

CLOCK_SKEW = 5.0
"""Seconds by which the clock of whoever minted a token may differ from ours."""


class CoreTokenError(Exception):
    """Why a phone is not let in: the phone's fault. `code` is for programs; nothing of the token is in the text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def mint_core_token(user: UserId, secret: str, ttl: float) -> str:
    """A core token for `user` that lives `ttl` seconds."""
    now = time()
    return jwt.encode({"sub": user, "email": user, "iat": int(now), "exp": int(now + ttl)}, secret, algorithm="HS256")


def verify_core_token(token: str, secret: str) -> UserId:
    """Whose token this is: its `email`, else its `sub`. Raises CoreTokenError.

    A token without `exp` never expires: those of the original have none.
    """
    if not token:
        raise CoreTokenError("MISSING_TOKEN", "sign in: send a core token as `Authorization: Bearer` or `?token=`")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            leeway=CLOCK_SKEW,
            options={"verify_aud": False, "verify_iat": False, "verify_sub": False},
        )
    except jwt.ExpiredSignatureError:
        raise CoreTokenError("TOKEN_EXPIRED", "the core token has expired: sign in again") from None
    except jwt.InvalidTokenError:
        raise CoreTokenError("INVALID_TOKEN", "the core token is not valid here: sign in again") from None
    try:
        return user_id(claims.get("email") or claims.get("sub") or "")
    except (ValueError, AttributeError):
        raise CoreTokenError("INVALID_TOKEN", "the core token names no user: sign in again") from None


def bearer(authorization: str | None, query: str | None) -> str:
    """The token out of a header value or a query parameter; the header wins. Empty when there is none."""
    scheme, _, value = (authorization or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else (query or "").strip()
