"""Core tokens: whose they are, and that nothing of them is told."""

import hmac
import json
from base64 import urlsafe_b64encode
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


def handmade(header: object, claims: object, *, secret: str = SECRET) -> str:
    """A token of these texts (or of what is no text, as JSON), rightly signed."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed_part = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    seal = hmac.new(secret.encode(), signed_part, "sha256").digest()
    return b".".join((signed_part, urlsafe_b64encode(seal).rstrip(b"="))).decode()


HEAD = {"alg": "HS256", "typ": "JWT"}
DEEP = b"[" * 3000
VECTORS = {
    "alg none": handmade({"alg": "none"}, {"sub": ANN}),
    "alg NONE": handmade({"alg": "nOnE"}, {"sub": ANN}),
    "alg number": handmade({"alg": 1}, {"sub": ANN}),
    "alg missing": handmade({}, {"sub": ANN}),
    "alg HS512": handmade({"alg": "HS512"}, {"sub": ANN}),
    "alg RS256": handmade({"alg": "RS256"}, {"sub": ANN}),
    "typ other": handmade(HEAD | {"typ": "secevent+jwt"}, {"sub": ANN}),
    "typ number": handmade(HEAD | {"typ": 7}, {"sub": ANN}),
    "crit": handmade(HEAD | {"crit": ["x"], "x": 1}, {"sub": ANN}),
    "crit b64": handmade(HEAD | {"crit": ["b64"], "b64": False}, {"sub": ANN}),
    "header list": handmade([], {"sub": ANN}),
    "header deep": handmade(DEEP, {"sub": ANN}),
    "header no JSON": handmade(b"x", {"sub": ANN}),
    "header no UTF-8": handmade(b"\xff", {"sub": ANN}),
    "alg twice": handmade(b'{"alg":"none","alg":"HS256"}', {"sub": ANN}),
    "another secret": handmade(HEAD, {"sub": ANN}, secret="x" * 32),
    "no signature": handmade(HEAD, {"sub": ANN}).rpartition(".")[0] + ".",
    "two parts": handmade(HEAD, {"sub": ANN}).rpartition(".")[0],
    "four parts": handmade(HEAD, {"sub": ANN}) + ".x",
    "claims list": handmade(HEAD, ["sub", ANN]),
    "claims text": handmade(HEAD, ANN),
    "claims null": handmade(HEAD, None),
    "claims deep": handmade(HEAD, b'{"sub":"ann","x":' + DEEP + b"}"),
    "claims empty": handmade(HEAD, {}),
    "claims no UTF-8": handmade(HEAD, b'{"sub":"\xff"}'),
    "sub twice": handmade(HEAD, b'{"sub":"ann","sub":"bob"}'),
    "sub number": handmade(HEAD, {"sub": 7}),
    "sub true": handmade(HEAD, {"sub": True}),
    "sub null": handmade(HEAD, {"sub": None}),
    "sub list": handmade(HEAD, {"sub": ["ann"]}),
    "sub object": handmade(HEAD, {"sub": {"a": 1}}),
    "sub empty": handmade(HEAD, {"sub": ""}),
    "sub surrogate": handmade(HEAD, b'{"sub":"\\ud800"}'),
    "sub too long": handmade(HEAD, {"sub": "x" * 245}),
    "email empty list": handmade(HEAD, {"email": [], "sub": ANN}),
    "email zero": handmade(HEAD, {"email": 0, "sub": ANN}),
    "exp text": handmade(HEAD, {"sub": ANN, "exp": "9999999999"}),
    "exp null": handmade(HEAD, {"sub": ANN, "exp": None}),
    "exp true": handmade(HEAD, {"sub": ANN, "exp": True}),
    "exp list": handmade(HEAD, {"sub": ANN, "exp": [9999999999]}),
    "exp NaN": handmade(HEAD, b'{"sub":"ann","exp":NaN}'),
    "exp Infinity": handmade(HEAD, b'{"sub":"ann","exp":Infinity}'),
    "exp 1e400": handmade(HEAD, b'{"sub":"ann","exp":1e400}'),
    "exp huge": handmade(HEAD, b'{"sub":"ann","exp":' + b"9" * 5000 + b"}"),
    "exp negative": handmade(HEAD, {"sub": ANN, "exp": -1}),
    "exp past": handmade(HEAD, {"sub": ANN, "exp": 1}),
    "nbf future": handmade(HEAD, {"sub": ANN, "nbf": 99999999999}),
    "nbf text": handmade(HEAD, {"sub": ANN, "nbf": "0"}),
    "iat object": handmade(HEAD, {"sub": ANN, "iat": {}}),
    "byte ff": "\udcff",
    "control": "a\x01b",
    "NUL": "\0",
    "not ASCII": "tökën",
    "full width": "\uff45yJ.a.b",
    "dots": "...",
    "spaces inside": "a b",
    "huge": "A" * 1_000_000,
    "huge JWT": handmade(HEAD, {"sub": ANN, "x": "x" * 20_000}),
}


@pytest.mark.parametrize("token", VECTORS.values(), ids=VECTORS.keys())
def test_a_bad_token_is_refused_and_nothing_else_happens(token: str) -> None:
    with pytest.raises(CoreTokenError) as caught:
        verify_core_token(token, SECRET)
    assert caught.value.code in ("INVALID_TOKEN", "TOKEN_EXPIRED")


def test_the_vectors_are_bad_for_one_reason_each() -> None:
    assert verify_core_token(handmade(HEAD, {"sub": ANN, "exp": time() + 60.5, "nbf": 0, "iat": 1}), SECRET) == ANN
    assert verify_core_token(handmade({"alg": "HS256"}, {"sub": ANN, "email": None}), SECRET) == ANN
    assert len(VECTORS) > 40


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
