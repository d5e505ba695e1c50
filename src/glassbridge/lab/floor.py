"""The floor: how long a bare participant takes from connect() to its first packet. No bridge can be faster."""

import asyncio
from collections.abc import Mapping
from time import monotonic_ns

from glassbridge.core.values import UserId
from glassbridge.lab.needs import LabError
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Packet,
    ParticipantError,
    RemoteParticipant,
)
from glassbridge.livekit.tokens import LiveKitKeys, phone_token

TIMEOUT = 10.0


class _Ears:
    def __init__(self) -> None:
        self.first_at: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_packet(self, packet: Packet) -> None:
        if not self.first_at.done():
            self.first_at.set_result(monotonic_ns())

    def on_audio(self, block: AudioBlock) -> None: ...

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None: ...

    def on_closed(self, closed: Closed) -> None: ...


async def join_to_first_packet(url: str, keys: LiveKitKeys, speaker: UserId) -> float:
    """Seconds; in the room of a user who speaks in data packets. Raises LabError."""
    token = phone_token(keys, user=UserId("lab-floor"), room=speaker, ttl=600)
    ears, begun = _Ears(), monotonic_ns()
    try:
        async with asyncio.timeout(TIMEOUT):
            place = await connector("own")(url, token, ears, ConnectOptions(room=speaker, subscribe_audio=False))
            try:
                return (await ears.first_at - begun) / 1e9
            finally:
                await place.close()
    except (ParticipantError, TimeoutError) as error:
        raise LabError(f"the floor cannot be measured: {type(error).__name__}") from None
