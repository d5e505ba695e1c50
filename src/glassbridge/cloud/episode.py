"""A start or a fault of one session's audio, until all is well again: told as a number and as a trace.

Audio may be back long before that: it goes by the phone's socket while the room is repaired.
"""

from collections.abc import Callable
from typing import Literal

from glassbridge.telemetry import metrics
from glassbridge.telemetry.traces import Attribute, Origin, Span, SpanRole

Why = Literal["start", "fault"]


class Episode:
    """Begins when it is made; `clock` gives monotonic seconds."""

    __slots__ = ("_clock", "_heard", "_since", "due", "span", "why")

    def __init__(
        self, why: Why, clock: Callable[[], float], parent: Origin | None, *, due: bool, **about: Attribute | None
    ) -> None:
        """`due`: audio should be flowing from the beginning."""
        self.why = why
        self.span = Span(f"audio {why}", parent, SpanRole.INTERNAL, **about)
        self._clock = clock
        self._since = clock()
        self.due = due
        """Audio should be flowing, and does not."""
        self._heard = False

    @property
    def dead_for(self) -> float:
        """Seconds for which audio should be flowing and is not; 0.0 while it flows, or may be silent."""
        return self._clock() - self._since if self.due else 0.0

    def missed(self) -> None:
        """Audio should be flowing and does not."""
        if self._heard:
            self._since, self._heard = self._clock(), False
        self.due = True

    def heard(self, path: str) -> None:
        """Audio flows by this path."""
        if self.due:
            metrics.TIME_TO_AUDIO.observe(self._clock() - self._since, self.why)
            self.span.event("audio is there", path=path)
        self.due, self._heard = False, True

    def part(self, name: str, kind: SpanRole = SpanRole.CLIENT, **about: Attribute | None) -> Span:
        """Something that is done about it."""
        return Span(name, self.span.origin, kind, **about)

    def over(self, result: str) -> None:
        """Audio is back, or is not awaited any more."""
        self.span.set(live=self._heard, result=result)
        self.span.end("no audio" if self.due else "")
