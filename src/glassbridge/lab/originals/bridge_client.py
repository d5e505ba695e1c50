"""One user's bridge client in a cloud of the original.

It joins without a generation and sends no heartbeats. After a stream error it joins again, once, RETRY_AFTER seconds
later, with the parameters and the token of before; if that try fails, it does nothing more until it is asked to
connect. A stream that ends without an error marks it disconnected, and nothing is tried.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

RETRY_AFTER: Final = 2.0
ALONE: Final = [("grpc.use_local_subchannel_pool", 1)]
"""Channels of one process do not share a connection, nor the wait after a connection that failed."""
TIMEOUT: Final = 10.0
"""Seconds for a unary call."""


async def answers(target: str) -> bool:
    """Whether a bridge is there."""
    async with grpc.aio.insecure_channel(target, options=ALONE) as channel:
        stub: Any = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        try:
            await stub.HealthCheck(pb.HealthCheckRequest(), timeout=1.0)
        except grpc.aio.AioRpcError:
            return False
    return True


class OriginalBridgeClient:
    """Use as an async context. `joining` gives the fields of a JoinRoomRequest, a fresh token among them; `hear` gets
    the PCM of each chunk that has some."""

    def __init__(self, target: str, joining: Callable[[], Mapping[str, Any]], hear: Callable[[bytes], None]) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=ALONE)
        self._bridge: Any = LiveKitBridgeStub(self._channel)  # type: ignore[no-untyped-call]
        self._joining = joining
        self._hear = hear
        self._request = pb.JoinRoomRequest()
        self._listening: asyncio.Task[None] | None = None
        self.joins = 0
        self.connected = False
        """Its stream has given something, and has not ended."""

    async def __aenter__(self) -> "OriginalBridgeClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()
        await self._channel.close()

    async def connect(self) -> bool:
        """Joins with a fresh token; a stream that is there already is replaced. Whether it worked."""
        await self._stop()
        self._request = pb.JoinRoomRequest(**self._joining())
        call = await self._join()
        if call is not None:
            self._listening = asyncio.create_task(self._listen(call), name="original-stream")
        return call is not None

    async def ensure_connected(self) -> bool:
        """What a phone's connect or a change of the microphone causes: GetStatus, and a join if the bridge is not
        connected."""
        return await self.in_room() or await self.connect()

    async def in_room(self) -> bool:
        """What GetStatus tells; False where it cannot be asked."""
        try:
            status = await self._bridge.GetStatus(
                pb.BridgeStatusRequest(user_id=self._joining()["user_id"]), timeout=TIMEOUT
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(status.connected)

    async def _stop(self) -> None:
        if self._listening is not None:
            await cancelled(self._listening)
        self._listening, self.connected = None, False

    async def _join(self) -> Any:
        """The stream of a new place; None: it failed."""
        self.joins += 1
        try:
            answer = await self._bridge.JoinRoom(self._request, timeout=TIMEOUT)
            if not answer.success:
                return None
            call = self._bridge.StreamAudio()
            await call.write(pb.AudioChunk(user_id=self._request.user_id))
        except grpc.aio.AioRpcError:
            return None
        return call

    async def _listen(self, call: Any) -> None:
        tried_again = False
        while call is not None:
            try:
                while (chunk := await call.read()) is not grpc.aio.EOF:
                    self.connected = True
                    if chunk.pcm_data:
                        tried_again = False
                        self._hear(chunk.pcm_data)
                ended_well = await call.code() == grpc.StatusCode.OK
            except grpc.aio.AioRpcError:
                ended_well = False
            self.connected = False
            if ended_well or tried_again:
                return
            tried_again = True
            await asyncio.sleep(RETRY_AFTER)
            call = await self._join()
