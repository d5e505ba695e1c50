"""The bridges as a cloud sees them: any that speak the contract, ours or the original's, which knows no additions."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import structlog

from glassbridge.cloud.config import CloudConfig
from glassbridge.core.bridge_list import MOST, Standing
from glassbridge.core.diagnosis import BridgeStatus, Finding, Hop, hindered
from glassbridge.core.ownership import NodeState
from glassbridge.core.recovery import DECISIONS, BridgeFault, Trouble
from glassbridge.core.values import SAMPLE_RATE, Generation, LossReason, UserId
from glassbridge.core.voices import Hindrance
from glassbridge.livekit.tokens import agent_token
from glassbridge.runtime.addresses import UNIX, check_target, is_on_this_machine
from glassbridge.runtime.socket_owner import check_owner
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.telemetry import metrics, traces
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

log = structlog.get_logger()

REFUSALS = (
    LossReason.TOKEN_REFUSED,
    LossReason.TOKEN_EXPIRED,
    LossReason.CLOCK_SKEW,
    LossReason.UNREACHABLE,
    LossReason.LIMIT_EXCEEDED,
    BridgeFault.REFUSED,
)
"""What a bridge may say of a join that LiveKit refuses: LiveKit is asked why."""
JOINS_AT_A_TIME = 8
"""Joins of ours under way on one bridge; more would only wait inside of it, where they cannot be called off."""
ON_ITS_WAY_OUT = (BridgeFault.DIED, LossReason.CLOSED)
"""What a bridge that is gone, or about to be, says to a join: the next one is tried at once."""
REASON_KEY = "glassbridge-reason"
"""Trailing metadata of an audio stream that ends: a LossReason code (see the contract)."""
_REASONS = {pb.DisconnectReason.Value(f"REASON_{reason.name}"): reason for reason in LossReason}
_HINDRANCES = {pb.Hindrance.Value(f"HINDRANCE_{hindrance.name}"): hindrance for hindrance in Hindrance}
_CODEC = re.compile(r"[^\w.-]")
"""What is left out of the name of a codec, which the phone has chosen, before people read it."""
_FAULTS = {
    grpc.StatusCode.UNAVAILABLE: BridgeFault.DIED,
    grpc.StatusCode.DEADLINE_EXCEEDED: BridgeFault.TIMED_OUT,
}


async def _unexplained(_room: str) -> None:
    return None


Dial = Callable[[str], grpc.aio.Channel]
"""Opens a channel to a target."""


class BridgeError(Exception):
    """A bridge did not do what it was asked. The text holds nothing that the bridge said; `text` replaces that of the
    trouble where more is known."""

    def __init__(
        self,
        trouble: Trouble,
        above: Generation = Generation(0),  # noqa: B008 - a plain number
        text: str = "",
    ) -> None:
        super().__init__(text or trouble.text)
        self.trouble = trouble
        self.above = above
        """The generation that the bridge holds, where ours is too old."""


@dataclass(frozen=True, slots=True)
class SeatStatus:
    """What a bridge answered when it was asked for a place of ours."""

    lost: Trouble | None
    """Why it is not there any more; None: it is."""
    says: BridgeStatus | None
    """None: no answer in time."""
    generation: Generation = Generation(0)  # noqa: RUF009 - a plain number
    """Of the place that the bridge holds; 0: none, or it does not fence."""


class Bridge:
    """One bridge process behind one gRPC target."""

    def __init__(self, target: str, config: CloudConfig, channel: grpc.aio.Channel, *, told: bool = True) -> None:
        """`told`: the cloud was told of it when it started."""
        self.target = target
        self.standing = Standing(told)
        self.channel = channel
        self.stub: Any = LiveKitBridgeStub(self.channel)  # type: ignore[no-untyped-call]
        self.sessions = 0
        """Rooms of everybody, as it last said."""
        self.tasks = TaskGroup(f"bridge:{target}")
        """Ask it again and again how it is."""
        self._joins = asyncio.Semaphore(JOINS_AT_A_TIME)
        self._path = Path(target.removeprefix(UNIX)) if target.startswith(UNIX) else None
        self._owners = config.bridge_owners
        self._refused = ""
        is_known = config.far_bridges or told or is_on_this_machine(target)
        self._unknown = "" if is_known else "it is on another machine, and nothing proves who it is"

    @property
    def alive(self) -> bool:
        """As of the last answer or failure."""
        return self.standing.answers

    @property
    def trusted(self) -> bool:
        """It is whom it should be; nothing may be said to another one. Looks at the file of a socket each time."""
        why = check_owner(self._path, self._owners) if self._path is not None else self._unknown
        if why and why != self._refused:
            log.error(
                "bridge refused", worker=self.target, cause=why,
                action="set GLASSBRIDGE_BRIDGE_CA and what the cloud shows to bridges (docs/production.md)"
                if self._unknown
                else "run the bridge as the cloud's user, or set GLASSBRIDGE_BRIDGE_OWNER",
            )  # fmt: skip
        self._refused = why
        return not why

    @property
    def load(self) -> int:
        return max(self.sessions, self.standing.places)

    @asynccontextmanager
    async def turn_to_join(self, timeout: float) -> AsyncIterator[None]:
        """One's turn among JOINS_AT_A_TIME, first come first served. Raises BridgeError. Safe to cancel."""
        try:
            async with asyncio.timeout(timeout):
                await self._joins.acquire()
        except TimeoutError:
            raise BridgeError(BridgeFault.TIMED_OUT) from None
        try:
            yield
        finally:
            self._joins.release()


class SeatClient:
    """A place that a bridge holds in a user's room for us, and its audio stream. Single use."""

    def __init__(
        self,
        bridge: Bridge,
        user: UserId,
        session_id: str,
        generation: Generation,
        config: CloudConfig,
        world: World,
    ) -> None:
        self._world = world
        self.bridge = bridge
        self.generation = generation
        self._user = user
        self._session_id = session_id
        self._config = config
        self._call: Any = None
        self._heard_at: float | None = None
        bridge.standing.places += 1
        self._counted = True

    @property
    def joined(self) -> bool:
        """Whether the bridge said that it is in the room."""
        return self._call is not None

    @property
    def stream_age(self) -> float | None:
        """Seconds since anything came by the stream, heartbeats too; None before anything did."""
        return None if self._heard_at is None else self._world.monotonic() - self._heard_at

    async def join(self, room: str) -> None:
        """Puts the bridge into the room with a fresh token and opens the audio stream. Raises BridgeError.

        Safe to cancel: call release() then.
        """
        config = self._config
        request = pb.JoinRoomRequest(
            user_id=self._user,
            room_name=room,
            token=agent_token(
                config.livekit_keys, user=self._user, room=room, ttl=config.agent_token_ttl, now=self._world.wall()
            ),
            livekit_url=config.livekit_url,
            target_identity=self._user,
            generation=self.generation,
            session_id=self._session_id,
        )
        log.info(
            "LiveKit token minted",
            holder="bridge",
            user_id=self._user,
            session_id=self._session_id,
            generation=self.generation,
            seconds=config.agent_token_ttl,
        )
        try:
            answer = await self.bridge.stub.JoinRoom(request, timeout=config.join_timeout, metadata=traces.outgoing())
            if not answer.success:
                trouble = refusal_of(answer)
                log.info("join refused", user_id=self._user, generation=self.generation, error=answer.error[:200])
                above = (await self.status()).generation if trouble is LossReason.REPLACED else Generation(0)
                raise BridgeError(trouble, above)
            self._call = self.bridge.stub.StreamAudio(metadata=traces.outgoing())
            async with asyncio.timeout(config.bridge_timeout):
                await self._call.write(self._chunk(heartbeat=False))
        except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as error:
            raise BridgeError(_trouble_of(error)) from None

    async def listen(self, on_chunk: Callable[[pb.AudioChunk], None]) -> Trouble:
        """Hands on each chunk until the stream ends; returns why it did. Safe to cancel."""
        if self._call is None:
            raise RuntimeError("join comes first")
        call = self._call
        tasks = TaskGroup(f"heartbeat:{self._user}", partial(self._beat_failed, call))
        beat = tasks.spawn(self._beat(call), "beat")
        limit: float | None = None
        try:
            while True:
                async with asyncio.timeout(limit):
                    chunk = await self._call.read()
                self._heard_at = self._world.monotonic()
                if chunk is grpc.aio.EOF:
                    return _reason_in(await self._call.trailing_metadata()) or LossReason.STREAM_BROKEN
                if chunk.heartbeat:
                    limit = 2 * self._config.bridge_heartbeat
                    if not chunk.HasField("hops"):
                        continue
                on_chunk(chunk)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            return _trouble_of(error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return BridgeFault.TIMED_OUT  # not we were cancelled but the call: its heartbeat found no taker
        finally:
            beat.cancel()
            self._call.cancel()

    async def status(self) -> SeatStatus:
        """Whether the bridge says that it is in the room for this join, and what it hears there; takes a second."""
        request = pb.BridgeStatusRequest(user_id=self._user)
        try:
            answer = await self.bridge.stub.GetStatus(
                request, timeout=self._config.status_timeout, metadata=traces.outgoing()
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:  # one without this call is believed
                return SeatStatus(None, BridgeStatus(in_room=True))
            metrics.STATUS_ERRORS.add()
            return SeatStatus(_trouble_of(error), None)
        return status_of(answer, self.generation)

    async def leave(self, reason: str) -> bool:
        """Gives the place up, and no newer one (an old bridge cannot tell them apart); False when nobody answered."""
        request = pb.LeaveRoomRequest(user_id=self._user, reason=reason, generation=self.generation)
        try:
            await self.bridge.stub.LeaveRoom(request, timeout=self._config.bridge_timeout)
        except grpc.aio.AioRpcError as error:
            log.info("leave failed", user_id=self._user, generation=self.generation, error=error.code().name)
            return False
        return True

    def release(self) -> None:
        """Cancels what is open; idempotent."""
        if self._call is not None:
            self._call.cancel()
        if self._counted:
            self._counted = False
            self.bridge.standing.places -= 1

    def _chunk(self, heartbeat: bool) -> pb.AudioChunk:
        return pb.AudioChunk(
            user_id=self._user,
            sample_rate=SAMPLE_RATE,
            channels=1,
            generation=self.generation,
            heartbeat=heartbeat,
        )

    def _beat_failed(self, call: Any, _task: str, error: BaseException) -> None:
        """Ends listen(): without heartbeats the bridge would end the stream, 15 s later."""
        log.error("heartbeat failed", user_id=self._user, error=type(error).__name__, exc_info=error)
        call.cancel()

    async def _beat(self, call: Any) -> None:
        """Tells the bridge that we live; a stream that takes no more is cancelled, which ends listen()."""
        try:
            while True:
                await asyncio.sleep(self._config.bridge_heartbeat)
                async with asyncio.timeout(self._config.bridge_timeout):
                    await call.write(self._chunk(heartbeat=True))
        except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError):
            call.cancel()


class BridgePool:
    """All bridges of this cloud (core/bridge_list.py). `on_back` hears when one that was down answers again,
    `on_livekit_fault` when a join failed because of LiveKit."""

    def __init__(
        self,
        config: CloudConfig,
        on_back: Callable[[], None],
        on_livekit_fault: Callable[[], None],
        explain: Callable[[str], Awaitable[tuple[LossReason, str] | None]] = _unexplained,
        world: World = REAL,
        dial: Dial | None = None,
    ) -> None:
        """`explain`: why LiveKit lets nobody into a room, in words for people; None where that is not known. `dial`
        opens a channel to a target, instead of what the configuration says."""
        self._config = config
        self.world = world
        """By its wall clock tokens of bridges count."""
        dial = dial or partial(config.bridge_security.open, secret=lambda: config.keys.bridge)
        self._explain = explain
        self._on_back = on_back
        self._on_livekit_fault = on_livekit_fault
        self._dial = dial
        self._by_target = {target: Bridge(target, config, dial(target)) for target in config.bridges}
        self._tasks = TaskGroup("bridges")
        self._watches = False
        self._strange: set[str] = set()
        """What the directory lists and nobody can use."""

    @property
    def bridges(self) -> Collection[Bridge]:
        """All that there are now."""
        return self._by_target.values()

    @property
    def live(self) -> int:
        """How many bridges answer."""
        return sum(bridge.alive for bridge in self.bridges)

    async def join(
        self,
        user: UserId,
        session_id: str,
        generation: Generation,
        trying: Callable[[SeatClient], None],
        not_on: Bridge | None = None,
    ) -> SeatClient:
        """A seat in the user's room on the least loaded bridge; the next one is tried where one is gone.

        The room is named as the user is. `not_on` comes last. `trying` gets each seat before it is tried: whoever
        cancels this, which is safe, or gives up for good should leave() that one, for the bridge may have got there.
        Raises BridgeError.
        """
        for bridge in self._by_load(not_on):
            seat = SeatClient(bridge, user, session_id, generation, self._config, self.world)
            trying(seat)
            joined = False
            try:
                async with bridge.turn_to_join(self._config.join_timeout):
                    await seat.join(room=user)
                joined = True
            except BridgeError as error:
                if DECISIONS[error.trouble].hop is Hop.LIVEKIT:
                    self._on_livekit_fault()
                if error.trouble in REFUSALS and (found := await self._explain(user)) is not None:
                    why, text = found
                    about = {"user_id": user, "session_id": session_id, "generation": generation}
                    log.warning("join explained", cause=why.code, error=text, **about)
                    raise BridgeError(why, text=text) from None
                if error.trouble not in ON_ITS_WAY_OUT:
                    raise
                self.is_leaving(bridge)
            finally:
                if not joined:
                    seat.release()
            if joined:
                return seat
        raise BridgeError(BridgeFault.NONE_ANSWERS)

    def is_leaving(self, bridge: Bridge) -> None:
        """Takes no more rooms there until it says that it serves."""
        self._set_alive(bridge, False)

    def _by_load(self, not_on: Bridge | None) -> Iterable[Bridge]:
        """The live ones, least loaded first; where none is, all: news of a bridge can be old."""
        trusted = [bridge for bridge in self.bridges if bridge.trusted]
        live = [bridge for bridge in trusted if bridge.alive]
        return sorted(live or trusted, key=lambda bridge: (bridge is not_on, bridge.standing.lateness, bridge.load))

    def meet(self, listed: Mapping[str, NodeState]) -> None:
        """These are all bridges that the directory lists now."""
        strange = {target for target in islice(listed, MOST) if not _is_target(target)}
        if strange - self._strange:
            log.warning("bridges left out", count=len(strange), cause="the directory lists what is no bridge's address")
        self._strange = strange
        for target in islice(listed, MOST):
            if target not in self._by_target and target not in strange:
                log.info("bridge found", worker=target)
                bridge = self._by_target[target] = Bridge(target, self._config, self._dial(target), told=False)
                if self._watches:
                    self._watch_one(bridge)
        for target, bridge in self._by_target.items():
            bridge.standing.listed = listed.get(target)
        for bridge in [bridge for bridge in self.bridges if not bridge.standing.stays]:
            log.info("bridge forgotten", worker=bridge.target)
            del self._by_target[bridge.target]
            self._tasks.spawn(self._part_with(bridge), f"part:{bridge.target}")

    def start(self) -> None:
        """Begins to ask each bridge how it is."""
        self._watches = True
        for bridge in self.bridges:
            self._watch_one(bridge)

    def _watch_one(self, bridge: Bridge) -> None:
        bridge.tasks.keep(lambda: self._watch(bridge), "watch")

    async def _watch(self, bridge: Bridge) -> None:
        while True:
            await self._ask(bridge)
            await asyncio.sleep(self._config.bridge_poll)

    @staticmethod
    async def _part_with(bridge: Bridge) -> None:
        await bridge.tasks.close()
        await bridge.channel.close(None)

    async def _ask(self, bridge: Bridge) -> None:
        if not bridge.trusted:
            self._set_alive(bridge, False)
            return
        try:
            answer = await bridge.stub.HealthCheck(pb.HealthCheckRequest(), timeout=self._config.bridge_timeout)
        except grpc.aio.AioRpcError as error:
            # One that has no such call lives all the same.
            self._set_alive(bridge, error.code() is grpc.StatusCode.UNIMPLEMENTED)
        else:
            bridge.sessions = answer.active_sessions
            self._set_alive(bridge, answer.status != pb.HealthCheckResponse.NOT_SERVING)

    def _set_alive(self, bridge: Bridge, alive: bool) -> None:
        if bridge.alive == alive:
            return
        bridge.standing.answers = alive
        log.info("bridge answers" if alive else "bridge does not answer", worker=bridge.target)
        if alive:
            self._on_back()

    async def close(self) -> None:
        """Closes the channels; what is still open on them is cancelled."""
        await self._tasks.close()
        for bridge in self.bridges:
            await self._part_with(bridge)


def _is_target(text: str) -> bool:
    """Whether it is the address of a bridge: gRPC understands others, too."""
    try:
        return bool(check_target(text))
    except ValueError:
        return False


def status_of(answer: pb.BridgeStatusResponse, ours: Generation) -> SeatStatus:
    """What GetStatus says of our place."""
    generation = Generation(answer.generation)
    if generation not in (0, ours):
        return SeatStatus(LossReason.REPLACED, BridgeStatus(in_room=False), generation)
    if not answer.connected:
        lost = _REASONS.get(answer.last_disconnect_cause, LossReason.SUPERSEDED)
        return SeatStatus(lost, BridgeStatus(in_room=False), generation)
    tells_age = generation != 0 and answer.last_audio_age_ms >= 0  # an old bridge leaves it at 0
    news = answer.news if answer.HasField("news") else None
    says = BridgeStatus(
        in_room=True,
        audio_age=answer.last_audio_age_ms / 1000 if tells_age else None,
        phone_here=news.phone_here if news is not None else None,
        phone_publishes=news.phone_publishes if news is not None else None,
        hindered=hindered_by(news) if news is not None else None,
    )
    return SeatStatus(None, says, generation)


def refusal_of(answer: pb.JoinRoomResponse) -> Trouble:
    """Why a join was refused."""
    return _REASONS.get(answer.reason, BridgeFault.REFUSED)


def hindered_by(news: pb.RoomNews) -> Finding | None:
    """What keeps the phone's voice from being heard; None also for a hindrance that a newer bridge knows of."""
    hindrance = _HINDRANCES.get(news.hindrance)
    return None if hindrance is None else hindered(hindrance, _CODEC.sub("", news.codec)[:32])


def _trouble_of(error: Exception) -> Trouble:
    """What a failed call means. Its text is not used: it may quote what was sent."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return BridgeFault.TIMED_OUT if isinstance(error, TimeoutError) else LossReason.STREAM_BROKEN
    return trouble_of(error.code(), error.trailing_metadata())


def trouble_of(code: grpc.StatusCode, trailing: Iterable[tuple[str, str | bytes]] | None) -> Trouble:
    """What the end of a call means."""
    reason = _reason_in(trailing)
    return reason if reason is not None else _FAULTS.get(code, LossReason.STREAM_BROKEN)


def _reason_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> LossReason | None:
    """Why the bridge ended its stream; None where it did not say, or says what we do not know."""
    return next((LossReason.from_code(str(value)) for key, value in metadata or () if key == REASON_KEY), None)
