"""When has somebody finished speaking? Told by the phone, known only once what was in flight has arrived."""

import asyncio
from collections.abc import Callable

QUIET = 0.7
"""Seconds without samples after which nothing is in flight any more (audio without numbers cannot say so itself)."""


class SpeechEnd:
    """A listener; calls `ended` once for each stretch of speech that the phone says is over."""

    wants_late = True

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def put(self, _pcm: bytes) -> None:
        """Samples have been handed on."""
        self._heard_at = self._loop.time()
        self._over = False

    def speaking(self) -> None:
        """The phone says that somebody speaks: what was thought to be the end was a pause."""
        self.cancel()
        self._over = False

    def hint(self) -> None:
        """The phone says that nobody speaks any more; samples may still be on their way."""
        if not self._over and self._timer is None:
            self._timer = self._loop.call_at(self._heard_at + QUIET, self._check)

    def known(self) -> None:
        """The last numbered sample has been handed on: nothing is on its way."""
        self.cancel()
        if not self._over:
            self._over = True
            self._ended()

    def cancel(self) -> None:
        """Forgets a hint; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self._loop.time() >= self._heard_at + QUIET:
            self.known()
        else:
            self.hint()
