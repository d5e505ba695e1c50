"""Places in rooms, of either kind, on either server: fixtures of the participant's contract suite."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import pytest

from glassbridge.livekit.connectors import connector
from glassbridge.livekit.embedded import EmbeddedLiveKit
from glassbridge.livekit.participant import ConnectOptions, LocalTrack, Participant
from glassbridge.livekit.rooms import Occupant, RoomService
from glassbridge.livekit.tokens import LiveKitKeys
from tests.support.livekit import KEYS, LiveKit, token
from tests.support.participants import Recorder
from tests.support.poll import eventually

ROOM = "room"


@dataclass(frozen=True)
class Kind:
    """An implementation of the interface."""

    name: Literal["own", "sdk"]
    patience: float
    """Seconds in which it does what the server has told it."""

    async def drain(self) -> None:
        await import_module(f"glassbridge.livekit.{self.name}").drain_closing()


OWN = Kind("own", patience=1.0)
SDK = Kind("sdk", patience=3.0)
"""Its native threads hear of things later than the loop of the own participant, most of all on a busy machine."""


@dataclass
class Seat:
    """A place, and what was heard there."""

    kind: Kind
    place: Participant
    heard: Recorder


@dataclass
class Seats:
    """Joins; whatever was joined is left at the end."""

    url: str
    taken: list[Seat] = field(default_factory=list)
    kinds: set[Kind] = field(default_factory=set)

    async def join(self, kind: Kind, identity: str, *, url: str = "", pass_: str = "", **options: Any) -> Seat:
        self.kinds.add(kind)
        heard = Recorder()
        connect = connector(kind.name)
        place = await connect(url or self.url, pass_ or token(identity, ROOM), heard, ConnectOptions(**options))
        seat = Seat(kind, place, heard)
        self.taken.append(seat)
        return seat

    async def leave_all(self) -> None:
        """Lets go of them too: the SDK frees a Room only when nobody knows it any more."""
        await asyncio.gather(*(seat.place.close() for seat in self.taken))
        self.taken.clear()
        for kind in self.kinds:
            await kind.drain()


@pytest.fixture(scope="session")
def sdk_is_awake() -> None:
    """The SDK keeps sockets and pipes of its first join for ever: no leak of the test that happens to come first."""

    async def use() -> None:
        async with EmbeddedLiveKit(KEYS) as server:
            place = await connector("sdk")(server.url, token("first"), Recorder())
            await place.close()
            await SDK.drain()

    if find_spec("livekit.rtc"):
        asyncio.run(use())


@pytest.fixture(params=[OWN, pytest.param(SDK, marks=pytest.mark.sdk)], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest, sdk_is_awake: None) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def kinds(sdk_is_awake: None) -> tuple[Kind, ...]:
    """All that can be had here."""
    return (OWN, SDK) if find_spec("livekit.rtc") else (OWN,)


@pytest.fixture
def other(kind: Kind) -> Kind:
    """The kind at the far end: the SDK for ours, ours for the SDK, so that they are held to one another."""
    return SDK if kind is OWN and find_spec("livekit.rtc") else OWN


@pytest.fixture
async def seats(livekit: LiveKit) -> AsyncIterator[Seats]:
    taken = Seats(livekit.url)
    yield taken
    await taken.leave_all()


async def present(url: str, keys: LiveKitKeys = KEYS) -> list[Occupant]:
    """Who is in ROOM, as the server sees it."""
    async with RoomService(url, keys) as service:
        return await service.participants(ROOM)


async def nobody_is_left(url: str, kind: Kind, what: str = "") -> None:
    """In ROOM, on the server; the SDK's last word is out before it has arrived there."""

    async def empty() -> bool | str:
        left = await present(url)
        return not left or f"{what}: {left}"

    await eventually(empty, kind.patience, every=0.05)


async def say(track: LocalTrack, pcm: bytes) -> None:
    """Speaks whole frames, in time."""
    for at in range(0, len(pcm) - 639, 640):
        await track.write(pcm[at : at + 640])
