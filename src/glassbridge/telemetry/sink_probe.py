"""Does a log sink take what we send? One line, a batch, and a line with everything in it that real ones have."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from glassbridge.core.outbox import SinkVerdict, verdict
from glassbridge.telemetry.config import SinkConfig
from glassbridge.telemetry.sinks import Sink, SinkAnswer

BATCH: Final = 20
ADVICE: Final = {
    SinkVerdict.TAKEN: "",
    SinkVerdict.REFUSED: "the sink does not accept our token: copy the source token (OTLP: the headers) anew",
    SinkVerdict.TOO_MUCH: "the sink does not understand us: check that its address is one for logs of this kind",
}
UNREACHABLE: Final = "check the host name, that this machine may reach it, and that a proxy lets POST through"
LATER: Final = "the sink is there and takes nothing now: look at its status page; lines wait on disk"


@dataclass(frozen=True, slots=True)
class Probed:
    """The outcome of one request."""

    what: str
    lines: int
    answer: SinkAnswer

    @property
    def arrived(self) -> bool:
        return verdict(self.answer.status) is SinkVerdict.TAKEN

    @property
    def advice(self) -> str:
        """What to do; empty when it arrived."""
        if self.answer.status is None:
            return f"{self.answer.error}: {UNREACHABLE}"
        return ADVICE.get(verdict(self.answer.status), LATER)


def probe(config: SinkConfig, service: str = "glassbridge") -> Iterator[Probed]:
    """Sends them one after the other; blocks."""
    sink = Sink(config)
    try:
        for what, fields in _REQUESTS.items():
            lines = [_line(service, number, len(fields), extra) for number, extra in enumerate(fields, 1)]
            yield Probed(what, len(lines), sink.post(lines))
    finally:
        sink.close()


def _line(service: str, number: int, of: int, extra: dict[str, Any]) -> bytes:
    fixed = {
        "event": "log sink test",
        "level": "info",
        "service": service,
        "timestamp": datetime.now(UTC).isoformat(),
        "number": number,
        "of": of,
    }
    return json.dumps(fixed | extra).encode()


_COMPLEX: Final[dict[str, Any]] = {
    "level": "warning",
    "user_id": "test+user@example.com",
    "room_name": "test+user@example.com",
    "session_id": "000000000000",
    "generation": 1_789_976_000_123,
    "error": 'quotes " and \\ and \n a line feed, ü, 漢字, \U0001f399',
    "exception": "Traceback (most recent call last):\n" + '  File "x.py", line 1, in <module>\n' * 100,
    "nested": {"list": [1, 2.5, None, True, "text"], "object": {"a": {"b": {"c": []}}}},
}
_REQUESTS: Final[dict[str, list[dict[str, Any]]]] = {
    "one line": [{}],
    f"a batch of {BATCH}": [{} for _ in range(BATCH)],
    "a complex line": [_COMPLEX],
}
