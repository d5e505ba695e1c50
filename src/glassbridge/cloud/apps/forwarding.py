"""Several clouds behind one address: a request of an app names its cloud, and whichever cloud gets it relays it there.

An app is told `<public URL>/at/<cloud>/app-ws`. `<cloud>` is the address by which clouds reach each other, signed with
the core secret that they share: so only addresses of such clouds are ever connected to. A sound that an app has brought
names the cloud that keeps it, too: `/api/sounds/<cloud>.<name>`.
"""

import base64
import binascii
import hmac
import re
from hashlib import sha256
from typing import Final

from aiohttp import web
from yarl import URL

from glassbridge.cloud.apps.uploads import PATH as SOUNDS_PATH
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.relay import RequestRelay
from glassbridge.wire.apps import APP_PATHS

PREFIX: Final = "/at/"
PATHS: Final = (*APP_PATHS, "/api/tts", SOUNDS_PATH, "/api/sdk/", "/appsettings/")
"""Of apps; nothing else is relayed by a name."""
_NAMED: Final = re.compile(rf"{PREFIX}[\w-]+(?=/)", re.ASCII)
_PURPOSE: Final = b"glassbridge cloud address\0"
_SIGNED: Final = 16
"""Bytes of the signature that are kept."""


def without_name(path: str) -> str:
    """The same path without a cloud's name in it."""
    return _NAMED.sub("", path, count=1)


def name_of(address: str, secret: str) -> str:
    """The signed name, in URLs, of the cloud at host:port."""
    text = address.encode()
    return base64.urlsafe_b64encode(_mac(text, secret) + text).rstrip(b"=").decode()


def address_of(name: str, secrets: tuple[str, ...]) -> str | None:
    """host:port; None: none of these secrets has signed it."""
    try:
        data = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
        text = data[_SIGNED:].decode()
    except (binascii.Error, ValueError):
        return None
    signed = any(hmac.compare_digest(data[:_SIGNED], _mac(text.encode(), secret)) for secret in secrets)
    return text if signed else None


def _mac(text: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE + text, sha256).digest()[:_SIGNED]


def cloud_of_sound(path: str) -> str:
    """The cloud's name in the address of a sound; empty: it has none."""
    folder, _, name = path.rpartition("/")
    cloud, dot, _ = name.partition(".")
    return cloud if dot and folder == SOUNDS_PATH else ""


class Forwarding:
    """The handler of `/at/<cloud>/...`."""

    def __init__(self, config: CloudConfig, relay: RequestRelay) -> None:
        self.address = config.address
        """host:port by which other clouds reach this one; where the configuration says nothing, set once it listens."""
        self._config = config
        self._relay = relay

    @property
    def name(self) -> str:
        """Of this cloud, in URLs; empty where clouds share no secret."""
        secrets = self._config.keys.core
        return name_of(self.address, secrets[0]) if secrets else ""

    @property
    def base(self) -> str:
        """The path before those of apps; empty where clouds share no secret."""
        return f"{PREFIX}{self.name}" if self.name else ""

    def elsewhere(self, request: web.Request, name: str) -> str:
        """The address of the cloud of this name, unless it is this one, or the request was relayed already."""
        address = address_of(name, self._config.keys.core)
        return "" if address is None or address == self.address or self._relay.is_relayed(request) else address

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serves the request if it is for this cloud; else the cloud that it names does."""
        name, _, rest = request.rel_url.raw_path.removeprefix(PREFIX).partition("/")
        target = URL.build(path=f"/{rest}", query_string=request.rel_url.raw_query_string, encoded=True)
        if address_of(name, self._config.keys.core) is None or not f"/{rest}".startswith(PATHS):
            raise web.HTTPNotFound
        address = self.elsewhere(request, cloud_of_sound(target.path) or name)
        if not address:
            return await self._here(request.clone(rel_url=target))
        if f"/{rest}" in APP_PATHS:
            return await self._relay.socket(request, address, target)
        return await self._relay.stream(request, address, target)

    @staticmethod
    async def _here(request: web.Request) -> web.StreamResponse:
        """As if it had come without the name."""
        match = await request.app.router.resolve(request)
        match.add_app(request.app)
        match.freeze()
        request._match_info = match
        answer: web.StreamResponse = await match.handler(request)
        return answer
