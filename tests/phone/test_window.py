"""What of a connection's window is kept."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from glassbridge.core.sending import Sending
from glassbridge.phone.link_meter import LinkMeter
from glassbridge.phone.pacing import Paced
from glassbridge.runtime.tcp import RENEW_EVERY, RoundTrip
from glassbridge.wire import phone as wire

BBR_MEASURES_AFTER = 10.0
"""Seconds (Linux: bbr_min_rtt_win_sec)."""


class Connection(Paced):
    """Has a round trip of 0.3 s, and `queued` more."""

    def __init__(self, queued: float, *, renews: bool = True) -> None:
        self.now = 100.0
        super().__init__(lambda: self.now)
        self._queued = queued
        self._renews = renews
        self.renewed_at: list[float] = []

    @property
    def measured(self) -> RoundTrip:
        return RoundTrip(0.3 + self._queued, 0.3)

    def pending(self) -> int:
        return 0

    async def say(self, message: wire.Message) -> bool:
        return True

    async def send_audio(self, frame: bytes) -> bool:
        return True

    def _renew(self) -> bool:
        self.renewed_at.append(self.now)
        return self._renews


@pytest.mark.parametrize(
    ("queued", "renews", "most"), [(0.01, True, 2 * RENEW_EVERY), (0.2, True, None), (0.01, False, None)]
)
def test_both_sockets_windows_are_kept_where_no_packets_wait_in_a_queue(
    queued: float, renews: bool, most: float | None
) -> None:
    first, second = (Connection(queued, renews=renews) for _ in range(2))
    beside = cast(Any, SimpleNamespace(open=[second]))
    meter = LinkMeter(Sending(), beside, cast(Any, None), lambda: first.now)
    meter.socket = cast(Any, first)
    for _ in range(300):
        first.now = second.now = first.now + 0.1
        meter.look()
    for each in (first, second):
        if most is not None:
            gaps = [b - a for a, b in zip([100.0, *each.renewed_at], [*each.renewed_at, each.now], strict=True)]
            assert RENEW_EVERY - 0.1 < max(gaps) < most < BBR_MEASURES_AFTER
        elif renews:
            assert not each.renewed_at
        else:
            assert len(each.renewed_at) > 200  # the next look asks again
