"""The news of phone and glasses for one user's apps, beside audio: events, state, and the phone's location."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from glassbridge.cloud.apps.connection import data_stream
from glassbridge.cloud.apps.unserved import refusal
from glassbridge.cloud.clock import iso_now
from glassbridge.core.glasses import Glasses
from glassbridge.core.subscriptions import STREAMS, Permission, Stream, Subscriptions
from glassbridge.wire import apps as wire
from glassbridge.wire.codec import Message
from glassbridge.wire.device_events import DeviceEvent, GlassesBattery, GlassesInfo, Location, TouchEvent
from glassbridge.wire.phone import GlassesConnectionState, RequestSingleLocation, SetLocationTier

STATES: Final = (
    Stream.GLASSES_CONNECTION_STATE,
    Stream.GLASSES_BATTERY,
    Stream.PHONE_BATTERY,
    Stream.HEAD_POSITION,
    Stream.LOCATION,
)
"""Streams whose newest message is still true: an app that begins to listen is told it."""
PHONE_ANSWERS: Final = 12.0
"""Seconds in which a phone says where it is; the original's SDK waits for 15."""
MAX_POLLS: Final = 32
"""Such requests of all apps of a user at a time."""


class App(Protocol):
    """One that asks."""

    @property
    def package(self) -> str: ...

    @property
    def session_id(self) -> str: ...

    @property
    def permissions(self) -> frozenset[Permission]: ...

    def answer(self, message: Message) -> None: ...


class Apps(Protocol):
    """All of the user."""

    def relay(self, stream: Stream, data: Message, *languages: str) -> None: ...

    def tell_all(self, message: Message) -> None: ...


class Devices:
    """Owned by the user's apps."""

    __slots__ = ("_apps", "_located", "_newest", "_phone", "_polls", "_subscriptions", "glasses")

    def __init__(self, subscriptions: Subscriptions, apps: Apps, phone: Callable[[Message], None]) -> None:
        self.glasses = Glasses()
        self._subscriptions = subscriptions
        self._apps = apps
        self._phone = phone
        self._newest: dict[Stream, Message] = {}
        self._located = False
        """Apps want to know where the phone is, as it was told."""
        self._polls: dict[str, asyncio.Future[None]] = {}

    # ---- what the phone says

    def event(self, event: DeviceEvent) -> None:
        """Something has happened."""
        stream = STREAMS[str(event.__struct_config__.tag)]
        if stream in STATES:
            self._newest[stream] = event
        self._apps.relay(stream, event, *((event.gesture_name,) if isinstance(event, TouchEvent) else ()))
        match event:
            case GlassesBattery(level=level, charging=charging):
                self.learn(GlassesInfo(battery_level=level, charging=charging))
            case Location(correlation_id=str(poll)) if (asked := self._polls.get(poll)) and not asked.done():
                asked.set_result(None)

    def connection(self, told: GlassesConnectionState) -> None:
        """The glasses have come or gone."""
        self._newest[Stream.GLASSES_CONNECTION_STATE] = told
        self._apps.relay(Stream.GLASSES_CONNECTION_STATE, told)
        here = told.status.upper() in ("CONNECTED", "RECONNECTED")
        info = GlassesInfo(connected=here)
        if here and told.model_name:
            info = GlassesInfo(connected=here, model_name=told.model_name)
        self.learn(info)
        if told.wifi is not None:
            self.learn(GlassesInfo(wifi_connected=told.wifi.connected, wifi_ssid=told.wifi.ssid))

    def learn(self, told: GlassesInfo) -> None:
        """The apps are told what is new."""
        before = self.glasses.model
        if changed := self.glasses.learn(told.told()):
            self._apps.tell_all(wire.DeviceStateUpdate(state=changed, timestamp=iso_now()))
        if self.glasses.model != before:
            self._apps.tell_all(
                wire.CapabilitiesUpdate(
                    capabilities=self.glasses.capabilities, model_name=self.glasses.model, timestamp=iso_now()
                )
            )

    # ---- what apps are told and ask

    def greeting(self) -> Iterator[Message]:
        """For an app that has come."""
        if self.glasses.state:
            yield wire.DeviceStateUpdate(state=self.glasses.state, full_snapshot=True, timestamp=iso_now())

    def heard_by(self, package: str) -> frozenset[Stream]:
        """Those of the states that this app listens to."""
        return frozenset(stream for stream in STATES if package in self._subscriptions.listeners(stream))

    def catch_up(self, app: App, before: frozenset[Stream]) -> None:
        """It is told the present state of the streams that it has begun to listen to."""
        for stream in STATES:
            known = self._newest.get(stream)
            if known is not None and stream not in before and stream in self.heard_by(app.package):
                app.answer(data_stream(app.session_id, known))

    def wanted(self) -> None:
        """The apps listen to something else than before."""
        located = bool(self._subscriptions.listeners(Stream.LOCATION))
        if located != self._located:
            self._located = located
            self._phone(SetLocationTier(tier="standard" if located else "reduced", timestamp=iso_now()))

    def phone_came(self) -> None:
        """A phone is here, perhaps another one."""
        if self._located:
            self._phone(SetLocationTier(tier="standard", timestamp=iso_now()))

    async def locate(self, app: App, asked: wire.LocationPollRequest) -> None:
        """Asks the phone where it is. Its answer goes to those that listen to locations, among which is the app that
        asks; what is in the way is told to the app."""
        poll, kind = asked.correlation_id, str(asked.__struct_config__.tag)

        def refuse(code: wire.ErrorCode, why: str) -> None:
            app.answer(refusal(kind, poll, code, f"{kind}: {why}"))

        if not Stream.LOCATION.allowed(app.permissions):
            return refuse(wire.ErrorCode.PERMISSION_DENIED, f"the app lacks the permission {Permission.LOCATION.value}")
        if len(self._polls) >= MAX_POLLS or poll in self._polls:
            return refuse(wire.ErrorCode.RATE_LIMITED, "the phone is being asked already")
        answered = self._polls[poll] = asyncio.get_running_loop().create_future()
        try:
            self._phone(RequestSingleLocation(accuracy=asked.accuracy, correlation_id=poll, timestamp=iso_now()))
            async with asyncio.timeout(PHONE_ANSWERS):
                await answered
        except TimeoutError:
            refuse(wire.ErrorCode.NOT_AVAILABLE, "the phone does not say where it is")
        finally:
            del self._polls[poll]
