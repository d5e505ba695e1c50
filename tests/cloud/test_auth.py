"""Core tokens: whose they are, and that nothing of them is told."""

from time import time

import jwt
import pytest

from glassbridge.cloud.auth import CLOCK_SKEW, CoreTokenError, bearer, mint_core_token, verify_core_token
from glassbridge.core.values import user_id
from tests.cloud.conftest import ANN, SECRET, cloud_config
from tests.support.scripted_bridge import ScriptedBridge


def signed(**claims: object) -> str:
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"sub": "Ann@Example.com"}, ANN),
        ({"sub": "7f3e", "email": " ANN@example.com "}, ANN),
        ({"email": "a-b+c@example.com"}, "a-b+c@example.com"),
        ({"sub": ANN, "aud": "authenticated", "organizations": []}, ANN),
    ],
)
def test_whose_a_token_is(claims: dict[str, object], user: str) -> None:
    assert verify_core_token(signed(**claims), SECRET) == user


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "MISSING_TOKEN"),
        (signed(sub=ANN, exp=time() - 60), "TOKEN_EXPIRED"),
        (signed(sub=ANN, nbf=time() + 86_400), "INVALID_TOKEN"),
        (signed(sub=" "), "INVALID_TOKEN"),
        (signed(email=["a"]), "INVALID_TOKEN"),
        (signed(email="a\nb"), "INVALID_TOKEN"),
        (signed(), "INVALID_TOKEN"),
        (signed(sub=ANN)[:-4], "INVALID_TOKEN"),
        ("canary" * 1000, "INVALID_TOKEN"),
    ],
)
def test_why_a_token_is_refused_without_a_word_of_it(token: str, code: str) -> None:
    with pytest.raises(CoreTokenError) as caught:
        verify_core_token(token, SECRET)
    assert caught.value.code == code
    assert not token or token[:20] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_minted_is_verified_and_ends() -> None:
    assert verify_core_token(mint_core_token(user_id(ANN), SECRET, 60), SECRET) == ANN
    with pytest.raises(CoreTokenError, match="expired"):
        verify_core_token(mint_core_token(user_id(ANN), SECRET, -60), SECRET)


def test_clocks_may_differ_a_little() -> None:
    assert verify_core_token(signed(sub=ANN, exp=time() - CLOCK_SKEW / 2), SECRET) == ANN


def test_the_header_wins_over_the_query() -> None:
    assert bearer("Bearer  a ", "b") == "a"
    assert bearer("bearer a", None) == "a"
    assert bearer(None, "b") == bearer("Basic xyz", "b") == "b"
    assert bearer("Bearer", None) == bearer(None, None) == ""


def test_no_secret_shows_in_the_configuration() -> None:
    config = cloud_config(ScriptedBridge())
    assert SECRET not in repr(config)
    assert config.livekit_keys.secret not in repr(config)
