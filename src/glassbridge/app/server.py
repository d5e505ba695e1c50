"""The app's own server: answers webhooks, one session for each user who has started the app."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

import structlog
from aiohttp import web

from glassbridge.app.handlers import call
from glassbridge.app.session import Begin, Session
from glassbridge.runtime.listen import CannotListen, cannot_listen
from glassbridge.runtime.signals import stop_on_signals
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.runtime.world import REAL, World
from glassbridge.wire import apps as wire
from glassbridge.wire.app_keys import SIGNATURE_HEADER, signer
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import MalformedMessage

log = structlog.get_logger()

MAX_BODY = 64 << 10
MAX_SESSIONS = 10_000
STOPPING = "the app's server stops"
ENDING = 5.0
"""Seconds for which the next session of a user waits for the app's `on_stop` about the last one."""
KEY_VARIABLE = "APP_KEY"
WRONG_KEY = (
    f"this webhook was signed with another API key: set {KEY_VARIABLE} to what `glassbridge apps add` printed, or make "
    "another key with `glassbridge apps rekey`"
)
PROXIED = frozenset({"forwarded", "via", "x-forwarded-for"})
"""Headers of proxies."""

Ended = Callable[[Session, str], Awaitable[None] | None]
BeginT = TypeVar("BeginT", bound=Begin)
EndedT = TypeVar("EndedT", bound=Ended)


class WrongKey(Exception):
    """No cloud will get on with this app; the text says what to do."""


class NoKey(Exception):
    """The app cannot authenticate; the text says what to do."""


class AppServer:
    """`run()` serves until Ctrl-C; `async with` serves within a program of your own.

    `api_key` is the one that `glassbridge apps add` printed; where it is left out, it is read from APP_KEY when the
    server starts, so that tests need none. It proves each side to the other: a webhook that is not
    signed with it is refused, since its answer is to open a socket to the caller and to show the key there.
    `unsigned_from` names hosts whose webhooks are believed without a signature: the original's clouds do not sign.
    """

    def __init__(
        self,
        package: str,
        api_key: str = "",
        *,
        host: str = "127.0.0.1",
        port: int = 7010,
        unsigned_from: tuple[str, ...] = (),
        world: World = REAL,
    ) -> None:
        if not package:
            raise ValueError("an app has a package name, such as com.example.captions")
        self.package = package
        self.host = host
        self.port = port
        """The one that was chosen, once it listens, when it was 0."""
        self._api_key = api_key
        self._unsigned_from = unsigned_from
        self._world = world
        self._stopping = False
        self.session_class: type[Session] = Session
        """Makes the sessions; tests put another maker here."""
        self._begin: Begin | None = None
        self._ended: Ended | None = None
        self._sessions: dict[str, Session] = {}
        """Until the app was told that they have ended: a user has one at a time."""
        self._next: dict[str, wire.SessionRequest] = {}
        """Requests that came while the session of that id was still ending, by id."""
        self._wrong_key = asyncio.Event()
        self._believed = False
        """It has had a webhook that its key has signed."""
        self._tasks: TaskGroup | None = None
        self._runner: web.AppRunner | None = None

    @property
    def sessions(self) -> Mapping[str, Session]:
        """Those that are alive, by session id."""
        return self._sessions

    def on_session(self, begin: BeginT) -> BeginT:
        """Names the function that gets each new session, once it is connected: it registers what is to be heard."""
        self._begin = begin
        return begin

    def on_stop(self, ended: EndedT) -> EndedT:
        """Names the function that gets each session that is over, and why."""
        self._ended = ended
        return ended

    @property
    def begins(self) -> Begin | None:
        """What on_session() named."""
        return self._begin

    @property
    def ends(self) -> Ended | None:
        """What on_stop() named."""
        return self._ended

    def use_key(self, api_key: str) -> None:
        """From the next start on this is its key."""
        self._api_key = api_key

    def run(self) -> None:
        """Serves until SIGINT or SIGTERM. Raises SystemExit with a line that says what is wrong."""
        try:
            asyncio.run(self._serve())
        except (CannotListen, NoKey, WrongKey) as error:
            raise SystemExit(f"{self.package}: {error}") from None

    async def _serve(self) -> None:
        with stop_on_signals() as stop:
            async with self:
                waiting = [asyncio.create_task(event.wait()) for event in (stop, self._wrong_key)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await cancelled(*waiting)
                if not stop.is_set():
                    raise WrongKey(WRONG_KEY)

    async def __aenter__(self) -> Self:
        """Raises CannotListen, NoKey."""
        self._api_key = self._api_key or os.environ.get(KEY_VARIABLE, "")
        if not self._api_key:
            raise NoKey(
                f"there is no API key: set {KEY_VARIABLE} to what `glassbridge apps add` printed, or start the app "
                "with `glassbridge app run`"
            )
        self._signer = signer(self._api_key)
        self._tasks = TaskGroup(f"app:{self.package}")
        self._world.claim_port(self.host, self.port)
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post(wire.WEBHOOK_PATH, self._webhook)
        app.router.add_get("/health", self._health)
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise CannotListen(cannot_listen(f"{self.host}:{self.port}", error)) from None
        self.port = int(runner.addresses[0][1])
        log.info("app listens", package=self.package, host=self.host, port=self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Says goodbye in a way that lets the cloud look for us elsewhere: users have stopped nothing."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()
        if self._tasks is not None:
            sessions = self._sessions.values()
            await asyncio.gather(*(session.end(STOPPING, CloseCode.GOING_AWAY) for session in sessions))
            await self._tasks.settle(timeout=2.0)
            await self._tasks.close()

    # ---- webhooks

    async def _webhook(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._believes(request, body):
            log.warning("webhook refused", peer=request.remote, reason=WRONG_KEY)
            if not self._believed and _is_of_this_machine(request):
                self._wrong_key.set()
            return _answer(401, "this webhook is not signed with the app's API key")
        self._believed = True
        try:
            asked = wire.decode_webhook(body)
        except MalformedMessage as error:
            return _answer(400, str(error))
        match asked:
            case wire.SessionRequest():
                return self._open(asked)
            case wire.StopRequest():
                await self._stop(asked)
        return _answer(200)

    def _believes(self, request: web.Request, body: bytes) -> bool:
        if request.remote in self._unsigned_from:
            return True
        return self._signer.signed(body, request.headers.get(SIGNATURE_HEADER, ""), self._world.wall())

    def _open(self, asked: wire.SessionRequest) -> web.Response:
        url, at = asked.websocket_url, asked.timestamp if isinstance(asked.timestamp, int) else 0
        if not url.startswith(("ws://", "wss://")):
            return _answer(400, "a session_request names a WebSocket URL")
        session = self._sessions.get(asked.session_id)
        if session is not None:
            if session.is_over:
                self._next[asked.session_id] = asked
            else:
                session.connect_to(url, at, asked.cloud)
            return _answer(200)
        if self._tasks is None or len(self._sessions) >= MAX_SESSIONS:
            return _answer(503, "this server has as many sessions as it can")
        self._begin_session(self._tasks, asked.user_id, asked.session_id, url, at, asked.cloud)
        return _answer(200)

    def _begin_session(self, tasks: TaskGroup, user: str, id_: str, url: str, asked_at: int, asked_by: str) -> None:
        session = self.session_class(
            self.package, self._api_key, user_id=user, session_id=id_, url=url, world=self._world
        )
        session.connect_to(url, asked_at, asked_by)
        self._sessions[id_] = session
        tasks.spawn(self._keep(session, tasks), id_)

    async def _stop(self, asked: wire.StopRequest) -> None:
        """Ends the session, unless it is connected: then its socket decides. A request is ignored if it is older than
        the last start, or comes from another cloud than the one that started the session."""
        session = self._sessions.get(asked.session_id)
        if session is not None and asked.cloud and session.asked_by not in ("", asked.cloud):
            return
        newer = not isinstance(asked.timestamp, int) or session is None or asked.timestamp > session.asked_at
        if session is not None and not session.connected and newer:
            await session.end(asked.reason)

    async def _keep(self, session: Session, tasks: TaskGroup) -> None:
        about = log.bind(user_id=session.user_id, session_id=session.session_id)
        about.info("session begins")
        why = STOPPING
        try:
            try:
                why = await session.run(self._begin)
            finally:
                about.info("session ended", cause=why)
            if self._ended is not None:
                told = tasks.spawn(call(self._ended, session, why), f"{session.session_id} ended")
                await asyncio.wait({told}, timeout=ENDING)
        finally:
            del self._sessions[session.session_id]
            asked = self._next.pop(session.session_id, None)
        if self._stopping:
            return
        if asked is not None:
            self._open(asked)
        elif session.asked_again and session.begun:
            self._begin_session(
                tasks, session.user_id, session.session_id, session.url, session.asked_at, session.asked_by
            )

    async def _health(self, _request: web.Request) -> web.Response:
        connected = sum(session.connected for session in self._sessions.values())
        return web.json_response(
            {"status": "ok", "package": self.package, "sessions": len(self._sessions), "connected": connected}
        )


def _is_of_this_machine(request: web.Request) -> bool:
    """It comes straight from a program here, not by a proxy, and is signed in our way: by a cloud that knows another
    key. No other sender can end an app this way."""
    here = request.remote in ("127.0.0.1", "::1") and not PROXIED & {name.lower() for name in request.headers}
    return here and request.headers.get(SIGNATURE_HEADER, "").startswith("t=")


def _answer(status: int, message: str = "") -> web.Response:
    """In the original's shape."""
    body = {"status": "success"} if status == 200 else {"status": "error", "message": message}
    return web.json_response(body, status=status)
