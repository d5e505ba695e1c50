"""A track that we publish: PCM in, paced; Opus out, through an ordinary aiortc track that hands on ready packets."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from uuid import uuid4

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.livekit.aiortc_quirks import ReadyPacket, hand_on
from glassbridge.livekit.media import RTP_CLOCK
from glassbridge.livekit.opus import Encoder
from glassbridge.livekit.pace import FRAME, Pace
from glassbridge.livekit.participant import FRAME_MS, TRACK_BITRATE, ParticipantError, frame_bytes

TAIL = 5
"""Silent frames after the last one: without them the listener stretches the last sound by 0.2 s (traps A10)."""
_QUEUE = 50


class _OpusTrack(MediaStreamTrack):
    """Hands ready packets to aiortc's sender. Its id changes with each publishing: LiveKit knows tracks by it."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.packets: asyncio.Queue[ReadyPacket] = asyncio.Queue(_QUEUE)
        self.cid = ""

    @property
    def id(self) -> str:
        return self.cid

    async def recv(self) -> ReadyPacket:  # type: ignore[override]
        return await self.packets.get()


class Slot:
    """A line of the outgoing connection, for one track at a time; lines are never taken away again."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._track = _OpusTrack()
        self._born = monotonic()
        self._timestamp = 0
        self._sender: RTCRtpTransceiver = connection.addTransceiver(self._track, direction="inactive")
        opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
        self._sender.setCodecPreferences(opus)
        hand_on(self._sender.sender)
        self.idle = True
        """Agreed to be out of use."""

    def begin(self) -> str:
        """Readies the line for a new track; returns the id by which the server will name it."""
        self.cid = self._track.cid = uuid4().hex
        self.sid = ""
        self.granted: asyncio.Future[str | ParticipantError] = asyncio.get_running_loop().create_future()
        """The sid that the server gives to the track, or why it gives none."""
        self.heard = asyncio.Event()
        """Set when there is a listener."""
        self._sender.sender.replaceTrack(self._track)
        self._sender.direction = "sendonly"
        self.idle = False
        return self.cid

    def grant(self, outcome: str | ParticipantError) -> None:
        """The server has decided; only its first word counts."""
        if not self.granted.done():
            self.granted.set_result(outcome)
        if isinstance(outcome, str):
            self.sid = outcome

    def end(self) -> None:
        """Readies the line to be taken out of use."""
        self._sender.direction = "inactive"

    def tune(self) -> None:
        """Moves the clock on like the time: else the listener takes a pause for delay (traps A10)."""
        frames = round((monotonic() - self._born) / FRAME)
        self._timestamp = max(self._timestamp, frames * FRAME_MS * RTP_CLOCK // 1000)

    def put(self, payload: bytes) -> None:
        """Sends 20 ms of Opus; dropped where the sender has stopped taking any."""
        packet = ReadyPacket(payload, self._timestamp)
        self._timestamp += FRAME_MS * RTP_CLOCK // 1000
        if not self._track.packets.full():
            self._track.packets.put_nowait(packet)


class OwnTrack:
    """The LocalTrack of our own participant."""

    def __init__(
        self,
        slot: Slot,
        unpublish: Callable[[Slot], Awaitable[None]],
        lost: Callable[[], ParticipantError | None],
        catch_up: float,
        rate: int = SAMPLE_RATE,
    ) -> None:
        self.sid = slot.sid
        self._slot = slot
        self._unpublish = unpublish
        self._lost = lost
        self._encoder = Encoder(TRACK_BITRATE, rate=rate)
        self._silence = bytes(frame_bytes(rate))
        self._pace = Pace(catch_up)
        self._unpublished = False

    async def find_listener(self, within: float) -> None:
        """Sends silence until there is a listener, or the time is over: a server tells others of a track only when it
        has heard of it, and what is said before they listen is lost to them."""
        for _ in range(round(within / FRAME)):
            if self._slot.heard.is_set():
                return
            self._slot.tune()
            self._slot.put(self._encoder.encode(self._silence))
            with suppress(TimeoutError):
                async with asyncio.timeout(FRAME):  # wait_for may drop a cancelling, before Python 3.12
                    await self._slot.heard.wait()

    async def write(self, frame: bytes) -> None:
        """See LocalTrack. Raises ValueError (the caller's fault) for a frame of another length."""
        if len(frame) != len(self._silence):
            raise ValueError(f"a frame is {len(self._silence)} bytes, not {len(frame)}")
        if (lost := self._lost()) is not None:
            raise lost
        if self._unpublished:
            raise ValueError("the track is unpublished")
        if self._pace.begin():
            self._slot.tune()
        self._slot.put(self._encoder.encode(frame))
        await self._pace.due()

    async def drain(self) -> None:
        """See LocalTrack."""
        if not self._pace.pausing and self._lost() is None:
            for _ in range(TAIL):
                await self.write(self._silence)
        self._pace.pause()

    async def unpublish(self) -> None:
        """See LocalTrack. Ends with silence, as drain() does; a cancelled caller does not stop what follows."""
        if self._unpublished:
            return
        try:
            await self.drain()
        except ParticipantError:
            pass
        finally:
            self._unpublished = True
        await self._unpublish(self._slot)
