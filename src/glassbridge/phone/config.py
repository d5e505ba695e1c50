"""What the phone simulator is told on its command line."""

from dataclasses import dataclass, field
from pathlib import Path

from glassbridge.core.values import Transport
from glassbridge.livekit.participant import ParticipantKind


@dataclass(frozen=True, slots=True)
class PhoneConfig:
    """One run of `glassbridge phone`; times in seconds unless named otherwise."""

    cloud: str
    """Base URL of a cloud: http(s)://host:port."""
    token: str = field(repr=False)
    """Core token."""
    wav: Path | None = None
    """What to speak; may be left out when commands come on standard input."""
    transport: Transport = Transport.DATA
    """How audio is sent. While the room is unavailable, it goes by the WebSocket."""
    numbered: bool = True
    """False: as the original's phones send it. A track carries no numbers."""
    opus: bool = True
    """False: audio is sent as PCM whatever the network is like, so that every bit of it arrives."""
    participant: ParticipantKind = "own"
    frame_ms: int = 100
    """Milliseconds of audio in one frame, 20 to 100."""
    loop: bool = False
    """Speak the clip again and again, until interrupted."""
    json: bool = False
    """One object a line, instead of text for people."""
    control: bool = False
    """Keep running and take commands on standard input."""
    apps: tuple[str, ...] = ()
    """Package names of apps to start."""
    hear: Path | None = None
    """Where the sound that a person would hear is written at the end, as WAV."""
    deadline: float = 30.0
    """How long to wait for a way for the audio before speaking, and for the captions after it."""
