"""One app of one user: the shell around core/app_session.py, and the owner of its sockets and playbacks."""

import asyncio
from collections import deque
from typing import Protocol

import structlog

from glassbridge.cloud.apps.connection import AppConnection
from glassbridge.cloud.apps.devices import Devices
from glassbridge.cloud.apps.host import REFUSED, AppHost
from glassbridge.cloud.apps.missed import Missed
from glassbridge.cloud.apps.playback import Playbacks, Room
from glassbridge.cloud.apps.registry import AppRecord
from glassbridge.cloud.apps.store import StoreError
from glassbridge.cloud.apps.tts import own_address, vouched
from glassbridge.cloud.apps.unserved import refusal
from glassbridge.cloud.apps.uploads import PATH as SOUNDS_PATH
from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.websocket import new_allowance
from glassbridge.core.app_session import (
    Adopt,
    Announce,
    AppSession,
    AppState,
    Called,
    CallWebhook,
    Dispose,
    Doubt,
    Effect,
    Event,
    PhoneAway,
    PhoneBack,
    PhoneSpoke,
    Refuse,
    Released,
    SocketClosed,
    SocketOpened,
    Start,
    Stop,
    StopReason,
    Supersede,
    Tick,
)
from glassbridge.core.app_settings import Schema, chosen
from glassbridge.core.machine import Record
from glassbridge.core.session import SocketNumber
from glassbridge.core.subscriptions import Permission
from glassbridge.core.values import UserId
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import Message
from glassbridge.wire.phone import AppStarted, AppStateChange, AppStopped, DisplayEvent, TextWall
from glassbridge.wire.rejections import Rejected, Rejection

log = structlog.get_logger()

KEPT, KEEP = 64, 60.0
"""How many results of playbacks are kept to be told again, and for how many seconds before the loss of a socket: what
was last written into one that breaks may never have arrived."""

READ_WITHIN = 0.3
"""Seconds for which an app that starts waits for its settings: without them it is deaf no longer than that."""
READ_AGAIN = 5.0
"""Seconds between two tries to read settings that could not be read."""
LIVES_ON = CloseCode.POLICY
"""Closes the socket of an app that lives on: the cloud stops, or the user is elsewhere. The original's SDK then waits
for the next webhook, however long that takes. After any other code it tries three times, and tells the app 7 s later
that it has stopped. Ours takes this code for a refusal only where a complaint came before it."""
RELEASED = 5.0
"""Seconds in which an app closes the socket that it has released."""


class AppOwner(Protocol):
    """The keeper of a user's apps."""

    devices: Devices

    def tell_phone(self, message: Message) -> None: ...

    def subscriptions_of(self, app: "RunningApp") -> list[str]:
        """What is in force."""

    def subscribe(self, app: "RunningApp", asked: list[str], request_id: str | None) -> None:
        """The app's whole set is now this."""

    def drop(self, app: "RunningApp") -> None:
        """Forgets the app, and makes close() run once."""


class RunningApp:
    """Born with a start, used once; everything that it owns ends in close()."""

    def __init__(
        self,
        user: UserId,
        session_id: str,
        record: AppRecord,
        host: AppHost,
        owner: AppOwner,
        room: Room,
    ) -> None:
        self.record = record
        self.user = user
        self._host = host
        self._owner = owner
        self._log = log.bind(user_id=user, session_id=session_id, package=record.package)
        self._tasks = TaskGroup(f"app:{user}:{record.package}", self._failed)
        self._clock = host.world.monotonic
        self._machine = AppSession(host.world.chance, host.config.times)
        self._shell: Shell[Event] = Shell(self._machine, self._perform, Tick(), self._note, self._clock)
        self._connections: dict[SocketNumber, AppConnection] = {}
        self._socket: AppConnection | None = None
        """The one that speaks."""
        self._lost_at: float | None = None
        """Monotonic time at which the app went away; None while it is here."""
        self._results: deque[tuple[float, wire.AudioPlayResponse]] = deque(maxlen=KEPT)
        self.missed = Missed(self._clock)
        """Of streams, while the app was away."""
        self._playbacks = Playbacks(
            user, record.package, room, self._played, self._vouch, self._tasks, host.config.play_start, self._clock
        )
        self._settings: Schema = chosen(record.settings, {})
        """With what the user has chosen."""
        self._phone_settings: dict[str, object] = {}
        """What apps may know of the phone's own."""
        self._disposed = False
        self._wrong_key = False
        self._allowance = new_allowance(host.config.rates, self._clock())
        self.outcome: asyncio.Future[StopReason | None] = asyncio.get_running_loop().create_future()
        """Of the start: None when the app runs."""

    @property
    def package(self) -> str:
        return self.record.package

    @property
    def permissions(self) -> frozenset[Permission]:
        """Of the app, when it was started."""
        return self.record.permissions

    @property
    def session_id(self) -> str:
        """As apps know it."""
        return wire.app_session_id(self.user, self.package)

    @property
    def state(self) -> AppState:
        return self._machine.state

    def begin(self) -> None:
        """Sets everything going, once."""
        self._tasks.spawn(self._live(), "app")

    async def _live(self) -> None:
        """Reads the settings for the app before the app is called. If they cannot be read now, it is told later."""
        try:
            async with asyncio.timeout(READ_WITHIN):
                await self._read_settings()
        except (StoreError, TimeoutError) as error:
            self._log.warning("settings not read", error=str(error) or "the store takes its time")
            self._tasks.spawn(self._read_settings_later(), "settings")
        await self._shell.run()

    async def _read_settings(self) -> None:
        """Raises StoreError."""
        await self._host.store.know(self.user, self.package)
        self._settings = await self._host.settings_of(self.user, self.record)
        self._phone_settings = await self._host.phone_settings_of(self.user)

    async def _read_settings_later(self) -> None:
        while True:
            await asyncio.sleep(READ_AGAIN)
            try:
                await self._read_settings()
            except StoreError:
                continue
            self.settings_changed(self._settings)
            return

    def start(self) -> None:
        """Asks for it; may be asked again."""
        self._shell.post(Start())

    def phone(self, *, here: bool) -> None:
        """Whether the user's phone is connected to this cloud."""
        self._shell.post(PhoneBack() if here else PhoneAway())

    def phone_spoke(self) -> None:
        """Something came from the user's phone."""
        if self._machine.released:
            self._shell.post(PhoneSpoke())

    def stop(self, reason: StopReason) -> None:
        """Ends it."""
        self._shell.post(Stop(reason))

    async def close(self) -> None:
        """Releases everything; called once, by the owner, after drop(). Takes 4 s at most."""
        await self._tasks.settle(timeout=1.0)
        await self._tasks.close()

    def _failed(self, task: str, error: BaseException) -> None:
        """The supervisor boundary: an unexpected error ends this app and no other."""
        self._log.error("app failed", task=task, exc_info=error)
        self._dispose(StopReason.FAILED)

    # ---- its sockets

    def opened(self, connection: AppConnection) -> None:
        """A socket that has proven to be this app's."""
        self._connections[connection.number] = connection
        self._shell.post(SocketOpened(connection.number))

    def closed(self, connection: AppConnection) -> None:
        """A socket is gone; may come late."""
        if self._connections.pop(connection.number, None) is not None:
            self._shell.post(SocketClosed(connection.number, connection.lost))

    def answer(self, message: Message) -> None:
        """Sends it to the app if it is here; what it needs to know when it comes back is in the acknowledgement."""
        if self._socket is not None:
            self._socket.send(message)

    def settings_changed(self, settings: Schema) -> None:
        """The user has chosen something else. The original's SDK takes the list for the phone's settings, too, so these
        are told again."""
        self._settings = settings
        self.answer(wire.SettingsUpdate(package_name=self.package, settings=settings, timestamp=iso_now()))
        self.phone_settings_changed(self._phone_settings)

    def phone_settings_changed(self, settings: dict[str, object]) -> None:
        """Those of the phone itself."""
        self._phone_settings = settings
        self.answer(wire.PhoneSettingsUpdate(session_id=self.session_id, settings=settings, timestamp=iso_now()))

    def _played(self, result: wire.AudioPlayResponse) -> None:
        """An app is never left waiting: this one is told again when it comes back."""
        self._results.append((self._clock(), result))
        self.answer(result)

    @property
    def playbacks(self) -> Playbacks:
        """What it plays."""
        return self._playbacks

    def _vouch(self, url: str) -> tuple[str, str]:
        cloud = self._host.websocket_url
        url = vouched(url, self.record, cloud, self._host.world.wall(), self.user)
        return url, own_address(url, cloud)

    @property
    def socket(self) -> AppConnection | None:
        """Where streams go; None while the app is away. One that is closed hears nothing more, however long its goodbye
        takes."""
        return self._socket if self._socket is not None and self._socket.open else None

    def _perform(self, effect: Effect) -> None:
        match effect:
            case CallWebhook(call):
                self._tasks.spawn(self._call(call), f"webhook-{call}")
            case Adopt(number, resumed):
                if (connection := self._connections.get(number)) is not None:
                    self._adopt(connection, resumed)
            case Supersede(number):
                if (connection := self._connections.get(number)) is not None:
                    connection.close(CloseCode.NORMAL, "a newer socket of this app took over")
            case Refuse(number):
                if (connection := self._connections.get(number)) is not None:
                    connection.complain(Rejection.APP_NOT_STARTED)
            case Doubt(number):
                if (connection := self._connections.get(number)) is not None:
                    connection.doubt()
            case Announce(state):
                self._announce(state)
            case Dispose(reason, _):
                self._dispose(reason)

    async def _call(self, call: int) -> None:
        status = await self._host.ask_to_connect(self.record, self.user)
        self._shell.post(Called(call, 200 <= status < 300, refused=status == REFUSED))

    def note_wrong_key(self) -> None:
        """A socket has shown another API key for this app. That cannot end the app; if the app does not come, this
        is the better reason."""
        self._wrong_key = True

    def _adopt(self, connection: AppConnection, resumed: bool) -> None:
        self._socket = connection
        connection.send(
            wire.ConnectionAck(
                session_id=connection.session_id,
                settings=self._settings,
                mentraos_settings=self._phone_settings,
                augmentos_settings=self._phone_settings,
                capabilities=self._owner.devices.glasses.capabilities,
                subscriptions=tuple(self._owner.subscriptions_of(self)),
                resumed=resumed,
                cloud=self._host.id,
                pings=True,
                timestamp=iso_now(),
            )
        )
        for message in self._owner.devices.greeting():
            connection.send(message)
        lost_at, self._lost_at = self._lost_at or self._clock(), None
        for at, result in self._results:
            if at >= lost_at - KEEP:
                connection.send(result)
        connection.listen(self._hear, self._allowance, self._take)

    async def _see_off(self, connection: AppConnection) -> None:
        """The app closes what it has released. The original's SDK takes a clean close of ours for the end of the
        session, so it gets some time."""
        await asyncio.sleep(RELEASED)
        connection.close(LIVES_ON, "released")

    def _announce(self, state: AppState) -> None:
        if state is not AppState.RUNNING:
            self._socket = None
            self._lost_at = self._lost_at or self._clock()
        elif not self.outcome.done():
            self.outcome.set_result(None)
            self._owner.tell_phone(AppStarted(package_name=self.package, timestamp=iso_now()))
        self._tell_state(state)

    def introduce(self) -> None:
        """Tells the phone how the app is."""
        if self.state is not AppState.ABSENT:
            self._tell_state(self.state)

    def _tell_state(self, state: AppState) -> None:
        self._owner.tell_phone(AppStateChange(package_name=self.package, state=state.shown, timestamp=iso_now()))

    def _dispose(self, reason: StopReason) -> None:
        if self._disposed:
            return
        self._disposed = True
        self._socket = None
        if reason is StopReason.NEVER_CAME and self._wrong_key:
            reason = StopReason.WRONG_KEY
        self._shell.stop()
        if reason is StopReason.MOVING:
            self._playbacks.leave()
        else:
            self._playbacks.stop_all()
        self._host.streams.end(self)
        for connection in self._connections.values():
            if reason.told:
                connection.send(
                    wire.AppStopped(
                        session_id=connection.session_id, reason=reason.code, message=reason.text, timestamp=iso_now()
                    )
                )
            connection.close(CloseCode.NORMAL if reason.told else LIVES_ON, reason.text)
        if reason.told:
            self._host.tell_stopped(self.record, self.user, reason.code)
        error = None if reason is StopReason.USER else reason.text
        self._owner.tell_phone(
            AppStopped(package_name=self.package, reason=reason.code, error=error, timestamp=iso_now())
        )
        if not self.outcome.done():
            self.outcome.set_result(reason)
        self._owner.drop(self)

    def _note(self, record: Record[AppState]) -> None:
        self._log.info("app", socket=record.generation, **record.fields)

    def _take(self, connection: AppConnection, piece: bytes) -> None:
        """A binary frame: something of a sound that the app makes."""
        if connection is not self._socket:
            return
        try:
            self._host.streams.write(self, piece)
        except Rejected as error:
            connection.complain(error.rejection, **error.values)

    def _begin_stream(self, connection: AppConnection, id_: str) -> None:
        try:
            url = f"{self._host.http_url}{SOUNDS_PATH}/{self._host.streams.open(self, id_)}"
        except Rejected as error:
            kind = str(wire.AudioStreamStart.__struct_config__.tag)
            connection.send(refusal(kind, id_, wire.error_code(error.code), str(error)))
        else:
            connection.send(wire.AudioStreamReady(stream_id=id_, stream_url=url, timestamp=iso_now()))

    def _refuse_photo(self, request_id: str) -> None:
        """No photo is taken here. Version 3 of the original's SDK hears it on its socket, version 2 at its server."""
        code, why = wire.ErrorCode.NOT_SUPPORTED, "this cloud does not serve photo_request"
        self.answer(
            wire.PhotoResponse(request_id=request_id, success=False, error=wire.Failure(code, why), timestamp=iso_now())
        )
        self._host.tell(
            self.record, self.user, wire.PhotoError(request_id=request_id, error_code=code, error_message=why)
        )

    # ---- what the app says

    def _hear(self, connection: AppConnection, message: wire.FromApp) -> None:
        """Messages of a superseded socket are ignored. The socket is authenticated: names in a message do not count."""
        if connection is not self._socket:
            return
        match message:
            case wire.SubscriptionUpdate(subscriptions=asked, request_id=request_id):
                names = [item if isinstance(item, str) else item.stream for item in asked]
                self._owner.subscribe(self, names, request_id)
            case wire.DisplayRequest():
                self._owner.tell_phone(
                    DisplayEvent(
                        view=message.view,
                        layout=message.layout,
                        package_name=self.package,
                        duration_ms=message.duration_ms,
                        timestamp=iso_now(),
                    )
                )
            case wire.DashboardContentUpdate(content=content):
                self._owner.tell_phone(
                    DisplayEvent(
                        view="dashboard", layout=TextWall(content), package_name=self.package, timestamp=iso_now()
                    )
                )
            case wire.LocationPollRequest():
                self._tasks.spawn(self._owner.devices.locate(self, message), "locate")
            case wire.AudioStreamStart(stream_id=stream_id):
                self._begin_stream(connection, stream_id)
            case wire.AudioStreamEnd(stream_id=stream_id):
                self._host.streams.end(self, stream_id)
            case wire.PhotoRequest(request_id=request_id):
                self._refuse_photo(request_id)
            case wire.AudioPlayRequest():
                self._playbacks.play(message)
            case wire.AudioStopRequest():
                self._playbacks.stop(message)
            case wire.OwnershipRelease(reason=reason):
                self._log.info("app released", reason=reason)
                self._shell.post(Released(connection.number))
                self._tasks.spawn(self._see_off(connection), f"released-{connection.number}")
