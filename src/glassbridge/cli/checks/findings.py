"""What checks look at, and what they say of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from secrets import token_hex
from typing import Final

import aiohttp

from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.settings import Settings

TIMEOUT: Final = 5.0
"""Seconds for each question."""


def new_session() -> aiohttp.ClientSession:
    """For the questions; through the proxies that the environment names. Call it in an event loop."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=True)


class FindingState(StrEnum):
    """Only a failure makes the exit status 1."""

    WELL = "well"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    state: FindingState
    text: str
    advice: str = ""
    """What to do; empty when there is nothing to do."""
    code: str = ""
    """Which of the troubles of the catalogue it is."""


@dataclass
class Patient:
    """What the checks look at, and what earlier ones learned for later ones."""

    settings: Settings
    cloud: str
    """Base URL of the cloud."""
    http: aiohttp.ClientSession
    subject: str = "the settings of this environment"
    """For people: whose settings these are."""
    unresolved: set[str] = field(default_factory=set)
    """Host names of settings that mean nothing here."""
    dates: dict[str, str] = field(default_factory=dict)
    """The Date header of those that have answered, by their name."""
    livekit_trouble: str = "LiveKit does not answer"
    """Why LiveKit cannot be asked more; empty: it can."""
    recogniser: tuple[str, int] | None = None
    """Its name, and how many streams it opens at once; None: it cannot be made, or none is wanted."""
    room: str = field(default_factory=lambda: f"glassbridge-doctor-{token_hex(4)}")

    @property
    def keys(self) -> LiveKitKeys:
        return LiveKitKeys(self.settings.livekit_api_key, self.settings.livekit_api_secret.get_secret_value())

    @property
    def livekit_http(self) -> str:
        url = self.settings.livekit_url
        return f"http{url.removeprefix('ws')}" if url.startswith("ws") else url


def well(text: str) -> Finding:
    return Finding(FindingState.WELL, text)


def skipped(text: str) -> Finding:
    return Finding(FindingState.SKIPPED, text)
