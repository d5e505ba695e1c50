"""Codecs beside Opus: what a phone's encoder made is heard as it was said."""

import av
import numpy as np
import pytest

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.livekit.codecs import CODECS
from glassbridge.livekit.decoding import LONGEST_PACKET, DecodeError
from glassbridge.livekit.media import Rtp, TrackReceiver
from tests.support.sound import level, pitch, tone

ENCODERS = {"pcmu": ("pcm_mulaw", 8_000), "pcma": ("pcm_alaw", 8_000), "g722": ("g722", 16_000)}
FRAME_MS, STEP = 20, 160
"""All of them count 8,000 a second in RTP, G.722 too."""


def packets(codec: str, seconds: float) -> list[Rtp]:
    """A tone as FFmpeg encodes it."""
    name, rate = ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", rate
    said = np.frombuffer(tone(seconds), "<i2")[:: SAMPLE_RATE // rate]
    found = []
    for number, frame in enumerate(said.reshape(-1, rate * FRAME_MS // 1_000)):
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(frame).reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate = rate
        payload = b"".join(bytes(packet) for packet in encoder.encode(sound))
        found.append(Rtp(9, number, number * STEP, 7, payload))
    return found


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_tone_keeps_its_length_pitch_and_level(codec: str) -> None:
    receiver = TrackReceiver(codec)
    pcm = b"".join(sound.pcm for packet in packets(codec, 1.0) for sound in receiver.push(packet))
    assert len(pcm) / 2 / SAMPLE_RATE == pytest.approx(1.0, abs=0.001)
    assert pitch(pcm) == pytest.approx(440.0, abs=3.0)
    assert level(pcm) == pytest.approx(level(tone(1.0)), rel=0.1)


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("payload", [b"", bytes(LONGEST_PACKET + 1)], ids=["empty", "too long"])
def test_what_is_no_packet_is_refused(codec: str, payload: bytes) -> None:
    with pytest.raises(DecodeError):
        CODECS[codec].make().decode(payload)


def test_every_codec_but_opus_is_tested_here() -> None:
    assert ENCODERS.keys() == CODECS.keys() - {"opus"}
