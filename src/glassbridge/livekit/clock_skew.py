"""Clocks that differ: what LiveKit's answers say of its time, beside ours and beside that of a token's maker."""

from email.utils import parsedate_to_datetime
from time import time
from typing import Final

import jwt

from glassbridge.core.values import LossReason
from glassbridge.livekit.participant import ParticipantError
from glassbridge.livekit.tokens import LEEWAY

MATTERS: Final = 30.0
"""Seconds by which our clock may differ from LiveKit's before it is named as the cause of a refusal."""
REMEDY: Final = "set the clocks of both machines by NTP (timedatectl set-ntp true)"


def server_time(date: str | None) -> float | None:
    """Wall clock seconds by a `Date` header; None where there is none that can be read."""
    try:
        return None if not date else parsedate_to_datetime(date).timestamp() + 0.5  # its second is cut off
    except ValueError:
        return None


def skew_of(date: str | None) -> float | None:
    """Seconds by which our clock is ahead of the server's; None where it told no time."""
    theirs = server_time(date)
    return None if theirs is None else time() - theirs


def describe(seconds: float, whose: str = "our clock") -> str:
    """For people: what differs and what to do."""
    return f"{whose} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} LiveKit's: {REMEDY}"


def explain(refusal: ParticipantError, token: str, date: str | None) -> ParticipantError:
    """The refusal of a token in better words, if clocks that differ are the cause of it."""
    theirs = server_time(date)
    if theirs is None or refusal.reason not in (LossReason.TOKEN_REFUSED, LossReason.TOKEN_EXPIRED):
        return refusal
    ours = time() - theirs
    if abs(ours) > MATTERS:
        return ParticipantError(LossReason.CLOCK_SKEW, describe(ours))
    begins = _claim(token, "nbf")
    if begins is not None and begins - theirs > LEEWAY:
        return ParticipantError(LossReason.CLOCK_SKEW, describe(begins - theirs, "the clock of the token's maker"))
    return refusal


def _claim(token: str, name: str) -> float | None:
    """By the token's own word, unverified."""
    try:
        value = jwt.decode(token, options={"verify_signature": False}).get(name)
    except jwt.InvalidTokenError:
        return None
    return float(value) if isinstance(value, int | float) else None
