"""Settings by REST, by the original's paths: of an app (`/appsettings/{package}`), and of the phone itself
(`/api/client/user/settings`). Apps that run are told of each change.

`/appsettings/user/{package}`, which the original's SDK asks with no proof of who it is, is refused: what it would say
comes with the app's connection and with each change.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Protocol

import msgspec
from aiohttp import web
from msgspec import Meta

from glassbridge.cloud.answers import refuse, success
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import AppRecord, RegistryError
from glassbridge.cloud.apps.store import PHONE, Full, Store, StoredKind, StoreError, as_values
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.body import read_body
from glassbridge.core.app_settings import MAX_VALUES, chosen, fits
from glassbridge.core.values import UserId
from glassbridge.wire.rejections import Rejection

MAX_BODY: Final = 64 << 10
BODY_TIME: Final = 15.0
APP_PATH, USER_PATH = "/appsettings", "/api/client/user/settings"

Key = Annotated[str, Meta(min_length=1, max_length=128)]


class _Change(msgspec.Struct):
    key: Key
    value: Any = None


class _Changes(msgspec.Struct):
    settings: Annotated[list[_Change], Meta(max_length=64)]


class _OfPhone(msgspec.Struct):
    settings: Annotated[dict[Key, Any], Meta(max_length=512)]


class _Value(msgspec.Struct):
    value: Any


class Sessions(Protocol):
    """Of this cloud."""

    def apps_of(self, user: UserId) -> UserApps | None: ...


class SettingsRoutes:
    """The handlers. `user_of` raises what the server answers 401 to."""

    def __init__(
        self,
        host: AppHost,
        store: Store,
        sessions: Sessions,
        user_of: Callable[[web.Request], Awaitable[UserId]],
    ) -> None:
        self._host = host
        self._store = store
        self._sessions = sessions
        self._user_of = user_of

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_get(f"{APP_PATH}/user/{{package}}", self.refuse)
        router.add_get(f"{APP_PATH}/{{package}}", self.of_app)
        router.add_post(f"{APP_PATH}/{{package}}", self.of_app)
        for method in ("GET", "PUT", "POST"):
            router.add_route(method, USER_PATH, self.of_phone)
        for method in ("GET", "PUT", "DELETE"):
            router.add_route(method, f"{USER_PATH}/key/{{key}}", self.of_phone)

    async def refuse(self, _request: web.Request) -> web.Response:
        """The original's SDK shows an id that anybody can guess."""
        return refuse(Rejection.SETTINGS_CLOSED)

    async def of_app(self, request: web.Request) -> web.Response:
        """The settings of an app and what the user has chosen. POST: `{"key", "value"}`, or a list of such under
        `settings`; a value of null is the default again."""
        user, package = await self._user_of(request), request.match_info["package"]
        try:
            record = self._host.registry.find(package)
            if record is None:
                return refuse(Rejection.APP_ABSENT)
            if request.method == "POST":
                changes = _changes(await read_body(request, most=MAX_BODY, within=BODY_TIME))
                wrong = [
                    one.key
                    for one in changes
                    if one.value is not None and not fits(record.settings, one.key, one.value)
                ]
                if wrong:
                    return refuse(Rejection.SETTING_WRONG, key=wrong[0][:128])
                await self._change_app(user, record, changes)
            values = await self._host.settings_of(user, record)
        except ValueError as error:
            return refuse(Rejection.BODY_WRONG, form=error)
        except RegistryError:
            return refuse(Rejection.REGISTRY_UNREADABLE)
        except (Full, StoreError) as error:
            return _no_store(error)
        data = {"packageName": package, "name": record.name or package, "settings": values}
        return success(data, beside=data)

    async def _change_app(self, user: UserId, record: AppRecord, changes: list[_Change]) -> None:
        for one in changes:
            if one.value is None:
                await self._store.delete(StoredKind.SETTING, user, record.package, one.key)
        values = {one.key: msgspec.json.encode(one.value).decode() for one in changes if one.value is not None}
        kept = await self._store.write(StoredKind.SETTING, user, record.package, values, MAX_VALUES)
        apps = self._sessions.apps_of(user)
        app = None if apps is None else apps.find(record.package)
        if app is not None:
            app.settings_changed(chosen(record.settings, as_values(kept)))

    async def of_phone(self, request: web.Request) -> web.Response:
        """The phone's own settings. Those that apps may know are told to the apps that run."""
        user, key = await self._user_of(request), request.match_info.get("key")
        try:
            if request.method == "GET":
                return _told(await self._store.read(StoredKind.SETTING, user, PHONE), key)
            if request.method == "DELETE":
                await self._store.delete(StoredKind.SETTING, user, PHONE, key)
                values: dict[str, Any] = {}
            else:
                body = await read_body(request, most=MAX_BODY, within=BODY_TIME)
                values = {key: _decoded(body, _Value).value} if key else _decoded(body, _OfPhone).settings
            texts = {name: msgspec.json.encode(value).decode() for name, value in values.items()}
            kept = await self._store.write(StoredKind.SETTING, user, PHONE, texts, MAX_VALUES)
        except ValueError as error:
            return refuse(Rejection.BODY_WRONG, form=error)
        except (Full, StoreError) as error:
            return _no_store(error)
        if (apps := self._sessions.apps_of(user)) is not None:
            apps.phone_settings(as_values(kept))
        return _told(kept)


def _told(kept: dict[str, str], key: str | None = None) -> web.Response:
    values = as_values(kept)
    if key is None:
        return success(values)
    if key not in values:
        return refuse(Rejection.SETTING_UNKNOWN)
    return success({"key": key, "value": values[key]})


def _no_store(error: Exception) -> web.Response:
    if isinstance(error, Full):
        return refuse(Rejection.SETTINGS_FULL, most=MAX_VALUES >> 10)
    return refuse(Rejection.STORE_UNAVAILABLE, why=error)


def _decoded(body: bytearray, kind: Any) -> Any:
    """Raises ValueError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ValueError('{"settings": {key: value}}, or {"value": value} with a key in the path') from None


def _changes(body: bytearray) -> list[_Change]:
    """Raises ValueError."""
    for kind in (_Change, _Changes, Annotated[list[_Change], Meta(max_length=64)]):
        try:
            found = msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        return [found] if isinstance(found, _Change) else found.settings if isinstance(found, _Changes) else found
    raise ValueError('{"key": key, "value": value}, or a list of such')
