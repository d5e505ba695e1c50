"""A fair queue: one queue for each asker, served in turn.

Rules
- An asker is (party, member): an app and one of its users, or a user alone. Parties take turns, and within a party its
  members do: no asker waits behind all requests of another one.
- One asker has at most all places but one (one, where there is only one), so that another finds a place free.
- At most `each` of an asker wait, at most four times as many of a party, and MOST in all.
"""

from collections import Counter, OrderedDict, deque
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

MOST: Final = 1_000


class Asker(NamedTuple):
    """Empty names are names like others."""

    party: str = ""
    member: str = ""


class FairQueue(Generic[T]):
    """The waiting requests, and the number of those being served."""

    def __init__(self, places: int, each: int) -> None:
        self._places = places
        self._share = max(1, places - 1)
        self._each = each
        self._parties: OrderedDict[str, OrderedDict[Asker, deque[T]]] = OrderedDict()
        self._served: Counter[Asker] = Counter()
        self.waiting = 0

    @property
    def served(self) -> int:
        """How many are being served."""
        return self._served.total()

    def put(self, asker: Asker, item: T) -> bool:
        """Whether it may wait."""
        members = self._parties.get(asker.party, OrderedDict())
        queue = members.get(asker, deque())
        of_party = sum(map(len, members.values()))
        if len(queue) >= self._each or of_party >= 4 * self._each or self.waiting >= MOST:
            return False
        queue.append(item)
        members[asker] = queue
        self._parties[asker.party] = members
        self.waiting += 1
        return True

    def take(self) -> T | None:
        """The next request to serve; None: none waits, or there is no free place for one that does."""
        if self.served >= self._places:
            return None
        for party, members in self._parties.items():
            for asker, queue in members.items():
                if self._served[asker] < self._share:
                    item = queue.popleft()
                    self._served[asker] += 1
                    self._turn(party, asker)
                    return item
        return None

    def _turn(self, party: str, asker: Asker) -> None:
        """The next time others come first."""
        self.waiting -= 1
        members = self._parties[party]
        members.move_to_end(asker)
        self._parties.move_to_end(party)
        self._forget(asker)

    def remove(self, asker: Asker, item: T) -> None:
        """It waits no more; ValueError when it does not wait."""
        self._parties.get(asker.party, OrderedDict())[asker].remove(item)
        self.waiting -= 1
        self._forget(asker)

    def done(self, asker: Asker) -> None:
        """One of this asker was served."""
        self._served[asker] -= 1
        if not self._served[asker]:
            del self._served[asker]

    def _forget(self, asker: Asker) -> None:
        members = self._parties[asker.party]
        if not members[asker]:
            del members[asker]
        if not members:
            del self._parties[asker.party]
