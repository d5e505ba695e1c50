"""A cloud's bridge client that behaves as the original's does, in real time.

It joins without a generation. After a stream error it joins again, once, 2 s later, with the parameters and the token
of before; if that try fails, it does nothing more until it is asked to connect. A stream that ends without an error
marks it disconnected, and nothing is tried. It never sends heartbeats.
"""

import asyncio
from typing import Any

import grpc

from glassbridge.runtime.tasks import cancelled
from tests.support.contract_client import ContractClient
from tests.support.poll import eventually
from tests.support.scripted_bridge import original_contract

RETRY_AFTER = 2.0


class OriginalCloud:
    """One user's client; use as an async context. `joining` are the fields of its JoinRoomRequest."""

    def __init__(self, target: str, joining: dict[str, Any]) -> None:
        self._client = ContractClient(target, original_contract())
        self._joining = joining
        self._task: asyncio.Task[None] | None = None
        self.joins = 0
        self.heard: list[bytes] = []
        """PCM of each chunk that had some."""
        self.connected = False

    async def __aenter__(self) -> "OriginalCloud":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await cancelled(self._task)
        await self._client.__aexit__()

    async def connect(self) -> None:
        """What a phone's (re)connect causes. A client that is there already is replaced."""
        if self._task is not None:
            await cancelled(self._task)
        self.connected = False
        if (call := await self._join()) is None:
            raise AssertionError("the first join failed")
        self._task = asyncio.create_task(self._listen(call))
        await eventually(lambda: self.connected or "no frame comes")

    async def ensure_connected(self) -> None:
        """What a change of the microphone causes: GetStatus, and a join if the bridge is not connected."""
        status = await self._client.get_status(user_id=self._joining["user_id"])
        if not status.connected:
            await self.connect()

    async def _join(self) -> Any:
        """None: it failed."""
        self.joins += 1
        answer = await self._client.join_room(**self._joining)
        if not answer.success:
            return None
        call = self._client.stream_audio()
        await call.write(self._client.words.AudioChunk(user_id=self._joining["user_id"]))
        return call

    async def _listen(self, call: Any) -> None:
        tried_again = False
        while True:
            try:
                while (chunk := await call.read()) is not grpc.aio.EOF:
                    self.connected = True
                    if chunk.pcm_data:
                        tried_again = False
                        self.heard.append(chunk.pcm_data)
                self.connected = False
                if await call.code() == grpc.StatusCode.OK:
                    return
            except grpc.aio.AioRpcError:
                self.connected = False
            if tried_again:
                return
            tried_again = True
            await asyncio.sleep(RETRY_AFTER)
            try:
                call = await self._join()
            except grpc.aio.AioRpcError:
                return
            if call is None:
                return
