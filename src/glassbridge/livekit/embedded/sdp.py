"""Session descriptions of the stand-in: what it reads in a client's, and the few lines that it writes itself.

Every description is one bundle: data channels and audio lines over one transport.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from aiortc import RTCDtlsParameters, RTCIceParameters
from aiortc.sdp import MediaDescription, SessionDescription

from glassbridge.livekit.signal import SignalError, TrackRef, stream_id

OPUS = 111
"""Payload type of Opus in everything that we offer."""
SCTP_PORT = 5000
MAX_MESSAGE_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our end of a connection."""

    ufrag: str
    password: str
    fingerprint: str
    """Hash name and value, as in `a=fingerprint`."""
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One m-line of a client."""

    kind: str
    mid: str
    sends: bool = False
    """True for audio that the client sends to us."""
    cid: str = ""
    """The client's own id of the track: it comes with AddTrack, too."""
    ssrc: int | None = None
    opus: int | None = None
    """Payload type under which the client sends Opus; None when it cannot."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What a client's description says."""

    ice: RTCIceParameters
    dtls: RTCDtlsParameters
    lines: tuple[Line, ...]
    max_message_bytes: int = MAX_MESSAGE_BYTES


@dataclass(slots=True)
class Slot:
    """One audio line of our offers; recycled when its track has ended, as the real server does."""

    mid: str
    ssrc: int = 0
    track: TrackRef | None = None
    offered_idle: bool = False
    """So it was in the last offer."""
    agreed: bool = False
    """The client has answered an offer with this track."""
    free: bool = False
    """The client has agreed that nothing comes here: a new track may."""

    def take(self, track: TrackRef) -> None:
        self.track, self.free, self.agreed, self.ssrc = track, False, False, secrets.randbelow(2**32 - 1) + 1


def parse(text: str) -> Remote:
    """Raises SignalError (the client's fault)."""
    try:
        media = SessionDescription.parse(text).media
        lines = tuple(_line(m) for m in media)
        first = media[0]
        sizes = [m.sctpCapabilities.maxMessageSize for m in media if m.sctpCapabilities is not None]
    # The parser's treatment of junk is not part of its contract.
    except (ValueError, AssertionError, IndexError, KeyError, TypeError, AttributeError, StopIteration, RuntimeError):
        raise SignalError("a session description that cannot be read") from None
    ice, dtls = first.ice, first.dtls
    if ice is None or dtls is None or not (ice.usernameFragment and ice.password and dtls.fingerprints):
        raise SignalError("a session description without a transport")
    return Remote(ice, dtls, lines, min(sizes, default=MAX_MESSAGE_BYTES))


def _line(media: MediaDescription) -> Line:
    sends = media.kind == "audio" and media.port != 0 and media.direction in ("sendonly", "sendrecv")
    opus = next((c.payloadType for c in media.rtp.codecs if c.mimeType.lower() == "audio/opus"), None)
    return Line(
        kind=media.kind,
        mid=media.rtp.muxId,
        sends=sends and opus is not None,
        cid=(media.msid or "").split(" ")[-1],
        ssrc=media.ssrc[0].ssrc if media.ssrc else None,
        opus=opus,
    )


def answer(remote: Remote, local: LocalTransport) -> str:
    """Accepts data channels and Opus, refuses everything else."""
    sections = []
    accepted = []
    for line in remote.lines:
        if line.kind == "application":
            section = _data_section(line.mid, "active", local)
        elif line.kind == "audio" and line.opus is not None:
            direction = "recvonly" if line.sends else "inactive"
            section = _audio_section(line.mid, "active", local, line.opus, direction)
        else:
            sections.append([f"m={line.kind} 0 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0", "a=inactive"])
            if line.mid:
                sections[-1].append(f"a=mid:{line.mid}")
            continue
        accepted.append(line.mid)
        sections.append(section)
    return _description(accepted, sections, version=1)


def offer(local: LocalTransport, slots: Iterable[Slot], version: int) -> str:
    """Data channels and one audio line for each slot."""
    sections = [_data_section("0", "actpass", local)]
    mids = ["0"]
    for slot in slots:
        section = _audio_section(slot.mid, "actpass", local, OPUS, "sendonly" if slot.track else "inactive")
        if slot.track is not None:
            msid = f"{stream_id(slot.track)} {slot.track.track_sid}"
            section += [f"a=msid:{msid}", f"a=ssrc:{slot.ssrc} cname:{slot.track.participant_sid}"]
            section.append(f"a=ssrc:{slot.ssrc} msid:{msid}")
        sections.append(section)
        mids.append(slot.mid)
    return _description(mids, sections, version)


def _description(mids: list[str], sections: list[list[str]], version: int) -> str:
    head = ["v=0", f"o=- 1 {version} IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {' '.join(mids)}"]
    head.append("a=msid-semantic: WMS *")
    return "\r\n".join([*head, *(line for section in sections for line in section), ""])


def _transport(mid: str, setup: str, local: LocalTransport) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=setup:{setup}",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:{local.fingerprint}",
        *(f"a=candidate:{candidate}" for candidate in local.candidates),
        "a=end-of-candidates",
    ]


def _data_section(mid: str, setup: str, local: LocalTransport) -> list[str]:
    return [
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        *_transport(mid, setup, local),
        f"a=sctp-port:{SCTP_PORT}",
        f"a=max-message-size:{MAX_MESSAGE_BYTES}",
    ]


def _audio_section(mid: str, setup: str, local: LocalTransport, opus: int, direction: str) -> list[str]:
    return [
        f"m=audio 9 UDP/TLS/RTP/SAVPF {opus}",
        *_transport(mid, setup, local),
        "a=rtcp-mux",
        f"a=rtpmap:{opus} opus/48000/2",
        f"a=fmtp:{opus} minptime=10;useinbandfec=1",
        f"a={direction}",
    ]
