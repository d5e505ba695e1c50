"""The meaning of a bridge's answers. A bridge of the original knows no additions to the contract."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import grpc

from glassbridge.core.diagnosis import BridgeStatus, Finding, hindered
from glassbridge.core.recovery import BridgeFault, Trouble
from glassbridge.core.values import Generation, LossReason
from glassbridge.core.voices import Hindrance
from glassbridge.wire import livekit_bridge_pb2 as pb

REASON_KEY: Final = "glassbridge-reason"
"""Trailing metadata of an audio stream that ends: a LossReason code (see the contract)."""
_REASONS = {pb.DisconnectReason.Value(f"REASON_{reason.name}"): reason for reason in LossReason}
_HINDRANCES = {pb.Hindrance.Value(f"HINDRANCE_{hindrance.name}"): hindrance for hindrance in Hindrance}
_CODEC = re.compile(r"[^\w.-]")
"""Characters that are left out of a codec's name before people read it: the phone has chosen the name."""
_FAULTS = {
    grpc.StatusCode.UNAVAILABLE: BridgeFault.DIED,
    grpc.StatusCode.DEADLINE_EXCEEDED: BridgeFault.TIMED_OUT,
}


class BridgeError(Exception):
    """A bridge did not do what it was asked. The text holds nothing that the bridge said; `text` replaces that of the
    trouble where more is known."""

    def __init__(
        self,
        trouble: Trouble,
        above: Generation = Generation(0),  # noqa: B008 - a plain number
        text: str = "",
    ) -> None:
        super().__init__(text or trouble.text)
        self.trouble = trouble
        self.above = above
        """The generation that the bridge holds, where ours is too old."""


@dataclass(frozen=True, slots=True)
class SeatStatus:
    """A bridge's answer about a place of ours."""

    lost: Trouble | None
    """Why it is not there any more; None: it is."""
    says: BridgeStatus | None
    """None: no answer in time."""
    generation: Generation = Generation(0)  # noqa: RUF009 - a plain number
    """Of the place that the bridge holds; 0: none, or it does not fence."""


def status_of(answer: pb.BridgeStatusResponse, ours: Generation) -> SeatStatus:
    """What GetStatus says of our place."""
    generation = Generation(answer.generation)
    if generation not in (0, ours):
        return SeatStatus(LossReason.REPLACED, BridgeStatus(in_room=False), generation)
    if not answer.connected:
        lost = _REASONS.get(answer.last_disconnect_cause, LossReason.SUPERSEDED)
        return SeatStatus(lost, BridgeStatus(in_room=False), generation)
    tells_age = generation != 0 and answer.last_audio_age_ms >= 0  # an old bridge leaves it at 0
    news = answer.news if answer.HasField("news") else None
    says = BridgeStatus(
        in_room=True,
        audio_age=answer.last_audio_age_ms / 1000 if tells_age else None,
        phone_here=news.phone_here if news is not None else None,
        phone_publishes=news.phone_publishes if news is not None else None,
        hindered=hindered_by(news) if news is not None else None,
    )
    return SeatStatus(None, says, generation)


def refusal_of(answer: pb.JoinRoomResponse) -> Trouble:
    """Why a join was refused."""
    return _REASONS.get(answer.reason, BridgeFault.REFUSED)


def hindered_by(news: pb.RoomNews) -> Finding | None:
    """The hindrance because of which the phone's voice is not heard. None: there is none, or only a newer bridge knows
    it."""
    hindrance = _HINDRANCES.get(news.hindrance)
    return None if hindrance is None else hindered(hindrance, _CODEC.sub("", news.codec)[:32])


def cause_of(error: Exception) -> Trouble:
    """The trouble that a failed call means. The text of the error is not used: it may quote what was sent."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return BridgeFault.TIMED_OUT if isinstance(error, TimeoutError) else LossReason.STREAM_BROKEN
    return trouble_of(error.code(), error.trailing_metadata())


def trouble_of(code: grpc.StatusCode, trailing: Iterable[tuple[str, str | bytes]] | None) -> Trouble:
    """What the end of a call means."""
    reason = reason_in(trailing)
    return reason if reason is not None else _FAULTS.get(code, LossReason.STREAM_BROKEN)


def reason_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> LossReason | None:
    """Why the bridge ended its stream; None where it did not say, or says what we do not know."""
    return next((LossReason.from_code(str(value)) for key, value in metadata or () if key == REASON_KEY), None)
