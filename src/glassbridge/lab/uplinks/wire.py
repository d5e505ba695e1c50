"""A link in virtual time: what the wire of `bench network` does to packets, to packets that only say what arrives."""

from collections.abc import Callable
from random import Random
from typing import Final

from glassbridge.lab.impaired import Direction, Impairment

IP: Final = 20
"""Bytes of its header."""
NEAR: Final = Impairment(delay=0.005)
"""Nothing is wrong."""
TCP, UDP = 6, 17
_PROTOCOL_AT = 9
_HEADERS = {protocol: bytes(_PROTOCOL_AT) + bytes([protocol]) + bytes(IP - _PROTOCOL_AT - 1) for protocol in (TCP, UDP)}


class Parcel(bytes):
    """A packet of so many bytes; `arrives` is called when it does."""

    arrives: Callable[[], None]


class Link:
    """Both ways between a phone and a cloud."""

    def __init__(self, chance: Random) -> None:
        self._up = Direction(_arrive, chance)
        self._down = Direction(_arrive, chance)
        self.heal()

    def begin(self, up: Impairment, down: Impairment) -> None:
        """From now on packets are treated so."""
        self._up.begin(up)
        self._down.begin(down)

    @property
    def trip(self) -> float:
        """Seconds of a round trip, at least."""
        return self._up.impairment.delay + self._down.impairment.delay

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.begin(NEAR, NEAR)

    def up(self, protocol: int, size: int, arrives: Callable[[], None]) -> None:
        """A packet of the phone with `size` bytes after IP's header."""
        self._up.take(_parcel(protocol, size, arrives))

    def down(self, protocol: int, size: int, arrives: Callable[[], None]) -> None:
        """A packet to the phone."""
        self._down.take(_parcel(protocol, size, arrives))


Way = Callable[[int, int, Callable[[], None]], None]
"""Link.up or Link.down."""


def _parcel(protocol: int, size: int, arrives: Callable[[], None]) -> Parcel:
    parcel = Parcel(_HEADERS[protocol] + bytes(size))
    parcel.arrives = arrives
    return parcel


def _arrive(packet: bytes) -> None:
    assert isinstance(packet, Parcel)
    packet.arrives()
