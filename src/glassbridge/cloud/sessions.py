"""All sessions of this cloud, one for each user."""

import asyncio
from collections.abc import Collection
from itertools import count

import structlog

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.bridge_client import BridgePool
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.connection import PhoneConnection
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.livekit_watch import LiveKitWatch
from glassbridge.cloud.session import DRAINING, UserSession
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.core import audio_link
from glassbridge.core.session import SocketNumber
from glassbridge.core.values import UserId
from glassbridge.livekit.rooms import RoomService
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Recogniser
from glassbridge.speech.supervisor import Speech
from glassbridge.telemetry import metrics
from glassbridge.telemetry.loop_lag import watch_loop

log = structlog.get_logger()

DRAIN_PACE = 0.002
"""Seconds between two phones that are sent away, while time allows: they all come back at once, somewhere else."""


class Sessions:
    """Owns the sessions and the bridges that they use."""

    def __init__(self, config: CloudConfig, recogniser: Recogniser, rooms: RoomService, apps: AppHost) -> None:
        self._config = config
        self._apps = apps
        self._examiner = Examiner(rooms)
        self.speech = Speech(recogniser, metrics.RECOGNISER_LAG.observer(), metrics.RECOGNISER_PARTIAL_LAG.observer())
        self._watch = LiveKitWatch(rooms, self._way_back)
        self.flights = Flights(config.secrets, keeps=config.recorder)
        self.pool = BridgePool(config, self._way_back, self._watch.complain, self._watch.explain)
        self._by_user: dict[UserId, UserSession] = {}
        self._holder: dict[PhoneConnection, UserSession] = {}
        self._closing: dict[UserId, asyncio.Task[None]] = {}
        """What is left of the user's newest former session, until it is gone."""
        self._empty = asyncio.Event()
        self._empty.set()
        self._tasks = TaskGroup("sessions")
        self._numbers = count(1)
        self.draining = False

    def start(self) -> None:
        """Begins to watch the bridges."""
        self._tasks.keep(self.pool.watch, "bridges")
        self._tasks.keep(self._watch.run, "livekit")
        self._tasks.keep(self.flights.run, "flights")
        self._tasks.keep(watch_loop, "loop-lag")
        self._tasks.keep(Pulse().run, "pulse")

    @property
    def living(self) -> Collection[UserSession]:
        """All, those in grace included."""
        return self._by_user.values()

    @property
    def active(self) -> int:
        """Sessions, those in grace included."""
        return len(self._by_user)

    def has_room(self, user: UserId) -> bool:
        """Whether a socket of this user can be taken: there is a limit to sessions."""
        return user in self._by_user or len(self._by_user) < self._config.max_sessions

    def apps_of(self, user: UserId) -> UserApps | None:
        """None: this user has no session here."""
        session = self._by_user.get(user)
        return None if session is None else session.apps

    def unnumbered_of(self, user: UserId) -> Unnumbered | None:
        """None: this user has no session here."""
        session = self._by_user.get(user)
        return None if session is None else session.unnumbered

    def transcripts_of(self, user: UserId) -> Transcripts | None:
        """None: this user has no session here."""
        session = self._by_user.get(user)
        return None if session is None else session.transcripts

    def next_number(self) -> SocketNumber:
        """A number for a socket, greater than all before."""
        return SocketNumber(next(self._numbers))

    async def serve(self, connection: PhoneConnection) -> None:
        """Serves a socket until it is closed."""
        self.take(connection)
        try:
            await connection.run()
        finally:
            self._holder.pop(connection).closed(connection)

    def take(self, connection: PhoneConnection) -> None:
        """Finds or makes the session for a socket."""
        user = connection.user
        session = self._by_user.get(user)
        if session is None:
            former = self._closing.get(user)
            session = UserSession(
                user, self, self._config, self.pool, self.speech, self._examiner, self._apps, self.flights, former
            )
            self._by_user[user] = session
            metrics.SESSIONS_STARTED.add()
            self._empty.clear()
            session.start()
        self._holder[connection] = session
        session.opened(connection)

    def drop(self, session: UserSession) -> None:
        """Forgets the session, if it is still the user's, and closes it."""
        if self._by_user.get(session.user) is not session:
            return
        del self._by_user[session.user]
        task = self._tasks.spawn(session.close(), f"close:{session.user}")
        self._closing[session.user] = task
        task.add_done_callback(lambda done: self._forget(session.user, done))

    def _forget(self, user: UserId, task: asyncio.Task[None]) -> None:
        if self._closing.get(user) is task:
            del self._closing[user]
        if not self._by_user and not self._closing:
            self._empty.set()

    def _way_back(self) -> None:
        for session in self._by_user.values():
            session.link.post(audio_link.BridgeBack())

    async def close(self) -> None:
        """Tells every phone that we are going, one after the other, and leaves every room; takes `drain` seconds and
        little more."""
        self.draining = True
        sessions = sorted(self._by_user.values(), key=lambda session: session.has_phone)
        log.info("draining", sessions=len(sessions))
        pace = min(DRAIN_PACE, self._config.drain / 2 / max(1, len(sessions)))
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        try:
            async with asyncio.timeout(self._config.drain):
                for session in sessions:
                    session.end(DRAINING)
                    if session.has_phone:
                        next_at += pace
                        await asyncio.sleep(max(0.0, next_at - loop.time()))
                await self._empty.wait()
        except TimeoutError:
            log.warning("sessions left behind", sessions=len(self._by_user) + len(self._closing))
        self.flights.stop()
        await self._tasks.close(timeout=1.0)
        await self.pool.close()
