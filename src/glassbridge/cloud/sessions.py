"""All sessions of this cloud, one for each user."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from itertools import count
from weakref import WeakValueDictionary

import structlog
from msgspec.structs import replace as replace_struct

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.bridge_pool import BridgePool, Dial
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.connection import PhoneConnection
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.handover import LATE_TIME, HandOverClient
from glassbridge.cloud.livekit_watch import LiveKitWatch
from glassbridge.cloud.moving import rebalance, send_all_away
from glassbridge.cloud.ownership import TooLate, UserOwnership, Won
from glassbridge.cloud.session import UserSession
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.cluster.directory import Directory, Node
from glassbridge.core import audio_link, ownership
from glassbridge.core.moving import CloudStage
from glassbridge.core.ownership import Claim, Epoch, NodeState, Owner, OwnershipState, Refused, Role, decide
from glassbridge.core.session import SocketNumber
from glassbridge.core.values import UserId
from glassbridge.livekit.rooms import RoomService
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Recogniser
from glassbridge.speech.supervisor import Speech
from glassbridge.telemetry import metrics
from glassbridge.telemetry.loop_lag import watch_loop
from glassbridge.telemetry.recorder import SteadyClock
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.cluster import HandOver, HandOverRequest

log = structlog.get_logger()

ENTER_TIME = 0.2
"""Seconds that a request for a hand-over waits for a socket of the user that enters right now."""
SETTLE_TIME = 1.5
"""Seconds that a request of a user waits for the same: a claim and two questions for a hand-over."""
MOST_GIVEN = 10_000
"""Users of whom this cloud remembers by which claim another took them,"""
PARTED = 2 * LATE_TIME
"""and for so many seconds what they had: the new owner may ask late, or not have heard the answer."""


class Sessions:
    """Owns the sessions and the bridges that they use."""

    def __init__(
        self,
        config: CloudConfig,
        recogniser: Recogniser,
        rooms: RoomService,
        apps: AppHost,
        dial: Dial | None = None,
        on_session: Callable[[UserSession], object] = lambda _session: None,
    ) -> None:
        """`dial` opens channels to bridges, where that is not to be done as the configuration says. `on_session` is
        given each session as it begins."""
        self._world = world = apps.world
        self._config = config
        self._apps = apps
        self._on_session = on_session
        self._examiner = Examiner(rooms)
        self.speech = Speech(recogniser, metrics.RECOGNISER_LAG.observer(), metrics.RECOGNISER_PARTIAL_LAG.observer())
        self.livekit = LiveKitWatch(rooms, self._way_back)
        self._pulse = Pulse(clock=world.monotonic)
        self.flights = Flights(config.secrets, SteadyClock(world.wall, world.monotonic), keeps=config.recorder)
        self.pool = BridgePool(config, self._way_back, self.livekit.complain, self.livekit.explain, world, dial)
        self._by_user: dict[UserId, UserSession] = {}
        self._holder: dict[PhoneConnection, UserSession] = {}
        self._served: set[PhoneConnection] = set()
        self._turns: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()
        self._given: dict[UserId, Claim] = {}
        """The claims by which others took users from this one, the newest last: the directory may not know of them."""
        self._parted: dict[UserId, tuple[float, UserSession]] = {}
        """Sessions that moved, and until when what they had is remembered; the oldest first."""
        self._overtaken: dict[UserId, Epoch] = {}
        """Epochs of others that were heard of while a socket of the user was entering."""
        self._closing: dict[UserId, asyncio.Task[None]] = {}
        """The rest of the user's newest former session, until it is gone."""
        self._empty = asyncio.Event()
        self._empty.set()
        self._tasks = TaskGroup("sessions")
        self._numbers = count(1)
        self.begun = 0
        """Sessions so far."""
        self.stage = CloudStage.SERVING

    def join(self, directory: Directory, owner: Owner, client: HandOverClient | None) -> None:
        """Comes before everything else. The directory is closed in the end; `client` asks other clouds, if there are
        any."""
        self.keeper = keeper = UserOwnership(directory, owner, self, client, self._world)
        if keeper.shared:
            self.speech.recogniser.limits.share.now = lambda: keeper.share

    def start(self) -> None:
        """Begins to watch the bridges, and to keep the lease in the directory."""
        self._tasks.keep(self.keeper.run, "directory")
        self.pool.start()
        self._tasks.keep(self.livekit.run, "livekit")
        self._tasks.keep(self.flights.run, "flights")
        self._tasks.keep(watch_loop, "loop-lag")
        self._tasks.keep(self._pulse.run, "pulse")

    @property
    def living(self) -> Collection[UserSession]:
        """All, those in grace included."""
        return self._by_user.values()

    @property
    def leaving(self) -> tuple[UserId, ...]:
        """Users with a former session that is not gone yet."""
        return tuple(self._closing)

    @property
    def active(self) -> int:
        """Sessions, those in grace included."""
        return len(self._by_user)

    @property
    def capacity_left(self) -> float:
        """The part of the sessions that may still come."""
        return max(0.0, 1 - self.active / max(1, self._config.max_sessions))

    def has_room(self, user: UserId) -> bool:
        """Whether a socket of this user can be taken: there is a limit to sessions."""
        return user in self._by_user or len(self._by_user) < self._config.max_sessions

    def apps_of(self, user: UserId) -> UserApps | None:
        """None: this user has no session here."""
        session = self._by_user.get(user)
        return None if session is None else session.apps

    def is_here(self, user: UserId) -> bool:
        """Whether this user has a session here."""
        return user in self._by_user

    def given_to(self, user: UserId) -> str:
        """The address of the cloud that has taken the user from this one; empty: none has, as far as is known."""
        given = self._given.get(user)
        return "" if given is None else given.owner.address

    async def settled(self, user: UserId) -> None:
        """Waits for a socket of this user that enters right now, SETTLE_TIME at most."""
        turn = self._turns.get(user)
        if turn is None or not turn.locked():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIME), turn:
                pass

    def unnumbered_of(self, user: UserId) -> Unnumbered | None:
        """None: this user has no session here."""
        session = self._by_user.get(user)
        return None if session is None else session.audio.unnumbered

    def transcripts_of(self, user: UserId) -> Transcripts | None:
        """None: this user has no session here."""
        session = self._by_user.get(user)
        return None if session is None else session.audio.transcripts

    def next_number(self) -> SocketNumber:
        """A number for a socket, greater than all before."""
        return SocketNumber(next(self._numbers))

    async def serve(self, connection: PhoneConnection) -> None:
        """Serves a socket until it is closed."""
        if connection.params.beside:
            session = self._by_user.get(connection.user)
            if session is None or not session.opened_beside(connection):
                connection.close(CloseCode.NORMAL)
            try:
                await connection.run()
            finally:
                if session is not None:
                    session.sockets.closed_beside(connection)
            return
        self._served.add(connection)
        try:
            await self._enter(connection)
            await connection.run()
        finally:
            self._served.discard(connection)
            if (session := self._holder.pop(connection, None)) is not None:
                session.sockets.closed(connection)

    def take(self, connection: PhoneConnection) -> None:
        """Finds or makes the session for a socket."""
        if not self.stage.takes:
            connection.close(CloseCode.DRAINING)
            return
        self._tasks.spawn(self._enter(connection), f"enter:{connection.user}")

    async def _enter(self, connection: PhoneConnection) -> None:
        """Claims the user for this socket, and finds or makes the session: one socket of a user at a time."""
        user, params = connection.user, connection.params
        async with self._turn(user):
            if connection not in self._served:
                return
            known = self._by_user.get(user)
            session_id = self._world.token(6) if known is None else known.id
            wanted = Claim(user, self.keeper.owner, session_id, params.phone, params.attempt)
            mine = None if known is None else known.ownership.claim
            session = known
            won = await self.keeper.claim(
                wanted, mine, self._given.pop(user, None), lambda handed: self._take_late(session, handed)
            )
            overtaken = self._overtaken.pop(user, Epoch(0))
            if isinstance(won, TooLate) or overtaken > won.claim.epoch:
                self._refuse(connection, user, won)
                return
            session = self._by_user.get(user)
            if session is not None and won.lost_meanwhile:
                session.own(ownership.Taken(won.claim.epoch))
                session = None
            if session is None:
                session = self._begin(won, anew=known is not None and not won.goes_on)
            session.own((ownership.Held if won.held else ownership.Assumed)(won.claim))
            self._holder[connection] = session
            session.sockets.opened(connection)

    def _take_late(self, session: UserSession | None, handed: HandOver) -> None:
        """The former owner answers after the session has begun without it."""
        if session is None or self._by_user.get(session.user) is not session or handed.stays:
            return
        log.info("session handed over late", user_id=session.user, session_id=session.id, epoch=handed.epoch)
        metrics.HAND_OVERS.add("handed_late")
        session.take_over(handed)
        mine = session.ownership.claim
        if mine is not None and handed.epoch > mine.epoch:
            raised = replace(mine, epoch=Epoch(handed.epoch))
            session.own(ownership.Assumed(raised))
            self.keeper.restore(raised)

    def _refuse(self, connection: PhoneConnection, user: UserId, won: Won | TooLate) -> None:
        """A newer socket of the user is elsewhere."""
        log.info("late socket refused", user_id=user, socket=connection.number, attempt=connection.params.attempt)
        connection.close(CloseCode.SUPERSEDED)
        if isinstance(won, TooLate) and won.by is not None:
            self.own(user, ownership.Taken(won.by.epoch))

    def _begin(self, won: Won, *, anew: bool) -> UserSession:
        """`anew`: the session that was claimed has ended meanwhile."""
        user = won.claim.user
        claim = replace(won.claim, session=self._world.token(6)) if anew else won.claim
        session = UserSession(
            user, self, self._config, self.pool, self.speech, self._examiner, self._apps, self.flights, self._pulse,
            self._closing.get(user), claim, won.handed, goes_on=won.goes_on,
        )  # fmt: skip
        self._by_user[user] = session
        self.begun += 1
        metrics.SESSIONS_STARTED.add()
        self._empty.clear()
        session.start()
        self._on_session(session)
        return session

    def _turn(self, user: UserId) -> asyncio.Lock:
        """Only one task at a time changes the owner of this user."""
        return self._turns.setdefault(user, asyncio.Lock())

    # ---- what other clouds take

    def claims(self) -> list[Claim]:
        """Of all users that this cloud owns."""
        return [one.ownership.claim for one in self._by_user.values() if one.ownership.claim is not None]

    def claim_of(self, user: UserId) -> Claim | None:
        """None: this cloud does not own the user."""
        session = self._by_user.get(user)
        return None if session is None else session.ownership.claim

    def own(self, user: UserId, event: ownership.Event) -> None:
        """The ownership of this user has changed."""
        session = self._by_user.get(user)
        if session is not None:
            session.own(event)
        elif isinstance(event, ownership.Taken) and user in self._turns:
            self._overtaken[user] = max(event.epoch, self._overtaken.get(user, event.epoch))

    def node_state(self) -> tuple[NodeState, int]:
        """Whether this cloud takes new users, and how many it has."""
        return NodeState.of(self.active, self._config.max_sessions, draining=not self.stage.ready), self.active

    def meet(self, nodes: tuple[Node, ...]) -> None:
        """These are all nodes now."""
        self._forget_parted()
        self.pool.meet({node.owner.address: node.state for node in nodes if node.role is Role.BRIDGE})
        if self.stage is CloudStage.SERVING:
            rebalance(list(self.living), nodes, self.keeper.owner.incarnation, self._config.rebalance)

    async def give(self, asked: HandOverRequest) -> HandOver:
        """Another cloud owns this user now: the session moves there."""
        user, owner = UserId(asked.user), Owner(asked.node, asked.incarnation, asked.address)
        self.keeper.met(owner)
        if asked.asked != self.keeper.owner.incarnation:
            return HandOver()
        try:
            async with asyncio.timeout(ENTER_TIME), self._turn(user):
                pass  # a socket of the user that enters right now has its session afterwards
        except TimeoutError:
            pass
        session = self._by_user.get(user)
        mine = None if session is None else session.ownership.claim
        if session is None or mine is None:
            self.own(user, ownership.Taken(Epoch(asked.epoch)))
            given = self._given.get(user)
            return _naming(self._handed_before(user, asked), None if given is None else given.owner)
        verdict = decide(mine, Claim(user, owner, session.id, asked.phone, asked.attempt), asked.epoch)
        if isinstance(verdict, Refused):
            return HandOver(session=session.id, epoch=mine.epoch, stays=True)
        handed = replace_struct(session.hand_over(), epoch=verdict.claim.epoch)
        log.info("session handed over", user_id=user, session_id=session.id, node=owner.node, epoch=handed.epoch)
        session.own(ownership.Taken(verdict.claim.epoch))
        self._given[user] = verdict.claim
        if len(self._given) > MOST_GIVEN:
            del self._given[next(iter(self._given))]
        return _naming(handed, next(iter(self.keeper.silent(user)), None))

    def _handed_before(self, user: UserId, asked: HandOverRequest) -> HandOver:
        """The user's former state here, if recent."""
        self._forget_parted()
        if (parted := self._parted.get(user)) is None:
            return HandOver()
        log.info("session handed over", user_id=user, session_id=parted[1].id, node=asked.node, epoch=asked.epoch)
        return replace_struct(parted[1].hand_over(), epoch=parted[1].ownership.epoch + 1)

    def _forget_parted(self) -> None:
        now = self._world.monotonic()
        while self._parted and (len(self._parted) > MOST_GIVEN or next(iter(self._parted.values()))[0] <= now):
            del self._parted[next(iter(self._parted))]

    def release(self, claim: Claim) -> None:
        """Gives up this user, if the claim is still ours."""
        self._tasks.spawn(self._release(claim), f"release:{claim.user}")

    async def _release(self, claim: Claim) -> None:
        async with self._turn(claim.user):
            session = self._by_user.get(claim.user)
            if session is None or session.ownership.epoch != claim.epoch:
                await self.keeper.release(claim)
            self._overtaken.pop(claim.user, None)

    def drop(self, session: UserSession) -> None:
        """Forgets the session, if it is still the user's, and closes it."""
        if self._by_user.get(session.user) is not session:
            return
        del self._by_user[session.user]
        if session.ownership.state is OwnershipState.MOVED:
            metrics.SESSIONS_MOVED.add()
            self._parted.pop(session.user, None)
            self._parted[session.user] = self._world.monotonic() + PARTED, session
        task = self._tasks.spawn(session.close(), f"close:{session.user}")
        self._closing[session.user] = task
        task.add_done_callback(lambda done: self._forget(session.user, done))

    def _forget(self, user: UserId, task: asyncio.Task[None]) -> None:
        if self._closing.get(user) is task:
            del self._closing[user]
        if not self._by_user and not self._closing:
            self._empty.set()

    def _way_back(self) -> None:
        links = [session.link for session in self._by_user.values()]
        waiting = sum(link.coming or link.state is audio_link.LinkState.INTERRUPTED for link in links)
        for link in links:
            link.post(audio_link.BridgeBack(waiting))

    async def drain(self, delay: float) -> None:
        """Sends every user to another cloud, or ends the session; takes `delay` seconds, in which all goes on but the
        balancer sees that we are going, and then the time of a drain. Idempotent; safe to cancel."""
        if self.stage is CloudStage.DRAINING:
            return
        self.stage = CloudStage.LEAVING
        log.info("draining", sessions=len(self._by_user), delay_s=delay)
        await asyncio.sleep(delay)
        self.stage = CloudStage.DRAINING
        clock, drain = self._apps.world.monotonic, self._config.drain
        successor = self.keeper.has_successor
        await send_all_away(clock, lambda: list(self.living), self._empty, drain, has_successor=successor)

    async def close(self) -> None:
        """Ends what is left, and releases everything."""
        await self.drain(0.0)
        if self._by_user or self._closing:
            log.warning("sessions left behind", sessions=len(self._by_user) + len(self._closing))
        self.flights.stop()
        await self.keeper.close()
        await self._tasks.close(timeout=1.0)
        await self.pool.close()


def _naming(handed: HandOver, other: Owner | None) -> HandOver:
    """The same, with the name of another cloud that may hold something of the user."""
    if other is None:
        return handed
    return replace_struct(handed, node=other.node, incarnation=other.incarnation, address=other.address)
