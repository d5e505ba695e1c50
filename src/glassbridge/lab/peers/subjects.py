"""Systems that hear a phone through LiveKit, and how each is run here."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Subject:
    """One system, and the way that the phone's audio takes."""

    name: str
    way: str
    """track or data."""
    python: str = ""
    """Its environment (venvs.py); empty: it is ours."""
    ear: str = ""
    """Its program."""
    ready: str = ""
    """What it writes when it can hear."""

    @property
    def key(self) -> str:
        """Name of its room, and of its user."""
        return f"{self.name}-{self.way}"


SUBJECTS: Final = (
    Subject("glassbridge", "data"),
    Subject("glassbridge", "track"),
    Subject("sdk", "data", "sdk", "ear_bare", "ready"),
    Subject("sdk", "track", "sdk", "ear_bare", "ready"),
    Subject("livekit-agents", "track", "agents", "ear_agents", "registered worker"),
    Subject("pipecat", "track", "pipecat", "ear_pipecat", "ready"),
)
"""livekit-agents and pipecat make no audio of data packets."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """Something that befalls all of them at the same moment."""

    name: str
    words: str
    seconds: float
    """How long it lasts; 0: a moment."""


FAULTS: Final = (
    FaultKind("cut3", "phone without a network for 3 s", 3.0),
    FaultKind("cut10", "phone without a network for 10 s", 10.0),
    FaultKind("kill", "`kill -9` of the process that hears", 0.0),
    FaultKind("livekit", "LiveKit killed, back after 3 s", 3.0),
)
