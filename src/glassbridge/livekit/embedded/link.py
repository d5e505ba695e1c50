"""One connection of the stand-in: ICE, DTLS, SRTP and SCTP over one socket, on the ORTC-like classes of aiortc.

There are two for each participant, as in LiveKit: one that it publishes on (its offer) and one that it hears on (ours).
RTP is taken and given at the DTLS transport, as it is: nothing is decoded. A client's own checks tell us its addresses,
so its candidates are not needed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pylibsrtp
import structlog
from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCSctpCapabilities,
    RTCSctpTransport,
)

from glassbridge.livekit.aiortc_quirks import ServerDtls, ServerIce, send_quietly
from glassbridge.livekit.embedded.sdp import SCTP_PORT, LocalTransport, Remote
from glassbridge.livekit.signal import LOSSY_LABEL, RELIABLE_LABEL

log = structlog.get_logger()

CONNECT_TIMEOUT = 15.0
CONSENT_INTERVAL = 2.5
CONSENT_MISSES = 7
"""With half a second for each answer: a client whose media path is dead for 21 s is gone, as in the real server."""
MAX_BUFFERED_BYTES = 1 << 20
MAX_WAITING_PACKETS = 500

OnRtp = Callable[[bytes], Awaitable[None]]
OnData = Callable[[str, bytes], None]


class MediaLink:
    """`open()`, then `start()` once with the client's description, then `close()`. Callbacks run on the event loop."""

    def __init__(
        self,
        address: str,
        certificate: RTCCertificate,
        *,
        offering: bool,
        on_data: OnData,
        on_lost: Callable[[], None],
        on_connected: Callable[[], None] = lambda: None,
        on_rtp: OnRtp | None = None,
    ) -> None:
        self._certificate = certificate
        self._ice = ServerIce(
            address, controlling=offering, consent_interval=CONSENT_INTERVAL, consent_misses=CONSENT_MISSES
        )
        self._dtls = ServerDtls(self._ice, certificate, on_rtp)
        self._sctp = RTCSctpTransport(self._dtls, SCTP_PORT)
        send_quietly(self._sctp)
        self._on_data = on_data
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._channels: dict[str, RTCDataChannel] = {}
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING_PACKETS)
        self._closed = False
        self.dropped = 0
        """Packets that a slow or absent receiver did not get."""
        self._sctp.on("datachannel", self._add_channel)
        self._dtls.on("statechange", self._dtls_changed)

    async def open(self) -> LocalTransport:
        """Binds the socket and describes our end. Raises OSError."""
        await self._ice.gather_candidates()
        if not self._ice.local_candidates:
            raise OSError("no UDP socket for media")
        fingerprint = self._certificate.getFingerprints()[0]
        return LocalTransport(
            self._ice.local_username,
            self._ice.local_password,
            f"{fingerprint.algorithm} {fingerprint.value}",
            tuple(candidate.to_sdp() for candidate in self._ice.local_candidates),
        )

    def offer_channels(self) -> None:
        """Opens the two data channels from our side, as the server does on the connection that a client hears on."""
        for label, unreliable in ((RELIABLE_LABEL, {}), (LOSSY_LABEL, {"ordered": False, "maxRetransmits": 0})):
            channel = RTCDataChannel(self._sctp, RTCDataChannelParameters(label=label, **unreliable))  # type: ignore[arg-type]
            self._add_channel(channel)
            channel.on("open", self._flush)

    async def start(self, remote: Remote) -> None:
        """Returns when connected or failed (on_lost is called then). Cancel it, then close()."""
        self._ice.remote_username = remote.ice.usernameFragment
        self._ice.remote_password = remote.ice.password
        self._ice.remote_is_lite = remote.ice.iceLite
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._ice.connect()
                await self._dtls.start(remote.dtls)
                if self._dtls.state == "connected":
                    await self._sctp.start(RTCSctpCapabilities(remote.max_message_bytes), SCTP_PORT)
        except (ConnectionError, TimeoutError):
            log.debug("media connection failed")
        if self.connected:
            self._on_connected()
        elif not self._closed:
            self._on_lost()

    @property
    def connected(self) -> bool:
        return self._dtls.state == "connected"

    async def send_rtp(self, packet: bytes) -> None:
        """Sends one RTP packet; dropped when it cannot be sent."""
        if not self.connected:
            self.dropped += 1
            return
        try:
            await self._dtls.send_rtp(packet)
        except (ConnectionError, pylibsrtp.Error):
            self.dropped += 1

    def send_data(self, packet: bytes, *, reliable: bool) -> None:
        """Sends one data packet. Reliable ones wait for the channel to open; dropped when the receiver is too slow."""
        channel = self._channels.get(RELIABLE_LABEL if reliable else LOSSY_LABEL)
        if channel is None or channel.readyState != "open":
            if reliable and not self._closed:
                self._waiting.append(packet)
            else:
                self.dropped += 1
        elif channel.bufferedAmount > MAX_BUFFERED_BYTES:
            self.dropped += 1
        else:
            with suppress(ValueError):  # larger than the client takes
                channel.send(packet)

    async def close(self, *, silently: bool = False) -> None:
        """Frees everything; `silently`: without telling the client, as a crash does. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if silently:
            await self._ice.close()
        await self._sctp.stop()
        await self._dtls.stop()
        await self._ice.close()
        self._sctp.remove_all_listeners()
        self._dtls.remove_all_listeners()

    def _add_channel(self, channel: RTCDataChannel) -> None:
        self._channels[channel.label] = channel
        channel.on("message", lambda data: self._message(channel.label, data))

    def _message(self, label: str, data: bytes | str) -> None:
        if isinstance(data, bytes):
            self._on_data(label, data)

    def _flush(self) -> None:
        if (channel := self._channels[RELIABLE_LABEL]).readyState == "open":
            while self._waiting:
                channel.send(self._waiting.popleft())

    def _dtls_changed(self) -> None:
        if self._dtls.state in ("closed", "failed") and not self._closed:
            self._on_lost()
