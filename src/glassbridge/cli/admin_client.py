"""Asks a cloud's `/api/admin`, for commands that show what it knows."""

import json
import socket
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Annotated, Any, Final
from urllib.parse import urlencode, urlsplit

import typer

from glassbridge.runtime.addresses import check_url
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.socket_errors import cause

TIMEOUT = 10.0
MAX_ANSWER = 32 << 20
"""Bytes."""

LOCAL_CLOUD = "http://127.0.0.1:8002"
CloudOption = Annotated[
    str,
    typer.Option(
        "--cloud",
        envvar="GLASSBRIDGE_CLOUD",
        help=f"Base URL of the cloud; left out: that of a running `glassbridge dev`, else {LOCAL_CLOUD}.",
        show_default=False,
    ),
]


class AdminClient:
    """One cloud; the token is that of the running `glassbridge dev` which it belongs to, else the settings'."""

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self._token = token

    def get(self, path: str) -> Any:
        """`data` of the answer of `/api/admin/{path}`. Raises UserError, which says what to do."""
        answer = self._fetch(f"{self.base}/api/admin/{path}")
        if not isinstance(answer, dict) or "data" not in answer:
            raise _strange(self.base)
        return answer["data"]

    def health(self) -> dict[str, Any]:
        """What the cloud says of itself. Raises UserError."""
        health: dict[str, Any] = self._fetch(f"{self.base}/health")
        return health

    def rooms_at(self, bridge: str, user: str) -> list[dict[str, Any]]:
        """What the supervisor of a bridge knows of a user's rooms; `bridge` is the URL of its metrics port. Raises
        UserError."""
        base = base_url(bridge, "--bridge")
        rooms: list[dict[str, Any]] = self._fetch(f"{base}/recorder?{urlencode({'user': user})}")["rooms"]
        return rooms

    def _fetch(self, url: str) -> Any:
        if not self._token:
            raise UserError(
                Complaint.ADMIN_TOKEN_UNSET.text(where=urlsplit(self.base).netloc),
                2,
            )
        return fetch_json(url, {"Authorization": f"Bearer {self._token}"})


def connect(cloud: str) -> AdminClient:
    """The cloud that an option names; empty: that of the running `glassbridge dev`, else LOCAL_CLOUD. Raises
    UserError."""
    from glassbridge.cli.common import load_settings
    from glassbridge.cli.running_dev import find_dev

    named = base_url(cloud, "--cloud") if cloud else ""
    token = load_settings().admin_token.get_secret_value()
    if dev := find_dev(named):
        return AdminClient(dev.cloud, dev.admin_token)
    return AdminClient(named or LOCAL_CLOUD, token)


def base_url(text: str, option: str) -> str:
    """An HTTP(S) URL without a slash at its end. Raises UserError, which does not quote it: it may hold a password."""
    try:
        check_url(text or "-", schemes=("http", "https"))
    except ValueError as error:
        raise UserError(Complaint.URL_WRONG.text(option=option, why=error, example=LOCAL_CLOUD), 2) from None
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
    except (ValueError, HTTPException):
        raise _strange(url) from None
    except OSError as error:
        raise _silent(where, getattr(error, "reason", error)) from None


def _strange(url: str) -> UserError:
    return UserError(Complaint.NO_CLOUD_THERE.text(where=urlsplit(url).netloc))


SILENT: Final[dict[type[Exception], Complaint]] = {
    ssl.SSLError: Complaint.CLOUD_CERTIFICATE_WRONG,
    socket.gaierror: Complaint.CLOUD_NAME_UNKNOWN,
    ConnectionRefusedError: Complaint.CLOUD_NOT_STARTED,
    TimeoutError: Complaint.CLOUD_TOO_SLOW,
}
"""The first that fits counts."""


def _silent(where: str, reason: object) -> UserError:
    complaint = next((found for kind, found in SILENT.items() if isinstance(reason, kind)), Complaint.CLOUD_SILENT)
    return UserError(complaint.text(where=where, why=cause(reason)))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(1 << 16))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"it answers {error.code}, which a cloud would not: correct --cloud (or --bridge)"
