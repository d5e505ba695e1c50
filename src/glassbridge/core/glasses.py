"""What is known of a user's glasses, and what glasses of a model can do.

The phone tells parts of it in several ways, and only what has changed; apps are told what has changed by what the phone
said. Glasses that are not connected have no capabilities.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Capabilities = dict[str, Any]
"""In the original's form: for each part of the hardware whether it is there (`hasCamera`) and what it can do."""

PARTS: Final = ("camera", "display", "microphone", "speaker", "imu", "button", "light")
_FLAGS: Final = {part: f"has{'IMU' if part == 'imu' else part.title()}" for part in PARTS}


def _model(name: str, *, wifi: bool = False, **parts: dict[str, Any] | None) -> Capabilities:
    """A part that is named is there; None: nothing more can be said about it."""
    told: Capabilities = {"modelName": name, "hasWifi": wifi, "power": {"hasExternalBattery": False}}
    for part in PARTS:
        told |= {_FLAGS[part]: part in parts, part: parts.get(part)}
    return told


def _size(width: int, height: int) -> dict[str, int]:
    return {"width": width, "height": height}


def _green_display(count: int, size: tuple[int, int], degrees: int, lines: int, *, pictures: bool) -> dict[str, Any]:
    return {
        "count": count, "isColor": False, "color": "green", "canDisplayBitmap": pictures, "resolution": _size(*size),
        "fieldOfView": {"horizontal": degrees}, "maxTextLines": lines, "adjustBrightness": True,
    }  # fmt: skip


def _button(*events: str) -> dict[str, Any]:
    return {"count": 1, "buttons": [{"type": "press", "events": list(events), "isCapacitive": False}]}


def _light(id_: str, color: str, position: str) -> dict[str, Any]:
    return {"id": id_, "purpose": id_, "isFullColor": color == "rgb", "color": color, "position": position}


_MICROPHONE: Final = {"count": 1, "hasVAD": False}
_SPEAKER: Final = {"count": 1, "isPrivate": False}
_SMALL_DISPLAY: Final = _green_display(1, (640, 480), 30, 7, pictures=False)
_VIDEO: Final = {
    "canRecord": True, "canStream": True, "supportedStreamTypes": ["rtmp"],
    "supportedResolutions": [_size(1920, 1080), _size(1280, 720), _size(640, 480)],
}  # fmt: skip
MODELS: Final[dict[str, Capabilities]] = {
    model["modelName"]: model
    for model in (
        _model(
            "Even Realities G1",
            display=_green_display(2, (640, 200), 25, 5, pictures=True),
            microphone=_MICROPHONE,
            imu=None,
        ),
        _model(
            "Mentra Live",
            wifi=True,
            camera={"resolution": _size(1920, 1080), "hasHDR": False, "hasFocus": True, "video": _VIDEO},
            microphone=_MICROPHONE | {"hasVAD": True},
            speaker=_SPEAKER,
            imu={"axisCount": 6, "hasAccelerometer": True, "hasCompass": False, "hasGyroscope": True},
            button=_button("press", "double_press", "long_press"),
            light={
                "count": 2,
                "lights": [
                    _light("privacy", "white", "front_facing"),
                    _light("user_feedback", "rgb", "user_facing"),
                ],
            },
        ),
        _model(
            "Simulated Glasses",
            display=_SMALL_DISPLAY,
            microphone=_MICROPHONE,
            speaker=_SPEAKER,
            button=_button("press"),
        ),
        _model("Vuzix Z100", display=_SMALL_DISPLAY),
    )
}  # fmt: skip


@dataclass(slots=True)
class Glasses:
    """Of one user. The names are those of the original's messages."""

    state: dict[str, Any] = field(default_factory=dict)

    def learn(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What is new in it."""
        told = dict(told)
        if "modelName" in told and "connected" not in told:  # the original's phones leave it to the cloud
            told["connected"] = bool(told["modelName"])
        changed = {name: value for name, value in told.items() if self.state.get(name) != value}
        self.state |= changed
        return changed

    @property
    def connected(self) -> bool:
        return self.state.get("connected") is True

    @property
    def model(self) -> str | None:
        """Of the glasses that are connected."""
        name = self.state.get("modelName")
        return name if self.connected and isinstance(name, str) and name else None

    @property
    def capabilities(self) -> Capabilities | None:
        """None: no glasses are connected, or the abilities of this model are unknown."""
        return MODELS.get(self.model or "")
