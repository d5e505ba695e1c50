"""Does LiveKit answer, agree about keys and time, and carry media?"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import TIMEOUT, Finding, Patient, skipped, well
from glassbridge.cli.checks.media_over_tcp import NoTcp, knock
from glassbridge.cli.checks.reaching import explain, holder
from glassbridge.core.values import LossReason, UserId
from glassbridge.livekit.clock_skew import MATTERS, REMEDY, skew_of
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Packet,
    Participant,
    ParticipantError,
    RelayUse,
    RemoteParticipant,
)
from glassbridge.livekit.rooms import RoomService, RoomServiceError, RoomServiceRefused
from glassbridge.livekit.tokens import phone_token

SKEW_WARN, SKEW_FAIL = 5.0, MATTERS
"""Seconds that our clock may differ from LiveKit's; tokens have 60 s of leeway, and the answer is rounded to 1 s."""
TOKEN_LIFE: Final = 60.0


async def http(patient: Patient) -> Finding:
    """Does a LiveKit server answer at all?"""
    where = patient.livekit_http
    if urlsplit(where).hostname in patient.unresolved:
        return skipped("the name of its address means nothing here")
    try:
        async with patient.http.get(where) as response:
            patient.dates["LiveKit's"] = response.headers.get("Date", "")
            text = (await response.content.read(100)).decode(errors="replace").strip()
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return explain(error, patient.settings.livekit_url, "LIVEKIT_URL", "`glassbridge livekit start`")
    patient.livekit_trouble = ""
    if (status, text) != (200, "OK"):
        return Trouble.LIVEKIT_STRANGE.found(where=where, status=status, text=text[:40], holder=holder(where))
    return well(f"{where} answers")


async def clock(patient: Patient) -> Finding:
    """Tokens are refused when clocks differ too much. Told here, and nowhere else."""
    skews = {whose: skew for whose, date in patient.dates.items() if (skew := skew_of(date)) is not None}
    if not skews:
        return skipped("nobody told the time")
    worst = max(skews.values(), key=abs)
    whose = " and ".join(name for name, skew in skews.items() if abs(skew - worst) <= SKEW_WARN)
    told = f"our clock is {abs(worst):.0f} s {'ahead of' if worst > 0 else 'behind'} {whose}"
    if abs(worst) > SKEW_FAIL:
        if not patient.livekit_trouble and abs(skews.get("LiveKit's", 0.0)) > SKEW_FAIL:
            patient.livekit_trouble = "not before the clocks agree"
        return Trouble.CLOCK_WRONG.found(skew=told)
    if abs(worst) > SKEW_WARN:
        return Trouble.CLOCK_DRIFTS.found(skew=told)
    return well(f"our clock agrees with {whose}")


async def keys(patient: Patient) -> Finding:
    """Does LiveKit know our key, and the same secret to it?"""
    if patient.livekit_trouble:
        return skipped(patient.livekit_trouble)
    patient.livekit_trouble = "LiveKit refuses our key"
    try:
        async with RoomService(patient.livekit_http, patient.keys, timeout=TIMEOUT) as rooms:
            count = len(await rooms.rooms())
    except RoomServiceRefused:
        return Trouble.KEY_REFUSED.found()
    except RoomServiceError as error:
        patient.livekit_trouble = "LiveKit's room service does not work"
        return Trouble.ROOM_SERVICE.found(why=error)
    patient.livekit_trouble = ""
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
    LossReason.TOKEN_EXPIRED: REMEDY,
    LossReason.CLOCK_SKEW: REMEDY,
    LossReason.LIMIT_EXCEEDED: "raise `limit:` and `room.max_participants` in LiveKit's configuration",
    LossReason.MEDIA_FAILED: MEDIA_ADVICE,
    LossReason.TIMED_OUT: MEDIA_ADVICE,
}


async def media_by_udp(patient: Patient) -> Finding:
    """Sends a packet through a room: signalling by WebSocket, media by UDP, both ways."""
    if patient.livekit_trouble:
        return skipped(patient.livekit_trouble)
    try:
        sent, took = await _through_a_room(patient, RelayUse.NEVER)
    except ParticipantError as error:
        return Trouble.JOIN.found(why=error, advice=JOIN_ADVICE.get(error.reason, MEDIA_ADVICE))
    except TimeoutError:
        return Trouble.MEDIA_LOST.found(advice=MEDIA_ADVICE)
    return well(f"a packet went through a room in {sent * 1000:.0f} ms; joining takes {took * 1000:.0f} ms")


async def media_by_turn(patient: Patient) -> Finding:
    """Sends a packet through a room by TURN alone: what our phones and bridges do where UDP does not pass."""
    if patient.livekit_trouble:
        return skipped(patient.livekit_trouble)
    try:
        sent, took = await _through_a_room(patient, RelayUse.ONLY)
    except ParticipantError as error:
        return Trouble.NO_MEDIA_BY_TURN.found(why=error.detail or error.reason.text)
    except TimeoutError:
        return Trouble.NO_MEDIA_BY_TURN.found(why="a packet through TURN does not arrive")
    return well(f"a packet went through TURN in {sent * 1000:.0f} ms; joining takes {took * 1000:.0f} ms")


async def _through_a_room(patient: Patient, relay: RelayUse) -> tuple[float, float]:
    """Seconds that a packet took from one place to another, and that a join took. Raises ParticipantError when there is
    no joining, TimeoutError when the packet does not come."""
    places: list[Participant] = []
    ears = _Ears()
    begun = monotonic()
    try:
        async with asyncio.timeout(2 * TIMEOUT):
            for name in ("a", "b"):
                user = UserId(f"{patient.room}-{name}")
                token = phone_token(patient.keys, user=user, room=patient.room, ttl=TOKEN_LIFE)
                options = ConnectOptions(room=patient.room, timeout=TIMEOUT, relay=relay)
                places.append(await connector("own")(patient.settings.livekit_url, token, ears, options))
            joined = monotonic()
            await places[0].send(b"is anybody there?", to=(places[1].identity,))
            await ears.heard
            return monotonic() - joined, (joined - begun) / 2
    finally:
        await asyncio.gather(*(place.close() for place in places))


async def media_by_tcp(patient: Patient) -> Finding:
    """LiveKit's own SDKs can use its TCP port in networks without UDP; our participant cannot (media_by_turn)."""
    if patient.livekit_trouble:
        return skipped(patient.livekit_trouble)
    token = phone_token(patient.keys, user=UserId(patient.room), room=patient.room, ttl=TOKEN_LIFE)
    try:
        async with asyncio.timeout(2 * TIMEOUT):
            answered = await knock(patient.settings.livekit_url, token)
    except ParticipantError as error:
        return Trouble.JOIN.found(why=error, advice=JOIN_ADVICE.get(error.reason, MEDIA_ADVICE))
    except (NoTcp, TimeoutError) as error:
        return Trouble.NO_MEDIA_BY_TCP.found(why=str(error) or "LiveKit does not answer by TCP in time")
    return well(f"LiveKit answers a media packet by TCP at {answered}: for LiveKit's own SDKs; our phones need TURN")
