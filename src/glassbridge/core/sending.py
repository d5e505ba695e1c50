"""The level at which a phone sends its audio: by one route or both, in which coding, and how much of it twice.

What it decides
- The level of sending (core/sending_levels.py): a good link gets PCM on one route; a lossy one Opus on both, with
  copies; a narrow one a thin stream on the reliable route.
- Down at once when the link demands it, straight to the level that the measured rate carries, but no more than once in
  CHANGE_EVERY; up by one level after CALM seconds without loss and delay, where that takes more of the link not before
  a probe has passed as quickly as it needs. A guess (a probe that is late, a room that takes no more) is corrected as
  soon as more is known, and so is a better level that was too good.
- A rate at which the link was full is remembered for REMEMBER seconds: no level above it is tried before. A probe, sent
  before the first words, tells of a narrow link at once; while it is late, audio is sent as suits a narrow link, too.

What it measures: what the cloud reports of each route (core/route_reports.py). Where even the quickest frames of every
route are late, the link is full.

It knows no sockets, codecs or clocks. Time is an argument, monotonic seconds. A cloud that reports nothing (or not yet)
leaves it at STATIC, which is what the plain protocol does.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum
from math import inf
from typing import Final

from glassbridge.core import sockets_beside
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.route_reports import LOSSY, WINDOW, Arrived, RouteReports
from glassbridge.core.sending_levels import HEADERS, LAST_BOTH, LEVELS, LOSSY_LEVEL, START, STATIC, Level

CHANGE_EVERY: Final = 3.0
"""Seconds between two changes of level."""
CALM: Final = 10.0
"""Seconds without loss and delay before a better level is tried."""
REMEMBER: Final = 60.0
"""Seconds for which the rate of a full link is remembered."""
HEADROOM: Final = 0.7
"""Share of the measured rate that a level may take."""
CLEAN: Final = 0.005
"""Share of frames that did not arrive below which a link is calm."""
FULL: Final = 0.35
"""Seconds by which the quickest frames of every route are late, in two reports, when the link is full."""
FULL_PCM: Final = 0.25
"""The same while PCM is sent: coding it costs little."""
BACKLOG: Final = 0.1
"""Seconds that audio waits for every route when what the socket carries tells that the link is full."""
SHORT: Final = 0.5
"""Share of what was sent that arrives, by time, where the link does not carry it."""
QUEUED: Final = 0.25
"""Seconds by which the round trip of the socket exceeds its least where its packets wait in a queue; late audio with a
shorter one waits for repetitions of what was lost."""
QUIET: Final = 0.15
"""The same below which a link is calm."""
STALLED: Final = 2.0
"""Seconds without news of what was sent at which a route is stalled."""
STALLED_ALL: Final = 3.0
"""The same for all routes together before the thinnest stream is tried: a way that has become long is not dead."""
TRIPS: Final = 2
"""Round trips on top: what was lost comes a round trip later, and so does its report."""
REPEATS: Final = 5
"""Segments that sockets sent again in WINDOW at which audio is sent twice: 4 % of PCM."""
LONG: Final = 0.35
"""Seconds of a round trip from which on a loss costs more than half a second, and PCM in flight more than the room's
window: there audio is always coded."""


class Probe(Enum):
    """What a probe of the link has told."""

    UNTOLD = "untold"
    LATE = "late"
    DONE = "done"
    WANTED = "wanted"
    """Another one is to tell whether the link carries the next better level."""


class Sending:
    """The sender of one phone. `sent` and `reported` feed it; `level` is what holds now."""

    def __init__(self) -> None:
        self._level: int | None = None
        self._tracks: dict[AudioRoute, RouteReports] = {}
        self._changed_at = -inf
        self._calm_since = -inf
        self._ceiling = inf
        self._ceiling_at = -inf
        self._queued = inf
        self._trip = 0.0
        """The round trip to the cloud when its socket was new."""
        self._doubtful = False
        """The thinnest level was a guess, since nothing was reported any more."""
        self._repeats: deque[tuple[float, int]] = deque()
        """(at, segments) that sockets sent again in sockets_beside.OVER."""
        self._probe = Probe.UNTOLD
        self._reported_at = -inf

    @property
    def level(self) -> Level:
        """How to send now."""
        return STATIC if self._level is None else LEVELS[self._level]

    def begin(self, *, reports: bool, now: float, trip: float = 0.0) -> None:
        """A new socket was acknowledged, whose round trip takes `trip` seconds. A cloud that `reports` is measured;
        what was learned of the link stays."""
        self.forget(now)
        self._trip = trip
        if not reports:
            self._level = None
        elif self._level is None:
            self._level = LOSSY_LEVEL if self._trip >= LONG else START

    @property
    def is_long(self) -> bool:
        """A loss on the way to the cloud costs more than half a second."""
        return self._level is not None and self._trip >= LONG

    @property
    def is_new(self) -> bool:
        """Nothing is known of the link yet."""
        return self._level is not None and self._probe in (Probe.UNTOLD, Probe.LATE) and self._changed_at == -inf

    @property
    def wants_probe(self) -> bool:
        """A probe is to tell whether the link carries more than now."""
        return self._level is not None and self._probe is Probe.WANTED

    def doubted(self, rate: float, now: float) -> None:
        """A probe is late: the link carries no more than `rate` bit/s, or loses much. Until more is known audio is sent
        as suits both."""
        if self.is_new:
            self._probe = Probe.LATE
            self._use(max(LAST_BOTH, self._fitting(rate)), now)

    def probed(self, rate: float | None, now: float, *, repeated: bool = False) -> None:
        """A probe passed at `rate` bit/s: a link that is narrower than PCM is never filled with it. None: it told
        nothing; if it was late, repetitions of what was lost explain it. `repeated`: of its few packets some were."""
        if self.wants_probe:
            self._proved(rate, now)
            return
        if not self.is_new:
            return
        late, self._probe = self._probe is Probe.LATE, Probe.DONE
        if rate is not None and rate < LEVELS[START].rate:
            self._ceiling, self._ceiling_at = rate, now
            self._use(self._fitting(rate), now)
        elif late or repeated:
            self._use(LOSSY_LEVEL, now)

    def _proved(self, rate: float | None, now: float) -> None:
        """To the next better level, unless the link carries too little."""
        self._probe = Probe.DONE
        better = (self._level or 0) - 1
        if now - self._calm_since <= CALM or better < 0:
            return
        if rate is not None and rate < LEVELS[better].rate:
            self._ceiling, self._ceiling_at, self._calm_since = rate, now, now
        else:
            self._change(better, now)

    def repeated(self, segments: int, now: float) -> None:
        """Sockets sent so many segments again: the link loses packets, though nothing of it is missing in the end; or
        it is full, and then its round trip tells."""
        self._calm_since = now
        self._repeats.append((now, segments))
        while self._repeats[0][0] < now - sockets_beside.OVER:
            self._repeats.popleft()
        many = self._repeated_in(WINDOW, now) >= REPEATS
        loses = many and self._queued < QUEUED and self._ceiling == inf
        if loses and self._level is not None and self._level < LOSSY_LEVEL and now - self._changed_at >= CHANGE_EVERY:
            self._change(LOSSY_LEVEL, now)

    @property
    def spares(self) -> bool:
        """Whether a second socket may stand by: the link is measured, and not known to be narrow or full."""
        known = self._level is not None and not self.is_new and self._ceiling == inf
        return known and LEVELS.index(self.level) <= LOSSY_LEVEL and self._queued < QUEUED

    def doubles(self, now: float) -> bool:
        """Whether a second socket is worth its bytes: the link loses packets, or a loss would cost much, and it is not
        known to be full."""
        repeats = bool(self._repeats) and now - self._repeats[-1][0] < CALM
        return self.level is LEVELS[LOSSY_LEVEL] and (repeats or self.is_long) and self._queued < QUEUED

    def carrying_beside(self, now: float) -> int:
        """How many sockets beside the first carry all audio now."""
        repeated = self._repeated_in(sockets_beside.OVER, now)
        return sockets_beside.carrying(repeated, self._trip, is_long=self.is_long) if self.doubles(now) else 0

    def _repeated_in(self, seconds: float, now: float) -> int:
        """Segments that sockets sent again in so many seconds."""
        return sum(count for at, count in self._repeats if at >= now - seconds)

    def refused(self, now: float) -> None:
        """The room takes no more: the link is full, or nothing of what it got is acknowledged. A narrow stream is what
        it may still carry."""
        if self._level is not None and self._level < LOSSY_LEVEL and now - self._changed_at >= CHANGE_EVERY:
            self._use(LAST_BOTH, now)

    def forget(self, now: float) -> None:
        """What was sent so far will not be reported; what was learned of the link stays."""
        self._tracks = {}
        self._calm_since = now

    def sent(self, route: AudioRoute, stop: int, size: int, now: float) -> None:
        """A frame with new samples before `stop` went out, `size` bytes of it."""
        if self._level is not None:
            self._tracks.setdefault(route, RouteReports()).put(stop, size + HEADERS[route], now)

    def reported(self, arrived: Mapping[AudioRoute, Arrived], now: float) -> None:
        """What the cloud says of each route. `judge` decides later: reports that a link has held up come together, and
        only the last of them says how things are."""
        if self._level is None:
            return
        self._reported_at = now
        for route, said in arrived.items():
            if (track := self._tracks.get(route)) is not None:
                track.report(said, now)

    def judge(
        self, now: float, backlog: float = 0.0, queued: float = inf, carries: float = inf, held: float = 0.0
    ) -> None:
        """Looks at the link. `backlog`: seconds that the oldest frame waits for every route that is open. `queued`:
        seconds by which the socket's round trip exceeds its least; infinite where that is not known. `carries`: bit/s
        that a route carries where audio waits in a queue on its way; infinite where it does not, or is not known.
        `held`: seconds that PCM waits until the room has delivered what it got."""
        if self._level is None:
            return
        self._queued = queued if queued < inf else self._queued
        carrying = {
            route: track for route, track in self._tracks.items() if track.sent and now - track.sent[-1].at < STALLED
        }
        tracks = carrying.values()
        loss = max((track.loss for track in tracks), default=0.0)
        unanswered = [track.unanswered(now) for track in tracks]
        stalled = [seconds > STALLED + self._trip for seconds in unanswered]
        late = [track.late(self._reported_at) for track in tracks if track.is_reported]
        if loss > CLEAN or any(stalled) or max(late, default=0.0) > QUIET or max(backlog, held) > QUIET:
            self._calm_since = now
        if now - self._ceiling_at > REMEMBER:
            self._ceiling = inf
        if self._level < LOSSY_LEVEL and (max(backlog, held) > BACKLOG or carries < SHORT * self.level.rate):
            self._narrowed(carries, now)
        if now - self._changed_at < CHANGE_EVERY:
            return
        behind = max(min(late, default=0.0), backlog) > (FULL_PCM if self._level < LOSSY_LEVEL else FULL)
        suspect = any(stalled) or (behind and not self._is_queued(carrying, now))
        if behind and self._is_queued(carrying, now):
            self._ceiling, self._ceiling_at = sum(track.rate for track in tracks), now
            most = len(LEVELS) - 1 if backlog > FULL or any(track.fills for track in tracks) else LAST_BOTH
            self._change(max(self._level, min(most, self._fitting(self._ceiling, self._level + 1))), now)
        elif min(unanswered, default=0.0) > STALLED_ALL + TRIPS * self._trip:
            self._doubtful = self._level < len(LEVELS) - 1 or self._doubtful
            self._change(len(LEVELS) - 1, now)
        elif self._doubtful and tracks and not any(stalled):
            self._doubtful = False
            self._use(LOSSY_LEVEL, now)
        elif loss > LOSSY and (self._level < LOSSY_LEVEL or self._ceiling == inf):
            self._change(LOSSY_LEVEL, now)
        elif suspect and self._level < LOSSY_LEVEL:
            self._use(LOSSY_LEVEL, now)
        elif self._level > 0 and now - self._calm_since > CALM:
            better = self._level - 1
            if (better < LOSSY_LEVEL and self.is_long) or LEVELS[better].rate > HEADROOM * self._ceiling:
                return
            if LEVELS[better].rate > LEVELS[self._level].rate:
                self._probe = Probe.WANTED
            else:
                self._change(better, now)

    def _narrowed(self, carries: float, now: float) -> None:
        """PCM is more than the socket carries now: what waits is coded before it has filled the queue. Where much is
        lost, repetitions explain it."""
        loses = self._repeated_in(WINDOW, now) >= REPEATS
        if not loses and not self.is_long and (fits := self._fitting(carries)) > START:
            self._ceiling, self._ceiling_at = carries, now
            self._change(fits, now)

    def _is_queued(self, carrying: Mapping[AudioRoute, RouteReports], now: float) -> bool:
        """Late audio waits in a queue: always where it is late in the room, too, which repeats nothing; on the
        socket alone where its round trip tells, or where much less arrives than is sent. On a long way few reports
        come in WINDOW, so that alone says nothing there."""
        arrives = sum(track.rate for track in carrying.values())
        offered = sum(track.offered(now) for track in carrying.values())
        short = 0 < arrives < SHORT * offered and not self.is_long
        return AudioRoute.ROOM in carrying or self._queued > QUEUED or short

    @staticmethod
    def _fitting(rate: float, first: int = START) -> int:
        """The best level from `first` on that a link of this rate carries."""
        return next((i for i in range(first, len(LEVELS)) if LEVELS[i].rate <= HEADROOM * rate), len(LEVELS) - 1)

    def _change(self, level: int, now: float) -> None:
        """To a level that was measured to be right."""
        if self._level is not None and level != self._level:
            self._changed_at = now if level > self._level else self._changed_at
            self._use(level, now)

    def _use(self, level: int, now: float) -> None:
        if level != self._level:
            self._level, self._calm_since = level, now
            for track in self._tracks.values():
                track.forget_lateness()
