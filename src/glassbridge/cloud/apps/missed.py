"""Sentences for an app that is away: kept for a while, and told once it listens again.

An app loses its socket when its server or its network blinks, and has none for a moment after its user has moved to
another cloud. Words that are said meanwhile would be lost for good: they are not said again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from glassbridge.core.subscriptions import STREAMS, Stream
from glassbridge.wire import apps as wire
from glassbridge.wire.codec import encode

KEPT: Final = 30.0
"""Seconds. Older words answer nothing that the user still waits for; they stay in `GET /api/client/transcripts`."""
MOST_BYTES: Final = 64 << 10
"""As JSON, for one app of one user: a minute of speech takes about 8 KiB. The oldest go."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A message that the app was not there to hear."""

    at: float
    """Monotonic seconds."""
    stream: Stream
    languages: tuple[str, ...]
    """Of the subscription that it answers."""
    message: wire.DataStream
    nbytes: int
    """As JSON."""


class Missed:
    """Of one app of one user. `dropped` counts what grew too old or too much and has not been told to the app yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._kept: tuple[Sentence, ...] = ()
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._kept or self.dropped)

    def keep(self, stream: Stream, languages: tuple[str, ...], message: wire.DataStream) -> None:
        """The app is not here to hear this."""
        self._keep((*self._kept, Sentence(self._clock(), stream, languages, message, len(encode(message)))))

    def take(self, listens: Callable[[Stream, tuple[str, ...]], bool]) -> list[wire.DataStream]:
        """Takes out the messages that the app listens to now, in order; the others stay."""
        self._keep(self._kept)
        wanted: list[Sentence] = []
        others: list[Sentence] = []
        for one in self._kept:
            (wanted if listens(one.stream, one.languages) else others).append(one)
        self._kept = tuple(others)
        return [one.message for one in wanted]

    def take_dropped(self) -> int:
        """How many messages are lost to the app; told once."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def handed_over(self) -> tuple[dict[str, Any], ...]:
        """For the next owner of the user, as JSON."""
        self._keep(self._kept)
        now = self._clock()
        return tuple(
            {
                "age": now - one.at,
                "stream": one.stream.label,
                "languages": one.languages,
                "message": encode(one.message),
            }
            for one in self._kept
        )

    def take_over(self, handed: Iterable[dict[str, Any]]) -> None:
        """Puts the messages that the former owner of the user kept before those that are here. A message that cannot be
        read is left out."""
        now, found = self._clock(), []
        for fields in handed:
            try:
                one = msgspec.convert(fields, _Handed)
                message = _message.decode(one.message)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                continue
            if (stream := STREAMS.get(one.stream)) is not None:
                at = now - max(0.0, one.age)
                found.append(Sentence(at, stream, one.languages, message, len(one.message)))
        self._keep((*found, *self._kept))

    def _keep(self, sentences: Iterable[Sentence]) -> None:
        """The newest of these that are not too old, and not too many."""
        oldest, size = self._clock() - KEPT, 0
        kept: list[Sentence] = []
        for one in reversed(tuple(sentences)):
            size += one.nbytes
            if one.at < oldest or size > MOST_BYTES:
                self.dropped += 1
            else:
                kept.append(one)
        self._kept = tuple(reversed(kept))


class _Handed(msgspec.Struct, frozen=True):
    age: float
    stream: str
    languages: tuple[str, ...]
    message: str


_message = msgspec.json.Decoder(wire.DataStream)
