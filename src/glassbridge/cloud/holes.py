"""Hears both views of one session's microphone, and says when live samples come after a hole."""

from collections.abc import Callable

HOLE = 1.0
"""Seconds without live samples that are told of."""
LATE = 5
"""Blocks in a hole that came for those who want everything: so many say that samples came, too old to be live."""


class HoleListener:
    """One listener of the microphone."""

    __slots__ = ("_heard", "wants_late")

    def __init__(self, heard: Callable[[], None], *, wants_late: bool) -> None:
        self.wants_late = wants_late
        self._heard = heard

    def put(self, _pcm: bytes) -> None:
        """Samples came."""
        self._heard()


class Holes:
    """`told` gets the moment of the last live samples before the hole, None for the first of all, and whether samples
    came meanwhile that were late. `clock` gives monotonic seconds."""

    __slots__ = ("_blocks", "_clock", "_last", "_told", "ears")

    def __init__(self, clock: Callable[[], float], told: Callable[[float | None, bool], None]) -> None:
        self.ears = [HoleListener(self._live, wants_late=False), HoleListener(self._any, wants_late=True)]
        self._clock = clock
        self._told = told
        self._last: float | None = None
        self._blocks = 0
        """For listeners that want everything, since the last live one."""

    def _live(self) -> None:
        now, last = self._clock(), self._last
        blocks, self._blocks = self._blocks, 0
        self._last = now
        if last is None or now - last >= HOLE:
            self._told(last, blocks > LATE)

    def _any(self) -> None:
        self._blocks += 1
