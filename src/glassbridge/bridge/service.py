"""The seven RPCs. Translates between the contract and the rooms; decides nothing."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import grpc
import structlog

from glassbridge import __version__
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.contract import MAX_NAME, REASON_KEY, SERVICE, TO_WIRE, check_join
from glassbridge.bridge.fetch import PlaybackError
from glassbridge.bridge.lifeline import resident_mb
from glassbridge.bridge.playback import COMPLETED, FAILED, STARTED, Player, failed
from glassbridge.bridge.rooms import Rooms
from glassbridge.core.room import Refuse
from glassbridge.core.values import Generation, LossReason, UserId, user_id
from glassbridge.runtime.queues import QueueClosed
from glassbridge.runtime.world import REAL, World
from glassbridge.telemetry import metrics, traces
from glassbridge.telemetry.traces import Span, SpanRole
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeServicer

log = structlog.get_logger()

ANSWER_MARGIN = 0.1
"""Seconds, at most a fifth of what a caller gives us, that are kept back to answer it in time."""
FIRST_CHUNK_WITHIN = 10.0
GENTLE = frozenset({LossReason.REPLACED, LossReason.CLOSED})
"""Ends of a stream that were requested: no error, else the original's cloud would join again and fight."""
GENTLE_UNFENCED = frozenset({LossReason.SUPERSEDED})
"""The same for joins without a generation. Their cloud (the original's) joins again after any error, so two of them
would take the user from each other for ever. Ours asks its phone first (core/recovery.py), so it needs the error."""
IN_DOUBT = frozenset({LossReason.NETWORK, LossReason.MEDIA_FAILED, LossReason.TIMED_OUT})
"""Gentle, too, for joins without a generation where the bridge joins again by itself: once it gives that up because
somebody else may hold the user by now, its cloud must not try with its old token either."""

RESULTS = {COMPLETED: "completed", FAILED: "failed"}
"""Of a playback, by its last event; a caller that leaves before that has cancelled it."""

Context = grpc.aio.ServicerContext[Any, Any]


class BridgeService(LiveKitBridgeServicer):
    """One worker's service."""

    def __init__(
        self,
        rooms: Rooms,
        player: Player,
        config: BridgeConfig,
        worker: int,
        world: World = REAL,
        about_process: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        """`about_process`: what else is told of a healthy worker."""
        self._about_process = about_process or _about_process
        self._clock = world.monotonic
        self._rooms = rooms
        self._player = player
        self._config = config
        self._worker = worker
        self._begun = self._clock()
        self.draining = False

    # ---- rooms

    async def JoinRoom(self, request: pb.JoinRoomRequest, context: Context) -> pb.JoinRoomResponse:
        caller = traces.incoming(context.invocation_metadata())
        with Span("JoinRoom", caller, SpanRole.SERVER, worker=self._worker, generation=request.generation) as span:
            answer = await self._join_room(request, context)
            if not answer.success:
                span.end(answer.error)
            return answer

    async def _join_room(self, request: pb.JoinRoomRequest, context: Context) -> pb.JoinRoomResponse:
        await self._refuse_if_draining(context)
        try:
            user = user_id(request.user_id)
            check_join(request)
        except ValueError as error:
            return pb.JoinRoomResponse(error=str(error))
        log.info(
            "JoinRoom received",
            user_id=user,
            session_id=request.session_id,
            room_name=request.room_name,
            generation=request.generation,
        )
        host, begun = self._rooms.of(user), self._clock()
        refusal = await host.join(request, self._time_for(context))
        await self._refuse_if_draining(context)
        if refusal is not None:
            reason = refusal.reason or LossReason.INTERNAL
            metrics.ROOM_JOINS.add("failed", reason.code)
            log.warning(
                "JoinRoom failed",
                user_id=user,
                session_id=request.session_id,
                room_name=request.room_name,
                generation=request.generation,
                reason=reason.code,
                detail=refusal.detail,
            )
            return _not_joined(reason, refusal.detail)
        seat = host.seat
        if seat is None or seat.participant is None:  # lost again in the meantime
            gone = host.machine.reason or LossReason.REPLACED
            metrics.ROOM_JOINS.add("failed", gone.code)
            return _not_joined(gone)
        metrics.ROOM_JOINS.add("joined", "")
        metrics.ROOM_JOIN_TIME.observe(self._clock() - begun)
        return pb.JoinRoomResponse(
            success=True,
            participant_id=seat.participant.identity,
            participant_count=seat.count,
            metadata={"participant_sid": seat.participant.sid, "worker": str(self._worker)},
        )

    async def LeaveRoom(self, request: pb.LeaveRoomRequest, _context: Context) -> pb.LeaveRoomResponse:
        try:
            user = user_id(request.user_id)
        except ValueError as error:
            return pb.LeaveRoomResponse(error=str(error))
        log.info("LeaveRoom received", user_id=user, generation=request.generation, reason=request.reason[:256])
        host = self._rooms.find(user)
        if host is None:
            return pb.LeaveRoomResponse(error="session not found")
        refusal = host.leave(Generation(request.generation))
        if refusal is not None:
            return pb.LeaveRoomResponse(error=_text(refusal))
        return pb.LeaveRoomResponse(success=True)

    async def GetStatus(self, request: pb.BridgeStatusRequest, _context: Context) -> pb.BridgeStatusResponse:
        status = pb.BridgeStatusResponse(server_version=__version__, last_audio_age_ms=-1)
        try:
            user = user_id(request.user_id)
        except ValueError:
            return status
        last = self._rooms.memory.of(user)
        if last is not None:
            status.last_disconnect_at = last.at_ms
            status.last_disconnect_reason = last.reason.text
            status.last_disconnect_cause = TO_WIRE[last.reason]
        host = self._rooms.find(user)
        seat = host.seat if host is not None else None
        participant = seat.participant if seat is not None else None
        if host is None or seat is None or participant is None:
            return status
        status.generation = host.machine.generation
        status.connected = host.machine.state.holds_place
        status.participant_id = participant.identity
        status.participant_count = seat.count
        seat.microphone.judge()
        status.news.CopyFrom(seat.microphone.news)
        if seat.microphone.heard_at is not None:
            status.last_audio_age_ms = int((self._clock() - seat.microphone.heard_at) * 1000)
        return status

    # ---- audio

    async def StreamAudio(self, _chunks: Any, context: Context) -> None:
        first, user = await self._first_chunk(context)
        host = self._rooms.find(user)
        if host is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "session not found: JoinRoom comes first")
        stream = host.open_stream(Generation(first.generation))
        if isinstance(stream, Refuse):
            if stream.reason is not None:
                await self._end(context, stream.reason, host.machine.generation)
                return
            await context.abort(grpc.StatusCode.NOT_FOUND, stream.detail)
        about = stream.log
        about.info("audio stream opened")
        reason = LossReason.STREAM_BROKEN
        try:
            reason = await stream.run(context, first)
        finally:
            host.stream_ended(stream)
            about.info("audio stream ended", reason=reason.code, sent=stream.sent, refused=stream.refused)
        await stream.flushed()
        await self._end(context, reason, stream.generation)

    async def _first_chunk(self, context: Context) -> tuple[pb.AudioChunk, UserId]:
        try:
            async with asyncio.timeout(FIRST_CHUNK_WITHIN):
                first = await context.read()
        except TimeoutError:
            first = grpc.aio.EOF
        if first is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first chunk names the user (user_id)")
        try:
            return first, user_id(first.user_id)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the first chunk names the user (user_id): {error}")

    async def _end(self, context: Context, reason: LossReason, generation: Generation) -> None:
        """Ends a stream so that the cloud knows why."""
        await self._refuse_if_draining(context)
        trailing = ((REASON_KEY, reason.code),)
        in_doubt = self._config.rejoin > 0 and reason in IN_DOUBT
        if reason in GENTLE or (not generation and (in_doubt or reason in GENTLE_UNFENCED)):
            context.set_trailing_metadata(trailing)
            return
        await context.abort(grpc.StatusCode.ABORTED, reason.text, trailing)

    async def PlayAudio(self, request: pb.PlayAudioRequest, context: Context) -> None:
        try:
            user = user_id(request.user_id)
            playback = self._play(user, request)
        except ValueError as error:
            await context.write(failed(request.request_id[:MAX_NAME], "bad_request", str(error)))
            return
        except PlaybackError as error:
            metrics.PLAYBACK_FAILURES.add(error.code)
            await context.write(failed(request.request_id[:MAX_NAME], error.code, str(error)))
            return
        log.info("PlayAudio", user_id=user, request_id=request.request_id, track_id=request.track_id)
        event, begun = None, self._clock()
        try:
            while True:
                _, event = await playback.events.get()
                if event.type == STARTED:
                    metrics.PLAYBACK_START.observe(self._clock() - begun)
                await context.write(event)
        except QueueClosed:
            log.info(
                "playback over",
                user_id=user,
                request_id=request.request_id,
                result=pb.PlayAudioEvent.EventType.Name(event.type) if event else "",
                reason=event.metadata["reason"] if event and event.type == FAILED else "",
                error=event.error if event else "",
            )
            if event and event.type == FAILED:
                metrics.PLAYBACK_FAILURES.add(event.metadata["reason"])
        finally:
            metrics.PLAYBACKS_ENDED.add(RESULTS.get(event.type, "cancelled") if event else "cancelled")
            self._player.over(user, playback)

    def _play(self, user: UserId, request: pb.PlayAudioRequest) -> Any:
        host = self._rooms.find(user)
        if host is None or host.seat is None or host.seat.speaker is None or not host.machine.state.holds_place:
            raise PlaybackError("session_not_found", "session not found: JoinRoom comes first")
        return self._player.play(user, host.seat.speaker, request)

    async def StopAudio(self, request: pb.StopAudioRequest, _context: Context) -> pb.StopAudioResponse:
        try:
            user = user_id(request.user_id)
        except ValueError as error:
            return pb.StopAudioResponse(error=str(error))
        speaker = self._rooms.speakers.find(user)
        if speaker is None:
            return pb.StopAudioResponse(error="session not found")
        stopped = self._player.stop(user, request.request_id, request.track_id)
        if not request.request_id:
            speaker.silence_live(request.track_id or None)
        elif not stopped:
            return pb.StopAudioResponse(error="no such playback is running")
        log.info("StopAudio", user_id=user, stopped=stopped, reason=request.reason[:256])
        return pb.StopAudioResponse(success=True, stopped_request_id=stopped[-1] if stopped else "")

    # ---- this worker

    async def HealthCheck(self, request: pb.HealthCheckRequest, _context: Context) -> pb.HealthCheckResponse:
        if request.service not in ("", SERVICE):
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        answer = pb.HealthCheckResponse
        return pb.HealthCheckResponse(
            status=answer.NOT_SERVING if self.draining else answer.SERVING,
            active_sessions=len(self._rooms),
            active_streams=self._rooms.streams,
            uptime_seconds=int(self._clock() - self._begun),
            metadata={
                "version": __version__,
                "participant": self._config.participant,
                "worker": str(self._worker),
                "workers": str(self._config.workers),
                "rooms": str(self._rooms.joined),
                "playbacks": str(len(self._player)),
                **self._about_process(),
            },
        )

    async def _refuse_if_draining(self, context: Context) -> None:
        """UNAVAILABLE sends a cloud elsewhere, the original's too."""
        if self.draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the bridge is shutting down: go to another one")

    def _time_for(self, context: Context) -> float:
        """Seconds that a join may take: what the caller gives, less what the answer needs."""
        left: float | None = context.time_remaining()  # None: no deadline
        if left is None:
            return self._config.join_timeout
        return min(self._config.join_timeout, max(left - ANSWER_MARGIN, left * 0.8))


def _not_joined(reason: LossReason, detail: str = "") -> pb.JoinRoomResponse:
    return pb.JoinRoomResponse(error=f"{reason.text}: {detail}" if detail else reason.text, reason=TO_WIRE[reason])


def _text(refusal: Refuse) -> str:
    if refusal.reason is None:
        return refusal.detail
    return f"{refusal.reason.text}: {refusal.detail}" if refusal.detail else refusal.reason.text


def _about_process() -> dict[str, str]:
    return {"rss_mb": f"{resident_mb():.1f}", "pid": str(os.getpid()), "tasks": str(len(asyncio.all_tasks()))}
