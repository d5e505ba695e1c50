"""The checkers can fail: each defect, put into a machine or a shell, is found by the checker that is named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from glassbridge.bridge.service import BridgeService
from glassbridge.cloud.session import UserSession
from glassbridge.core import audio_link, phone_socket, room
from glassbridge.core.arrival import Arrival
from glassbridge.core.audio_link import AudioLink, LinkState
from glassbridge.core.backoff import Backoff
from glassbridge.core.machine import Cell
from glassbridge.core.recovery import DECISIONS
from glassbridge.core.room import Join, Room
from glassbridge.core.values import LossReason
from glassbridge.lab.sim import bridge, cloud
from glassbridge.lab.sim.place import Place
from glassbridge.lab.sim.runner import run
from glassbridge.lab.sim.schedule import Fault, Schedule, User, make
from glassbridge.lab.sim.verdict import Checker
from glassbridge.phone.link import PhoneLinkShell
from glassbridge.phone.routes import Routes
from glassbridge.runtime.direct import DirectShell
from glassbridge.telemetry import traces

Patch = pytest.MonkeyPatch
TRIES = 25
U0 = User("u0")


def plan(*faults: Fault, user: User = U0, shared: bool = False) -> list[Schedule]:
    """The same few faults with different chances."""
    last = max(fault.at + fault.seconds for fault in faults)
    return [Schedule(seed, (user,), faults, heal_at=last + 2.0, shared=shared) for seed in range(TRIES)]


ANY = [make(seed) for seed in range(TRIES)]
BACK_AND_FORTH = plan(*(Fault(4.0 + 0.7 * number, "switch", "u0") for number in range(6)))
BRIDGE_DIES = plan(Fault(8.0, "kill", "bridge-a", 4.0))
CLOUD_DIES = plan(Fault(6.0, "kill", "cloud-A", 15.0))
HALF_OPEN = plan(Fault(6.0, "cut", "phone-u0~cloud-A", 12.0, "tcp both"))
LATE_JOIN = plan(
    Fault(0.05, "kill", "bridge-b", 10.0),
    Fault(3.9, "hold", "cloud-A~bridge-a", 2.0, "tcp there"),
    Fault(4.0, "delete", "u0"),
    Fault(5.0, "switch", "u0"),
    shared=True,
)
MEDIA_STOPS = plan(Fault(6.0, "cut", "phone-u0~livekit", 10.0, "udp both"), user=replace(U0, sdk=True))
CRASH_LOOP = plan(
    Fault(4.0, "kill", "livekit", 300.0), *(Fault(6.0 + 1.5 * number, "kill", "bridge-a", 1.2) for number in range(220))
)
STALE_OWNER = plan(Fault(6.0, "hold", "bridge-a~livekit", 20.0, "both both"), Fault(7.0, "switch", "u0"))
UNCLAIMED = plan(Fault(0.05, "hold", "cloud-A~bridge-a", 12.0, "tcp back"), shared=True)
MOVED_UNSEEN = plan(Fault(6.0, "hold", "phone-u0~cloud-A", 12.0, "tcp both"), Fault(6.1, "switch", "u0"))


def instead(patch: Patch, table: dict[Any, Any], of: Callable[..., Any], by: Callable[..., Any]) -> None:
    """In each cell of the table that decides by `of`, it is decided otherwise."""
    for key, cell in table.items():
        if isinstance(cell, Cell) and cell.by is of:
            patch.setitem(table, key, replace(cell, by=by))


def grace_of_61_seconds(patch: Patch) -> None:
    patch.setattr(cloud, "CONFIG", replace(cloud.CONFIG, grace=61.0))


def room_that_obeys_the_past(patch: Patch) -> None:
    """A join of an older generation replaces a newer one (hazard C-1)."""

    def replace_always(machine: Room, event: Join, now: float) -> list[Any]:
        machine.generation = event.generation
        return Room._replace(machine, event, now)

    instead(patch, room.TABLE, Room._replace, replace_always)


def room_without_end(patch: Patch) -> None:
    """A place whose stream has ended is kept (hazard S-24)."""
    instead(patch, room.TABLE, Room._end_stream, lambda _machine, _event, _now: [])


def link_that_says_it_is_live(patch: Patch) -> None:
    """Once live, the phone is told nothing any more."""
    genuine = AudioLink._tell

    def tell(machine: AudioLink) -> list[Any]:
        live = machine._told is not None and machine._told.state.value == "live"
        return [] if live else genuine(machine)

    patch.setattr(AudioLink, "_tell", tell)


def link_without_retry(patch: Patch) -> None:
    """It waits for a next join that no deadline brings."""
    genuine = AudioLink.next_deadline
    patch.setattr(
        AudioLink, "next_deadline", lambda self: None if self.state is LinkState.BACKING_OFF else genuine(self)
    )


def link_that_hears_no_silence(patch: Patch) -> None:
    """Missing audio is never a fault."""
    patch.setattr(Arrival, "fault_at", lambda _self, _path: None)


def backend_that_fights(patch: Patch) -> None:
    """A place that somebody took is taken back at once, whoever the phone is with."""
    patch.setitem(DECISIONS, LossReason.SUPERSEDED, replace(DECISIONS[LossReason.SUPERSEDED], doubt=False))
    instead(patch, audio_link.TABLE, AudioLink._release, AudioLink._broke)
    patch.setattr(Backoff, "next_delay", lambda _self, **_: 0.2)


def phone_that_misses_no_answer(patch: Patch) -> None:
    """A half-open socket is taken for a good one."""
    patch.setattr(phone_socket, "SILENCE", 1e9)


def phone_that_is_seldom_present(patch: Patch) -> None:
    """In the phone's shell: a phone in which nobody speaks says so each 6 s."""
    patch.setattr(Routes, "presence_due", lambda _self, **_: 6.0)


def phone_that_never_hangs_up(patch: Patch) -> None:
    """In the phone's shell: a socket that the machine gave up stays open."""

    async def nothing(*_: Any) -> None:
        pass

    patch.setattr(PhoneLinkShell, "_hang_up", nothing)


def session_that_leaves_its_link(patch: Patch) -> None:
    """The end of a session does not give up its place."""

    async def nothing(_self: UserSession) -> None:
        pass

    patch.setattr(UserSession, "close", nothing)


def bridge_that_resumes(patch: Patch) -> None:
    """It sits in the room with the bare SDK, whose own repair steals the user from a successor (traps B3)."""

    def bare(*args: Any, **options: Any) -> Place:
        return Place(*args, **{**options, "resumes": True, "watchful": False})

    patch.setattr(bridge, "Place", bare)


def bridge_that_fails_when_it_is_asked(patch: Patch) -> None:
    """GetStatus raises: its caller learns nothing."""

    async def fail(*_: Any) -> None:
        raise RuntimeError("of a mutation")

    patch.setattr(BridgeService, "GetStatus", fail)


def room_whose_timer_never_rings(patch: Patch) -> None:
    """The machine has a deadline, and its shell does not keep it."""
    patch.setattr(DirectShell, "_arm", lambda _self: None)


def span_without_a_bound(patch: Patch) -> None:
    """Each moment of a fault is kept, however long it lasts: 7 MB a session in a day without LiveKit."""
    patch.setattr(traces, "FIRST_EVENTS", 10**9)


MUTATIONS: list[tuple[Callable[[Patch], None], Checker, list[Schedule]]] = [
    (grace_of_61_seconds, Checker.GRACE, ANY),
    (room_that_obeys_the_past, Checker.ONE_OWNER, LATE_JOIN),
    (room_without_end, Checker.DEADLOCK, CLOUD_DIES),
    (session_that_leaves_its_link, Checker.RELEASED, ANY),
    (link_that_says_it_is_live, Checker.TRUTH, BRIDGE_DIES),
    (link_that_hears_no_silence, Checker.TRUTH, MEDIA_STOPS),
    (phone_that_misses_no_answer, Checker.TRUTH, HALF_OPEN),
    (phone_that_is_seldom_present, Checker.SETTLED, ANY),
    (phone_that_never_hangs_up, Checker.CALM, BACK_AND_FORTH),
    (link_without_retry, Checker.DEADLOCK, BRIDGE_DIES),
    (link_without_retry, Checker.SETTLED, BRIDGE_DIES),
    (backend_that_fights, Checker.CALM, MOVED_UNSEEN),
    (bridge_that_resumes, Checker.SETTLED, STALE_OWNER),
    (bridge_that_fails_when_it_is_asked, Checker.FAILS, ANY),
    (room_whose_timer_never_rings, Checker.RELEASED, UNCLAIMED),
    (span_without_a_bound, Checker.BOUNDED, CRASH_LOOP),
]


@pytest.mark.parametrize(
    ("defect", "checker", "schedules"),
    MUTATIONS,
    ids=lambda value: value.name.lower() if isinstance(value, Checker) else getattr(value, "__name__", "in"),
)
def test_defect_is_found(
    defect: Callable[[Patch], None], checker: Checker, schedules: list[Schedule], monkeypatch: Patch
) -> None:
    defect(monkeypatch)
    for tried, schedule in enumerate(schedules, 1):
        if run(schedule).violates(checker):
            print(f"{defect.__name__}: found by {checker.value!r} in schedule {tried}")
            return
    pytest.fail(f"{defect.__name__}: {checker.value!r} found nothing in {len(schedules)} schedules")


def test_a_crash_loop_keeps_a_bounded_trace() -> None:
    assert not run(CRASH_LOOP[0]).violations


@pytest.mark.parametrize(
    "schedules", [BACK_AND_FORTH, BRIDGE_DIES, CLOUD_DIES, HALF_OPEN, LATE_JOIN, MEDIA_STOPS, STALE_OWNER]
)
def test_without_a_defect_they_are_silent(schedules: list[Schedule]) -> None:
    for schedule in schedules[:5]:
        assert [str(violation) for violation in run(schedule).violations] == []
