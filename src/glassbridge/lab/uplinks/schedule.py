"""What one schedule is: a link, how it changes, and who speaks over it. Plain data, made from a seed or by hand."""

from dataclasses import dataclass, replace
from random import Random

from glassbridge.core.values import Transport
from glassbridge.lab.impaired import Impairment
from glassbridge.lab.uplinks.wire import NEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Impairments hold from `bad_from` until `well_from`, seconds of the speech; before and after nothing is wrong."""

    seed: int
    transport: Transport
    up: Impairment
    down: Impairment
    seconds: float = 8.0
    """Of speech."""
    frame_ms: int = 100
    bad_from: float = -1.5
    well_from: float = 10.0
    room_lost_at: float = 0.0
    """When the phone loses its place in the room; 0: never."""
    room_back_at: float = 0.0
    reset_at: float = 0.0
    """When its sockets break; 0: never."""

    def about(self) -> str:
        """For people: what differs from a plain one."""
        plain = Impairment()
        parts = [f"seed {self.seed}, {self.transport.value}, {self.frame_ms} ms"]
        for name, bad in (("up", self.up), ("down", self.down)):
            fields = [
                f"{field} {value}"
                for field in Impairment.__dataclass_fields__
                if (value := getattr(bad, field)) != getattr(plain, field)
            ]
            parts.append(f"{name}: {', '.join(fields) or 'clear'}")
        for field in ("bad_from", "well_from", "room_lost_at", "room_back_at", "reset_at"):
            if value := getattr(self, field):
                parts.append(f"{field} {value:.2f}")
        return "; ".join(parts)


def make(seed: int) -> Schedule:
    """One of the networks that phones have, or a mixture of several."""
    chance = Random(seed)  # noqa: S311 - the same seed makes the same

    def some(share: float, low: float, high: float) -> float:
        return round(chance.uniform(low, high), 3) if chance.random() < share else 0.0

    burst = some(0.25, 0.1, 1.5)
    rate = some(0.35, 30.0, 400.0) * 1000
    both = Impairment(
        delay=round(chance.choice((0.005, 0.025, 0.05, chance.uniform(0.01, 0.4))), 3),
        loss=some(0.5, 0.005, 0.25) if not rate else some(0.3, 0.005, 0.07),
        jitter=some(0.3, 0.01, 0.25),
        duplicate=some(0.1, 0.01, 0.3),
        rate=rate,
        queue=round(chance.uniform(0.3, 2.0), 2),
        burst=(burst, round(burst * chance.uniform(3.0, 8.0), 2)) if burst else (0.0, 0.0),
    )
    up = down = both
    if chance.random() < 0.2:
        begin = chance.uniform(2.0, 5.0)
        slow = replace(
            both, slow=(round(begin, 2), round(begin + chance.uniform(1, 6), 2), round(some(1, 0.3, 5.0), 2))
        )
        up, down = chance.choice(((slow, both), (both, slow), (slow, slow)))
    elif chance.random() < 0.2:
        up = replace(both, blocks_udp=True, blocks_from=round(chance.uniform(2.0, 8.0), 2))
    elif chance.random() < 0.1:
        up, down = chance.choice(((both, NEAR), (NEAR, both)))
    lost_at = some(0.15, 1.0, 7.0)
    return Schedule(
        seed=seed,
        transport=chance.choice((Transport.DATA, Transport.DATA, Transport.WEBSOCKET)),
        up=up,
        down=down,
        frame_ms=chance.choice((20, 40, 100, 100)),
        bad_from=chance.choice((-1.5, -1.5, round(chance.uniform(0.0, 6.0), 2))),
        well_from=round(chance.uniform(8.0, 12.0), 2),
        room_lost_at=lost_at,
        room_back_at=lost_at and lost_at + some(0.7, 0.2, 4.0),
        reset_at=some(0.15, 0.5, 9.0),
    )
