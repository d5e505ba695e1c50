"""What clouds say to each other: the hand-over of a user, and how each side proves that it knows the cluster's secret.

Request and answer are signed: HMAC-SHA256 over what is said; the answer's also over the request's signature, so that it
answers no other one. A request names the run of a program that is asked, and an epoch: repeated by somebody else, it
finds nothing to hand over.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from glassbridge.wire.codec import Count, Name, Word

PATH: Final = "/cluster/hand-over"
SIGNATURE_HEADER: Final = "X-Glassbridge-Cluster"
MOST_AT_ONCE: Final = 32
"""Users that are asked for in one request."""
MAX_REQUEST: Final = 128 << 10
MAX_ANSWER: Final = 64 << 20
"""Bytes. Half an hour of transcripts takes 1 MiB at most, and as JSON up to twice as much."""

MOST_OF_ONE: Final = MAX_ANSWER // MOST_AT_ONCE
"""Bytes that are told of one user; what was said longest ago is left out first."""

_REQUEST: Final = b"hand-over\0"
_ANSWER: Final = b"handed over\0"


class HandOverRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new owner asks for a user."""

    user: Annotated[str, Meta(max_length=1_000)]
    asked: Name
    """Incarnation of the node that is asked."""
    node: Name
    """Of the new owner,"""
    incarnation: Name
    """its run,"""
    address: Name
    """and where it is found."""
    epoch: Count
    """Of its claim."""
    phone: Word = ""
    attempt: Count = 0


HandOverRequests = Annotated[list[HandOverRequest], Meta(max_length=MOST_AT_ONCE)]


class HeardUpTo(msgspec.Struct, frozen=True, kw_only=True):
    """How far the user was heard."""

    at_ms: Count = 0
    """Milliseconds of the session's audio; transcripts count by them."""
    named: Count = 0
    """Transcripts have had names up to this number."""
    speaking: bool | None = None
    """What the phone said last of speech; None: nothing."""
    epoch: Count = 0
    """Of numbered audio; 0: there was none."""
    position: Count = 0
    """Everything before was delivered or given up,"""
    captured_us: int = 0
    """was captured until then on the phone's clock,"""
    missing: Annotated[tuple[tuple[Count, Count], ...], Meta(max_length=1_000)] = ()
    """and this of it never came."""


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the former owner. Without a session there is nothing to hand over."""

    session: Name = ""
    """Its id; empty: there is none here."""
    epoch: Count = 0
    """What the new owner needs at least, or, with `stays`, what this owner has."""
    stays: bool = False
    """A newer attempt of the same phone is here: the new owner's socket came late."""
    node: Name = ""
    """Another cloud that may hold something of the user: the one to which this one has let the user go, or one that
    has not handed over to this one so far."""
    incarnation: Name = ""
    address: Name = ""
    apps: Annotated[tuple[Name, ...], Meta(max_length=256)] = ()
    """Packages of the apps that the user has started."""
    subscriptions: Annotated[dict[Name, tuple[str, ...]], Meta(max_length=256)] = {}
    """What each app listens to, as it spells it."""
    missed: Annotated[dict[Name, tuple[dict[str, Any], ...]], Meta(max_length=256)] = {}
    """What each app was not there to hear (cloud/apps/missed.py)."""
    playbacks: Annotated[tuple[dict[str, Any], ...], Meta(max_length=10_000)] = ()
    """What apps play right now: an `audio_play_request`, and `position_ms`."""
    heard: HeardUpTo | None = None
    lc3: Annotated[int, Meta(ge=0, le=1_000)] = 0
    """Bytes of a frame, where the phone announced that its audio without numbers is LC3."""
    transcripts: Annotated[tuple[dict[str, Any], ...], Meta(max_length=10_000)] = ()
    """What was said lately, the oldest first (cloud/transcripts.py)."""


def fitting(handed: HandOver, most: int = MOST_OF_ONE) -> HandOver:
    """The same, of at most so many bytes as JSON: without what was said longest ago, at last without what is played and
    what apps have missed."""
    while len(msgspec.json.encode(handed)) > most and handed.transcripts:
        handed = replace(handed, transcripts=handed.transcripts[(len(handed.transcripts) + 1) // 2 :])
    return (
        handed
        if len(msgspec.json.encode(handed)) <= most
        else replace(handed, playbacks=(), subscriptions={}, missed={})
    )


def sign_request(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), _REQUEST + body, sha256).hexdigest()


def knows_request(body: bytes, signature: str, secrets: Sequence[str]) -> str | None:
    """The secret that signed it; None: none of these."""
    return next((one for one in secrets if _equal(sign_request(body, one), signature)), None)


def sign_answer(body: bytes, asked: str, secret: str) -> str:
    """`asked`: the signature of the request."""
    return hmac.new(secret.encode(), _ANSWER + asked.encode() + b"\0" + body, sha256).hexdigest()


def knows_answer(body: bytes, asked: str, signature: str, secret: str) -> bool:
    return _equal(sign_answer(body, asked, secret), signature)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode(errors="backslashreplace"))
