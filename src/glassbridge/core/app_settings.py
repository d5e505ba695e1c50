"""Settings of an app: what its maker lets users choose, and what a user has chosen.

A schema is a list in the original's form: `{"key": "size", "type": "slider", "label": "Size", "min": 1, "max": 9,
"defaultValue": 5}`. Groups and titles have no key and hold nothing. What no longer fits the schema counts for nothing:
the default does.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

Setting = dict[str, Any]
Schema = tuple[Setting, ...]
MAX_SETTINGS: Final = 64
MAX_SCHEMA: Final = 32 << 10
"""Bytes as JSON."""
MAX_VALUES: Final = 32 << 10
"""Bytes of what a user has chosen for one app, as JSON."""
SHOWN_OF_SYSTEM: Final = frozenset(
    [
        "alwaysOnStatusBar",
        "autoBrightness",
        "brightness",
        "bypassAudioEncoding",
        "bypassVad",
        "contextualDashboard",
        "dashboardDepth",
        "dashboardHeight",
        "enforceLocalTranscription",
        "headUpAngle",
        "metricSystemEnabled",
        "sensingEnabled",
        "useOnboardMic",
        "userTimezone",
        "always_on_status_bar",
        "auto_brightness",
        "bypass_vad",
        "contextual_dashboard",
        "dashboard_depth",
        "dashboard_height",
        "head_up_angle",
        "metric_system",
        "preferred_mic",
        "sensing_enabled",
        "time_zone",
        "timezone",
    ]
)
"""Settings of the phone that apps are told; its others are private."""


def _number(value: object, setting: Setting) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return bool(setting.get("min", value) <= value <= setting.get("max", value))


def _options(setting: Setting) -> list[Any]:
    return [option["value"] for option in setting["options"]]


def _text(value: object, _: Setting) -> bool:
    return isinstance(value, str)


def _one(value: object, setting: Setting) -> bool:
    return value in _options(setting)


def _several(value: object, setting: Setting) -> bool:
    return isinstance(value, list) and all(one in _options(setting) for one in value)


_FITS: Final[dict[str, Callable[[Any, Setting], bool]]] = {
    "toggle": lambda value, _: isinstance(value, bool),
    "text": _text,
    "text_no_save_button": _text,
    "select": _one,
    "select_with_search": _one,
    "multiselect": _several,
    "slider": _number,
    "numeric_input": _number,
    "time_picker": _number,
}
_CHOICES: Final = frozenset({"select", "select_with_search", "multiselect"})
_SHOWN_ONLY: Final = {"group": "title", "titleValue": "label"}
"""Types without a value of the user, and what they need."""


def check_schema(found: object) -> Schema:
    """Raises ValueError, whose text is for the app's maker."""
    if not isinstance(found, list | tuple) or len(found) > MAX_SETTINGS:
        raise ValueError(f"settings are a list of at most {MAX_SETTINGS}")
    keys: set[str] = set()
    for setting in found:
        kind = setting.get("type") if isinstance(setting, dict) else None
        if kind in _SHOWN_ONLY:
            if not isinstance(setting.get(_SHOWN_ONLY[kind]), str):
                raise ValueError(f"a setting of the type {kind} has a {_SHOWN_ONLY[kind]}")
            continue
        if kind not in _FITS:
            raise ValueError(f"a setting has one of the types {', '.join([*_FITS, *_SHOWN_ONLY])}")
        key = setting.get("key")
        if not isinstance(key, str) or not 0 < len(key) <= 128 or key in keys:
            raise ValueError("each setting has a key of its own")
        keys.add(key)
        _check(setting, key, kind)
    return tuple(found)


def _check(setting: Setting, key: str, kind: str) -> None:
    if kind in _CHOICES:
        options = setting.get("options")
        if not isinstance(options, list) or not all(
            isinstance(one, dict) and one.get("value") is not None for one in options
        ):
            raise ValueError(f'{key}: its options look like [{{"label": "Small", "value": "small"}}]')
    if any(name in setting and not isinstance(setting[name], int | float) for name in ("min", "max")):
        raise ValueError(f"{key}: min and max are numbers")
    if setting.get("defaultValue") is not None and not _FITS[kind](setting["defaultValue"], setting):
        raise ValueError(f"{key}: its defaultValue is not one of its values")


def fits(schema: Iterable[Setting], key: str, value: object) -> bool:
    """Whether a user may choose this."""
    return any(
        setting.get("key") == key and setting["type"] in _FITS and _FITS[setting["type"]](value, setting)
        for setting in schema
    )


def chosen(schema: Iterable[Setting], values: Mapping[str, object]) -> Schema:
    """The schema, each setting with its `value`."""
    told = []
    for setting in schema:
        if setting["type"] in _FITS:
            key = setting["key"]
            value = values[key] if key in values and fits([setting], key, values[key]) else setting.get("defaultValue")
            told.append({**setting, "value": value})
        else:
            told.append(setting)
    return tuple(told)


def shown(system: Mapping[str, object]) -> dict[str, object]:
    """What apps are told of the phone's own settings."""
    return {key: value for key, value in system.items() if key in SHOWN_OF_SYSTEM}
