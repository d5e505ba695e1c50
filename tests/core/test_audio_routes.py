"""By which ways audio goes, and when the room is doubted."""

import pytest

from glassbridge.core.audio_routes import SILENT, choose_routes, is_doubtful
from glassbridge.core.link_events import AudioRoute

ROOM, SOCKET = AudioRoute.ROOM, AudioRoute.SOCKET
SINGLE = 0.2
"""Seconds after which LiveKit acknowledges a packet that no second one follows."""


@pytest.mark.parametrize(
    ("silent", "trip", "doubtful"),
    [
        pytest.param(0.0, 0.0, False, id="nothing is on its way"),
        pytest.param(SINGLE, 0.0, False, id="one packet, acknowledged late"),
        pytest.param(SILENT, 0.0, True, id="nothing came back"),
        pytest.param(SILENT, 0.05, False, id="it may come back yet"),
        pytest.param(SINGLE + 0.8, 0.8, False, id="a long way, or a full link"),
        pytest.param(SILENT + 0.8, 0.8, True, id="nothing came back on a long way"),
    ],
)
def test_the_room_is_doubted_once_nothing_came_back_for_longer_than_it_takes(
    silent: float, trip: float, doubtful: bool
) -> None:
    assert is_doubtful(silent, trip) is doubtful


@pytest.mark.parametrize(
    ("room", "socket", "both", "reliable", "routes"),
    [
        (False, False, True, True, ()),
        (True, False, True, True, (ROOM,)),
        (False, True, True, False, (SOCKET,)),
        (True, True, True, False, (ROOM, SOCKET)),
        (True, True, False, False, (ROOM,)),
        (True, True, False, True, (SOCKET,)),
    ],
)
def test_new_audio_goes_where_the_level_wants_it_and_never_nowhere_without_need(
    room: bool, socket: bool, both: bool, reliable: bool, routes: tuple[AudioRoute, ...]
) -> None:
    assert choose_routes(room=room, socket=socket, both=both, reliable=reliable) == routes
