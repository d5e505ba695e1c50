"""The flight recorders of this cloud: one for each session, kept for a while after its end."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from glassbridge.cloud.flight import Flight, Row
from glassbridge.core.values import UserId
from glassbridge.telemetry.recorder import SteadyClock, redaction

ENDED_FOR: Final = 1_800_000
"""Milliseconds for which a session that has ended is kept."""
MAX_ENDED: Final = 200
STALL_MS: Final = 1_500
"""If a second is booked late by more than this many milliseconds, this process stalled."""


class Flights:
    """All recorders of this cloud, those of ended sessions too: ENDED_FOR milliseconds, MAX_ENDED at most."""

    def __init__(self, secrets: Iterable[str] = (), clock: SteadyClock | None = None, *, keeps: bool = True) -> None:
        self.clock = clock or SteadyClock()
        self._keeps = keeps
        self.closed = False
        self._ticked = asyncio.Event()
        """Set, and replaced, after each second."""
        self._redact = redaction(secrets)
        self._flights: dict[str, Flight] = {}
        self._ended: deque[Flight] = deque()
        self._rows: tuple[int, list[Row]] = (-1, [])
        """As built in this second: all watchers get the same."""

    def open(self, user: UserId, session_id: str) -> Flight:
        """The recorder of a session that begins."""
        flight = self._flights[session_id] = Flight(user, session_id, self.clock, self._redact, keeps=self._keeps)
        return flight

    def close(self, flight: Flight) -> None:
        """Its session is over."""
        if flight.ended_ms is None:
            flight.end()
            self._ended.append(flight)
            self._prune()

    def find(self, session_id: str) -> Flight | None:
        """None: not known, or not any more."""
        return self._flights.get(session_id)

    def rows(self) -> list[Row]:
        """All sessions, the newest first."""
        return [flight.row() for flight in reversed(self._flights.values())]

    def row_of(self, session_id: str) -> list[Row]:
        """The one of this session, if it is known."""
        flight = self._flights.get(session_id)
        return [] if flight is None else [flight.row()]

    def rows_of(self, second: int) -> list[Row]:
        """The same for all callers in this second (unix)."""
        if self._rows[0] != second:
            self._rows = second, self.rows()
        return self._rows[1]

    async def run(self) -> None:
        """Books the counts of each second as it ends; until cancelled."""
        while True:
            now = self.clock()
            due = (now // 1000 + 1) * 1000
            await asyncio.sleep((due - now) / 1000)
            self.clock.follow()
            self._tick(due)

    def _tick(self, due: int) -> None:
        late = max(0, self.clock() - due)  # a timer may be a moment early
        for flight in self._flights.values():
            if flight.ended_ms is None:
                if late > STALL_MS:
                    flight.note("standstill", ms=late)
                flight.book((due + late) // 1000 - 1)
        self._prune()
        self._wake()

    def _wake(self) -> None:
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    async def wait(self, at_most: float | None) -> None:
        """Returns when a second has been booked, after so many seconds, or when all is over. Safe to cancel."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self._ticked.wait()

    def stop(self) -> None:
        """All watchers are sent away."""
        self.closed = True
        self._wake()

    def _prune(self) -> None:
        now = self.clock()
        while self._ended and (len(self._ended) > MAX_ENDED or now - (self._ended[0].ended_ms or 0) > ENDED_FOR):
            del self._flights[self._ended.popleft().id]
