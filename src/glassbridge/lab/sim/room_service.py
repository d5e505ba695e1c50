"""LiveKit's room service as a cloud sees it: questions over connections of their own, and the watch over it."""

from collections.abc import Callable
from typing import TypeVar

from glassbridge.cloud.livekit_watch import LOOK_EVERY, WATCH_FOR
from glassbridge.lab.sim.livekit import LiveKit
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.world import Process

ANSWER_WITHIN = 1.0
"""Seconds that the service has."""

A = TypeVar("A")


class RoomService:
    """One cloud's way to it."""

    def __init__(self, process: Process, livekit: LiveKit, link: Link) -> None:
        self.process = process
        self._livekit = livekit
        self._link = link
        self._end = 0 if link.ends[0] is process else 1

    def ask(self, read: Callable[[LiveKit], A], done: Callable[[A | None], None]) -> None:
        """`done` gets what `read` finds there, or None after ANSWER_WITHIN seconds at the latest."""
        end, over = self._end, False

        def answer(found: A | None) -> None:
            nonlocal over
            if not over:
                over = True
                done(found)

        def serve(connection: Connection) -> None:
            connection.send(1 - end, answer, read(self._livekit))
            connection.close(1 - end)

        def opened(connection: Connection) -> None:
            connection.send(end, serve, connection)
            self.process.after(ANSWER_WITHIN, connection.close, end)

        self.process.after(ANSWER_WITHIN, answer, None)
        self._link.dial(end, ANSWER_WITHIN, opened, lambda _refused: answer(None))


class LiveKitWatch:
    """Looks after somebody complained, as cloud/livekit_watch.py does; `on_back` hears when LiveKit answers again."""

    def __init__(self, service: RoomService, on_back: Callable[[], None]) -> None:
        self._service = service
        self._on_back = on_back
        self._until = 0.0
        self._looking = self._down = False

    def reset(self) -> None:
        """A new life of the cloud."""
        self._until = 0.0
        self._looking = self._down = False

    def complain(self) -> None:
        """A join failed for LiveKit's sake."""
        self._until = self._service.process.clock() + WATCH_FOR
        if not self._looking:
            self._looking = True
            self._look()

    def _look(self) -> None:
        self._service.ask(lambda _livekit: True, self._found)

    def _found(self, answer: bool | None) -> None:
        was_down, self._down = self._down, answer is None
        if was_down and not self._down:
            self._service.process.note("livekit is back")
            self._on_back()
        self._looking = self._down or self._service.process.clock() < self._until
        if self._looking:
            self._service.process.after(LOOK_EVERY, self._look)
