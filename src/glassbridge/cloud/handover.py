"""Hand-over between clouds: a small server on an internal address, and the client that asks such servers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from glassbridge.cloud.body import BodyError, expect_later, read_body
from glassbridge.core.connections import ConnectionLimits
from glassbridge.core.ownership import Claim, Owner
from glassbridge.core.values import UserId
from glassbridge.runtime.answers import read_all
from glassbridge.runtime.listen import CannotListen, cannot_listen
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry.listener import Gate, HttpListener, sign_in
from glassbridge.wire import cluster as wire

log = structlog.get_logger()

HAND_OVER_TIME: Final = 0.3
"""Seconds that a new owner waits for a former one to answer,"""
EACH: Final = 0.01
"""and so many more for each user that is asked for at once."""
TURN_TIME: Final = 2.0
"""Seconds that a question waits in all, when many phones come at once."""
LATE_TIME: Final = 5.0
"""Seconds within which a former owner may still answer; the session goes on without it meanwhile. A busy cloud takes
long, one that has not answered for as long as a lease lasts is dead."""
MOST_ASKED: Final = 64
"""Nodes that are asked at a time while the directory is away, and requests to one node at a time."""
LIMITS: Final = ConnectionLimits(connections=8_192, per_address=2_048, sign_in_time=5.0)
"""Each socket of an app that another cloud relays is one."""

Give = Callable[[wire.HandOverRequest], Awaitable[wire.HandOver]]
"""Lets a user go to the new owner, within HAND_OVER_TIME."""
Relayed = Callable[[web.Request], Awaitable[web.StreamResponse]]
_decoder = msgspec.json.Decoder(wire.HandOverRequests)
_answers = msgspec.json.Decoder(list[msgspec.Raw])
_answer = msgspec.json.Decoder(wire.HandOver)
Late = Callable[[wire.HandOver], None]
"""Gets what a former owner hands over after the new one has begun without it."""


class _Question:
    """To one cloud, about one user."""

    def __init__(self, request: wire.HandOverRequest, hear: Callable[[wire.HandOver | None], None]) -> None:
        self.request = request
        self._hear = hear
        self.waited_for: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is answered, or overdue."""

    def overdue(self) -> None:
        """The answer is not awaited any longer; it may still come."""
        if not self.waited_for.done():
            self.waited_for.set_result(None)

    def answer(self, handed: wire.HandOver | None) -> None:
        """None: there is no answer, and none will come."""
        self._hear(handed)
        self.overdue()


class _Search:
    """For the session of one user: which clouds were asked, and what they answered."""

    def __init__(self, claim: Claim, late: Late) -> None:
        self.claim = claim
        self.asked: set[Owner] = {claim.owner}
        self.hints: list[Owner] = []
        """Clouds that those which were asked first have named; to be asked too."""
        self.found: list[wire.HandOver] = []
        self.silent: set[Owner] = set()
        """Asked, and may still answer."""
        self.over = False
        """The new owner goes on; later answers are late."""
        self._late = late

    def heard(self, answer: wire.HandOver, *, follows: bool) -> None:
        """`follows`: what the cloud names is asked, too."""
        hint = Owner(answer.node, answer.incarnation, answer.address)
        if follows and hint.address and hint not in self.asked:
            self.hints.append(hint)
        if answer.session:
            (self._late if self.over else self.found.append)(answer)


class HandOverServer:
    """Use as an async context. `secrets`: the first one signs, all of them verify."""

    def __init__(
        self, host: str, port: int, secrets: Sequence[str], give: Give, relayed: Relayed | None = None
    ) -> None:
        """`relayed` serves what other clouds relay (cloud/relay.py); None: nothing is."""
        self._host = host
        self.port = port
        """Where it listens; the one that was chosen when 0 was asked for."""
        self._secrets = secrets
        self._give = give
        app = web.Application(client_max_size=wire.MAX_REQUEST)
        app.router.add_post(wire.PATH, self._answer)
        if relayed is not None:
            app.router.add_route("*", "/{path:.*}", relayed, expect_handler=expect_later)
        self._listener = HttpListener(app, Gate(LIMITS), grace=0.5, access_log=None)

    @property
    def address(self) -> str:
        """host:port"""
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    async def __aenter__(self) -> "HandOverServer":
        """Raises CannotListen."""
        try:
            self.port = await self._listener.open(self._host, self.port)
        except OSError as error:
            raise CannotListen(cannot_listen(f"{self._host}:{self.port}", error)) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.close()

    async def _answer(self, request: web.Request) -> web.Response:
        signature = request.headers.get(wire.SIGNATURE_HEADER, "")
        try:
            body = bytes(await read_body(request, most=wire.MAX_REQUEST, within=HAND_OVER_TIME * 10))
        except BodyError as error:
            return web.Response(status=error.status)
        secret = wire.knows_request(body, signature, self._secrets)
        if secret is None:
            log.warning("hand-over refused", peer=request.remote, cause="no secret of ours has signed it")
            return web.Response(status=401)
        sign_in(request)
        try:
            asked = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return web.Response(status=400)
        answer = msgspec.json.encode(await asyncio.gather(*(self._give(each) for each in asked)))
        headers = {wire.SIGNATURE_HEADER: wire.sign_answer(answer, signature, secret)}
        return web.Response(body=answer, content_type="application/json", headers=headers)


class HandOverClient:
    """Use as an async context."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._http: aiohttp.ClientSession | None = None
        self._lines: dict[str, deque[_Question]] = {}
        """What waits to be asked of each cloud, by address."""
        self._searches: dict[UserId, _Search] = {}
        """The newest for each user, until all have answered."""
        self._tasks = TaskGroup("hand-over")

    async def __aenter__(self) -> "HandOverClient":
        connector = aiohttp.TCPConnector(limit=MOST_ASKED * 4, limit_per_host=MOST_ASKED)
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        if self._http is not None:
            await self._http.close()

    async def ask(
        self, claim: Claim, owners: Collection[Owner], late: Late = lambda _handed: None
    ) -> list[wire.HandOver]:
        """Asks all of these to let the user go, then those that they name; HAND_OVER_TIME for each. Returns the answers
        of those that have a session; `late` gets what comes afterwards, within LATE_TIME. Never raises; safe to
        cancel."""
        search = self._searches[claim.user] = _Search(claim, late)
        asked = [owner for owner in owners if owner.address][:MOST_ASKED]
        await _until_due([self._put(search, owner, follows=True) for owner in asked])
        if not search.found:
            await _until_due(self._follow(search))
        search.over = True
        self._follow(search)
        self._forget(search)
        return search.found

    def silent(self, user: UserId) -> frozenset[Owner]:
        """Clouds that were asked for this user and may still answer."""
        search = self._searches.get(user)
        return frozenset() if search is None else frozenset(search.silent)

    def _follow(self, search: _Search) -> list[_Question]:
        """Asks the clouds that were named; what these name is not asked."""
        hints, search.hints = search.hints[:MOST_ASKED], []
        return [self._put(search, owner, follows=False) for owner in hints if owner not in search.asked]

    def _forget(self, search: _Search) -> None:
        if not search.silent and self._searches.get(search.claim.user) is search:
            del self._searches[search.claim.user]

    def _put(self, search: _Search, owner: Owner, *, follows: bool) -> _Question:
        """Asks a cloud in its turn: users that come during a request are in the next one."""
        claim = search.claim
        request = wire.HandOverRequest(
            user=claim.user,
            asked=owner.incarnation,
            node=claim.owner.node,
            incarnation=claim.owner.incarnation,
            address=claim.owner.address,
            epoch=claim.epoch,
            phone=claim.phone,
            attempt=claim.attempt,
        )
        search.asked.add(owner)
        search.silent.add(owner)
        question = _Question(request, partial(self._hear, search, owner, follows))
        line = self._lines.get(owner.address)
        if line is None:
            line = self._lines[owner.address] = deque()
            self._tasks.spawn(self._send(owner.address, line), f"ask:{owner.address}")
        line.append(question)
        return question

    def _hear(self, search: _Search, owner: Owner, follows: bool, answer: wire.HandOver | None) -> None:
        search.silent.discard(owner)
        if answer is not None:
            search.heard(answer, follows=follows)
        if search.over:
            self._follow(search)
            self._forget(search)

    async def _send(self, address: str, line: deque[_Question]) -> None:
        """Sends what waits, until nothing does. Once one request is not answered in time, nobody waits for those
        behind it, which are asked all the same."""
        is_slow = False
        try:
            while line:
                asked = [line.popleft() for _ in range(min(len(line), wire.MOST_AT_ONCE))]
                request = self._tasks.spawn(self._request(address, asked), f"request:{address}")
                if not is_slow:
                    await asyncio.wait({request}, timeout=HAND_OVER_TIME + EACH * len(asked))
                    is_slow = not request.done()
                for question in (*asked, *line) if is_slow else ():
                    question.overdue()
        finally:
            del self._lines[address]

    async def _request(self, address: str, asked: list[_Question]) -> None:
        answers = await self._post(address, [question.request for question in asked])
        for at, question in enumerate(asked):
            question.answer(None if answers is None else answers[at])

    async def _post(self, address: str, asked: list[wire.HandOverRequest]) -> list[wire.HandOver | None] | None:
        """None: not answered within LATE_TIME, or not as it should be; of one user: it cannot be read. Never raises."""
        if self._http is None:
            raise RuntimeError("enter the client first")
        body, secret = msgspec.json.encode(asked), self._secrets[0]
        signature = wire.sign_request(body, secret)
        about = log.bind(node=address, users=len(asked))
        headers = {wire.SIGNATURE_HEADER: signature, "Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(LATE_TIME),
                self._http.post(f"http://{address}{wire.PATH}", data=body, headers=headers) as answer,
            ):
                if answer.status != 200:
                    about.warning("hand-over failed", status=answer.status)
                    return None
                said = await read_all(answer.content, wire.MAX_ANSWER)
                if not wire.knows_answer(said, signature, answer.headers.get(wire.SIGNATURE_HEADER, ""), secret):
                    about.warning("hand-over failed", error="the answer is not signed with our secret")
                    return None
                found = _answers.decode(said)
                handed = [_read_answer(one) for one in found]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            about.warning("hand-over failed", error=type(error).__name__)
            return None
        if None in handed:
            about.warning(
                "hand-over failed", error="what is told of some users cannot be read", count=handed.count(None)
            )
        return handed if len(found) == len(asked) else None


def _read_answer(said: msgspec.Raw) -> wire.HandOver | None:
    """None: it cannot be read, which says nothing of other users."""
    try:
        return _answer.decode(said)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


async def _until_due(questions: Iterable[_Question]) -> None:
    """Returns when each is answered or overdue, within TURN_TIME."""
    if waited_for := {question.waited_for for question in questions}:
        await asyncio.wait(waited_for, timeout=TURN_TIME)
