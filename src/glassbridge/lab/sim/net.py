"""Links between processes: connections that hold what a cut link does not carry, and datagrams that are gone then."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from glassbridge.lab.sim.world import Process, World
from glassbridge.lab.virtual.time import Call
from glassbridge.runtime.tcp import CONNECT_EVERY, CONNECT_WITHIN

RETRANSMIT = 0.2
"""Seconds after which TCP sends again what nobody acknowledged; doubled each time."""
SYN_AGAIN = (0.0, 1.0, 3.0, 7.0, 15.0)
"""Seconds after which TCP asks for a connection, counted from the first time."""


class Way(Enum):
    """One direction of one plane of a link."""

    UP = "up"
    CUT = "cut"
    """Nothing comes through; connections send it again later, as TCP does."""
    HELD = "held"
    """Everything is kept somewhere and comes when the way is up again."""


class Plane(Enum):
    """What goes over a link."""

    STREAM = "tcp"
    MEDIA = "udp"


class Link:
    """What lies between two processes. Direction 0 leads from `ends[0]` to `ends[1]`."""

    def __init__(self, world: World, name: str, first: Process, second: Process) -> None:
        self.world = world
        self.name = name
        self.ends = (first, second)
        self.delay = world.chance.uniform(0.001, 0.02)
        """Seconds one way, at least."""
        self.slow = 0.0
        """Seconds that a fault adds."""
        self.loss = 0.0
        """Probability that a datagram is lost."""
        self.twice = 0.005
        """Probability that a datagram comes twice."""
        self.ways = {plane: [Way.UP, Way.UP] for plane in Plane}
        self._media = self.ways[Plane.MEDIA]
        self.connections: list[Connection] = []
        self.watchers: list[Call] = []
        """Hear when a way of the media plane changes."""
        self._kept: tuple[list[tuple[Call, tuple[Any, ...]]], list[tuple[Call, tuple[Any, ...]]]] = ([], [])

    def latency(self) -> float:
        """Seconds that the next packet takes."""
        return self.delay + self.slow + self.world.chance.random() * 0.005

    def whole(self, plane: Plane) -> bool:
        """Both directions work."""
        ways = self.ways[plane]
        return ways[0] is Way.UP and ways[1] is Way.UP

    def set(self, plane: Plane, direction: int, way: Way) -> None:
        """Cuts, holds or heals one direction of one plane."""
        former = self.ways[plane][direction]
        if former is way:
            return
        self.ways[plane][direction] = way
        self.world.note(self.name, f"{plane.value} {way.value}", "", "->" if direction == 0 else "<-")
        if plane is Plane.STREAM:
            for connection in list(self.connections):
                connection.way_changed(direction, former, way)
            return
        if way is Way.UP:
            kept = self._kept[direction]
            for call, args in kept:
                self.world.push(self.world.now + self.latency(), self.ends[1 - direction], True, call, args)
            kept.clear()
        for watcher in list(self.watchers):
            watcher()

    def reset(self) -> None:
        """Breaks every connection at both ends, as a NAT or a proxy that restarts."""
        self.world.note(self.name, "reset")
        for connection in list(self.connections):
            connection.reset()

    def datagram(self, direction: int, call: Call, *args: Any) -> None:
        """Sends a packet that may be lost, late, or come twice."""
        way, chance = self._media[direction], self.world.chance
        if way is Way.HELD:
            self._kept[direction].append((call, args))
            return
        receiver = self.ends[1 - direction]
        if way is Way.CUT or not receiver.running or (self.loss and chance.random() < self.loss):
            return
        for _ in range(2 if chance.random() < self.twice else 1):
            self.world.push(self.world.now + self.latency(), receiver, True, call, args)

    def dial(
        self, direction: int, timeout: float, opened: Callable[["Connection"], None], failed: Callable[[bool], None]
    ) -> None:
        """Asks for a connection in this direction; one of the two is told: `failed(refused)` or `opened`."""
        caller = self.ends[direction]
        life, done, begun = caller.life, False, self.world.now

        def attempt(number: int) -> None:
            nonlocal done
            if done or caller.life != life:
                return
            if self.whole(Plane.STREAM):
                done = True
                trip = self.latency() + self.latency()
                if self.ends[1 - direction].running:
                    self.world.push(self.world.now + trip, caller, True, connected, ())
                else:
                    self.world.push(self.world.now + trip, caller, True, failed, (True,))
            elif number + 1 < len(SYN_AGAIN):
                self.world.at(begun + SYN_AGAIN[number + 1], attempt, number + 1)

        def connected() -> None:
            if self.ends[1 - direction].running:
                opened(Connection(self))
            else:
                failed(True)

        def give_up() -> None:
            nonlocal done
            if not done:
                done = True
                failed(False)

        attempt(0)
        if not done:
            caller.after(timeout, give_up)

    def dial_often(
        self,
        direction: int,
        opened: Callable[["Connection"], None],
        failed: Callable[[bool], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """The same as runtime/tcp.py does it, while it is wanted."""

        def attempt(left: int) -> None:
            def again(refused: bool) -> None:
                if left > 1 and not refused and wanted():
                    attempt(left - 1)
                else:
                    failed(refused)

            self.dial(direction, CONNECT_EVERY, opened, again)

        attempt(round(CONNECT_WITHIN / CONNECT_EVERY))


class Connection:
    """A stream of messages in order; end 0 belongs to `link.ends[0]`. Born open.

    Each end may hear of its end (`on_close(end) `) and of silence: when nothing can come round for as long as `limits`
    says (seconds, from and to), which stands for pings without an answer.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._orphan = False
        self.world = link.world
        self.closed = [False, False]
        self.on_close: list[Callable[[int], None] | None] = [None, None]
        """Told the code, unless this end closed first."""
        self.on_silence: list[Call | None] = [None, None]
        self.on_way: list[Callable[[bool], None] | None] = [None, None]
        """Told when nothing can come round any more (True), and when it can again."""
        self.limits: list[tuple[float, float] | None] = [None, None]
        self._held: tuple[list[tuple[Call, tuple[Any, ...]]], list[tuple[Call, tuple[Any, ...]]]] = ([], [])
        """By sender."""
        self._stuck: list[float | None] = [None, None]
        """By direction: when the first message stuck that TCP sends again; None when the way is clear."""
        self._last = [0.0, 0.0]
        """By receiver: when the last message arrives."""
        self._sick: list[float | None] = [None, None]
        """By end: since when nothing can come round."""
        self._frozen = [process.frozen for process in link.ends]
        link.connections.append(self)
        for process in link.ends:
            process.watchers.append(self._process_changed)
        for direction in (0, 1):
            if link.ways[Plane.STREAM][direction] is not Way.UP:
                self._stuck[direction] = self.world.now

    def send(self, end: int, call: Call, *args: Any) -> None:
        """Sends from this end; the call is made in the process of the other one."""
        if self.closed[end]:
            return
        if self._stuck[end] is not None:
            self._held[end].append((call, args))
        else:
            self._forward(end, call, args)

    def close(self, end: int, code: int = 1006) -> None:
        """Closes from this end, which hears nothing more."""
        if not self.closed[end]:
            self.send(end, self._peer_closed, 1 - end, code)
            self._shut(end)

    def abort(self, end: int) -> None:
        """Closes from this end and drops what is still to be sent; what something between holds comes all the same."""
        if self.link.ways[Plane.STREAM][end] is not Way.HELD:
            self._held[end].clear()
        self.close(end)

    def reset(self) -> None:
        """Broken by something between; both ends hear at once."""
        for end in (0, 1):
            self.world.push(self.world.now + self.link.delay, self.link.ends[end], True, self._peer_closed, (end, 1006))

    def orphan(self) -> None:
        """One end has another address by now: nothing comes through any more, and nobody says so."""
        self._orphan = True
        self._stuck = [self.world.now, self.world.now]
        self._look_at_both()

    def watch(self, end: int, limits: tuple[float, float], on_silence: Call) -> None:
        """Begins to watch for silence at this end."""
        self.limits[end] = limits
        self.on_silence[end] = on_silence
        self._sick[end] = None
        self._look(end)

    def _forward(self, end: int, call: Call, args: tuple[Any, ...]) -> None:
        receiver = self.link.ends[1 - end]
        when = max(self.world.now + self.link.latency(), self._last[1 - end])
        self._last[1 - end] = when
        self.world.push(when, receiver, True, self._arrive, (1 - end, call, args))

    def _arrive(self, end: int, call: Call, args: tuple[Any, ...]) -> None:
        if not self.closed[end]:
            call(*args)

    def _peer_closed(self, end: int, code: int) -> None:
        if not self.closed[end]:
            self._shut(end)
            hears = self.on_close[end]
            if hears is not None:
                hears(code)

    def _shut(self, end: int) -> None:
        self.closed[end] = True
        self.on_silence[end] = None
        if self.closed[0] and self.closed[1]:
            self._drop()

    def _drop(self) -> None:
        if self in self.link.connections:
            self.link.connections.remove(self)
            for process in self.link.ends:
                process.watchers.remove(self._process_changed)

    # ---- what the link does

    def way_changed(self, direction: int, former: Way, way: Way) -> None:
        """The link tells of each change of its stream plane."""
        if way is not Way.UP:
            if self._stuck[direction] is None:  # some ping or other is sent within a second
                self._stuck[direction] = self.world.now + self.world.chance.random()
        elif former is Way.HELD:
            self._release(direction)
        else:
            stuck = self._stuck[direction] or self.world.now
            wait = RETRANSMIT
            while stuck + wait < self.world.now:
                wait = 2 * wait + RETRANSMIT
            when = max(self.world.now, stuck + wait) if stuck < self.world.now else self.world.now
            self.world.at(when, self._release, direction)
        self._look_at_both()

    def _release(self, direction: int) -> None:
        if self._orphan or self.link.ways[Plane.STREAM][direction] is not Way.UP or self._stuck[direction] is None:
            return
        self._stuck[direction] = None
        for call, args in self._held[direction]:
            self._forward(direction, call, args)
        self._held[direction].clear()
        self._look_at_both()

    def _process_changed(self) -> None:
        for end, process in enumerate(self.link.ends):
            if not process.running and not self.closed[end]:
                self.close(end)
            if process.frozen != self._frozen[end]:
                self._frozen[end] = process.frozen
                self._well(end)  # own standstill is not the peer's silence
        self._look_at_both()

    def _look_at_both(self) -> None:
        self._look(0)
        self._look(1)

    def _look(self, end: int) -> None:
        stuck = self._stuck
        sick = stuck[0] is not None or stuck[1] is not None or self.link.ends[1 - end].frozen
        limits = self.limits[end]
        if not sick or self.closed[end]:
            self._well(end)
        elif self._sick[end] is None:
            self._sick[end] = since = self.world.now
            if (hears := self.on_way[end]) is not None:
                hears(True)
            if limits is None:
                return
            wait = self.world.chance.uniform(*limits)
            self.world.push(since + wait, self.link.ends[end], False, self._silent, (end, since))

    def _well(self, end: int) -> None:
        if self._sick[end] is not None:
            self._sick[end] = None
            if (hears := self.on_way[end]) is not None:
                hears(False)

    def _silent(self, end: int, since: float) -> None:
        hears = self.on_silence[end]
        if self._sick[end] == since and not self.closed[end] and hears is not None:
            hears()
