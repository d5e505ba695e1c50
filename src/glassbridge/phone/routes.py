"""By which routes a phone's audio goes now: core/audio_routes.py, asked with what this phone knows. Sends nothing."""

from glassbridge.core import audio_routes
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.sending import Sending
from glassbridge.core.sending_levels import LEVELS, STATIC
from glassbridge.core.values import Transport
from glassbridge.phone.by_track import ByTrack
from glassbridge.phone.counts import Carrier, Counts
from glassbridge.phone.events import AudioStateChanged
from glassbridge.phone.link_meter import LinkMeter
from glassbridge.phone.room import Room


class Routes:
    """Of one phone. `by_track`: None unless it publishes a track."""

    def __init__(
        self,
        room: Room,
        transport: Transport,
        sending: Sending,
        meter: LinkMeter,
        counts: Counts,
        by_track: ByTrack | None,
    ) -> None:
        self.told: AudioStateChanged | None = None
        """What the cloud said last on this socket."""
        self._room = room
        self._transport = transport
        self._sending = sending
        self._meter = meter
        self._counts = counts
        self._by_track = by_track
        self._on_sockets_before = 0
        """Frames that sockets had carried before this one."""

    def begin_socket(self) -> None:
        """Another socket counts, on which the cloud has said nothing yet."""
        self.told, self._on_sockets_before = None, self._counts.on_sockets

    @property
    def now(self) -> tuple[AudioRoute, ...]:
        """By which new audio goes."""
        return self._choose(both=self._sending.level.both)

    @property
    def carrier(self) -> Carrier | None:
        """The way of the next frame; None while there is none. Where both routes are used, the room's."""
        routes = self.now
        if not routes:
            return None
        if AudioRoute.ROOM not in routes:
            return Carrier.WEBSOCKET
        return Carrier.TRACK if self._transport is Transport.TRACK else Carrier.DATA

    @property
    def is_room_welcome(self) -> bool:
        """There is a place in the room, and the cloud listens there."""
        told_socket = self.told is not None and self.told.transport == "websocket"
        return self._room.joined and self._transport is not Transport.WEBSOCKET and not told_socket

    @property
    def is_track_live(self) -> bool:
        """The cloud hears something that this socket did not carry."""
        told_live = self.told is not None and self.told.state == "live"
        return told_live and self._counts.on_sockets == self._on_sockets_before

    @property
    def carries_more(self) -> bool:
        """The cloud reports, and the link is not known to be full."""
        return self._sending.level not in (STATIC, LEVELS[-1])

    @property
    def repairs_in_room(self) -> bool:
        """What the cloud lacks may go into the room, too."""
        return self._by_track is None and AudioRoute.ROOM in self._choose(both=True) and self.carries_more

    def presence_due(self, *, spoke: bool) -> float:
        """Seconds until the next presence frame. `spoke`: the user spoke just now."""
        state, code = (None, None) if self.told is None else (self.told.state, self.told.code)
        due = audio_routes.presence_interval(state, code, spoke=spoke)
        return due if self._by_track is None else min(due, self._by_track.due_in)

    def takes_presence_on_socket(self, *, speaks: bool) -> bool:
        """Where audio goes by the socket and none did just now (`speaks`), but not while the room is only being
        joined."""
        settled = self._transport is not Transport.DATA or (self.told is not None and self.told.state != "connecting")
        by_socket = self._by_track is not None or self.carrier is Carrier.WEBSOCKET
        return settled and not speaks and by_socket and self._meter.socket is not None

    def _choose(self, *, both: bool) -> tuple[AudioRoute, ...]:
        has_socket = self._meter.socket is not None
        if self._by_track is not None:
            if self._by_track.carries:
                return (AudioRoute.ROOM,)
            return (AudioRoute.SOCKET,) if has_socket else ()
        reliable = self._sending.level.reliable
        return audio_routes.choose_routes(room=self.is_room_welcome, socket=has_socket, both=both, reliable=reliable)
