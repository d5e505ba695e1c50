"""LiveKit tokens: minted with the least grants, verified more strictly than LiveKit does.

Times of validity are wall clock seconds (a token is read on another machine); callers pass `now` where it matters.
"""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from math import isfinite
from time import time
from typing import Any

import jwt
from livekit.api.access_token import AccessToken, VideoGrants

from glassbridge.core.values import UserId, agent_identity

LEEWAY = 60.0
"""Seconds that LiveKit forgives on both ends of a token's life."""
MAX_LIFETIME = 30 * 24 * 3600.0
SERVICE_TTL = 600.0
MIN_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class LiveKitKeys:
    """The pair that signs tokens. Its repr hides the secret."""

    api_key: str
    secret: str

    def __post_init__(self) -> None:
        if not self.api_key or not self.secret:
            raise ValueError("LIVEKIT_API_KEY and LIVEKIT_API_SECRET must both be set")

    def __repr__(self) -> str:
        return f"LiveKitKeys({self.api_key!r}, ***)"

    def require_strong(self) -> None:
        """Raises ValueError (the operator's fault) when the secret is too short to be safe with HS256.

        Only servers that we start ask: a foreign one may be set up as it likes.
        """
        if len(self.secret.encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"LIVEKIT_API_SECRET must have at least {MIN_SECRET_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    identity: str
    room: str
    expires_at: float
    join: bool = False
    admin: bool = False
    list_rooms: bool = False
    create_rooms: bool = False
    publish: bool = True
    subscribe: bool = True
    publish_data: bool = True
    name: str = ""
    metadata: str = ""
    kind: str = ""


class TokenError(Exception):
    """Why a token is refused, in LiveKit's own words; never holds the token."""


def phone_token(keys: LiveKitKeys, *, user: UserId, room: str, ttl: float, now: float | None = None) -> str:
    """A token with which a phone joins `room` for `ttl` seconds: publish, send data, listen; nothing else."""
    return _mint(keys, user, room, ttl, now)


def agent_token(keys: LiveKitKeys, *, user: UserId, room: str, ttl: float, now: float | None = None) -> str:
    """A token with which a bridge sits in the user's room as agent_identity(user).

    Of the standard kind: as an "agent" it would not keep the room open while the phone is away.
    """
    return _mint(keys, agent_identity(user), room, ttl, now)


def service_token(keys: LiveKitKeys, grants: VideoGrants, *, now: float) -> str:
    """A token for calls of LiveKit's room service; it lives for SERVICE_TTL seconds."""
    claims = AccessToken("-", "-").with_grants(grants).claims.asdict()
    life = {"iss": keys.api_key, "nbf": int(now), "exp": int(now + SERVICE_TTL)}
    return jwt.encode({**claims, **life}, keys.secret, algorithm="HS256")


def _mint(keys: LiveKitKeys, identity: str, room: str, ttl: float, now: float | None = None) -> str:
    if not identity or not room:
        raise ValueError("a LiveKit token needs an identity and a room")
    begins = int(time() if now is None else now)
    granted = _granted()
    claims = {"sub": identity, "iss": keys.api_key, "nbf": begins, "exp": begins + int(ttl)}
    return jwt.encode(
        {**granted, "video": {**granted["video"], "room": room}, **claims}, keys.secret, algorithm="HS256"
    )


@cache
def _granted() -> dict[str, Any]:
    """The claims that all tokens have, as LiveKit's library spells them: that takes longer than to sign them."""
    grants = VideoGrants(room_join=True, room="-", can_publish=True, can_subscribe=True, can_publish_data=True)
    return dict(AccessToken("-", "-").with_grants(grants).claims.asdict())


def refreshed(keys: LiveKitKeys, claims: Claims, *, now: float, min_life: float = 600.0) -> str:
    """The token that a server hands out to keep a client able to come back: same grants, never a shorter life."""
    grants = VideoGrants(
        room_join=True,
        room=claims.room,
        can_publish=claims.publish,
        can_subscribe=claims.subscribe,
        can_publish_data=claims.publish_data,
    )
    token = AccessToken(keys.api_key, keys.secret).with_identity(claims.identity).with_grants(grants)
    token = token.with_name(claims.name).with_metadata(claims.metadata)
    return token.with_ttl(timedelta(seconds=max(min_life, claims.expires_at - now))).to_jwt()


def verify(token: str, keys: LiveKitKeys, *, now: float | None = None, leeway: float = LEEWAY) -> Claims:
    """What the token says, once it is proven. Raises TokenError (the bearer's fault).

    Stricter than livekit-api's verifier: only HS256, `nbf` and `exp` must be there, and no life over MAX_LIFETIME.
    """
    header, body = _unproven(token)
    if header.get("alg") != "HS256":
        raise TokenError("invalid authorization token")
    if body.get("iss") != keys.api_key:
        raise TokenError(f"invalid API key: {str(body.get('iss', ''))[:100]}")
    try:
        body = jwt.decode(
            token,
            keys.secret,
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidTokenError:
        raise TokenError("token signature is invalid: signature is invalid") from None
    begins, ends = _seconds(body, "nbf"), _seconds(body, "exp")
    at = time() if now is None else now
    if at > ends + leeway:
        raise TokenError("token has invalid claims: token is expired")
    if at < begins - leeway:
        raise TokenError("token has invalid claims: token is not valid yet")
    if ends - begins > MAX_LIFETIME:
        raise TokenError("token has invalid claims: token lives too long")
    return _claims(body, ends)


def expires_at(token: str) -> float | None:
    """Wall clock second at which the token ends; None when it does not say. Nothing is verified."""
    try:
        return _seconds(_unproven(token)[1], "exp")
    except TokenError:
        return None


def _unproven(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        header, body = (json.loads(urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    except (ValueError, RecursionError):
        raise TokenError("invalid authorization token") from None
    if not isinstance(header, dict) or not isinstance(body, dict):
        raise TokenError("invalid authorization token")
    return header, body


def _seconds(body: dict[str, Any], claim: str) -> float:
    value = body.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TokenError(f"token has invalid claims: no {claim}")
    return float(value)


def _claims(body: dict[str, Any], ends: float) -> Claims:
    video = body.get("video")
    grants = video if isinstance(video, dict) else {}

    def text(source: dict[str, Any], key: str) -> str:
        value = source.get(key)
        return value if isinstance(value, str) else ""

    return Claims(
        identity=text(body, "sub"),
        room=text(grants, "room"),
        expires_at=ends,
        join=grants.get("roomJoin") is True,
        admin=grants.get("roomAdmin") is True,
        list_rooms=grants.get("roomList") is True,
        create_rooms=grants.get("roomCreate") is True,
        publish=grants.get("canPublish", True) is True,
        subscribe=grants.get("canSubscribe", True) is True,
        publish_data=grants.get("canPublishData", True) is True,
        name=text(body, "name"),
        metadata=text(body, "metadata"),
        kind=text(body, "kind"),
    )
