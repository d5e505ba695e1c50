"""The examiner's place in the phone's LiveKit room, where a bridge would sit."""

from collections.abc import Callable, Mapping
from typing import Self

from glassbridge.core.values import UserId
from glassbridge.livekit.own import connect
from glassbridge.livekit.participant import AudioBlock, Closed, ConnectOptions, Packet, RemoteParticipant
from glassbridge.livekit.rooms import RoomService
from glassbridge.livekit.tokens import LiveKitKeys, agent_token, phone_token

TOKEN_LIFE = 600.0


class Ears:
    """`async with`; `on_packet` hears the phone's packets (topic, payload), `on_place` the sid of its place."""

    def __init__(
        self,
        url: str,
        keys: LiveKitKeys,
        user: UserId,
        room: str,
        on_packet: Callable[[str, bytes], None],
        on_place: Callable[[str | None], None],
    ) -> None:
        self.url = url
        self.room = room
        self._keys = keys
        self._user = user
        self._tell_packet = on_packet
        self._tell_place = on_place

    async def __aenter__(self) -> Self:
        """Raises ParticipantError."""
        token = agent_token(self._keys, user=self._user, room=self.room, ttl=TOKEN_LIFE)
        self._place = await connect(self.url, token, self, ConnectOptions(room=self.room))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._place.close()

    def ticket(self) -> str:
        """A fresh token for the phone."""
        return phone_token(self._keys, user=self._user, room=self.room, ttl=TOKEN_LIFE)

    async def put_out(self) -> None:
        """Removes the phone from the room. Raises RoomServiceError."""
        async with RoomService(self.url, self._keys) as rooms:
            await rooms.remove(self.room, self._user)

    def on_packet(self, packet: Packet) -> None:
        if packet.sender == self._user:
            self._tell_packet(packet.topic, packet.payload)

    def on_audio(self, block: AudioBlock) -> None:
        """A track carries no numbers: its sound is not examined."""

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None:
        found = remote.get(self._user)
        self._tell_place(found.sid if found is not None else None)

    def on_closed(self, closed: Closed) -> None:
        self._tell_place(None)
