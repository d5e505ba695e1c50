"""Hand-over between clouds: a small server on an internal address, and the client that asks such servers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from glassbridge.cloud.body import BodyError, read_body
from glassbridge.core.connections import ConnectionLimits
from glassbridge.core.ownership import Claim, Owner
from glassbridge.runtime.listen import CannotListen, cannot_listen
from glassbridge.telemetry.listener import Gate, Listener, sign_in
from glassbridge.wire import cluster as wire

log = structlog.get_logger()

HAND_OVER_TIME: Final = 0.3
"""Seconds that a new owner waits for former ones, in all."""
MOST_ASKED: Final = 64
"""Nodes that are asked at a time while the directory is away."""
LIMITS: Final = ConnectionLimits(connections=1_024, per_address=512, sign_in_time=5.0)

Give = Callable[[wire.HandOverRequest], Awaitable[wire.HandOver]]
"""Lets a user go to the new owner, within HAND_OVER_TIME."""
_decoder = msgspec.json.Decoder(wire.HandOverRequest)
_answers = msgspec.json.Decoder(wire.HandOver)


class HandOverServer:
    """Use as an async context. `secrets`: the first one signs, all of them verify."""

    def __init__(self, host: str, port: int, secrets: Sequence[str], give: Give) -> None:
        self._host = host
        self.port = port
        """Where it listens; the one that was chosen when 0 was asked for."""
        self._secrets = secrets
        self._give = give
        app = web.Application(client_max_size=wire.MAX_REQUEST)
        app.router.add_post(wire.PATH, self._answer)
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
        answer = msgspec.json.encode(await self._give(asked))
        headers = {wire.SIGNATURE_HEADER: wire.sign_answer(answer, signature, secret)}
        return web.Response(body=answer, content_type="application/json", headers=headers)


class HandOverClient:
    """Use as an async context."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "HandOverClient":
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=MOST_ASKED * 4)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
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
        if self._http is None:
            raise RuntimeError("enter the client first")
        body = msgspec.json.encode(
            wire.HandOverRequest(
                user=claim.user,
                asked=owner.incarnation,
                node=claim.owner.node,
                incarnation=claim.owner.incarnation,
                address=claim.owner.address,
                epoch=claim.epoch,
                phone=claim.phone,
                attempt=claim.attempt,
            )
        )
        signature = wire.sign_request(body, self._secrets[0])
        about = log.bind(user_id=claim.user, node=owner.node, epoch=claim.epoch)
        headers = {wire.SIGNATURE_HEADER: signature, "Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(HAND_OVER_TIME),
                self._http.post(f"http://{owner.address}{wire.PATH}", data=body, headers=headers) as answer,
            ):
                if answer.status != 200:
                    about.warning("hand-over failed", status=answer.status)
                    return None
                said = await _read(answer)
                signed = answer.headers.get(wire.SIGNATURE_HEADER, "")
                if not wire.knows_answer(said, signature, signed, self._secrets[0]):
                    about.warning("hand-over failed", error="the answer is not signed with our secret")
                    return None
                return _answers.decode(said)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            about.warning("hand-over failed", error=type(error).__name__)
            return None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Raises ValueError: too long."""
    said = bytearray()
    async for piece in answer.content.iter_chunked(64 << 10):
        said += piece
        if len(said) > wire.MAX_ANSWER:
            raise ValueError("the answer is too long")
    return bytes(said)
