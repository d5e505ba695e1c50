"""How much a peer may ask for: token buckets, and what becomes of a sender that is too fast.

Rules
- A bucket holds `burst` tokens and gains `rate` a second. Anything taken beyond that is a debt.
- Nothing is lost by a short excess: a sender is not read until its debt is paid (`Allowance.debt`).
- In an excess the sender is told once. It is closed when it owes more than another whole burst, or when it is in debt
  again PATIENCE seconds after it was told. The excess is over once each bucket is half full.

It knows no sockets and no clock: time is an argument, monotonic seconds.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Final

PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` for ever, and `burst` at once."""

    per_second: float
    burst: float


class Bucket:
    """The tokens of one peer; begins full."""

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = rate.burst
        self._at = now

    def level(self, now: float) -> float:
        """Tokens that are there; negative: owed."""
        if now > self._at:
            rate = self.rate
            self._tokens = min(rate.burst, self._tokens + (now - self._at) * rate.per_second)
            self._at = now
        return self._tokens

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Takes so much if it is there."""
        if self.level(now) < amount:
            return False
        self._tokens -= amount
        return True

    def spend(self, now: float, amount: float) -> float:
        """Takes so much in any case; the tokens that are left."""
        self._tokens = self.level(now) - amount
        return self._tokens

    def wait(self, now: float, amount: float = 1.0) -> float:
        """Seconds until so much can be taken."""
        return max(0.0, amount - self.level(now)) / self.rate.per_second


class RateVerdict(Enum):
    """About what a sender has just sent."""

    WITHIN = "within"
    TELL = "tell"
    """Too fast: it should be told."""
    HOLD = "hold"
    """Too fast, and told already."""
    CLOSE = "close"
    """It goes on."""


_WITHIN: Final = RateVerdict.WITHIN
"""Python 3.11 looks up the members of an enum by a function in Python: 0.2 µs of each ping."""


class Allowance:
    """Of one sender: messages and bytes."""

    __slots__ = ("_buckets", "_told_at", "most_messages")

    def __init__(self, messages: Rate, size: Rate, now: float) -> None:
        self._buckets = Bucket(messages, now), Bucket(size, now)
        self._told_at: float | None = None
        """When this excess was told; None: there is none."""
        self.most_messages = messages.burst * 2
        """More of them at once end the socket, whatever it sent before."""

    def spend(self, messages: int, size: int, now: float) -> RateVerdict:
        """So much came."""
        if self._told_at is not None and all(2 * one.level(now) >= one.rate.burst for one in self._buckets):
            self._told_at = None
        by_message, by_size = self._buckets
        owed, owed_bytes = -by_message.spend(now, messages), -by_size.spend(now, size)
        if owed <= 0 and owed_bytes <= 0:
            return _WITHIN
        if owed > by_message.rate.burst or owed_bytes > by_size.rate.burst:
            return RateVerdict.CLOSE
        if self._told_at is None:
            self._told_at = now
            return RateVerdict.TELL
        return RateVerdict.CLOSE if now - self._told_at >= PATIENCE else RateVerdict.HOLD

    def debt(self, now: float) -> float:
        """Seconds until all is paid."""
        return max(bucket.wait(now, 0.0) for bucket in self._buckets)


class Allowances:
    """A bucket for each of many names; the `most` names that used theirs last are remembered."""

    def __init__(self, rate: Rate, most: int = 10_000) -> None:
        self.rate = rate
        self._most = most
        self._buckets: OrderedDict[object, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, name: object, now: float) -> Bucket:
        """The one of this name."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self.rate, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket

    def wait(self, name: object, now: float) -> float:
        """Seconds until this name can take a token. Takes nothing and remembers nothing."""
        bucket = self._buckets.get(name)
        return 0.0 if bucket is None else bucket.wait(now)
