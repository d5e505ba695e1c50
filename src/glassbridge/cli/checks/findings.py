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


class State(StrEnum):
    """Only a failure makes the exit status 1."""

    WELL = "well"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    state: State
    text: str
    advice: str = ""
    """What to do; empty when there is nothing to do."""


@dataclass
class Patient:
    """What the checks look at, and what earlier ones learned for later ones."""

    settings: Settings
    cloud: str
    """Base URL of the cloud."""
    http: aiohttp.ClientSession
    keys: LiveKitKeys | None = None
    livekit_date: str = ""
    """The Date header of LiveKit's answer."""
    livekit_answers: bool = False
    keys_right: bool = False
    room: str = field(default_factory=lambda: f"glassbridge-doctor-{token_hex(4)}")

    @property
    def livekit_http(self) -> str:
        url = self.settings.livekit_url
        return f"http{url.removeprefix('ws')}" if url.startswith("ws") else url


def well(text: str) -> Finding:
    return Finding(State.WELL, text)


def warning(text: str, advice: str) -> Finding:
    return Finding(State.WARNING, text, advice)


def failed(text: str, advice: str) -> Finding:
    return Finding(State.FAILED, text, advice)


def skipped(text: str) -> Finding:
    return Finding(State.SKIPPED, text)
