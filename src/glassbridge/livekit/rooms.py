"""LiveKit's room service, as far as we use it: list a room's participants, remove one, delete a room."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from google.protobuf.message import DecodeError
from livekit.api.access_token import SIPGrants, VideoGrants
from livekit.api.room_service import RoomService as LiveKitRoomService
from livekit.api.twirp_client import ServerError
from livekit.protocol import models, room

from glassbridge.livekit.clock_skew import MATTERS, describe, skew_of
from glassbridge.livekit.tokens import LiveKitKeys, service_token

DEFAULT_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Occupant:
    """A participant, as the server sees it: one that died is listed for 21 s more (traps B7)."""

    identity: str
    sid: str
    active: bool
    """Its media path is up."""
    joined_at: float
    """Wall clock seconds."""
    publishing: bool


class RoomServiceError(Exception):
    """A call failed. `retry` says whether the same call may work later; the text never holds a token."""

    def __init__(self, text: str, *, retry: bool) -> None:
        super().__init__(text)
        self.retry = retry


class RoomServiceRefused(RoomServiceError):
    """LiveKit does not know the key, knows another secret to it, or reads another time."""


class _Service(LiveKitRoomService):
    """LiveKit's own client, whose tokens would count from this machine's clock."""

    sign: Callable[[VideoGrants], str]

    def _auth_header(self, grants: VideoGrants | None, sip: SIPGrants | None = None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.sign(grants or VideoGrants())}"}


class RoomService:
    """Calls one LiveKit server; each call has a deadline and raises RoomServiceError. Safe to cancel.

    None of these calls revokes a token: a participant that was removed can come back with it (traps B9).
    """

    def __init__(self, url: str, keys: LiveKitKeys, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._url = url
        self._keys = keys
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self.now: Callable[[], float] = time.time
        """Unix seconds from which tokens count: LiveKit's clock should be near."""
        self.skew: float | None = None
        """Seconds by which our clock was ahead of LiveKit's at its last answer; None while it told no time."""

    async def __aenter__(self) -> "RoomService":
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._note_time)
        self._session = aiohttp.ClientSession(trace_configs=[trace], trust_env=True)
        self.use(self._keys)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def use(self, keys: LiveKitKeys) -> None:
        """Signs with these from now on."""
        self._keys = keys
        if self._session is not None:
            # Without failover: it would send the request to hosts that the server names.
            self._service = _Service(self._session, self._url, keys.api_key, keys.secret, failover=False)
            self._service.sign = self._sign

    def _sign(self, grants: VideoGrants) -> str:
        return service_token(self._keys, grants, now=self.now())

    async def _note_time(self, _session: object, _context: object, ended: aiohttp.TraceRequestEndParams) -> None:
        self.skew = skew_of(ended.response.headers.get("Date"))

    def clocks_differ(self, whose: str = "our clock") -> str:
        """For people: by how much, and what to do; empty where they agree well enough for tokens."""
        return describe(self.skew, whose) if self.skew is not None and abs(self.skew) > MATTERS else ""

    async def rooms(self) -> list[str]:
        """Names of the rooms that exist."""
        answer = await self._call(self._service.list_rooms(room.ListRoomsRequest()))
        return [found.name for found in answer.rooms]

    async def is_full(self, name: str) -> bool:
        """Whether a room has as many participants as it may have."""
        answer = await self._call(self._service.list_rooms(room.ListRoomsRequest(names=[name])))
        most = max((found.max_participants for found in answer.rooms), default=0)
        # The number in the list of rooms is some seconds old.
        return 0 < most <= len(await self.participants(name))

    async def participants(self, name: str) -> list[Occupant]:
        """The participants of the room; none if there is no such room."""
        answer = await self._call(self._service.list_participants(room.ListParticipantsRequest(room=name)))
        return [
            Occupant(
                identity=found.identity,
                sid=found.sid,
                active=found.state == models.ParticipantInfo.ACTIVE,
                joined_at=found.joined_at_ms / 1000,
                publishing=found.is_publisher,
            )
            for found in answer.participants
        ]

    async def remove(self, name: str, identity: str) -> bool:
        """Removes a participant; False if it is not there."""
        who = room.RoomParticipantIdentity(room=name, identity=identity)
        return await self._call(self._service.remove_participant(who)) is not None

    async def delete(self, name: str) -> bool:
        """Deletes a room and puts everybody out; False when there is no such room."""
        return await self._call(self._service.delete_room(room.DeleteRoomRequest(room=name))) is not None

    async def _call(self, call: Any) -> Any:
        """The answer; None when what is meant does not exist."""
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except ServerError as error:
            if error.code == "not_found":
                return None
            if error.status in (401, 403):
                text = f"LiveKit refuses the call: {self.clocks_differ() or 'check the API key and secret'}"
                raise RoomServiceRefused(text, retry=False) from None
            raise RoomServiceError(
                f"LiveKit answers {error.status} ({error.code})", retry=error.status >= 500
            ) from None
        except TimeoutError:
            raise RoomServiceError(f"no answer from LiveKit within {self._timeout:g} s", retry=True) from None
        except (aiohttp.ClientError, DecodeError, ValueError) as error:
            raise RoomServiceError(f"no LiveKit server answers there ({type(error).__name__})", retry=True) from None
