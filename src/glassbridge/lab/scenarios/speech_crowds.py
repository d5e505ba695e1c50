"""W: how many people may speak at a time, through the whole product: phones, room, bridge, cloud and the real
recogniser share this machine. For a quiet one of two cores: the figures mean little where other programs run."""

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from time import monotonic

from glassbridge.core.values import BYTES_PER_MS, Transport, UserId
from glassbridge.lab import clips
from glassbridge.lab.judge import percentile
from glassbridge.lab.program import Line
from glassbridge.lab.scenario import Alone, Limit, always, most, never, scenario_alone
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.lab.system import Sample
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.phone import events, wav
from glassbridge.phone.client import PhoneClient
from glassbridge.phone.events import PhoneEvent

FRAME_MS = 100
LASTS = 90.0
"""Seconds."""
SETTLED = 15.0
"""Seconds at the beginning that do not count for delays: all join at once, and the recogniser learns what they cost."""
WITHOUT_A_PAUSE = bytes(700 * BYTES_PER_MS)
"""Between two recordings: nobody reads without a breath."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many people, who speak such a share of the time."""

    id: str
    people: int
    share: float
    must: tuple[Limit, ...]

    @property
    def title(self) -> str:
        how = "without a pause" if self.share == 1.0 else f"{self.share:.0%} of the time"
        return f"{self.people} people speak {how}"


IN_TIME = most("final_p95_s", 3.0)
CROWDS = (
    Crowd("W3", 16, 1.0, (IN_TIME, never("refused"), always("told_slow"))),
    Crowd("W4", 40, 1 / 3, (IN_TIME, never("refused"))),
    Crowd("W5", 40, 1.0, (IN_TIME, never("captions_taken_away"), never("untold"))),
)


@dataclass
class Reader:
    """One of them."""

    begun: float = 0.0
    """Monotonic seconds of the first sample."""
    lags: list[float] = field(default_factory=list)
    captioned: bool = False
    refused: bool = False
    taken_away: bool = False
    told_slow: bool = False

    def hear(self, event: PhoneEvent) -> None:
        """What the phone tells."""
        now = monotonic()
        match event:
            case events.Caption(final=True, end_ms=int(end)) if self.begun:
                self.captioned = True
                if now > self.begun + SETTLED:
                    self.lags.append(now - self.begun - end / 1000)
            case events.AudioStateChanged(code="recogniser_slow"):
                self.told_slow = True
            case events.AudioStateChanged(reason=reason) if "not captioned" in reason:
                self.refused = True
                self.taken_away = self.taken_away or self.captioned


async def measure(crowd: Crowd, how: Alone) -> list[Sample]:
    """One sample for each person and one for all, for each run. Raises UserError and LabError."""
    chance = random.Random(how.seed)  # noqa: S311 - no secret
    keys = LiveKitKeys("lab", secrets.token_hex(16))
    config = StackConfig(keys=keys, jwt_secret=secrets.token_hex(16), participant=how.participant)  # type: ignore[arg-type]
    samples: list[Sample] = []
    for run in range(how.runs):
        async with Stack(config, _ignore, _ignore) as stack:
            readers = [Reader() for _ in range(crowd.people)]
            users = [UserId(f"reader-{run}-{number}") for number in range(crowd.people)]
            read = [partial(_read, stack, user, reader) for user, reader in zip(users, readers, strict=True)]
            await asyncio.gather(*(one(crowd.share, chance.random()) for one in read))
        samples += [_judged(crowd, user, reader) for user, reader in zip(users, readers, strict=True)]
        lags = list(chain.from_iterable(reader.lags for reader in readers))
        whole = {"final_p95_s": round(percentile(lags, 0.95), 2), "captioned": sum(one.captioned for one in readers)}
        samples.append(Sample(crowd.title, f"all of run {run}", whole))
    return samples


def _judged(crowd: Crowd, user: UserId, reader: Reader) -> Sample:
    figures = {
        "refused": float(reader.refused),
        "captions_taken_away": float(reader.taken_away),
        "told_slow": float(reader.told_slow),
        "untold": float(not reader.captioned and not reader.refused),
    }
    return Sample(crowd.title, user, figures)


async def _read(stack: Stack, user: UserId, reader: Reader, share: float, where: float) -> None:
    """Reads our clips again and again, from somewhere in them on."""
    sound = _text(share)
    client = PhoneClient(stack.cloud_url, stack.core_token(user), reader.hear, transport=Transport("data"))
    async with client:
        size = FRAME_MS * BYTES_PER_MS
        frames = len(sound) // size
        at, begun = int(where * frames), monotonic()
        for sent in range(int(LASTS * 1000 / FRAME_MS)):
            await asyncio.sleep(max(0.0, begun + sent * FRAME_MS / 1000 - monotonic()))
            frame = (at + sent) % frames
            spoken = client.speak(sound[frame * size : (frame + 1) * size])
            if spoken and not reader.begun:
                reader.begun = monotonic() - FRAME_MS / 1000


def _text(share: float) -> bytes:
    recordings: Sequence[bytes] = [wav.load(clips.wav(name)) + WITHOUT_A_PAUSE for name in ("clip", "short")]
    silence = round(sum(map(len, recordings)) / BYTES_PER_MS * (1 / share - 1))
    return b"".join(recordings) + bytes(silence * BYTES_PER_MS)


def _ignore(_: Line | str) -> None: ...


for each in CROWDS:
    scenario_alone(each.id, each.title, story="5.1", must=each.must, measure=partial(measure, each), special=True)
