"""The connection on which a participant hears: our offers, one at a time, with a line for each track it listens to."""

from collections.abc import Callable

from livekit.protocol import rtc

from glassbridge.livekit.embedded import sdp
from glassbridge.livekit.embedded.link import MediaLink
from glassbridge.livekit.embedded.room import Track, TrackSink
from glassbridge.livekit.embedded.sdp import Slot
from glassbridge.livekit.signal import TrackRef
from glassbridge.runtime.tasks import TaskGroup


class Subscriber(TrackSink):
    """`open()` makes the first offer; each answer may bring the next one."""

    def __init__(
        self,
        new_link: Callable[..., MediaLink],
        tasks: TaskGroup,
        on_connected: Callable[[], None],
        on_offer: Callable[[rtc.SessionDescription], None],
        on_heard: Callable[[str], None],
    ) -> None:
        self.link = new_link(offering=True, on_connected=on_connected)
        self._tasks = tasks
        self._on_offer = on_offer
        self._on_heard = on_heard
        self._end: sdp.LocalTransport | None = None
        self._slots: list[Slot] = []
        self._version = 0
        self._awaiting_answer = False
        self._changed = False
        self._started = False

    async def open(self) -> None:
        """Raises OSError when there is no socket for media."""
        self._end = await self.link.open()
        self.link.offer_channels()
        self._changed = True
        self._negotiate()

    def listen(self, track: Track) -> None:
        """From now on the track is heard here. Ignored when it is already."""
        if self in track.listeners:
            return
        slot = next((slot for slot in self._slots if slot.free), None)
        if slot is None:
            slot = Slot(mid=str(len(self._slots) + 1))
            self._slots.append(slot)
        slot.take(TrackRef(track.owner_sid, track.sid))
        track.listeners[self] = slot.ssrc
        self._negotiate(changed=True)

    def stop_listening(self, track: Track) -> None:
        """Ignored when the track is not heard here."""
        if track.listeners.pop(self, None) is None:
            return
        for slot in self._slots:
            if slot.track is not None and slot.track.track_sid == track.sid:
                slot.track = None
        self._negotiate(changed=True)

    async def hear(self, packet: bytes) -> None:
        await self.link.send_rtp(packet)

    def answered(self, answer: rtc.SessionDescription) -> None:
        """The client's answer; ignored when it is to an older offer. Raises SignalError (its fault)."""
        if not self._awaiting_answer or (answer.id and answer.id != self._version):
            return
        remote = sdp.parse(answer.sdp)
        self._awaiting_answer = False
        if not self._started:
            self._started = True
            self._tasks.spawn(self.link.start(remote), "connect subscriber")
        for slot in self._slots:
            slot.free = slot.offered_idle and slot.track is None
            if slot.track is not None and not slot.offered_idle and not slot.agreed:
                slot.agreed = True
                self._on_heard(slot.track.track_sid)
        self._negotiate()

    def _negotiate(self, *, changed: bool = False) -> None:
        self._changed |= changed
        if self._end is None or self._awaiting_answer or not self._changed:
            return
        self._version += 1
        self._changed, self._awaiting_answer = False, True
        text = sdp.offer(self._end, self._slots, self._version)
        for slot in self._slots:
            slot.offered_idle = slot.track is None
        self._on_offer(rtc.SessionDescription(type="offer", sdp=text, id=self._version))
