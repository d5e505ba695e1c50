"""The implementations of a participant by name; each is imported where it is asked for."""

from collections.abc import Awaitable, Callable

from glassbridge.livekit.participant import Connector, ParticipantKind


def connector(kind: ParticipantKind) -> Connector:
    """The implementation by name; imports it only now. Raises ImportError with advice when the SDK is not installed."""
    if kind == "own":
        from glassbridge.livekit.own import connect

        return connect
    from glassbridge.livekit.sdk import connect as sdk_connect

    return sdk_connect


def drainer(kind: ParticipantKind) -> Callable[[], Awaitable[None]]:
    """The function that awaits all places of this kind which are still being left; imports its implementation."""
    if kind == "own":
        from glassbridge.livekit import own

        return own.drain_closing
    from glassbridge.livekit import sdk

    return sdk.drain_closing
