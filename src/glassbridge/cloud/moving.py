"""Sends users to other clouds: all of them when this one stops, some when it has more than its share (core/moving.py).

A phone that is sent away comes back at once, and the balancer brings it to a cloud that is ready. That cloud claims the
user and asks for the session. Until then the session waits here, with its apps.
"""

import asyncio
from collections.abc import Callable, Collection
from operator import attrgetter

import structlog

from glassbridge.cloud.session import DRAINING, UserSession
from glassbridge.cluster.directory import Node
from glassbridge.core.moving import REST, pace, surplus
from glassbridge.core.ownership import NodeState, Role
from glassbridge.telemetry import metrics
from glassbridge.wire.close_codes import CloseCode

log = structlog.get_logger()

HANDED_OVER = 0.75
"""The part of the time of a drain in which other clouds may take the sessions."""


async def send_all_away(
    clock: Callable[[], float],
    sessions: Callable[[], Collection[UserSession]],
    empty: asyncio.Event,
    within: float,
    *,
    has_successor: bool,
) -> None:
    """Returns when no session is left, after `within` seconds at most. Other clouds take them, if there are any; those
    that are left then end."""
    begun = clock()
    steps: list[tuple[float, Callable[[UserSession], None]]] = [(begun + within, lambda session: session.end(DRAINING))]
    if has_successor:
        steps.insert(0, (begun + within * HANDED_OVER, lambda session: session.send_away(CloseCode.DRAINING)))
    for until, send_away in steps:
        try:
            async with asyncio.timeout(max(0.0, until - clock())):
                await _one_by_one(clock, sessions(), send_away, until - clock())
                await empty.wait()
        except TimeoutError:
            pass


async def _one_by_one(
    clock: Callable[[], float],
    sessions: Collection[UserSession],
    send_away: Callable[[UserSession], None],
    within: float,
) -> None:
    """Those without a phone first, then those that do not speak."""
    between, next_at = pace(len(sessions), within), clock()
    for session in sorted(sessions, key=attrgetter("moves_easily"), reverse=True):
        send_away(session)
        if session.has_phone:
            next_at += between
            await asyncio.sleep(max(0.0, next_at - clock()))


def rebalance(sessions: Collection[UserSession], nodes: Collection[Node], here: str, most: int) -> None:
    """Sends some phones away if this cloud, the incarnation `here`, has more users than its share of all; `most` at a
    time."""
    others = [
        node.load
        for node in nodes
        if node.role is Role.CLOUD and node.state is NodeState.SERVING and node.owner.incarnation != here
    ]
    count = surplus(len(sessions), others, most)
    if not count:
        return
    movable = [session for session in sessions if session.has_phone and session.here_for > REST]
    for session in sorted(movable, key=attrgetter("moves_easily"), reverse=True)[:count]:
        log.info("user sent to another cloud", user_id=session.user, session_id=session.id, sessions=len(sessions))
        metrics.REBALANCED.add()
        session.send_away(CloseCode.DRAINING)
