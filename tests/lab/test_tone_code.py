"""The judge of bad networks hears what was said, and nothing that was not."""

import pytest

from glassbridge.lab import tone_code
from glassbridge.livekit.opus import Decoder, Encoder
from glassbridge.wire.audio_frames import OPUS_PACKET

UNITS = 200
UNIT = 2 * tone_code.UNIT


def coded(pcm: bytes, bit_rate: int = 12_000, decoder: Decoder | None = None) -> bytes:
    """From an encoder that knew nothing before."""
    encoder, decoder = Encoder(bit_rate), decoder or Decoder()
    packets = [encoder.encode(pcm[at : at + 2 * OPUS_PACKET]) for at in range(0, len(pcm), 2 * OPUS_PACKET)]
    return b"".join(map(decoder.decode, packets))


def units(pcm: bytes) -> set[int]:
    return {found.unit for found in tone_code.hear(pcm)}


@pytest.mark.parametrize("bit_rate", [24_000, 16_000, 12_000])
@pytest.mark.parametrize("anew", [UNITS, 2, 1], ids=["one stream", "pairs", "each anew"])
def test_all_that_was_said_is_heard_coded_or_not(anew: int, bit_rate: int) -> None:
    pcm, decoder = tone_code.speech(UNITS), Decoder()
    assert units(pcm) == set(range(UNITS))
    pieces = [pcm[at : at + anew * UNIT] for at in range(0, len(pcm), anew * UNIT)]
    assert units(b"".join(coded(piece, bit_rate, decoder) for piece in pieces)) == set(range(UNITS))


@pytest.mark.parametrize("lost", [[70], [16, 17, 18], list(range(71, 82, 2)), list(range(60, 140))])
def test_what_is_missing_is_not_heard_elsewhere(lost: list[int]) -> None:
    pcm = tone_code.speech(UNITS)
    rest = [pcm[at * UNIT : (at + 1) * UNIT] for at in range(UNITS) if at not in lost]
    assert units(b"".join(rest)) == set(range(UNITS)) - set(lost)
    assert units(coded(b"".join(rest))) == set(range(UNITS)) - set(lost)
