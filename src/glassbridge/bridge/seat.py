"""One place in a LiveKit room, from the call of connect to the end: what is heard there, and what we say."""

from collections.abc import Callable, Mapping

import structlog

from glassbridge.bridge.channel import Membership
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.microphone import Microphone
from glassbridge.bridge.speaker import Speaker, Speakers
from glassbridge.core.room import Ticket
from glassbridge.core.values import Generation, LossReason, UserId
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Connector,
    LocalTrack,
    Packet,
    Participant,
    ParticipantError,
    RemoteParticipant,
)
from glassbridge.livekit.responds import responds
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.world import World
from glassbridge.wire import livekit_bridge_pb2 as pb

log = structlog.get_logger()

RESPONDS_WITHIN = 1.0


class Seat:
    """Hears the room (RoomEvents) for one join. `on_lost` is told when the place is gone by itself."""

    def __init__(
        self,
        ticket: Ticket,
        user: UserId,
        request: pb.JoinRoomRequest,
        timeout: float,
        config: BridgeConfig,
        pulse: Pulse,
        speakers: Speakers,
        on_lost: Callable[[Ticket, LossReason, float], None],
        world: World,
    ) -> None:
        self.ticket = ticket
        self._clock = world.monotonic
        self.log = log.bind(
            user_id=user,
            session_id=request.session_id,
            room_name=request.room_name,
            generation=request.generation,
        )
        self._url = request.livekit_url
        self._token = request.token
        self._options = ConnectOptions(room=request.room_name, timeout=timeout)
        self._on_lost = on_lost
        self._left: LossReason | None = None
        self.detail = ""
        """What the participant says beside its reason when the place is lost."""
        self.joined_at: float | None = None
        """Monotonic seconds; None: not in the room yet."""
        self.participant: Participant | None = None
        self.microphone = Microphone(
            request.target_identity,
            Generation(request.generation),
            config.queue_frames,
            config.max_age,
            pulse,
            self.log,
            world.monotonic,
        )
        self._user = user
        self._speakers = speakers
        self._place: Membership | None = None
        self.speaker: Speaker | None = None
        """None: not in the room yet."""

    async def connect(self, connector: Connector) -> None:
        """Raises ParticipantError. Safe to cancel: nothing is left behind."""
        self.participant = await connector(self._url, self._token, self, self._options)
        self.joined_at = self._clock()
        self.speaker = self._speakers.of(self._user)
        self._place = self.speaker.enter(self._publish)

    async def connect_again(self, connector: Connector) -> None:
        """The same, for nobody who waits. LiveKit has to respond first: what we ask of one that is silent may reach it
        at any later time, and would take the user from another bridge."""
        if not await responds(self._url, RESPONDS_WITHIN):
            raise ParticipantError(LossReason.TIMED_OUT, "LiveKit is silent")
        await self.connect(connector)

    async def say(self, track_id: int, pcm: bytes) -> None:
        """Takes live PCM. Raises ValueError (no such track)."""
        if self.speaker is not None and self._left is None:
            await self.speaker.say(track_id, pcm)

    def silence_live(self, track_id: int | None = None) -> None:
        """Silences the live voice of a track, or all of them."""
        if self.speaker is not None:
            self.speaker.silence_live(track_id)

    async def leave(self, reason: LossReason) -> None:
        """Leaves the room; idempotent. Current sounds wait for the next place."""
        self.give_up(reason)
        if self.participant is not None:
            await self.participant.close()

    def give_up(self, reason: LossReason, unheard: float = 0.0) -> None:
        """Nothing is heard or said here any more; idempotent."""
        self._left = self._left or reason
        self.microphone.close()
        if self.speaker is not None and self._place is not None:
            self.speaker.leave(self._place, reason, unheard)

    @property
    def count(self) -> int:
        """Participants in the room, with us; 0 when we are not there."""
        return len(self.participant.remote) + 1 if self.participant is not None else 0

    async def _publish(self, name: str, rate: int) -> LocalTrack:
        if self.participant is None or self._left is not None:
            raise ParticipantError(self._left or LossReason.CLOSED)
        return await self.participant.publish(name, rate)

    # ---- RoomEvents

    def on_packet(self, packet: Packet) -> None:
        self.microphone.on_packet(packet)

    def on_audio(self, block: AudioBlock) -> None:
        self.microphone.on_audio(block)

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None:
        self.microphone.on_people(remote.values())

    def on_closed(self, closed: Closed) -> None:
        left, self.detail = self._left, closed.detail
        self.give_up(closed.reason, closed.unheard)
        if left is None:  # else we have left it, and the same join may have another place by now
            self._on_lost(self.ticket, closed.reason, closed.unheard)
