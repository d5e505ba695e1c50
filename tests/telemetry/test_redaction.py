"""Nothing that is a credential survives redaction; ordinary text does."""

import json
import traceback
from urllib.parse import quote

import jwt
import pytest

from glassbridge.telemetry.redaction import MASK, Redactor, is_sensitive

SECRET = 'canary/"se+cret\\of 32 characters!'
TOKEN = jwt.encode({"sub": "ada", "video": {"room": "r"}}, "k" * 32)
OPAQUE = "s3cr3tOpaqueValue"


@pytest.mark.parametrize(
    "text",
    [
        f"joined with {TOKEN}",
        f"cut off: {TOKEN[:20]}",
        f"wss://host/rtc?access_token={OPAQUE}&protocol=15",
        f"GET /glasses-ws?livekit=true&token={OPAQUE} HTTP/1.1",
        f"Authorization: Bearer {OPAQUE}",
        f"{{'headers': {{'authorization': 'Bearer {OPAQUE}'}}}}",
        json.dumps({"token": OPAQUE, "room": "r"}),
        json.dumps(json.dumps({"coreToken": OPAQUE})),
        f"api_secret={OPAQUE}",
        f"the secret is {SECRET}, you see",
        f"https://host/?k={quote(SECRET, safe='')}",
        json.dumps({"what": SECRET}),
        repr([SECRET]),
    ],
)
def test_secrets_go(text: str) -> None:
    clean = Redactor([SECRET])(text)
    assert MASK in clean
    for kept in (TOKEN, TOKEN[:20], OPAQUE, SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]):
        assert kept not in clean


@pytest.mark.parametrize(
    "text",
    [
        "the token has expired: sign in again",
        "LiveKit refuses the token: check the API key and secret",
        "bearer of bad news",
        json.dumps({"room": "tokens", "tokens_left": 3}),
        "GET /api/client/livekit/token HTTP/1.1",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor([SECRET])(text) == text


def test_json_stays_json() -> None:
    line = json.dumps({"url": f"ws://h/rtc?access_token={OPAQUE}", "error": f"Bearer {OPAQUE}", "token": TOKEN, "n": 1})
    assert json.loads(Redactor([SECRET])(line))["n"] == 1


def test_traceback_with_a_secret_in_it() -> None:
    error = ConnectionError(f"401 for ws://h/rtc?access_token={TOKEN} signed with {SECRET}")
    clean = Redactor([SECRET])("".join(traceback.format_exception(error)))
    assert "ConnectionError: 401 for" in clean
    assert TOKEN not in clean
    assert SECRET not in clean


def test_short_secrets_are_words() -> None:
    assert Redactor(["secret"])("no secret here") == "no secret here"


@pytest.mark.parametrize("key", ["token", "access_token", "coreToken", "api_secret", "Authorization", "password"])
def test_sensitive_keys(key: str) -> None:
    assert is_sensitive(key)


@pytest.mark.parametrize("key", ["user_id", "tokens_left", "token_age_s", "reason"])
def test_other_keys(key: str) -> None:
    assert not is_sensitive(key)


WORDS = ["token", "core_token", "secret", "PASSWORD", "api_key", "ApiKey", "authorization", "to\u212aen", "\u017fecret"]


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("form", ["{}=" + OPAQUE, '"{}": "' + OPAQUE + '"', "'{}': '" + OPAQUE + "'"])
def test_no_spelling_of_a_name_goes_around_the_hints(name: str, form: str) -> None:
    assert OPAQUE not in Redactor()(form.format(name))


@pytest.mark.parametrize("text", [f"BEARER {OPAQUE}", f"ba\u017fic {OPAQUE}", TOKEN])
def test_nor_any_spelling_of_a_credential(text: str) -> None:
    assert MASK in Redactor()(text)
