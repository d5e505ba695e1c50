"""`/api/admin/live`: what changes, as server-sent events. A message is made when the one before has been taken, so
nothing queues, and a slow reader gets fewer messages with newer values."""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Any, Final

import msgspec
from aiohttp import web

from glassbridge.cloud.answers import refuse
from glassbridge.cloud.flight import Flight, Row
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.meter import EVERY_MS, KEPT
from glassbridge.cloud.other_clouds import OtherClouds
from glassbridge.cloud.overview import Overview
from glassbridge.wire.rejections import Rejection

MAX_WATCHERS: Final = 32
WRITE_TIMEOUT: Final = 10.0
"""Seconds in which a reader must take something."""
WATCH_EVERY: Final = 0.2
"""Seconds between two looks at a watched session."""
KEEP_ALIVE: Final = 15.0
"""Seconds without a message after which a comment is sent."""
AGAIN: Final = 3
"""Seconds that are sent once more: others tell late what they counted then."""
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_encoder = msgspec.json.Encoder()


class LiveView:
    """Serves all streams of one cloud."""

    def __init__(self, flights: Flights, others: OtherClouds, overview: Overview, *, development: bool) -> None:
        self._flights = flights
        self._overview = overview
        self._others = others
        self._development = development
        self._watchers = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One stream, until either side closes it."""
        if self._watchers >= MAX_WATCHERS:
            return refuse(Rejection.WATCHERS_TOO_MANY, most=MAX_WATCHERS)
        flight = self._flights.find(request.query.get("watch", ""))
        listed = request.query.get("sessions") != "false"
        self._watchers += 1
        try:
            response = web.StreamResponse(headers=HEADERS)
            await response.prepare(request)
            with ExitStack() as stack:
                watched = None if flight is None else Watched(flight)
                if watched is not None:
                    stack.enter_context(watched.flight.listened_to())
                with suppress(ConnectionError):
                    await self._push(request, response, Listed() if listed else None, watched)
            return response
        finally:
            self._watchers -= 1

    async def _push(
        self,
        request: web.Request,
        response: web.StreamResponse,
        listed: "Listed | None",
        watched: "Watched | None",
    ) -> None:
        full, idle, loop = True, 0.0, asyncio.get_running_loop()
        second = -1
        overview: dict[str, Any] = {}
        while not self._flights.closed and _is_there(request):
            now = self._flights.clock()
            changed: list[Row] = []
            gone: list[str] = []
            parts: dict[str, Any] | None = None
            if now // 1000 != second:
                second = now // 1000
                merged = await self._others.merged_of(second, request, self._flights.rows_of(second))
                if watched is not None and merged.is_elsewhere(watched.flight.id):
                    return  # its watchers ask again, and are led there
                if listed is not None:
                    changed, gone = listed.news(merged.rows)
                    if (latest := self._overview.now(merged.nodes)) != overview:
                        overview = parts = latest
            seen = None if watched is None else watched.news()
            if full or changed or gone or parts is not None or seen is not None:
                message = {
                    "full": full,
                    "now_ms": now,
                    "development": self._development,
                    "sessions": changed,
                    "gone": gone,
                    "overview": parts,
                    "watched": seen,
                }
                await _write(request, response, b"data: " + _encoder.encode(message) + b"\n\n")
                full, idle = False, loop.time()
            elif loop.time() - idle > KEEP_ALIVE:
                await _write(request, response, b": still here\n\n")
                idle = loop.time()
            await self._flights.wait(None if watched is None else WATCH_EVERY)


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Raises ConnectionError: the reader is gone, or takes nothing and is cut off."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader takes nothing") from None


class Listed:
    """The list of sessions as one reader knows it."""

    def __init__(self) -> None:
        self._known: dict[str, Row] = {}

    def news(self, all_: Iterable[Row]) -> tuple[list[Row], list[str]]:
        """Rows that have changed, and ids that are no more."""
        rows = {row["id"]: row for row in all_}
        changed = [row for id_, row in rows.items() if self._known.get(id_) != row]
        gone = [id_ for id_ in self._known if id_ not in rows]
        self._known = rows
        return changed, gone


class Watched:
    """One session as one reader knows it."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self._full = True
        self._seq = 0
        self._second = -1
        self._level_at = 0
        self._said = 0

    def news(self) -> Row | None:
        """The timeline, or how it goes on; None: nothing is new."""
        flight, full = self.flight, self._full
        second = flight.complete
        levels, captions = self._levels(), self._captions()
        if (
            not full
            and (second, flight.events.seq) == (self._second, self._seq)
            and levels is None
            and captions is None
        ):
            return None
        passed = second - self._second
        news = flight.timeline(seconds=None if full else passed + AGAIN, after=self._seq)
        news.update(full=full, levels=levels, captions=captions)
        self._full, self._second, self._seq = False, second, flight.events.seq
        return news

    def _levels(self) -> dict[str, Any] | None:
        meter = self.flight.meter
        new = [] if meter is None else [level for level in meter.levels if level[0] > self._level_at]
        if not new:
            return None
        self._level_at = new[-1][0]
        start = new[0][0]
        dbfs: list[int | None] = []
        for at, level in new[-KEPT:]:
            missing = (at - start) // EVERY_MS - len(dbfs)
            dbfs += [None] * min(missing, KEPT)
            dbfs.append(level)
        return {"start_ms": start, "every_ms": EVERY_MS, "dbfs": dbfs}

    def _captions(self) -> list[Row] | None:
        captions = self.flight.captions
        known, self._said = self._said, captions.said
        return captions.since(known) if captions.said > known else None
