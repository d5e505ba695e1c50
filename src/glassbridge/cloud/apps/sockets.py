"""The app socket's door: both ways to sign in, and what is said to those who may not."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol

import structlog
from aiohttp import WSMsgType, web

from glassbridge.cloud.apps.connection import AppConnection
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import AppRecord, RegistryError
from glassbridge.cloud.apps.running import RunningApp
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.auth import CoreTokenError, bearer, claims_of, only_authorization
from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.origins import Origins
from glassbridge.cloud.recheck import Recheck
from glassbridge.cloud.relay import UNREACHABLE, RequestRelay
from glassbridge.cloud.websocket import VERSION_HEADERS, WebSocket, app_websocket
from glassbridge.core.addresses import subject_of
from glassbridge.core.moving import CloudStage
from glassbridge.core.session import SocketNumber
from glassbridge.core.values import UserId, user_id
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import sign_in
from glassbridge.wire import apps as wire
from glassbridge.wire.app_keys import key_fits
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import MalformedMessage, encode
from glassbridge.wire.rejections import MALFORMED_AS, Rejected, Rejection

log = structlog.get_logger()

SIGN_IN_TRIES = 10
"""Messages within which an app that sent no headers must authenticate; pings do not count."""


class Sessions(Protocol):
    """The sessions of this cloud, as apps see them."""

    @property
    def keeper(self) -> "Keeper": ...

    @property
    def stage(self) -> CloudStage: ...

    def apps_of(self, user: UserId) -> UserApps | None:
        """None: this user has no session here."""


class Keeper(Protocol):
    """Knows which clouds have which users."""

    @property
    def shared(self) -> bool:
        """There may be other clouds."""

    async def owners_of(self, user: UserId) -> tuple[str, ...] | None:
        """Addresses of other clouds that may have this user; None: none has."""


class SignInError(Rejected):
    """Why an app is not let in; the text is for its developer and holds nothing that was sent."""

    @property
    def code(self) -> wire.ErrorCode:
        return wire.error_code(self.rejection.code)


class NotHere(SignInError):
    """The app is known, but not in a session of this user here."""

    def __init__(self, user: UserId | None) -> None:
        # One answer for both: an app is not told who is here, unless the user has started it.
        super().__init__(Rejection.APP_NOT_HERE)
        self.user = user


class _Elsewhere(Exception):
    """Another cloud has the user; `said` is what the app has said here."""

    def __init__(self, address: str, said: str | bytes) -> None:
        super().__init__(address)
        self.address = address
        self.said = said


@dataclass(frozen=True, slots=True)
class _SignedIn:
    """An app, and what let it in."""

    app: RunningApp
    key_hash: str = field(repr=False)
    token: str = field(default="", repr=False)
    """The app's JWT; empty: it said its API key itself."""


class AppSockets:
    """The handler of `/app-ws`. One instance for each running cloud."""

    def __init__(
        self,
        host: AppHost,
        sessions: Sessions,
        config: CloudConfig,
        recheck: Recheck,
        origins: Origins,
        relay: RequestRelay,
    ) -> None:
        self._relay = relay
        self._host = host
        self._sessions = sessions
        self._config = config
        self._recheck = recheck
        self._origins = origins
        self._numbers = count(1)
        self._unsigned_of: Counter[str] = Counter()
        """Sockets that have not authenticated, by address."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Refuses in JSON before the upgrade, or serves the app until its socket closes."""
        if not self._origins.allow(request):
            return _refusal(Rejected(Rejection.ORIGIN_NOT_ALLOWED))
        if not self._sessions.stage.takes:
            return _refusal(Rejected(Rejection.APP_WHILE_STOPPING))
        found: _SignedIn | None = None
        try:
            if "Authorization" in request.headers:
                found = self._by_headers(request)
        except SignInError as error:
            if address := await self._cloud_of(request, error):
                return await self._relay.socket(request, address, request.rel_url)
            log.info("app refused", code=error.code, peer=request.remote)
            return _refusal(error)
        if found is None and not self._has_room(request.remote):
            metrics.CONNECTIONS_REFUSED.add("unsigned_apps")
            return _refusal(Rejected(Rejection.APP_UNSIGNED))
        socket = app_websocket(self._config)
        if not socket.can_prepare(request):
            return _refusal(Rejected(Rejection.APP_WEBSOCKET_ONLY))
        if found is None:
            try:
                found = await self._unsigned(socket, request)
            except _Elsewhere as where:
                return await self._relay_opened(socket, request, where)
        else:
            await socket.prepare(request)
        if found is not None:
            sign_in(request, for_good=True)
            await self._attend(socket, request.transport, found)
        return socket

    async def _cloud_of(self, request: web.Request, error: SignInError) -> str:
        """The address of the one cloud that has the user of an app that is not here; empty: there is none, or it is
        not known which."""
        if not isinstance(error, NotHere) or error.user is None or self._relay.is_relayed(request):
            return ""
        keeper = self._sessions.keeper
        found = await keeper.owners_of(error.user) if keeper.shared else ()
        return found[0] if found and len(found) == 1 else ""

    async def _relay_opened(self, socket: WebSocket, request: web.Request, where: _Elsewhere) -> web.StreamResponse:
        """Relays a socket on which the app has authenticated."""
        try:
            return await self._relay.socket(request, where.address, request.rel_url, socket, (where.said,))
        except UNREACHABLE as error:
            log.info("request not relayed", cloud=where.address, error=type(error).__name__)
            refusal = NotHere(None)
            with suppress(ConnectionError):
                await socket.send_str(_error(refusal.code, str(refusal)))
            await socket.close(code=CloseCode.POLICY, message=refusal.code.encode())
            return socket

    async def _attend(self, socket: WebSocket, transport: asyncio.Transport | None, found: _SignedIn) -> None:
        app = found.app
        connection = AppConnection(
            socket,
            transport,
            SocketNumber(next(self._numbers)),
            user=app.user,
            package=app.package,
            clock=self._host.world.monotonic,
        )
        app.opened(connection)
        try:
            with self._recheck.guards(lambda: self._may_stay(found), lambda: connection.close(CloseCode.TOKEN_ENDED)):
                await connection.run()
        finally:
            app.closed(connection)

    # ---- authentication

    def _has_room(self, peer: str | None) -> bool:
        """For one more socket of this address that authenticates later."""
        return self._unsigned_of[subject_of(peer or "")] < self._config.apps.unsigned_per_address

    async def _unsigned(self, socket: WebSocket, request: web.Request) -> _SignedIn | None:
        """Opens the socket and authenticates it; counted against its address until then."""
        subject = subject_of(request.remote or "")
        self._unsigned_of[subject] += 1
        try:
            await socket.prepare(request)
            return await self._by_first_message(socket, request)
        finally:
            self._unsigned_of[subject] -= 1
            if not self._unsigned_of[subject]:
                del self._unsigned_of[subject]

    def _by_headers(self, request: web.Request) -> _SignedIn:
        """An app JWT, and whose session it is about. Raises SignInError."""
        try:
            token = bearer(only_authorization(request.headers), None)
        except CoreTokenError:
            raise SignInError(Rejection.APP_TOKEN_TWICE) from None
        user, session_id = request.headers.get(wire.USER_HEADER), request.headers.get(wire.SESSION_HEADER)
        if not token or not user or not session_id:
            raise SignInError(
                Rejection.APP_HEADERS_MISSING,
                headers=f"`Authorization: Bearer`, `{wire.USER_HEADER}` and `{wire.SESSION_HEADER}`",
            )
        try:
            claims = self._claims(token)
            package, key = claims["packageName"], claims["apiKey"]
        except (CoreTokenError, KeyError):
            package = key = None
        if not isinstance(package, str) or not isinstance(key, str):
            raise SignInError(Rejection.APP_TOKEN_INVALID)
        return replace(self._find(package, key, user), token=token)

    def _claims(self, token: str) -> dict[str, Any]:
        """What the JWT of an app says that one of our secrets has signed. Raises CoreTokenError."""
        refusal = CoreTokenError(Rejection.TOKEN_INVALID)
        for secret in self._config.keys.core:
            try:
                return claims_of(token, secret, "HS256")
            except CoreTokenError as error:
                refusal = error
        raise refusal

    def _may_stay(self, found: _SignedIn) -> bool:
        """What let it in still would."""
        try:
            if found.token:
                self._claims(found.token)
            record = self._host.registry.find(found.app.package)
        except CoreTokenError:
            return False
        except RegistryError:  # a file that cannot be read for a moment ends no app
            return True
        return record is not None and record.key_hash == found.key_hash

    async def _by_first_message(self, socket: WebSocket, request: web.Request) -> _SignedIn | None:
        """The first message authenticates the app; a malformed one may be repeated in time. Raises _Elsewhere."""
        try:
            async with asyncio.timeout(self._config.connections.sign_in_time):
                tries = 0
                while tries < SIGN_IN_TRIES:
                    received = await socket.receive()
                    match received.type:
                        case WSMsgType.PING:
                            await socket.pong(received.data)
                        case WSMsgType.PONG:
                            pass
                        case WSMsgType.TEXT | WSMsgType.BINARY:
                            tries += 1
                            app = await self._try_sign_in(socket, received.data, request)
                            if app is not None or socket.closed:
                                return app
                        case _:
                            return None
        except TimeoutError:
            pass
        except ConnectionError:
            return None
        await socket.close(code=CloseCode.POLICY, message=b"say tpa_connection_init first")
        return None

    async def _try_sign_in(self, socket: WebSocket, said: str | bytes, request: web.Request) -> _SignedIn | None:
        """None: not with this message; the app was told why. Raises _Elsewhere."""
        try:
            return self._by_init(said)
        except SignInError as error:
            if address := await self._cloud_of(request, error):
                raise _Elsewhere(address, said) from None
            log.info("app refused", code=error.code, peer=request.remote)
            await socket.send_str(_error(error.code, str(error)))
            if error.code.fatal:
                await socket.close(code=CloseCode.POLICY, message=error.code.encode())
            return None

    def _by_init(self, text: str | bytes) -> _SignedIn:
        """Raises SignInError."""
        try:
            message = wire.decode_from_app(text)
        except MalformedMessage as error:
            raise SignInError(MALFORMED_AS[error.code], why=error) from None
        if not isinstance(message, wire.ConnectionInit):
            raise SignInError(Rejection.APP_INIT_FIRST)
        user = wire.user_of(message.session_id, message.package_name)
        found = self._find(message.package_name, message.api_key, user)
        if message.cloud and message.cloud != self._host.id:
            raise SignInError(Rejection.APP_NOT_HERE)  # it takes the place of no socket, nor is it relayed
        return found

    def _find(self, package: str, key: str, user: str | None) -> _SignedIn:
        """The app that has been started. Raises SignInError."""
        record = self._record(package)
        if record is None:
            raise SignInError(Rejection.APP_UNKNOWN)
        if not key_fits(key, record.key_hash):
            if (app := self._running(package, user)) is not None:
                app.note_wrong_key()
            raise SignInError(Rejection.APP_KEY_WRONG)
        self._learn(record, key)
        app = self._running(package, user)
        if app is None:
            raise NotHere(_user(user))
        return _SignedIn(app, record.key_hash)

    def _running(self, package: str, user: str | None) -> RunningApp | None:
        """The app of this package that the user has started."""
        known = _user(user)
        apps = None if known is None else self._sessions.apps_of(known)
        return None if apps is None else apps.find(package)

    def _learn(self, record: AppRecord, key: str) -> None:
        """An app that was registered before there were signing secrets has shown its key."""
        if record.secret:
            return
        try:
            self._host.registry.change_key(record.with_key(key))
            log.info("app key changed", package=record.package, cause="signing secret learned", audit=True)
        except RegistryError as error:
            log.warning("signing secret not kept", package=record.package, error=str(error))

    def _record(self, package: str) -> AppRecord | None:
        try:
            return self._host.registry.find(package)
        except RegistryError as error:
            log.warning("registry of apps cannot be used", error=str(error))
            raise SignInError(Rejection.APP_REGISTRY_UNREADABLE) from None


def _user(name: str | None) -> UserId | None:
    try:
        return user_id(name or "")
    except ValueError:
        return None


def _error(code: str, message: str) -> str:
    return encode(wire.ConnectionError_(code=code, message=message, timestamp=iso_now()))


def _refusal(why: Rejected) -> web.Response:
    """What an app gets instead of a socket."""
    text, headers = _error(why.code, str(why)), VERSION_HEADERS if why.status == 426 else None
    return web.Response(status=why.status, text=text, content_type="application/json", headers=headers)
