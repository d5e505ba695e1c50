"""From RTP packets to sound: nothing is lost, doubled or late without need."""

import random
import struct

import pytest

from glassbridge.livekit.media import MAX_FILL, Rtp, Sound, TrackReceiver, parse_rtp, unpack_red
from glassbridge.livekit.opus import Encoder
from tests.speech.hearing import pcm
from tests.support.sound import level, loudest, opus_packets, pitch, samples, tone

FRAME = 640
FRAME_CLOCK = 960
OPUS, RED = 111, 63


def stream(seconds: float, sequence: int = 65_500, timestamp: int = 2**32 - 40_000) -> list[Rtp]:
    """A tone in packets whose numbers wrap around on the way."""
    pcm, encoder = tone(seconds), Encoder()
    return [
        Rtp(OPUS, sequence + i & 0xFFFF, timestamp + i * FRAME_CLOCK & 0xFFFF_FFFF, 7, encoder.encode(frame))
        for i, frame in enumerate(pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME))
    ]


def play(packets: list[Rtp]) -> list[Sound]:
    receiver = TrackReceiver()
    return [sound for packet in packets for sound in receiver.push(packet)]


def wire(packet: Rtp, *, csrc: int = 0, extension: int = -1, padding: int = 0) -> bytes:
    head = bytes([0x80 | (padding > 0) << 5 | (extension >= 0) << 4 | csrc, packet.payload_type])
    head += struct.pack("!HII", packet.sequence, packet.timestamp, packet.ssrc) + bytes(4 * csrc)
    if extension >= 0:
        head += struct.pack("!HH", 0xBEDE, extension) + bytes(4 * extension)
    return head + packet.payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


@pytest.mark.parametrize("csrc", [0, 2])
@pytest.mark.parametrize("extension", [-1, 0, 3])
@pytest.mark.parametrize("padding", [0, 1, 200])
@pytest.mark.parametrize("payload", [b"", b"opus"])
def test_rtp_is_read_whatever_it_carries_beside(csrc: int, extension: int, padding: int, payload: bytes) -> None:
    packet = Rtp(OPUS, 65_535, 4_000_000_000, 7, payload)
    assert parse_rtp(wire(packet, csrc=csrc, extension=extension, padding=padding)) == packet


@pytest.mark.parametrize("seed", range(20))
def test_junk_is_no_rtp_and_no_crash(seed: int) -> None:
    chance = random.Random(seed)
    whole = wire(Rtp(OPUS, 1, 2, 3, b"opus"), csrc=3, extension=2, padding=9)
    for _ in range(500):
        junk = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(chance.randrange(4)):
            if junk:
                junk[chance.randrange(len(junk))] = chance.randrange(256)
        packet = parse_rtp(bytes(junk))
        if packet is not None:
            unpack_red(packet)


@pytest.mark.parametrize("data", [b"", bytes(11), bytes(12), b"\x80" + bytes(10), b"\x8f" + bytes(20)])
def test_what_is_too_short_is_no_rtp(data: bytes) -> None:
    assert parse_rtp(data) is None


def redundant(packets: list[Rtp], at: int, depth: int = 1) -> Rtp:
    """packets[at] with those before it inside."""
    main, older = packets[at], packets[max(0, at - depth) : at]
    head = b"".join(
        struct.pack("!I", 1 << 31 | OPUS << 24 | (main.timestamp - p.timestamp & 0x3FFF) << 10 | len(p.payload))
        for p in older
    )
    payload = head + bytes([OPUS]) + b"".join(p.payload for p in older) + main.payload
    return main._replace(payload_type=RED, payload=payload)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_red_gives_back_the_packets_it_is_made_of(depth: int) -> None:
    packets = stream(1.0)
    for at in (0, 5, 36, 37):  # the numbers wrap at 36
        assert unpack_red(redundant(packets, at, depth)) == packets[max(0, at - depth) : at + 1]


@pytest.mark.parametrize("payload", [b"", b"\xef", b"\xef\x00\x0f", b"\xef\x00\x00\xff\x6f", b"\xef\x00\x00\x05\x6fab"])
def test_broken_red_gives_nothing(payload: bytes) -> None:
    assert unpack_red(Rtp(RED, 1, 2, 3, payload)) == []


def test_in_order_every_packet_sounds_at_once() -> None:
    receiver = TrackReceiver()
    for packet in stream(1.0):
        assert [(len(sound.pcm), sound.concealed) for sound in receiver.push(packet)] == [(FRAME, False)]


def test_reordering_and_copies_within_reach_change_nothing() -> None:
    packets = stream(2.0)
    straight = play(packets)
    for seed in range(50):
        chance = random.Random(seed)
        # Each packet is late by less than three places; some come twice.
        mixed = sorted(enumerate(packets), key=lambda item: item[0] + chance.random() * 2.9 * (item[0] > 0))
        doubled = [packet for _, packet in mixed for _ in range(chance.choice((1, 1, 2)))]
        assert play(doubled) == straight, f"seed {seed}"


def test_a_hole_waits_for_three_packets_and_no_longer() -> None:
    packets = stream(1.0)
    receiver = TrackReceiver()
    counts = [len(list(receiver.push(packet))) for packet in packets[:10] + packets[11:16]]
    assert counts == [1] * 10 + [0, 0, 4, 1, 1]


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_lost_packets_keep_their_time(loss: float) -> None:
    chance = random.Random(1)
    packets = stream(10.0)
    kept = packets[:5] + [packet for packet in packets[5:-5] if chance.random() > loss] + packets[-5:]
    heard = play(kept)
    assert sum(len(sound.pcm) for sound in heard) == len(packets) * FRAME
    assert sum(sound.concealed for sound in heard) == len(packets) - len(kept)
    assert pitch(b"".join(sound.pcm for sound in heard)) == pytest.approx(440, abs=1)


def test_redundancy_mends_single_losses() -> None:
    packets = stream(4.0)
    receiver = TrackReceiver()
    arrived = [redundant(packets, at) for at in range(len(packets)) if at % 3 != 1]
    heard = [sound for packet in arrived for single in unpack_red(packet) for sound in receiver.push(single)]
    assert heard == play(packets[:-1] if len(packets) % 3 == 2 else packets)


def test_a_pause_of_the_sender_is_filled_with_silence() -> None:
    packets = stream(1.0)
    paused = packets[:20] + [
        packet._replace(timestamp=packet.timestamp + 19 * FRAME_CLOCK & 0xFFFF_FFFF) for packet in packets[20:]
    ]
    heard = play(paused)
    assert heard[20] == Sound(bytes(19 * FRAME))
    assert sum(len(sound.pcm) for sound in heard) == (50 + 19) * FRAME


def test_minutes_of_mute_are_not_filled() -> None:
    packets = stream(1.0)
    muted = packets[:20] + [
        packet._replace(timestamp=packet.timestamp + 48_000 * 60 * 7 & 0xFFFF_FFFF) for packet in packets[20:]
    ]
    heard = play(muted)
    assert len(heard[20].pcm) == 2 * MAX_FILL
    assert level(heard[20].pcm) == 0


def test_a_clock_that_is_rounded_or_goes_back_fills_nothing() -> None:
    packets = stream(1.0)
    for step in (37, 500, -1, -48_000):
        shifted = packets[:20] + [p._replace(timestamp=p.timestamp + step & 0xFFFF_FFFF) for p in packets[20:]]
        assert sum(len(sound.pcm) for sound in play(shifted)) == 50 * FRAME, step


@pytest.mark.parametrize("jump", [200, 30_000, -200, -30_000])
def test_a_jump_of_the_numbers_is_a_new_beginning(jump: int) -> None:
    packets = stream(1.0)
    jumped = packets[:20] + [packet._replace(sequence=packet.sequence + jump & 0xFFFF) for packet in packets[20:]]
    heard = play(jumped)
    assert len(heard) == 50
    assert not any(sound.concealed for sound in heard)


def test_after_a_jump_of_the_numbers_nobody_hears_a_noise() -> None:
    """Another encoder may have made what comes then. A decoder that went on was up to 500 times as loud."""
    speech = pcm("clip")
    before, loud = opus_packets(speech, 24_000), []
    for place in range(40, len(speech) // 640 - 40, 5):
        after = opus_packets(speech[640 * place : 640 * (place + 25)], 24_000)
        elsewhere = (place * 7) % (len(before) - 40)
        first = [Rtp(111, number, 320 * 3 * number, 1, packet) for number, packet in enumerate(before[elsewhere:][:40])]
        later = [Rtp(111, 9_000 + number, 960 * (9_000 + number), 1, packet) for number, packet in enumerate(after)]
        heard = play([*first, *later])[-25:]
        said = loudest(samples(speech[640 * place : 640 * (place + 25)]))
        loud.append(loudest(samples(b"".join(sound.pcm for sound in heard))) / said)
    assert max(loud) < 2.0, [round(one, 1) for one in loud if one >= 2.0]


def test_padding_and_junk_keep_the_stream_alive() -> None:
    packets = stream(1.0)
    packets[10] = packets[10]._replace(payload=b"")
    packets[20] = packets[20]._replace(payload=b"\xff" * 3)
    heard = play(packets)
    assert [sound.concealed for sound in heard].count(True) == 1
    assert abs(sum(len(sound.pcm) for sound in heard) - 50 * FRAME) <= FRAME
