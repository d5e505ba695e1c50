"""The small interface behind which every recogniser stands. A provider is one file that implements it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes


@dataclass(frozen=True, slots=True)
class Want:
    """What a stream is for."""

    language: str
    """Spoken: `en-US`, or `auto` for whichever it is."""
    target: str | None = None
    """To translate to; None: the words are wanted in the spoken language."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was understood of one utterance so far. Times count from the first sample fed into the stream."""

    text: str
    """As the recogniser gives it, in the target language when there is one; may be empty for a final that held no
    words."""
    final: bool
    """False: may still change."""
    start_ms: int
    end_ms: int
    language: str | None = None
    """Spoken, where the recogniser says so."""
    speaker: str | None = None
    """Tells the speakers of a stream apart, where the recogniser can."""
    confidence: float | None = None
    """0 to 1."""
    original: str | None = None
    """Of a translation: what was said."""
    provider: str | None = None
    metadata: dict[str, Any] | None = None
    """Whatever more the provider tells, under its name."""
    id: str | None = None
    """Of a final one, within its session."""
    replaces: tuple[str, ...] = ()
    """Final ones that this one takes the place of, with those that follow it and fill the same hole."""
    inserts: str | None = None
    """The hole in the audio that it fills: its place is by its times, before what was said later."""


class RecogniserStream(Protocol):
    """One stream of speech. Owned by one recognition."""

    def feed(self, pcm: bytes) -> None:
        """Gives PCM16 LE, 16 kHz, mono, whole samples. Never waits: the queue is bounded (drop-oldest, counted)."""

    async def finish(self) -> None:
        """Finalises what is pending; returns after its final Transcript was delivered. The stream can be fed on.

        Raises RecogniserError. Safe to cancel.
        """

    async def close(self) -> None:
        """Releases the stream; idempotent; at most 2 s. No callback comes afterwards."""

    @property
    def dropped_bytes(self) -> int:
        """Bytes that were dropped because the recogniser did not keep up."""

    @property
    def stalled(self) -> float:
        """Seconds for which audio has been waiting and none was taken; 0.0 while any is taken, or none waits."""

    @property
    def behind(self) -> float:
        """Seconds by which what was understood is late; `stalled` where the provider tells no more than that."""

    @property
    def partials(self) -> float | None:
        """Seconds between two partial transcripts now; 0.0: they come as they can; None: only final ones come."""


class Recogniser(Protocol):
    """A provider of streams."""

    name: str
    """For apps and logs."""
    times: StreamTimes
    limits: Limits
    stuck: float
    """Seconds of `stalled` after which a stream is replaced."""

    def serves(self, want: Want) -> Want:
        """The key of its stream: wants with equal keys share a stream.

        Raises RecogniserError, whose text tells the developer of an app why not.
        """

    async def open(
        self,
        want: Want,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[["RecogniserError"], None],
    ) -> RecogniserStream:
        """A new stream for something that `serves` gave; the callbacks run on the event loop. `on_lost` ends the
        stream, once: its owner closes it and opens another where the reason allows it.

        Raises RecogniserError. Safe to cancel.
        """

    def warm_up(self) -> None:
        """The program has started, before the first speech. Needs the running loop."""

    @property
    def fits(self) -> int | None:
        """Speakers that still fit, as far as it can tell; None: as many as there are streams."""

    async def close(self) -> None:
        """Ends all streams and everything behind them (processes too); idempotent; at most 3 s."""


class RecogniserError(Exception):
    """Recognition is not to be had. `reason` says what is done about it; the text is for people and holds no secret."""

    def __init__(self, message: str, reason: Reason = Reason.CRASHED) -> None:
        super().__init__(message)
        self.reason = reason


def all_busy(streams: int) -> RecogniserError:
    """There are `streams` streams, and all are used."""
    return RecogniserError(f"all {streams} recognisers are busy (GLASSBRIDGE_RECOGNISERS says how many)", Reason.BUSY)
