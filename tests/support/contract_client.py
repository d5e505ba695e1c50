"""A client of the bridge contract that is made from a .proto and nothing else (tests/support/scripted_bridge.py)."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import grpc

from glassbridge.runtime.grpc_options import Options
from tests.support.patience import deadline, patient
from tests.support.scripted_bridge import SERVICE


class ContractClient:
    """Calls any bridge in the words of `contract`; use as an async context. Has one method for each RPC."""

    def __init__(self, target: str, contract: SimpleNamespace, options: Options = ()) -> None:
        self.words = contract
        self._channel = grpc.aio.insecure_channel(target, options=options)
        unary = self._channel.unary_unary
        self.join_room = self._call(unary, "JoinRoom", "JoinRoomRequest", "JoinRoomResponse")
        self.leave_room = self._call(unary, "LeaveRoom", "LeaveRoomRequest", "LeaveRoomResponse")
        self.stop_audio = self._call(unary, "StopAudio", "StopAudioRequest", "StopAudioResponse")
        self.health_check = self._call(unary, "HealthCheck", "HealthCheckRequest", "HealthCheckResponse")
        self.get_status = self._call(unary, "GetStatus", "BridgeStatusRequest", "BridgeStatusResponse")
        self.play_audio = self._call(self._channel.unary_stream, "PlayAudio", "PlayAudioRequest", "PlayAudioEvent")
        self.stream_audio = self._call(self._channel.stream_stream, "StreamAudio", "AudioChunk", "AudioChunk")

    async def __aenter__(self) -> "ContractClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    def _call(self, shape: Any, name: str, request: str, response: str) -> Any:
        message = getattr(self.words, request)
        made = shape(
            f"/{SERVICE}/{name}",
            request_serializer=message.SerializeToString,
            response_deserializer=getattr(self.words, response).FromString,
        )
        if name == "StreamAudio":
            return made
        return lambda timeout=10, **fields: made(message(**fields), timeout=patient(timeout))

    async def open_stream(self, user: str, **fields: Any) -> Any:
        """A stream whose first, empty frame has come."""
        call = self.stream_audio()
        await call.write(self.words.AudioChunk(user_id=user, **fields))
        first = await call.read()
        assert first is not grpc.aio.EOF, await call.details()
        assert not first.pcm_data
        return call

    async def hear(self, call: Any) -> Any:
        """The next chunk with samples."""
        while True:
            chunk = await call.read()
            assert chunk is not grpc.aio.EOF, f"the stream has ended: {await call.code()} {await call.details()}"
            if chunk.pcm_data:
                return chunk

    async def end_of(self, call: Any) -> grpc.StatusCode:
        """The status with which a stream ends. Reads what comes before it: gRPC gives no status ahead of messages."""
        async with deadline(10):
            with suppress(grpc.aio.AioRpcError):
                while await call.read() is not grpc.aio.EOF:
                    pass
            status: grpc.StatusCode = await call.code()
        return status
