"""What a cloud says to a bridge, said by the lab: joins, streams and leaves that a real cloud would not do."""

from typing import Any, Self

import grpc

from glassbridge.core.values import SAMPLE_RATE, UserId
from glassbridge.livekit.tokens import LiveKitKeys, agent_token
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

TIMEOUT = 10.0


class BareCloud:
    """`async with`; one worker at a Unix socket. Calls raise grpc.aio.AioRpcError."""

    def __init__(self, socket: str, livekit_url: str, keys: LiveKitKeys) -> None:
        self._socket = socket
        self._url = livekit_url
        self._keys = keys

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(f"unix:{self._socket}", options=CHANNEL_OPTIONS)
        self._bridge: Any = LiveKitBridgeStub(self._channel)  # type: ignore[no-untyped-call]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def join(self, user: UserId, generation: int, timeout: float = TIMEOUT) -> pb.JoinRoomResponse:
        """The room is named as the user is."""
        request = pb.JoinRoomRequest(
            user_id=user,
            room_name=user,
            token=agent_token(self._keys, user=user, room=user, ttl=600),
            livekit_url=self._url,
            target_identity=user,
            generation=generation,
        )
        answer: pb.JoinRoomResponse = await self._bridge.JoinRoom(request, timeout=timeout)
        return answer

    async def stream(self, user: UserId, generation: int) -> Any:
        """The audio stream, open; nobody reads it."""
        call = self._bridge.StreamAudio()
        await call.write(pb.AudioChunk(user_id=user, sample_rate=SAMPLE_RATE, channels=1, generation=generation))
        return call

    async def leave(self, user: UserId, generation: int) -> pb.LeaveRoomResponse:
        """Of that join."""
        request = pb.LeaveRoomRequest(user_id=user, reason="lab", generation=generation)
        answer: pb.LeaveRoomResponse = await self._bridge.LeaveRoom(request, timeout=TIMEOUT)
        return answer

    async def status(self, user: UserId) -> pb.BridgeStatusResponse:
        """As the bridge tells it."""
        answer: pb.BridgeStatusResponse = await self._bridge.GetStatus(
            pb.BridgeStatusRequest(user_id=user), timeout=TIMEOUT
        )
        return answer

    async def health(self) -> pb.HealthCheckResponse:
        """As the bridge tells it."""
        answer: pb.HealthCheckResponse = await self._bridge.HealthCheck(pb.HealthCheckRequest(), timeout=TIMEOUT)
        return answer
