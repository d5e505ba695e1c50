"""What the simulator prints: one JSON object a line for programs, readable lines for people."""

import json
import sys
from dataclasses import asdict
from time import monotonic
from typing import Any, TextIO

from glassbridge.phone import events
from glassbridge.phone.events import PhoneEvent

_NAMES: dict[type, str] = {
    events.Caption: "caption",
    events.CaptionGap: "caption_gap",
    events.Shown: "shown",
    events.AppChanged: "app",
    events.AudioStateChanged: "audio_state",
    events.Acknowledged: "ack",
    events.RoomChanged: "room",
    events.AgentChanged: "agent",
    events.Told: "told",
    events.AudioAcknowledged: "audio_ack",
    events.SocketChanged: "socket",
    events.SpeechEnded: "speech_end",
    events.MicrophoneAsked: "microphone",
    events.RoomSound: "heard",
    events.TrackReplaced: "track_replaced",
    events.CloudError: "cloud_error",
    events.Ended: "ended",
}


_GAPS = {
    "open": "{:.0f} s of what was said did not arrive; they are sent again",
    "filled": "the {:.0f} s that were missing have arrived",
    "kept": "{:.0f} s of what was said are lost",
}


class Report:
    """Writes each event as it comes, and flushes it. A reader that went away is noticed (`broken`), not raised."""

    def __init__(self, as_json: bool, out: TextIO | None = None) -> None:
        self.broken = False
        """There is no reader any more."""
        self._as_json = as_json
        self._line = ""
        """The last one for people: not said twice in a row."""
        self._out = out or sys.stdout

    def tell(self, event: PhoneEvent) -> None:
        """Something that happened to the phone."""
        if self._as_json:
            self.say(_NAMES[type(event)], **asdict(event))
        elif (line := readable(event)) is not None and line != self._line:
            self._line = line
            self._write(line)

    def say(self, name: str, line: str = "", **fields: Any) -> None:
        """Something of the simulator's own; `line` is what people read, nothing when empty."""
        if self._as_json:
            self._write(json.dumps({"event": name, **fields, "t": round(monotonic(), 4)}, ensure_ascii=False))
        elif line:
            self._line = line
            self._write(line)

    def _write(self, line: str) -> None:
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except (BrokenPipeError, ValueError):
            self.broken = True


def readable(event: PhoneEvent) -> str | None:
    """A line for people, None where they need none."""
    match event:
        case events.Caption(text, True):
            return f"  » {text}"
        case events.Shown(package, text) if text:
            return f"  {package.rpartition('.')[2]}: {text}"
        case events.CaptionGap(_, seconds, state):
            return f"captions: {_GAPS[state].format(seconds)}"
        case events.AppChanged(package, state, reason):
            return f"app: {package} {state} ({reason})" if reason else f"app: {package} {state}"
        case events.Told(situation, text):
            return text if situation != "ended" else None
        case events.AudioStateChanged("live", reason, code, hop=hop) if reason:
            return (
                f"captions: {reason}"
                if hop == "recogniser" or code == "recogniser_slow"
                else f"audio goes by the cloud's socket: {reason}"
            )
        case events.Acknowledged(_, resumed):
            return "session: resumed" if resumed else "session: new"
        case events.RoomChanged("joined" | "left" as state, room):
            return f"room: {state} {room}"
        case events.RoomChanged(state, _, reason):
            return f"room: {'lost' if state == 'lost' else 'cannot be joined'} ({reason})"
        case events.SocketChanged("open", cloud):
            return f"cloud: connected to {cloud}"
        case events.TrackReplaced(True):
            return "audio goes by the cloud's socket: the room is not to be had; the phone tries again"
        case events.TrackReplaced(False):
            return "audio goes by the room's track again"
        case events.MicrophoneAsked(on):
            return f"microphone: switched {'on' if on else 'off'} by the cloud"
        case events.CloudError(code, message):
            return f"cloud: {message} {code}".rstrip()
        case events.SpeechEnded(False):
            return "captions: not all that was said could be captioned"
    return None
