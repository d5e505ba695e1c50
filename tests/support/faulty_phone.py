"""Phones for the examiner: ours with one planted defect each, and the double of the original's. Each is a `Phone` of
lab/phone_check/subject.py that lives in the test's own event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from glassbridge.core.backoff import Backoff
from glassbridge.core.phone_socket import LADDER, ComeBack, SocketClosed, SocketFailed
from glassbridge.core.values import Generation, Transport
from glassbridge.lab.originals.phone import OriginalPhone
from glassbridge.livekit.own import connect
from glassbridge.phone.client import PhoneClient
from glassbridge.phone.socket import CloudSocket
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import phone as wire
from glassbridge.wire.audio_frames import FLAG_REPAIR, FLAG_REPLAYED, FrameNumber, encode_numbered

FRAME = 3200
"""Bytes of 100 ms."""
Defect = Callable[[PhoneClient], None]


def sound(number: int) -> bytes:
    """100 ms that are like no others."""
    return ((np.arange(number * 1600, (number + 1) * 1600) * 7919) % 60_000 - 30_000).astype("<i2").tobytes()


class FaultyPhone:
    """Ours, with a defect or without."""

    def __init__(self, defect: Defect | None = None, *, room: bool = False) -> None:
        self._defect = defect
        self._room = room
        self._client: PhoneClient | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def start(self, url: str, token: str) -> None:
        transport = Transport.DATA if self._room else Transport.WEBSOCKET
        self._client = PhoneClient(url, token, lambda _: None, transport=transport, opus=False)
        if self._defect is not None:
            self._defect(self._client)
        await self._client.__aenter__()
        self._speaking = asyncio.create_task(self._speak(self._client))

    async def stop(self) -> int | None:
        if self._speaking is not None:
            await cancelled(self._speaking)
        if self._client is not None:
            await self._client.close()
        return None

    @staticmethod
    async def _speak(client: PhoneClient) -> None:
        for number in count():
            client.speak(sound(number))
            await asyncio.sleep(0.1)


class DoubleOfOriginal:
    """As lab/originals/phone.py does it."""

    def __init__(self) -> None:
        self._phone: OriginalPhone | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def start(self, url: str, token: str) -> None:
        self._phone = OriginalPhone(url, token, lambda event, **fields: None, connect)
        await self._phone.__aenter__()
        self._speaking = asyncio.create_task(self._speak(self._phone))

    async def stop(self) -> int | None:
        if self._speaking is not None:
            await cancelled(self._speaking)
        if self._phone is not None:
            await self._phone.close()
        return None

    @staticmethod
    async def _speak(phone: OriginalPhone) -> None:
        for number in count():
            phone.speak(sound(number))
            await asyncio.sleep(0.1)


# ---- defects


def _on_each_socket(client: PhoneClient, change: Callable[[CloudSocket], Any]) -> None:
    dial = client._dial

    async def changed(cloud: str, attempt: Generation) -> CloudSocket:
        socket = await dial(cloud, attempt)
        change(socket)
        return socket

    client._dial = changed  # type: ignore[method-assign]
    client._link._dial = changed


def _on_each_frame(client: PhoneClient, change: Callable[[bytes], bytes]) -> None:
    def wrap(socket: CloudSocket) -> None:
        send = socket.send_audio
        socket.send_audio = lambda frame: send(change(frame))  # type: ignore[method-assign]

    _on_each_socket(client, wrap)


def forgets_replay(client: PhoneClient) -> None:
    """What the cloud asks for is never sent again."""
    client._sender._resending.send_missing = lambda: None  # type: ignore[method-assign]


def renumbers_after_reconnect(client: PhoneClient) -> None:
    """Each socket begins at position 0."""
    accepted, sockets = client._accepted, count()

    async def again(number: Generation, socket: CloudSocket, ack: wire.ConnectionAck) -> None:
        capture = client._capture
        if next(sockets):
            capture._kept.clear()
            capture._kept_bytes = capture.position = capture.acknowledged = 0
        await accepted(number, socket, ack)

    client._accepted = again  # type: ignore[method-assign]


def ignores_close_codes(client: PhoneClient) -> None:
    """It comes back whatever the cloud says."""
    post = client._link.post

    def never_final(event: Any) -> None:
        if isinstance(event, SocketClosed):
            event = replace(event, come_back=ComeBack.LATER)
        post(event)

    client._link.post = never_final  # type: ignore[method-assign]


def ignores_refusal(client: PhoneClient) -> None:
    """It tries a refused token again and again."""
    post = client._link.post

    def never_final(event: Any) -> None:
        post(replace(event, final=False) if isinstance(event, SocketFailed) else event)

    client._link.post = never_final  # type: ignore[method-assign]


def never_waits(client: PhoneClient) -> None:
    """Attempts follow each other without a pause."""
    client._link.machine.socket._backoff = Backoff(LADDER, lambda: 0.0)


def speaks_before_ack(client: PhoneClient) -> None:
    """A frame goes as soon as the socket is open."""
    frame = encode_numbered(FrameNumber(client.capture.epoch, 0, 0), bytes(640))
    sending = set()

    def speak(socket: CloudSocket) -> None:
        task = asyncio.ensure_future(socket.send_audio(frame))
        sending.add(task)
        task.add_done_callback(sending.discard)

    _on_each_socket(client, speak)


def never_answers_pings(client: PhoneClient) -> None:
    """The cloud's pings stay without an answer."""

    def mute(socket: CloudSocket) -> None:
        say = socket.say

        async def without_pongs(message: wire.Message) -> bool:
            return True if isinstance(message, wire.Pong) else await say(message)

        socket.say = without_pongs  # type: ignore[method-assign]

    _on_each_socket(client, mute)


def promises_no_pings(client: PhoneClient) -> None:
    """It pings, and does not say how often."""

    def change(socket: CloudSocket) -> None:
        say = socket.say

        async def plain(message: wire.Message) -> bool:
            return await say(wire.Ping(timestamp=message.timestamp) if isinstance(message, wire.Ping) else message)

        socket.say = plain  # type: ignore[method-assign]

    _on_each_socket(client, change)


def says_the_end_early(client: PhoneClient) -> None:
    """Each tenth frame is called the last."""
    take, frames = client._capture.take, count(1)

    def early(pcm: bytes, captured_us: int | None = None, *, last: bool = False) -> Any:
        return take(pcm, captured_us, last=next(frames) % 10 == 0)

    client._capture.take = early  # type: ignore[method-assign]


def keeps_its_dead_room(client: PhoneClient) -> None:
    """It does not understand that it is unheard there."""
    learn = client._learn

    def selective(number: Generation, notice: wire.AudioStateNotice) -> None:
        if notice.code not in wire.PHONE_REJOINS:
            learn(number, notice)

    client._learn = selective  # type: ignore[method-assign]


def loses_last_frames(client: PhoneClient) -> None:
    """What it captured last stays in a buffer, and is dropped when the microphone goes off."""
    put, buffer = client._sender.put, []

    def late(frame: Any) -> None:
        if not frame.number.presence:
            buffer.append(frame)
            if len(buffer) > 3:
                put(buffer.pop(0))
            return
        if frame.number.last:
            for lost in buffer:
                if lost in client._capture._kept:
                    client._capture._kept.remove(lost)
            buffer.clear()
        put(frame)

    client._sender.put = late  # type: ignore[method-assign]


def writes_another_version(client: PhoneClient) -> None:
    """Its header says version 1."""
    _on_each_frame(client, lambda frame: b"\x01" + frame[1:])


def hides_replay(client: PhoneClient) -> None:
    """What is sent again looks as if it were new."""

    def unmarked(frame: bytes) -> bytes:
        again = FLAG_REPLAYED | FLAG_REPAIR
        return frame if len(frame) == 24 else frame[:1] + bytes((frame[1] & ~again,)) + frame[2:]

    _on_each_frame(client, unmarked)


def is_absent(client: PhoneClient) -> None:
    """It sends no presence frames."""
    put = client._sender.put
    client._sender.put = lambda frame: None if frame.number.presence else put(frame)  # type: ignore[method-assign]


def counts_no_attempts(client: PhoneClient) -> None:
    """`attempt` is always 1."""
    dial = client._dial
    client._link._dial = lambda cloud, attempt: dial(cloud, Generation(1))
