"""The one timer of an owner. It stores its own deadline, since uvloop's handle does not know it any more once it has
come."""

import asyncio
from collections.abc import Callable


class Timer:
    """Calls `ring` at moments of the loop's clock, once for each that was asked for. An exception out of `ring` reaches
    the loop's exception handler."""

    __slots__ = ("_handle", "_ring", "due")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self.due: float | None = None
        """When it rings; None: it does not."""

    def by(self, when: float) -> None:
        """Rings then, or sooner where that was asked for before: who hears it too early asks again. So a deadline that
        moves with each piece of audio costs nothing."""
        if self.due is None or when < self.due:
            self.at(when)

    def at(self, when: float) -> None:
        """Rings then, whatever was asked for before."""
        self.stop()
        self.due = when
        self._handle = asyncio.get_running_loop().call_at(when, self._fire)

    def stop(self) -> None:
        """It does not ring any more; idempotent."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.due = None

    def _fire(self) -> None:
        self._handle = self.due = None
        self._ring()
