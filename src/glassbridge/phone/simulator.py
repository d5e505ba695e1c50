"""`glassbridge phone`: a phone that speaks a sound file and shows what comes back."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from time import monotonic
from typing import NoReturn, TextIO

from glassbridge.core.values import SAMPLE_RATE, Transport
from glassbridge.livekit.connectors import connector, drainer
from glassbridge.livekit.participant import Connector
from glassbridge.phone import commands, events, wav
from glassbridge.phone.client import PhoneClient
from glassbridge.phone.config import PhoneConfig
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.player import play
from glassbridge.phone.report import Report
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.signals import stop_on_signals
from glassbridge.runtime.tasks import cancelled

FIRST_CONTACT = 5.0
"""Seconds in which a cloud must answer at first, if no user is there to switch to another."""
AGENT_NEWS = 3.5
"""Seconds by which the news that the cloud's agent is in the room may be late (traps B7)."""
LAST_ACK = 5.0
"""Seconds in which what is still missing after the end of speech, and its acknowledgement, must come."""
COUNT_EVERY = 0.25
INTERRUPTED = 130
QUIET = 5.0
"""Seconds without a caption after which an original cloud, which does not say so, has none to come."""


def run(config: PhoneConfig) -> int:
    """Runs the phone to its end and returns the exit status. Raises UserError."""
    if not 20 <= config.frame_ms <= 100:
        raise UserError(Complaint.FRAME_LENGTH.text(), 2)
    if config.wav is None and not config.control:
        raise UserError(Complaint.NOTHING_TO_SPEAK.text(), 2)
    clip = wav.load(config.wav) if config.wav is not None else b""
    try:
        connect = connector(config.participant)
    except ImportError as error:
        raise UserError(str(error), 2) from None
    return asyncio.run(_run(Simulator(config, connect, Report(config.json)), drainer(config.participant), clip))


async def _run(phone: "Simulator", drain: Callable[[], Awaitable[None]], clip: bytes) -> int:
    try:
        return await phone.run(clip)
    finally:
        await drain()


class Simulator:
    """One phone and who holds it. Raises UserError where a user has to do something."""

    def __init__(self, config: PhoneConfig, connect: Connector, report: Report, source: TextIO | None = None) -> None:
        self._config = config
        self._source = source or sys.stdin
        self._report = report
        self._phone = PhoneClient(
            config.cloud,
            config.token,
            self._on_event,
            transport=config.transport,
            numbered=config.numbered,
            opus=config.opus,
            connect=connect,
        )
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        """The phone has given up, or there is no reader any more."""
        self._begun = monotonic()
        self._spoke_at: float | None = None
        """The first time."""
        self._first_caption: float | None = None
        self._last_caption: float | None = None
        """Of the clip that is being spoken, or was spoken last."""
        self._captions: list[str] = []
        """Final ones."""
        self._speech_end: events.SpeechEnded | None = None
        """Of the clip that was spoken last."""
        self._welcome_since: float | None = None
        """Since when the cloud is ready for audio that proves nothing by itself."""
        self._unreachable = ""

    async def run(self, clip: bytes) -> int:
        """Speaks the clip, obeys commands where there are any, and returns the exit status."""
        with stop_on_signals() as stop:
            work = asyncio.create_task(self._obey(clip) if self._config.control else self._speak(clip), name="work")
            others = [asyncio.create_task(event.wait()) for event in (stop, self._over)]
            counting = asyncio.create_task(self._count(), name="count")
            try:
                async with self._phone, self._keeping_sound():
                    for package in self._config.apps:
                        await self._phone.start_app(package)
                    await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancelled(work, counting, *others)
                self._summarise()
        if not work.cancelled():
            work.result()
            return 0
        if self._phone.ended is not None:
            raise UserError(self._phone.ended.message)
        return 0 if self._config.loop or self._config.control else INTERRUPTED

    @asynccontextmanager
    async def _keeping_sound(self) -> AsyncIterator[None]:
        """Raises UserError when it cannot be written."""
        path = self._config.hear
        if path is None:
            yield
            return
        from glassbridge.phone.recording import Recording

        recording = Recording()
        self._phone.keep(recording)
        try:
            yield
        finally:
            try:
                await asyncio.to_thread(recording.save, path)
            except OSError as error:
                raise UserError(Complaint.FILE_UNWRITABLE.text(path=path, why=error.strerror)) from None

    # ---- the clip

    async def _speak(self, clip: bytes) -> None:
        """Speaks when audio can be heard, and stays until its captions have come."""
        await self._until_ready()
        self._last_caption = None
        if self._spoke_at is None:
            self._spoke_at = monotonic()
        await self._phone.microphone(True)
        await self._phone.voice(True)
        await play(self._phone, clip, self._config.frame_ms, last=not self._config.loop)
        while self._config.loop:
            await play(self._phone, clip, self._config.frame_ms, last=False)
        await self._phone.flush()
        self._speech_end = None
        await self._phone.voice(False)
        await self._phone.microphone(False)
        await self._until_captioned()

    async def _until_ready(self) -> None:
        if await self._until(self._is_ready, self._config.deadline):
            return
        if self._phone.session is None:
            why = self._unreachable or f"no cloud answers at {self._phone.cloud}"
            raise UserError(Complaint.PHONE_UNCONNECTED.text(why=why))
        state = self._phone.audio_state
        why = (state.reason or state.state) if state else "the cloud's agent is not in the room"
        raise UserError(Complaint.NO_WAY_FOR_AUDIO.text(seconds=self._config.deadline, why=why))

    def _is_ready(self) -> bool:
        """Audio that is sent now is heard: proven by the cloud, or as near to it as the protocol allows."""
        phone, state = self._phone, self._phone.audio_state
        if phone.session is None:
            if self._unreachable and not self._config.control and monotonic() - self._begun > FIRST_CONTACT:
                raise UserError(Complaint.PHONE_UNCONNECTED.text(why=self._unreachable))
            return False
        if state is not None and state.state == "live":
            return True
        if phone.numbered or (state is not None and self._config.transport is Transport.TRACK):
            return False  # presence, or the silence of the track, proves the path
        if self._config.transport is Transport.WEBSOCKET:
            return True
        if not phone.room_joined or (state is not None and state.code != "awaiting_audio"):
            self._welcome_since = None
            return False
        if self._welcome_since is None:
            self._welcome_since = monotonic()
        return phone.agent_present or (state is not None and monotonic() - self._welcome_since > AGENT_NEWS)

    async def _until_captioned(self) -> None:
        spoken = monotonic()

        def over() -> bool:
            if self._speech_end is not None or self._last_caption is None:
                return self._speech_end is not None
            return monotonic() - max(spoken, self._last_caption) > QUIET

        capture = self._phone.capture
        arrived = -1, -1
        while not await self._until(over, self._config.deadline):
            if arrived == (arrived := (capture.acknowledged, capture.lost)):
                raise UserError(Complaint.NO_CAPTION.text(seconds=self._config.deadline))
        if self._phone.numbered:
            await self._until(lambda: capture.acknowledged == capture.position and not capture.lost, LAST_ACK)
            if capture.lost:
                raise UserError(Complaint.SPEECH_LOST.text(seconds=capture.lost / SAMPLE_RATE))
        if self._last_caption is None:
            captioned = self._speech_end is None or self._speech_end.captioned
            raise UserError((Complaint.NO_WORDS if captioned else Complaint.NOT_CAPTIONED).text())

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits for a condition, looking at each event and each 100 ms; False when it is not met in time."""
        deadline = monotonic() + seconds
        while not condition():
            if (rest := deadline - monotonic()) <= 0:
                return False
            self._news.clear()
            try:
                async with asyncio.timeout(min(rest, 0.1)):
                    await self._news.wait()
            except TimeoutError:
                continue
        return True

    # ---- commands

    async def _obey(self, clip: bytes) -> None:
        """Until `quit`, or the end of standard input."""
        speech = asyncio.create_task(self._speak_up(clip), name="speech")
        try:
            async with aclosing(commands.lines(self._source)) as lines:
                async for line in lines:
                    try:
                        command = commands.parse(line)
                        if isinstance(command, commands.Quit):
                            return
                        if isinstance(command, commands.Speak):
                            new = await asyncio.to_thread(wav.load, command.path)
                            await cancelled(speech)
                            speech = asyncio.create_task(self._speak_up(new), name="speech")
                        else:
                            await self._do(command)
                    except (commands.BadCommand, UserError) as error:
                        self._error(str(error))
        finally:
            await cancelled(speech)

    async def _do(self, command: commands.Command) -> None:
        match command:
            case commands.Network():
                self._phone.network_changed()
            case commands.Switch(url):
                await self._phone.switch(url)
            case commands.Drop(seconds):
                await self._phone.drop(seconds)
            case commands.Microphone(on):
                await self._phone.microphone(on)

    async def _speak_up(self, clip: bytes) -> None:
        if not clip:
            return
        try:
            await self._speak(clip)
        except UserError as error:
            self._error(str(error))

    def _error(self, message: str) -> None:
        self._report.say("error", f"error: {message}", message=message)

    # ---- news

    def _on_event(self, event: PhoneEvent) -> None:
        match event:
            case events.Caption(text, final) if text:
                self._last_caption = monotonic()
                if self._first_caption is None:
                    self._first_caption = self._last_caption
                if final:
                    self._captions.append(text)
            case events.SpeechEnded():
                self._speech_end = event
            case events.SocketChanged("unreachable", _, _, reason):
                self._unreachable = reason
            case events.SocketChanged("open"):
                self._unreachable = ""
            case events.Ended():
                self._over.set()
        self._news.set()
        self._report.tell(event)
        if self._report.broken:
            self._over.set()

    async def _count(self) -> NoReturn:
        """Tells programs what has been spoken so far while it grows: for meters."""
        told = 0
        while True:
            await asyncio.sleep(COUNT_EVERY)
            if (samples := self._phone.capture.position) != told:
                told = samples
                self._report.say("spoke", samples=samples, frames=self._phone.sender.counts.sent.total())

    def _summarise(self) -> None:
        sender, capture = self._phone.sender, self._phone.capture
        first = None
        if self._first_caption is not None and self._spoke_at is not None:
            first = round(self._first_caption - self._spoke_at, 3)
        frames = {carrier.value: count for carrier, count in sender.counts.sent.items()}
        parts = [f"sent {sum(frames.values())} frames"] if frames else []
        if sender.dropped:
            parts.append(f"{sender.dropped} could not be sent at once")
        if sender.counts.replayed:
            parts.append(f"{sender.counts.replayed} were sent again")
        if capture.lost:
            parts.append(f"{capture.lost / SAMPLE_RATE:.1f} s never arrived")
        if first is not None:
            parts.append(f"first caption {first:.1f} s after the first word")
        self._report.say(
            "summary",
            "; ".join(parts),
            frames=frames,
            frames_dropped=sender.dropped,
            frames_replayed=sender.counts.replayed,
            samples=capture.position,
            acknowledged=capture.acknowledged,
            given_up=capture.lost,
            first_caption=first,
            heard_ms=self._phone.heard_ms,
            text=" ".join(self._captions),
        )
