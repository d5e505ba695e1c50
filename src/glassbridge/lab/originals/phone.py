"""A phone of the original.

It connects again RECONNECT_AFTER seconds after any close or failure, whatever the code. On each `connection_ack`, and
on nothing else, it leaves its room, asks for a token and joins. Audio goes into the room as lossy data packets with a
rolling byte before the samples while the room is connected, else on the socket, else nowhere. Its voice detector tells
speech when the cloud has switched its microphone on. It sends no pings and understands no `audio_state`.

Its LiveKit library comes back by itself after a loss, as livekit-client's does: up to ROOM_TRIES attempts with growing
gaps; until one works the room is not connected. A place can be made `deaf`: the room stays "connected", and what is
said in this place is lost. The phone never notices that.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic_ns
from typing import Any, Final

import aiohttp

from glassbridge.core.values import LossReason
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Connector,
    Packet,
    Participant,
    ParticipantError,
    RemoteParticipant,
)
from glassbridge.runtime.tasks import TaskGroup, cancelled

RECONNECT_AFTER: Final = 5.0
FIRST_TRIES: Final = 2
ROOM_TRIES: Final = 10
ROOM_GAP, LONGEST_ROOM_GAP = 0.3, 7.0
"""Seconds; the n-th gap is ROOM_GAP * n squared, at most LONGEST_ROOM_GAP."""
CONNECT_TIMEOUT: Final = 10.0
FOR_GOOD: Final = frozenset({LossReason.SUPERSEDED, LossReason.REMOVED, LossReason.ROOM_DELETED, LossReason.CLOSED})
"""Losses after which the library does not come back."""

Tell = Callable[..., None]
"""tell(event, **fields): what happens, for the lab."""


class _Place:
    """The events of one place in the room."""

    def __init__(self, lost: Callable[["_Place", Closed], None]) -> None:
        self.participant: Participant | None = None
        self.is_deaf = False
        self._lost = lost

    def on_packet(self, packet: Packet) -> None: ...

    def on_audio(self, block: AudioBlock) -> None: ...

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None: ...

    def on_closed(self, closed: Closed) -> None:
        self._lost(self, closed)


class OriginalPhone:
    """Use as an async context: connects until it is closed."""

    def __init__(
        self, cloud: str, token: str, tell: Tell, connect: Connector, *, reconnect_after: float = RECONNECT_AFTER
    ) -> None:
        self._reconnect_after = reconnect_after
        self._cloud = cloud
        self._token = token
        self._tell = tell
        self._connect = connect
        self._tasks = TaskGroup("original-phone", lambda task, error: tell("failed", task=task, error=repr(error)))
        self._http: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._running: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None
        self._place: _Place | None = None
        """The room is connected, as far as the phone knows."""
        self._counter = 0
        self._speaking = True

    async def __aenter__(self) -> "OriginalPhone":
        self._http = aiohttp.ClientSession()
        self._running = self._tasks.spawn(self._run(), "run")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Goodbye, for good; idempotent."""
        for task in (self._running, self._joining):
            if task is not None:
                await cancelled(task)
        await self._leave_room()
        await self._tasks.close()
        await self._http.close()

    def speak(self, pcm: bytes) -> bool:
        """Sends samples by whichever way there is; never waits. True: they were captured."""
        place, socket = self._place, self._socket
        if place is not None and place.participant is not None:
            self._counter = (self._counter + 1) % 256
            if place.is_deaf:
                return True
            self._tasks.spawn(self._publish(place.participant, bytes((self._counter,)) + pcm), "publish")
        elif socket is not None and not socket.closed:
            self._tasks.spawn(_send(socket, pcm), "send")
        return True

    async def switch(self, cloud: str) -> None:
        """The user chooses another server: the socket is closed and opened there at once."""
        self._cloud = cloud
        if self._running is not None:
            await cancelled(self._running)
        self._running = self._tasks.spawn(self._run(), "run")

    async def deafen(self) -> None:
        """What is said in the present place is lost."""
        if self._place is not None:
            self._place.is_deaf = True

    async def voice(self, on: bool) -> None:
        """The voice detector says speech, or silence."""
        self._speaking = on
        await self._say_voice()

    # ---- the socket

    async def _run(self) -> None:
        while True:
            opening_ns = monotonic_ns()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    socket = await self._http.ws_connect(
                        f"{self._cloud}/glasses-ws",
                        params={"livekit": "true"},
                        headers={"Authorization": f"Bearer {self._token}"},
                    )
            except (aiohttp.ClientError, OSError, TimeoutError):
                self._tell("socket", state="unreachable")
            else:
                self._tell("socket", state="open", opening_ns=opening_ns)
                try:
                    self._socket = socket
                    await self._read(socket)
                finally:
                    self._socket = None
                    await asyncio.shield(asyncio.ensure_future(socket.close()))
                self._tell("socket", state="closed", code=socket.close_code)
            await asyncio.sleep(self._reconnect_after)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            said: dict[str, Any] = frame.json()
            match said["type"]:
                case "connection_ack":
                    self._tell("ack", session_id=said["sessionId"])
                    await self._join_room()
                case "microphone_state_change":
                    await self._say_voice()
                case "audio_state":  # not understood: only the lab is told
                    self._tell("audio_state", state=said["state"], code=said.get("code"), transport=said["transport"])

    async def _say_voice(self) -> None:
        if self._socket is not None:
            with suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_json({"type": "VAD", "status": self._speaking})

    # ---- the room

    async def _join_room(self) -> None:
        if self._joining is not None:
            await cancelled(self._joining)
        await self._leave_room()
        self._joining = self._tasks.spawn(self._enter_room(), "join")

    async def _enter_room(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                async with self._http.get(
                    f"{self._cloud}/api/client/livekit/token", headers={"Authorization": f"Bearer {self._token}"}
                ) as answer:
                    answer.raise_for_status()
                    room = (await answer.json())["data"]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._tell("room", state="failed", reason=type(error).__name__)
            return
        for _ in range(FIRST_TRIES):
            if await self._take_place(room):
                return

    async def _take_place(self, room: Mapping[str, str]) -> bool:
        place = _Place(lambda place, closed: self._lose_room(place, closed, room))
        try:
            options = ConnectOptions(room=room["room"], subscribe_audio=False)
            place.participant = await self._connect(room["url"], room["token"], place, options)
        except ParticipantError as error:
            self._tell("room", state="failed", reason=error.reason.code)
            return False
        self._place = place
        self._tell("room", state="joined")
        return True

    def _lose_room(self, place: _Place, closed: Closed, room: Mapping[str, str]) -> None:
        if place is not self._place or place.is_deaf:
            return
        self._place = None
        self._tell("room", state="lost", reason=closed.reason.code)
        if closed.reason not in FOR_GOOD:
            self._joining = self._tasks.spawn(self._come_back(room), "come-back")

    async def _come_back(self, room: Mapping[str, str]) -> None:
        for number in range(ROOM_TRIES):
            await asyncio.sleep(min(ROOM_GAP * number**2, LONGEST_ROOM_GAP))
            if await self._take_place(room):
                return

    async def _leave_room(self) -> None:
        place, self._place = self._place, None
        if place is not None and place.participant is not None:
            await place.participant.close()
            self._tell("room", state="left")

    @staticmethod
    async def _publish(participant: Participant, packet: bytes) -> None:
        with suppress(ParticipantError):
            await participant.send(packet, reliable=False)


async def _send(socket: aiohttp.ClientWebSocketResponse, pcm: bytes) -> None:
    with suppress(ConnectionError, aiohttp.ClientError):
        await socket.send_bytes(pcm)
