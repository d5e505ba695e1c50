"""What is a phone told about its audio? The link's notice, or a fault of the audio that arrives.

Rules; the first that applies is told
- Audio in a coding that was not announced cannot be heard, by any route: interrupted.
- The link's own word, while it is not that audio is live.
- Audio that comes late is not live: interrupted.
- A way that is rebuilt while audio flows by the other, as the link says it.
- A microphone that gives no sound; then a recogniser that fails. The audio itself stays live.
- Captions that come late.

It does not know phones, links, recognisers or time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from glassbridge.core.coded_audio import CODED_AUDIO
from glassbridge.core.diagnosis import RECOGNISER_SLOW, SLOW_NETWORK, Finding
from glassbridge.core.link_events import Notice
from glassbridge.core.slowness import Slow
from glassbridge.core.values import AudioState


@dataclass(frozen=True, slots=True)
class Troubles:
    """What is wrong beside the link; nothing as it stands here."""

    coded: bool = False
    """It comes in a coding that was not announced."""
    late: float | None = None
    """Audio comes so many seconds late."""
    sound: Finding | None = None
    """The audio is not the sound of a living microphone."""
    recogniser: Finding | None = None
    slow: Slow | None = None
    """Captions come late."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the phone is told."""

    notice: Notice
    captions_late: float | None = None
    """Seconds by which captions are late; None: they are not, or that is not what is told."""


def report(said: Notice, troubles: Troubles) -> Report:
    """What the phone is told when the link says `said`."""
    return next(made for rule in RULES if (made := rule(said, troubles)) is not None)


def _coded(said: Notice, troubles: Troubles) -> Report | None:
    heard = said.state in (AudioState.LIVE, AudioState.CONNECTING)
    return _found(said, CODED_AUDIO, AudioState.INTERRUPTED) if troubles.coded and heard else None


def _not_live(said: Notice, troubles: Troubles) -> Report | None:
    return Report(said) if said.state is not AudioState.LIVE else None


def _late(said: Notice, troubles: Troubles) -> Report | None:
    if troubles.late is None:
        return None
    late = replace(SLOW_NETWORK, text=f"{SLOW_NETWORK.text} {troubles.late:.0f} s late")
    return _found(said, late, AudioState.INTERRUPTED)


def _rebuilt(said: Notice, troubles: Troubles) -> Report | None:
    return Report(said) if said.hop is not None else None


def _unusable(said: Notice, troubles: Troubles) -> Report | None:
    finding = troubles.sound or troubles.recogniser
    return None if finding is None else _found(said, finding, AudioState.LIVE)


def _slow(said: Notice, troubles: Troubles) -> Report | None:
    if (slow := troubles.slow) is None:
        return None
    return Report(replace(said, code=RECOGNISER_SLOW, text=slow_captions(slow)), slow.seconds)


def slow_captions(slow: Slow) -> str:
    """What people are told."""
    how = "with each sentence only" if slow.finals_only else f"about {slow.seconds:.0f} s late"
    return f"captions come {how}: the recogniser is busy"


def _live(said: Notice, troubles: Troubles) -> Report | None:
    return Report(said)


def _found(said: Notice, finding: Finding, state: AudioState) -> Report:
    return Report(replace(said, state=state, code=finding.code, text=finding.text, hop=finding.hop))


RULES: Final[tuple[Callable[[Notice, Troubles], Report | None], ...]] = (
    _coded,
    _not_live,
    _late,
    _rebuilt,
    _unusable,
    _slow,
    _live,
)
"""In the order in which they are asked; the last one always answers."""
