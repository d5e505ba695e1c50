"""The connection through which we speak into the room: we offer, the server answers; data and tracks go out."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from aiortc import RTCIceCandidate, RTCSessionDescription
from google.protobuf.message import Message
from livekit.protocol import models, rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit import signal
from glassbridge.livekit.participant import InFlight, ParticipantError
from glassbridge.livekit.refused import Rejected, counted
from glassbridge.livekit.relay import Relay
from glassbridge.livekit.speaker import OwnTrack, Slot
from glassbridge.runtime.tasks import TaskGroup

AUDIENCE_TIMEOUT = 0.25
"""Seconds that a new track waits for its first listener: sound before that is lost."""
ANSWER_TIMEOUT = 5.0
"""Seconds in which the server has to answer an offer or a wish to publish."""
CONSENT_INTERVAL = 5.0
"""Seconds between signs of life: enough for the server to keep this path, whose death the listener notices first."""
BUFFER_LIMIT = 256 << 10
"""Bytes that wait to be sent, at most; more is refused (reliable) or dropped (lossy)."""
WINDOW, WINDOW_QUEUED = 64 << 10, 6 << 10
"""Bytes of data that may always be on their way: coded audio for 1.5 s, with all that goes again while nothing is
acknowledged; where they wait in a queue, half a second of a narrow link."""
HANDSHAKE_REPEAT = 0.6
"""Seconds until the first message of the data channels is repeated."""
LIFE_MS = 1_500
"""Milliseconds in which a lossy packet that the server did not get is sent again: a word that comes late is worth
more than one that is lost."""


T = TypeVar("T")


class PublisherPlace(Protocol):
    """The publisher's view of its place."""

    def lost(self) -> ParticipantError | None:
        """Why nothing can be sent any more; None while the place is held."""

    async def request(self, **field: Message) -> None:
        """Sends a message to the server; a failure ends the place, and is not raised."""

    def media_lost(self, detail: str) -> None: ...


class Publisher:
    """One place's outgoing side. Changes are made one at a time, each in a task of its own: a cancelled caller never
    leaves an offer without its answer."""

    def __init__(
        self, link: PublisherPlace, tasks: TaskGroup, relay: Relay, *, loopback: bool, catch_up: float
    ) -> None:
        self._link = link
        self._tasks = tasks
        self._catch_up = catch_up
        self._changing = asyncio.Lock()
        self._connection = connection = quirks.new_connection()
        quirks.hear_of_failure(
            connection, lambda why: link.media_lost(f"the outgoing connection cannot be built ({why})")
        )
        self._reliable = connection.createDataChannel(signal.RELIABLE_LABEL)
        self._lossy = connection.createDataChannel(signal.LOSSY_LABEL, ordered=False, maxPacketLifeTime=LIFE_MS)
        self._answer: asyncio.Future[str] | None = None
        self._offers = 0
        self._early: list[RTCIceCandidate] | None = []
        self._trickled = 0
        self._slots: list[Slot] = []
        self._given = 0
        """Bytes of data that were sent so far."""
        quirks.send_quietly(connection.sctp)
        assert connection.sctp is not None
        self._window = quirks.Window(connection.sctp, WINDOW, WINDOW_QUEUED, HANDSHAKE_REPEAT)
        self.ice = quirks.ice_of(connection)
        quirks.prepare_ice(
            self.ice,
            loopback=loopback,
            consent_interval=CONSENT_INTERVAL,
            on_alive=lambda _: None,
            instead=relay.instead(self.ice),
        )
        self._connected = asyncio.Event()
        self._opened = asyncio.Event()
        for channel in (self._reliable, self._lossy):
            channel.on("open", self._channel_opened)
        connection.on("connectionstatechange", self._state_changed)
        tasks.spawn(self._open(), "open")

    # --- what the server says ---------------------------------------------------------------------------------------

    def answered(self, answer: rtc.SessionDescription) -> None:
        """The answer to our offer; one to an older offer is passed over."""
        if self._answer is not None and not self._answer.done() and answer.id in (0, self._offers):
            self._answer.set_result(answer.sdp)

    async def add_candidate(self, candidate: RTCIceCandidate) -> None:
        """A trickled candidate; those that come before the answer are kept for it, and those beyond MAX_CANDIDATES are
        passed over. Raises SignalError."""
        self._trickled += 1
        if self._trickled > signal.MAX_CANDIDATES:
            counted[Rejected.CANDIDATES] += 1
            return
        await self._take_candidate(candidate)

    async def _take_candidate(self, candidate: RTCIceCandidate) -> None:
        if self._early is not None:
            self._early.append(candidate)
            return
        with signal.reading("a candidate that cannot be used"):
            await self._connection.addIceCandidate(candidate)
        quirks.check_late_candidate(quirks.ice_of(self._connection))

    def published(self, cid: str, sid: str) -> None:
        """The server has accepted a track."""
        self._grant(cid, sid)

    def refused(self, cid: str, why: str) -> None:
        """The server does not accept a track."""
        self._grant(cid, ParticipantError(LossReason.TOKEN_REFUSED, why))

    def _grant(self, cid: str, outcome: str | ParticipantError) -> None:
        for slot in self._slots:
            if slot.cid == cid:
                slot.grant(outcome)

    def subscribed(self, sid: str) -> None:
        """A participant has subscribed to a track."""
        for slot in self._slots:
            if slot.sid == sid:
                slot.heard.set()

    # --- what the owner wants ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Bytes of lossy packets that wait to be sent."""
        return int(self._lossy.bufferedAmount)

    @property
    def flight(self) -> InFlight | None:
        """What is on its way; None before anything was acknowledged."""
        if (trip := self._window.trip) is None:
            return None
        queued = self._reliable.bufferedAmount + self._lossy.bufferedAmount
        return InFlight(self._given, self._window.pending + queued, self._window.oldest, trip)

    @property
    def silent(self) -> float:
        """Seconds in which nothing was acknowledged although data is on its way."""
        return self._window.silent

    async def send(self, data: bytes, *, reliable: bool) -> None:
        """Raises ParticipantError when the channels do not open or are closed, or hold BUFFER_LIMIT unsent (lossy:
        dropped). They close some time before the server says why the place is lost."""
        if not self._opened.is_set():
            await _within(self._opened.wait(), "the channels for data do not open")
            self._require_open()
        channel = self._reliable if reliable else self._lossy
        if channel.readyState != "open":
            raise ParticipantError(LossReason.MEDIA_FAILED, "the channels for data have closed")
        if channel.bufferedAmount + len(data) <= BUFFER_LIMIT:
            self._window.sends()
            self._given += len(data)
            channel.send(data)
        elif reliable:
            raise ParticipantError(LossReason.TIMED_OUT, f"{channel.bufferedAmount} bytes wait to be sent")

    async def publish(self, name: str, rate: int) -> OwnTrack:
        """Returns when a participant hears the track, or none does for AUDIENCE_TIMEOUT.

        Raises ParticipantError. When cancelled, the track is taken out again.
        """
        bringing: asyncio.Task[OwnTrack | ParticipantError] = self._tasks.spawn(self._bring_up(name, rate), "publish")
        try:
            await asyncio.wait([bringing])
        except asyncio.CancelledError:
            bringing.add_done_callback(self._withdraw)
            raise
        self._require_open()
        outcome = bringing.result()
        if isinstance(outcome, ParticipantError):
            raise outcome
        return outcome

    async def unpublish(self, slot: Slot) -> None:
        """Takes a track out; a cancelled caller does not stop it."""
        if self._link.lost() is None:
            await asyncio.wait([self._tasks.spawn(self._remove(slot), "unpublish")])

    async def close(self) -> None:
        """Idempotent. The place is lost: waiting callers are told."""
        if (lost := self._link.lost()) is not None:
            for slot in self._slots:
                slot.grant(lost)
        self._opened.set()
        await quirks.close_connection(self._connection)

    # --- how it is done ---------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        # A line that is added while the transport is being connected would never be started by aiortc.
        async with self._changing:
            await self._negotiate()
            await _within(self._connected.wait(), "the outgoing connection does not come up")

    def _require_open(self) -> None:
        if (lost := self._link.lost()) is not None:
            raise lost

    async def _bring_up(self, name: str, rate: int) -> OwnTrack | ParticipantError:
        # To the end, even if no caller waits for it any more: a track that was asked for and never spoke cannot be
        # taken out again, and is announced to others for ever.
        slot = await self._add(name)
        try:
            granted = await _within(slot.granted, "the server does not accept the track")
        except ParticipantError as error:
            granted = error
        if isinstance(granted, ParticipantError):
            await self._remove(slot)
            return granted
        speaker = OwnTrack(slot, self.unpublish, self._link.lost, self._catch_up, rate)
        await speaker.find_listener(AUDIENCE_TIMEOUT)
        return speaker

    async def _add(self, name: str) -> Slot:
        async with self._changing:
            # A line is used again only while it is the only one: beside others livekit-server 1.13 does not let go of
            # its second track. So descriptions grow only where tracks overlap.
            slot = self._slots[0] if len(self._slots) == 1 and self._slots[0].idle else self._new_slot()
            await self._link.request(add_track=self.wish(slot.begin(), name))
            await self._negotiate()
        return slot

    @staticmethod
    def wish(cid: str, name: str) -> rtc.AddTrackRequest:
        """What the server is asked for: a microphone, without redundancy."""
        return rtc.AddTrackRequest(cid=cid, name=name, type=models.AUDIO, source=models.MICROPHONE, disable_red=True)

    async def _remove(self, slot: Slot) -> None:
        async with self._changing:
            slot.end()
            await self._negotiate()
            slot.idle = True

    def _withdraw(self, bringing: asyncio.Task[OwnTrack | ParticipantError]) -> None:
        lost = self._link.lost() is not None or bringing.cancelled() or bringing.exception() is not None
        if not lost and isinstance(speaker := bringing.result(), OwnTrack):
            self._tasks.spawn(speaker.unpublish(), "withdraw")

    def _new_slot(self) -> Slot:
        slot = Slot(self._connection)
        self._slots.append(slot)
        return slot

    async def _negotiate(self) -> None:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        self._offers += 1
        self._answer = asyncio.get_running_loop().create_future()
        offer = rtc.SessionDescription(type="offer", sdp=self._connection.localDescription.sdp, id=self._offers)
        await self._link.request(offer=offer)
        sdp = await _within(self._answer, "the server does not answer our offer")
        try:
            with signal.reading("an answer that cannot be used"):
                description = RTCSessionDescription(signal.usable_description(sdp), "answer")
                await self._connection.setRemoteDescription(description)
            early, self._early = self._early, None
            for candidate in early or ():
                await self._take_candidate(candidate)
        except signal.SignalError as error:
            raise ParticipantError(LossReason.MEDIA_FAILED, f"the server sent {error}") from None

    def _channel_opened(self) -> None:
        if self._reliable.readyState == self._lossy.readyState == "open":
            self._opened.set()

    def _state_changed(self) -> None:
        if self._connection.connectionState == "connected":
            self._connected.set()
        elif self._connection.connectionState in ("failed", "closed"):
            self._link.media_lost(f"the outgoing connection has {self._connection.connectionState}")


async def _within(what: Awaitable[T], otherwise: str) -> T:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await what
    except TimeoutError:
        raise ParticipantError(LossReason.TIMED_OUT, otherwise) from None
