"""The checkers can fail: each defect, put into a program, is found by the checker that is named, within a few seeds."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from glassbridge.app import socket as app_socket
from glassbridge.app.link import CloudLink
from glassbridge.app.server import AppServer
from glassbridge.app.session import Session
from glassbridge.cloud import transcripts
from glassbridge.cloud.apps import uploads
from glassbridge.cloud.apps.sockets import AppSockets
from glassbridge.cloud.apps.user_apps import UserApps
from glassbridge.cloud.body import read_body
from glassbridge.core import app_session, subscriptions
from glassbridge.core.app_session import AppState, PhoneAway, PhoneSpoke, StopReason
from glassbridge.core.machine import Ignored
from glassbridge.lab.weeks.chaos import Plan
from glassbridge.lab.weeks.ledger import Checker
from glassbridge.lab.weeks.week import play
from glassbridge.runtime.tasks import TaskGroup

Patch = pytest.MonkeyPatch
BY_NAME = 0, 2, 4
BALANCED = 1, 3, 5


def stays_on_the_old_socket(patch: Patch) -> None:
    """C1: an SDK that only notes the address while a socket lives."""

    def connect_to(self: CloudLink, url: str, cloud: str = "") -> bool:
        self._url = url
        self._called.set()
        return False

    patch.setattr(CloudLink, "connect_to", connect_to)


def revives_in_grace(patch: Patch) -> None:
    """C2: an old cloud asks for apps whose user has left."""
    for state in (AppState.STARTING, AppState.RUNNING, AppState.GRACE, AppState.REVIVING):
        patch.setitem(app_session.TABLE, (state, PhoneAway), Ignored("broken"))
    patch.setattr(CloudLink, "_release", lambda _self, socket: socket.close(1000))


def waits_for_nobody(patch: Patch) -> None:
    """An app that was called away while its user stayed is not missed for 40 s."""
    patch.setitem(app_session.TABLE, (AppState.GRACE, PhoneSpoke), Ignored("broken"))


def forgets_a_new_start(patch: Patch) -> None:
    """Stopped and started anew within a moment: the stop ends both."""
    opens = AppServer._open

    def deaf_while_it_ends(self: AppServer, asked: Any) -> Any:
        session = self._sessions.get(asked.session_id)
        return web.Response() if session is not None and session.is_over else opens(self, asked)

    patch.setattr(Session, "asked_again", property(lambda _self: False))
    patch.setattr(AppServer, "_open", deaf_while_it_ends)


def stays_behind_a_silent_relay(patch: Patch) -> None:
    """An app that waits for a cloud that relays its socket and has gone without a word."""
    patch.setattr(app_socket, "SILENCE", 60.0)


def ends_apps_at_sigterm(patch: Patch) -> None:
    """A cloud that stops tells apps that their user has."""
    close = UserApps.close
    patch.setattr(UserApps, "close", lambda self, _reason: close(self, StopReason.SYSTEM))


def begins_each_time(patch: Patch) -> None:
    """Each webhook begins another session of the same user."""
    opens = AppServer._open

    def afresh(self: AppServer, asked: Any) -> Any:
        self._sessions.pop(asked.session_id, None)
        return opens(self, asked)

    patch.setattr(AppServer, "_open", afresh)


def says_twice(patch: Patch) -> None:
    """Each sentence reaches an app twice."""
    send = UserApps._send

    def twice(self: UserApps, *about: Any, **kept: Any) -> None:
        send(self, *about, **kept)
        send(self, *about, **kept)

    patch.setattr(UserApps, "_send", twice)


def fails_while_it_serves(patch: Patch) -> None:
    """Now and then a sentence makes the handler of the phone's socket fail; only aiohttp hears of it."""
    send, sent = UserApps._send, count(1)

    def fail(self: UserApps, *about: Any, **kept: Any) -> None:
        if not next(sent) % 50:
            raise RuntimeError("of a mutation")
        send(self, *about, **kept)

    patch.setattr(UserApps, "_send", fail)


def keeps_its_sessions(patch: Patch) -> None:
    """An app's server that forgets no session."""
    keep = AppServer._keep

    async def for_ever(self: AppServer, session: Session, tasks: TaskGroup) -> None:
        await keep(self, session, tasks)
        self._sessions[f"{session.session_id} {id(session)}"] = session

    patch.setattr(AppServer, "_keep", for_ever)


def keeps_all_subscriptions(patch: Patch) -> None:
    """One list of subscriptions, each with an own work: a megabyte of it stalled the loop for a second."""
    patch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 10**9)


def keeps_all_that_is_said(patch: Patch) -> None:
    """Texts of a session without a bound: 150 messages took 150 MB."""
    patch.setattr(transcripts, "MOST_BYTES", 10**12)


def waits_for_uploads_for_ever(patch: Patch) -> None:
    """An upload that does not go on stays open."""

    def read(request: Any, *, most: int, within: float) -> Any:
        return read_body(request, most=most, within=within * 10**6)

    patch.setattr(uploads, "read_body", read)


EXCESS: list[tuple[Callable[[Patch], None], Checker, tuple[int, ...]]] = [
    (keeps_all_subscriptions, Checker.BOUNDED, BY_NAME),
    (keeps_all_that_is_said, Checker.BOUNDED, BY_NAME),
    (waits_for_uploads_for_ever, Checker.BOUNDED, BY_NAME),
]
"""Found where peers send more than their share."""
QUICK: list[tuple[Callable[[Patch], None], Checker, tuple[int, ...]]] = [
    (stays_on_the_old_socket, Checker.DEAF, BY_NAME),
    (begins_each_time, Checker.ONE, BY_NAME),
    (says_twice, Checker.ONCE, BY_NAME),
    (keeps_its_sessions, Checker.GROWS, BY_NAME[:1]),
]
RARE: list[tuple[Callable[[Patch], None], Checker, tuple[int, ...]]] = [
    (revives_in_grace, Checker.DEAF, BY_NAME),
    (waits_for_nobody, Checker.DEAF, BY_NAME),
    (forgets_a_new_start, Checker.STARTS, BY_NAME),
    (stays_behind_a_silent_relay, Checker.DEAF, BALANCED),
    (ends_apps_at_sigterm, Checker.STOPPED, BY_NAME),
    (fails_while_it_serves, Checker.FAILS, BY_NAME),
]
UNHEARD: dict[Callable[[Patch], None], tuple[pytest.MarkDecorator, ...]] = {
    fails_while_it_serves: (pytest.mark.unheard,)
}
MUTATIONS = [
    *(pytest.param(*one, id=one[0].__name__) for one in (*QUICK, *EXCESS)),
    *(pytest.param(*one, id=one[0].__name__, marks=(pytest.mark.slow, *UNHEARD.get(one[0], ()))) for one in RARE),
]


def plan(seed: int, checker: Checker | None = None, *, excess: bool = False) -> Plan:
    """Some minutes; what grows is judged when they are over, and a few are enough."""
    return Plan(
        seed=seed,
        days=(0.1 if checker is Checker.GROWS else 0.3) / 24,
        users=4 if excess else 8,
        speaks=100.0,
        excess=excess,
    )


def test_peers_that_send_too_much_cost_nobody_anything() -> None:
    outcome = play(Plan(seed=1, days=0.1 / 24, users=3, speaks=100.0, excess=True))
    assert outcome.violations == []
    assert outcome.counts["heard"] > 500


@pytest.mark.parametrize(("mutation", "checker", "seeds"), MUTATIONS)
def test_a_defect_is_found(mutation: Callable[[Patch], None], checker: Checker, seeds: tuple[int, ...]) -> None:
    plans = [plan(seed, checker, excess=(mutation, checker, seeds) in EXCESS) for seed in seeds]
    with pytest.MonkeyPatch.context() as patch:
        mutation(patch)
        assert any(play(plan, until=checker).violates(checker) for plan in plans)


def keeps_each_socket(patch: Patch) -> None:
    """Something small of each socket stays."""
    kept: list[Any] = []
    attend = AppSockets._attend

    async def keep(self: AppSockets, socket: Any, transport: Any, found: Any) -> None:
        kept.append(socket)
        await attend(self, socket, transport, found)

    patch.setattr(AppSockets, "_attend", keep)


@pytest.mark.slow
def test_what_grows_with_the_days_is_found() -> None:
    plan = Plan(seed=0, days=3.0, users=6, speaks=1.0)
    assert not play(plan).violates(Checker.GROWS)
    with pytest.MonkeyPatch.context() as patch:
        keeps_each_socket(patch)
        assert play(plan, until=Checker.GROWS).violates(Checker.GROWS)
