"""The offline recogniser for machines that Moonshine has no wheel for: pocketsphinx, with the English model of its
wheel."""

import sys

from glassbridge.core.recogniser import Reason
from glassbridge.core.subscriptions import AUTO
from glassbridge.speech.base import RecogniserError, Want
from glassbridge.speech.pool import ProcessRecogniser

LANGUAGE = "en-US"
COMMAND = (sys.executable, "-m", "glassbridge.speech.pocketsphinx_model")


class PocketsphinxRecogniser(ProcessRecogniser):
    """A Recogniser for at most `limit` streams at a time: 120 MB and a quarter of a core each while somebody speaks."""

    name = "pocketsphinx"

    def __init__(self, limit: int) -> None:
        super().__init__(COMMAND, limit, each=1)

    def serves(self, want: Want) -> Want:
        """American English, whatever is spoken. Raises RecogniserError."""
        if want.target is not None:
            raise RecogniserError("the offline recogniser does not translate", Reason.UNSUPPORTED)
        if want.language not in (LANGUAGE, AUTO):
            raise RecogniserError(
                f"the offline recogniser knows {LANGUAGE} only, not {want.language}", Reason.UNSUPPORTED
            )
        return Want(LANGUAGE)
