"""What the apps of all users share: the registry, the way to their servers, and what they are told of this cloud."""

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from glassbridge.cloud.apps.registry import AppRecord, Registry
from glassbridge.cloud.apps.store import PHONE, SqliteStore, Store, StoredKind, as_values
from glassbridge.cloud.apps.streams import Streams
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.core.app_settings import Schema, chosen, shown
from glassbridge.core.values import UserId
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.telemetry import metrics
from glassbridge.wire import apps as wire
from glassbridge.wire.app_keys import SIGNATURE_HEADER
from glassbridge.wire.codec import Message, encode

log = structlog.get_logger()

AT_ONCE, AT_ONCE_TO_ONE = 256, 32
"""Webhooks on their way: in all, and to one server, so that a slow one does not hold up the others."""
REFUSED: Final = 401
"""How the app's server answers a webhook that its API key has not signed."""
WRONG_KEY: Final = (
    "the app's server has another API key than its record here: `glassbridge apps rekey` makes another one"
)
MAX_NOTICES = 1_000
"""Webhooks that tell of a stop and have not ended."""


class AppHost:
    """Shared by all sessions; use as an async context. `address` is set once the cloud listens; `base` gives the path
    under which the address that clouds share leads to this one."""

    def __init__(
        self,
        config: AppsConfig,
        registry: Registry,
        base: Callable[[], str] = lambda: "",
        world: World = REAL,
        store: Store | None = None,
    ) -> None:
        """`store` is closed in the end; None: what the configuration says."""
        self.config = config
        self.registry = registry
        self.world = world
        self.store = store or SqliteStore(config.store, config.store_bytes)
        self.streams = Streams(config.sounds_of_all, world)
        self.address = ""
        """host:port of this cloud, as programs on its own machine reach it."""
        self.id = world.token(6)
        """Of this run of this cloud, for apps."""
        self._base = base
        self._http: aiohttp.ClientSession | None = None
        self._tasks = TaskGroup("webhooks")

    async def __aenter__(self) -> "AppHost":
        self._http = self.world.http(
            timeout=aiohttp.ClientTimeout(total=self.config.webhook_timeout, sock_connect=self.config.times.dial),
            cookie_jar=aiohttp.DummyCookieJar(),
            limit=AT_ONCE,
            limit_per_host=AT_ONCE_TO_ONE,
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._tasks.settle(timeout=1.0)
        await self._tasks.close()
        if self._http is not None:
            await self._http.close()
        await self.store.__aexit__()

    async def settings_of(self, user: UserId, app: AppRecord) -> Schema:
        """Those of the app, each with what the user has chosen. Raises StoreError."""
        kept = await self.store.read(StoredKind.SETTING, user, app.package)
        return chosen(app.settings, as_values(kept))

    async def phone_settings_of(self, user: UserId) -> dict[str, object]:
        """What apps are told of the settings of the user's phone. Raises StoreError."""
        return shown(as_values(await self.store.read(StoredKind.SETTING, user, PHONE)))

    @property
    def websocket_url(self) -> str:
        """Where an app opens its socket."""
        shared = bool(self.config.public_url)
        url = urlsplit(self.config.public_url if shared else f"http://{self.address}")
        scheme = {"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)
        return f"{scheme}://{url.netloc}{url.path.rstrip('/')}{self._base() if shared else ''}{wire.APP_PATHS[0]}"

    @property
    def http_url(self) -> str:
        """Where apps and bridges find this cloud's REST interface."""
        base = self.websocket_url.removesuffix(wire.APP_PATHS[0])
        return f"http{base.removeprefix('ws')}"

    async def ask_to_connect(self, app: AppRecord, user: str) -> int:
        """Asks the app's server to open a socket for this user; the status of its answer, 0 for none. Never raises."""
        url = self.websocket_url
        return await self._call(
            app,
            user,
            wire.SessionRequest(
                session_id=wire.app_session_id(user, app.package),
                user_id=user,
                mentraos_websocket_url=url,
                augmentos_websocket_url=url,
                cloud=self.id,
                timestamp=int(self.world.wall() * 1000),
            ),
        )

    def tell_stopped(self, app: AppRecord, user: str, reason: str) -> None:
        """Tells the app's server, once and in the background, that the user's app has stopped. With too many on their
        way it is left out: the app learns it from its socket."""
        request = wire.StopRequest(
            session_id=wire.app_session_id(user, app.package),
            user_id=user,
            reason=reason,
            cloud=self.id,
            timestamp=int(self.world.wall() * 1000),
        )
        self.tell(app, user, request)

    def tell(self, app: AppRecord, user: str, notice: wire.StopRequest | wire.PhotoError) -> None:
        """Tells the app's server something, once and in the background, unless too many are on their way."""
        if len(self._tasks) >= MAX_NOTICES:
            metrics.REFUSALS.add("webhook")
            return
        path = wire.PHOTO_PATH if isinstance(notice, wire.PhotoError) else wire.WEBHOOK_PATH
        self._tasks.spawn(self._call(app, user, notice, path), f"tell:{app.package}")

    async def _call(self, app: AppRecord, user: str, request: Message, path: str = wire.WEBHOOK_PATH) -> int:
        """The status of the answer; 0: there was none."""
        if self._http is None:
            raise RuntimeError("enter the host first")
        body = encode(request).encode()
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",  # one that is kept may be dead by the next time, and an app waits for it
            SIGNATURE_HEADER: app.signer.sign(body, int(self.world.wall())),
        }
        about = log.bind(package=app.package, user_id=user, asked=type(request).__name__)
        try:
            async with self._http.post(
                app.url.rstrip("/") + path, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status == REFUSED:
                    about.warning("webhook refused", status=answer.status, reason=WRONG_KEY)
                else:
                    about.info("webhook", status=answer.status)
                return answer.status
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:  # noqa: UP041 - aiohttp raises its own
            about.info("webhook", error=type(error).__name__)
            return 0
