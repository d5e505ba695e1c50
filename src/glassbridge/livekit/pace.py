"""The pace of a track that we publish: one frame each FRAME_MS, and what becomes of a writer that is late."""

import asyncio
from time import monotonic

from glassbridge.livekit.participant import FRAME_MS

FRAME = FRAME_MS / 1000
CATCH_UP_SPEED = 4
"""Times real time, at most, while a late writer catches up."""


class Pace:
    """begin() before each frame, due() after it. `catch_up`: see ConnectOptions."""

    def __init__(self, catch_up: float) -> None:
        self._catch_up = catch_up
        self._due: float | None = None
        """When the next frame has to go; None in a pause."""

    @property
    def pausing(self) -> bool:
        """Nothing was said since the last pause()."""
        return self._due is None

    def begin(self) -> bool:
        """True when a new stretch of sound begins with the frame: after a pause, or because the writer is too late."""
        now = monotonic()
        if self._due is not None and now - self._due <= self._catch_up:
            self._due += FRAME
            return False
        self._due = now + FRAME
        return True

    async def due(self) -> None:
        """Returns when the next frame is due. Safe to cancel."""
        if self._due is not None:
            await asyncio.sleep(max(self._due - monotonic(), FRAME / CATCH_UP_SPEED))

    def pause(self) -> None:
        """The next packet may come at any time."""
        self._due = None
