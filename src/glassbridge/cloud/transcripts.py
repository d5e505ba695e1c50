"""What was said lately: half an hour of final transcripts of one user, and the REST that gives it to that user."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from glassbridge.cloud.answers import NoSession, refuse, success
from glassbridge.core.gaps import Gap, GapState
from glassbridge.core.values import UserId, spelled
from glassbridge.wire.rejections import Rejection

KEPT: Final = 30 * 60.0
MOST_BYTES: Final = 1 << 20
"""Of one session: thirty times what is said in half an hour. The oldest segments go."""
MOST_GAPS: Final = 200
"""Of one session."""
OVERHEAD: Final = 500
"""Bytes that a segment takes beside its texts."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A final transcript."""

    at: float
    """Unix seconds at which it was understood."""
    kept_until: float
    """Monotonic seconds."""
    text: str
    languages: tuple[str, ...]
    """Spoken: the names under which it was asked for."""
    start_ms: int
    end_ms: int
    """Of the session."""
    target: str | None = None
    """Of a translation."""
    original: str | None = None
    speaker: str | None = None
    provider: str | None = None
    id: str | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about: a character takes four bytes at most."""
        texts = (self.text, self.original, self.speaker, self.provider, self.target, *self.languages)
        return OVERHEAD + sum(len(text) * (1 if text.isascii() else 4) for text in texts if text)

    def told(self) -> dict[str, object]:
        """As JSON."""
        told = {
            "id": self.id,
            "text": self.text,
            "timestamp": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            "language": self.languages[0],
            "translateLanguage": self.target,
            "originalText": self.original,
            "speakerId": self.speaker,
            "provider": self.provider,
            "startTime": self.start_ms,
            "endTime": self.end_ms,
            "isFinal": True,
        }
        return {name: value for name, value in told.items() if value is not None}

    def is_in(self, language: str) -> bool:
        """Whether the text is in this language."""
        return language == self.target if self.target is not None else language in self.languages


class Transcripts:
    """Of one session."""

    __slots__ = ("_bytes", "_clock", "_segments", "gaps")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._segments: list[Segment] = []
        self._bytes = 0
        self._clock = clock
        self.gaps: dict[str, Gap] = {}
        """Where words are missing, the oldest first."""

    def note(self, gap: Gap) -> None:
        """Words are missing, or came after all."""
        if gap.state is GapState.FILLED:
            self.gaps.pop(gap.id, None)
        else:
            self.gaps[gap.id] = gap
        if len(self.gaps) > MOST_GAPS:
            del self.gaps[next(iter(self.gaps))]

    def handed_over(self) -> tuple[dict[str, Any], ...]:
        """For the next owner of the user: what is kept, as it was said."""
        now = self._clock()
        self._prune(now)
        return tuple(asdict(segment) | {"kept_until": segment.kept_until - now} for segment in self._segments)

    def take_over(self, segments: Iterable[Mapping[str, Any]]) -> None:
        """The former owner's part, which was spoken before; a segment that cannot be read is left out."""
        now, found = self._clock(), []
        for fields in segments:
            try:
                segment = msgspec.convert(fields, Segment)
            except msgspec.ValidationError:
                continue
            found.append(replace(segment, kept_until=now + min(KEPT, segment.kept_until)))
        self._keep(found + self._segments)
        self._trim()

    def add(
        self,
        text: str,
        languages: Iterable[str],
        start_ms: int,
        end_ms: int,
        *,
        target: str | None = None,
        original: str | None = None,
        speaker: str | None = None,
        provider: str | None = None,
        id: str | None = None,
        replaces: Collection[str] = (),
        in_place: bool = False,
    ) -> None:
        """Something was finally understood; `in_place`: before what was said later, and not after what is here."""
        now = self._clock()
        self._prune(now)
        names = tuple(sorted(set(languages)))
        segment = Segment(time(), now + KEPT, text, names, start_ms, end_ms, target, original, speaker, provider, id)
        if replaces:
            self._keep([known for known in self._segments if known.id not in replaces])
        self._segments.insert(self._place(segment) if in_place else len(self._segments), segment)
        self._bytes += segment.nbytes
        self._trim()

    def _trim(self) -> None:
        while self._bytes > MOST_BYTES:
            self._bytes -= self._segments.pop(0).nbytes

    def _place(self, segment: Segment) -> int:
        """Before the first one that was said later; what a phone understood has times of its own."""
        said = (segment.start_ms, segment.end_ms)
        for index, known in enumerate(self._segments):
            if known.id is not None and (known.start_ms, known.end_ms) > said:
                return index
        return len(self._segments)

    def find(self, since: float, until: float, language: str | None) -> list[Segment]:
        """The words between these unix times, in spoken order; `language` is that of the text."""
        self._prune(self._clock())
        return [
            segment
            for segment in self._segments
            if since <= segment.at <= until and (language is None or segment.is_in(language))
        ]

    def _prune(self, now: float) -> None:
        if any(segment.kept_until <= now for segment in self._segments):
            self._keep([segment for segment in self._segments if segment.kept_until > now])

    def _keep(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._bytes = sum(segment.nbytes for segment in segments)


def _told_of_gap(gap: Gap) -> dict[str, object]:
    return {"id": gap.id, "startTime": gap.at_ms, "seconds": gap.seconds, "state": gap.state.value}


class Sessions(Protocol):
    """The keeper of the sessions."""

    def transcripts_of(self, user: UserId) -> Transcripts | None:
        """None: this user has no session here."""


class TranscriptRoutes:
    """`GET /api/client/transcripts`, and the original's `/api/transcripts/{appSessionId}`: both want the core token of
    the user whose words they are. `user_of` raises what the server answers 401 to."""

    def __init__(self, sessions: Sessions, user_of: Callable[[web.Request], Awaitable[UserId]]) -> None:
        self._sessions = sessions
        self._user_of = user_of

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_get("/api/client/transcripts", self.get)
        router.add_get("/api/transcripts/{session}", self.get)

    async def get(self, request: web.Request) -> web.Response:
        """Query: `duration` (seconds back from now), `startTime` and `endTime` (ISO 8601 or unix milliseconds),
        `language`."""
        user = await self._user_of(request)
        session = spelled(request.match_info.get("session", user))
        if session != user and not session.startswith(f"{user}-"):
            return refuse(Rejection.WORDS_OF_OTHERS)
        transcripts = self._sessions.transcripts_of(user)
        if transcripts is None:
            raise NoSession
        query = request.query
        try:
            since = _moment(query["startTime"]) if "startTime" in query else 0.0
            until = _moment(query["endTime"]) if "endTime" in query else float("inf")
            if "duration" in query:
                since = max(since, time() - float(query["duration"]))
        except (ValueError, OverflowError):
            return refuse(
                Rejection.QUERY_WRONG,
                form="duration in seconds, startTime and endTime in ISO 8601 or unix milliseconds",
            )
        found: Iterable[Segment] = transcripts.find(since, until, query.get("language"))
        segments = [segment.told() for segment in found]
        gaps = [_told_of_gap(gap) for gap in transcripts.gaps.values()]
        return success({"segments": segments, "gaps": gaps, "keptSeconds": KEPT}, headers={"Cache-Control": "no-store"})


def _moment(text: str) -> float:
    """Unix seconds. Raises ValueError."""
    if text.isdecimal():
        return int(text[:20]) / 1000
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
