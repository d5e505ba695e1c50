"""A phone that is not ours: a bare WebSocket to the cloud, and a place in its room whose tracks say of themselves
what a scenario wants."""

import asyncio
import json
from collections.abc import Mapping
from time import monotonic, monotonic_ns
from types import TracebackType
from typing import Any, Self

import aiohttp
from livekit.protocol import rtc

from glassbridge.core.values import AudioState, UserId
from glassbridge.lab.needs import LabError
from glassbridge.lab.system import System
from glassbridge.livekit.own import OwnParticipant, connect
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    LocalTrack,
    Packet,
    RemoteParticipant,
)
from glassbridge.livekit.publisher import Publisher

CATCH_UP = 1.0
"""Seconds that a busy machine may hold up a speaker without a hole in what is said."""


class DeafEars:
    """Hears nothing."""

    def on_packet(self, packet: Packet) -> None: ...

    def on_audio(self, block: AudioBlock) -> None: ...

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None: ...

    def on_closed(self, closed: Closed) -> None: ...


class BarePhone:
    """Use as an async context: connects, says that somebody speaks, and takes its place in the room (if it `joins`)."""

    def __init__(self, system: System, name: UserId, *, joins: bool = True) -> None:
        self._joins = joins
        self.system = system
        self.name = name
        self.begun_ns = monotonic_ns()
        self.told: list[tuple[float, str, str, str]] = []
        """(when, state, code, hop) of each audio_state; monotonic seconds."""
        self._ack: dict[str, Any] = {}
        self._place: OwnParticipant | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        token = self.system.stack.core_token(self.name)
        self._socket = await self._http.ws_connect(
            f"{self.system.a.cloud_url}/glasses-ws?livekit=true", headers={"Authorization": f"Bearer {token}"}
        )
        self._reading = asyncio.create_task(self._read(), name="bare-phone")
        await self._until(lambda: bool(self._ack), 10.0, "no acknowledgement")
        await self.say(type="VAD", status=True)
        if self._joins:
            await self.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._socket.close()
        await self._http.close()

    async def join(self) -> None:
        """Takes its place in the room."""
        room = self._ack["livekit"]
        options = ConnectOptions(room=room["roomName"], catch_up=CATCH_UP)
        self._place = await connect(room["url"], room["token"], DeafEars(), options)

    async def leave(self) -> None:
        """Leaves the room, and keeps its socket."""
        if self._place is not None:
            await self._place.close()
            self._place = None

    async def publish(self, **described: Any) -> LocalTrack:
        """A track that says this of itself (AddTrackRequest)."""
        place = self._in_room()

        def wish(cid: str, name: str) -> rtc.AddTrackRequest:
            request = Publisher.wish(cid, name)
            for field, value in described.items():
                setattr(request, field, value)
            return request

        place._sending_side().wish = wish  # type: ignore[method-assign]
        return await place.publish("microphone")

    async def request(self, **field: Any) -> None:
        """Says something to LiveKit."""
        await self._in_room().request(**field)

    async def say(self, **message: Any) -> None:
        """Says something to the cloud."""
        await self._socket.send_str(json.dumps(message))

    async def until_told(self, state: AudioState, code: str | None = None, within: float = 10.0) -> float:
        """Seconds from now until the phone knows; without a code: this state, whatever is told beside it. Raises
        LabError when it is not told."""
        begun = monotonic()

        def is_told() -> bool:
            return bool(self.told) and self.told[-1][1] == state.value and code in (None, self.told[-1][2])

        await self._until(is_told, within, f"not told {code or state.value}")
        return max(0.0, self.told[-1][0] - begun)

    def figures(self, told_s: float, **notice: str) -> dict[str, float]:
        """What every scenario of such a phone measures: how soon it was told, whether the log names that, and how often
        the bridge joined anew."""
        joins = self.system.logged("JoinRoom received", None, self.begun_ns, user_id=self.name)
        named = self.system.logged("audio state", None, self.begun_ns, user_id=self.name, **notice)
        return {"told_s": told_s, "named": float(bool(named)), "joins": float(len(joins) - 1)}

    def _in_room(self) -> OwnParticipant:
        if self._place is None:
            raise LabError("the phone is not in its room")
        return self._place

    async def _read(self) -> None:
        async for frame in self._socket:
            said = json.loads(frame.data)
            match said["type"]:
                case "connection_ack":
                    self._ack = said
                case "audio_state":
                    self.told.append((monotonic(), said["state"], said.get("code") or "", said.get("hop") or ""))
                case "ping":
                    await self.say(type="pong")

    async def _until(self, condition: Any, within: float, otherwise: str) -> None:
        deadline = monotonic() + within
        while not condition():
            if monotonic() > deadline:
                raise LabError(f"{self.name}: {otherwise} within {within:g} s; told {self.told[-3:]}")
            await asyncio.sleep(0.01)
