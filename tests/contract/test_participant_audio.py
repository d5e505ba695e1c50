"""The contract of a place in a room: sound, both ways, between both participants on both servers."""

import asyncio
from collections.abc import Callable

import pytest

from glassbridge.livekit.participant import FRAME_BYTES, LocalTrack, ParticipantError
from tests.support.livekit import LiveKit, token
from tests.support.patience import patient, soon
from tests.support.places import OWN, SDK, Kind, Seat, Seats, say
from tests.support.poll import eventually
from tests.support.sound import level, loud, pitch, tone

QUIET = 500.0
"""Levels below are silence; the tones have 5,657."""
GRACE = 5.0
"""Seconds in which sound must have come."""
PATIENCE = 2.0
"""Seconds that a busy machine may hold up a speaker without a hole in what is said."""


def clip(seat: Seat, sid: str = "") -> bytes:
    """What was heard, of one track or of all, without the silence around it."""
    blocks = [block.pcm for block in seat.heard.blocks if sid in ("", block.track_sid)]
    heard = [at for at, pcm in enumerate(blocks) if level(pcm) > QUIET]
    return b"".join(blocks[heard[0] : heard[-1] + 1]) if heard else b""


def lasts(heard: bytes, seconds: float, listener: Seat) -> bool | str:
    """Ours plays what was sent. The SDK's listener stretches it over what comes late, on a busy machine much."""
    found = loud(heard)
    shortest, longest = (seconds - 0.02, seconds + 0.02) if listener.kind is OWN else (0.85 * seconds, seconds + 1.0)
    return shortest <= found <= longest or f"{found} s of {seconds}"


def silent_again(seat: Seat, sid: str = "") -> Callable[[], bool | str]:
    """True when sound came, and the last block is silent."""

    def check() -> bool | str:
        levels = [level(block.pcm) for block in seat.heard.blocks if sid in ("", block.track_sid)]
        return (bool(clip(seat, sid)) and levels[-1] < QUIET) or f"{len(levels)} blocks, the last {levels[-3:]}"

    return check


async def all_heard(speaker: Seat, listener: Seat, pcm: bytes, *, track: LocalTrack | None = None) -> bytes:
    """Speaks, and gives back what the listener heard."""
    listener.heard.blocks.clear()
    speaking = track or await speaker.place.publish("speaker")
    await say(speaking, pcm)
    await speaking.drain()
    await eventually(silent_again(listener, speaking.sid), GRACE)
    if track is None:
        await speaking.unpublish()
    return clip(listener, speaking.sid)


async def warmed(speaker: Seat, listener: Seat) -> LocalTrack:
    """A track to which the listener listens already: the SDK, as the speaker, does not wait for that."""
    track = await speaker.place.publish("speaker")

    async def insist() -> None:
        while not clip(listener):
            await say(track, tone(0.1, 2000.0))

    await soon(insist(), GRACE)
    await track.drain()
    await eventually(silent_again(listener), GRACE)
    return track


async def pair(kind: Kind, other: Kind, seats: Seats) -> tuple[Seat, Seat]:
    """Who speaks and who listens. The speaker comes last: it publishes while its connection is still being made."""
    listener = await seats.join(other, "listener")
    return await seats.join(kind, "speaker", catch_up=PATIENCE), listener


async def test_a_tone_arrives_whole(kind: Kind, other: Kind, seats: Seats) -> None:
    speaker, listener = await pair(kind, other, seats)
    track = await warmed(speaker, listener)
    heard = await all_heard(speaker, listener, tone(2.0), track=track)
    assert lasts(heard, 2.0, listener) is True
    assert pitch(heard) == pytest.approx(440.0, abs=0.5)
    assert level(heard[6_400:-6_400]) == pytest.approx(level(tone(1.0)), rel=0.1)
    assert {block.sender for block in listener.heard.blocks} == {speaker.place.identity}
    assert {block.track_sid for block in listener.heard.blocks} == {track.sid}
    assert track.sid.startswith("TR_")


async def test_the_first_word_is_not_lost(seats: Seats) -> None:
    """Our own speaker waits for its first listener, whoever that is."""
    for listening in (OWN, SDK):
        speaker = await seats.join(OWN, f"speaker of {listening.name}", catch_up=PATIENCE)
        listener = await seats.join(listening, f"listener {listening.name}")
        for _ in range(2):
            heard = await all_heard(speaker, listener, tone(0.6))
            assert lasts(heard, 0.6, listener) is True
        await asyncio.gather(speaker.place.close(), listener.place.close())


async def test_a_track_can_come_and_go(kind: Kind, other: Kind, seats: Seats) -> None:
    speaker, listener = await pair(kind, other, seats)
    sids = set()
    for round_ in range(3):
        hertz = 400.0 + 100 * round_
        track = await speaker.place.publish("speaker")
        sids.add(track.sid)
        assert pitch(await all_heard(speaker, listener, tone(0.6, hertz), track=track)) == pytest.approx(hertz, abs=2)
        assert {block.track_sid for block in listener.heard.blocks if level(block.pcm) > QUIET} == {track.sid}
        await track.unpublish()
        await track.unpublish()
    assert len(sids) == 3


async def test_two_tracks_at_once_are_kept_apart(kind: Kind, other: Kind, seats: Seats) -> None:
    speaker, listener = await pair(kind, other, seats)
    first, second = await speaker.place.publish("one"), await speaker.place.publish("two")
    await asyncio.gather(say(first, tone(0.8, 440.0)), say(second, tone(0.8, 1000.0)))
    await asyncio.gather(first.drain(), second.drain())
    await eventually(silent_again(listener), GRACE)
    for track, hertz in ((first, 440.0), (second, 1000.0)):
        pcm = b"".join(block.pcm for block in listener.heard.blocks if block.track_sid == track.sid)
        assert pitch(pcm) == pytest.approx(hertz, abs=2)


async def test_a_pause_inside_stays_a_pause(kind: Kind, other: Kind, seats: Seats) -> None:
    speaker, listener = await pair(kind, other, seats)
    track = await warmed(speaker, listener)
    heard = await all_heard(speaker, listener, tone(0.3) + bytes(32_000) + tone(0.3), track=track)
    assert lasts(heard, 1.6, listener) is True


async def test_speaking_is_paced_and_stops_at_once(kind: Kind, other: Kind, seats: Seats) -> None:
    speaker, listener = await pair(kind, other, seats)
    track = await warmed(speaker, listener)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await say(track, tone(1.0))
    assert 0.9 < loop.time() - begun < patient(1.0 + PATIENCE)
    begun = loop.time()
    speaking = asyncio.create_task(say(track, tone(60.0)))
    await asyncio.sleep(0.3)
    speaking.cancel()
    await track.unpublish()
    assert loop.time() - begun < patient(1.5 + PATIENCE)
    heard = sum(level(block.pcm) > QUIET for block in listener.heard.blocks)
    await asyncio.sleep(0.6)
    still = sum(level(block.pcm) > QUIET for block in listener.heard.blocks) - heard
    assert still <= (0 if listener.kind is OWN else 15), "goes on after unpublish() has returned"


async def test_who_does_not_want_sound_gets_none(kind: Kind, other: Kind, seats: Seats) -> None:
    deaf = await seats.join(kind, "deaf", subscribe_audio=False)
    listener = await seats.join(kind, "listener")
    speaker = await seats.join(other, "speaker")
    await all_heard(speaker, listener, tone(0.5) if speaker.kind is OWN else tone(1.5))
    assert deaf.heard.blocks == []


async def test_who_publishes_is_seen_to(kind: Kind, other: Kind, seats: Seats) -> None:
    ann, bob = await seats.join(kind, "ann"), await seats.join(other, "bob")
    track = await bob.place.publish("microphone")
    speaking = asyncio.create_task(say(track, tone(60.0)))  # nobody is told of a track that was never used

    def publishing(wanted: bool) -> Callable[[], bool | str]:
        def check() -> bool | str:
            seen = ann.place.remote.get("bob")
            return (seen is not None and seen.publishing is wanted) or f"{seen}"

        return check

    await eventually(publishing(True), GRACE)
    speaking.cancel()
    await track.unpublish()
    await eventually(publishing(False), GRACE)


async def test_frames_have_one_length(kind: Kind, seats: Seats) -> None:
    ann = await seats.join(kind, "ann")
    track = await ann.place.publish("speaker")
    for wrong in (0, FRAME_BYTES - 2, FRAME_BYTES + 1):
        with pytest.raises(ValueError, match="640 bytes"):
            await track.write(bytes(wrong))
    assert ann.place.closed is None


async def test_a_lost_place_says_so_to_its_speaker(kind: Kind, seats: Seats, livekit: LiveKit) -> None:
    ann = await seats.join(kind, "ann")
    track = await ann.place.publish("speaker")
    speaking = asyncio.create_task(say(track, tone(60.0)))
    await asyncio.sleep(0.1)
    await livekit.kill()
    with pytest.raises(ParticipantError) as caught:
        await soon(speaking, 2 * kind.patience)
    assert ann.place.closed is not None
    assert caught.value.reason is ann.place.closed.reason
    await track.unpublish()


async def test_who_may_not_speak_is_told(kind: Kind, seats: Seats) -> None:
    ann = await seats.join(kind, "ann", pass_=token("ann", video={"canPublish": False}))
    with pytest.raises(ParticipantError):
        await ann.place.publish("speaker")
    assert ann.place.closed is None
