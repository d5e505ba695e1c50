"""What one session's audio link logs: each decision with its cause, what was done, and what came of it.

Three kinds of lines, all with user_id, session_id and generation
- `audio link`: the machine changed its state, and why.
- `recovery`: something was done (`action`) because of something (`cause`), and its `result`.
- `audio state`: the phone was told; `audio back` beside it, when something had been wrong, says for how long.

The flight recorder gets the same, so that both tell one story.
"""

from collections.abc import Callable
from typing import Any

import structlog

from glassbridge.cloud.flights import Flight
from glassbridge.core.audio_link import LinkState, Notice, Trouble
from glassbridge.core.diagnosis import Evidence, bridge_looks, room_looks
from glassbridge.core.machine import Record
from glassbridge.core.values import AudioState, Generation, UserId

log = structlog.get_logger()

MAX_NOTED = 20


class Story:
    """Owned by one link; `clock` gives monotonic seconds."""

    def __init__(self, user: UserId, session_id: str, clock: Callable[[], float], flight: Flight) -> None:
        self._log = log.bind(user_id=user, session_id=session_id)
        self._flight = flight
        self._clock = clock
        self._cause = ""
        """Of the newest change of state that had one; empty once the room is heard."""
        self._fault: tuple[str, float] | None = None
        """The code of what the phone was first told to be wrong, and when; None while nothing is."""
        self._done: list[str] = []
        """What was done about it, and what came of that; the first MAX_NOTED of it."""

    def changed(self, record: Record[LinkState]) -> None:
        """The machine changed its state."""
        self._cause = "" if record.new is LinkState.LIVE else record.cause or self._cause
        self._tell(
            "audio link", old=record.old.label, on=record.event, new=record.new.label,
            generation=record.generation, cause=record.cause,
        )  # fmt: skip

    def done(
        self, action: str, generation: Generation, result: str, *, took: float | None = None, bridge: str | None = None
    ) -> None:
        """Something was done, and came to this."""
        self._note(f"{action}:{result}")
        more = {"bridge": bridge, "took_ms": None if took is None else round(took * 1000)}
        self._tell(
            "recovery", action=action, generation=generation, cause=self._cause, result=result,
            **{name: value for name, value in more.items() if value is not None},
        )  # fmt: skip

    def lost(self, generation: Generation, trouble: Trouble, *, bridge: str) -> None:
        """The place is gone."""
        about = {"generation": generation, "cause": trouble.code, "error": trouble.text, "bridge": bridge}
        self._log.warning("place lost", **about)
        self._flight.note("place lost", **about)

    def news(self, generation: Generation, *, phone_here: bool, leaving: bool) -> None:
        """The bridge told what is new in the room."""
        self._tell("room news", generation=generation, phone_here=phone_here, leaving=leaving)

    def examined(self, generation: Generation, evidence: Evidence) -> None:
        """Everybody on the way was asked; which hop that convicts is told to the phone next."""
        bridge, room = bridge_looks(evidence).value, room_looks(evidence).value
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
        self._flight.note(event, **fields)

    def _note(self, what: str) -> None:
        if self._fault is not None and len(self._done) < MAX_NOTED:
            self._done.append(what)

    def told(self, notice: Notice, generation: Generation) -> None:
        """The phone is told what is true."""
        now = self._clock()
        self._log.info(
            "audio state", state=notice.state.value, code=notice.code, hop=notice.hop and notice.hop.value,
            transport=notice.path.value, generation=generation,
            retry_in_ms=None if notice.retry_at is None else max(0, round((notice.retry_at - now) * 1000)),
        )  # fmt: skip
        if notice.state in (AudioState.INTERRUPTED, AudioState.UNAVAILABLE):
            if self._fault is None:
                self._fault = notice.code, now
                self._done = []  # anew: the last one was handed to the log
        elif notice.state is AudioState.LIVE and self._fault is not None:
            (cause, since), self._fault = self._fault, None
            self._tell(
                "audio back", after_ms=round((now - since) * 1000), cause=cause, action=self._done,
                result=notice.path.value, generation=generation,
            )  # fmt: skip
