"""Apps by REST, for the user's own programs: what there is, start, stop."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from glassbridge.cloud.answers import NoSession, refuse, success
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import RegistryError
from glassbridge.cloud.apps.sockets import AppSockets, Sessions
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.core.app_session import AppState
from glassbridge.core.values import UserId
from glassbridge.wire.apps import APP_PATHS
from glassbridge.wire.rejections import Rejection

SLACK = 2.0
"""Seconds that a start may take beyond its budget."""


class AppRoutes:
    """All paths that are about apps. `user_of` raises what the server answers 401 to."""

    def __init__(
        self,
        host: AppHost,
        sessions: Sessions,
        sockets: AppSockets,
        user_of: Callable[[web.Request], Awaitable[UserId]],
    ) -> None:
        self._host = host
        self._sessions = sessions
        self._sockets = sockets
        self._user_of = user_of

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        for path in APP_PATHS:
            router.add_get(path, self._sockets.serve)
        router.add_get("/api/client/apps", self.list)
        for base in ("/apps", "/api/client/apps"):
            router.add_post(f"{base}/{{package}}/start", self.start)
            router.add_post(f"{base}/{{package}}/stop", self.stop)

    async def list(self, request: web.Request) -> web.Response:
        """Every app that this cloud knows, and how it is for this user."""
        apps = self._sessions.apps_of(await self._user_of(request))
        states = {} if apps is None else apps.states()
        try:
            records = self._host.registry.all()
        except RegistryError:
            return refuse(Rejection.REGISTRY_UNREADABLE)
        return success(
            [
                {
                    "packageName": record.package,
                    "name": record.name or record.package,
                    "permissions": sorted(permission.value for permission in record.permissions),
                    "running": states.get(record.package) is AppState.RUNNING,
                    "state": states.get(record.package, AppState.ABSENT).shown,
                }
                for record in records
            ]
        )

    async def start(self, request: web.Request) -> web.Response:
        """Starts an app; answers when it runs, or cannot run."""
        apps = await self._apps(request)
        app = apps.start(request.match_info["package"])
        try:
            async with asyncio.timeout(self._host.config.times.start + SLACK):
                reason = await asyncio.shield(app.outcome)
        except TimeoutError:
            return refuse(Rejection.APP_STARTING)
        if reason is not None:
            return refuse(Rejection.APP_DID_NOT_START, why=reason.text)
        return success({"packageName": app.package, "state": app.state.shown})

    async def stop(self, request: web.Request) -> web.Response:
        """Stops an app; one that does not run is stopped already."""
        apps = await self._apps(request)
        package = request.match_info["package"]
        apps.stop(package)
        return success({"packageName": package, "state": AppState.STOPPED.shown})

    async def _apps(self, request: web.Request) -> UserApps:
        """Raises NoSession."""
        apps = self._sessions.apps_of(await self._user_of(request))
        if apps is None:
            raise NoSession
        return apps
