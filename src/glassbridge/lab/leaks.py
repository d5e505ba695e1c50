"""What a running system holds: what a fault leaves behind shows here."""

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from glassbridge.lab.program import Program
from glassbridge.livekit.rooms import RoomService, RoomServiceError

SLACK: Mapping[str, float] = {"processes": 0, "threads": 4, "descriptors": 8, "tasks": 4, "memory_mb": 20}
"""By how much a program may hold more than before and still count as the same: pools that fill as they are used."""
SDK_SLACK = {**SLACK, "threads": 40, "descriptors": 200}
"""The SDK's native library has 25 to 75 descriptors for each room, opened and closed as it goes: five rooms differ
by that much from one look to the next, and do not grow over many."""
RECOGNISER = "glassbridge.speech."
"""Not counted: recognisers come and go with speech, and their number has a limit of its own."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """At one moment."""

    programs: Mapping[str, Mapping[str, float]]
    """Of each program with its children: processes, threads, descriptors, tasks where it tells, and the memory of the
    largest."""
    rooms: int
    participants: int

    @property
    def descriptors(self) -> float:
        """Of all programs."""
        return sum(holds["descriptors"] for holds in self.programs.values())

    def grown_since(self, before: "Holdings", slack: Mapping[str, float] = SLACK) -> list[str]:
        """What is more than before, and by how much; empty: nothing."""
        found = [
            f"{name}: {kind} {round(before.programs[name][kind])} -> {round(amount)}"
            for name, holds in self.programs.items()
            for kind, amount in holds.items()
            if amount > before.programs.get(name, {}).get(kind, amount) + slack[kind]
        ]
        pairs = (("rooms", before.rooms, self.rooms), ("participants", before.participants, self.participants))
        return found + [f"LiveKit: {kind} {old} -> {new}" for kind, old, new in pairs if new > old]


def held_by(program: Program) -> dict[str, float]:
    """Of one program with its children; nothing while it does not run."""
    found = dict.fromkeys(("processes", "threads", "descriptors", "memory_mb"), 0.0)
    if not program.running:
        return found
    root = psutil.Process(program.pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            if any(part.startswith(RECOGNISER) for part in process.cmdline()):
                continue
            threads, descriptors, memory = process.num_threads(), process.num_fds(), process.memory_info().rss
        except psutil.Error:
            continue  # it has just ended
        found["processes"] += 1
        found["threads"] += threads
        found["descriptors"] += descriptors
        found["memory_mb"] = max(found["memory_mb"], memory / 1e6)
    return found


async def on_livekit(service: RoomService) -> tuple[int, int]:
    """(rooms, participants); what the server did not answer for is not counted."""
    try:
        rooms = await service.rooms()
        return len(rooms), sum([len(await service.participants(room)) for room in rooms])
    except RoomServiceError:
        return 0, 0
