"""One participant of the stand-in: its signalling, and the two connections on which it publishes and hears."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any

import structlog
from aiohttp import WSMsgType, web
from aiortc import RTCCertificate
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models, rtc

from glassbridge.livekit.embedded.link import MediaLink
from glassbridge.livekit.embedded.publisher import Publisher
from glassbridge.livekit.embedded.room import Action, Reason, Room, Track, new_sid
from glassbridge.livekit.embedded.subscriber import Subscriber
from glassbridge.livekit.signal import RELIABLE_LABEL, JoinQuery, SignalError, decode_request, encode_response
from glassbridge.livekit.tokens import Claims, LiveKitKeys, refreshed
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

State = models.ParticipantInfo.State
VERSION = "glassbridge-embedded"
MAX_OUTBOX = 1_000
"""Signalling messages that may wait for a client that does not read; with one more it is given up."""
WRITE_TIMEOUT = 3.0
GOODBYE_GRACE = 1.0
"""A client that leaves may close its media before its goodbye has arrived."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for all participants of a server. Times in seconds."""

    keys: LiveKitKeys
    certificate: RTCCertificate
    address: str
    """Where media is received."""
    ping_interval: int = 5
    ping_timeout: int = 15
    """What clients are told. The server itself minds media paths only, as the real one does."""
    refresh_interval: float = 300.0
    """Between refreshed tokens; the first one comes right after the join."""


class Member:
    """`run()` serves its signalling, `close()` frees everything; the room calls the rest."""

    def __init__(
        self,
        room: Room,
        claims: Claims,
        query: JoinQuery,
        socket: web.WebSocketResponse,
        transport: asyncio.BaseTransport,
        terms: Terms,
    ) -> None:
        self.ended = asyncio.Event()
        """Set when it is out of the room."""
        self.sid = new_sid("PA")
        self.identity = claims.identity
        self._room = room
        self._claims = claims
        self._query = query
        self._socket = socket
        self._transport = transport
        self._terms = terms
        self._state: models.ParticipantInfo.State = State.JOINING
        self._reason: models.DisconnectReason = Reason.UNKNOWN_REASON
        self._joined_at = time()
        self._version = 0
        self._unwanted: set[str] = set()
        """Sids of tracks that it does not want to hear."""
        self._wanted: set[str] = set()
        """Sids of tracks that it has asked for."""
        self._tasks = TaskGroup(f"member {self.sid}", self._failed)
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_OUTBOX)
        self._aborted = False
        self._writer: asyncio.Task[None] | None = None
        self._publisher = Publisher(
            self.sid,
            self._link,
            self._tasks,
            on_live=lambda track: room.track_live(self, track),
            on_ended=lambda track: room.track_ended(self, track),
        )
        self._subscriber = Subscriber(
            self._link,
            self._tasks,
            on_connected=self._active,
            on_offer=lambda offer: self.send(offer=offer),
            on_heard=room.track_heard,
        )

    def _link(self, **options: Any) -> MediaLink:
        return MediaLink(
            self._terms.address, self._terms.certificate, on_data=self._on_data, on_lost=self._media_lost, **options
        )

    # What the room asks of it

    @property
    def live_tracks(self) -> Sequence[Track]:
        return self._publisher.live

    def info(self) -> models.ParticipantInfo:
        """How others see it."""
        self._version += 1
        claims = self._claims
        return models.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=claims.name,
            metadata=claims.metadata,
            state=self._state,
            joined_at=int(self._joined_at),
            joined_at_ms=int(self._joined_at * 1000),
            version=self._version,
            is_publisher=bool(self.live_tracks),
            tracks=[track.info for track in self.live_tracks],
            permission=models.ParticipantPermission(
                can_subscribe=claims.subscribe, can_publish=claims.publish, can_publish_data=claims.publish_data
            ),
            disconnect_reason=self._reason,
        )

    def welcome(self, others: Sequence[models.ParticipantInfo]) -> None:
        self.send(
            join=rtc.JoinResponse(
                room=self._room.info(),
                participant=self.info(),
                other_participants=others,
                subscriber_primary=True,
                server_version=VERSION,
                server_info=models.ServerInfo(version=VERSION, protocol=self._query.protocol),
                ping_interval=self._terms.ping_interval,
                ping_timeout=self._terms.ping_timeout,
            )
        )

    def update(self, info: models.ParticipantInfo) -> None:
        self.send(update=rtc.ParticipantUpdate(participants=[info]))

    def listen(self, track: Track) -> None:
        if self._query.auto_subscribe and track.sid not in self._unwanted:
            self._ask_for(track)

    def _ask_for(self, track: Track) -> None:
        self._wanted.add(track.sid)
        if not track.shared:
            self._tell_permission(track)
        elif self._claims.subscribe:
            self._subscriber.listen(track)

    def permit(self, track: Track) -> None:
        if track.sid in self._wanted:
            self._tell_permission(track)
            if track.shared:
                self._ask_for(track)
            else:
                self._subscriber.stop_listening(track)

    def _tell_permission(self, track: Track) -> None:
        self.send(
            subscription_permission_update=rtc.SubscriptionPermissionUpdate(
                participant_sid=track.owner_sid, track_sid=track.sid, allowed=track.shared
            )
        )

    def stop_listening(self, track: Track) -> None:
        self._subscriber.stop_listening(track)

    def heard(self, track_sid: str) -> None:
        self.send(track_subscribed=rtc.TrackSubscribed(track_sid=track_sid))

    def deliver(self, packet: bytes, *, reliable: bool) -> None:
        self._subscriber.link.send_data(packet, reliable=reliable)

    def dismissed(self, reason: "models.DisconnectReason", action: "rtc.LeaveRequest.Action") -> None:
        """It is out: says so to the client, unless it said so itself, and hangs up."""
        self._state, self._reason = State.DISCONNECTED, reason
        self.ended.set()
        if reason != Reason.CLIENT_INITIATED:
            may_return = action != Action.DISCONNECT
            self.send(leave=rtc.LeaveRequest(reason=reason, action=action, can_reconnect=may_return))
        self._hang_up()

    # Its life

    @property
    def gone(self) -> bool:
        return self._state == State.DISCONNECTED

    async def run(self) -> None:
        """Serves the signalling until the client has left, is put out, or its socket is gone."""
        self._writer = self._tasks.spawn(self._write(), "write")
        self._tasks.spawn(self._subscriber.open(), "subscribe")
        self._tasks.spawn(self._refresh_token(), "refresh")
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                try:
                    kind, body = decode_request(message.data)
                    await self._handle(kind, body)
                except SignalError as error:
                    log.warning("bad signalling", identity=self.identity, error=str(error))
            if self.gone:
                return
        # Without a goodbye it stays as long as its media lives, as in the real server.
        if self._state == State.JOINING:
            self._room.dismiss(self, Reason.SIGNAL_CLOSE)

    def dismiss(self, reason: "models.DisconnectReason") -> None:
        """Puts it out of its room."""
        self._room.dismiss(self, reason)

    def abort(self) -> None:
        """Breaks its signalling silently; close() then does the same to its media."""
        self._aborted = True
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    async def close(self) -> None:
        """Says the last words, then frees everything, within a few seconds."""
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=WRITE_TIMEOUT)
        await self._tasks.close()
        for link in (self._publisher.link, self._subscriber.link):
            await link.close(silently=self._aborted)

    def send(self, **field: Message | str | int) -> None:
        """Queues one signalling message."""
        try:
            self._outbox.put_nowait(encode_response(**field))
        except asyncio.QueueFull:
            self.abort()

    def _hang_up(self) -> None:
        with suppress(asyncio.QueueFull):
            self._outbox.put_nowait(None)

    async def _write(self) -> None:
        try:
            while (data := await self._outbox.get()) is not None:
                async with asyncio.timeout(WRITE_TIMEOUT):
                    await self._socket.send_bytes(data)
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._socket.close()
        except (ConnectionError, TimeoutError):
            self.abort()

    async def _refresh_token(self) -> None:
        while True:
            self.send(refresh_token=refreshed(self._terms.keys, self._claims, now=time()))
            await asyncio.sleep(self._terms.refresh_interval)

    def _active(self) -> None:
        if not self.gone:
            self._state = State.ACTIVE
            self._room.announce(self)

    def _media_lost(self) -> None:
        if not self.gone:
            self._tasks.spawn(self._miss_media(), "media lost")

    async def _miss_media(self) -> None:
        await asyncio.sleep(GOODBYE_GRACE)
        self._room.dismiss(self, Reason.CONNECTION_TIMEOUT, Action.RESUME)

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("participant failed", identity=self.identity, task=task, error=repr(error))
        self._room.dismiss(self, Reason.JOIN_FAILURE)

    def _on_data(self, label: str, data: bytes) -> None:
        if self.gone or not self._claims.publish_data:
            return
        try:
            packet = models.DataPacket.FromString(data)
        except DecodeError:
            log.warning("bad data packet", identity=self.identity, bytes=len(data))
            return
        self._room.route(self, packet, reliable=label == RELIABLE_LABEL)

    # Its requests

    async def _handle(self, kind: str, body: Any) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None and not self.gone:
            result = handler(self, body)
            if result is not None:
                await result

    def _on_ping(self, request: rtc.Ping) -> None:
        now = int(time() * 1000)
        self.send(pong_resp=rtc.Pong(last_ping_timestamp=request.timestamp, timestamp=now))

    def _on_old_ping(self, timestamp: int) -> None:
        self.send(pong=int(time() * 1000))

    def _on_leave(self, _: rtc.LeaveRequest) -> None:
        self._room.dismiss(self, Reason.CLIENT_INITIATED)

    async def _on_offer(self, offer: rtc.SessionDescription) -> None:
        self.send(answer=await self._publisher.offered(offer))

    def _on_answer(self, answer: rtc.SessionDescription) -> None:
        self._subscriber.answered(answer)

    def _on_add_track(self, request: rtc.AddTrackRequest) -> None:
        if not self._claims.publish or (track := self._publisher.add_track(request)) is None:
            log.warning("track refused", identity=self.identity, kind=models.TrackType.Name(request.type).lower())
            refusal = rtc.RequestResponse(reason=rtc.RequestResponse.NOT_ALLOWED, add_track=request)
            self.send(request_response=refusal)
            return
        self.send(track_published=rtc.TrackPublishedResponse(cid=request.cid, track=track.info))

    def _on_mute(self, request: rtc.MuteTrackRequest) -> None:
        if self._publisher.mute(request):
            self._room.announce(self)

    def _on_subscription(self, request: rtc.UpdateSubscription) -> None:
        sids = {*request.track_sids, *(sid for tracks in request.participant_tracks for sid in tracks.track_sids)}
        for sid in sids:
            track = self._room.find_track(sid)
            if not request.subscribe:
                self._unwanted.add(sid)
                self._wanted.discard(sid)
                if track is not None:
                    self._subscriber.stop_listening(track)
            else:
                self._unwanted.discard(sid)
                if track is not None:
                    self._ask_for(track)

    def _on_subscription_permission(self, permission: rtc.SubscriptionPermission) -> None:
        self._publisher.share(permission.all_participants)
        self._room.share(self)


_HANDLERS: dict[str, Callable[[Member, Any], Any]] = {
    "ping": Member._on_old_ping,
    "ping_req": Member._on_ping,
    "leave": Member._on_leave,
    "offer": Member._on_offer,
    "answer": Member._on_answer,
    "add_track": Member._on_add_track,
    "mute": Member._on_mute,
    "subscription": Member._on_subscription,
    "subscription_permission": Member._on_subscription_permission,
}
"""What else clients send is not needed: their candidates (their checks tell their addresses), settings, sync states."""
