"""A bridge without LiveKit: a gRPC server that does what a test tells it, made from a .proto and nothing else.

`original_contract()` is the contract without anything that we added to it, so a bridge of it is the original's;
`our_contract()` is all of it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc  # type: ignore[import-untyped]

PROTO = Path(__file__).parents[2] / "proto" / "livekit_bridge.proto"
SERVICE = "mentra.livekit.bridge.LiveKitBridge"
_PACKAGE = "mentra.livekit.bridge"
REPLACED = 13
"""DisconnectReason of the contract."""


@cache
def original_contract() -> SimpleNamespace:
    """Message classes by name; fields and types that carry the word "added" in the .proto are not there."""
    text = PROTO.read_text()
    text = re.sub(r"^[^\n]*;\s*// added.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^// Added\..*\n(?:(?:enum|message) \w+ \{\n(?:.*\n)*?\}\n)", "", text, flags=re.MULTILINE)
    assert "generation" not in text
    assert "DisconnectReason" not in text
    return _compile(text)


@cache
def our_contract() -> SimpleNamespace:
    """Message classes by name, additions included."""
    return _compile(PROTO.read_text())


def _compile(text: str) -> SimpleNamespace:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bridge.proto").write_text(text)
        out = folder / "set"
        assert protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={out}", str(folder / "bridge.proto")]) == 0
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    names = [message.name for message in files.file[0].message_type]
    return SimpleNamespace(
        **{n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{n}")) for n in names}
    )


@dataclass
class ScriptedRoom:
    """What the bridge holds for one user."""

    join: Any
    stream: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    """What the audio stream is to do next: a chunk, or (status code, trailing metadata) to end it."""
    streaming: bool = False
    heard: list[Any] = field(default_factory=list)
    """Chunks from the cloud."""


class ScriptedBridge:
    """`async with`; use `refuse` and `hang` to make joins fail, `send` and `end` for the stream of a user."""

    def __init__(self, contract: SimpleNamespace | None = None, address: str = "127.0.0.1:0") -> None:
        self.contract = contract or our_contract()
        self.address = address
        self.target = address
        self.rooms: dict[str, ScriptedRoom] = {}
        self.joins: list[Any] = []
        self.leaves: list[Any] = []
        self.asked: list[str] = []
        """Users whose status was asked for."""
        self.refuse = ""
        """Error text of each join from now on; empty: they succeed."""
        self.refuse_reason = 0
        self.hang = False
        self.connected = True
        """What GetStatus says of a room that there is."""
        self.leave_takes = 0.0
        """Seconds until a LeaveRoom has its effect."""
        self.audio_age_ms = -1
        """What GetStatus says of when the phone was last heard."""
        self.silent = False
        """GetStatus gets no answer."""
        self.knows_status = True
        """False: there is no GetStatus."""
        self.newest = 0
        """A generation that the bridge holds: older joins are refused."""
        self.load = 0
        self.join_takes = 0.0
        """Seconds that a join which succeeds takes, one after the other: a bridge has one processor."""
        self.most_concurrent = 0
        """Joins of one user under way, at most."""
        self.most_at_once = 0
        """Joins of anybody under way, at most."""
        self._under_way: list[str] = []
        self._processor = asyncio.Lock()
        self._server: Any = None

    async def start(self) -> None:
        """Listens; after stop() on the same port as before."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        port = server.add_insecure_port(self.target)
        if not self.target.startswith("unix:"):
            self.target = f"127.0.0.1:{port}"
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Goes away at once, with all its rooms."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)
        self.rooms.clear()

    async def __aenter__(self) -> "ScriptedBridge":
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def send(self, user: str, pcm: bytes, **fields: Any) -> None:
        """One chunk of the user's microphone to the cloud."""
        chunk = self.contract.AudioChunk(pcm_data=pcm, sample_rate=16_000, channels=1, **fields)
        self.rooms[user].stream.put_nowait(chunk)

    def tell(self, user: str, *, phone_here: bool = True, leaving: bool = False) -> None:
        """News of the user's room."""
        news = self.contract.RoomNews(phone_here=phone_here, leaving=leaving)
        self.send(user, b"", news=news)

    def end(self, user: str, code: grpc.StatusCode = grpc.StatusCode.ABORTED, reason: str = "") -> None:
        """Ends the user's stream and forgets the room."""
        metadata = (("glassbridge-reason", reason),) if reason else ()
        self.rooms.pop(user).stream.put_nowait((code, metadata))

    def _handlers(self) -> dict[str, Any]:
        c = self.contract

        def unary(function: Any, request: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(function, request.FromString, type(self)._serialize)

        return {
            "JoinRoom": unary(self._join, c.JoinRoomRequest),
            "LeaveRoom": unary(self._leave, c.LeaveRoomRequest),
            "GetStatus": unary(self._status, c.BridgeStatusRequest),
            "HealthCheck": unary(self._health, c.HealthCheckRequest),
            "StreamAudio": grpc.stream_stream_rpc_method_handler(
                self._stream, c.AudioChunk.FromString, type(self)._serialize
            ),
        }

    @staticmethod
    def _serialize(message: Any) -> bytes:
        data: bytes = message.SerializeToString()
        return data

    async def _join(self, request: Any, context: Any) -> Any:
        self.joins.append(request)
        self._under_way.append(request.user_id)
        self.most_concurrent = max(self.most_concurrent, self._under_way.count(request.user_id))
        self.most_at_once = max(self.most_at_once, len(self._under_way))
        try:
            if self.hang:
                await asyncio.Event().wait()
            if self.refuse:
                answer = self.contract.JoinRoomResponse(success=False, error=self.refuse)
                if self.refuse_reason:
                    answer.reason = self.refuse_reason
                return answer
            if self._fences and 0 < request.generation < self.newest:
                return self.contract.JoinRoomResponse(success=False, error="older", reason=REPLACED)
            if self.join_takes:
                async with self._processor:
                    await asyncio.sleep(self.join_takes)
            former = self.rooms.get(request.user_id)
            if former is not None:
                former.stream.put_nowait((grpc.StatusCode.ABORTED, ()))
            self.rooms[request.user_id] = ScriptedRoom(request)
            return self.contract.JoinRoomResponse(success=True, participant_id="PA_1", participant_count=2)
        finally:
            self._under_way.remove(request.user_id)

    async def _leave(self, request: Any, context: Any) -> Any:
        await asyncio.sleep(self.leave_takes)
        self.leaves.append(request)
        room = self.rooms.pop(request.user_id, None)
        if room is None:
            return self.contract.LeaveRoomResponse(success=False, error="session not found")
        room.stream.put_nowait((grpc.StatusCode.OK, ()))
        return self.contract.LeaveRoomResponse(success=True)

    async def _status(self, request: Any, context: Any) -> Any:
        self.asked.append(request.user_id)
        if not self.knows_status:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "method GetStatus not implemented")
        if self.silent:
            await asyncio.Event().wait()
        here = request.user_id in self.rooms
        answer = self.contract.BridgeStatusResponse(connected=here and self.connected, server_version="1.0.0")
        if self._fences:
            answer.generation = max(self.newest, self.rooms[request.user_id].join.generation if here else 0)
            answer.last_audio_age_ms = self.audio_age_ms
        return answer

    @property
    def _fences(self) -> bool:
        return hasattr(self.contract, "RoomNews")

    async def _health(self, request: Any, context: Any) -> Any:
        return self.contract.HealthCheckResponse(status=1, active_sessions=self.load + len(self.rooms))

    async def _stream(self, chunks: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        first = await anext(aiter(chunks))
        room = self.rooms.get(first.user_id)
        if not first.user_id or room is None:
            code = grpc.StatusCode.NOT_FOUND if first.user_id else grpc.StatusCode.INVALID_ARGUMENT
            await context.abort(code, "session not found")
        assert room is not None
        room.streaming = True
        room.heard.append(first)
        reading = asyncio.get_running_loop().create_task(self._read(chunks, room))
        try:
            while True:
                item = await room.stream.get()
                if isinstance(item, tuple):
                    code, metadata = item
                    context.set_trailing_metadata(metadata)
                    if code is not grpc.StatusCode.OK:
                        await context.abort(code, "the room is lost", metadata)
                    return
                yield item
        finally:
            room.streaming = False
            reading.cancel()
            if self.rooms.get(first.user_id) is room:
                del self.rooms[first.user_id]

    async def _read(self, chunks: AsyncIterator[Any], room: ScriptedRoom) -> None:
        async for chunk in chunks:
            room.heard.append(chunk)
