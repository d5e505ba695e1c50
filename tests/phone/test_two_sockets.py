"""Phones of one user at a real cloud: the newest stays, the others are told so and do not fight."""

import asyncio
from collections.abc import Awaitable, Callable

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.phone import PhoneClient
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.conftest import ANN, SECRET, Stage, grpc_is_here, stage
from tests.phone.scripted import Rooms
from tests.support.poll import eventually, stays

__all__ = ["grpc_is_here", "stage"]

PHONES = 50


async def test_of_fifty_phones_that_connect_at_once_one_survives(stage: Callable[..., Awaitable[Stage]]) -> None:
    built = await stage()
    rooms = [Rooms() for _ in range(PHONES)]
    token = mint_core_token(user_id(ANN), SECRET, 60)
    phones = [PhoneClient(built.url, token, lambda _: None, connect=held) for held in rooms]
    try:
        await asyncio.gather(*(phone.__aenter__() for phone in phones))

        def settled() -> bool | str:
            ended = [phone.ended for phone in phones if phone.ended is not None]
            return (len(ended) == PHONES - 1) or f"{len(ended)} have ended"

        await eventually(settled, within=20.0)
        await eventually(lambda: sum(phone.session is not None for phone in phones) == 1)
        messages = {phone.ended.message for phone in phones if phone.ended is not None}
        assert messages == {f"the cloud closed the connection: {CloseCode.SUPERSEDED.meaning}"}
        await eventually(lambda: sum(phone.room_joined for phone in phones) == 1)
        assert built.cloud.sessions.active == 1
        [survivor] = [phone for phone in phones if phone.ended is None]
        await stays(lambda: survivor.ended is None or "the survivor has ended", 1.0)
        assert survivor.ended is None
        assert survivor.session is not None, "and is left in peace"
    finally:
        await asyncio.gather(*(phone.close() for phone in phones))
