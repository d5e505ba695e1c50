"""The small interface behind which every recogniser stands."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was understood of one utterance so far. Times count from the first sample fed into the stream."""

    text: str
    """Lower case words as the recogniser gives them; may be empty for a final that held no words."""
    final: bool
    """False: may still change."""
    start_ms: int
    end_ms: int


class RecogniserStream(Protocol):
    """One stream of speech. Owned by one session."""

    def feed(self, pcm: bytes) -> None:
        """Gives PCM16 LE, 16 kHz, mono, whole samples. Never waits: the queue is bounded (drop-oldest, counted)."""

    async def finish(self) -> None:
        """Finalises what is pending; returns after its final Transcript was delivered. The stream can be fed on.

        Raises RecogniserError. Safe to cancel.
        """

    async def close(self) -> None:
        """Releases the stream; idempotent; at most 2 s."""

    @property
    def dropped_bytes(self) -> int:
        """Bytes that were dropped because the recogniser did not keep up."""

    @property
    def stalled(self) -> float:
        """Seconds for which audio has been waiting and none was taken; 0.0 while any is taken, or none waits."""


class Recogniser(Protocol):
    """A provider of streams."""

    async def open(
        self,
        on_transcript: Callable[[Transcript], None],
        on_error: Callable[["RecogniserError"], None],
        *,
        language: str = "en-US",
    ) -> RecogniserStream:
        """A new stream; the callbacks run on the event loop. `on_error` ends the stream: the owner opens a new one.

        Raises RecogniserError: the cap is reached, the language is not known, the provider is not reachable.
        """

    async def close(self) -> None:
        """Ends all streams and everything behind them (processes too); idempotent; at most 3 s."""


class RecogniserError(Exception):
    """Recognition is not to be had. `retry` says whether a new stream can help."""

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry
