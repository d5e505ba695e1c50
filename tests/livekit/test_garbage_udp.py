"""Garbage at a participant's ports, from anybody: audio goes on, nobody is answered, nothing waits or is logged.

Bounded, and the seed is printed: FUZZ_SEED=N repeats it.
"""

import asyncio
import random
import socket
from collections.abc import Callable
from time import monotonic

import psutil
import pytest
import structlog
from aioice import stun

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit.own import OwnParticipant, connect
from glassbridge.livekit.participant import FRAME_MS
from tests.support.livekit import LiveKit, token
from tests.support.participants import Recorder
from tests.support.poll import eventually
from tests.support.schema import SEED

DATAGRAMS = 150
"""Of each kind, at each port."""
FRAME = bytes(SAMPLE_RATE * FRAME_MS // 1000 * 2)


def a_request(chance: random.Random, username: str = "") -> bytes:
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = username or f"{chance.randrange(1 << 32):x}:x"
    message.attributes["PRIORITY"] = chance.randrange(1 << 32)
    message.add_message_integrity(chance.randbytes(20))
    return bytes(message)


def torn(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data[: chance.randrange(len(data) + 1)])
    for _ in range(chance.randrange(6)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def dtls(chance: random.Random) -> bytes:
    body = chance.randbytes(chance.choice((0, 2, 40, 1_200)))
    kind, version = chance.choice((20, 21, 22, 23)), chance.choice((b"\xfe\xfd", b"\xfe\xff"))
    return bytes([kind]) + version + bytes(8) + len(body).to_bytes(2, "big") + body


KINDS: dict[str, Callable[[random.Random, str], bytes]] = {
    "nothing": lambda _chance, _name: b"",
    "random": lambda chance, _: chance.randbytes(chance.choice((1, 2, 11, 12, 100, 1_400))),
    "like STUN": lambda chance, _: torn(chance, a_request(chance)),
    "STUN by our name": lambda chance, name: torn(chance, a_request(chance, name)),
    "a wrong password": lambda chance, name: a_request(chance, name),
    "like DTLS": lambda chance, _: dtls(chance),
    "a fatal alert": lambda _chance, _name: b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",
    "like RTP": lambda chance, _: bytes([0x80, 111]) + chance.randbytes(chance.choice((0, 1, 10, 160))),
    "like RTCP": lambda chance, _: bytes([0x80, 200]) + chance.randbytes(chance.choice((0, 2, 24))),
}


KNOWS_OUR_NAME = ("STUN by our name", "a wrong password")
"""The server knows it, and who reads the signalling; such a request is answered with an error."""


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def agents_of(participant: OwnParticipant) -> list[tuple[str, list[int]]]:
    """User name and ports of each of its ICE agents."""
    sides = (participant._subscriber, participant._publisher)
    agents = [quirks.ice_of(side._connection) for side in sides if side is not None and side._connection is not None]
    return [
        (f"{ice.local_username}:{ice.remote_username}", [int(c.port) for c in ice.local_candidates]) for ice in agents
    ]


async def test_garbage_at_its_ports_costs_no_sound(embedded_livekit: LiveKit) -> None:
    print(f"FUZZ_SEED={SEED}")
    chance = random.Random(SEED)
    ear, mouth = Recorder(), Recorder()
    process = psutil.Process()
    with structlog.testing.capture_logs() as said:
        listener = await connect(embedded_livekit.url, token("ear"), ear)
        speaker = await connect(embedded_livekit.url, token("mouth"), mouth)
        track = await speaker.publish("mic")
        spoken = 0

        async def speak() -> None:
            nonlocal spoken
            while True:
                await track.write(FRAME)
                spoken += 1

        speaking = asyncio.create_task(speak())
        try:
            await eventually(lambda: len(ear.blocks) > 10 or "nothing is heard")
            said.clear()
            before, heard, begun = process.memory_info().rss, len(ear.blocks), monotonic()
            with udp() as stranger, udp() as spy:
                for participant in (listener, speaker):
                    assert isinstance(participant, OwnParticipant)
                    for name, ports in agents_of(participant):
                        for kind, make in KINDS.items():
                            sender = spy if kind in KNOWS_OUR_NAME else stranger
                            for number in range(DATAGRAMS):
                                for port in ports:
                                    sender.sendto(make(chance, name), ("127.0.0.1", port))
                                if number % 5 == 0:
                                    await asyncio.sleep(0)
                assert not listener.closed, f"seed {SEED}: {ear.reason}"
                assert not speaker.closed, f"seed {SEED}: {mouth.reason}"
                took = monotonic() - begun
                await eventually(
                    lambda: (len(ear.blocks) - heard) * 20 > 500 * (took + 1) or f"{len(ear.blocks) - heard} heard", 10
                )
                with pytest.raises(BlockingIOError):  # a stranger is not answered
                    stranger.recv(2_000)
            assert not said, said
            assert process.memory_info().rss - before < 50 << 20
            assert not listener.closed, f"seed {SEED}: {ear.reason}"
            assert not speaker.closed, f"seed {SEED}: {mouth.reason}"
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
            await listener.close()
            await speaker.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_no_kind_of_garbage_ends_a_connection(kind: str, embedded_livekit: LiveKit) -> None:
    chance = random.Random(SEED)
    ear = Recorder()
    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    participant = await connect(embedded_livekit.url, token("ear"), ear)
    assert isinstance(participant, OwnParticipant)
    try:
        with udp() as stranger:
            for name, ports in agents_of(participant):
                for port in ports * 30:
                    stranger.sendto(KINDS[kind](chance, name), ("127.0.0.1", port))
        before = len(ear.blocks)
        other = await connect(embedded_livekit.url, token("mouth"), Recorder())
        await other.send(b"after the garbage")
        await eventually(lambda: b"after the garbage" in ear.payloads or f"not heard; {ear.reason or 'still here'}")
        assert len(ear.blocks) == before
        await other.close()
        assert not unheard, unheard
    finally:
        await participant.close()
