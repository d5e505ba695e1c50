"""All recognition of one cloud: how many streams of the recogniser there may be, how often, and how they went."""

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic

import structlog

from glassbridge.core.admission import Admission
from glassbridge.core.recogniser import Reason
from glassbridge.speech.base import Recogniser, RecogniserError, RecogniserStream, Transcript, Want, all_busy

log = structlog.get_logger()

OPEN_TIMEOUT = 20.0
"""Seconds; a recogniser may wait for room for some of them (speech/pool.py)."""
FINISH_TIMEOUT = 10.0
CLOSE_TIMEOUT = 3.0
PATIENCE = 5.0
"""Seconds that a stream may wait for its turn: what is spoken meanwhile becomes old."""


class Speech:
    """One for each cloud; the recogniser is borrowed. Every stream comes from `open` and goes back by `release`.

    `lagged` hears of each final answer how many seconds it came after the last sample that it is about,
    `partial_lagged` of each partial one.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        lagged: Callable[[float], None] = lambda _seconds: None,
        partial_lagged: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.recogniser = recogniser
        self.lagged = lagged
        self.partial_lagged = partial_lagged
        self.slow = 0
        """Recognitions whose captions are slow now."""
        self.crowded_out = 0
        """Recognitions that have no room now: too many people speak at once."""
        self.opened = 0
        self.ended: Counter[str] = Counter()
        """Streams that ended or could not be had, by the code of their reason."""
        self._admission = Admission(recogniser.limits)
        self._refused: RecogniserError | None = None
        """The key is wrong: other streams need not try it."""

    @property
    def streams(self) -> int:
        """Open now."""
        return self._admission.open

    @property
    def fits(self) -> int:
        """Speakers that still fit."""
        limits = self.recogniser.limits
        free = limits.shared(limits.streams) - self._admission.open - self._admission.opening
        fits = self.recogniser.fits
        return max(0, free if fits is None else min(free, fits))

    async def open(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> RecogniserStream:
        """A stream, when there is one to be had. Raises RecogniserError. Safe to cancel."""
        await self._let_in()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                stream = await self.recogniser.open(want, on_transcript, on_lost)
        except TimeoutError:
            self._admission.failed()
            raise RecogniserError("the recogniser does not answer", Reason.NETWORK) from None
        except BaseException:
            self._admission.failed()
            raise
        self._admission.opened()
        self.opened += 1
        return stream

    async def _let_in(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self._admission.full:
            limits = self.recogniser.limits
            raise all_busy(limits.shared(limits.streams))
        until = monotonic() + PATIENCE
        while wait := self._admission.wait(monotonic()):
            if monotonic() + wait > until:
                raise RecogniserError("too many streams are begun at once", Reason.TOO_MANY)
            await asyncio.sleep(wait)

    def note(self, error: RecogniserError) -> None:
        """A stream has ended, or could not be had, for this reason."""
        self.ended[error.reason.code] += 1
        if error.reason is Reason.UNAUTHORISED and self._refused is None:
            log.error("the recogniser refuses our key", provider=self.recogniser.name, error=str(error))
            self._refused = error

    async def release(self, stream: RecogniserStream, *, finish: bool) -> None:
        """Gives a stream back; with `finish` after what is pending was understood. Takes 13 s at most."""
        try:
            if finish:
                async with asyncio.timeout(FINISH_TIMEOUT):
                    await stream.finish()
        except (TimeoutError, RecogniserError) as error:
            log.warning("speech not finished", error=type(error).__name__)
        finally:
            try:
                await stream.close()
            finally:
                self._admission.gone()
