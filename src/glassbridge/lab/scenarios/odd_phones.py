"""P: rooms and phones as they are. Each cause is real; the phone has to be told it within two seconds, in its own
words, and no place that was sound is taken anew."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from time import monotonic, monotonic_ns

import aiohttp
import numpy as np
from livekit.api.room_service import RoomService
from livekit.protocol import models, room, rtc

from glassbridge.core.values import AudioState, UserId
from glassbridge.lab.bare_phone import BarePhone, DeafEars
from glassbridge.lab.hostile_livekit import frame
from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.scenario import always, least, most, scenario
from glassbridge.lab.system import System
from glassbridge.livekit.own import connect
from glassbridge.livekit.participant import ConnectOptions, LocalTrack
from glassbridge.livekit.signal import encode_response
from glassbridge.livekit.tokens import phone_token
from glassbridge.wire.audio_frames import FrameNumber, encode_numbered

LIVE, CONNECTING, INTERRUPTED = AudioState.LIVE, AudioState.CONNECTING, AudioState.INTERRUPTED
SHORT = Needs(env={"GLASSBRIDGE_GRACE": "3", "GLASSBRIDGE_RECOGNISERS": "4"})
"""One recogniser for each, also while the users of former runs are in their grace: one that is busy would be part of
the story."""
SOON = 2.0
PORTIONS = 70
"""Of 0.1 s, before the nap and after it."""
MUST = (most("told_s", SOON), always("named"), most("joins", 0))


def tone(seconds: float, hz: float = 440.0, loud: float = 9_000.0) -> bytes:
    """PCM16 at 16 kHz."""
    at = np.arange(round(seconds * 16_000)) / 16_000
    return bytes(np.rint(loud * np.sin(2 * math.pi * hz * at)).astype("<i2"))


async def _speak(track: LocalTrack, pcm: bytes) -> None:
    for at in range(0, len(pcm) - 639, 640):
        await track.write(pcm[at : at + 640])


@asynccontextmanager
async def _speaking(track: LocalTrack, pcm: bytes) -> AsyncIterator[None]:
    """Somebody speaks meanwhile."""
    speaking = asyncio.create_task(_speak(track, pcm), name="speak")
    try:
        yield
    finally:
        speaking.cancel()
        await asyncio.wait([speaking])


def _name(system: System, what: str) -> UserId:
    return UserId(f"{what}-{len(system.samples)}@example.org")


def _note(system: System, phone: BarePhone, label: str, told_s: float, code: str = "", **more: float) -> None:
    """A sample; the log must name the code, or that it is live."""
    notice = {"code": code} if code else {"state": LIVE.value}
    system.note_phone(phone.name, label, phone.begun_ns, phone.figures(told_s, **notice) | more)


@scenario(
    "P1",
    "a shared screen sounds before the microphone",
    story="12",
    needs=SHORT,
    must=MUST,
    users=1,
    runs=3,
    intact=False,
)
async def shared_screen(system: System) -> None:
    """The microphone is live as soon as it is published; the screen's sound never is."""
    await system.speaking()
    async with BarePhone(system, _name(system, "screen")) as phone:
        screen = await phone.publish(source=models.SCREEN_SHARE_AUDIO)
        async with _speaking(screen, tone(30.0, 880.0)):
            await asyncio.sleep(1.0)
            if LIVE.value in [state for _, state, _, _ in phone.told]:
                raise LabError("a shared screen is told live")
            microphone = await phone.publish(source=models.MICROPHONE)
            async with _speaking(microphone, tone(30.0)):
                told = await phone.until_told(LIVE)
        _note(system, phone, "screen, then microphone", told)


@scenario("P2", "an encrypted microphone", story="12", needs=SHORT, must=MUST, users=1, runs=3, intact=False)
async def encrypted(system: System) -> None:
    """What cannot be understood is not live, and says so."""
    await system.speaking()
    async with BarePhone(system, _name(system, "encrypted")) as phone:
        begun = monotonic()
        track = await phone.publish(encryption=models.Encryption.GCM)
        async with _speaking(track, tone(30.0)):
            await phone.until_told(INTERRUPTED, "encrypted")
        _note(system, phone, "encrypted track", phone.told[-1][0] - begun, "encrypted")


@scenario(
    "P3", "a microphone is muted and unmuted", story="12", needs=SHORT,
    must=(*MUST, most("heard_s", 0.3)), users=1, runs=3, intact=False,
)  # fmt: skip
async def muted(system: System) -> None:
    """Muted is a state: no fault, no join; unmuted it is live at the first sample."""
    await system.speaking()
    async with BarePhone(system, _name(system, "muted")) as phone:
        track = await phone.publish()
        async with _speaking(track, tone(60.0)):
            await phone.until_told(LIVE)
            await phone.request(mute=rtc.MuteTrackRequest(sid=track.sid, muted=True))
            told = await phone.until_told(CONNECTING, "muted")
            await asyncio.sleep(5.0)
            await phone.request(mute=rtc.MuteTrackRequest(sid=track.sid, muted=False))
            heard = await phone.until_told(LIVE)
        _note(system, phone, "muted for 5 s", told, "muted", heard_s=heard)


@scenario("P4", "a phone leaves its room", story="12", needs=SHORT, must=MUST, users=1, runs=3, intact=False)
async def leaves(system: System) -> None:
    """The phone is named, and nothing of ours is taken anew."""
    await system.speaking()
    async with BarePhone(system, _name(system, "leaves")) as phone:
        track = await phone.publish()
        async with _speaking(track, tone(60.0)):
            await phone.until_told(LIVE)
        begun = monotonic()
        await phone.leave()
        await phone.until_told(INTERRUPTED, "phone_not_in_room")
        _note(system, phone, "left the room", phone.told[-1][0] - begun, "phone_not_in_room")


@scenario(
    "P5", "a capture clock sleeps", story="12", needs=SHORT,
    must=(most("late_s", 3.5), always("named"), least("asked", 1)), users=1, runs=3, intact=False,
)  # fmt: skip
async def clock_sleeps(system: System) -> None:
    """After a nap of 5 s every stamp is 5 s behind: live listeners hear the phone again after 3 s."""
    await system.speaking()
    name = _name(system, "clock")
    headers = {"Authorization": f"Bearer {system.stack.core_token(name)}"}
    asked: list[str] = []
    begun_ns = monotonic_ns()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{system.a.cloud_url}/glasses-ws?audio=2", headers=headers) as socket,
    ):

        async def read() -> None:
            async for frame in socket:
                said = frame.json()
                if said["type"] == "ping":
                    await socket.send_json({"type": "pong"})
                elif said["type"] == "epoch_end":
                    asked.append(said["type"])

        reading = asyncio.create_task(read(), name="clock-phone")
        position, behind, woke_ns, pcm = 0, 0.0, 0, tone(0.1)
        for slept in (0.0, 5.0):
            await asyncio.sleep(slept)
            behind += slept
            woke_ns = monotonic_ns()
            for _ in range(PORTIONS):
                stamp = round((monotonic() - behind) * 1e6)
                await socket.send_bytes(encode_numbered(FrameNumber(7, position, stamp), pcm))
                position += 1_600
                await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.wait([reading])
    stepped = system.logged("capture clock stepped", None, 0, user_id=name)
    late = PORTIONS / 10 - sum(block.live for block in system.taps.blocks(name, woke_ns)) / 10
    figures = {"late_s": late, "named": float(len(stepped) == 1), "asked": float(len(asked))}
    system.note_phone(name, "slept 5 s", begun_ns, figures)


def _names(count: int) -> bytes:
    """Candidates that cannot be looked up, as LiveKit would trickle them."""
    init = json.dumps({"candidate": "candidate:1 1 udp 1 nowhere.invalid 9 typ host", "sdpMid": "0"})
    trickle = rtc.TrickleRequest(candidateInit=init, target=rtc.SUBSCRIBER)
    return frame(encode_response(trickle=trickle)) * count


def _crowd() -> bytes:
    """An update of 6 MB: a hundred people with much to say of themselves."""
    people = [models.ParticipantInfo(sid=f"PA_{n}", identity=f"p{n}", metadata="m" * 60_000) for n in range(100)]
    return frame(encode_response(update=rtc.ParticipantUpdate(participants=people)))


@scenario(
    "P6",
    "names that do not resolve and an update of 6 MB while somebody speaks",
    story="12",
    needs=Needs(breakable=True, env=SHORT.env),
    must=(most("hole_s", 1.0), *MUST),
    users=1,
    runs=3,
    intact=False,
)
async def reader_never_waits(system: System) -> None:
    """Whatever LiveKit sends, audio flows on, and the place stays."""
    await system.speaking()
    async with BarePhone(system, _name(system, "crowd")) as phone:
        track = await phone.publish()
        async with _speaking(track, tone(60.0)):
            told = await phone.until_told(LIVE)
            begun_ns = monotonic_ns()
            for words in (_names(500), _crowd()):
                system.a.to_livekit.inject(words)
                await asyncio.sleep(4.0)
            heard = [block.at_ns for block in system.taps.blocks(phone.name, begun_ns) if block.live]
            hole = max((later - at for at, later in pairwise([begun_ns, *heard, monotonic_ns()])), default=0)
        if phone.told[-1][1] != LIVE.value:
            raise LabError(f"the phone is told {phone.told[-1][2]}")
        _note(system, phone, "names, then a crowd", told, hole_s=hole / 1e9)


@scenario(
    "P7",
    "the room is full",
    story="12",
    needs=SHORT,
    must=(most("told_s", SOON), always("named"), most("attempts", 8)),
    users=1,
    runs=3,
    intact=False,
)
async def room_is_full(system: System) -> None:
    """Only LiveKit knows: the phone is told why, and the bridge does not try for ever."""
    await system.speaking()
    name = _name(system, "full")
    async with aiohttp.ClientSession() as http:
        keys = system.keys
        service = RoomService(http, system.stack.livekit_url, keys.api_key, keys.secret, failover=False)
        await service.create_room(room.CreateRoomRequest(name=name, max_participants=1))
    token = phone_token(system.keys, user=UserId("somebody"), room=name, ttl=60.0)
    occupant = await connect(system.stack.livekit_url, token, DeafEars(), ConnectOptions(room=name))
    begun = monotonic()
    async with BarePhone(system, name, joins=False) as phone:
        await phone.until_told(AudioState.UNAVAILABLE, "limit_exceeded")
        told = phone.told[-1][0] - begun
        await asyncio.sleep(8.0)
        attempts = float(len(system.logged("JoinRoom received", None, phone.begun_ns, user_id=name)))
        _note(system, phone, "room of one", told, "limit_exceeded", attempts=attempts)
    await occupant.close()


@scenario(
    "P8", "somebody else speaks in the room", story="12", needs=SHORT, must=MUST, users=1, runs=3, intact=False
)  # fmt: skip
async def somebody_else(system: System) -> None:
    """An agent of others, and a person: neither is the phone, whose own first word is live at once."""
    await system.speaking()
    async with BarePhone(system, _name(system, "else")) as phone:
        token = phone_token(system.keys, user=UserId("agent-of-others"), room=phone.name, ttl=60.0)
        options = ConnectOptions(room=phone.name, catch_up=1.0)
        other = await connect(system.stack.livekit_url, token, DeafEars(), options)
        async with _speaking(await other.publish("voice"), tone(30.0, 880.0)):
            await asyncio.sleep(2.0)
            if LIVE.value in [state for _, state, _, _ in phone.told]:
                raise LabError("somebody else is told live")
            microphone = await phone.publish()
            async with _speaking(microphone, tone(30.0)):
                told = await phone.until_told(LIVE)
        _note(system, phone, "an agent of others", told)
        await other.close()
