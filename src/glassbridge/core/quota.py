"""How often somebody may do something: a bucket of tokens for each key, in bounded memory.

Rules
- A key begins with a full bucket. Each use takes one token; tokens come back at an even pace.
- The table is bounded. When it is full, the key that was used longest ago is forgotten.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Quota:
    """`burst` uses at once, then `per_minute`; `now` is monotonic seconds."""

    def __init__(self, burst: int, per_minute: float, max_keys: int = MAX_KEYS) -> None:
        self._burst = burst
        self._rate = per_minute / 60.0
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Seconds until `key` may use it again; 0.0: now. Takes nothing."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else max(0.0, (1.0 - self._filled(bucket, now)) / self._rate)

    def take(self, key: str, now: float) -> bool:
        """Takes a token; False: there is none."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            if len(self._buckets) >= self._max_keys:
                self._buckets.popitem(last=False)
            bucket = _Bucket(self._burst, now)
        self._buckets[key] = bucket  # the newest is the last
        bucket.tokens, bucket.at = self._filled(bucket, now), now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def _filled(self, bucket: _Bucket, now: float) -> float:
        return min(float(self._burst), bucket.tokens + (now - bucket.at) * self._rate)
