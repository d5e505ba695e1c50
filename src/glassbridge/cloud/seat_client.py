"""A seat: the place that a bridge holds for a cloud in the room of one user, with the stream of its audio."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import structlog

from glassbridge.cloud.bridge_answers import BridgeError, SeatStatus, cause_of, reason_in, refusal_of, status_of
from glassbridge.cloud.bridge_process import Bridge
from glassbridge.cloud.config import CloudConfig
from glassbridge.core.diagnosis import BridgeStatus
from glassbridge.core.recovery import BridgeFault, Trouble
from glassbridge.core.values import SAMPLE_RATE, Generation, LossReason, UserId
from glassbridge.livekit.tokens import agent_token
from glassbridge.runtime.tasks import TaskGroup, end_if_cancelled
from glassbridge.runtime.world import World
from glassbridge.telemetry import metrics, traces
from glassbridge.wire import livekit_bridge_pb2 as pb

log = structlog.get_logger()


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
            raise BridgeError(cause_of(error)) from None

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
                    return reason_in(await self._call.trailing_metadata()) or LossReason.STREAM_BROKEN
                if chunk.heartbeat:
                    limit = 2 * self._config.bridge_heartbeat
                    if not chunk.HasField("hops"):
                        continue
                on_chunk(chunk)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            return cause_of(error)
        except asyncio.CancelledError:
            end_if_cancelled()
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
            return SeatStatus(cause_of(error), None)
        return status_of(answer, self.generation)

    async def leave(self, reason: str) -> bool:
        """Gives the place up, and no newer one (an old bridge cannot tell them apart); False without an answer."""
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
