"""What was understood of one user: shown on the phone, given to apps, kept; and where words are missing."""

from collections.abc import Callable
from typing import Protocol

import structlog

from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.audio import AudioProgress
from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.core.gaps import Gap, Gaps
from glassbridge.core.subscriptions import AUTO, language
from glassbridge.speech.base import Transcript, Want
from glassbridge.wire.phone import DisplayEvent, LocalTranscription, Message, TextWall, TranscriptGap

CAPTIONS = "glassbridge.captions"
"""Package name under which captions are displayed."""


class Tell(Protocol):
    """Sends to the phone, if one is here."""

    def __call__(self, message: Message, *, may_drop: bool = False) -> None:
        """`may_drop`: the next one replaces it."""


class Transcription:
    """Of one session."""

    __slots__ = ("_apps", "_flight", "_gaps", "_log", "_tell", "_transcripts", "_want", "answered")

    def __init__(
        self,
        want: Want | None,
        transcripts: Transcripts,
        apps: Callable[[], UserApps | None],
        flight: Flight,
        tell: Tell,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """`want` is what is shown as captions; None: nothing is. `apps` finds those of the user, if there are any."""
        self.answered = 0
        """Transcripts so far."""
        self._want = want
        self._transcripts = transcripts
        self._apps = apps
        self._flight = flight
        self._tell = tell
        self._log = log
        self._gaps = Gaps()

    def understood(self, said: Transcript, asked: frozenset[Want]) -> None:
        """A recogniser's transcript, for everything that `asked` names."""
        if self._want in asked:
            self.answered += 1
            if said.text:
                self._flight.understood(said)
                self._tell(_caption(said), may_drop=not said.final)
        self._to_apps(said, asked)
        self._remember(said, asked)

    def _to_apps(self, said: Transcript, asked: frozenset[Want]) -> None:
        if (apps := self._apps()) is not None:
            apps.transcript(said, asked)

    def understood_by_phone(self, message: LocalTranscription) -> None:
        """For apps and for the record; the phone shows it already."""
        try:
            spoken = language(message.transcribe_language)
        except ValueError:
            self._log.info("local transcription in no language")
            return
        said = Transcript(
            message.text,
            message.is_final,
            round(message.start_time),
            round(message.end_time),
            language=spoken,
            speaker=None if message.speaker_id is None else str(message.speaker_id)[:64],
            provider=message.provider[:64],
        )
        self._to_apps(said, frozenset({Want(spoken), Want(AUTO)}))
        self._remember(said, frozenset({Want(spoken)}))

    def progress(self, progress: AudioProgress, place_ms: Callable[[int, int], int]) -> None:
        """So much of the phone's audio was delivered or given up. `place_ms(epoch, position)` says where in the
        session's audio a hole begins."""
        given_up = tuple(hole for hole in progress.missing if hole[1] <= progress.position)
        for gap in self._gaps.note(progress.epoch, progress.position, given_up, place_ms):
            self.missing(gap)

    def missing(self, gap: Gap) -> None:
        """Words are missing, or have come after all."""
        self._log.info("transcript gap", gap=gap.id, state=gap.state.value, seconds=gap.seconds)
        self._transcripts.note(gap)
        self._flight.words_missing(gap)
        told = TranscriptGap(id=gap.id, at_ms=gap.at_ms, seconds=gap.seconds, state=gap.state.value)
        self._tell(told)
        if (apps := self._apps()) is not None:
            apps.gap(told)

    def say(self, sentence: str) -> None:
        """A sentence of the cloud's own, where captions are shown."""
        self._log.warning("told the phone", text=sentence)
        self._tell(DisplayEvent(view="main", layout=TextWall(sentence), package_name=CAPTIONS, timestamp=iso_now()))

    def _remember(self, said: Transcript, asked: frozenset[Want]) -> None:
        if not (said.final and said.text):
            return
        self._transcripts.add(
            said.text,
            ((said.language or AUTO) if want.language == AUTO else want.language for want in asked),
            said.start_ms,
            said.end_ms,
            target=next((want.target for want in asked if want.target is not None), None),
            original=said.original,
            speaker=said.speaker,
            provider=said.provider,
            id=said.id,
            replaces=said.replaces,
            in_place=said.inserts is not None,
        )


def _caption(said: Transcript) -> DisplayEvent:
    return DisplayEvent(
        view="main",
        layout=TextWall(said.text),
        package_name=CAPTIONS,
        is_final=said.final,
        start_ms=said.start_ms,
        end_ms=said.end_ms,
        id=said.id,
        replaces=said.replaces,
        inserts=said.inserts,
        timestamp=iso_now(),
    )
