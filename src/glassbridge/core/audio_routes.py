"""By which routes a phone sends now: new audio, what is sent again, and the presence of a silent microphone.

Functions of what is known now. The JavaScript phone has them too (js/phone/src/routes.js); a test lets both decide
every case.
"""

from typing import Final, NamedTuple

from glassbridge.core.link_events import AudioRoute

PRESENCE: Final = 1.0
"""Seconds between presence frames."""
PROVING: Final = 0.2
"""The same until the path is proven."""
FRESH, AWAITED = 1.5, 5.0
"""Ages of samples, seconds, up to which they are sent again at once into the room, and at all: so long the recogniser
waits for what is missing (core/in_order.py)."""
TAIL: Final = 0.25
"""Seconds after speech until the first presence frame: a lost end is known at once."""
SILENT: Final = 0.25
"""Seconds, and a round trip, in which the room acknowledges nothing, after which it is doubted. LiveKit acknowledges
every second packet, and a single one after 0.2 s."""


def choose_routes(*, room: bool, socket: bool, both: bool, reliable: bool) -> tuple[AudioRoute, ...]:
    """For new audio. `room`: it is joined, and the cloud listens there; `both` and `reliable` are those of the level
    of sending."""
    if room and socket and both:
        return (AudioRoute.ROOM, AudioRoute.SOCKET)
    if room and not (reliable and socket and not both):
        return (AudioRoute.ROOM,)
    return (AudioRoute.SOCKET,) if socket else ()


def is_doubtful(silent: float, trip: float) -> bool:
    """Whether the room may be dead although nobody says so: its LiveKit node was killed, and the signalling goes by
    another node. `silent`: seconds in which the room acknowledged nothing although something is on its way; `trip`: the
    round trip to the cloud, which grows where the link is full."""
    return silent >= SILENT + trip


class Again(NamedTuple):
    """How missing samples are sent again."""

    room: bool
    socket: bool
    later: bool
    """By the socket, behind what is new."""


def choose_again(age: float, *, due: bool, room: bool, carried: bool) -> Again:
    """For samples that the cloud misses. `age`: seconds; infinite where nothing is measured. `due`: they were not sent
    again just now; `room`: it may carry more; `carried`: the socket carries them, or will, and TCP loses nothing."""
    at_once = due and age <= AWAITED
    return Again(at_once and room and age < FRESH, at_once and not carried, age > AWAITED and not carried)


def presence_interval(state: str | None, code: str | None, *, spoke: bool) -> float:
    """Seconds between presence frames. `state` and `code` are what the cloud said last, None where it has said nothing;
    `spoke`: somebody did just now."""
    if state == "live" or (state not in (None, "connecting") and code == "slow_network"):
        return TAIL if spoke else PRESENCE
    return PROVING
