"""Does LiveKit answer, agree about keys and time, and carry media?"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Final

import aiohttp

from glassbridge.cli.checks.findings import TIMEOUT, Finding, Patient, failed, skipped, warning, well
from glassbridge.cli.checks.media_over_tcp import NoTcp, knock
from glassbridge.core.values import LossReason, UserId
from glassbridge.livekit.clock_skew import MATTERS, REMEDY, skew_of
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Packet,
    Participant,
    ParticipantError,
    RemoteParticipant,
    connector,
)
from glassbridge.livekit.rooms import RoomService, RoomServiceError
from glassbridge.livekit.tokens import phone_token

SKEW_WARN, SKEW_FAIL = 5.0, MATTERS
"""Seconds that our clock may differ from LiveKit's; tokens have 60 s of leeway, and the answer is rounded to 1 s."""
TOKEN_LIFE: Final = 60.0


async def http(patient: Patient) -> Finding:
    """Does a LiveKit server answer at all?"""
    where = patient.livekit_http
    try:
        async with patient.http.get(where) as response:
            patient.livekit_date = response.headers.get("Date", "")
            text = (await response.content.read(100)).decode(errors="replace").strip()
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        return failed(
            f"nobody answers at {where} ({why})",
            "start it (`glassbridge livekit start`), or correct LIVEKIT_URL; elsewhere: open port 7880 for TCP",
        )
    patient.livekit_answers = True
    if status != 200:
        return warning(
            f"{where} answers {status} {text[:40]!r}", "is that a LiveKit server, and not a proxy before it?"
        )
    return well(f"{where} answers")


async def clock(patient: Patient) -> Finding:
    """Tokens are refused when clocks differ too much."""
    if not patient.livekit_date:
        return skipped("LiveKit did not tell its time")
    skew = skew_of(patient.livekit_date)
    if skew is None:
        return skipped("LiveKit told no time that can be read")
    text = f"our clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} LiveKit's"
    if abs(skew) > SKEW_FAIL:
        return failed(text, f"{REMEDY}: tokens are refused")
    if abs(skew) > SKEW_WARN:
        return warning(text, f"{REMEDY} before tokens are refused")
    return well("our clock and LiveKit's agree")


async def keys(patient: Patient) -> Finding:
    """Does LiveKit know our key, and the same secret to it?"""
    if not patient.livekit_answers or patient.keys is None:
        return skipped("LiveKit does not answer")
    try:
        async with RoomService(patient.livekit_http, patient.keys, timeout=TIMEOUT) as rooms:
            count = len(await rooms.rooms())
    except RoomServiceError as error:
        return failed(
            str(error), "compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with `keys:` in LiveKit's configuration"
        )
    patient.keys_right = True
    return well(f"LiveKit accepts our key; {count} rooms")


class _Ears:
    """Waits for one packet."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_packet(self, packet: Packet) -> None:
        if not self.heard.done():
            self.heard.set_result(packet.payload)

    def on_audio(self, block: AudioBlock) -> None: ...

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None: ...

    def on_closed(self, closed: Closed) -> None: ...


MEDIA_ADVICE: Final = (
    "open LiveKit's UDP ports (rtc.udp_port, or rtc.port_range_start to port_range_end) in every firewall on the way, "
    "and see that rtc.node_ip, or use_external_ip, is an address that can be reached from here"
)
JOIN_ADVICE: Final[Mapping[LossReason, str]] = {
    LossReason.UNREACHABLE: "a proxy before LiveKit must pass WebSocket upgrades on (Connection and Upgrade headers)",
    LossReason.TOKEN_REFUSED: "compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with LiveKit's `keys:`",
    LossReason.TOKEN_EXPIRED: f"our clock is ahead of LiveKit's or behind it: {REMEDY}",
    LossReason.CLOCK_SKEW: REMEDY,
    LossReason.LIMIT_EXCEEDED: "raise `limit:` and `room.max_participants` in LiveKit's configuration",
    LossReason.MEDIA_FAILED: MEDIA_ADVICE,
    LossReason.TIMED_OUT: MEDIA_ADVICE,
}


async def media_by_udp(patient: Patient) -> Finding:
    """Sends a packet through a room: signalling by WebSocket, media by UDP, both ways."""
    if not patient.keys_right or patient.keys is None:
        return skipped("LiveKit does not answer, or not to our key")
    places: list[Participant] = []
    ears = _Ears()
    begun = monotonic()
    try:
        async with asyncio.timeout(2 * TIMEOUT):
            for name in ("a", "b"):
                user = UserId(f"{patient.room}-{name}")
                token = phone_token(patient.keys, user=user, room=patient.room, ttl=TOKEN_LIFE)
                options = ConnectOptions(room=patient.room, timeout=TIMEOUT)
                places.append(await connector("own")(patient.settings.livekit_url, token, ears, options))
            joined = monotonic()
            await places[0].send(b"is anybody there?", to=(places[1].identity,))
            await ears.heard
            sent = monotonic() - joined
    except ParticipantError as error:
        return failed(f"joining a room: {error}", JOIN_ADVICE.get(error.reason, MEDIA_ADVICE))
    except TimeoutError:
        return failed("a packet through a room does not arrive", MEDIA_ADVICE)
    finally:
        await asyncio.gather(*(place.close() for place in places))
    took = (joined - begun) / 2 * 1000
    return well(f"a packet went through a room in {sent * 1000:.0f} ms; joining takes {took:.0f} ms")


async def media_by_tcp(patient: Patient) -> Finding:
    """Networks without UDP need LiveKit's TCP port."""
    if not patient.keys_right or patient.keys is None:
        return skipped("LiveKit does not answer, or not to our key")
    token = phone_token(patient.keys, user=UserId(patient.room), room=patient.room, ttl=TOKEN_LIFE)
    advice = (
        "phones in networks without UDP cannot join: set rtc.tcp_port (7881) and open it, or give LiveKit a TURN server"
    )
    try:
        async with asyncio.timeout(2 * TIMEOUT):
            answered = await knock(patient.settings.livekit_url, token)
    except ParticipantError as error:
        return failed(f"joining a room: {error}", JOIN_ADVICE.get(error.reason, advice))
    except (NoTcp, TimeoutError) as error:
        return warning(str(error) or "no answer in time", advice)
    return well(f"LiveKit answers a media packet by TCP at {answered}")
