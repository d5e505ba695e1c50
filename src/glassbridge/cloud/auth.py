"""Core tokens: they name the user of a phone. HS256 as the original's; cloud/tokens.py adds an issuer's keys."""

from time import time
from typing import Any

import jwt
from multidict import MultiMapping

from glassbridge.cloud.token_form import check_form
from glassbridge.core.values import UserId, user_id
from glassbridge.wire.rejections import Rejected, Rejection

CLOCK_SKEW = 60.0
"""Seconds by which the clock of the issuer of a token may differ from ours."""


class CoreTokenError(Rejected):
    """Why a phone is not let in: its own fault, or with status 503 ours. The text holds nothing of the token."""


def mint_core_token(user: UserId, secret: str, ttl: float) -> str:
    """A core token for `user` that lives `ttl` seconds."""
    now = time()
    return jwt.encode({"sub": user, "email": user, "iat": int(now), "exp": int(now + ttl)}, secret, algorithm="HS256")


def verify_core_token(token: str, secret: str) -> UserId:
    """Whose token this is: its `email`, else its `sub`. Raises CoreTokenError.

    A token without `exp` never expires: those of the original have none.
    """
    return user_of(claims_of(token, secret, "HS256"))


def claims_of(token: str, key: Any, algorithm: str, **expected: Any) -> dict[str, Any]:
    """What a token says that `key` has signed by exactly this algorithm. `expected`: issuer, audience, and options of
    PyJWT. Raises CoreTokenError."""
    if not token:
        raise CoreTokenError(Rejection.TOKEN_MISSING)
    options: Any = {"verify_aud": "audience" in expected, "verify_iat": False, "verify_sub": False}
    options |= expected.pop("options", {})
    try:
        check_form(token)
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[algorithm], leeway=CLOCK_SKEW, options=options, **expected
        )
    except jwt.ExpiredSignatureError:
        raise CoreTokenError(Rejection.TOKEN_EXPIRED) from None
    except (jwt.PyJWTError, ValueError):
        raise CoreTokenError(Rejection.TOKEN_INVALID) from None
    return claims


def user_of(claims: dict[str, Any]) -> UserId:
    """The user that the claims name. Raises CoreTokenError."""
    named = claims.get("email")
    if named is None or named == "":
        named = claims.get("sub", "")
    elif claims.get("email_verified") is False:
        raise CoreTokenError(Rejection.EMAIL_NOT_VERIFIED)
    if not isinstance(named, str):
        raise CoreTokenError(Rejection.TOKEN_WITHOUT_USER, why="it is no text")
    try:
        return user_id(named)
    except ValueError as error:
        raise CoreTokenError(Rejection.TOKEN_WITHOUT_USER, why=error) from None


def bearer(authorization: str | None, query: str | None) -> str:
    """The token out of a header value or a query parameter; the header wins. Empty when there is none."""
    scheme, _, value = (authorization or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else (query or "").strip()


def only_authorization(headers: MultiMapping[str]) -> str | None:
    """The header `Authorization`. Raises CoreTokenError where it is there twice: peers and proxies differ in which one
    they mean."""
    found = headers.getall("Authorization", [])
    if len(found) > 1:
        raise CoreTokenError(Rejection.TOKEN_TWICE)
    return found[0] if found else None
