"""The time in which audio is wanted and not there: one for each start and each fault, told as a number and a trace."""

from collections.abc import Callable
from typing import Literal

from glassbridge.telemetry import metrics
from glassbridge.telemetry.traces import Attribute, Kind, Origin, Span

Why = Literal["start", "fault"]


class Episode:
    """Begins when it is made; `clock` gives monotonic seconds."""

    def __init__(
        self,
        why: Why,
        clock: Callable[[], float],
        parent: Origin | None = None,
        *,
        due: bool = True,
        **about: Attribute | None,
    ) -> None:
        self.why = why
        self.due = due
        """Something should be arriving: a phone without numbers may be silent at its start."""
        self.since = clock()
        self.span = Span(f"audio {why}", parent, Kind.INTERNAL, **about)
        self._clock = clock

    def part(self, name: str, kind: Kind = Kind.CLIENT, **about: Attribute | None) -> Span:
        """Something that is done about it."""
        return Span(name, self.span.origin, kind, **about)

    def over(self, *, live: bool, **about: Attribute | None) -> None:
        """Audio is there, or nobody wants it any more."""
        if live and self.due:
            metrics.TIME_TO_AUDIO.observe(self._clock() - self.since, self.why)
        self.span.set(live=live, **about)
        self.span.end("" if live or not self.due else "no audio")
