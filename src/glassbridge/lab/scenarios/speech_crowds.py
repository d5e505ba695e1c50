"""W: how many people may speak at a time, through the whole product: phones, room, bridge, cloud and the real
recogniser share this machine. For a quiet one of two cores: the figures mean little where other programs run.

The phones are not what is measured, though they share the processors. They send what a phone's voice detector lets
through, as those of the original do, and PCM by one route: what they could measure of their network is this machine.
"""

import asyncio
import random
import secrets
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from time import monotonic

from glassbridge.core.values import BYTES_PER_MS, Transport, UserId
from glassbridge.lab import clips
from glassbridge.lab.judge import percentile
from glassbridge.lab.phones import JOINS_AT_A_TIME, in_turn
from glassbridge.lab.program import Line
from glassbridge.lab.scenario import Alone, Limit, always, most, never, scenario_alone
from glassbridge.lab.scenarios.spoken_words import kill, recognisers
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.lab.system import Sample
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.phone import events, wav
from glassbridge.phone.client import PhoneClient
from glassbridge.phone.events import PhoneEvent
from glassbridge.runtime.tasks import cancelled

FRAME_MS = 100
LASTS = 90.0
"""Seconds."""
SETTLED = 15.0
"""Seconds at the beginning that do not count for delays: all join at once, and the recogniser learns what they cost."""
WITHOUT_A_PAUSE = bytes(700 * BYTES_PER_MS)
"""Between two recordings: nobody reads without a breath."""
HANGOVER = 4.0
"""Seconds of silence until a voice detector says so."""
DISTURBED_AT = 40.0
"""Seconds after the first of them has joined."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many people, who speak such a share of the time."""

    id: str
    people: int
    share: float
    must: tuple[Limit, ...]
    together: bool = False
    """They are silent at first, and then all begin at once, each with another sentence."""
    killed: bool = False
    """One of the processes that understand them dies in the middle."""

    @property
    def title(self) -> str:
        how = "without a pause" if self.share == 1.0 else f"{self.share:.0%} of the time"
        return (
            f"{self.people} people speak {how}"
            + (", all at once" if self.together else "")
            + (", and a recogniser is killed" if self.killed else "")
        )


IN_TIME = most("final_p95_s", 3.0)
ALL = (IN_TIME, never("refused"), never("untold"))
CROWDS = (
    Crowd("W3", 16, 1.0, (IN_TIME, never("refused"), always("told_slow"))),
    Crowd("W4", 40, 1 / 3, ALL),
    Crowd("W5", 40, 1.0, (IN_TIME, never("captions_taken_away"), never("untold"))),
    Crowd("W6", 30, 1 / 2, ALL),
    Crowd("W7", 12, 1.0, ALL),
    Crowd("W8", 60, 1 / 5, ALL),
    Crowd("W9", 40, 1 / 3, (IN_TIME, never("captions_taken_away"), never("untold")), together=True),
    Crowd("W10", 40, 1 / 3, ALL, killed=True),
)


@dataclass
class Reader:
    """One of them."""

    lags: list[float] = field(default_factory=list)
    captioned: bool = False
    refused: bool = False
    taken_away: bool = False
    told_slow: bool = False
    _begun: float = field(default_factory=monotonic)
    _captured_ms: int = 0
    _spans: list[tuple[int, float]] = field(default_factory=list)
    """Where what was captured without a break begins: its first millisecond, and when that was said."""
    _goes_on: bool = False

    def capture(self, captured: bool) -> None:
        """A frame that was said until now was sent, or not."""
        if captured:
            if not self._goes_on:
                self._spans.append((self._captured_ms, monotonic() - FRAME_MS / 1000))
            self._captured_ms += FRAME_MS
        self._goes_on = captured

    def hear(self, event: PhoneEvent) -> None:
        """What the phone tells."""
        now = monotonic()
        match event:
            case events.Caption(final=True, end_ms=int(end)) if self._spans:
                self.captioned = True
                if now > self._begun + SETTLED:
                    self.lags.append(now - self._said_at(end))
            case events.AudioStateChanged(code="recogniser_slow"):
                self.told_slow = True
            case events.AudioStateChanged(reason=reason) if "not captioned" in reason:
                self.refused = True
                self.taken_away = self.taken_away or self.captioned

    def _said_at(self, end_ms: int) -> float:
        found = bisect_right(self._spans, end_ms - 1, key=lambda span: span[0])
        begin_ms, said_at = self._spans[max(0, found - 1)]
        return said_at + (end_ms - begin_ms) / 1000


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
            joining = asyncio.Semaphore(JOINS_AT_A_TIME)
            disturbing = asyncio.create_task(_disturb(crowd, stack), name="disturb")
            try:
                await asyncio.gather(
                    *(
                        _read(stack, user, reader, crowd, chance.random(), joining)
                        for user, reader in zip(users, readers, strict=True)
                    )
                )
            finally:
                await cancelled(disturbing)
        samples += [_judged(crowd, user, reader) for user, reader in zip(users, readers, strict=True)]
        lags = list(chain.from_iterable(reader.lags for reader in readers))
        whole = {"final_p95_s": round(percentile(lags, 0.95), 2), "captioned": sum(one.captioned for one in readers)}
        samples.append(Sample(crowd.title, f"all of run {run}", whole))
    return samples


async def _disturb(crowd: Crowd, stack: Stack) -> None:
    if crowd.killed:
        await asyncio.sleep(DISTURBED_AT)
        kill(recognisers(stack)[:1])


def _judged(crowd: Crowd, user: UserId, reader: Reader) -> Sample:
    figures = {
        "refused": float(reader.refused),
        "captions_taken_away": float(reader.taken_away),
        "told_slow": float(reader.told_slow),
        "untold": float(not reader.captioned and not reader.refused),
    }
    return Sample(crowd.title, user, figures)


async def _read(
    stack: Stack, user: UserId, reader: Reader, crowd: Crowd, where: float, joining: asyncio.Semaphore
) -> None:
    """Reads our clips again and again, from somewhere in them on."""
    frames = _frames()
    if crowd.together:
        first = int(where * len(frames))
        frames = [*frames[first:], *frames[:first]]
    whole = round(len(frames) / crowd.share)
    at = -round(DISTURBED_AT / 2 * 1000 / FRAME_MS) if crowd.together else int(where * whole)
    joins = in_turn(connector("own"), joining)
    client = PhoneClient(
        stack.cloud_url, stack.core_token(user), reader.hear, transport=Transport("data"), opus=False, connect=joins
    )
    async with client:
        speaks, begun = False, monotonic()
        for sent in range(int(LASTS * 1000 / FRAME_MS)):
            await asyncio.sleep(max(0.0, begun + sent * FRAME_MS / 1000 - monotonic()))
            frame = (at + sent) % whole
            speaks_now = frame < len(frames) + HANGOVER * 1000 / FRAME_MS
            if speaks_now != speaks:
                speaks = speaks_now
                await client.voice(speaks)
            pcm = frames[frame] if frame < len(frames) else bytes(FRAME_MS * BYTES_PER_MS)
            reader.capture(speaks and client.speak(pcm))


def _frames() -> Sequence[bytes]:
    text = b"".join(wav.load(clips.wav(name)) + WITHOUT_A_PAUSE for name in ("clip", "short"))
    size = FRAME_MS * BYTES_PER_MS
    return [text[at : at + size] for at in range(0, len(text) - size + 1, size)]


def _ignore(_: Line | str) -> None: ...


for each in CROWDS:
    scenario_alone(each.id, each.title, story="5.1", must=each.must, measure=partial(measure, each), special=True)
