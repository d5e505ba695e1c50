"""All that the programs of a system write: one file for each, and their JSON lines by the moment they were read."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final, Self, TextIO

from glassbridge.lab.program import Line
from glassbridge.telemetry.access import SERVER_LOGGER
from glassbridge.telemetry.line_limit import peer_of

FLOOD_SECONDS: Final = 5
"""What begins and breaks writes many lines at once; a flood goes on."""
MAX_DEFECTS: Final = 20


class Logbook:
    """Use as a context; files are `<program>.log` in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, TextIO] = {}
        self._entries: list[Mapping[str, Any]] = []
        self._seconds: Counter[tuple[str, str, int]] = Counter()
        """How many lines each program wrote about each peer in each second, by its own clock."""
        self._begun: dict[int, int] = {}
        """When the first line of each of these seconds was read."""
        self.defects: list[str] = []
        """Exceptions that nobody expected, the first MAX_DEFECTS: program, event, and the exception's last line."""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def note(self, text: str) -> None:
        """What the lab itself does."""
        at_ns = monotonic_ns()
        self.write(Line("lab", json.dumps({"event": text, "t_ns": at_ns}), log=True, at_ns=at_ns))

    def write(self, line: Line) -> None:
        """Takes a line; ignored when the book is closed."""
        if line.program not in self._files:
            self._files[line.program] = (self.folder / f"{line.program}.log").open("a", buffering=1)
        self._files[line.program].write(line.text + "\n")
        fields = line.fields
        second = _second_of(fields.get("timestamp"), line.at_ns)
        self._begun.setdefault(second, line.at_ns)
        self._seconds[line.program, peer_of(fields), second] += 1
        if fields:
            self._entries.append({"program": line.program, "at_ns": line.at_ns, **fields})
        if _is_defect(fields) and len(self.defects) < MAX_DEFECTS:
            event = fields["event"].partition("\n")[0]
            exception = fields.get("exception", "").rstrip().rpartition("\n")[2]
            self.defects.append(f"{line.program}: {event}: {exception}")

    def find(self, wanted: Mapping[str, Any], since_ns: int = 0) -> list[Mapping[str, Any]]:
        """Entries that were read since then and hold all these fields; `at_ns` is when, `program` whose."""
        first = bisect_left(self._entries, since_ns, key=_moment)
        return [
            entry
            for entry in islice(self._entries, first, None)
            if all(entry.get(key) == value for key, value in wanted.items())
        ]

    def most_lines_per_second(self, programs: Collection[str], since_ns: int) -> float:
        """The most lines about one peer (telemetry/line_limit.py), or about none, that one of these programs wrote in
        FLOOD_SECONDS consecutive seconds since then, over that time."""
        sums: Counter[tuple[str, str, int]] = Counter()
        for (program, peer, second), lines in self._seconds.items():
            if program in programs and self._begun[second] >= since_ns:
                for first in range(second - FLOOD_SECONDS + 1, second + 1):
                    sums[program, peer, first] += lines
        return max(sums.values(), default=0) / FLOOD_SECONDS


def _is_defect(fields: Mapping[str, Any]) -> bool:
    """An exception that reached the event loop's or the HTTP server's last handler, or ended a participant: what a
    program handles, it logs in its own words."""
    if fields.get("level") not in ("error", "critical"):
        return False
    return fields.get("logger") in ("asyncio", SERVER_LOGGER.name) or fields.get("event") == "participant task failed"


def _second_of(timestamp: Any, at_ns: int) -> int:
    """By the clock of the program; by the lab's for a line without a time."""
    return int(datetime.fromisoformat(timestamp).timestamp()) if timestamp else at_ns // 1_000_000_000


def _moment(entry: Mapping[str, Any]) -> int:
    moment: int = entry["at_ns"]
    return moment
