"""Hand-over between clouds: a small server on an internal address, and the client that asks such servers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from glassbridge.cloud.body import BodyError, expect_later, read_body
from glassbridge.core.connections import ConnectionLimits
from glassbridge.core.ownership import Claim, Owner
from glassbridge.runtime.listen import CannotListen, cannot_listen
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry.listener import Gate, Listener, sign_in
from glassbridge.wire import cluster as wire

log = structlog.get_logger()

HAND_OVER_TIME: Final = 0.3
"""Seconds that a new owner waits for a former one to answer,"""
EACH: Final = 0.01
"""and so many more for each user that is asked for at once."""
TURN_TIME: Final = 2.0
"""Seconds that a question waits in all, when many phones come at once."""
MOST_ASKED: Final = 64
"""Nodes that are asked at a time while the directory is away."""
LIMITS: Final = ConnectionLimits(connections=8_192, per_address=2_048, sign_in_time=5.0)
"""Each socket of an app that another cloud relays is one."""

Give = Callable[[wire.HandOverRequest], Awaitable[wire.HandOver]]
"""Lets a user go to the new owner, within HAND_OVER_TIME."""
Relayed = Callable[[web.Request], Awaitable[web.StreamResponse]]
_decoder = msgspec.json.Decoder(wire.HandOverRequests)
_answers = msgspec.json.Decoder(list[wire.HandOver])
_Line = deque[tuple[wire.HandOverRequest, asyncio.Future[wire.HandOver | None]]]
"""Questions that wait to be asked of one cloud."""


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
        self._listener = Listener(app, Gate(LIMITS), grace=0.5, access_log=None)

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
        self._lines: dict[str, _Line] = {}
        """By address."""
        self._tasks = TaskGroup("hand-over")

    async def __aenter__(self) -> "HandOverClient":
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=MOST_ASKED * 4)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        if self._http is not None:
            await self._http.close()

    async def ask(self, claim: Claim, owners: Collection[Owner]) -> list[wire.HandOver]:
        """Asks all of these to let the user go, then those to whom they have given it; HAND_OVER_TIME for each. Returns
        the answers of those that have a session. Never raises; safe to cancel."""
        answers = await self._ask_all(claim, owners)
        if found := [answer for answer in answers if answer.session]:
            return found
        hints = {Owner(answer.node, answer.incarnation, answer.address) for answer in answers}
        answers = await self._ask_all(claim, hints - {claim.owner, *owners})
        return [answer for answer in answers if answer.session]

    async def _ask_all(self, claim: Claim, owners: Iterable[Owner]) -> list[wire.HandOver]:
        asked = [owner for owner in owners if owner.address][:MOST_ASKED]
        answers = await asyncio.gather(*(self._ask(claim, owner) for owner in asked))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, claim: Claim, owner: Owner) -> wire.HandOver | None:
        """Waits for its turn: what comes while a question is under way goes with the next one."""
        answer: asyncio.Future[wire.HandOver | None] = asyncio.get_running_loop().create_future()
        question = wire.HandOverRequest(
            user=claim.user,
            asked=owner.incarnation,
            node=claim.owner.node,
            incarnation=claim.owner.incarnation,
            address=claim.owner.address,
            epoch=claim.epoch,
            phone=claim.phone,
            attempt=claim.attempt,
        )
        line = self._lines.get(owner.address)
        if line is None:
            line = self._lines[owner.address] = deque()
            self._tasks.spawn(self._send(owner.address, line), f"ask:{owner.address}")
        line.append((question, answer))
        try:
            async with asyncio.timeout(TURN_TIME):
                return await answer
        except TimeoutError:
            return None

    async def _send(self, address: str, line: _Line) -> None:
        """Sends what waits, until nothing does. Behind a question that is not answered the others wait in vain."""
        try:
            while line:
                asked = [line.popleft() for _ in range(min(len(line), wire.MOST_AT_ONCE))]
                answers: Sequence[wire.HandOver | None] | None = await self._post(address, [each for each, _ in asked])
                if answers is None:
                    asked += line
                    line.clear()
                    answers = [None] * len(asked)
                for (_, future), answer in zip(asked, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            del self._lines[address]

    async def _post(self, address: str, asked: list[wire.HandOverRequest]) -> list[wire.HandOver] | None:
        """None: not answered, or not as it should be. Never raises."""
        if self._http is None:
            raise RuntimeError("enter the client first")
        body, secret = msgspec.json.encode(asked), self._secrets[0]
        signature = wire.sign_request(body, secret)
        about = log.bind(node=address, users=len(asked))
        headers = {wire.SIGNATURE_HEADER: signature, "Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(HAND_OVER_TIME + EACH * len(asked)),
                self._http.post(f"http://{address}{wire.PATH}", data=body, headers=headers) as answer,
            ):
                if answer.status != 200:
                    about.warning("hand-over failed", status=answer.status)
                    return None
                said = await _read(answer)
                if not wire.knows_answer(said, signature, answer.headers.get(wire.SIGNATURE_HEADER, ""), secret):
                    about.warning("hand-over failed", error="the answer is not signed with our secret")
                    return None
                found = _answers.decode(said)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            about.warning("hand-over failed", error=type(error).__name__)
            return None
        return found if len(found) == len(asked) else None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Raises ValueError: too long."""
    said = bytearray()
    async for piece in answer.content.iter_chunked(64 << 10):
        said += piece
        if len(said) > wire.MAX_ANSWER:
            raise ValueError("the answer is too long")
    return bytes(said)
