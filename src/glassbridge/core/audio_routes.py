"""By which routes a phone sends now: new audio, what is sent again, and the presence of a silent microphone.

Pure functions. The JavaScript phone has them too (js/phone/src/routes.js); a test compares both in every case.
"""

from typing import Final, NamedTuple

from glassbridge.core.link_events import AudioRoute

PRESENCE: Final = 1.0
"""Seconds between presence frames."""
PROVING: Final = 0.2
"""The same until the route is proven."""
FRESH, AWAITED = 1.5, 5.0
"""Ages of samples, seconds: up to FRESH they are sent again into the room, up to AWAITED at once, as the recogniser
waits that long for missing samples (core/in_order.py)."""
TAIL: Final = 0.25
"""Seconds after speech until the first presence frame: a lost end is known at once."""
SILENT: Final = 0.25
"""Seconds, and a round trip, in which the room acknowledges nothing, after which it is doubted. LiveKit acknowledges
every second packet, and a single one after 0.2 s."""


def choose_routes(*, room: bool, socket: bool, both: bool, reliable: bool) -> tuple[AudioRoute, ...]:
    """The routes for new audio. `room`: the phone is in it, and the cloud wants audio there; `socket`: it is open;
    `both` and `reliable` are those of the level of sending (core/sending.py)."""
    if room and socket and both:
        return (AudioRoute.ROOM, AudioRoute.SOCKET)
    if room and not (reliable and socket and not both):
        return (AudioRoute.ROOM,)
    return (AudioRoute.SOCKET,) if socket else ()


def is_doubtful(silent: float, trip: float) -> bool:
    """Whether the room may be dead although nothing reports it: its LiveKit node was killed, and the signalling goes by
    another node. `silent`: seconds in which the room acknowledged nothing although packets are in flight; `trip`: the
    round trip to the cloud, which grows when the link is full."""
    return silent >= SILENT + trip


class Again(NamedTuple):
    """How missing samples are sent again."""

    room: bool
    socket: bool
    later: bool
    """By the socket, after all new audio."""


def choose_again(age: float, *, due: bool, room: bool, carried: bool) -> Again:
    """For samples that the cloud lacks. `age`: seconds; infinite if nothing is measured. `due`: they were not sent
    again just now; `room`: it may carry more; `carried`: the socket carries them, or will, and TCP loses nothing."""
    at_once = due and age <= AWAITED
    return Again(at_once and room and age < FRESH, at_once and not carried, age > AWAITED and not carried)


def presence_interval(state: str | None, code: str | None, *, spoke: bool) -> float:
    """Seconds between presence frames. `state` and `code` are the cloud's newest notice, None before the first;
    `spoke`: the user spoke just now."""
    if state == "live" or (state not in (None, "connecting") and code == "slow_network"):
        return TAIL if spoke else PRESENCE
    return PROVING
