"""Room management: removing users, dismissing rooms. Numeric and string rooms are separate namespaces."""

import msgspec

from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.rooms.ids import RoomRef


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


def _ref(sdk_app_id: int, room_id: int | str) -> RoomRef:
    return RoomRef(sdk_app_id, isinstance(room_id, int), str(room_id))
