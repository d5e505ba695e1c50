"""What a speech process is told and what it answers: frames of bytes go in, lines of JSON come out."""

from enum import IntEnum
from struct import Struct
from typing import Final

import msgspec

from glassbridge.speech.base import Transcript

FRAME: Final = Struct("<BIQI")
"""Order, stream, position of the first sample in the stream, bytes of PCM that follow."""


class ProcessOrder(IntEnum):
    """What a frame asks for."""

    OPEN = 1
    AUDIO = 2
    FINISH = 3
    CLOSE = 4


class Ready(msgspec.Struct, tag="ready"):
    """The model is loaded."""


class Said(msgspec.Struct, tag="said"):
    """Something of a stream was understood."""

    stream: int
    transcript: Transcript


class Finished(msgspec.Struct, tag="finished"):
    """A FINISH is answered."""

    stream: int


class Shed(msgspec.Struct, tag="shed"):
    """There are more speakers than the process can bear; this stream has ended."""

    stream: int


class ProcessStatus(msgspec.Struct, tag="status"):
    """How it goes, about once a second; also a sign of life."""

    pace: str
    """Name of a Pace (core/speech_load.py)."""
    late: float
    """Seconds that the latest job of the last second was late."""
    busy: float
    speakers: float
    fits: int
    """Speakers who may come now."""
    streams: int = 0
    """That it knew when it said so."""
    room: int = 0
    """Speakers who may come once those are known who are new."""
    most: int = 0
    """Speakers who might come if the machine had nothing else to do."""


Answer = Ready | Said | Finished | Shed | ProcessStatus
"""A line."""
