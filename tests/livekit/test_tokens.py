"""Tokens: the least grants, strict verification, no secret in any text."""

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.values import user_id
from glassbridge.livekit.tokens import LiveKitKeys, TokenError, agent_token, expires_at, phone_token, refreshed, verify

KEYS = LiveKitKeys("key", "a-secret-of-at-least-32-bytes-for-tests")
USER = user_id("Ann+test-1@Example.com")


def signed(secret: str = KEYS.secret, algorithm: str = "HS256", **claims: Any) -> str:
    body = {"iss": "key", "sub": "ann", "nbf": 1000, "exp": 2000, "video": {"roomJoin": True, "room": "r"}}
    return jwt.encode({k: v for k, v in (body | claims).items() if v is not None}, secret, algorithm=algorithm)


def test_a_phone_token_joins_one_room_and_can_do_nothing_else() -> None:
    claims = verify(phone_token(KEYS, user=USER, room="room-1", ttl=60), KEYS)
    assert (claims.identity, claims.room) == ("ann+test-1@example.com", "room-1")
    assert claims.join
    assert claims.publish
    assert claims.subscribe
    assert claims.publish_data
    assert not any((claims.admin, claims.list_rooms, claims.create_rooms))


def test_an_agent_token_carries_the_agents_identity() -> None:
    claims = verify(agent_token(KEYS, user=USER, room="room-1", ttl=60), KEYS)
    assert claims.identity == "cloud-agent:ann+test-1@example.com"
    assert claims.kind == ""


def test_a_token_needs_a_room() -> None:
    with pytest.raises(ValueError, match="room"):
        phone_token(KEYS, user=USER, room="", ttl=60)


def test_expiry_is_read_without_the_key() -> None:
    assert expires_at(signed(exp=1234)) == 1234.0
    assert expires_at(signed(exp=None)) is None
    assert expires_at("rubbish") is None


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (2000, None),
        (2060, None),
        (2060.5, "expired"),
        (940, None),
        (939.5, "not valid yet"),
    ],
)
def test_leeway_is_a_minute_at_both_ends(now: float, text: str | None) -> None:
    if text is None:
        assert verify(signed(), KEYS, now=now).identity == "ann"
    else:
        with pytest.raises(TokenError, match=text):
            verify(signed(), KEYS, now=now)


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("", "invalid authorization token"),
        ("a.b.c", "invalid authorization token"),
        ("bnVsbA.bnVsbA.bnVsbA", "invalid authorization token"),
        (signed(iss="other"), "invalid API key: other"),
        (signed(secret="another-secret-of-at-least-32-bytes!!"), "signature is invalid"),
        (signed(nbf=None), "no nbf"),
        (signed(exp=None), "no exp"),
        (signed(exp=True), "no exp"),
        (signed(exp="2000"), "no exp"),
        (signed(exp=float("nan")), "no exp"),
        (signed(exp=1000 + 31 * 365 * 86400), "lives too long"),
        (signed(algorithm="HS512", secret=KEYS.secret * 2), "invalid authorization token"),
        (jwt.encode({"iss": "key", "nbf": 1000, "exp": 2000}, "", algorithm="none"), "invalid authorization token"),
    ],
)
def test_bad_tokens_are_refused_without_being_quoted(token: str, text: str) -> None:
    with pytest.raises(TokenError, match=text) as caught:
        verify(token, KEYS, now=1500)
    assert not token or token not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text() | st.binary().map(lambda b: b.decode("latin1")))
def test_no_junk_gets_past_the_verifier_or_makes_it_stumble(junk: str) -> None:
    with pytest.raises(TokenError):
        verify(junk, KEYS)
    assert expires_at(junk) is None


def test_a_refreshed_token_keeps_the_grants_and_never_lives_shorter() -> None:
    long = verify(signed(exp=9000, video={"roomJoin": True, "room": "r", "canPublish": False}), KEYS, now=1500)
    again = verify(refreshed(KEYS, long, now=1500), KEYS)
    assert (again.identity, again.room, again.publish) == ("ann", "r", False)
    assert again.expires_at - verify(refreshed(KEYS, long, now=8990), KEYS).expires_at == pytest.approx(6900, abs=2)


def test_keys_hide_the_secret_and_short_ones_are_refused_for_our_servers() -> None:
    assert KEYS.secret not in f"{KEYS!r} {KEYS}"
    KEYS.require_strong()
    with pytest.raises(ValueError, match="32 bytes"):
        LiveKitKeys("devkey", "secret").require_strong()
    with pytest.raises(ValueError, match="LIVEKIT_API_SECRET"):
        LiveKitKeys("devkey", "")
