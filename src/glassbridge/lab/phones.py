"""A child of the lab that is many phones, each speaking numbered frames in real time.

    python -m glassbridge.lab.phones

Commands come as JSON lines on standard input (`do` names one of COMMANDS, `user` whom it is for); what happens goes
out as JSON lines with `t_ns`, CLOCK_MONOTONIC nanoseconds. Being a process of its own it can be frozen and killed as a
phone can. A frozen phone captures nothing: what it would have said meanwhile is never said.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from functools import partial
from time import monotonic_ns
from typing import Any

import structlog

from glassbridge.core.values import Transport
from glassbridge.lab.originals.phone import OriginalPhone
from glassbridge.lab.stamps import FRAME_MS, speech
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import DEFAULT_OPTIONS, ConnectOptions, Connector, Participant, RoomEvents
from glassbridge.phone import events
from glassbridge.phone.client import PhoneClient
from glassbridge.phone.events import PhoneEvent
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry.config import LogConfig
from glassbridge.telemetry.logs import configure

REPORT_EVERY = 0.25
"""Seconds between two reports of what was spoken."""
JOINS_AT_A_TIME = 8
"""All these phones share one processor, which those of people do not: 200 that join at once would all be too slow."""
FROZEN_NS = 1_000_000_000
"""A speaker that is so late stood still, and captured nothing in that time."""
NAMES: Mapping[type, str] = {
    events.SocketChanged: "socket",
    events.Acknowledged: "ack",
    events.RoomChanged: "room",
    events.AudioStateChanged: "audio_state",
    events.Caption: "caption",
    events.CloudError: "cloud_error",
    events.Ended: "ended",
    events.Told: "told",
}
"""What the lab is told; of the rest there is too much."""

Run = tuple[int, int, int, int, int]
"""(user, generation, first frame, frames, spoken at): frames that went to the client at once."""


def tell(event: str, **fields: Any) -> None:
    """One JSON line to the lab."""
    print(json.dumps({"event": event, **fields, "t_ns": monotonic_ns()}), flush=True)


def in_turn(connect: Connector, turns: asyncio.Semaphore) -> Connector:
    """The same, of which only some go on at a time."""

    async def wait_and_connect(
        url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS
    ) -> Participant:
        async with turns:
            return await connect(url, token, events, options)

    return wait_and_connect


class Speaker:
    """One phone. `spoken` gets what it has said."""

    def __init__(self, command: Mapping[str, Any], spoken: list[Run], turns: asyncio.Semaphore) -> None:
        self._user: str = command["user"]
        self._index: int = command["index"]
        self._generation: int = command.get("generation", 0)
        self._frame_ms: int = command.get("frame_ms", 100)
        self._apps: list[str] = command.get("apps", [])
        self._spoken = spoken
        connect = in_turn(connector(command.get("participant", "own")), turns)
        self.client: PhoneClient | OriginalPhone
        if command.get("original"):
            tell_of = partial(tell, user=self._user)
            self.client = OriginalPhone(command["cloud"], command["token"], tell_of, connect)
            return
        self.client = PhoneClient(
            command["cloud"],
            command["token"],
            self._hear,
            transport=Transport(command.get("transport", "data")),
            numbered=command.get("numbered", True),
            opus=False,  # the stamps of its speech are bits
            connect=connect,
        )

    async def run(self) -> None:
        """Is there until cancelled."""
        structlog.contextvars.bind_contextvars(user_id=self._user)
        async with self.client:
            for package in self._apps:
                await _ours(self.client).start_app(package)
            await self._speak()

    async def _speak(self) -> None:
        """Frames have numbers by the clock: their number says when they were captured."""
        frames, begun = self._frame_ms // FRAME_MS, monotonic_ns()
        step, portion = self._frame_ms * 1_000_000, 0
        while True:
            portion += 1
            late = monotonic_ns() - (begun + portion * step)
            if late > FROZEN_NS:
                portion += late // step
            await asyncio.sleep(max(0, -late) / 1e9)
            first, now = (portion - 1) * frames, monotonic_ns()
            if self.client.speak(speech(self._index, self._generation, first, frames, now)):
                self._spoken.append((self._index, self._generation, first, frames, now))

    def _hear(self, event: PhoneEvent) -> None:
        if (name := NAMES.get(type(event))) is not None:
            tell(name, user=self._user, **asdict(event))


class Phones:
    """All of them."""

    def __init__(self) -> None:
        self._tasks = TaskGroup("phones", lambda task, error: tell("failed", task=task, error=repr(error)))
        self._speakers: dict[str, tuple[Speaker, asyncio.Task[None]]] = {}
        self._spoken: list[Run] = []
        self._turns = asyncio.Semaphore(JOINS_AT_A_TIME)

    async def serve(self, commands: asyncio.StreamReader) -> None:
        """Obeys until `quit` or the end of the input."""
        self._tasks.spawn(self._report(), "report")
        tell("ready")
        async for line in commands:
            command = json.loads(line)
            if command["do"] == "quit":
                break
            # Each by itself: one phone that takes its time does not hold up the others.
            self._tasks.spawn(COMMANDS[command["do"]](self, command), f"{command['do']} {command['user']}")
        await asyncio.gather(*(self._remove(user) for user in list(self._speakers)))
        await self._tasks.close()
        self._flush()

    async def add(self, command: Mapping[str, Any]) -> None:
        """A phone that connects and speaks."""
        speaker = Speaker(command, self._spoken, self._turns)
        task = self._tasks.spawn(speaker.run(), command["user"])
        self._speakers[command["user"]] = speaker, task

    async def remove(self, command: Mapping[str, Any]) -> None:
        """It says goodbye."""
        await self._remove(command["user"])
        tell("removed", user=command["user"])

    async def switch(self, command: Mapping[str, Any]) -> None:
        """To the cloud at `cloud`."""
        await self._client(command).switch(command["cloud"])

    async def drop(self, command: Mapping[str, Any]) -> None:
        """Its network is away for `seconds`: told with `until_ns`."""
        until = monotonic_ns() + round(command["seconds"] * 1e9)
        await _ours(self._client(command)).drop(command["seconds"])
        tell("dropped", user=command["user"], until_ns=until)

    async def microphone(self, command: Mapping[str, Any]) -> None:
        """`on` or off."""
        await _ours(self._client(command)).microphone(command["on"])

    async def voice(self, command: Mapping[str, Any]) -> None:
        """The voice detector says speech (`on`) or silence."""
        await self._client(command).voice(command["on"])

    async def deafen(self, command: Mapping[str, Any]) -> None:
        """What a phone of the original says in its present place is lost."""
        client = self._client(command)
        assert isinstance(client, OriginalPhone)
        await client.deafen()

    def _client(self, command: Mapping[str, Any]) -> PhoneClient | OriginalPhone:
        return self._speakers[command["user"]][0].client

    async def _remove(self, user: str) -> None:
        speaker, task = self._speakers.pop(user)
        await speaker.client.close()
        task.cancel()
        await asyncio.wait([task])

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            self._flush()

    def _flush(self) -> None:
        if self._spoken:
            tell("spoken", runs=self._spoken)
            self._spoken.clear()


def _ours(client: PhoneClient | OriginalPhone) -> PhoneClient:
    assert isinstance(client, PhoneClient), "a phone of the original has no such command"
    return client


COMMANDS: Mapping[str, Callable[[Phones, Mapping[str, Any]], Coroutine[Any, Any, None]]] = {
    "add": Phones.add,
    "remove": Phones.remove,
    "switch": Phones.switch,
    "drop": Phones.drop,
    "microphone": Phones.microphone,
    "voice": Phones.voice,
    "deafen": Phones.deafen,
}


async def main() -> None:
    """Runs over standard input and output."""
    configure("phones", LogConfig(fmt="json"))
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await Phones().serve(commands)


if __name__ == "__main__":
    asyncio.run(main())
