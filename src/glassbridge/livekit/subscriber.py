"""The connection through which the room comes in: the server offers, we answer, data and sound arrive."""

import re
from collections.abc import Mapping
from typing import Protocol

from aioice import Connection
from aiortc import RTCDataChannel, RTCIceCandidate, RTCPeerConnection, RTCSessionDescription
from livekit.protocol import rtc

from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit import signal
from glassbridge.livekit.codecs import CODECS
from glassbridge.livekit.incoming import Incoming
from glassbridge.livekit.media import Sound, TrackReceiver, parse_rtp, unpack_red
from glassbridge.livekit.refused import Rejected, counted
from glassbridge.livekit.relay import Relay
from glassbridge.livekit.signal import TrackRef, UserData

CONSENT_INTERVAL = 1.0
"""Seconds between proofs that this path lives (traps A3)."""
_ICE_USER = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)


class MediaListener(Protocol):
    """The receiver of everything that comes in. Called on the event loop; must not raise."""

    def media_ready(self) -> None: ...

    def media_alive(self, ago: float) -> None: ...

    def media_lost(self, detail: str) -> None: ...

    def data_arrived(self, data: UserData, reliable: bool) -> None: ...

    def sound_arrived(self, track: TrackRef, sound: Sound) -> None: ...


class Subscriber:
    """One place's incoming side. Offers and candidates are given to it in the order of their arrival."""

    def __init__(self, listener: MediaListener, relay: Relay, *, loopback: bool) -> None:
        self._listener = listener
        self._relay = relay
        self._loopback = loopback
        self._connection: RTCPeerConnection | None = None
        self._incoming: Incoming | None = None
        self.ice: Connection | None = None
        """None before the first offer that can be used."""
        self._early: list[RTCIceCandidate] = []
        self._trickled = 0
        self._ice_user = ""
        self._by_udp = False
        self._open: set[str] = set()
        self._tracks: dict[int, TrackRef] = {}
        self._receivers: dict[int, TrackReceiver] = {}
        self._payloads: Mapping[int, str] = {}

    async def answer(self, offer: rtc.SessionDescription) -> rtc.SessionDescription:
        """Our answer to an offer of the server. Waits for nothing on the network. Raises SignalError."""
        sdp = signal.usable_description(offer.sdp)
        ice_user = "".join(_ICE_USER.findall(sdp)[:1])
        if self._connection is not None and ice_user != self._ice_user:
            self._listener.media_lost("the server restarts the media path")
        self._ice_user = ice_user
        self._by_udp |= signal.has_udp(sdp)
        self._tracks = signal.audio_tracks(sdp)
        self._receivers = {ssrc: kept for ssrc, kept in self._receivers.items() if ssrc in self._tracks}
        self._payloads = signal.audio_payloads(sdp)
        connection = self._connection = self._connection or self._new_connection()
        try:
            with signal.reading("an offer that cannot be used"):
                await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                quirks.silence_receivers(connection.getTransceivers())
                if self._incoming is None:
                    self._incoming = self._prepare(connection)
                self._incoming.take_data(connection.sctp)
                early, self._early = self._early, []
                for candidate in early:
                    await connection.addIceCandidate(candidate)
                await connection.setLocalDescription(await connection.createAnswer())
                answer = signal.accept_red(sdp, connection.localDescription.sdp)
        except signal.SignalError as error:
            self._listener.media_lost(f"the server sent {error}")  # the connection is in no state to go on
            raise
        return rtc.SessionDescription(type="answer", sdp=answer, id=offer.id)

    def _prepare(self, connection: RTCPeerConnection) -> Incoming:
        """Once it has a transport."""
        quirks.send_quietly(connection.sctp)
        incoming = Incoming(quirks.dtls_of(connection), self._rtp, self._data)
        self.ice = quirks.ice_of(connection)
        quirks.prepare_ice(
            self.ice,
            loopback=self._loopback,
            consent_interval=CONSENT_INTERVAL,
            on_alive=self._listener.media_alive,
            silent=incoming.silent,
            instead=self._relay.instead(self.ice),
        )
        return incoming

    async def add_candidate(self, candidate: RTCIceCandidate, *, final: bool) -> None:
        """A trickled candidate; those that come before the first offer are kept for it (traps A12), and those beyond
        MAX_CANDIDATES are passed over. Raises SignalError."""
        self._trickled += 1
        if self._trickled > signal.MAX_CANDIDATES:
            counted[Rejected.CANDIDATES] += 1
            return
        self._by_udp |= candidate.protocol.lower() == "udp"
        if final and not self._by_udp:
            self._listener.media_lost("the server offers only ICE-TCP: open UDP to it, or use the SDK participant")
        if self._connection is None:
            self._early.append(candidate)
            return
        with signal.reading("a candidate that cannot be used"):
            await self._connection.addIceCandidate(candidate)
        if self.ice is not None:
            quirks.check_late_candidate(self.ice)

    async def close(self) -> None:
        """Idempotent."""
        if self._connection is not None:
            await quirks.close_connection(self._connection)

    def _new_connection(self) -> RTCPeerConnection:
        connection = quirks.new_connection()
        quirks.hear_of_failure(
            connection, lambda why: self._listener.media_lost(f"the incoming connection cannot be built ({why})")
        )

        @connection.on("connectionstatechange")
        def changed() -> None:
            if connection.connectionState in ("failed", "closed"):
                self._listener.media_lost(f"the incoming connection has {connection.connectionState}")

        @connection.on("datachannel")
        def opened(channel: RTCDataChannel) -> None:
            self._open.add(channel.label)
            if self._open >= {signal.RELIABLE_LABEL, signal.LOSSY_LABEL}:
                self._listener.media_ready()

        return connection

    def _data(self, label: str, data: bytes) -> None:
        try:
            packet = signal.decode_data(data)
        except signal.SignalError:
            return  # it costs itself, not the place
        if packet is not None:
            self._listener.data_arrived(packet, label == signal.RELIABLE_LABEL)

    def _rtp(self, data: bytes) -> None:
        packet = parse_rtp(data)
        if packet is None or (track := self._tracks.get(packet.ssrc)) is None:
            return
        codec = self._payloads.get(packet.payload_type, "")
        singles = [packet]
        if codec == "red":
            # It wraps Opus, by the number that its publisher gave it: the server passes that on as it is.
            codec, singles = "opus", unpack_red(packet)
        if codec not in CODECS:
            return
        for single in singles:
            receiver = self._receivers.get(packet.ssrc)
            if receiver is None or receiver.codec != codec:
                receiver = self._receivers[packet.ssrc] = TrackReceiver(codec)
            for sound in receiver.push(single):
                self._listener.sound_arrived(track, sound)
