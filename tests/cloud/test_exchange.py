"""A core token for a token of the login service: whose tokens count, and what each refusal says."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.config import CloudKeys, ExchangeConfig
from glassbridge.cloud.exchange import MAX_BODY
from glassbridge.cloud.tokens import CoreTokens
from glassbridge.core.allowance import Rate
from glassbridge.core.values import user_id
from tests.cloud.conftest import ANN, KEYS, SECRET, Stage, cloud_config
from tests.cloud.test_tokens import AUDIENCE, EC, ISSUER, JWKS, RSA, endpoint, issuer, signed
from tests.support.scripted_bridge import ScriptedBridge

Begin = Callable[..., Awaitable[Stage]]
LOGIN, FORMER = "the-login-secret-of-the-tests-0123456789", "the-former-login-secret-of-the-tests-0123"
BOTH = CloudKeys((SECRET,), KEYS, login=(LOGIN, FORMER))
STRICT = ExchangeConfig(issuer=ISSUER, audience=AUDIENCE)
PATH = "/auth/exchange-token"


def login(key: str = LOGIN, **changes: Any) -> str:
    return signed(key, "HS256", None, **changes)


async def ask(built: Stage, body: Any, path: str = PATH, **options: Any) -> tuple[int, Any]:
    given = options if isinstance(body, type(None)) else {"json": body} | options
    async with built.http.post(f"{built.url}{path}", **given) as answer:
        return answer.status, await answer.json()


async def refused(built: Stage, token: str) -> tuple[int, str]:
    status, body = await ask(built, {"supabaseToken": token})
    assert "coreToken" not in body
    assert token not in str(body)
    return status, body["error"]["code"]


@pytest.mark.parametrize("path", [PATH, f"/api{PATH}"])
@pytest.mark.parametrize("name", ["supabaseToken", "authingToken"])
@pytest.mark.parametrize("key", [LOGIN, FORMER])
async def test_a_login_by_secret_gets_a_core_token_that_opens_a_socket(
    stage: Begin, path: str, name: str, key: str
) -> None:
    built = await stage(keys=BOTH)
    status, body = await ask(built, {name: login(key, iss=None, aud="authenticated")}, path)
    assert (status, body["success"], body["data"]) == (200, True, {"coreToken": body["coreToken"]})
    phone = await built.phone(headers={"Authorization": f"Bearer {body['coreToken']}"})
    assert phone.of_type("connection_ack")[0]["sessionId"]
    claims = jwt.decode(body["coreToken"], SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["email"]) == (ANN, ANN)
    assert abs(claims["exp"] - time() - 7 * 24 * 3600) < 60


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec")])
async def test_a_login_by_the_issuers_keys_gets_one(stage: Begin, key: Any, algorithm: str, kid: str) -> None:
    async with endpoint() as (_, url):
        built = await stage(issuer=issuer(url))
        status, body = await ask(built, {"supabaseToken": signed(key, algorithm, kid)})
        assert status == 200
        assert jwt.decode(body["coreToken"], SECRET, algorithms=["HS256"])["sub"] == ANN


VECTORS: Mapping[str, tuple[Callable[[], str], str]] = {  # made when they are used: they live a minute
    "another secret": (lambda: login("a-secret-that-nobody-here-has-012345678"), "INVALID_TOKEN"),
    "a core token": (lambda: mint_core_token(user_id(ANN), SECRET, 60), "INVALID_TOKEN"),
    "expired": (lambda: login(exp=time() - 120), "TOKEN_EXPIRED"),
    "no end": (lambda: login(exp=None), "INVALID_TOKEN"),
    "not yet": (lambda: login(nbf=time() + 600), "INVALID_TOKEN"),
    "another issuer": (lambda: login(iss="https://evil.example.com/"), "INVALID_TOKEN"),
    "no issuer": (lambda: login(iss=None), "INVALID_TOKEN"),
    "another audience": (lambda: login(aud="another-service"), "INVALID_TOKEN"),
    "no audience": (lambda: login(aud=None), "INVALID_TOKEN"),
    "no user": (lambda: login(sub=None), "INVALID_TOKEN"),
    "an e-mail address of anybody": (lambda: login(email=ANN, email_verified=False), "EMAIL_NOT_VERIFIED"),
    "alg none": (lambda: jwt.encode({"sub": ANN, "exp": time() + 60}, "", algorithm="none"), "INVALID_TOKEN"),
    "another hash": (lambda: signed(LOGIN * 2, "HS512", None), "INVALID_TOKEN"),
    "a key of its own": (lambda: signed(EC, "ES256", "rsa"), "INVALID_TOKEN"),
    "expired by key": (lambda: signed(RSA, "RS256", "rsa", exp=time() - 120), "TOKEN_EXPIRED"),
    "another issuer by key": (lambda: signed(RSA, "RS256", "rsa", iss="https://evil.example.com/"), "INVALID_TOKEN"),
    "another audience by key": (lambda: signed(RSA, "RS256", "rsa", aud="another-service"), "INVALID_TOKEN"),
    "an endless life by key": (lambda: signed(RSA, "RS256", "rsa", exp=time() + 1e6), "TOKEN_LIVES_TOO_LONG"),
    "no JWT": (lambda: "a.b.c", "INVALID_TOKEN"),
    "too long": (lambda: "eyJ" + "a" * 9_000, "INVALID_TOKEN"),
}


async def test_no_other_token_is_exchanged(stage: Begin, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    built = await stage(keys=BOTH, exchange=STRICT, issuer=issuer(file))
    assert (await ask(built, {"supabaseToken": login()}))[0] == 200
    found = {name: await refused(built, made()) for name, (made, _) in VECTORS.items()}
    assert found == {name: (401, code) for name, (_, code) in VECTORS.items()}


async def test_a_login_token_is_no_core_token(stage: Begin) -> None:
    built = await stage(keys=BOTH)
    headers = {"Authorization": f"Bearer {login()}"}
    async with built.http.get(f"{built.url}/api/client/livekit/token", headers=headers) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    "body", [{}, [], "text", {"supabaseToken": ""}, {"supabaseToken": 7}, {"coreToken": "x"}, {"token": "x"}]
)
async def test_a_body_without_a_token_is_refused(stage: Begin, body: Any) -> None:
    built = await stage(keys=BOTH)
    status, answer = await ask(built, body)
    assert (status, answer["error"]["code"]) == (400, "BAD_REQUEST")


async def test_a_large_body_is_refused(stage: Begin) -> None:
    built = await stage(keys=BOTH)
    large = b'{"supabaseToken": "' + b"a" * MAX_BODY + b'"}'
    status, answer = await ask(built, None, data=large)
    assert (status, answer["error"]["code"]) == (413, "TOO_LARGE")
    assert (await ask(built, {"supabaseToken": login()}))[0] == 200


async def test_while_the_keys_are_away_a_phone_is_asked_to_come_again(stage: Begin) -> None:
    built = await stage(keys=BOTH, issuer=issuer("http://127.0.0.1:9/keys"))
    assert await refused(built, signed(RSA, "RS256", "rsa")) == (503, "KEYS_UNAVAILABLE")
    assert (await ask(built, {"supabaseToken": login()}))[0] == 200, "a secret needs no endpoint"


async def test_wrong_tokens_are_counted_against_their_address(stage: Begin) -> None:
    built = await stage(keys=BOTH, exchange=ExchangeConfig(wrong_per_address=Rate(0.01, 2)))
    assert [await refused(built, login("x" * 32)) for _ in range(3)] == [
        (401, "INVALID_TOKEN"),
        (401, "INVALID_TOKEN"),
        (429, "RATE_LIMITED"),
    ]
    assert await refused(built, login()) == (429, "RATE_LIMITED"), "nothing is verified then"


async def test_core_tokens_are_counted_against_their_user(stage: Begin) -> None:
    built = await stage(keys=BOTH, exchange=ExchangeConfig(per_user=Rate(0.01, 2)))
    assert [(await ask(built, {"supabaseToken": login()}))[0] for _ in range(3)] == [200, 200, 429]
    assert (await ask(built, {"supabaseToken": login(sub="bob@example.com")}))[0] == 200


async def test_a_core_token_lives_no_longer_than_this_cloud_allows(stage: Begin) -> None:
    built = await stage(keys=BOTH, token_max_life=600.0)
    status, body = await ask(built, {"supabaseToken": login()})
    assert status == 200
    permit = await CoreTokens(cloud_config(ScriptedBridge(), token_max_life=600.0), None).verify(body["coreToken"])
    assert permit.user == ANN


@pytest.mark.parametrize("keys", [CloudKeys((SECRET,), KEYS), CloudKeys((), KEYS, login=(LOGIN,))])
async def test_a_cloud_without_a_login_service_says_so(stage: Begin, keys: CloudKeys) -> None:
    built = await stage(keys=keys)
    assert await refused(built, login()) == (403, "EXCHANGE_DISABLED")


async def test_new_secrets_count_from_then_on(stage: Begin) -> None:
    built = await stage(keys=CloudKeys((SECRET,), KEYS, login=(FORMER,)))
    built.cloud.reload(CloudKeys((SECRET,), KEYS, login=(LOGIN,)))
    assert (await ask(built, {"supabaseToken": login()}))[0] == 200
    assert await refused(built, login(FORMER)) == (401, "INVALID_TOKEN")
