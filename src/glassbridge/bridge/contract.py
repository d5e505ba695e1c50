"""Between our words and those of the gRPC contract."""

from typing import Final

from glassbridge.core.values import LossReason
from glassbridge.core.voices import Hindrance
from glassbridge.wire import livekit_bridge_pb2 as pb

SERVICE: Final = "mentra.livekit.bridge.LiveKitBridge"
REASON_KEY: Final = "glassbridge-reason"
"""Trailing metadata of a StreamAudio that ends: a LossReason code."""

TO_WIRE: Final[dict[LossReason, pb.DisconnectReason]] = {
    reason: getattr(pb, f"REASON_{reason.name}") for reason in LossReason
}

HINDRANCES: Final[dict[Hindrance | None, pb.Hindrance]] = {
    None: pb.HINDRANCE_NONE,
    **{hindrance: getattr(pb, f"HINDRANCE_{hindrance.name}") for hindrance in Hindrance},
}

_TRACKS: Final = {0: "speaker", 1: "app_audio", 2: "tts"}
MAX_TRACK: Final = 31
MAX_NAME: Final = 256
MAX_URL: Final = 4_096
MAX_TOKEN: Final = 8_192


def track_name(track_id: int) -> str:
    """The name under which a track of ours is published. Raises ValueError for an id that nobody may use."""
    if not 0 <= track_id <= MAX_TRACK:
        raise ValueError(f"track_id is 0 to {MAX_TRACK}, not {track_id}")
    return _TRACKS.get(track_id, f"track_{track_id}")


def check_join(request: pb.JoinRoomRequest) -> None:
    """Raises ValueError when a join cannot be tried: what is missing or too long."""
    for name, value, limit in (
        ("room_name", request.room_name, MAX_NAME),
        ("token", request.token, MAX_TOKEN),
        ("livekit_url", request.livekit_url, MAX_URL),
    ):
        if not value:
            raise ValueError(f"{name} is missing")
        if len(value) > limit:
            raise ValueError(f"{name} is longer than {limit} characters")
    for name, value in (("target_identity", request.target_identity), ("session_id", request.session_id)):
        if len(value) > MAX_NAME:
            raise ValueError(f"{name} is longer than {MAX_NAME} characters")
    if not request.livekit_url.startswith(("ws://", "wss://", "http://", "https://")):
        raise ValueError("livekit_url begins with ws:// or wss://")
    if request.generation < 0:
        raise ValueError("generation is not negative")
