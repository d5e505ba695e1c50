"""Who is let behind the scenes."""

from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from glassbridge.cloud import admin_gate
from glassbridge.cloud.admin_gate import COOKIE, COOKIE_LIFE, AdminGate
from glassbridge.settings import Settings

TOKEN = "an-admin-token-of-the-tests"


def request(**headers: str) -> web.Request:
    return make_mocked_request("GET", "/api/admin/sessions", {k.replace("_", "-"): v for k, v in headers.items()})


def test_the_token_and_the_cookie_open_it() -> None:
    gate = AdminGate(TOKEN)
    assert gate.allows(request(Authorization=f"Bearer {TOKEN}"))
    assert gate.allows(request(Cookie=f"{COOKIE}={gate.cookie()}"))
    assert gate.allows(request(Cookie=f"{COOKIE}={gate.cookie()}", Sec_Fetch_Site="same-origin"))


def test_the_cookie_outlives_a_restart_but_not_the_token() -> None:
    cookie = AdminGate(TOKEN).cookie()
    assert AdminGate(TOKEN).allows(request(Cookie=f"{COOKIE}={cookie}"))
    assert not AdminGate("another-admin-token-of-tests").allows(request(Cookie=f"{COOKIE}={cookie}"))


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
        {"Cookie": f"{COOKIE}={AdminGate(TOKEN).cookie()}", "Sec_Fetch_Site": "same-site"},
        {"Cookie": f"{COOKIE}={AdminGate(TOKEN).cookie()}", "Sec_Fetch_Site": "cross-site"},
    ],
)
def test_nothing_else_does(headers: dict[str, str]) -> None:
    assert not AdminGate(TOKEN).allows(request(**headers))


def test_a_cookie_cannot_be_made_to_last() -> None:
    gate = AdminGate(TOKEN)
    expires, _, seal = gate.cookie().partition(".")
    assert not gate.allows(request(Cookie=f"{COOKIE}={int(expires) + 1}.{seal}"))
    with patch.object(admin_gate, "time", lambda: int(expires) - COOKIE_LIFE * 0.01):
        assert gate.allows(request(Cookie=f"{COOKIE}={expires}.{seal}"))
    with patch.object(admin_gate, "time", lambda: int(expires) + 1):
        assert not gate.allows(request(Cookie=f"{COOKIE}={expires}.{seal}"))


def test_without_a_token_nobody_is_let_in() -> None:
    gate = AdminGate("")
    assert not gate.enabled
    assert not gate.allows(request(Authorization="Bearer "))
    assert not gate.allows(request(Cookie=f"{COOKIE}={gate.cookie()}"))


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        Settings.model_validate({"admin_tokens": "short"})
    assert TOKEN in Settings.model_validate({"admin_tokens": TOKEN}).secrets
