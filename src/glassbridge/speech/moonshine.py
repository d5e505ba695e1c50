"""The default offline recogniser: Moonshine, with the English model of its wheel."""

import sys

from glassbridge.speech.base import Want
from glassbridge.speech.pool import ProcessRecogniser, english_only

COMMAND = (sys.executable, "-m", "glassbridge.speech.moonshine_model")
STREAMS = 64


class MoonshineRecogniser(ProcessRecogniser):
    """A Recogniser for as many speakers as the machine can bear, at most `limit` streams at a time."""

    name = "moonshine"

    def __init__(self, limit: int = STREAMS, processes: int | None = None) -> None:
        super().__init__(COMMAND, limit, processes)

    def serves(self, want: Want) -> Want:
        """American English, whatever is spoken. Raises RecogniserError."""
        return english_only(want)
