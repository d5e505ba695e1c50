"""Tells one user's phone and apps what is true of the phone's audio, whenever that is another than they know."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from glassbridge.cloud.apps.user_apps import HasApps
from glassbridge.cloud.clock import unix_ms_now
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.link import LinkShell
from glassbridge.cloud.phone_sockets import PhoneSockets
from glassbridge.core.audio_report import Troubles, report
from glassbridge.core.coded_audio import CODED_AUDIO
from glassbridge.core.diagnosis import RECOGNISER_FAILED, RECOGNISER_OVERLOADED, RECOGNISER_STUCK, Finding
from glassbridge.core.link_events import Notice
from glassbridge.core.recogniser import Fault, Reason
from glassbridge.core.slowness import Slow
from glassbridge.core.values import AudioState
from glassbridge.wire.phone import AudioStateNotice

NO_CAPTIONS = "Captions are not available"
RECOGNISER_FINDINGS = {Reason.STUCK: RECOGNISER_STUCK, Reason.OVERLOADED: RECOGNISER_OVERLOADED}
"""The finding for each reason of a fault; RECOGNISER_FAILED for all others."""
UNDER_WAY = "under way"


class Session(HasApps, Protocol):
    """The one whose audio it is."""

    @property
    def link(self) -> LinkShell: ...

    def say(self, sentence: str) -> None:
        """Shows it where captions are."""


class AudioReport:
    """Of one session."""

    __slots__ = (
        "_clock", "_deaf", "_flight", "_log", "_notice", "_session", "_sockets", "_told", "_troubles",
        "told_apps",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        sockets: PhoneSockets,
        flight: Flight,
        log: structlog.stdlib.BoundLogger,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._session = session
        self._sockets = sockets
        self._flight = flight
        self._log = log
        self._clock = clock
        self.told_apps: AudioStateNotice | None = None
        """The last notice for the apps, sent or not; one that is made later begins with it."""
        self._troubles = Troubles()
        self._notice: Notice | None = None
        """The newest of the link; None while no phone is here."""
        self._told: tuple[AudioState, int] | None = None
        """The state that the phone knows, and since when (unix milliseconds)."""
        self._deaf = False
        """People were told that there are no captions, and none have come since."""

    @property
    def state(self) -> AudioState | None:
        """The state of the link's newest notice; None while no phone is here, or before the first one."""
        return self._notice.state if self._notice is not None else None

    def phone_came(self) -> None:
        """It knows nothing yet."""
        self._told = self._notice = None

    def phone_went(self) -> None:
        """The newest notice is forgotten: no phone is here to get one."""
        self._notice = None

    # ---- what is true

    def link(self, notice: Notice) -> None:
        """The link has a new notice."""
        self._notice = notice
        self._tell_anew()

    def network(self, late: float | None) -> None:
        """Audio arrives so many seconds late; None: it is fresh again."""
        self._become(replace(self._troubles, late=late))

    def sound(self, finding: Finding | None) -> None:
        """Whether what arrives is the sound of a living microphone."""
        former = self._troubles.sound
        self._become(replace(self._troubles, sound=finding), former, finding, "sounds")

    def recogniser(self, fault: Fault | None, captions: bool) -> None:
        """It fails, or works again; `captions`: on what the phone shows, not only on what apps ask for."""
        former, finding = self._troubles.recogniser, _finding(fault, captions)
        refuses = fault is not None and captions and fault.refused
        if fault is not None and refuses and not self._deaf:
            self._session.say(f"{NO_CAPTIONS}: {fault.why}")
        self._deaf = fault is not None and captions and (refuses or self._deaf)
        self._become(replace(self._troubles, recogniser=finding), former, finding, "recognises")

    def pace(self, slow: Slow | None) -> None:
        """Captions come late; None: in time."""
        self._become(replace(self._troubles, slow=slow))

    def coding(self, refuses: bool) -> None:
        """The audio cannot be understood any more, or can be again."""
        self._recover(CODED_AUDIO, UNDER_WAY if refuses else "understood")
        self._troubles = replace(self._troubles, coded=refuses)
        self._tell_anew()

    # ---- what is told

    def _become(
        self, troubles: Troubles, former: Finding | None = None, finding: Finding | None = None, well: str = ""
    ) -> None:
        """`well` is how the log says that a finding is over."""
        if troubles == self._troubles:
            return
        self._troubles = troubles
        if (found := finding or former) is not None:
            self._recover(found, UNDER_WAY if finding is not None else well)
        if self.state is AudioState.LIVE:
            self._tell_anew()

    def _recover(self, finding: Finding, result: str) -> None:
        """Something is done about audio that arrives and is of no use, or has helped."""
        about = {
            "action": finding.action.value,
            "cause": finding.code,
            "result": result,
            "generation": self._session.link.generation,
        }
        self._log.info("recovery", **about)
        self._flight.note("recovery", **about)

    def _tell_anew(self) -> None:
        if self._notice is None:  # no phone is here
            return
        made = report(self._notice, self._troubles)
        notice = made.notice
        if self._told is None or self._told[0] is not notice.state:
            self._told = notice.state, unix_ms_now()
        wait = None if notice.retry_at is None else max(0.0, notice.retry_at - self._clock())
        self._tell(
            AudioStateNotice(
                state=notice.state.value,
                reason=notice.text,
                code=notice.code,
                hop=notice.hop and notice.hop.value,
                since=self._told[1],
                retry_in_ms=None if wait is None else round(wait * 1000),
                transport=notice.route.value,
                seconds=made.captions_late,
                traceparent=self._session.link.trace,
            )
        )

    def _tell(self, said: AudioStateNotice) -> None:
        link = self._session.link
        self._flight.note(
            "audio state", state=said.state, code=said.code, hop=said.hop, text=said.reason,
            transport=said.transport, generation=link.generation, **link.ages(),
        )  # fmt: skip
        self._sockets.tell(said)
        self._tell_apps(said)

    def tell_apps_away(self) -> None:
        """No phone is here to be told; its apps are."""
        reason = "the phone is not connected"
        self._tell_apps(
            AudioStateNotice(state="unavailable", reason=reason, code="phone_away", hop="phone", since=unix_ms_now())
        )

    def _tell_apps(self, said: AudioStateNotice) -> None:
        self.told_apps = said
        if (apps := self._session.apps_here) is not None:
            apps.audio_state(said)


def _finding(fault: Fault | None, captions: bool) -> Finding | None:
    if fault is None:
        return None
    finding = RECOGNISER_FINDINGS.get(fault.reason, RECOGNISER_FAILED)
    if not fault.refused:
        return finding
    what = "it is not captioned" if captions else "not all that apps ask for is understood"
    return replace(finding, text=f"audio arrives, but {what}: {fault.why}")
