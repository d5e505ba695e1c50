"""The audio of a phone that publishes a track: it writes the track, and keeps what the cloud may not have heard of it.

When the track carries and when the socket does is decided by core/track_fallback.py.
"""

from collections.abc import Callable
from math import inf
from typing import Final

import structlog

from glassbridge.core.track_fallback import (
    ASK_EVERY,
    LATELY,
    PROVE_EVERY,
    SOONEST,
    Ask,
    Effect,
    Event,
    FallbackState,
    HeardUpTo,
    Replay,
    RoomLost,
    Tick,
    TrackFallback,
    TrackReady,
)
from glassbridge.livekit.participant import FRAME_BYTES
from glassbridge.phone.capture import KEPT_MS, Capture, Frame
from glassbridge.phone.counts import Counts
from glassbridge.phone.plain import SEND_TIMEOUT
from glassbridge.phone.room import Room
from glassbridge.phone.track_tail import TrackTail

log = structlog.get_logger()

TRACK_DELAY: Final = 0.06
"""Seconds that sound of a track takes beyond the way: it is coded, paced and put in order. What is sent again from
where the cloud heard last begins so much earlier or later at most."""


class ByTrack:
    """Of one phone. `ask` asks the cloud how far it heard the track; `tell` hears that the socket is in the place of
    the track, or is no longer."""

    def __init__(
        self,
        capture: Capture,
        room: Room,
        counts: Counts,
        clock: Callable[[], float],
        ask: Callable[[], None],
        tell: Callable[[bool], None],
    ) -> None:
        self._machine = TrackFallback(clock())
        self._capture = capture
        self._room = room
        self._counts = counts
        self._clock = clock
        self._ask = ask
        self._tell = tell
        self._tail = TrackTail()
        self._held = TrackTail(KEPT_MS)
        """What was said since the track ended, while nobody knows how far it was heard."""
        self._rest = b""
        """Samples that do not fill a block of the track yet."""
        self._unheard_since: int | None = None
        """Capture time of what the cloud heard last by the track, as far as it has told; None: it does not tell."""
        self._is_heard = False
        """The cloud hears the track that is published now, as far as it has told."""
        self._ask_at = 0.0
        self._numbered = False
        """The cloud understands numbers."""
        self._writing_since = self._written_at = -inf
        """Between the two the track was written without a break."""

    @property
    def carries(self) -> bool:
        """The track does."""
        return self._machine.state is FallbackState.TRACK

    @property
    def is_replaced(self) -> bool:
        """The socket is in its place, and the owner knows."""
        return self._machine.state is FallbackState.SOCKET

    @property
    def is_silent(self) -> bool:
        """There is a track, and words go by the socket: silence proves it."""
        return self._machine.state.by_socket and self._room.has_track

    @property
    def due_in(self) -> float:
        """Seconds until it is to be looked at."""
        if self.is_silent and not self._is_heard:
            return PROVE_EVERY
        if self._is_watched:
            return max(SOONEST, self._ask_at - self._clock())
        due = self._machine.next_deadline()
        return inf if due is None else max(0.0, due - self._clock())

    @property
    def _is_watched(self) -> bool:
        """The track carries and is written, so that the cloud should hear it."""
        return self.carries and self._numbered and self._clock() - self._written_at <= LATELY

    def look(self, *, room: bool, numbered: bool, microphone_on: bool, live: bool) -> None:
        """Decides anew. `room`: there is a place, and the cloud listens there. `numbered`: the cloud understands
        numbers; others do not tell what they heard. `live`: it hears something that no socket has carried."""
        self._numbered = numbered
        now, due = self._clock(), self._machine.next_deadline()
        if due is not None and now >= due:
            self._step(Tick())
        if not room:
            self._step(RoomLost(spoke=numbered and len(self._tail) > 0))
        elif not self._room.has_track:
            self._is_heard &= self.carries
            if microphone_on and not self.carries:
                self._room.prepare_track(SEND_TIMEOUT)
        elif self._is_heard or live or not numbered:
            self._step(TrackReady(self._capture.kept_seconds))
        elif self.is_silent and now >= self._ask_at:
            self._ask_at = now + PROVE_EVERY
            self._ask()
        if self._is_watched and now >= self._ask_at:
            self._ask_at = now + ASK_EVERY
            self._ask()

    def _step(self, event: Event) -> list[Effect]:
        effects = self._machine.step(event, self._clock())
        for record in self._machine.records:
            log.info("track fallback", **record.fields)
            if record.new.by_socket and not record.old.by_socket:
                self._is_heard = False
            if FallbackState.SOCKET in (record.old, record.new):
                self._tell(record.new is FallbackState.SOCKET)
        self._machine.records.clear()
        if Ask() in effects:
            self._ask()
        return effects

    def learn(self, ago: float | None, trip: float) -> list[Frame]:
        """The cloud heard something of the track `ago` seconds ago (None: nothing so far), and is a round trip of
        `trip` away. Returns what is to be sent now."""
        asking = self._machine.state is FallbackState.ASKING
        lately = ago is not None and ago <= LATELY + trip
        # A server may end a track with silence of its own, which tells nothing of one that was not heard before.
        if ago is not None and (self._is_heard or self._unheard_since is None or (lately and not asking)):
            self._unheard_since = self._capture.now() - round((ago + trip + TRACK_DELAY) * 1e6)
        if not asking:
            self._is_heard = lately and (self.carries or self.is_silent)
        told = HeardUpTo(self._unheard_for(ago, trip))
        if self._is_watched:
            self._ask_at = self._clock() + told.asks_again_in
        if Replay() not in self._step(told):
            return []
        return [*self._tail.take(self._unheard_since or 0), *self._held.take(0)]

    def _unheard_for(self, ago: float | None, trip: float) -> float:
        """Seconds for which the cloud, which answers now, should have heard the track and did not; 0.0 also for one
        that does not tell."""
        if ago is None or not self._is_watched:
            return 0.0
        return max(0.0, min(ago, self._clock() - trip - self._writing_since))

    def unheard(self) -> list[Frame]:
        """What went by the track and was not heard, as far as a cloud has told that understands no numbers. It is not
        kept any more."""
        return self._tail.take(self._capture.now() if self._unheard_since is None else self._unheard_since)

    def hold(self, frame: Frame) -> bool:
        """Whether it has to wait."""
        waits = self._machine.state is FallbackState.ASKING
        if waits:
            self._held.note(frame)
        return waits

    async def write(self, frame: Frame) -> bool:
        """Puts a frame on the track; False when the place is lost."""
        self._tail.note(frame)
        pcm = self._rest + frame.pcm
        if frame.number.last:
            pcm += bytes(-len(pcm) % FRAME_BYTES)
        whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
        self._rest = pcm[whole:]
        for start in range(0, whole, FRAME_BYTES):
            if not await self.write_block(pcm[start : start + FRAME_BYTES]):
                return False
        if frame.number.last:
            await self.end()
        return True

    async def write_silence(self, length: int = FRAME_BYTES) -> bool:
        """So many bytes of it: it proves the path. False when the place is lost."""
        for _ in range(0, length, FRAME_BYTES):
            if not await self.write_block(bytes(FRAME_BYTES)):
                return False
        return True

    async def write_block(self, block: bytes) -> bool:
        """20 ms of sound; False when the place is lost."""
        now = self._clock()
        if now - self._written_at > LATELY:
            self._writing_since = now
        self._written_at = now
        done = await self._room.write(block, timeout=SEND_TIMEOUT)
        self._counts.into_room += done
        return done

    async def end(self) -> None:
        """The microphone stops."""
        await self._room.unpublish(timeout=SEND_TIMEOUT)
