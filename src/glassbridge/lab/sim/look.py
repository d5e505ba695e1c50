"""Looks at the system while it runs: what waits for nothing, what has settled, what is left."""

from glassbridge.cloud.session import UserSession
from glassbridge.core.values import UserId, agent_identity
from glassbridge.lab.sim.schedule import User
from glassbridge.lab.sim.system import System
from glassbridge.lab.sim.verdict import Checker, Verdict


class Look:
    """At one system, between two moments."""

    def __init__(self, system: System, verdict: Verdict) -> None:
        self._system = system
        self._verdict = verdict
        self._stuck: set[tuple[str, str, str]] = set()

    def at_any_time(self) -> None:
        """Nobody waits for ever: what was stuck the last time is not stuck now."""
        stuck = set(self._system.stuck())
        for where, user, why in sorted(stuck & self._stuck):
            self._verdict.add(Checker.DEADLOCK, user, f"{where}: {why}")
        self._stuck = stuck

    def when_settled(self) -> None:
        """Each phone has one session, one place, one bridge, and is heard."""
        for user in self._system.schedule.users:
            for wrong in self._unsettled(user):
                self._verdict.add(Checker.SETTLED, user.name, wrong)

    def at_the_end(self) -> None:
        """Nothing of anybody is left."""
        for what in self._system.left_over():
            self._verdict.add(Checker.RELEASED, "", what)

    def _unsettled(self, user: User) -> list[str]:
        name = UserId(user.name)
        sessions = [session for cloud in self._system.clouds for session in cloud.sessions if session.user == name]
        active = [session for session in sessions if session.has_phone]
        if len(active) != 1:
            return [f"{len(active)} sessions have the phone"]
        wrong = []
        phone = self._system.phones[user.name]
        if not phone.is_live:
            wrong.append("the phone is not told that it is live")
        return wrong + (self._unsettled_room(name, active[0]) if user.room else [])

    def _unsettled_room(self, user: UserId, session: UserSession) -> list[str]:
        wrong = []
        link = session.link
        if link.state.label != "live":
            wrong.append(f"its link is {link.state.label}, not live")
        members = sorted(self._system.livekit.members(user))
        if members != sorted([agent_identity(user), user]):
            wrong.append(f"in its room are {members}")
        places = [
            host.machine.generation
            for worker in self._system.workers
            if (host := worker.host(user)) is not None and host.machine.state.holds_place and host.stream
        ]
        if places != [link.generation]:
            wrong.append(f"bridges hold the places {places}, the session wants {link.generation}")
        return wrong
