"""What is heard of one user: the microphone, whose samples come by any way, and the words that are understood of them.

Each part is made when it is first needed: most phones say nothing most of the time.
"""

from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from glassbridge.cloud.apps.user_apps import HasApps
from glassbridge.cloud.audio import AudioProgress, Listener, Microphone, OddByte
from glassbridge.cloud.audio_report import AudioReport
from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.hearing import Hearing
from glassbridge.cloud.lc3 import Decoder, NoLc3
from glassbridge.cloud.phone_sockets import PhoneSockets
from glassbridge.cloud.recording import Recorder
from glassbridge.cloud.sound_watch import SoundWatch
from glassbridge.cloud.tap import Tap
from glassbridge.cloud.transcription import Transcription
from glassbridge.cloud.transcripts import Transcripts
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.core.audio_link import AudioRoute, Notice
from glassbridge.core.diagnosis import Hop
from glassbridge.core.uplink import ClockStep
from glassbridge.core.values import BYTES_PER_MS, AudioState, UserId
from glassbridge.runtime.lazy import Lazy
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import World
from glassbridge.speech.base import Want
from glassbridge.speech.supervisor import Speech
from glassbridge.wire.audio_frames import decode_numbered
from glassbridge.wire.cluster import HandOver, HeardUpTo
from glassbridge.wire.phone import AudioAck, EpochEnd, SpeechEndNotice


class Session(HasApps, Protocol):
    """The one whose audio it is."""

    @property
    def hearers(self) -> list[Listener]:
        """Of the microphone, beside those that belong to the audio."""

    def judge_coding(self, refuses: bool) -> None:
        """Its frames without numbers cannot be read as audio, or can again."""


class UserAudio:
    """Owned by one session. `report` hears what is true of the audio, `sockets` carry what the phone is told of it."""

    __slots__ = (
        "_blamed", "_captions", "_clock", "_epoch_asked", "_flight", "_hearing",
        "_log", "_microphone", "_odd", "_recorder", "_report", "_session", "_session_id", "_sockets",
        "_sound_watch", "_speaking", "_speech", "_taps", "_tasks", "_transcription", "_transcripts", "_unnumbered",
        "_user", "numbered",
    )  # fmt: skip
    """With so many attributes each instance would have a dictionary that it shares with none: 1.3 KB more."""

    def __init__(
        self,
        user: UserId,
        session_id: str,
        config: CloudConfig,
        speech: Speech,
        session: Session,
        sockets: PhoneSockets,
        report: AudioReport,
        flight: Flight,
        tasks: TaskGroup,
        log: structlog.stdlib.BoundLogger,
        world: World,
    ) -> None:
        self._user = user
        self._session_id = session_id
        self._captions = Want(config.captions) if config.captions else None
        self._speech = speech
        self._sockets = sockets
        self._report = report
        self._session = session
        self._flight = flight
        self._tasks = tasks
        self._log = log
        self._clock = world.monotonic
        self._taps = (
            [Tap(config.tap, user, session_id, wants_late=late) for late in (True, False)] if config.tap else ()
        )
        self._recorder = (
            Recorder(config.record, user, datetime.fromtimestamp(world.wall(), UTC)) if config.record else None
        )
        self.numbered = False
        """The newest phone numbers its binary frames."""
        self._odd: OddByte | None = None
        self._blamed: tuple[Hop, str] | None = None
        """The hop that was at fault, and why, when audio was last told to be missing; None: it has come since."""
        self._speaking: bool | None = None
        """What the phone said last of speech."""
        self._epoch_asked: int | None = None
        """The epoch that the phone was asked to end."""
        self._microphone: Microphone | None = None
        self._unnumbered: Unnumbered | None = None
        self._sound_watch: SoundWatch | None = None
        self._hearing: Hearing | None = None
        self._transcripts: Transcripts | None = None
        self._transcription: Transcription | None = None

    def start(self) -> None:
        """Begins to record, where that is wanted."""
        if self._recorder is not None:
            self._recorder.start(self._tasks)

    async def close(self, timeout: float) -> tuple[int, int]:
        """Ends everything but the tasks, within some seconds; returns how many samples were heard, and how many were
        lost. The disk has `timeout` seconds to take what is recorded."""
        heard, lost = 0, 0
        if self._microphone is not None:
            self._microphone.close()
            numbered, plain = self._microphone.accounts()
            heard, lost = numbered.delivered + plain.delivered, numbered.lost or 0
        if self._recorder is not None:
            await self._recorder.close(timeout)
        if self._hearing is not None:
            await self._hearing.close()
        for tap in self._taps:
            tap.close()
        return heard, lost

    # ---- its parts

    @Lazy
    def microphone(self) -> Microphone:
        """Of the phone."""
        made = Microphone(
            self._acknowledge, self._all_heard, self._report.network, self._clock_stepped, lambda: self.hearing
        )
        made.listeners += [*self._taps, *self._session.hearers, self.sound_watch]
        if self._recorder is not None:
            made.listeners.append(self._recorder)
        made.reached(numbered=self.numbered)
        if self._blamed is not None:
            made.blame(*self._blamed)
        return made

    @Lazy
    def unnumbered(self) -> Unnumbered:
        """Audio without numbers."""
        return Unnumbered(self._session.judge_coding, self._clock)

    @Lazy
    def sound_watch(self) -> SoundWatch:
        """Whether what comes is the sound of a living microphone."""
        return SoundWatch(self._report.sound)

    @Lazy
    def hearing(self) -> Hearing:
        """What is understood."""
        return Hearing(
            self._speech,
            self._captions,
            lambda said, asked: self.transcription.understood(said, asked),
            self._report.recogniser,
            self._report.pace,
            self._finish_speech,
            lambda: self.microphone.catches_up,
            self._clock,
            user_id=self._user,
            session_id=self._session_id,
        )

    @Lazy
    def transcripts(self) -> Transcripts:
        """What was understood."""
        return Transcripts(self._clock)

    @Lazy
    def transcription(self) -> Transcription:
        """Tells and keeps what is understood."""
        find_apps, tell = lambda: self._session.apps_here, self._sockets.tell
        return Transcription(self._captions, self.transcripts, find_apps, self._flight, tell, self._log)

    # ---- how it is

    @property
    def position(self) -> tuple[int, int] | None:
        """(epoch, position) up to which the phone's audio has come; None before any numbered frame."""
        return None if self._microphone is None else self._microphone.position

    @property
    def lc3(self) -> int:
        """Bytes of a frame of LC3, if the phone announced it; else 0."""
        return 0 if self._unnumbered is None else self._unnumbered.lc3

    @property
    def heard_lately(self) -> bool:
        """Somebody speaks."""
        return self._microphone is not None and self._microphone.heard_lately

    @property
    def fed(self) -> int:
        """Milliseconds that the recogniser was given so far."""
        return 0 if self._hearing is None else self._hearing.fed // BYTES_PER_MS

    @property
    def answered(self) -> int:
        """Transcripts so far."""
        return 0 if self._transcription is None else self._transcription.answered

    def add(self, listener: Listener) -> None:
        """It hears the microphone from now on; one that is yet to be made finds it in `hearers`."""
        if self._microphone is not None:
            self._microphone.listeners.append(listener)

    # ---- what comes of the phone

    def phone_came(self, *, numbered: bool) -> None:
        """A socket of the phone is here."""
        self._odd = None
        if self._unnumbered is not None:
            self._unnumbered.reached()
        self.numbered = numbered
        if self._microphone is not None:
            self._microphone.reached(numbered=numbered)

    def take(self, frame: bytes, *, numbered: bool) -> bool:
        """A binary frame of its socket; False: nothing that would have been heard just now. Raises FrameError."""
        if numbered:
            number, pcm = decode_numbered(frame)
            self.microphone.take_numbered(number, pcm, AudioRoute.SOCKET)
            return not number.replayed
        self._odd = odd = self._odd or OddByte()
        if not (pcm := self.unnumbered.samples(frame, odd)):
            return False
        self.microphone.take_plain(pcm)
        return True

    def voice(self, *, speaking: bool) -> None:
        """What the phone says of speech."""
        self._speaking = speaking
        self.hearing.voice(speaking)
        self.sound_watch.voice(speaking)

    def switched(self, *, on: bool) -> None:
        """The phone's microphone is on, or off."""
        self._speaking = on
        self.hearing.voice(on)

    def notice(self, notice: Notice) -> None:
        """What is lost from now on is the fault of the hop that this names."""
        if notice.state is AudioState.LIVE:
            self._blamed = None
        elif notice.hop is not None:
            self._blamed = notice.hop, notice.code
        if (microphone := self._microphone) is not None:
            if notice.hop is not None:
                microphone.blame(notice.hop, notice.code)
            if notice.state is AudioState.LIVE:
                microphone.forgive()

    # ---- what goes to another cloud

    def handed_over(self) -> HeardUpTo:
        """How far the user was heard and understood."""
        hearing, microphone = self._hearing, self._microphone
        at_ms, named = (0, 0) if hearing is None else (hearing.position_ms, hearing.named)
        heard = HeardUpTo(at_ms=at_ms, named=named, speaking=self._speaking)
        if microphone is not None and (numbered := microphone.handed_over()) is not None:
            epoch, position, captured_us, missing = numbered
            at_ms = heard.at_ms + microphone.ahead_ms(epoch, position)
            heard = replace(
                heard, at_ms=at_ms, epoch=epoch, position=position, captured_us=captured_us, missing=missing
            )
        return heard

    def words_handed_over(self) -> tuple[dict[str, Any], ...]:
        """What was understood lately."""
        return () if self._transcripts is None else self._transcripts.handed_over()

    def take_over(self, handed: HandOver) -> None:
        """What the former owner of the user had. It may come late: what was heard since stands."""
        if handed.transcripts:
            self.transcripts.take_over(handed.transcripts)
        if (heard := handed.heard) is not None:
            if heard.at_ms or heard.named:
                self.hearing.go_on_at(heard.at_ms, heard.named)
            if heard.epoch and self.position is None:
                self.microphone.take_over(heard.epoch, heard.position, heard.captured_us, heard.missing)
            if heard.speaking is not None and self._speaking is None:
                self.voice(speaking=heard.speaking)
        if handed.lc3 and not self.unnumbered.lc3:
            try:
                self.unnumbered.configure(Decoder(handed.lc3))
            except (NoLc3, ValueError) as error:
                self._log.warning("coding not taken over", error=str(error))

    # ---- what the microphone says

    def _all_heard(self) -> None:
        """The last numbered sample has been handed on."""
        self.hearing.all_heard()

    def _clock_stepped(self, step: ClockStep) -> None:
        """The phone's capture clock cannot be believed: told once for each epoch, for which a new one is asked for."""
        self._log.info("capture clock stepped", epoch=step.epoch, number=step.number, seconds=round(step.seconds, 2))
        self._flight.note("capture clock stepped", number=step.number, seconds=round(step.seconds, 2))
        if self.numbered and self._epoch_asked != step.epoch:
            self._epoch_asked = step.epoch
            self._sockets.tell(EpochEnd(epoch=step.epoch))

    def _acknowledge(self, progress: AudioProgress) -> None:
        arrived = {
            route: (brought.frames, brought.stop, round(min(brought.late, 60.0) * 1000))
            for route, brought in progress.arrived.items()
        }
        self._sockets.tell(
            AudioAck(
                epoch=progress.epoch,
                position=progress.position,
                missing=progress.missing,
                lost=progress.lost,
                room=arrived.get(AudioRoute.ROOM),
                socket=arrived.get(AudioRoute.SOCKET),
            ),
            may_drop=True,
        )
        self.transcription.progress(progress, self._place_ms)

    def _place_ms(self, epoch: int, position: int) -> int:
        """The session's milliseconds of a hole's beginning."""
        given_up = self.hearing.where(epoch, position)
        if given_up is not None:
            return given_up
        return self.hearing.position_ms + self.microphone.ahead_ms(epoch, position)

    def _finish_speech(self) -> None:
        self._tasks.spawn(self._end_speech(), "speech-end")

    async def _end_speech(self) -> None:
        captioned = await self.hearing.finish()
        self._sockets.tell(SpeechEndNotice(captioned=captioned, timestamp=iso_now()))
