"""What a cloud is told about its apps when it starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassbridge.core.allowance import Rate
from glassbridge.core.app_times import TIMES, AppTimes


@dataclass(frozen=True, slots=True)
class SocketRates:
    """What one peer may send on its sockets each second; four times as much at once (cloud/websocket.py)."""

    messages: float
    """WebSocket frames: pings and fragments count, too."""
    size: float
    """Bytes."""


PHONE_RATES: Final = SocketRates(1_000, 1 << 20)
"""Audio in frames of 10 ms, live and replayed at four times real time, is 500 messages and 220 KiB."""
APP_RATES: Final = SocketRates(100, 512 << 10)
STARTS, STARTS_OF_ONE = Rate(1.0, 64), Rate(0.2, 10)
STORAGE_OF_ONE: Final = Rate(100 / 60, 100)
SPEECH_OF_USER, SPEECH_OF_APP = Rate(1.0, 20), Rate(20.0, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppsConfig:
    """Times in seconds."""

    public_url: str = ""
    """Where apps find this cloud, such as https://cloud.example.com; empty: on this machine."""
    times: AppTimes = TIMES
    webhook_timeout: float = 10.0
    """For the answer; the connection has to stand within `times.dial`."""
    rates: SocketRates = APP_RATES
    """Of one app of one user."""
    unsigned_per_address: int = 128
    """Sockets of one address that have not said yet who they are: each takes 16 to 20 KB."""
    starts: Rate = STARTS
    """Starts of apps by one user: as many at once as run at once, and so many a second."""
    starts_of_one: Rate = STARTS_OF_ONE
    """Starts of one app by one user. Each start and each stop is a webhook."""
    speech_of_user: Rate = SPEECH_OF_USER
    """Texts spoken for one user, or for one user of one app."""
    speech_of_app: Rate = SPEECH_OF_APP
    """Texts spoken for one app, of all users together."""
    sounds_of_app: int = 32 << 20
    """Bytes of sounds of one app that are kept, and that may be on their way."""
    sounds_of_all: int = 64 << 20
    store: Path | None = None
    """File of users' settings and of what apps store; None: in memory."""
    store_bytes: int = 1 << 30
    storage_of_one: Rate = STORAGE_OF_ONE
    """Requests about what one app stores for one user."""
    play_start: float = 20.0
    """How long a bridge may take to begin a playback."""
