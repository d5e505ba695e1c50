"""Which samples of an epoch came: what a cloud needs to acknowledge, and to ask for what is missing."""

MOST_STRETCHES = 4_096
"""Stretches apart from each other that are remembered; one more takes the place of the oldest hole."""
MOST_ASKED = 32


class Stretches:
    """A set of positions, kept as stretches [start, stop) in order that touch nowhere."""

    def __init__(self) -> None:
        self.known: list[tuple[int, int]] = []

    def add(self, start: int, stop: int) -> None:
        """These came."""
        if start >= stop:
            return
        if self.known and start >= self.known[-1][0]:  # nearly always: at the end
            last = self.known[-1]
            if start <= last[1]:
                self.known[-1] = last[0], max(last[1], stop)
            else:
                self.known.append((start, stop))
        else:
            apart = [one for one in self.known if one[1] < start or one[0] > stop]
            touched = [one for one in self.known if not (one[1] < start or one[0] > stop)]
            joined = (min([start, *(one[0] for one in touched)]), max([stop, *(one[1] for one in touched)]))
            self.known = sorted([*apart, joined])
        if len(self.known) > MOST_STRETCHES:
            self.known[:2] = [(self.known[0][0], self.known[1][1])]

    def without(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The stretches of [start, stop) that are not in it."""
        found, at = [], start
        for one in self.known:
            if one[1] <= at:
                continue
            if one[0] >= stop:
                break
            if at < one[0]:
                found.append((at, one[0]))
            at = max(at, one[1])
        if at < stop:
            found.append((at, stop))
        return found

    @property
    def total(self) -> int:
        return sum(stop - start for start, stop in self.known)


class Ledger:
    """Of one epoch, from the first position that the phone may still send."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.stop = start
        """After the newest sample that came, or that a presence frame tells of."""
        self._came = Stretches()

    def take(self, start: int, stop: int) -> None:
        """Samples came."""
        self.stop = max(self.stop, stop)
        self._came.add(start, stop)

    def reach(self, position: int) -> None:
        """So many were captured: a presence frame says so."""
        self.stop = max(self.stop, position)

    @property
    def position(self) -> int:
        """All before it came."""
        missing = self._came.without(self.start, self.stop)
        return missing[0][0] if missing else self.stop

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """The oldest first."""
        return tuple(self._came.without(self.start, self.stop)[:MOST_ASKED])
