"""The networks that phones have, by name, and what must hold on each (docs/networks.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from glassbridge.lab.impaired import CLEAR, Impairment
from glassbridge.lab.scenario import Limit, always, least, most, never


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One network and its limits. Impairments hold each way, but for `up`, which is added from the phone to us."""

    name: str
    both: Impairment = CLEAR
    up: Impairment | None = None
    """From the phone to us, where it differs."""
    live: float = 1.0
    """Share of the speech that is heard within LIVE seconds of its capture and the link's delay."""
    age: float = 0.1
    """p99 of the age over the link's delay, seconds."""
    settle: float = 0.0
    """Seconds of speech that are not counted: the sender needs them to measure."""
    hole: float = inf
    """Longest time in which nothing is heard, seconds."""
    told: str = ""
    """Code of `audio_state` that the phone must be told."""
    says: str = ""
    """Words of a sentence that a person at the phone must be told."""
    troubled_at: float | None = None
    """Seconds after which the phone cannot be heard: then a person is told so within TOLD."""
    ready: float = inf
    """Seconds after which the phone must be heard for the first time."""
    by_room: bool = False
    """Audio that goes through a room must get into it."""
    calm: bool = False
    """No socket and no place is given up meanwhile."""
    ends: bool = False
    """Speech must end once."""
    by_track: bool = False
    """Its limits hold for a phone that publishes a track, too."""

    @property
    def must(self) -> tuple[Limit, ...]:
        """The limits of each phone's figures (lab/network_judge.py)."""
        found = [never("unseen"), never("dropped"), never("lost"), least("live", self.live), most("age_s", self.age)]
        for figure, bound in (("hole_s", self.hole), ("ready_s", self.ready)):
            found += [most(figure, bound)] if bound < inf else []
        found += [always("codes")] if self.told else []
        found += [always("says")] if self.says else []
        found += [most("untold_s", TOLD)] if self.troubled_at is not None else []
        found += [always("in_room")] if self.by_room else []
        found += [never("breaks")] if self.calm else []
        found += [least("speech_ends", 1), most("speech_ends", 1)] if self.ends else []
        return tuple(found)

    @property
    def upward(self) -> Impairment:
        """From the phone to us."""
        return self.both if self.up is None else self.up

    @property
    def counts_from_speech(self) -> bool:
        """Its times count from the first sample, however long the phone took to get in; otherwise from its start."""
        return self.ready == inf

    @property
    def delay(self) -> float:
        """Seconds that a packet of the phone takes at least."""
        return self.upward.delay


LIVE = 0.5
TOLD = 4.0
TURN_PORT = 5349
_NEAR = Impairment(delay=0.025)
_NO_UDP = replace(_NEAR, blocks_udp=True)

CELLS: tuple[Cell, ...] = (
    Cell(name="clear", calm=True),
    Cell(name="rtt50", both=Impairment(delay=0.025), calm=True),
    Cell(name="rtt300", both=Impairment(delay=0.15), calm=True),
    Cell(name="loss1", both=Impairment(delay=0.025, loss=0.01), live=0.99, age=0.25, calm=True),
    Cell(name="loss5", both=Impairment(delay=0.025, loss=0.05), live=0.99, age=0.25, calm=True),
    Cell(name="loss10", both=Impairment(delay=0.025, loss=0.10), live=0.99, age=0.25, calm=True),
    Cell(name="loss20", both=Impairment(delay=0.025, loss=0.20), live=0.97, age=0.6, calm=True),
    Cell(name="burst0.3", both=Impairment(delay=0.025, burst=(0.3, 3.0)), live=0.97, age=0.6, calm=True),
    Cell(name="burst1", both=Impairment(delay=0.025, burst=(1.0, 7.0)), live=0.90, age=1.5, calm=True),
    Cell(name="jitter200", both=Impairment(delay=0.025, jitter=0.2), live=0.99, age=0.4, calm=True),
    Cell(name="duplicate10", both=Impairment(delay=0.025, duplicate=0.1), live=0.99, age=0.4, calm=True),
    Cell(name="rtt400", both=Impairment(delay=0.2), live=0.97, age=0.8, calm=True),
    Cell(name="rtt800", both=Impairment(delay=0.4), live=0.97, age=0.8, calm=True),
    Cell(name="loss5rtt400", both=Impairment(delay=0.2, loss=0.05), live=0.97, age=0.8, calm=True),
    Cell(name="300k", both=Impairment(delay=0.025, rate=300_000), live=0.95, age=1.0, settle=3.0, ends=True),
    Cell(name="200k", both=Impairment(delay=0.025, rate=200_000), live=0.95, age=1.0, settle=3.0, ends=True),
    Cell(name="128k", both=Impairment(delay=0.025, rate=128_000), live=0.95, age=1.0, settle=3.0, ends=True),
    Cell(name="64k", both=Impairment(delay=0.025, rate=64_000), live=0.95, age=1.0, settle=3.0, ends=True),
    Cell(name="24k", both=Impairment(delay=0.025, rate=24_000), live=0.0, age=60.0, told="slow_network"),
    Cell(
        name="slow2",
        both=Impairment(delay=0.025),
        up=Impairment(delay=0.025, slow=(6.0, 14.0, 2.0)),
        live=0.0,
        age=60.0,
        hole=3.0,
        calm=True,
    ),
    Cell(
        name="slow5",
        both=Impairment(delay=0.025),
        up=Impairment(delay=0.025, slow=(6.0, 14.0, 5.0)),
        live=0.0,
        age=60.0,
        hole=7.5,
        calm=True,
    ),
    Cell(name="mtu1280", both=Impairment(delay=0.025, mtu=1280), live=0.99, age=0.25),
    Cell(name="udp-blocked", both=replace(_NO_UDP, blocks_tcp=TURN_PORT), live=0.99, age=0.25, by_track=True),
    Cell(name="udp-lost", both=replace(_NO_UDP, blocks_tcp=TURN_PORT, blocks_from=8.0), live=0.8, age=60.0, hole=2.0),
    Cell(name="turn", both=_NO_UDP, live=0.99, age=0.25, by_room=True),
    Cell(name="turn-later", both=replace(_NO_UDP, blocks_from=8.0), live=0.8, age=60.0, hole=2.0, by_room=True),
    Cell(name="address", both=replace(_NEAR, moves_at=8.0), live=0.8, age=60.0, hole=2.0),
    Cell(name="portal", both=replace(_NEAR, portal=(0.0, 10.0)), age=0.25, says="sign in", troubled_at=0.0, ready=12.0),
    Cell(
        name="portal-later",
        both=replace(_NEAR, portal=(6.0, 16.0)),
        live=0.0,
        age=60.0,
        hole=12.0,
        says="sign in",
        troubled_at=6.0,
    ),
)
"""With their limits; `lost` must be 0 on all of them."""

BY_NAME: Mapping[str, Cell] = {cell.name: cell for cell in CELLS}
