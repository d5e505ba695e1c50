"""What the examiner does to a phone. Each act meets a phone that has just been started."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.lab.phone_check.seen import Acknowledged, Placed, Sound
from glassbridge.lab.phone_check.stage import Rules, Stage
from glassbridge.livekit.rooms import RoomServiceError
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode

COMES_WITHIN: Final = 20.0
"""Seconds from the start of a phone to its first audio: a browser has to start, too."""
BACK_WITHIN: Final = 11.0
"""Seconds in which a phone comes back from a fault; what it is judged by is less (promises.py)."""
SPEAKS: Final = 2.0
"""Seconds of audio before a fault."""
AWAY: Final = 3.0
"""Seconds for which each attempt is cut."""
STAYS: Final = 6.0
"""Seconds in which a phone that was sent away must not come back. The original's comes 5 s after any close."""
UNACKNOWLEDGED: Final = 4.0
HOLE: Final = 1.0
SETTLES: Final = 8.0
"""Seconds in which what is missing may come."""
OFF: Final = 4.0
"""Seconds for which the microphone is off."""
PING: Final = 4242
"""The timestamp of the cloud's ping."""


class Act(Enum):
    """`about` says it in a few words; `room`: needs a LiveKit server."""

    PLAIN = ("plain", "connects, speaks; the microphone is switched off and on", False)
    HOLE = ("hole", "1 s of its audio is lost in the room", True)
    CUT = ("cut", "1 s of its audio is lost, the socket breaks, each attempt is cut for 3 s", False)
    SILENT = ("silent", "its socket falls silent", False)
    DRAINED = ("drained", "the cloud shuts down (4002)", False)
    SUPERSEDED = ("superseded", "another phone of the user takes over (4001)", False)
    REFUSED = ("refused", "its token is refused (401)", False)
    UNHEARD = ("unheard", "the cloud hears nothing from its place in the room", True)
    REMOVED = ("removed", "it is removed from the room", True)
    ROOMLESS = ("roomless", "there is no room to be had", False)
    ELDER = ("elder", "a cloud of the original: no numbered audio, no word about audio", False)
    OPUS = ("opus", "a cloud that understands Opus", False)

    def __init__(self, label: str, about: str, room: bool) -> None:
        self.label = label
        self.about = about
        self.room = room


@dataclass(frozen=True, slots=True)
class Scene:
    """One act: its rules at the beginning, and what is done."""

    play: Callable[[Stage], Awaitable[None]]
    rules: Rules


async def _speaks(stage: Stage, seconds: float = SPEAKS) -> None:
    """Returns when it has spoken for so long, or does not speak."""
    if await stage.until(lambda: any(sound.has_samples for sound in stage.seen.all(Sound)), COMES_WITHIN):
        await asyncio.sleep(seconds)


async def _speaks_in_room(stage: Stage) -> str | None:
    """The sid of its place; None where it takes none."""
    await _speaks(stage, 0.0)
    await stage.until(lambda: stage.place is not None, BACK_WITHIN)
    await asyncio.sleep(SPEAKS)
    return stage.place


async def _plain(stage: Stage) -> None:
    await _speaks(stage, 0.0)
    stage.rules.acknowledges = False
    stage.did("acknowledge nothing")
    await stage.until(lambda: stage.place is not None, 5.0 if stage.has_room else 0.0)
    stage.did("ping")
    await stage.say(wire.Ping(timestamp=PING))
    await asyncio.sleep(UNACKNOWLEDGED)
    stage.rules.acknowledges = True
    stage.did("acknowledge")
    await asyncio.sleep(1.0)
    await stage.switch_microphone(False)
    await asyncio.sleep(OFF)
    await stage.switch_microphone(True)
    await asyncio.sleep(2.0)


async def _hole(stage: Stage) -> None:
    if await _speaks_in_room(stage) is None:
        return
    await _withhold(stage)
    await asyncio.sleep(1.0)  # for what comes after the hole, and for the question
    await stage.until(lambda: not stage.owes, SETTLES)


async def _withhold(stage: Stage) -> None:
    stage.did("lose")
    stage.rules.withholds = True
    await asyncio.sleep(HOLE)
    stage.rules.withholds = False
    stage.did("lost")


async def _cut(stage: Stage) -> None:
    await _speaks(stage)
    stage.rules.acknowledges = False
    await _withhold(stage)
    stage.rules.refuse = 0
    stage.did("cut")
    stage.cut()
    await asyncio.sleep(AWAY)
    stage.rules.refuse = None
    stage.rules.acknowledges = True
    stage.did("open")
    if await stage.until(lambda: stage.socket > 1, BACK_WITHIN):
        await asyncio.sleep(2.0)
        await stage.until(lambda: not stage.owes, SETTLES)


async def _silent(stage: Stage) -> None:
    await _speaks(stage, 2.5)
    stage.did("fall silent")
    stage.rules.deaf_to = stage.socket
    await _back(stage, "fall silent")


async def _back(stage: Stage, since: str) -> None:
    """Until it is acknowledged again."""
    at = stage.seen.did(since) or 0.0
    await stage.until(lambda: stage.seen.first(Acknowledged, at) is not None, BACK_WITHIN)


async def _drained(stage: Stage) -> None:
    await _speaks(stage)
    stage.did("close")
    await stage.close(CloseCode.DRAINING)
    await _back(stage, "close")


async def _superseded(stage: Stage) -> None:
    await _speaks(stage)
    stage.did("close")
    await stage.close(CloseCode.SUPERSEDED)
    await asyncio.sleep(STAYS)


async def _refused(_stage: Stage) -> None:
    await asyncio.sleep(STAYS)


async def _unheard(stage: Stage) -> None:
    former = await _speaks_in_room(stage)
    if former is None:
        return
    stage.did("miss")
    await stage.tell("interrupted", "phone_unheard", "phone", "the phone is not heard in its room")
    if await stage.until(lambda: stage.place not in (None, former), BACK_WITHIN):
        await stage.tell("live")
        await asyncio.sleep(1.0)


async def _removed(stage: Stage) -> None:
    former = await _speaks_in_room(stage)
    if former is None:
        return
    stage.did("remove")
    try:
        await stage.put_out()
    except RoomServiceError:
        return
    await stage.until(lambda: stage.place != former, 5.0)
    await stage.tell("interrupted", "phone_not_in_room", "phone", "the phone is not in its room")
    at = stage.seen.did("remove") or 0.0
    await stage.until(lambda: stage.seen.first(Placed, at) is not None, BACK_WITHIN)
    await asyncio.sleep(1.0)


async def _longer(stage: Stage) -> None:
    await _speaks(stage, 4.0)


SCENES: Final[dict[Act, Scene]] = {
    Act.PLAIN: Scene(_plain, Rules(greet_after=1.0)),
    Act.HOLE: Scene(_hole, Rules()),
    Act.CUT: Scene(_cut, Rules()),
    Act.SILENT: Scene(_silent, Rules()),
    Act.DRAINED: Scene(_drained, Rules()),
    Act.SUPERSEDED: Scene(_superseded, Rules()),
    Act.REFUSED: Scene(_refused, Rules(refuse=401)),
    Act.UNHEARD: Scene(_unheard, Rules()),
    Act.REMOVED: Scene(_removed, Rules()),
    Act.ROOMLESS: Scene(_longer, Rules(room=False)),
    Act.ELDER: Scene(_longer, Rules(numbers=False)),
    Act.OPUS: Scene(_longer, Rules(codings=(1,))),
}
