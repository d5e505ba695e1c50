"""Opus at 16 kHz mono."""

import gc
import resource

import pytest

from glassbridge.livekit import opus
from glassbridge.livekit.opus import Decoder, Encoder, OpusError
from tests.support.sound import level, pitch, tone

FRAME = 640


def packets(pcm: bytes) -> list[bytes]:
    encoder = Encoder()
    return [encoder.encode(pcm[i : i + FRAME]) for i in range(0, len(pcm), FRAME)]


@pytest.mark.parametrize("hertz", [440.0, 1000.0, 3000.0])
def test_a_tone_survives(hertz: float) -> None:
    decoder = Decoder()
    heard = b"".join(map(decoder.decode, packets(tone(1.0, hertz))))
    assert len(heard) == 32_000
    assert pitch(heard[6400:]) == pytest.approx(hertz, abs=1)
    assert level(heard[6400:]) == pytest.approx(level(tone(1.0, hertz)), rel=0.1)


@pytest.mark.parametrize("ms", [10, 20, 40, 60])
def test_a_packet_says_how_long_it_is(ms: int) -> None:
    assert len(Decoder().decode(Encoder().encode(bytes(32 * ms)))) == 32 * ms


def test_concealment_goes_on_where_the_sound_was() -> None:
    decoder = Decoder()
    for packet in packets(tone(0.4)):
        decoder.decode(packet)
    made_up = decoder.conceal(320)
    assert len(made_up) == FRAME
    assert level(made_up) > 2000


def test_what_is_no_opus_is_an_error() -> None:
    with pytest.raises(OpusError, match="corrupted"):
        Decoder().decode(b"\xff" * 3)
    with pytest.raises(OpusError, match="invalid"):
        Encoder().encode(bytes(100))


@pytest.mark.parametrize("found", ["the system's", "PyAV's"])
def test_either_library_will_do(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "_library", opus._library.__wrapped__)  # a load of its own
    if found == "PyAV's":
        monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    assert len(Decoder().decode(Encoder().encode(bytes(FRAME)))) == FRAME


def test_without_a_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: iter(()))
    with pytest.raises(OpusError, match="apt install libopus0"):
        opus._library.__wrapped__()


def test_coders_are_freed() -> None:
    for _ in range(50):
        Encoder(), Decoder()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2000):
        Encoder(), Decoder()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kB; unfreed it were 80 MB
