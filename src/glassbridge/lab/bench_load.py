"""The two kinds of child that `glassbridge bench path` measures with: speaking phones, and the floor.

    python -m glassbridge.lab.bench_load phones    rooms that carry stamped frames, sent on one shared clock
    python -m glassbridge.lab.bench_load floor     bare SDK participants: the least that anybody on the SDK can reach

Both read one JSON configuration line on standard input, then commands, and answer in JSON lines. Stamps are
CLOCK_MONOTONIC nanoseconds, which all processes of one machine share.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.lab.stamps import Arrival, Stamp
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import AudioBlock, Closed, ConnectOptions, Packet, Participant, RemoteParticipant
from glassbridge.telemetry.config import LogConfig
from glassbridge.telemetry.logs import configure


class PacketListener:
    """Room events that a load child wants: packets, stamped at once."""

    def __init__(self) -> None:
        self.arrived: list[Arrival] = []
        self.first = asyncio.Event()
        self.lost: Closed | None = None

    def on_packet(self, packet: Packet) -> None:
        self.heard(packet.payload, time.monotonic_ns())

    def on_sdk_packet(self, packet: Any) -> None:
        """The same from the bare SDK."""
        self.heard(packet.data, time.monotonic_ns())

    def heard(self, payload: bytes, now_ns: int) -> None:
        """Notes a stamped frame; its first byte is the original's counter when the length is odd."""
        stamp = Stamp.read(payload[len(payload) % 2 :])
        if stamp is not None:
            self.arrived.append((stamp.sequence, stamp.sent_ns, now_ns))
            self.first.set()

    def on_audio(self, block: AudioBlock) -> None: ...

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None: ...

    def on_closed(self, closed: Closed) -> None:
        self.lost = closed


def tell(**message: Any) -> None:
    """One JSON line to the parent."""
    print(json.dumps(message), flush=True)


async def speak(participant: Participant, index: int, frame_ms: int, start_ns: int, stop: asyncio.Event) -> int:
    """Sends stamped frames in the original's form (a counter byte and PCM) until `stop`; returns how many.

    Phones are spread over one frame so that they do not speak in the same millisecond.
    """
    body = BYTES_PER_MS * frame_ms
    begin = start_ns + (index * 7919 % frame_ms) * 1_000_000
    sent = 0
    while not stop.is_set():
        wait = (begin + sent * frame_ms * 1_000_000 - time.monotonic_ns()) / 1e9
        if wait > 0:
            await asyncio.sleep(wait)
        pcm = Stamp(index, sent, time.monotonic_ns()).write(body)
        await participant.send(bytes((sent & 0xFF,)) + pcm, reliable=False)
        sent += 1
    return sent


async def phones(config: dict[str, Any], commands: asyncio.StreamReader) -> None:
    """Joins one room for each token, speaks from the `start` command on, until `stop`."""
    connect = connector("own")
    options = ConnectOptions(subscribe_audio=False, timeout=20)
    joined = [await connect(config["url"], token, PacketListener(), options) for token in config["tokens"]]
    tell(event="ready")
    stop = asyncio.Event()
    speaking: list[asyncio.Task[int]] = []
    try:
        async for line in commands:
            command = json.loads(line)
            if command["do"] == "stop":
                break
            speaking = [
                asyncio.create_task(speak(p, config["first"] + i, config["frame_ms"], command["at_ns"], stop))
                for i, p in enumerate(joined)
            ]
    finally:
        stop.set()
        counts = await asyncio.gather(*speaking, return_exceptions=True)
        tell(event="sent", counts=[count if isinstance(count, int) else repr(count) for count in counts])
        await asyncio.gather(*(p.close() for p in joined))


async def floor(config: dict[str, Any], commands: asyncio.StreamReader) -> None:
    """Joins bare SDK participants one after the other, tells how long each took, listens until `stop`."""
    from livekit import rtc

    rooms: list[rtc.Room] = []
    listeners: list[PacketListener] = []
    tell(event="ready")
    try:
        async for line in commands:
            if json.loads(line)["do"] == "stop":
                break
            for token in config["tokens"]:
                listener, room = PacketListener(), rtc.Room()
                room.on("data_received", listener.on_sdk_packet)
                begin = time.monotonic_ns()
                await room.connect(config["url"], token, rtc.RoomOptions(auto_subscribe=False))
                in_room = time.monotonic_ns()
                rooms.append(room)
                listeners.append(listener)
                await asyncio.wait_for(listener.first.wait(), 20)
                first = listener.arrived[0][2]
                tell(event="joined", join_ms=(in_room - begin) / 1e6, audio_ms=(first - begin) / 1e6)
            tell(event="all_joined")
    finally:
        tell(event="arrived", stamps=[listener.arrived for listener in listeners])
        await asyncio.gather(*(room.disconnect() for room in rooms))


async def main(role: str) -> None:
    """Runs one role over standard input and output."""
    configure(f"bench {role}", LogConfig(level="warning", fmt="json"))
    commands = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    config = json.loads(await commands.readline())
    await {"phones": phones, "floor": floor}[role](config, commands)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
