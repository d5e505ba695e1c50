"""The form that a JWT must have before its signature is checked.

PyJWT raises what it likes for tokens that were made to break it (TypeError for `"exp": null`, OverflowError for 1e400,
RecursionError for deep JSON, UnicodeEncodeError for bytes that are no text). Here all of them are one ValueError, and a
claim that occurs twice or has another type is no claim.
"""

import json
import re
from base64 import urlsafe_b64decode
from math import isfinite
from typing import Any, Final

MAX_TOKEN: Final = 8 << 10
"""Characters."""
MAX_TIME: Final = 1e12
"""Unix seconds; nothing is valid for 30,000 years."""
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KINDS: Final = ("jwt", "at+jwt")
_TIMES: Final = ("exp", "nbf", "iat")


def check_form(token: str) -> dict[str, Any]:
    """The claims, of which nothing is verified. Raises ValueError, whose text holds nothing of the token."""
    if len(token) > MAX_TOKEN or not _FORM.fullmatch(token):
        raise ValueError("this is no JWT")
    header, claims = map(_object, token.split(".")[:2])
    kind = header.get("typ", "JWT")
    if (
        not isinstance(kind, str)
        or kind.lower() not in _KINDS
        or "crit" in header
        or not isinstance(header.get("alg"), str)
    ):
        raise ValueError("a JWT of this kind is not known here")
    for name in _TIMES:
        if name in claims and not _is_time(claims[name]):
            raise ValueError("a time in the JWT is no number of seconds")
    return claims


def _object(part: str) -> dict[str, Any]:
    try:
        text = urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("this is no JWT") from None
    if not isinstance(found, dict):
        raise ValueError("this is no JWT")  # noqa: TRY004 - one error for all that a peer may send
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_number(_text: str) -> float:
    raise ValueError("NaN and Infinity are no JSON")


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and abs(value) < MAX_TIME
