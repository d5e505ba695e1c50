"""What the users of all tests have in common: what they do to an app, and what they notice of it."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from glassbridge.app.handlers import FAILURES
from glassbridge.app.server import AppServer
from glassbridge.app.session import Session
from glassbridge.core.subscriptions import Permission, Refusal, Stream
from glassbridge.wire.device_events import ButtonPress, DeviceEvent, TouchEvent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sound:
    """That the app plays: what the user hears."""

    text: str = ""
    """What is spoken; empty: it is no speech."""
    url: str = ""
    data: bytes | Path = b""
    """A sound of the app's own."""
    track: int = 0
    volume: float = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """What the user says: see User.says()."""

    text: str
    language: str
    final: bool
    translated: Mapping[str, str]
    speaker: str | None

    @property
    def wanted(self) -> list[tuple[Stream, tuple[str, ...]]]:
        """Streams, one of which the app has to listen to."""
        if not self.translated:
            return [(Stream.TRANSCRIPTION, (self.language,))]
        return [(Stream.TRANSLATION, (self.language, into)) for into in self.translated]


class User(ABC):
    """Each method returns when the app had the time to do what it does at once."""

    within: ClassVar[float] = 2.0
    """Seconds that the user waits for the app."""

    def __init__(
        self, server: AppServer, permissions: frozenset[Permission], settings: dict[str, Any], user_id: str
    ) -> None:
        self.user_id = user_id
        self.settings = settings
        self.shown: list[str] = []
        """All that the app has shown, a line for each block of a layout; a view that was cleared is empty."""
        self.heard: list[Sound] = []
        """All that it has played."""
        self.refused: list[Refusal] = []
        """What it wants to hear and will not, and why."""
        self._server = server
        self._permissions = permissions
        self._unseen: deque[str] = deque()
        self._unheard: deque[Sound] = deque()
        self._failures: list[BaseException] = []
        self._runner = asyncio.Runner()

    # ---- what the user does

    def says(
        self,
        text: str,
        *,
        language: str = "en-US",
        final: bool = True,
        translated: Mapping[str, str] | None = None,
        speaker: str | None = None,
    ) -> None:
        """Speaks. `final=False`: it may still change. `translated`: the same in other languages."""
        self._say(Said(text, language, final, translated or {}, speaker))

    @abstractmethod
    def speaks(self, speaking: bool = True) -> None:
        """Begins to speak, or has ended (False), as the voice detector tells it."""

    @abstractmethod
    def sends_audio(self, pcm: bytes) -> None:
        """The microphone: PCM16 LE, 16 kHz, mono."""

    def presses(self, button: str = "main", how: Literal["short", "long"] = "short") -> None:
        """A button of the glasses."""
        self.does(ButtonPress(button_id=button, press_type=how))

    def touches(self, gesture: str) -> None:
        """The glasses: `single_tap`, `double_tap`, `forward_swipe`, ..."""
        self.does(TouchEvent(gesture_name=gesture))

    @abstractmethod
    def does(self, event: DeviceEvent) -> None:
        """Anything that phone and glasses tell: see glassbridge.wire.device_events."""

    @abstractmethod
    def chooses(self, **settings: Any) -> None:
        """Changes settings of the app."""

    @abstractmethod
    def loses_network(self) -> None:
        """The app's connection is gone. Final sentences wait until it is back; all else that happens meanwhile is not
        heard."""

    @abstractmethod
    def comes_back(self) -> None:
        """The connection is back; the app's session is the same."""

    # ---- what the user notices

    def sees(self, within: float | None = None) -> str:
        """The next thing that the app shows and that was not seen yet. Raises AssertionError when nothing comes."""
        return self._next(self._unseen, within, "the app shows nothing")

    def hears(self, within: float | None = None) -> Sound:
        """The next sound, likewise."""
        return self._next(self._unheard, within, "the app plays nothing")

    def notices_nothing(self, for_: float = 0.05) -> None:
        """Raises AssertionError when the app shows or plays something that was not noticed yet, or does within so many
        seconds."""
        self._run(asyncio.sleep(for_))
        noticed = [*self._unseen, *self._unheard]
        if noticed:
            raise AssertionError(f"the app does something: {noticed}")

    @property
    @abstractmethod
    def listens_to(self) -> list[str]:
        """What the app has subscribed to and may hear."""

    @property
    @abstractmethod
    def stored(self) -> dict[str, str]:
        """What the app has stored for this user."""

    @property
    @abstractmethod
    def session(self) -> Session:
        """The app's, which its handlers use."""

    # ---- behind it

    @contextmanager
    def using_the_app(self) -> Iterator[None]:
        """Starts the app, and stops it."""
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise AssertionError("glassbridge.testing is for tests that are functions, not for coroutines")
        try:
            self._run(self._open_recording())
            yield
            self._run(self._stop())
        finally:
            with suppress(RuntimeError):
                self._runner.run(self._release())
            self._runner.close()

    async def _open_recording(self) -> None:
        FAILURES.set(self._failures)
        await self._open()

    @abstractmethod
    def _say(self, said: Said) -> None:
        """The user speaks."""

    @abstractmethod
    async def _open(self) -> None:
        """The user starts the app."""

    @abstractmethod
    async def _stop(self) -> None:
        """The user stops it."""

    @abstractmethod
    async def _release(self) -> None:
        """Whatever happened."""

    def _see(self, text: str) -> None:
        self.shown.append(text)
        self._unseen.append(text)

    def _hear(self, sound: Sound) -> None:
        self.heard.append(sound)
        self._unheard.append(sound)

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        result = self._runner.run(what)
        if self._failures:
            raise self._failures.pop(0)
        return result

    def _next(self, queue: deque[T], within: float | None, nothing: str) -> T:
        within = self.within if within is None else within
        self._run(until(lambda: bool(queue or self._failures), within))
        if not queue:
            raise AssertionError(f"{nothing} within {within:g} s; it listens to {self._listens()}")
        return queue.popleft()

    def _listens(self) -> str:
        refused = "".join(f"; refused: {one.text}: {one.why}" for one in self.refused)
        return f"{', '.join(self.listens_to) or 'nothing'}{refused}"

    def _nobody(self, stream: str) -> None:
        raise AssertionError(f"the app does not listen to {stream}; it listens to {self._listens()}")


async def until(condition: Callable[[], bool], within: float) -> bool:
    """Whether it came true in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110 - the app's own tasks change it, in whatever way
                await asyncio.sleep(0.001)
    return condition()
