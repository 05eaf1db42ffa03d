"""Room management: removing and silencing users, dismissing rooms. Numeric and string rooms are separate namespaces."""

import msgspec

from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Kind


class RemoveUserRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    room_id: int
    user_ids: list[str]


class RemoveUserByStrRoomIdRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    room_id: str
    user_ids: list[str]


class DismissRoomRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    room_id: int


class DismissRoomByStrRoomIdRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    room_id: str


class SetUserBlockedRequest(msgspec.Struct, rename="pascal"):
    """``is_mute`` says what of the user is silenced from now on, in place of what was."""

    sdk_app_id: int
    room_id: int
    user_id: str
    is_mute: int


class SetUserBlockedByStrRoomIdRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    str_room_id: str
    user_id: str
    is_mute: int


async def remove_user(services: Services, call: Call, request: RemoveUserRequest) -> Nothing:
    await services.rooms.remove_users(_ref(request.sdk_app_id, request.room_id), request.user_ids)
    return Nothing()


async def remove_user_by_str_room_id(services: Services, call: Call, request: RemoveUserByStrRoomIdRequest) -> Nothing:
    await services.rooms.remove_users(_ref(request.sdk_app_id, request.room_id), request.user_ids)
    return Nothing()


async def dismiss_room(services: Services, call: Call, request: DismissRoomRequest) -> Nothing:
    await services.rooms.dismiss(_ref(request.sdk_app_id, request.room_id))
    return Nothing()


async def dismiss_room_by_str_room_id(
    services: Services, call: Call, request: DismissRoomByStrRoomIdRequest
) -> Nothing:
    await services.rooms.dismiss(_ref(request.sdk_app_id, request.room_id))
    return Nothing()


async def set_user_blocked(services: Services, call: Call, request: SetUserBlockedRequest) -> Nothing:
    ref = _ref(request.sdk_app_id, request.room_id)
    await services.rooms.block_user(ref, request.user_id, _blocked(call, request.is_mute))
    return Nothing()


async def set_user_blocked_by_str_room_id(
    services: Services, call: Call, request: SetUserBlockedByStrRoomIdRequest
) -> Nothing:
    ref = _ref(request.sdk_app_id, request.str_room_id)
    await services.rooms.block_user(ref, request.user_id, _blocked(call, request.is_mute))
    return Nothing()


_KINDS: dict[str, frozenset[Kind]] = {
    "none": frozenset(),
    "audio": frozenset({"audio"}),
    "video": frozenset({"video"}),
    "audio_video": frozenset({"audio", "video"}),
}


def _blocked(call: Call, is_mute: int) -> frozenset[Kind]:
    return _KINDS[call.action.input["IsMute"].meaning(is_mute)]


def _ref(sdk_app_id: int, room_id: int | str) -> RoomRef:
    return RoomRef(sdk_app_id, isinstance(room_id, int), str(room_id))
