"""Core tokens by lists of secrets and by an issuer's keys, and what becomes of sockets whose token no longer counts."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from glassbridge.cloud import issuer_keys
from glassbridge.cloud import tokens as tokens_module
from glassbridge.cloud.auth import CoreTokenError, mint_core_token
from glassbridge.cloud.config import CloudKeys, IssuerConfig
from glassbridge.cloud.issuer_keys import IssuerKeys, NoKeys, parse_jwks
from glassbridge.cloud.tokens import CoreTokens
from glassbridge.core.values import user_id
from glassbridge.livekit.server import free_port
from glassbridge.runtime.errors import UserError
from glassbridge.wire.close_codes import CloseCode, ComeBack
from tests.cloud.app_stage import PACKAGE, AppStage, app_stages
from tests.cloud.conftest import ANN, KEYS, SECRET, Stage, cloud_config
from tests.support.patience import deadline
from tests.support.poll import eventually, stays
from tests.support.process import Program
from tests.support.scripted_bridge import ScriptedBridge

Begin = Callable[..., Awaitable[Stage]]
OLD, NEW = "the-old-core-secret-of-the-tests-01234", "the-new-core-secret-of-the-tests-56789"
ISSUER, AUDIENCE = "https://login.example.com/", "glassbridge"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str, **changes: Any) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"} | changes


JWKS = {"keys": [jwk(RSA, "rsa"), jwk(EC, "ec"), {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}]}


def signed(key: Any, algorithm: str, kid: str | None, **changes: Any) -> str:
    claims = {"sub": ANN, "iss": ISSUER, "aud": AUDIENCE, "exp": time() + 60} | changes
    headers = {} if kid is None else {"kid": kid}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def raw_hs256(key: bytes, **claims: Any) -> str:
    """PyJWT itself refuses a PEM as a secret; an attacker does not ask it."""
    import hmac
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    def part(value: bytes) -> bytes:
        return urlsafe_b64encode(value).rstrip(b"=")

    body = {"sub": ANN, "iss": ISSUER, "aud": AUDIENCE, "exp": time() + 60} | claims
    text = part(b'{"alg":"HS256","typ":"JWT","kid":"rsa"}') + b"." + part(json.dumps(body).encode())
    return (text + b"." + part(hmac.new(key, text, sha256).digest())).decode()


class Endpoint:
    """Shows a JWKS, counts who asks, and can be away."""

    def __init__(self) -> None:
        self.keys: Any = JWKS
        self.status = 200
        self.asked = 0
        self.stuck = False
        self.over = asyncio.Event()

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.stuck:
            await self.over.wait()
        return web.json_response(self.keys, status=self.status)


@asynccontextmanager
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    shown = Endpoint()
    app = web.Application()
    app.router.add_get("/keys", shown.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield shown, f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        shown.over.set()
        await runner.cleanup()


def issuer(keys: str | Path, **changes: Any) -> IssuerConfig:
    return IssuerConfig(**{"keys": keys, "issuer": ISSUER, "audience": AUDIENCE} | changes)


@asynccontextmanager
async def tokens(keys: str | Path, **changes: Any) -> AsyncIterator[CoreTokens]:
    config = cloud_config(ScriptedBridge(), issuer=issuer(keys, **changes))
    assert config.issuer is not None
    async with IssuerKeys(config.issuer) as known:
        await known.reload()
        yield CoreTokens(config, known)


async def refusal(verifier: CoreTokens, token: str) -> str:
    with pytest.raises(CoreTokenError) as refused:
        await verifier.verify(token)
    assert token not in str(refused.value)
    return refused.value.code


# ---- lists of secrets


async def test_any_secret_of_the_list_verifies() -> None:
    verifier = CoreTokens(cloud_config(ScriptedBridge(), keys=CloudKeys((NEW, OLD), KEYS)), None)
    for secret in (OLD, NEW):
        assert (await verifier.verify(mint_core_token(user_id(ANN), secret, 60))).user == ANN
    assert await refusal(verifier, mint_core_token(user_id(ANN), SECRET, 60)) == "INVALID_TOKEN"
    assert await refusal(verifier, mint_core_token(user_id(ANN), OLD, -60)) == "TOKEN_EXPIRED"


async def test_a_token_is_looked_at_once_for_as_long_as_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone that comes back shows the same one; expiry and withdrawal hold all the same."""
    looked: list[object] = []
    decode = jwt.decode

    def counted(*args: Any, **options: Any) -> Any:
        looked.append(args)
        return decode(*args, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    monkeypatch.setattr(tokens_module, "MOST_KNOWN", 2)
    config = cloud_config(ScriptedBridge(), keys=CloudKeys((OLD,), KEYS))
    core = CoreTokens(config, None)
    mine, *others = (mint_core_token(user_id(f"{name}@example.com"), OLD, 60) for name in "abc")
    permits = [await core.verify(mine) for _ in range(3)]
    assert [permit.user for permit in permits] == ["a@example.com"] * 3
    assert len(looked) == 1
    with pytest.raises(CoreTokenError):
        await core.verify(mine[:-2])
    looked.clear()
    for other in others:
        await core.verify(other)
    assert len(core._known) == 2
    monkeypatch.setattr(tokens_module, "time", lambda: time() + 1_000)
    await core.verify(others[0])
    assert len(looked) == 3, "its time was over, as far as was known"
    config.keys.replace(CloudKeys((NEW,), KEYS))
    with pytest.raises(CoreTokenError):
        await core.verify(others[0])


async def test_rotation_leaves_no_gap_and_ends_what_the_old_secret_let_in(stage: Begin) -> None:
    """Old; then both; then the new one alone. Nobody is turned away before the last step."""
    built = await stage(keys=CloudKeys((OLD,), KEYS), recheck=60.0)

    async def phone(secret: str, user: str) -> Any:
        headers = {"Authorization": f"Bearer {mint_core_token(user_id(user), secret, 600)}"}
        return await built.phone(user, headers=headers)

    old = await phone(OLD, "old@example.com")
    built.cloud.reload(CloudKeys((NEW, OLD), KEYS))
    new, other = await phone(NEW, "new@example.com"), await phone(OLD, "other@example.com")
    await stays(lambda: not old.socket.closed and not other.socket.closed, 0.3)
    built.cloud.reload(CloudKeys((NEW,), KEYS))
    assert await old.closed_with() == await other.closed_with() == CloseCode.TOKEN_ENDED
    assert not new.socket.closed
    headers = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), OLD, 600)}"}
    async with built.http.get(f"{built.url}/api/client/livekit/token", headers=headers) as answer:
        assert answer.status == 401


async def test_new_livekit_keys_sign_from_then_on(stage: Begin) -> None:
    built = await stage()
    from glassbridge.livekit.tokens import LiveKitKeys, verify

    fresh = LiveKitKeys("another", "another-livekit-secret-of-the-tests-0123")
    built.cloud.reload(CloudKeys((SECRET,), fresh))
    headers = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), SECRET, 600)}"}
    async with built.http.get(f"{built.url}/api/client/livekit/token", headers=headers) as answer:
        claims = verify((await answer.json())["data"]["token"], fresh)
    assert 590 < claims.expires_at - time() <= 601  # ten minutes: each join mints a fresh one


@pytest.mark.parametrize(
    ("life", "code"), [(59.0, None), (3000.0, "TOKEN_LIVES_TOO_LONG"), (None, "TOKEN_LIVES_TOO_LONG")]
)
async def test_a_life_can_be_capped(life: float | None, code: str | None) -> None:
    verifier = CoreTokens(cloud_config(ScriptedBridge(), token_max_life=600.0), None)
    claims = {"sub": ANN} | ({} if life is None else {"exp": time() + life})
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    if code is None:
        assert (await verifier.verify(token)).user == ANN
    else:
        assert await refusal(verifier, token) == code


# ---- live sockets


async def test_a_live_socket_ends_when_its_token_does(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassbridge.cloud.tokens.CLOCK_SKEW", 0.0)
    built = await stage(recheck=0.1)
    short = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), SECRET, 2)}"}
    ann, bob = await built.phone(ANN, headers=short), await built.phone("bob@example.com")
    assert await ann.closed_with() == CloseCode.TOKEN_ENDED
    assert not bob.socket.closed


def test_at_most_a_minute_late_and_the_phone_does_not_come_back() -> None:
    config = cloud_config(ScriptedBridge())
    assert config.recheck + 5.0 <= 60
    assert CloseCode.TOKEN_ENDED.come_back is ComeBack.NO


@pytest.fixture
async def apps() -> AsyncIterator[Callable[..., Any]]:
    async with app_stages() as begin:
        yield begin


async def test_an_app_whose_key_was_withdrawn_is_ended(apps: Callable[..., Any]) -> None:
    built: AppStage = await apps()
    await built.phone()
    app = await built.running()
    await built.cloud._recheck.look()
    assert not app.socket.closed
    built.cloud._apps.registry.remove(PACKAGE)
    await built.cloud._recheck.look()
    assert await app.closed_with() == CloseCode.TOKEN_ENDED


# ---- an issuer's keys


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec")])
async def test_an_issuer_signs_with_what_its_jwks_shows(key: Any, algorithm: str, kid: str, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    async with endpoint() as (_, url):
        for source in (file, url):
            async with tokens(source) as verifier:
                permit = await verifier.verify(signed(key, algorithm, kid))
                assert permit.user == ANN
                assert verifier.still_good(permit)


VECTORS: Mapping[str, Callable[[], str]] = {  # made when they are used: they live a minute
    "no kid": lambda: signed(RSA, "RS256", None),
    "another kid": lambda: signed(RSA, "RS256", "unknown"),
    "the kid of the other key": lambda: signed(RSA, "RS256", "ec"),
    "the other way round": lambda: signed(EC, "ES256", "rsa"),
    "a key of its own": lambda: signed(rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256", "rsa"),
    "another issuer": lambda: signed(RSA, "RS256", "rsa", iss="https://evil.example.com/"),
    "no issuer": lambda: signed(RSA, "RS256", "rsa", iss=None),
    "another audience": lambda: signed(RSA, "RS256", "rsa", aud="another-service"),
    "no audience": lambda: signed(RSA, "RS256", "rsa", aud=None),
    "no end": lambda: signed(RSA, "RS256", "rsa", exp=None),
    "not yet": lambda: signed(RSA, "RS256", "rsa", nbf=time() + 600),
    "another algorithm of the key": lambda: signed(RSA, "PS256", "rsa"),
    "longer hash": lambda: signed(RSA, "RS512", "rsa"),
    "no algorithm": lambda: jwt.encode({"sub": ANN, "exp": time() + 60}, "", algorithm="none", headers={"kid": "rsa"}),
    "the public key as a secret": lambda: raw_hs256(pem(RSA).encode()),
    "the modulus as a secret": lambda: raw_hs256(str(JWKS["keys"][0]["n"]).encode()),
    "the symmetric key of the JWKS": lambda: raw_hs256(b"secret"),
    "an empty secret": lambda: raw_hs256(b""),
    "an end that is none": lambda: raw_hs256(SECRET.encode(), exp="never"),
    "an infinite end": lambda: raw_hs256(SECRET.encode(), exp=1e400),
    "a list for a name": lambda: raw_hs256(SECRET.encode(), sub=[ANN]),
    "too long": lambda: "eyJ" + "a" * 20_000,
    "no text": lambda: "\udcff.\udcff.\udcff",
}


@pytest.mark.parametrize("vector", VECTORS)
async def test_no_token_chooses_how_it_is_verified(vector: str, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    async with tokens(file) as verifier:
        assert await refusal(verifier, VECTORS[vector]()) == "INVALID_TOKEN"


async def test_an_issuers_token_is_nothing_without_an_issuer() -> None:
    verifier = CoreTokens(cloud_config(ScriptedBridge()), None)
    assert await refusal(verifier, signed(RSA, "RS256", "rsa")) == "INVALID_TOKEN"


async def test_a_token_of_the_issuer_lives_a_day_at_most(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    async with tokens(file) as verifier:
        long = signed(RSA, "RS256", "rsa", exp=time() + 25 * 3600)
        assert await refusal(verifier, long) == "TOKEN_LIVES_TOO_LONG"


async def test_an_unknown_key_has_the_jwks_read_once_and_not_again_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuer_keys, "RETRY_EVERY", 0.5)
    async with endpoint() as (shown, url), tokens(url) as verifier:
        before = shown.asked
        fresh = ec.generate_private_key(ec.SECP256R1())
        token = signed(fresh, "ES256", "fresh")
        assert await refusal(verifier, token) == "INVALID_TOKEN"
        await asyncio.gather(*(refusal(verifier, signed(EC, "ES256", f"made up {n}")) for n in range(200)))
        assert shown.asked <= before + 1
        shown.keys = {"keys": [*JWKS["keys"], jwk(fresh, "fresh")]}

        async def accepted() -> bool | str:
            try:
                return (await verifier.verify(token)).user == ANN
            except CoreTokenError as error:
                return error.code

        await eventually(accepted, every=0.1)
        assert shown.asked <= before + 3


async def test_while_the_endpoint_is_away_the_known_keys_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_keys, "RETRY_EVERY", 0.05)
    monkeypatch.setattr(issuer_keys, "FETCH_TIMEOUT", 0.2)
    async with endpoint() as (shown, url), tokens(url, refresh=0.05) as verifier:
        permit = await verifier.verify(signed(RSA, "RS256", "rsa"))
        faults: list[dict[str, Any]] = [
            {"status": 503},
            {"keys": "junk", "status": 200},
            {"keys": {"keys": []}},
            {"stuck": True},
        ]
        for fault in faults:
            for name, value in fault.items():
                setattr(shown, name, value)
            asked = shown.asked
            await eventually(lambda asked=asked: shown.asked > asked or "not asked")  # type: ignore[misc]
            assert (await verifier.verify(signed(RSA, "RS256", "rsa"))).user == ANN
            assert verifier.still_good(permit)
        shown.over.set()
        shown.stuck, shown.keys = False, {"keys": [jwk(EC, "ec")]}
        await eventually(lambda: not verifier.still_good(permit) or "the withdrawn key still counts")


async def test_before_the_keys_are_known_a_phone_is_asked_to_come_again() -> None:
    config = cloud_config(ScriptedBridge(), issuer=issuer("http://127.0.0.1:9/keys"))
    assert config.issuer is not None
    async with IssuerKeys(config.issuer) as known:
        with pytest.raises(CoreTokenError) as refused:
            await CoreTokens(config, known).verify(signed(RSA, "RS256", "rsa"))
    assert (refused.value.code, refused.value.status) == ("KEYS_UNAVAILABLE", 503)


@pytest.mark.parametrize(
    "entry",
    [
        jwk(RSA, "x", use="enc"),
        jwk(RSA, "x", alg="HS256"),
        jwk(RSA, "x", alg="RS512"),
        jwk(RSA, "x", kty="oct"),
        jwk(RSA, "x", n="AQAB"),
        jwk(ec.generate_private_key(ec.SECP384R1()), "x"),
        jwk(EC, "x", y="AAAA"),
        {"kty": "RSA"},
        "junk",
        None,
    ],
)
def test_a_key_that_may_not_be_used_is_left_out(entry: Any) -> None:
    with pytest.raises(NoKeys):
        parse_jwks(json.dumps({"keys": [entry]}).encode())
    assert set(parse_jwks(json.dumps({"keys": [entry, jwk(EC, "ec")]}).encode())) == {"ec"}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b"[" * 100_000, b"\xff"])
def test_what_is_no_jwks(data: bytes) -> None:
    with pytest.raises(NoKeys):
        parse_jwks(data)


def test_a_file_that_cannot_be_used_is_an_error_at_start(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match="GLASSBRIDGE_JWKS_FILE"):
            IssuerKeys(issuer(path))


async def test_sighup_takes_the_secrets_of_the_files(tmp_path: Path) -> None:
    """A real cloud, not restarted: the old secret, then both, then the new one. What cannot be used changes nothing."""
    file = tmp_path / "core"
    file.write_text(f"{OLD}\n")
    port = free_port()
    env = {"AUGMENTOS_AUTH_JWT_SECRET_FILE": str(file), "LIVEKIT_API_SECRET": "l" * 40}
    argv = ("cloud", "--port", str(port), "--log-format", "json")
    async with Program.glassbridge(*argv, env=env) as cloud, aiohttp.ClientSession() as http:
        await cloud.says("cloud listens")

        async def status(secret: str) -> int:
            headers = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), secret, 600)}"}
            async with http.get(f"http://127.0.0.1:{port}/api/client/livekit/token", headers=headers) as answer:
                return answer.status

        async def reload(text: str, says: str) -> None:
            count = sum(says in line for line in cloud.err)
            file.write_text(text)
            cloud.signal(signal.SIGHUP)
            await eventually(lambda: sum(says in line for line in cloud.err) > count or f"no line with {says!r}", 10)

        assert (await status(OLD), await status(NEW)) == (200, 401)
        headers = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), OLD, 600)}"}
        async with http.ws_connect(f"http://127.0.0.1:{port}/glasses-ws", headers=headers) as phone:
            await phone.receive(timeout=5)
            await reload(f"{NEW}\n{OLD}\n", "setting reloaded")
            assert (await status(OLD), await status(NEW)) == (200, 200)
            await reload("\n", "setting not reloaded")
            assert (await status(OLD), await status(NEW)) == (200, 200)
            assert not phone.closed
            await reload(f"{NEW}\n", "setting reloaded")
            assert (await status(OLD), await status(NEW)) == (401, 200)
            async with deadline(5):
                while (message := await phone.receive()).type is not aiohttp.WSMsgType.CLOSE:
                    pass
            assert message.data == CloseCode.TOKEN_ENDED
        assert not any(secret in line for line in cloud.err for secret in (OLD, NEW))
