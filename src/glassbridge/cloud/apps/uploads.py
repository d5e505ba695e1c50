"""`/api/sounds`: sounds that an app brings itself, kept for a while so that a bridge can fetch them.

The address of one is its key: 128 random bits that only the app, and the bridge that is asked to play it, are told.
An app signs for size and digest of its sound, so the app is known before a byte of the sound is read.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import structlog
from aiohttp import web

from glassbridge.cloud.answers import refuse, success
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import AppRecord, RegistryError
from glassbridge.cloud.apps.streams import SoundStream
from glassbridge.cloud.body import expect_later, read_body
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import sign_in
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, sound_claim
from glassbridge.wire.rejections import Rejected, Rejection

log = structlog.get_logger()

PATH: Final = "/api/sounds"
MAX_SOUND: Final = 16 << 20
STALLED: Final = 60.0
"""Seconds without a new piece of a sound that an app makes, or without a reader."""
KEPT: Final = 900.0
"""Seconds: longer than a sound may last that is played from it."""


@dataclass(frozen=True, slots=True)
class _Sound:
    data: bytearray
    package: str
    until: float
    """Monotonic seconds."""


class Uploads:
    """All of one cloud. `body_time`: seconds in which a sound must come. AppsConfig says how many bytes are kept, and
    how many may be on their way."""

    def __init__(self, host: AppHost, body_time: float, cloud: Callable[[], str] = lambda: "") -> None:
        self._host = host
        self._cloud = cloud
        """The name of this cloud in the addresses of its sounds (cloud/apps/forwarding.py)."""
        self._body_time = body_time
        self._clock = host.world.monotonic
        self._sounds: OrderedDict[str, _Sound] = OrderedDict()
        self._coming: Counter[str] = Counter()
        """Bytes on their way, by package."""

    @property
    def coming(self) -> int:
        """Bytes on their way."""
        return self._coming.total()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_post(PATH, self.put, expect_handler=expect_later)
        router.add_get(f"{PATH}/{{name}}", self.get)

    async def put(self, request: web.Request) -> web.Response:
        """Keeps a sound file for 15 minutes; `app` names the package that signs for its size and digest."""
        package, size = request.query.get("app", ""), request.content_length
        if size is None:
            raise _refused("size", Rejection.SOUND_LENGTH_MISSING)
        digest = request.headers.get(DIGEST_HEADER, "").lower()
        if not self._signed(package, sound_claim(package, size, digest), request.headers.get(SIGNATURE_HEADER, "")):
            raise _refused("signature", Rejection.SIGNATURE_WRONG)
        sign_in(request)
        if not size:
            raise _refused("size", Rejection.SOUND_EMPTY)
        if size > MAX_SOUND:
            raise _refused("size", Rejection.SOUND_TOO_LARGE, most=MAX_SOUND >> 20)
        limits = self._host.config
        if self._coming[package] + size > limits.sounds_of_app or self._coming.total() + size > limits.sounds_of_all:
            raise _refused("quota", Rejection.SOUNDS_TOO_MANY)
        self._coming[package] += size
        try:
            data = await read_body(request, most=size, within=self._body_time)
        finally:
            self._coming[package] -= size
            self._coming += Counter()  # without those that have none
        if sha256(data).hexdigest() != digest:
            raise _refused("digest", Rejection.SOUND_DIGEST_WRONG)
        name = self._host.world.token(16)
        self._sounds[name] = _Sound(data, package, self._clock() + KEPT)
        self._forget()
        log.info("sound kept", package=package, bytes=len(data))
        cloud = self._cloud()
        shown = f"{cloud}.{name}" if cloud else name
        return success({"path": f"{PATH}/{shown}", "keptSeconds": KEPT})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A sound that was kept, or one that an app makes while it is heard."""
        self._forget()
        name = request.match_info["name"].rpartition(".")[2]
        if (stream := self._host.streams.find(name)) is not None:
            return await self._pass_on(request, stream)
        sound = self._sounds.get(name)
        if sound is None:
            return refuse(Rejection.SOUND_UNKNOWN)
        return web.Response(
            body=sound.data, content_type="application/octet-stream", headers={"Cache-Control": "no-store"}
        )

    async def _pass_on(self, request: web.Request, stream: SoundStream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "application/octet-stream"
        await response.prepare(request)
        try:
            async with asyncio.timeout(STALLED) as deadline:
                async for piece in stream.read():
                    await response.write(piece)
                    deadline.reschedule(self._clock() + STALLED)
        except TimeoutError:
            log.info("stream of a sound cut", bytes=len(stream.data))
        await response.write_eof()
        return response

    def _forget(self) -> None:
        """What is too old or too much."""
        now, limits = self._clock(), self._host.config
        while self._sounds and next(iter(self._sounds.values())).until <= now:
            self._sounds.popitem(last=False)
        sizes: Counter[str] = Counter()
        for sound in self._sounds.values():
            sizes[sound.package] += len(sound.data)
        while sizes and (sizes.total() > limits.sounds_of_all or max(sizes.values()) > limits.sounds_of_app):
            [(package, _)] = sizes.most_common(1)
            oldest = next(name for name, sound in self._sounds.items() if sound.package == package)
            sizes[package] -= len(self._sounds.pop(oldest).data)

    def _signed(self, package: str, claim: bytes, signature: str) -> bool:
        record = self._record(package)
        return record is not None and record.signer.signed(claim, signature, self._host.world.wall())

    def _record(self, package: str) -> AppRecord | None:
        try:
            return self._host.registry.find(package)
        except RegistryError:
            return None


def _refused(reason: str, rejection: Rejection, **values: int) -> Rejected:
    metrics.UPLOADS_REFUSED.add(reason)
    return Rejected(rejection, **values)
