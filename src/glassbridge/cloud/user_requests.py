"""Requests that belong to a user, or to a sound: the cloud that has it serves them, whichever cloud they reach.

Rules
- A cloud that has the user's session serves the request itself. Nothing else is asked.
- Else the directory says which cloud owns the user, and the request is relayed there, once. While the directory is
  away, all clouds that were last known get it; those that do not have the user refuse it (MISPLACED).
- A cloud that was taken the user by another one says by which: the directory does not know of a move while it is away
  from either of them.
- A user may be moving: for FIND_TIME the owner is looked up again. After that the request is served here, which for
  most requests means that there is no session.
- A cloud that was asked may have died, or been frozen, without a word. Once the user is here, or with another cloud,
  its answer is waited for no longer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Set
from typing import Any, Final, Protocol

import structlog
from aiohttp import web

from glassbridge.cloud.answers import NoSession, refuse
from glassbridge.cloud.apps.forwarding import Forwarding, cloud_of_sound
from glassbridge.cloud.apps.uploads import PATH as SOUNDS_PATH
from glassbridge.cloud.body import BODY, read_body
from glassbridge.cloud.ownership import UserOwnership
from glassbridge.cloud.relay import RELAYED, RelayedAnswer, RequestRelay
from glassbridge.core.values import UserId
from glassbridge.runtime.tasks import cancelled
from glassbridge.telemetry import metrics
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

OF_USER: Final = frozenset({
    "/api/client/apps",
    "/apps/{package}/start",
    "/apps/{package}/stop",
    "/api/client/apps/{package}/start",
    "/api/client/apps/{package}/stop",
    "/appsettings/{package}",
    "/api/client/user/settings",
    "/api/client/user/settings/key/{key}",
    "/api/client/device/state",
    "/api/client/audio/configure",
    "/api/client/location",
    "/api/client/location/poll-response/{id}",
    "/api/client/calendar",
    "/api/client/notifications",
    "/api/client/notifications/dismissed",
    "/api/client/transcripts",
    "/api/transcripts/{session}",
})  # fmt: skip
"""Routes of which the core token names the user. Their bodies have at most MAX_BODY bytes."""
MAX_BODY: Final = 64 << 10
BODY_TIME: Final = 15.0
FIND_TIME: Final = 2.0
"""Seconds in which a user that is moving must be somewhere."""
LOOK_AGAIN: Final = 0.1
LOOK_FOR_MOVE: Final = 0.5
"""Seconds between two looks, while the owner is waited for, at who has the user."""
ANSWER_TIME: Final = 40.0
"""Seconds for an answer: an app may take 27 s to start."""
HINT: Final = "X-Glassbridge-Owner"
"""Of such an answer: the address of the cloud that has the user, if it is known."""
"""How a cloud answers a relayed request of a user that it does not have."""


class Sessions(Protocol):
    """Of this cloud."""

    keeper: UserOwnership

    def is_here(self, user: UserId) -> bool:
        """Whether this user has a session here."""

    def given_to(self, user: UserId) -> str:
        """The address of the cloud that has taken the user from this one; empty: none has, as far as is known."""

    async def settled(self, user: UserId) -> None:
        """Waits for a socket of the user that enters right now."""


class UserRequests:
    """`middleware` is that of the public application."""

    def __init__(
        self,
        sessions: Sessions,
        relay: RequestRelay,
        forwarding: Forwarding,
        user_of: Callable[[web.Request], Awaitable[UserId]],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self._relay = relay
        self._forwarding = forwarding
        self._user_of = user_of

    @web.middleware
    async def middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Serves the request where it belongs."""
        resource = request.match_info.route.resource
        path = "" if resource is None else resource.canonical
        if path.startswith(SOUNDS_PATH):
            address = self._forwarding.elsewhere(request, cloud_of_sound(request.rel_url.raw_path))
            if address:
                return await self._relay.stream(request, address, request.rel_url)
        elif path in OF_USER and self._sessions.keeper.shared:
            return await self._of_user(request, handler)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _of_user(self, request: web.Request, handler: Any) -> web.StreamResponse:
        user = await self._user_of(request)
        request[BODY] = await read_body(request, most=MAX_BODY, within=BODY_TIME)
        if RELAYED in request:
            await self._sessions.settled(user)
            if (answer := await self._if_here(request, handler, user)) is not None:
                return answer
            hint = {HINT: self._sessions.given_to(user)}
            return refuse(Rejection.MISPLACED, hint)
        until, last = self._clock() + FIND_TIME, self._clock() + ANSWER_TIME
        while not self._relay.is_relayed(request) and self._clock() < until:
            if (answer := await self._if_here(request, handler, user)) is not None:
                return answer
            owners, given_to = await self._sessions.keeper.owners_of(user), self._sessions.given_to(user)
            if owners is None and not given_to:
                break
            asked = {*(owners or ()), given_to} - {""}
            found, moved = await self._until_moved(request, user, asked)
            if found is not None:
                return found.response()
            if moved:
                until = min(last, self._clock() + FIND_TIME)
            await self._sessions.settled(user)
            if not self._sessions.is_here(user):
                await asyncio.sleep(LOOK_AGAIN)
        served: web.StreamResponse = await handler(request)
        return served

    async def _until_moved(
        self, request: web.Request, user: UserId, asked: Set[str]
    ) -> tuple[RelayedAnswer | None, bool]:
        """The answer of _elsewhere; whether the user was somewhere else before there was one."""
        told = asyncio.create_task(self._elsewhere(request, asked))
        moved = asyncio.create_task(self._move(user, asked))
        try:
            await asyncio.wait((told, moved), return_when=asyncio.FIRST_COMPLETED)
            return (told.result(), False) if told.done() else (None, True)
        finally:
            await cancelled(told, moved)

    async def _move(self, user: UserId, asked: Set[str]) -> None:
        """Returns once the user is here, or another cloud than these has it."""
        while True:
            await asyncio.sleep(LOOK_FOR_MOVE)
            owners = await self._sessions.keeper.owners_of(user)
            if self._sessions.is_here(user) or (owners and set(owners) - asked):
                return

    async def _if_here(self, request: web.Request, handler: Any, user: UserId) -> web.StreamResponse | None:
        """None: this cloud does not have the user, or has lost it meanwhile."""
        if not self._sessions.is_here(user):
            return None
        try:
            answer: web.StreamResponse = await handler(request)
        except NoSession:
            return None
        return answer

    async def _elsewhere(self, request: web.Request, addresses: Set[str]) -> RelayedAnswer | None:
        """The first answer of a cloud that has the user: of these, then of those that they name. None: none has."""
        hints: set[str] = set()
        found = await self._ask(request, addresses, hints)
        return found or await self._ask(request, hints - addresses, set())

    async def _ask(self, request: web.Request, owners: Set[str], hints: set[str]) -> RelayedAnswer | None:
        """The first answer of a cloud that has the user; `hints` gets what the others name."""
        body = bytes(request[BODY])
        asked = [asyncio.create_task(self._relay.whole(request, address, body, ANSWER_TIME)) for address in owners]
        try:
            for one in asyncio.as_completed(asked):
                answer = await one
                if answer is not None and answer.status == Rejection.MISPLACED.status:
                    hints |= {answer.headers.get(HINT, "")} - {""}
                elif answer is not None:
                    metrics.RELAYED.add("request")
                    return answer
            return None
        finally:
            await cancelled(*asked)
