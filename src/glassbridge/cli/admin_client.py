"""Asks a cloud's `/api/admin`, for commands that show what it knows."""

import json
import urllib.error
import urllib.request
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import typer

from glassbridge.runtime.errors import UserError

TIMEOUT = 10.0
MAX_ANSWER = 32 << 20
"""Bytes."""

CloudOption = Annotated[str, typer.Option("--cloud", envvar="GLASSBRIDGE_CLOUD", help="Base URL of the cloud.")]
LOCAL_CLOUD = "http://127.0.0.1:8002"


class AdminClient:
    """One cloud; the token is the settings' GLASSBRIDGE_ADMIN_TOKEN."""

    def __init__(self, cloud: str, token: str) -> None:
        self._base = base_url(cloud)
        self._token = token

    def get(self, path: str) -> Any:
        """`data` of the answer of `/api/admin/{path}`. Raises UserError, which says what to do."""
        return self._fetch(f"{self._base}/api/admin/{path}")["data"]

    def health(self) -> dict[str, Any]:
        """What the cloud says of itself. Raises UserError."""
        health: dict[str, Any] = self._fetch(f"{self._base}/health")
        return health

    def rooms_at(self, bridge: str, user: str) -> list[dict[str, Any]]:
        """What the supervisor of a bridge knows of a user's rooms; `bridge` is the URL of its metrics port. Raises
        UserError."""
        rooms: list[dict[str, Any]] = self._fetch(f"{base_url(bridge)}/recorder?{urlencode({'user': user})}")["rooms"]
        return rooms

    def _fetch(self, url: str) -> Any:
        if not self._token:
            raise UserError("set GLASSBRIDGE_ADMIN_TOKEN to the admin token of the cloud", 2)
        return fetch_json(url, {"Authorization": f"Bearer {self._token}"})


def base_url(text: str) -> str:
    """An HTTP(S) URL without a slash at its end. Raises UserError."""
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).netloc:
        raise UserError(f"{text!r} is no http:// or https:// URL", 2)
    return text.rstrip("/")


def fetch_json(url: str, headers: dict[str, str]) -> Any:
    """What is answered. Raises UserError; redirects are not followed, for they would get the token too."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - base_url() allows http and https only
    where = urlsplit(url).netloc
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            return json.loads(answer.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        raise UserError(f"{where}: {_message(error)}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        raise UserError(f"{where} does not answer ({why}): is it running, and is this its address?") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(1 << 16))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"it answers {error.code} {error.reason}"
