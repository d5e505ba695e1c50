"""What one fault did to the audio of one phone, from what a subscriber heard and what the phone was told.

Rules
- Audio is away after AWAY seconds without sound at the subscriber; it is back at the next sound.
- The time to audio counts from the moment the cause was gone. Where sound never stopped, it is 0.
- A fault is over when its cause is gone and sound has come for STEADY seconds since the last silence.

It knows neither clocks nor programs.
"""

from dataclasses import dataclass, field
from math import inf

AWAY = 0.5
STEADY = 2.0


@dataclass
class Outage:
    """One fault. Times in monotonic seconds."""

    label: str
    began: float
    gone_at: float | None = None
    """When the cause was gone; None: it is still there."""
    told_at: float | None = None
    """When the phone was first told of trouble, or noticed it."""
    story: list[str] = field(default_factory=list)
    """What the phone was told, in order, with the seconds since the fault began."""
    longest: float = 0.0
    """Seconds of the longest silence."""
    _heard_at: float = inf
    _steady_since: float = inf
    _back_at: float | None = None

    def __post_init__(self) -> None:
        self._heard_at = self._steady_since = self.began

    def heard(self, now: float) -> None:
        """A subscriber got sound."""
        silence = now - self._heard_at
        self.longest = max(self.longest, silence)
        if silence >= AWAY:
            self._steady_since = now
        if self.gone_at is not None and self._back_at is None:
            self._back_at = now
        self._heard_at = now

    def told(self, text: str, bad: bool, now: float) -> None:
        """The phone learned something about its audio."""
        if bad and self.told_at is None:
            self.told_at = now
        self.story.append(f"{now - self.began:5.1f} s  {text}")

    def gone(self, now: float) -> None:
        """The cause is gone."""
        self.gone_at = now

    def away(self, now: float) -> float:
        """Seconds of silence so far; 0 while there is sound."""
        silence = now - self._heard_at
        return silence if silence >= AWAY else 0.0

    def over(self, now: float) -> bool:
        """Nothing more is to be waited for."""
        return (
            self.gone_at is not None
            and self._back_at is not None
            and not self.away(now)
            and now - max(self.gone_at, self._steady_since) >= STEADY
        )

    def verdict(self) -> str:
        """In one line what became of it, once it is over."""
        if self.longest < AWAY:
            return f"{self.label}: audio went on (longest silence {self.longest:.2f} s)"
        told = "the phone did not know" if self.told_at is None else f"told after {self.told_at - self.began:.1f} s"
        back = max(0.0, self._steady_since - self.gone_at) if self.gone_at is not None else inf
        return (
            f"{self.label}: audio back {back:.2f} s after the cause was gone (silent for {self.longest:.1f} s; {told})"
        )
