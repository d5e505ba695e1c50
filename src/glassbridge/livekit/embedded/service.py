"""LiveKit's room service (Twirp: protobuf over HTTP POST), as far as we use it."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from google.protobuf.message import DecodeError, Message
from livekit.protocol import room

from glassbridge.livekit.embedded.room import Reason, Room
from glassbridge.livekit.tokens import Claims

PREFIX = "/twirp/livekit.RoomService/"

Rooms = Mapping[str, Room]


class TwirpError(Exception):
    """An answer that is an error; its text is shown to the caller."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    def response(self) -> web.Response:
        return web.json_response({"code": self.code, "msg": str(self)}, status=self.status)


def _require(allowed: bool) -> None:
    if not allowed:
        raise TwirpError(401, "unauthenticated", "permissions denied")


def _list_rooms(rooms: Rooms, claims: Claims, request: room.ListRoomsRequest) -> Message:
    _require(claims.list_rooms)
    wanted = set(request.names)
    return room.ListRoomsResponse(rooms=[r.info() for r in rooms.values() if not wanted or r.name in wanted])


def _list_participants(rooms: Rooms, claims: Claims, request: room.ListParticipantsRequest) -> Message:
    _require(claims.admin and claims.room == request.room)
    members = rooms[request.room].members.values() if request.room in rooms else ()
    return room.ListParticipantsResponse(participants=[member.info() for member in members])


def _remove_participant(rooms: Rooms, claims: Claims, request: room.RoomParticipantIdentity) -> Message:
    _require(claims.admin and claims.room == request.room)
    found = rooms.get(request.room)
    member = found.members.get(request.identity) if found is not None else None
    if found is None or member is None:
        raise TwirpError(404, "not_found", "participant does not exist")
    found.dismiss(member, Reason.PARTICIPANT_REMOVED)
    return room.RemoveParticipantResponse()


def _delete_room(rooms: Rooms, claims: Claims, request: room.DeleteRoomRequest) -> Message:
    _require(claims.create_rooms)
    if (found := rooms.get(request.room)) is None:
        raise TwirpError(404, "not_found", "room not found")
    for member in list(found.members.values()):
        found.dismiss(member, Reason.ROOM_DELETED)
    return room.DeleteRoomResponse()


_METHODS: dict[str, tuple[type[Message], Callable[[Rooms, Claims, Any], Message]]] = {
    "ListRooms": (room.ListRoomsRequest, _list_rooms),
    "ListParticipants": (room.ListParticipantsRequest, _list_participants),
    "RemoveParticipant": (room.RoomParticipantIdentity, _remove_participant),
    "DeleteRoom": (room.DeleteRoomRequest, _delete_room),
}


def serve(rooms: Rooms, claims: Claims, method: str, body: bytes) -> web.Response:
    """Answers one call. Raises TwirpError."""
    if method not in _METHODS:
        raise TwirpError(404, "bad_route", f"the embedded server does not know {method[:50]}")
    request_type, handler = _METHODS[method]
    try:
        request = request_type.FromString(body)
    except DecodeError:
        raise TwirpError(400, "malformed", "the request is no such protobuf message") from None
    answer = handler(rooms, claims, request)
    return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")
