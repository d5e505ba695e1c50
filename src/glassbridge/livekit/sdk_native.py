"""What reaches below the surface of the official SDK (livekit 1.2.0, pinned): logs, errors, signs of life."""

import os
from collections.abc import Iterator
from typing import Any

from livekit import rtc
from livekit.rtc import _ffi_client

from glassbridge.core.values import LossReason
from glassbridge.livekit.participant import ParticipantError

_FAILURES: tuple[tuple[str, LossReason, str], ...] = (
    ("identity length", LossReason.LIMIT_EXCEEDED, "the identity is longer than LiveKit allows"),
    ("room name length", LossReason.LIMIT_EXCEEDED, "the room's name is longer than LiveKit allows"),
    ("max participants", LossReason.LIMIT_EXCEEDED, "the room is full"),
    ("token is expired", LossReason.TOKEN_EXPIRED, ""),
    ("401", LossReason.TOKEN_REFUSED, ""),
    ("403", LossReason.TOKEN_REFUSED, "it does not allow to join this room"),
    ("400", LossReason.TOKEN_REFUSED, "the token names no room, or a room that cannot be"),
    ("404", LossReason.UNREACHABLE, "it answers 404: no LiveKit at this path, or no such room"),
    ("refused", LossReason.UNREACHABLE, "connection refused"),
    ("pc_connection", LossReason.MEDIA_FAILED, "no media path to the server"),
    ("url", LossReason.UNREACHABLE, "the LiveKit URL has to look like wss://host or ws://host:7880"),
)
"""What is looked for in the text of a ConnectError, in this order: reason and our own words for it."""


class _WithoutLogs:
    """The library's initialiser, asked for no logs: formatting them for Python is a fifth of its CPU (numbers.md)."""

    def __init__(self, native: Any) -> None:
        self._native = native

    @property
    def argtypes(self) -> Any:
        return self._native.argtypes

    @argtypes.setter
    def argtypes(self, types: Any) -> None:
        self._native.argtypes = types

    def __call__(self, callback: Any, capture_logs: bool, name: bytes, version: bytes) -> Any:
        return self._native(callback, False, name, version)


def quieten() -> None:
    """Starts the native library without log capture; too late, at a cost in CPU only, once it was started elsewhere.

    Uncaptured it would write to stderr itself, and what it says of a refused join holds the token: so not even that.
    """
    if _ffi_client.FfiClient._instance is not None:
        return
    load, level = _ffi_client.get_ffi_lib, os.environ.get("RUST_LOG")

    def load_quietly() -> Any:
        library: Any = load()
        library.livekit_ffi_initialize = _WithoutLogs(library.livekit_ffi_initialize)
        return library

    _ffi_client.get_ffi_lib = load_quietly
    os.environ["RUST_LOG"] = "off"
    try:
        _ = _ffi_client.FfiClient.instance
    finally:
        _ffi_client.get_ffi_lib = load
        del os.environ["RUST_LOG"]
        if level is not None:
            os.environ["RUST_LOG"] = level


def connect_failure(error: rtc.ConnectError) -> ParticipantError:
    """Our own words for a failed connect: the SDK's can hold the whole token (traps B10)."""
    text = error.message.lower()
    for mark, reason, detail in _FAILURES:
        if mark in text:
            return ParticipantError(reason, detail)
    return ParticipantError(LossReason.UNREACHABLE, "the SDK could not connect")


def life_signs(stats: rtc.RtcStats) -> int:
    """A number that grows whenever anything has come over a media path, keep-alives included."""

    def pairs() -> Iterator[Any]:
        for entry in (*stats.publisher_stats, *stats.subscriber_stats):
            if entry.WhichOneof("stats") == "candidate_pair":
                yield entry.candidate_pair.candidate_pair

    return sum(pair.packets_received + pair.requests_received + pair.responses_received for pair in pairs())
