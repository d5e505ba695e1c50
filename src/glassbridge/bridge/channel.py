"""One track of ours, as its voices see it: it outlives the places in rooms where it is heard.

A voice that speaks while the place is lost waits for the next one and goes on there, from the last sound of which it is
known that it arrived.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.livekit.participant import FRAME_MS, LocalTrack, ParticipantError
from glassbridge.runtime.tasks import TaskGroup

LINGER: Final = 2.0
"""Seconds that a track stays published in silence; publishing again at once would cost 140 ms (traps A10)."""
REPEATED: Final = 150
"""Frames that are kept, to be said again in the next place."""
SETTLE: Final = 0.5
"""Seconds after a failure in which the place itself may turn out to be lost."""


class Publish(Protocol):
    """Publishes a track in a room. Raises ParticipantError."""

    def __call__(self, name: str, rate: int) -> Awaitable[LocalTrack]: ...


@dataclass(eq=False, slots=True)
class Membership:
    """A place in a room, as long as something can be said there."""

    publish: Publish
    left: asyncio.Event = field(default_factory=asyncio.Event)
    reason: LossReason | None = None
    """Why it was left; None: it was not."""
    unheard: float = 0.0
    """Seconds before its end of which nothing proves that they were heard."""


class Places(Protocol):
    """Where we are in a room."""

    async def place(self) -> Membership:
        """Where we are, or will be in a moment. Raises ParticipantError when that takes too long."""


Paused = Callable[[LossReason, int], None]
"""Called when the place is lost, with the milliseconds that will be said again in the next one."""


class Channel:
    """At most one voice speaks; a newer one silences the older. The track is published while a voice speaks, and
    LINGER seconds longer: an idle one costs CPU and was heard as static."""

    def __init__(self, name: str, places: Places, tasks: TaskGroup) -> None:
        self.name = name
        self._places = places
        self._tasks = tasks
        self._speaking = asyncio.Lock()
        self._silence: Callable[[], None] | None = None
        self._paused: Paused | None = None
        self._rate = SAMPLE_RATE
        self._track: LocalTrack | None = None
        self._published: tuple[Membership, int] | None = None
        """Where the track is, and its sample rate."""
        self._said: deque[bytes] = deque(maxlen=REPEATED)
        self._retiring: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a voice speaks, or waits for its turn."""
        return self._silence is not None

    def forget_track(self) -> None:
        """The place is gone, and its tracks with it."""
        if self._retiring is not None:
            self._retiring.cancel()
            self._retiring = self._track = None

    @asynccontextmanager
    async def voice(
        self, silence: Callable[[], None], rate: int = SAMPLE_RATE, paused: Paused | None = None
    ) -> AsyncIterator[None]:
        """The right to write, once the voice before has let go; `silence` is called when a newer one wants it.
        Safe to cancel."""
        if self._silence is not None:
            self._silence()
        self._silence = silence
        try:
            async with self._speaking:
                if self._retiring is not None:
                    self._retiring.cancel()
                    self._retiring = None
                self._said.clear()
                self._look_for_loss()
                self._rate, self._paused = rate, paused
                yield
        finally:
            if self._silence is silence:
                self._silence = None
                if self._track is not None and self._retiring is None:
                    with suppress(RuntimeError):  # the group is closed: so is all that we say
                        self._retiring = self._tasks.spawn(self._retire(), f"retire {self.name}")

    async def write(self, frame: bytes) -> None:
        """Says FRAME_MS; returns when the next are due, in which place ever. Raises ParticipantError. Safe to cancel
        between frames."""
        waiting = deque([frame])
        while waiting:
            waiting.extendleft(self._look_for_loss())
            place = await self._places.place()
            try:
                track = await self._track_in(place)
                await track.write(waiting[0])
            except ParticipantError:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SETTLE):
                        await place.left.wait()
                if place.reason is None:
                    raise
            else:
                self._said.append(waiting.popleft())

    async def drain(self) -> None:
        """Returns when what was said has been heard. Safe to cancel."""
        if self._track is not None:
            with suppress(ParticipantError):  # of the last 0.1 s nothing is left to be said again
                await self._track.drain()

    async def _track_in(self, place: Membership) -> LocalTrack:
        if self._track is not None and self._published == (place, self._rate):
            return self._track
        track, self._track = self._track, None
        if track is not None and self._published is not None and self._published[0] is place:
            await track.unpublish()  # it has another sample rate
        self._track = await place.publish(self.name, self._rate)
        self._published = place, self._rate
        return self._track

    def _look_for_loss(self) -> list[bytes]:
        """Sound that must be played again because our last place is lost, newest first."""
        place = self._published[0] if self._published is not None else None
        if place is None or place.reason is None:
            return []
        self._track = self._published = None
        count = min(len(self._said), round(place.unheard * 1000 / FRAME_MS))
        again = [self._said.pop() for _ in range(count)]
        if self._paused is not None:
            self._paused(place.reason, count * FRAME_MS)
        return again

    async def _retire(self) -> None:
        if self._track is not None:
            with suppress(ParticipantError):
                # The rest of a voice in the encoder, after a cut, would be heard at the next use of the track.
                await self._track.drain()
        await asyncio.sleep(LINGER)
        track, self._track, self._retiring = self._track, None, None
        if track is not None:
            await track.unpublish()
