"""`/api/sounds`: sounds that an app brings itself, kept for a while so that a bridge can fetch them.

The address of one is its key: 128 random bits that only the app, and the bridge that is asked to play it, are told.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe
from time import monotonic, time
from typing import Final

import structlog
from aiohttp import web

from glassbridge.cloud.answers import failure, success
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import RegistryError
from glassbridge.wire.app_keys import SIGNATURE_HEADER, signed_by

log = structlog.get_logger()

PATH: Final = "/api/sounds"
MAX_SOUND: Final = 16 << 20
MAX_ALL: Final = 64 << 20
"""Bytes of all that are kept; the oldest go."""
KEPT: Final = 900.0
"""Seconds: longer than a sound may last that is played from it."""


@dataclass(frozen=True, slots=True)
class _Sound:
    data: bytes
    until: float
    """Monotonic seconds."""


class Uploads:
    """All of one cloud."""

    def __init__(self, host: AppHost, clock: Callable[[], float] = monotonic) -> None:
        self._host = host
        self._clock = clock
        self._sounds: OrderedDict[str, _Sound] = OrderedDict()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_post(PATH, self.put)
        router.add_get(f"{PATH}/{{name}}", self.get)

    async def put(self, request: web.Request) -> web.Response:
        """Keeps a sound file for 15 minutes; `app` names the package whose key signs the body, as webhooks are."""
        data = bytearray()
        async for piece in request.content.iter_chunked(64 << 10):
            data += piece
            if len(data) > MAX_SOUND:
                return failure(413, "TOO_LARGE", f"a sound has at most {MAX_SOUND >> 20} MiB: give its URL instead")
        package = request.query.get("app", "")
        if not self._signed(package, bytes(data), request.headers.get(SIGNATURE_HEADER, "")):
            return failure(401, "INVALID_SIGNATURE", "sign with the app's API key, as the SDK does")
        if not data:
            return failure(400, "BAD_REQUEST", "the body is the sound file")
        name = token_urlsafe(16)
        self._sounds[name] = _Sound(bytes(data), self._clock() + KEPT)
        self._forget()
        log.info("sound kept", package=package, bytes=len(data))
        return success({"path": f"{PATH}/{name}", "keptSeconds": KEPT})

    async def get(self, request: web.Request) -> web.Response:
        """A sound that was kept."""
        self._forget()
        sound = self._sounds.get(request.match_info["name"])
        if sound is None:
            return failure(404, "NO_SUCH_SOUND", "there is no such sound, or it was kept long enough")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=sound.data, content_type="application/octet-stream", headers=headers)

    def _forget(self) -> None:
        """What is too old or too much."""
        now, size = self._clock(), sum(len(sound.data) for sound in self._sounds.values())
        while self._sounds and (size > MAX_ALL or next(iter(self._sounds.values())).until <= now):
            size -= len(self._sounds.popitem(last=False)[1].data)

    def _signed(self, package: str, data: bytes, signature: str) -> bool:
        try:
            record = self._host.registry.find(package)
        except RegistryError:
            return False
        return record is not None and signed_by(record.key_hash, data, signature, time())
