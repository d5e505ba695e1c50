"""Who somebody is comes from the token alone: nothing that a client writes opens another user's session or room."""

from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any

import aiohttp
import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.livekit.tokens import TokenError, verify
from tests.cloud.conftest import KEYS, SECRET, Stage
from tests.support.poll import eventually, stays

Begin = Callable[..., Awaitable[Stage]]
ANN, BOB, EVE = "ann@example.com", "bob@example.com", "eve@example.com"


def headers(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_core_token(user_id(user), SECRET, 60)}"}


@pytest.mark.parametrize(("user", "other"), list(permutations((ANN, BOB, EVE), 2)))
async def test_a_ticket_is_for_ones_own_room_whatever_is_asked_for(stage: Begin, user: str, other: str) -> None:
    """Check 10: the cross product of users and rooms."""
    built = await stage()
    asked = {"user": other, "room": other, "identity": other, "userId": other, "email": other, "sub": other}
    claimed = headers(user) | {"x-user-id": other, "x-session-id": other, "X-Forwarded-User": other}
    path = f"{built.url}/api/client/livekit/token"
    async with built.http.get(path, params=asked, headers=claimed) as answer:
        data = (await answer.json())["data"]
    claims = verify(data["token"], KEYS)
    assert (claims.identity, claims.room) == (user, user)
    assert not any((claims.admin, claims.list_rooms, claims.create_rooms))
    phone = await built.socket(user, query=f"?livekit=true&user={other}&userId={other}", headers={"x-user-id": other})
    told = await phone.until("connection_ack")
    assert told["sessionId"].startswith(user) or other not in told["sessionId"]
    assert verify(told["livekit"]["token"], KEYS).room == user


async def test_another_users_session_is_neither_seen_nor_steered(stage: Begin) -> None:
    """Check 12: a session belongs to the user of the token. Knowing its id is worth nothing."""
    built = await stage()
    ann = await built.phone(ANN)
    session = (await ann.until("connection_ack"))["sessionId"]
    eve = await built.phone(EVE)
    for message in (
        {"type": "start_app", "packageName": "com.example.test-app", "sessionId": session, "userId": ANN},
        {"type": "connection_init", "sessionId": session, "userId": ANN, "coreToken": "x"},
        {"type": "stop_app", "packageName": "com.example.test-app", "sessionId": session},
    ):
        await eve.say(**message)
    await stays(lambda: not ann.socket.closed, 0.3)
    assert built.cloud.sessions.active == 2
    for path in (f"/api/transcripts/{session}", f"/api/transcripts/{ANN}-com.example.test-app"):
        async with built.http.get(f"{built.url}{path}", headers=headers(EVE)) as answer:
            body = await answer.text()
            assert answer.status == 403
            assert ANN not in body
    async with built.http.get(f"{built.url}/api/transcripts/{session}") as answer:
        assert answer.status == 401


async def test_a_session_is_over_for_good_once_it_was_ended(stage: Begin) -> None:
    """A phone that comes back later gets a new session; an old id revives none."""
    built = await stage(grace=0.2)
    ann = await built.phone(ANN)
    first = (await ann.until("connection_ack"))["sessionId"]
    await ann.socket.close()
    await eventually(lambda: built.cloud.sessions.active == 0)
    again = await built.phone(ANN, query=f"?sessionId={first}")
    told = await again.until("connection_ack")
    assert told["sessionId"] != first
    assert not told.get("resumed")


async def test_a_ticket_of_one_server_is_none_for_another() -> None:
    from glassbridge.livekit.tokens import LiveKitKeys, phone_token

    token = phone_token(KEYS, user=user_id(ANN), room=ANN, ttl=60)
    with pytest.raises(TokenError):
        verify(token, LiveKitKeys(KEYS.api_key, "another-secret-of-the-same-length-0123"))


async def test_who_is_online_is_not_told_to_strangers(stage: Begin) -> None:
    """The same words, whether or not somebody of that name is here."""
    built = await stage()
    await built.phone(ANN)

    async def asked(user: str) -> tuple[int, Any]:
        path = f"{built.url}/api/transcripts/{user}"
        async with built.http.get(path, headers=headers(EVE)) as answer:
            return answer.status, (await answer.json())["error"]

    assert await asked(ANN) == await asked("nobody@example.com")
    assert isinstance(built.http, aiohttp.ClientSession)
