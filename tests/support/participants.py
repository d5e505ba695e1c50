"""Ears for participants: what a room has told, in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from glassbridge.livekit.participant import AudioBlock, Closed, Packet, RemoteParticipant


@dataclass
class Recorder:
    """RoomEvents that remember everything."""

    packets: list[Packet] = field(default_factory=list)
    blocks: list[AudioBlock] = field(default_factory=list)
    people: list[dict[str, RemoteParticipant]] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)

    def on_packet(self, packet: Packet) -> None:
        self.packets.append(packet)

    def on_audio(self, block: AudioBlock) -> None:
        self.blocks.append(block)

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None:
        self.people.append(dict(remote))

    def on_closed(self, closed: Closed) -> None:
        self.closed.append(closed)

    @property
    def reason(self) -> str:
        """Code of the reason for which the place ended; empty while it is held."""
        return self.closed[-1].reason.code if self.closed else ""

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.packets]
