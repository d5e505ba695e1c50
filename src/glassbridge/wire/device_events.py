"""What phone and glasses tell apps beside audio, with the original's type and field names: on the phone's socket, and
as what a data_stream carries."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from glassbridge.wire.codec import Message, Name, Text, Timestamp, Word

Level = Annotated[float, Meta(ge=-1, le=100)]
"""Percent; -1: not known."""


class DeviceEvent(Message, frozen=True, kw_only=True):
    """Base of all: handed on to the apps that listen to the stream of the same name."""


class ButtonPress(DeviceEvent, tag="button_press", frozen=True, kw_only=True):
    """A button of the glasses; `short` or `long`."""

    button_id: Name
    press_type: Word = "short"
    timestamp: Timestamp = None


class HeadPosition(DeviceEvent, tag="head_position", frozen=True, kw_only=True):
    """`up` or `down`."""

    position: Word
    timestamp: Timestamp = None


class TouchEvent(DeviceEvent, tag="touch_event", frozen=True, kw_only=True, rename=None):
    """A gesture on the glasses, such as `double_tap`."""

    device_model: Name = ""
    gesture_name: Word
    timestamp: Timestamp = None


class GlassesBattery(DeviceEvent, tag="glasses_battery_update", frozen=True, kw_only=True, omit_defaults=False):
    """How full the glasses are."""

    level: Level
    charging: bool = False
    time_remaining: float | None = None
    """Minutes."""
    timestamp: Timestamp = None


class PhoneBattery(DeviceEvent, tag="phone_battery_update", frozen=True, kw_only=True, omit_defaults=False):
    """How full the phone is."""

    level: Level
    charging: bool = False
    time_remaining: float | None = None
    """Minutes."""
    timestamp: Timestamp = None


class Location(DeviceEvent, tag="location_update", frozen=True, kw_only=True):
    """Where the phone is, in degrees."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lng: Annotated[float, Meta(ge=-180, le=180)]
    accuracy: float | None = None
    """Meters."""
    correlation_id: Name | None = None
    """Of the app's request that this answers."""
    timestamp: Timestamp = None


class CalendarEvent(DeviceEvent, tag="calendar_event", frozen=True, kw_only=True, omit_defaults=False):
    """An entry of the user's calendar; times in ISO 8601."""

    event_id: Name
    title: Text = ""
    dt_start: Word = ""
    dt_end: Word = ""
    timezone: Word = ""
    time_stamp: Word = ""
    timestamp: Timestamp = None


class PhoneNotification(DeviceEvent, tag="phone_notification", frozen=True, kw_only=True, omit_defaults=False):
    """Something that the phone shows its user."""

    notification_id: Name
    app: Name = ""
    title: Text = ""
    content: Text = ""
    priority: Word = "normal"
    """low, normal or high."""
    timestamp: Timestamp = None


class PhoneNotificationDismissed(
    DeviceEvent, tag="phone_notification_dismissed", frozen=True, kw_only=True, omit_defaults=False
):
    """The user has put it away."""

    notification_id: Name
    app: Name = ""
    title: Text = ""
    content: Text = ""
    notification_key: Name = ""
    timestamp: Timestamp = None


DeviceEvents = (
    ButtonPress
    | HeadPosition
    | TouchEvent
    | GlassesBattery
    | PhoneBattery
    | Location
    | CalendarEvent
    | PhoneNotification
    | PhoneNotificationDismissed
)


class GlassesInfo(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """State of the glasses, or what has changed of it. The original's phones say more: serial numbers and the password
    of a hotspot are not for apps."""

    connected: bool | msgspec.UnsetType = msgspec.UNSET
    model_name: Name | msgspec.UnsetType | None = msgspec.UNSET
    wifi_connected: bool | msgspec.UnsetType = msgspec.UNSET
    wifi_ssid: Name | msgspec.UnsetType | None = msgspec.UNSET
    wifi_local_ip: Word | msgspec.UnsetType | None = msgspec.UNSET
    battery_level: Level | msgspec.UnsetType | None = msgspec.UNSET
    charging: bool | msgspec.UnsetType | None = msgspec.UNSET
    case_battery_level: Level | msgspec.UnsetType | None = msgspec.UNSET
    case_charging: bool | msgspec.UnsetType | None = msgspec.UNSET
    case_open: bool | msgspec.UnsetType | None = msgspec.UNSET
    case_removed: bool | msgspec.UnsetType | None = msgspec.UNSET
    hotspot_enabled: bool | msgspec.UnsetType | None = msgspec.UNSET
    hotspot_ssid: Name | msgspec.UnsetType | None = msgspec.UNSET

    def told(self) -> dict[str, Any]:
        """What it says, by the original's names."""
        names = zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True)
        return {name: value for name, field in names if (value := getattr(self, field)) is not msgspec.UNSET}
