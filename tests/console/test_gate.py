"""Who is let behind the scenes."""

from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from glassbridge.cloud import admin_gate
from glassbridge.cloud.admin_gate import COOKIE, COOKIE_LIFE, MAX_SIGN_INS, AdminGate
from glassbridge.core.admin_tokens import TokenVerdict
from glassbridge.settings import Settings

TOKEN = "an-admin-token-of-the-tests"


def request(**headers: str) -> web.Request:
    return make_mocked_request("GET", "/api/admin/sessions", {k.replace("_", "-"): v for k, v in headers.items()})


def allows(gate: AdminGate, found: web.Request) -> bool:
    return gate.judge(found) is TokenVerdict.ALLOWED


def cookie_of(gate: AdminGate) -> str:
    return gate.begin(request())[1]


def test_the_token_and_the_cookie_open_it() -> None:
    gate = AdminGate(TOKEN)
    assert allows(gate, request(Authorization=f"Bearer {TOKEN}"))
    assert allows(gate, request(Cookie=f"{COOKIE}={cookie_of(gate)}"))
    assert allows(gate, request(Cookie=f"{COOKIE}={cookie_of(gate)}", Sec_Fetch_Site="same-origin"))


def test_the_cookie_outlives_a_restart_but_not_the_token() -> None:
    cookie = cookie_of(AdminGate(TOKEN))
    assert allows(AdminGate(TOKEN), request(Cookie=f"{COOKIE}={cookie}"))
    assert not allows(AdminGate("another-admin-token-of-tests"), request(Cookie=f"{COOKIE}={cookie}"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer tökën"},
        {"Cookie": f"{COOKIE}="},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": f"{COOKIE}=99999999999.{'0' * 64}"},
        {"Cookie": f"{COOKIE}={cookie_of(AdminGate(TOKEN))}", "Sec_Fetch_Site": "same-site"},
        {"Cookie": f"{COOKIE}={cookie_of(AdminGate(TOKEN))}", "Sec_Fetch_Site": "cross-site"},
    ],
)
def test_nothing_else_does(headers: dict[str, str]) -> None:
    assert not allows(AdminGate(TOKEN), request(**headers))


def test_a_cookie_cannot_be_made_to_last() -> None:
    gate = AdminGate(TOKEN)
    id_, expires, seal = cookie_of(gate).split(".")
    assert not allows(gate, request(Cookie=f"{COOKIE}={id_}.{int(expires) + 1}.{seal}"))
    assert not allows(gate, request(Cookie=f"{COOKIE}={id_}{expires}..{seal}"))
    assert not allows(gate, request(Cookie=f"{COOKIE}=x.{expires}.{seal}"))
    assert not allows(gate, request(Cookie=f"{COOKIE}={id_}.{'9' * 5000}.{seal}"))
    with patch.object(admin_gate, "time", lambda: int(expires) - COOKIE_LIFE * 0.01):
        assert allows(gate, request(Cookie=f"{COOKIE}={id_}.{expires}.{seal}"))
    with patch.object(admin_gate, "time", lambda: int(expires) + 1):
        assert not allows(gate, request(Cookie=f"{COOKIE}={id_}.{expires}.{seal}"))


def test_without_a_token_nobody_is_let_in() -> None:
    gate = AdminGate("")
    assert not gate.enabled
    assert not allows(gate, request(Authorization="Bearer "))
    assert not allows(gate, request(Cookie=f"{COOKIE}={cookie_of(gate)}"))


def test_what_was_ended_stays_ended() -> None:
    gate = AdminGate(TOKEN)
    cookies = [gate.begin(request()) for _ in range(3)]
    found, cookie = cookies[0]
    assert gate.end(found.id)
    assert not gate.end(found.id)
    assert not allows(gate, request(Cookie=f"{COOKIE}={cookie}"))
    assert allows(gate, request(Cookie=f"{COOKIE}={cookies[1][1]}"))
    assert [one.id for one in gate.sign_ins()] == [cookies[1][0].id, cookies[2][0].id]


def test_no_cookie_comes_back_when_more_were_ended_than_are_remembered() -> None:
    gate = AdminGate(TOKEN)
    cookies = []
    for _ in range(MAX_SIGN_INS + 20):
        found, cookie = gate.begin(request())
        gate.end(found.id)
        cookies.append(cookie)
    assert not any(allows(gate, request(Cookie=f"{COOKIE}={cookie}")) for cookie in cookies)
    assert len(gate._ended) == MAX_SIGN_INS


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        Settings.model_validate({"admin_tokens": "short"})
    assert TOKEN in Settings.model_validate({"admin_tokens": TOKEN}).secrets


def test_any_of_several_tokens_opens_and_the_first_one_signs() -> None:
    former = "the-former-admin-token-of-tests"
    gate = AdminGate(TOKEN, former)
    for token in (TOKEN, former):
        assert allows(gate, request(Authorization=f"Bearer {token}"))
    assert not allows(gate, request(Authorization="Bearer another-token-of-the-tests"))
    assert not allows(gate, request(Authorization="Bearer "))
    assert allows(gate, request(Cookie=f"{COOKIE}={cookie_of(AdminGate(former))}"))
    assert not allows(AdminGate(former), request(Cookie=f"{COOKIE}={cookie_of(gate)}"))
