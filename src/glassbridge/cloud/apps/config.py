"""What a cloud is told about its apps when it starts."""

from dataclasses import dataclass

from glassbridge.core.app_session import TIMES, AppTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class AppsConfig:
    """Times in seconds."""

    public_url: str = ""
    """Where apps find this cloud, such as https://cloud.example.com; empty: on this machine."""
    times: AppTimes = TIMES
    webhook_timeout: float = 10.0
    play_start: float = 20.0
    """How long a bridge may take to begin a playback."""
