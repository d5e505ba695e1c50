"""The connection on which a participant publishes: its offers, our answers, and which packet is whose sound."""

from collections.abc import Callable

import structlog
from livekit.protocol import models, rtc

from glassbridge.livekit.embedded import sdp
from glassbridge.livekit.embedded.link import MediaLink
from glassbridge.livekit.embedded.room import Track
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

MAX_TRACKS = 16


class Publisher:
    """Knows the tracks of one participant. `on_live` and `on_ended` tell when others may hear one, and no longer."""

    def __init__(
        self,
        sid: str,
        new_link: Callable[..., MediaLink],
        tasks: TaskGroup,
        on_live: Callable[[Track], None],
        on_ended: Callable[[Track], None],
    ) -> None:
        self.link = new_link(offering=False, on_rtp=self._on_rtp)
        self.tracks: dict[str, Track] = {}
        """By track sid: live ones, and those of which nothing has been heard yet."""
        self.shares = True
        """Others may hear the tracks."""
        self._sid = sid
        self._tasks = tasks
        self._on_live = on_live
        self._on_ended = on_ended
        self._end: sdp.LocalTransport | None = None
        self._started = False
        self._by_ssrc: dict[int, Track] = {}
        self._without_ssrc: list[Track] = []

    @property
    def live(self) -> list[Track]:
        return [track for track in self.tracks.values() if track.live]

    def add_track(self, request: rtc.AddTrackRequest) -> Track | None:
        """A track that is going to be offered; None when that is refused (only sound, and not too many)."""
        if request.type != models.AUDIO or len(self.tracks) >= MAX_TRACKS:
            return None
        track = Track(self._sid, request)
        track.shared = self.shares
        self.tracks[track.sid] = track
        return track

    async def offered(self, offer: rtc.SessionDescription) -> rtc.SessionDescription:
        """The answer. Raises SignalError (the client's fault), OSError when there is no socket for media."""
        remote = sdp.parse(offer.sdp)
        if self._end is None:
            self._end = await self.link.open()
        self._bind(remote)
        if not self._started:
            self._started = True
            self._tasks.spawn(self.link.start(remote), "connect publisher")
        return rtc.SessionDescription(type="answer", sdp=sdp.answer(remote, self._end), id=offer.id)

    def _bind(self, remote: sdp.Remote) -> None:
        lines = {line.cid: line for line in remote.lines if line.sends}
        bound = [track for track in self.tracks.values() if track.cid in lines]
        ended = [track for track in self.tracks.values() if track.offered and track.cid not in lines]
        for track in bound:
            track.offered = True
        self._by_ssrc = {ssrc: track for track in bound if (ssrc := lines[track.cid].ssrc) is not None}
        self._without_ssrc = [track for track in bound if lines[track.cid].ssrc is None]
        for track in ended:
            del self.tracks[track.sid]
            self._on_ended(track)

    async def _on_rtp(self, packet: bytes) -> None:
        """One packet of the participant's, decrypted."""
        ssrc = int.from_bytes(packet[8:12])
        track = self._by_ssrc.get(ssrc)
        if track is None:
            if len(self._without_ssrc) != 1:
                return
            track = self._by_ssrc[ssrc] = self._without_ssrc.pop()
        if not track.live:
            track.live = True
            self._on_live(track)
        await track.forward(packet)

    def share(self, shares: bool) -> None:
        """Lets others hear the tracks, or not."""
        self.shares = shares
        for track in self.tracks.values():
            track.shared = shares

    def mute(self, request: rtc.MuteTrackRequest) -> bool:
        """Whether that changed a track."""
        track = self.tracks.get(request.sid)
        if track is None or track.info.muted == request.muted:
            return False
        track.info.muted = request.muted
        return True
