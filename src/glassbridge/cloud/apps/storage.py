"""`/api/sdk/simple-storage`: texts that an app keeps for its users, by the original's paths and limits.

An app shows package name and API key, and is served for users who have started it. It goes on being served when the
user has stopped it: the original's SDK writes last when its session has ended.
"""

import math
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from glassbridge.cloud.answers import refuse, success
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import RegistryError
from glassbridge.cloud.apps.store import Full, Store, StoredKind, StoreError
from glassbridge.cloud.auth import bearer, only_authorization
from glassbridge.cloud.body import expect_later, read_body
from glassbridge.core.allowance import Allowances
from glassbridge.core.values import UserId, user_id
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import sign_in
from glassbridge.wire.app_keys import key_fits
from glassbridge.wire.rejections import Rejected, Rejection

PATH: Final = "/api/sdk/simple-storage"
MAX_VALUE: Final = 100_000
"""Characters."""
MAX_STORED: Final = 1 << 20
"""Bytes of keys and values, for one app and user."""
MAX_BODY: Final = 3 << 20
"""Bytes: as JSON text is longer."""
BODY_TIME: Final = 15.0

Key = Annotated[str, Meta(min_length=1, max_length=256)]
Value = Annotated[str, Meta(max_length=MAX_VALUE)]


class _One(msgspec.Struct):
    value: Value


class _Many(msgspec.Struct):
    data: Annotated[dict[Key, Value], Meta(max_length=10_000)]


class Storage:
    """The handlers."""

    def __init__(self, host: AppHost, store: Store) -> None:
        self._host = host
        self._store = store
        self._clock = host.world.monotonic
        self._allowances = Allowances(host.config.storage_of_one)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        for path in (f"{PATH}/{{user}}", f"{PATH}/{{user}}/{{key}}"):
            for method in ("GET", "PUT", "DELETE"):
                router.add_route(method, path, self.serve, expect_handler=expect_later)

    async def serve(self, request: web.Request) -> web.Response:
        """Reads, writes or deletes all that is stored, or what one key names."""
        try:
            user, package = await self._asker(request)
            key = request.match_info.get("key")
            match request.method:
                case "GET":
                    return await self._get(user, package, key)
                case "PUT":
                    return await self._put(request, user, package, key)
                case _:
                    return success({"deleted": await self._store.delete(StoredKind.STORED, user, package, key)})
        except Full:
            return refuse(Rejection.STORAGE_FULL, most=MAX_STORED >> 20)
        except StoreError as error:
            return refuse(Rejection.STORE_UNAVAILABLE, why=error)

    async def _get(self, user: UserId, package: str, key: str | None) -> web.Response:
        stored = await self._store.read(StoredKind.STORED, user, package)
        if key is None:
            return success(stored)
        if key not in stored:
            return refuse(Rejection.STORAGE_KEY_UNKNOWN)
        return success({"value": stored[key]})

    async def _put(self, request: web.Request, user: UserId, package: str, key: str | None) -> web.Response:
        body = await read_body(request, most=MAX_BODY, within=BODY_TIME)
        try:
            if key is None:
                values = msgspec.json.decode(body, type=_Many).data
            else:
                values = {msgspec.convert(key, Key): msgspec.json.decode(body, type=_One).value}
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return refuse(
                Rejection.BODY_WRONG,
                form='{"data": {key: text}}, or {"value": text} with a key in the path; a key has at most 256'
                f" characters, a text {MAX_VALUE:,}",
            )
        await self._store.write(StoredKind.STORED, user, package, values, MAX_STORED)
        return success({"written": len(values)})

    async def _asker(self, request: web.Request) -> tuple[UserId, str]:
        """Raises Rejected, StoreError, CoreTokenError."""
        package, _, key = (bearer(only_authorization(request.headers), None) or "").partition(":")
        try:
            record = self._host.registry.find(package)
        except RegistryError:
            raise Rejected(Rejection.REGISTRY_UNREADABLE) from None
        if record is None or not key_fits(key, record.key_hash):
            raise Rejected(Rejection.STORAGE_KEY_WRONG)
        sign_in(request)
        try:
            user = user_id(request.match_info["user"])
        except ValueError as error:
            raise Rejected(Rejection.USER_WRONG, why=error) from None
        bucket, now = self._allowances.of((package, user), self._clock()), self._clock()
        if not bucket.take(now):
            metrics.REFUSALS.add("storage")
            raise Rejected(Rejection.TOO_OFTEN, seconds=math.ceil(bucket.wait(now)))
        if not await self._store.knows(user, package):
            raise Rejected(Rejection.STORAGE_USER_UNKNOWN)
        return user, package
