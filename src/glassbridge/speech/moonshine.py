"""The default offline recogniser: Moonshine, with the English model of its wheel."""

import sys

from glassbridge.core.recogniser import Reason
from glassbridge.core.subscriptions import AUTO
from glassbridge.speech.base import RecogniserError, Want
from glassbridge.speech.pool import ProcessRecogniser

LANGUAGE = "en-US"
COMMAND = (sys.executable, "-m", "glassbridge.speech.moonshine_model")
STREAMS = 64


class MoonshineRecogniser(ProcessRecogniser):
    """A Recogniser for as many speakers as the machine can bear, at most `limit` streams at a time."""

    name = "moonshine"

    def __init__(self, limit: int = STREAMS, processes: int | None = None) -> None:
        super().__init__(COMMAND, limit, processes)

    def serves(self, want: Want) -> Want:
        """English, whatever is spoken. Raises RecogniserError."""
        if want.target is not None:
            raise RecogniserError("the offline recogniser does not translate", Reason.UNSUPPORTED)
        if want.language not in (LANGUAGE, AUTO):
            raise RecogniserError(
                f"the offline recogniser knows {LANGUAGE} only, not {want.language}", Reason.UNSUPPORTED
            )
        return Want(LANGUAGE)
