"""The offline recogniser for machines that Moonshine has no wheel for: pocketsphinx, with the English model of its
wheel."""

import sys

from glassbridge.speech.base import Want
from glassbridge.speech.pool import ProcessRecogniser, english_only

COMMAND = (sys.executable, "-m", "glassbridge.speech.pocketsphinx_model")


class PocketsphinxRecogniser(ProcessRecogniser):
    """A Recogniser for at most `limit` streams at a time: 120 MB and a quarter of a core each while its user speaks."""

    name = "pocketsphinx"

    def __init__(self, limit: int) -> None:
        super().__init__(COMMAND, limit, each=1)

    def serves(self, want: Want) -> Want:
        """American English, whatever is spoken. Raises RecogniserError."""
        return english_only(want)
