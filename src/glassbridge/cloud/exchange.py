"""`/auth/exchange-token`: a core token for a token of the login service, as the original's phones ask for one.

A core token is never exchanged: a stolen one would live for ever. Refused tokens are counted against their address,
core tokens that are given against their user; beyond that nothing is verified.
"""

import math
from typing import Final

import msgspec
import structlog
from aiohttp import web

from glassbridge.cloud.answers import refuse, success
from glassbridge.cloud.auth import CoreTokenError, mint_core_token
from glassbridge.cloud.body import expect_later, read_body
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.tokens import CoreTokens
from glassbridge.core.addresses import subject_of
from glassbridge.core.allowance import Allowances
from glassbridge.runtime.world import World
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import sign_in
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

PATHS: Final = ("/auth/exchange-token", "/api/auth/exchange-token")
MAX_BODY: Final = 16 << 10
BODY_TIME: Final = 5.0


class LoginToken(msgspec.Struct, rename="camel"):
    """A token of the login service, by the name that the phone has for it: one of the two."""

    supabase_token: str = ""
    authing_token: str = ""

    @property
    def shown(self) -> str:
        """The one that is there."""
        return self.supabase_token or self.authing_token


class Exchange:
    """The handler. `tokens` is borrowed."""

    def __init__(self, config: CloudConfig, tokens: CoreTokens, world: World) -> None:
        self._config = config
        self._tokens = tokens
        self._clock = world.monotonic
        self._wrong = Allowances(config.exchange.wrong_per_address)
        self._given = Allowances(config.exchange.per_user)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        for path in PATHS:
            router.add_post(path, self.exchange, expect_handler=expect_later)

    async def exchange(self, request: web.Request) -> web.Response:
        """A core token for a token of the login service."""
        if not self._tokens.exchanges:
            return refuse(Rejection.EXCHANGE_DISABLED)
        peer, now = subject_of(request.remote or ""), self._clock()
        if (wait := self._wrong.wait(peer, now)) > 0.0:
            return _too_many(wait)
        body = await read_body(request, most=MAX_BODY, within=BODY_TIME)
        try:
            shown = msgspec.json.decode(body, type=LoginToken).shown
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            shown = ""
        if not shown:
            return refuse(Rejection.BODY_WRONG, form='{"supabaseToken": "..."} or {"authingToken": "..."}')
        try:
            user = (await self._tokens.verify_login(shown)).user
        except CoreTokenError as error:
            if error.status == 401:
                self._wrong.of(peer, now).take(now)
            log.info("login token refused", code=error.code, peer=request.remote)
            raise
        sign_in(request)
        bucket, now = self._given.of(user, now), self._clock()
        if not bucket.take(now):
            return _too_many(bucket.wait(now))
        config = self._config
        life = min(config.exchange.life, config.token_max_life or math.inf)
        told = {"coreToken": mint_core_token(user, config.keys.core[0], life)}
        log.info("core token minted", user_id=user, seconds=int(life))
        return success(told, beside=told, headers={"Cache-Control": "no-store"})


def _too_many(wait: float) -> web.Response:
    metrics.REFUSALS.add("exchange")
    seconds = math.ceil(wait)
    return refuse(Rejection.TOO_OFTEN, {"Retry-After": str(seconds)}, seconds=seconds)
