"""The log of one session's audio link: each decision with its cause, action and result.

Kinds of lines, all with user_id, session_id and generation
- `audio link`: the machine changed its state, and why. `place lost`: and which hop that convicts.
- `recovery`: something was done (`action`) because of something (`cause`), and its `result`.
- `audio state`: the phone was told; `audio back` beside it, when something had been wrong, says for how long.
- `audio begins`, `audio resumed`: samples came, the first of all or the first after a hole, whatever anybody was told;
  what happened in the hole stands beside it (`late`: samples came all the time, too old to be live;
  `cloud_stood_still`: this process did). Silence in which nothing happened was meant, and is told at debug only.

The flight recorder gets the same, so that both tell one story; so do the numbers and the trace (cloud/episode.py).
"""

from collections.abc import Callable
from typing import Any

import structlog

from glassbridge.cloud.episode import Episode, Why
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.holes import HoleListener, Holes
from glassbridge.core.audio_link import Away, LinkState, Notice, Trouble
from glassbridge.core.diagnosis import MUTED, Evidence, observe_bridge, observe_room
from glassbridge.core.machine import Record
from glassbridge.core.newest import Newest
from glassbridge.core.recovery import DECISIONS
from glassbridge.core.values import AudioState, Generation
from glassbridge.runtime.lazy import Lazy
from glassbridge.runtime.pulse import Pulse
from glassbridge.telemetry import metrics
from glassbridge.telemetry.traces import Attribute, Origin, Span, SpanRole

MAX_NOTED = 20


class Story:
    """Owned by one link; its ears listen to the microphone. `clock` gives monotonic seconds."""

    __slots__ = (
        "_about", "_actions", "_begun", "_cause", "_causes", "_clock", "_done", "_ears", "_episode", "_fault",
        "_flight", "_generation", "_log", "_pulse",
    )  # fmt: skip

    def __init__(
        self, log: structlog.stdlib.BoundLogger, clock: Callable[[], float], flight: Flight, pulse: Pulse
    ) -> None:
        self._about = self._log = log
        """With the ids of user and session."""
        self._flight = flight
        self._episode: Episode | None = None
        """While audio is wanted and not there."""
        self._clock = clock
        self._pulse = pulse
        self._cause = ""
        """Of the newest change of state that had one; empty once the room is heard."""
        self._fault: tuple[str, float] | None = None
        """The code of what the phone was first told to be wrong, and when; None while nothing is."""
        self._done: list[str] = []
        """Actions and their results; the first MAX_NOTED."""
        self._begun = clock()
        self._generation = Generation(0)
        self._ears: list[HoleListener] | None = None
        self._causes: Newest[tuple[float, str]] = Newest(MAX_NOTED)
        self._actions: Newest[tuple[float, str]] = Newest(MAX_NOTED)
        """What happened last, and when."""

    @Lazy
    def ears(self) -> list[HoleListener]:
        """Listeners of the microphone."""
        return Holes(self._clock, self._heard).ears

    def _heard(self, before: float | None, late: bool) -> None:
        """Live samples came, after a hole or for the first time."""
        now = self._clock()
        since = self._begun if before is None else before
        stood = ["cloud_stood_still"] if self._pulse.has_stalled_since(since) else []
        causes = stood + [what for at, what in self._causes if at >= since] or (["late"] if late else [])
        about = {
            "cause": ", ".join(dict.fromkeys(causes)),
            "action": [what for at, what in self._actions if at >= since],
            "generation": self._generation,
        }
        if before is None:
            self._tell("audio begins", after_ms=round((now - since) * 1000), **about)
        elif causes:
            self._tell("audio resumed", silent_ms=round((now - before) * 1000), **about)
        else:
            self._log.debug("audio resumed", silent_ms=round((now - before) * 1000), **about)

    @property
    def dead_for(self) -> float:
        """Seconds for which audio should be flowing and is not; 0.0 while it flows, or may be silent."""
        return self._episode.dead_for if self._episode is not None else 0.0

    @property
    def trace(self) -> str:
        """The traceparent of what is going on; empty while nothing is."""
        return self._episode.span.origin.traceparent if self._episode is not None else ""

    def arrived(self, *, numbers: bool, parent: Origin | None) -> None:
        """A socket of the phone, which may have begun a trace: audio is wanted."""
        self._fault = None
        self._begin("start", parent, due=numbers)

    def departed(self) -> None:
        """The phone is away, or the session over: audio is not awaited any more."""
        self._fault = None
        self._end("the phone went away")

    def part(self, name: str, kind: SpanRole = SpanRole.CLIENT, **about: Attribute) -> Span:
        """A span for something that is done."""
        if self._episode is None:
            return Span(name, None, kind, session_id=self._flight.id, **about)
        return self._episode.part(name, kind, **about)

    def _begin(self, why: Why, parent: Origin | None = None, *, due: bool) -> Episode:
        self._end("begun anew")
        self._episode = Episode(why, self._clock, parent, due=due, session_id=self._flight.id)
        self._log = self._about.bind(trace_id=self._episode.span.origin.trace_id)
        return self._episode

    def _end(self, result: str) -> None:
        if self._episode is not None:
            self._episode.over(result)
            self._episode = None
            self._log = self._about

    def changed(self, record: Record[LinkState]) -> None:
        """The machine changed its state."""
        if record.new is LinkState.JOINING and record.cause not in ("", "wanted"):
            metrics.REJOINS.add(record.cause)
        self._cause = "" if record.new is LinkState.LIVE else record.cause or self._cause
        self._generation = Generation(record.generation)
        if record.cause or record.event == Away.__name__:
            self._causes.append((self._clock(), record.cause or "phone_away"))
        self._tell("audio link", generation=record.generation, **record.fields)

    def done(
        self, action: str, generation: Generation, result: str, *, took: float | None = None, bridge: str | None = None
    ) -> None:
        """Something was done, and came to this."""
        self._note(f"{action}:{result}")
        if action == "join":
            metrics.JOINS.add(*(("joined", "") if result == "joined" else ("failed", result)))
        more = {"bridge": bridge, "took_ms": None if took is None else round(took * 1000)}
        self._tell(
            "recovery", action=action, generation=generation, cause=self._cause, result=result,
            **{name: value for name, value in more.items() if value is not None},
        )  # fmt: skip

    def lost(self, generation: Generation, trouble: Trouble, *, bridge: str) -> None:
        """The place is gone."""
        metrics.PLACES_LOST.add(trouble.code)
        if self._episode is None:
            self._begin("fault", due=False)
        hop = DECISIONS[trouble].hop.value
        about = {"generation": generation, "cause": trouble.code, "hop": hop, "error": trouble.text, "bridge": bridge}
        self._log.warning("place lost", **about)
        self._keep("place lost", about)

    def news(self, generation: Generation, *, phone_here: bool, leaving: bool, hindered: str) -> None:
        """The bridge told what is new in the room."""
        self._tell("room news", generation=generation, phone_here=phone_here, leaving=leaving, hindered=hindered)

    def examined(self, generation: Generation, evidence: Evidence) -> None:
        """Everybody on the way was asked; which hop that convicts is told to the phone next."""
        bridge, room = observe_bridge(evidence).value, observe_room(evidence).value
        phone = "answers" if evidence.phone_answers else "silent"
        self._note("examine")
        self._tell(
            "recovery", action="examine", generation=generation, cause=self._cause,
            result=f"bridge {bridge}, room {room}, phone {phone}",
            audio_age_s=evidence.bridge.audio_age if evidence.bridge is not None else None,
            stream_age_s=None if evidence.stream_age is None else round(evidence.stream_age, 1),
            phone_publishes=evidence.livekit.phone_publishes if evidence.livekit is not None else None,
        )  # fmt: skip

    def _tell(self, event: str, **fields: Any) -> None:
        self._log.info(event, **fields)
        self._keep(event, fields)

    def _keep(self, event: str, fields: dict[str, Any]) -> None:
        trace = {} if self._episode is None else {"trace_id": self._episode.span.origin.trace_id}
        self._flight.note(event, **fields, **trace)

    def _note(self, what: str) -> None:
        self._actions.append((self._clock(), what))
        if self._fault is not None and len(self._done) < MAX_NOTED:
            self._done.append(what)

    def told(self, notice: Notice, generation: Generation) -> None:
        """The phone is told what is true."""
        now = self._clock()
        missed = notice.state in (AudioState.INTERRUPTED, AudioState.UNAVAILABLE)
        episode = self._episode or (self._begin("fault", due=True) if missed else None)
        hop = notice.hop.value if notice.hop is not None else ""
        metrics.NOTICES.add(notice.state.value, hop)
        if missed:
            self._causes.append((now, notice.code))
        self._log.info(
            "audio state", state=notice.state.value, code=notice.code, hop=notice.hop and notice.hop.value,
            transport=notice.route.value, generation=generation,
            retry_in_ms=None if notice.retry_at is None else max(0, round((notice.retry_at - now) * 1000)),
        )  # fmt: skip
        if episode is not None:
            if missed:
                episode.missed()
            episode.span.event("audio state", state=notice.state.value, code=notice.code, hop=hop)
        if missed:
            if self._fault is None:
                self._fault = notice.code, now
                self._done = []  # anew: the last one was handed to the log
        elif notice.code == MUTED:
            self._fault = None
        elif notice.state is AudioState.LIVE and self._fault is not None:
            (cause, since), self._fault = self._fault, None
            self._tell(
                "audio back", after_ms=round((now - since) * 1000), cause=cause, action=self._done,
                result=notice.route.value, generation=generation,
            )  # fmt: skip
        if episode is not None:
            self._judge(episode, notice)

    def _judge(self, episode: Episode, notice: Notice) -> None:
        """Whether it is over: audio that goes by the socket, while the room is repaired, is not the end."""
        if notice.state is AudioState.LIVE:
            episode.heard(notice.route.value)
            if not notice.code:
                self._end(notice.route.value)
        elif notice.code == MUTED or (notice.code == "awaiting_audio" and not episode.due):
            self._end("ready; the phone may be silent")
