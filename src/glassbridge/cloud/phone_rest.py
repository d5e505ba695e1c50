"""What the original's phones say by REST that others say on their socket: state of the glasses, where the phone is,
calendar, notifications, the coding of their audio. Also which version of the phone's app is needed: none is."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
import structlog
from aiohttp import web
from msgspec import Meta

from glassbridge.cloud.answers import NoSession, refuse, success
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.body import read_body
from glassbridge.cloud.lc3 import LARGEST, SMALLEST, Decoder, NoLc3
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.core.values import UserId
from glassbridge.wire.device_events import (
    CalendarEvent,
    DeviceEvent,
    GlassesInfo,
    Location,
    PhoneNotification,
    PhoneNotificationDismissed,
)
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

MAX_BODY: Final = 64 << 10
BODY_TIME: Final = 15.0
MIN_VERSION: Final = {"required": "0.0.0", "recommended": "0.0.0"}


class _Coordinates(msgspec.Struct):
    latitude: float
    longitude: float
    accuracy: float | None = None


class _Measured(msgspec.Struct):
    """A location in the form of the phone's system."""

    coords: _Coordinates
    timestamp: float | None = None


class _Entry(msgspec.Struct, rename="camel"):
    """An entry of a calendar in the form of the phone's system."""

    id: str
    title: str = ""
    start_date: str = ""
    end_date: str = ""
    time_zone: str | None = None


_Event = dict[str, Any]
_Events = Annotated[list[_Event], Meta(max_length=100)]


class Lc3Config(msgspec.Struct, rename="camel"):
    """How LC3 is coded."""

    sample_rate: Literal[16_000] = 16_000
    frame_duration_ms: Literal[10] = 10
    frame_size_bytes: Annotated[int, Meta(ge=SMALLEST, le=LARGEST)] = 20


class AudioFormat(msgspec.Struct, rename="camel"):
    """What a phone says of its audio without numbers."""

    format: Literal["pcm", "lc3"]
    lc3_config: Lc3Config | None = None
    """None: the usual one, with 20 bytes a frame."""


class Sessions(Protocol):
    """Of this cloud."""

    def apps_of(self, user: UserId) -> UserApps | None: ...

    def unnumbered_of(self, user: UserId) -> Unnumbered | None: ...


class PhoneRoutes:
    """The handlers. `user_of` raises what the server answers 401 to."""

    def __init__(self, sessions: Sessions, user_of: Callable[[web.Request], Awaitable[UserId]]) -> None:
        self._sessions = sessions
        self._user_of = user_of

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_get("/api/client/min-version", self.min_version)
        router.add_post("/api/client/device/state", self.device_state)
        router.add_post("/api/client/audio/configure", self.audio_format)
        router.add_post("/api/client/location", self._handing_on(_location))
        router.add_post("/api/client/location/poll-response/{id}", self._handing_on(_location))
        router.add_post("/api/client/calendar", self._handing_on(_calendar))
        router.add_post("/api/client/notifications", self._handing_on(_notification))
        router.add_post("/api/client/notifications/dismissed", self._handing_on(_dismissed))

    async def min_version(self, _request: web.Request) -> web.Response:
        """Any version of the phone's app will do."""
        return success(MIN_VERSION)

    async def device_state(self, request: web.Request) -> web.Response:
        """What has changed of the glasses; apps are told. Answers what is known now."""
        user, body = await self._user_of(request), await read_body(request, most=MAX_BODY, within=BODY_TIME)
        if (apps := self._sessions.apps_of(user)) is None:
            raise NoSession
        try:
            told = msgspec.json.decode(body, type=GlassesInfo)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return refuse(Rejection.BODY_WRONG, form='an object such as {"modelName": "Mentra Live"}')
        apps.devices.learn(told)
        glasses = apps.devices.glasses
        applied = {
            "isGlassesConnected": glasses.connected,
            "isPhoneConnected": apps.phone_is_here,
            "modelName": glasses.model,
            "capabilities": glasses.capabilities,
        }
        return success(applied, beside={"appliedState": applied})

    async def audio_format(self, request: web.Request) -> web.Response:
        """The coding of what the phone sends from now on."""
        user, body = await self._user_of(request), await read_body(request, most=MAX_BODY, within=BODY_TIME)
        if (unnumbered := self._sessions.unnumbered_of(user)) is None:
            raise NoSession
        try:
            told = msgspec.json.decode(body, type=AudioFormat)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return refuse(Rejection.BODY_WRONG, form=f'{{"format": "pcm"}} or {{"format": "lc3", ...}} ({error})')
        coding = (told.lc3_config or Lc3Config()) if told.format == "lc3" else None
        try:
            unnumbered.configure(None if coding is None else Decoder(coding.frame_size_bytes))
        except NoLc3:
            return refuse(Rejection.LC3_MISSING)
        log.info("audio format", user_id=user, format=told.format, frame_size=coding and coding.frame_size_bytes)
        applied = AudioFormat(told.format, coding)
        return success(msgspec.to_builtins(applied), beside=msgspec.to_builtins(applied))

    def _handing_on(
        self, read: Callable[[Any, str | None], Iterable[DeviceEvent]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            user, body = await self._user_of(request), await read_body(request, most=MAX_BODY, within=BODY_TIME)
            if (apps := self._sessions.apps_of(user)) is None:
                raise NoSession
            try:
                events = list(read(msgspec.json.decode(body), request.match_info.get("id")))
            except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError):
                return refuse(Rejection.BODY_WRONG, form="what docs/protocol/openapi.json describes")
            for event in events:
                apps.devices.event(event)
            return success({"handedOn": len(events)})

        handle.__doc__ = read.__doc__
        return handle


def _location(body: Any, poll: str | None) -> Iterable[Location]:
    """Where the phone is: `{"lat", "lng", "accuracy"}`, as it is or under `location`, or in the form of the phone's
    system (`coords`)."""
    body = body.get("location", body) if isinstance(body, dict) else body
    if isinstance(body, dict) and "coords" in body:
        at = msgspec.convert(body, _Measured).coords
        body = {"lat": at.latitude, "lng": at.longitude, "accuracy": at.accuracy}
    yield msgspec.convert({**body, "type": "location_update"} | ({"correlationId": poll} if poll else {}), Location)


def _calendar(body: Any, _: str | None) -> Iterable[CalendarEvent]:
    """Entries of the user's calendar: one, or a list under `events`, in our form or that of the phone's system."""
    entries = body.get("events", [body]) if isinstance(body, dict) else body
    for entry in msgspec.convert(entries, _Events):
        if "eventId" in entry:
            yield msgspec.convert({**entry, "type": "calendar_event"}, CalendarEvent)
        else:
            found = msgspec.convert(entry, _Entry)
            yield CalendarEvent(
                event_id=found.id[:256],
                title=found.title[:8_192],
                dt_start=found.start_date[:64],
                dt_end=found.end_date[:64],
                timezone=(found.time_zone or "")[:64],
            )


def _notification(body: Any, _: str | None) -> Iterable[PhoneNotification]:
    """Something that the phone shows its user."""
    yield msgspec.convert({**body, "type": "phone_notification"}, PhoneNotification)


def _dismissed(body: Any, _: str | None) -> Iterable[PhoneNotificationDismissed]:
    """A notification that the user has put away."""
    yield msgspec.convert({**body, "type": "phone_notification_dismissed"}, PhoneNotificationDismissed)
